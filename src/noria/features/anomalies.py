"""Where the true anomalies of a stream lie: what a detector is evaluated with."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noria.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from noria.features.channels import ChannelTable

__all__ = ["read_windows", "windows_of"]

Windows = list[tuple[int, int]]
"""First and last event of each anomaly, ascending, none overlapping."""


def windows_of(labels: NDArray[np.bool_]) -> Windows:
    """Neighbouring labelled events as one anomaly.

    >>> windows_of(np.array([False, True, True, False, True]))
    [(1, 2), (4, 4)]
    """
    edges = np.flatnonzero(np.diff(labels.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end) - 1) for start, end in edges.reshape(-1, 2)]


def read_windows(windows: Sequence[Sequence[Any]] | Path | str, table: ChannelTable) -> Windows:
    """Find the events between given times.

    Args:
        windows: First and last time of each anomaly; or a JSON file of such pairs, or of an object
            that gives them by the name of the table's file, with or without the folders that it
            lies in, as the Numenta Anomaly Benchmark does.
        table: The events.

    Raises:
        DataError: if the file cannot be read, a time is none, or windows hold no event or overlap.
    """
    if isinstance(windows, str | os.PathLike):
        name, pairs = str(windows), _load(Path(windows), table.name)
    else:
        name, pairs = "the windows", windows
    found: Windows = []
    for number, pair in enumerate(pairs):
        try:
            start, end = (_time(part, table.times.dtype) for part in pair)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{name}: {pair!r} is not a first and a last time") from None
        first = int(np.searchsorted(table.times, start, side="left"))
        last = int(np.searchsorted(table.times, end, side="right")) - 1
        if first > last:
            raise DataError(f"{name}: no event of {table.name} lies in window {number}, {pair!r}")
        found.append((first, last))
    found.sort()
    for (_, last), (first, _) in itertools.pairwise(found):
        if first <= last:
            raise DataError(f"{name}: two windows overlap at {table.times[first]}; join them")
    return found


def _load(path: Path, table: str) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: is not JSON: {error}") from None
    if isinstance(content, dict):
        whole = Path(table).absolute().parts
        parts = {key: Path(key).parts for key in content}
        keys = [key for key, own in parts.items() if own and whole[-len(own) :] == own]
        if not keys:
            raise DataError(f"{path}: names no file {Path(table).name}")
        content = content[max(keys, key=lambda key: len(parts[key]))]
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of first and last times")
    return content


def _time(value: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "M":
        if not isinstance(value, str | date | np.datetime64):
            raise TypeError
        if np.isnat(found := np.datetime64(value).astype("M8[us]")):
            raise ValueError
        return found
    return np.int64(value)
