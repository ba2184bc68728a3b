"""Where in the day, the week, the month and the year a timestamp falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from noria.errors import UsageError
from noria.features.series import Frequency

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["calendar_features"]

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_WEEK = 7 * _DAY
_MONTH = 28 * _DAY


def calendar_features(
    timestamps: NDArray[Any], freq: str
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Encode each calendar cycle that is coarser than the step as a sine and a cosine.

    The cycles are the hour and the day (by the clock), the week (by whole days, Monday first),
    the month (by whole days, for steps of days only) and the year (by whole days, weeks or
    months). A leap year is one day longer.

    Args:
        timestamps: Grid, shape (T,), datetime64, or integers for integer time.
        freq: Step of the grid, as in `Frequency.parse`; it alone decides the cycles.

    Returns:
        The C names, and the values in [-1, 1], shape (T, C); C is 0 for integer time and years.

    Raises:
        UsageError: if freq is not a frequency, or the timestamps are not of its kind.

    >>> names, values = calendar_features(np.array(["2024-01-01T06"], "datetime64[us]"), "12h")
    >>> names[:4]
    ('hour_of_day_sin', 'hour_of_day_cos', 'day_of_week_sin', 'day_of_week_cos')
    >>> values[0, :4].round(6).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    frequency = Frequency.parse(freq)
    integer_time = frequency.unit == ""
    if integer_time != (timestamps.dtype.kind != "M"):
        raise UsageError(f"timestamps of type {timestamps.dtype} do not go with freq={freq!r}")
    phases = {} if integer_time else _phases(timestamps.astype("datetime64[us]"), frequency)
    names = tuple(f"{name}_{part}" for name in phases for part in ("sin", "cos"))
    values = np.empty((len(timestamps), len(names)), np.float32)
    for index, phase in enumerate(phases.values()):
        values[:, 2 * index] = np.sin(2 * np.pi * phase)
        values[:, 2 * index + 1] = np.cos(2 * np.pi * phase)
    return names, values


def _phases(
    timestamps: NDArray[np.datetime64], frequency: Frequency
) -> dict[str, NDArray[np.float64]]:
    """Give the share of each cycle that has passed, in [0, 1), by the cycle's name."""
    step = frequency.size * (_MONTH if frequency.unit == "mo" else 1)
    microseconds = timestamps.astype(np.int64)
    days = timestamps.astype("datetime64[D]")
    months = timestamps.astype("datetime64[M]")
    years = timestamps.astype("datetime64[Y]")
    phases: dict[str, NDArray[np.float64]] = {}
    if step < _HOUR:
        phases["minute_of_hour"] = microseconds % _HOUR / _HOUR
    if step < _DAY:
        phases["hour_of_day"] = microseconds % _DAY / _DAY
    if step < _WEEK:
        # 1970-01-01 was a Thursday.
        phases["day_of_week"] = (days.astype(np.int64) + 3) % 7 / 7
    if _DAY <= step < _WEEK:
        phases["day_of_month"] = _share(days, months, months + 1)
    if frequency.unit == "mo":
        if frequency.size < 12:
            phases["month_of_year"] = months.astype(np.int64) % 12 / 12
    elif step < 52 * _WEEK:
        name = "day_of_year" if step < _WEEK else "week_of_year"
        phases[name] = _share(days, years, years + 1)
    return phases


def _share(
    days: NDArray[np.datetime64], start: NDArray[np.datetime64], end: NDArray[np.datetime64]
) -> NDArray[np.float64]:
    first, last = start.astype("datetime64[D]"), end.astype("datetime64[D]")
    share: NDArray[np.float64] = (days - first) / (last - first)
    return share
