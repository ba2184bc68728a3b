"""What readers and writers of dataframes share."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import narwhals as nw
import numpy as np

from noria.errors import DataError

__all__ = ["frame_like", "in_zone", "no_column"]


def frame_like(data: Any, columns: Mapping[str, Any]) -> Any:
    """A dataframe of the library that `data` is from.

    Args:
        data: A dataframe that narwhals knows; for anything else, such as a path, polars is used.
        columns: Arrays or lists of equal length, by name.
    """
    frame = nw.from_native(data, eager_only=True, pass_through=True)
    backend = frame.implementation if isinstance(frame, nw.DataFrame) else "polars"
    series = {
        name: nw.new_series(name, _plain(values), backend=backend)
        for name, values in columns.items()
    }
    return nw.from_dict(series).to_native()


def in_zone(frame: Any, columns: Sequence[str], zone: str | None, *, wall: bool) -> Any:
    """A dataframe whose timestamps got their time zone back.

    Args:
        frame: A dataframe that narwhals knows.
        columns: Of timestamps without a zone.
        zone: None leaves them as they are.
        wall: The timestamps are what the zone's clocks show, otherwise UTC.
    """
    if zone is None:
        return frame
    known = nw.from_native(frame, eager_only=True)
    found = []
    for name in columns:
        column = known[name]
        if wall:
            place = ZoneInfo(zone)
            moments = [m.replace(tzinfo=place).astimezone(UTC) for m in column.to_list()]
            moments = [moment.replace(tzinfo=None) for moment in moments]
            column = nw.new_series(name, moments, column.dtype, backend=known.implementation)
        found.append(column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    return known.with_columns(*found).to_native()


def no_column(name: str, column: str, header: Sequence[str]) -> DataError:
    """Say that a column is not there, for raising.

    >>> print(no_column("a.csv", "lable", ["text", "label"]))
    a.csv: there is no column 'lable' (did you mean 'label'?); the columns are text, label
    """
    close = difflib.get_close_matches(column, header, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return DataError(
        f"{name}: there is no column {column!r}{hint}; the columns are {', '.join(header)}"
    )


def _plain(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values
