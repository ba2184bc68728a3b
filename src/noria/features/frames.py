"""What readers and writers of dataframes share."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np

from noria.errors import DataError

__all__ = ["frame_like", "no_column"]


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
