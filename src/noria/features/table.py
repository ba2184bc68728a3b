"""A long table, of one series or thousands, into series on a regular grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noria.errors import DataError, MissingExtraError, UsageError
from noria.features.series import Columns, Frequency, Series, SeriesTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from noria.features.source import Source

__all__ = ["read_table"]

_MOST_CATEGORIES = 50
_DAY = 86_400_000_000


def read_table(
    source: Any,
    columns: Columns | None = None,
    *,
    freq: str | None = None,
    categories: Mapping[str, tuple[str, ...]] | None = None,
) -> SeriesTable:
    """Read series from a file or a data frame.

    The table is long: a row for each timestamp of each series, in any order. Texts such as NA,
    NaN, null, None and an empty field mean a missing value, in any case of letters. Timestamps
    with a time zone become UTC. Rows that the grid lacks are filled with missing values, so daily
    prices without weekends are a daily series whose weekends are missing. A series ends at its
    last observed target; later rows are the known future and show in `Series.future` alone.

    A covariate of texts is encoded one-hot over the values it has; missing texts are NaN in each,
    and texts that `categories` lacks are zero in each.

    Args:
        source: Path of a .csv or .tsv file in UTF-8 (also .gz), separated by commas, tabs or
            semicolons (numbers then have a decimal comma), of a .parquet file, or a data frame
            that narwhals accepts: pandas, polars, pyarrow and others.
        columns: Which column is what; ds, y and, if it is there, unique_id by default.
        freq: Step of the grid, such as "1h", "1mo", or "1" for integer time; the most common
            difference of neighbouring timestamps by default.
        categories: Values of the text covariates as a model was fitted on them; a covariate that
            is not named there must be numeric. None finds them in the table.

    Returns:
        The series, sorted by id.

    Raises:
        DataError: if the file cannot be read, a column is not there, a value cannot be read or is
            infinite, a timestamp or id is missing, timestamps repeat or do not fit the grid, a
            series has no target, a static covariate changes, or a text covariate has more than 50
            values. The message names row and column: the line of a CSV file (its header is line
            1), otherwise the row counted from 0.
        UsageError: if columns contradict each other, or freq does not go with the time column.
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
    data = open_source(source, columns or Columns())
    columns = data.columns
    rows = _Rows.sort(data)
    frequency, month_end = rows.frequency(freq)
    slots, offsets = rows.slots(frequency, month_end)

    def on_grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
        grid = np.full(offsets[-1], np.nan)
        grid[slots] = values[rows.order]
        return grid

    y = on_grid(data.numbers(columns.target))
    ends = _ends(y, offsets, rows.ids, data.name)
    found: dict[str, tuple[str, ...]] = {}
    encoded: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {}
    for column in columns.covariates:
        values, levels = _covariate(data, column, categories)
        if levels is not None:
            found[column] = levels
        is_static = column in columns.static
        grid = rows.constant(column, values) if is_static else on_grid(values)
        encoded[column] = _one_hot(column, grid, levels)
    past_names, past = _join(encoded, columns.past, len(y))
    future_names, future = _join(encoded, columns.future, len(y))
    static_names, static = _join(encoded, columns.static, len(rows.ids))
    starts: NDArray[Any] = rows.times[rows.first]
    series = tuple(
        Series(
            id=name,
            start=int(starts[i]) if rows.integer else np.datetime64(int(starts[i]), "us"),
            y=y[offsets[i] : ends[i]],
            past=past[offsets[i] : ends[i]],
            future=future[offsets[i] : offsets[i + 1]],
            static=static[i],
        )
        for i, name in enumerate(rows.ids)
    )
    names = (past_names, future_names, static_names)
    return SeriesTable(series, columns, freq or str(frequency), found, *names, month_end)


@dataclass(frozen=True)
class _Rows:
    """The rows of a table, sorted by series and time; N rows, S series.

    Attributes:
        data: The table.
        order: Index in the table of each sorted row, shape (N,).
        times: Timestamps, microseconds or step numbers, shape (N,).
        integer: The timestamps are step numbers.
        ids: The series.
        owner: Series of each row, shape (N,).
        first: First row of each series, shape (S,).
    """

    data: Source
    order: NDArray[np.intp]
    times: NDArray[np.int64]
    integer: bool
    ids: tuple[str, ...]
    owner: NDArray[np.int64]
    first: NDArray[np.intp]

    @classmethod
    def sort(cls, data: Source) -> _Rows:
        owner, ids = data.ids()
        parsed = data.times()
        order = np.lexsort((parsed.values, owner))
        owner, times = owner[order], parsed.values[order]
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        rows = cls(data, order, times, parsed.integer, ids, owner, first)
        repeated = (np.diff(times) == 0) & (np.diff(owner) == 0)
        if repeated.any():
            index = int(np.argmax(repeated))
            one, other = sorted(data.row(int(order[i])) for i in (index, index + 1))
            advice = (
                "keep one of them"
                if data.columns.id is not None
                else "keep one, or name the column that tells the series apart (--id)"
            )
            raise DataError(
                f"{data.name}, rows {one} and {other}, column {rows.time!r}: both are "
                f"{rows.timestamp(index)} of series {rows.ids[owner[index]]!r}; {advice}"
            )
        return rows

    @property
    def time(self) -> str:
        return ",".join(self.data.time)

    def timestamp(self, index: int) -> str:
        value = int(self.times[index])
        return str(value) if self.integer else str(np.datetime64(value, "us").astype("M8[s]"))

    def frequency(self, freq: str | None) -> tuple[Frequency, bool]:
        """Give the step, and whether timestamps are the last days of months."""
        next_day = (self.times // _DAY + 1).astype("M8[D]")
        month_end = not self.integer and bool(np.all(next_day == next_day.astype("M8[M]")))
        if freq is not None:
            frequency = Frequency.parse(freq)
            if (frequency.unit == "") != self.integer:
                kind = "step numbers" if self.integer else "dates"
                raise UsageError(
                    f"freq={freq!r} does not go with column {self.time!r}, which holds {kind}"
                )
        else:
            frequency = self._infer(month_end)
        return frequency, month_end and frequency.unit == "mo"

    def _infer(self, month_end: bool) -> Frequency:
        inside = np.diff(self.owner) == 0
        if not inside.any():
            raise DataError(
                f"{self.data.name}: no series has two rows, so the step of its timestamps cannot "
                "be told; give it with --freq"
            )
        step = _most_common(np.diff(self.times)[inside])
        if self.integer:
            return Frequency("", step)
        fixed = Frequency("us", step)
        if step < 28 * _DAY:
            return fixed
        months = self.times.astype("M8[us]").astype("M8[M]").astype(np.int64)
        months_apart = np.diff(months)[inside]
        calendar = Frequency("mo", max(1, _most_common(months_apart)))
        origins = self.times[self.first][self.owner]
        fits_fixed = fixed.positions(self.times, origins)[1].sum()
        fits_calendar = calendar.positions(self.times, origins, month_end)[1].sum()
        return calendar if fits_calendar >= fits_fixed else fixed

    def slots(
        self, frequency: Frequency, month_end: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Place the rows on the grids of all series, laid end to end.

        Returns:
            Place of each row, shape (N,), and where each series begins and the last one ends,
            shape (S + 1,).
        """
        origins = self.times[self.first][self.owner]
        positions, fits = frequency.positions(self.times, origins, month_end)
        if not fits.all():
            index = int(np.argmin(fits))
            gap = int(self.times[index] - self.times[index - 1])
            raise self._error(
                index,
                f"{self.timestamp(index)} comes {Frequency('' if self.integer else 'us', gap)} "
                f"after the row before it in series {self.ids[self.owner[index]]!r}, which does "
                f"not fit a step of {frequency}; correct it, resample the table or give --freq",
            )
        last = np.append(self.first[1:], len(positions)) - 1
        offsets = np.concatenate([[0], np.cumsum(positions[last] + 1)])
        if offsets[-1] > 50 * len(positions) + 1_000_000:
            gaps = np.diff(positions, prepend=0) * (self.owner == np.roll(self.owner, 1))
            index = int(np.argmax(gaps))
            raise self._error(
                index,
                f"{self.timestamp(index)} comes {gaps[index]:,} steps of {frequency} after the row "
                f"before it in series {self.ids[self.owner[index]]!r}; correct it, or give --freq",
            )
        return offsets[self.owner] + positions, offsets

    def _error(self, index: int, reason: str) -> DataError:
        return self.data.error(int(self.order[index]), self.time, reason)

    def constant(self, column: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the value a static covariate has in each series, shape (S,), NaN if missing."""
        values = values[self.order]
        observed = np.flatnonzero(~np.isnan(values))
        constants = np.full(len(self.ids), np.nan)
        # Written backwards, the first observed row of each series stays.
        constants[self.owner[observed[::-1]]] = values[observed[::-1]]
        changed = observed[values[observed] != constants[self.owner[observed]]]
        if len(changed) > 0:
            index = int(changed[0])
            raise self.data.error(
                int(self.order[index]), column,
                "the static covariate changes within series "
                f"{self.ids[self.owner[index]]!r}; make it one value, or a past covariate",
            )  # fmt: skip
        return constants


def _most_common(steps: NDArray[np.int64]) -> int:
    """Give the most common step, the smallest of several."""
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def _ends(
    y: NDArray[np.float64], offsets: NDArray[np.int64], ids: tuple[str, ...], name: str
) -> NDArray[np.int64]:
    """Give the end of each series' observed targets, shape (S,)."""
    observed = np.where(np.isnan(y), -1, np.arange(len(y)))
    last: NDArray[np.int64] = np.maximum.reduceat(observed, offsets[:-1])
    if (last < 0).any():
        empty = ids[int(np.argmax(last < 0))]
        raise DataError(
            f"{name}: series {empty!r} has no observed target; fill it in or leave it out"
        )
    return last + 1


def _covariate(
    data: Source, column: str, categories: Mapping[str, tuple[str, ...]] | None
) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    """Read a covariate as numbers, or as the numbers of its categories, -1 if unknown.

    Returns:
        Values, shape (N,), NaN where missing, and the categories of a text covariate.
    """
    is_text = data.is_text(column) if categories is None else column in categories
    if not is_text:
        return data.numbers(column), None
    texts = data.texts(column)
    if categories is None:
        levels = tuple(texts.drop_nulls().unique().sort().to_list())
        if len(levels) > _MOST_CATEGORIES:
            raise DataError(
                f"{data.name}, column {column!r}: has {len(levels)} different texts, more than the "
                f"{_MOST_CATEGORIES} that are encoded; group them, or correct texts among numbers"
            )
    else:
        levels = tuple(categories[column])
    numbers = {level: float(number) for number, level in enumerate(levels)}
    codes = texts.replace_strict(numbers, default=-1.0).to_numpy().astype(np.float64)
    return np.where(texts.is_null().to_numpy(), np.nan, codes), levels


def _one_hot(
    column: str, values: NDArray[np.float64], levels: tuple[str, ...] | None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Give the names and the columns that encode a covariate, shape (N, 1 or categories)."""
    if levels is None:
        return (column,), values[:, np.newaxis]
    encoded = (values[:, np.newaxis] == np.arange(len(levels))).astype(np.float64)
    encoded[np.isnan(values)] = np.nan
    return tuple(f"{column}={level}" for level in levels), encoded


def _join(
    encoded: Mapping[str, tuple[tuple[str, ...], NDArray[np.float64]]],
    columns: tuple[str, ...],
    rows: int,
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    names = tuple(name for column in columns for name in encoded[column][0])
    values = [encoded[column][1] for column in columns]
    return names, np.concatenate(values, axis=1) if values else np.empty((rows, 0))
