"""A table of readings, one stream of several channels, in the order of time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from noria.errors import DataError, MissingExtraError, UsageError
from noria.features.series import Columns, check_roles

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChannelTable", "read_channels", "require_observed"]

_FEW = 8
"""Events that share their time with the one before, at the most, that say nothing yet."""

_SHORT = 10
"""Rows in order of time that a stretch has at the least, on average, to look like a stream."""


@dataclass(frozen=True, eq=False)
class ChannelTable:
    """Events of one stream; T events, C channels.

    Attributes:
        name: What messages call the source.
        times: Ascending, datetime64[us] or int64 step numbers, shape (T,).
        values: NaN where missing, shape (T, C).
        names: Of the channels.
        labels: Whether each event is labelled an anomaly, shape (T,); None without a label column.
    """

    name: str
    times: NDArray[Any]
    values: NDArray[np.float64]
    names: tuple[str, ...]
    labels: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.times)

    def first(self, count: int) -> Self:
        """The first events alone."""
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, times=self.times[:count], values=self.values[:count], labels=labels)

    def events(self, time: str) -> list[dict[str, Any]]:
        """As rows of plain JSON values.

        Args:
            time: Name of the time column.
        """
        dates = self.times.dtype.kind == "M"
        stamps = np.datetime_as_string(self.times).tolist() if dates else self.times.tolist()
        return [
            {
                time: stamp,
                **{
                    name: None if value != value else value
                    for name, value in zip(self.names, row, strict=True)
                },
            }
            for stamp, row in zip(stamps, self.values.tolist(), strict=True)
        ]

    def sha256(self) -> str:
        """A hash of all that a model is trained on."""
        digest = hashlib.sha256(repr((self.names, self.times.dtype.str)).encode())
        digest.update(self.times.tobytes())
        digest.update(np.ascontiguousarray(self.values).tobytes())
        return digest.hexdigest()


def read_channels(
    source: Any, *, time: str, value: Sequence[str], label: str | None = None
) -> ChannelTable:
    """Read a stream's events from a file or a data frame.

    The rows may stand in any order, at any distance in time; of equal times the first row counts
    as the earlier. An empty field, NA, NaN, null and None are missing values.

    Args:
        source: As `read_table` takes it.
        time: Column of timestamps or step numbers.
        value: Columns of the channels.
        label: Column that is 1 (or true) at anomalies and 0 elsewhere.

    Raises:
        DataError: if the file cannot be read, a column is not there, a value cannot be read, or
            the rows are those of several streams: the column unique_id says so, most times occur
            more than once, or the rows are a few stretches in order of time that interlock.
        UsageError: if no channel is named, or one column is named twice.
        MissingExtraError: if polars is not installed.
    """
    try:
        from noria.features.source import open_source
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("polars"):
            raise
        raise MissingExtraError(
            "reading tables needs polars: pip install 'noria[series]'"
        ) from error
    if not value:
        raise UsageError("value names no column: a detector needs at least one channel")
    roles = [("time", time), *(("value", name) for name in value)]
    check_roles(roles if label is None else [*roles, ("label", label)])
    further = (*value[1:], *(() if label is None else (label,)))
    data = open_source(source, Columns(time=time, target=value[0], past=further))
    if data.columns.id is not None and len(streams := data.ids()[1]) > 1:
        raise DataError(
            f"{data.name}, column {data.columns.id!r}: holds {len(streams)} streams, such as"
            f" {streams[0]!r} and {streams[1]!r}; a detector watches one: give a file for each"
        )
    parsed = data.times()
    order = np.argsort(parsed.values, kind="stable")
    values = np.stack([data.numbers(name) for name in value], axis=1)[order]
    times = parsed.values[order]
    again = np.diff(times, prepend=times[0] - 1) == 0
    # a burst of events has one time, too, but that is not the rule
    if again.sum() > _FEW and len(np.unique(times[again])) > (~again).sum() / 2:
        index = int(np.argmax(again))
        one, other = sorted(data.row(int(order[row])) for row in (index - 1, index))
        raise DataError(
            f"{data.name}, rows {one} and {other}, column {time!r}: both are of one time, as most"
            " are: is it several streams? Give a file for each; or number the events of one and"
            " name that column with --time"
        )
    stretch = np.cumsum(np.diff(parsed.values, prepend=parsed.values[0]) < 0)
    interlocks = np.diff(stretch[order]) != 0
    # rows in no order are in short stretches; late or swapped ones of a stream hardly interlock
    if 0 < stretch[-1] < len(times) / _SHORT and 2 * interlocks.sum() > len(times):
        row = data.row(int(np.argmax(stretch)))
        raise DataError(
            f"{data.name}, row {row}, column {time!r}: begins anew at a time amid the rows before:"
            " is it several streams? Give a file for each; or sort the rows of one by time"
        )
    labels = None
    if label is not None:
        marks = data.numbers(label)
        wrong = ~np.isin(marks, (0.0, 1.0))
        if wrong.any():
            raise data.error(int(np.argmax(wrong)), label, "a label is 1 at an anomaly, else 0")
        labels = marks[order] == 1
    return ChannelTable(
        data.name,
        times if parsed.integer else times.astype("datetime64[us]"),
        values,
        tuple(value),
        labels,
    )


def require_observed(table: ChannelTable) -> None:
    """Check that each channel has a value somewhere.

    Raises:
        DataError: naming the first that has none.
    """
    empty = np.isnan(table.values).all(axis=0)
    if empty.any():
        raise DataError(
            f"{table.name}, column {table.names[int(np.argmax(empty))]!r}: has no value in the"
            " part to learn from; leave it out"
        )
