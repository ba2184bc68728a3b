"""Results as a dataframe of the kind that the user works with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import numpy as np

__all__ = ["frame_like"]


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


def _plain(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values
