"""Series on a regular grid, and the arithmetic of that grid.

Axes: T rows up to the last observed target, T_f >= T rows of the grid, P covariates known up to
now, F covariates known in advance, S covariates of the series as a whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from noria.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CLOCK",
    "LARGEST",
    "MISSING",
    "Columns",
    "Frequency",
    "Series",
    "SeriesTable",
    "check_roles",
    "season_lengths",
]

CLOCK = ("year", "month", "day", "hour", "minute", "second")
"""Columns that make up a timestamp."""

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none")
"""Texts that mean a missing value, in any case of letters."""

LARGEST = 1e100
"""Size above which a number is refused: sums of squares must stay finite."""

_MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_MONTHS = {"mo": 1, "q": 3, "y": 12}
_LONGEST_SEASON = 10_000
_ENOUGH_GAPS = 5


@dataclass(frozen=True)
class Frequency:
    """The step of a grid: so many microseconds, months or whole numbers.

    Attributes:
        unit: "us" (a fixed length), "mo" (calendar months) or "" (integer time).
        size: How many of the unit make one step.
    """

    unit: str
    size: int

    @classmethod
    def parse(cls, freq: str) -> Frequency:
        """Read a frequency such as "30m", "1d", "1mo" or "1".

        Args:
            freq: A whole number and a unit, one of us, ms, s, m, h, d, w, mo, q, y; for
                integer time the number alone.

        Raises:
            UsageError: if freq is none of these.

        Source: the units are those of polars' offsets.

        >>> Frequency.parse("1q")
        Frequency(unit='mo', size=3)
        """
        match = re.fullmatch(r"([0-9]+)(us|ms|s|m|h|d|w|mo|q|y|)", freq)
        if match is None or int(match[1]) == 0:
            raise UsageError(
                f"the frequency {freq!r} is not a whole number and one of us, ms, s, m (minutes), "
                "h, d, w, mo (months), q, y, such as 30m, 1d or 1mo; integer time takes the "
                "number alone"
            )
        size, unit = int(match[1]), match[2]
        if unit in _MONTHS:
            return cls("mo", size * _MONTHS[unit])
        if unit in _MICROSECONDS:
            return cls("us", size * _MICROSECONDS[unit])
        return cls("", size)

    def __str__(self) -> str:
        """Give the shortest text that `parse` reads as this frequency.

        >>> str(Frequency.parse("120m")), str(Frequency.parse("12mo"))
        ('2h', '1y')
        """
        if self.unit == "mo":
            if self.size == 3:
                return "1q"
            return f"{self.size // 12}y" if self.size % 12 == 0 else f"{self.size}mo"
        if self.unit == "us":
            unit = max((u for u, n in _MICROSECONDS.items() if self.size % n == 0), key=_length)
            return f"{self.size // _MICROSECONDS[unit]}{unit}"
        return str(self.size)

    def positions(
        self, times: NDArray[np.int64], origins: NDArray[np.int64], month_end: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Place timestamps on the grids that begin at the origins.

        Args:
            times: Microseconds since 1970, or step numbers, shape (N,).
            origins: First timestamp of each one's grid, shape (N,).
            month_end: A grid of months falls on the last day of each.

        Returns:
            Steps from the origin, rounded down, and whether the timestamp lies on the grid,
            each (N,).
        """
        if self.unit != "mo":
            offset = times - origins
            return offset // self.size, offset % self.size == 0
        positions = (_month(times) - _month(origins)) // self.size
        return positions, self.at(origins, positions, month_end) == times

    def at(
        self, origins: NDArray[np.int64], positions: NDArray[np.int64], month_end: bool = False
    ) -> NDArray[np.int64]:
        """Give the timestamps so many steps after the origins.

        A day of the month that a month lacks becomes its last day.

        Args:
            origins: Microseconds since 1970, or step numbers, shape (N,).
            positions: Steps from the origin, of a shape that broadcasts with (N,).
            month_end: A grid of months falls on the last day of each.

        Returns:
            Timestamps in the unit of the origins, shape (N,).
        """
        if self.unit != "mo":
            return origins + positions * self.size
        day_length = _MICROSECONDS["d"]
        start = _month(origins)
        day = origins // day_length - _first_day(start)
        month = start + positions * self.size
        last_day = _first_day(month + 1) - _first_day(month) - 1
        day = last_day if month_end else np.minimum(day, last_day)
        return (_first_day(month) + day) * day_length + origins % day_length


def _length(unit: str) -> int:
    return _MICROSECONDS[unit]


def _month(times: NDArray[np.int64]) -> NDArray[np.int64]:
    months = times.astype("datetime64[us]").astype("datetime64[M]")
    return months.astype(np.int64)


def _first_day(months: NDArray[np.int64]) -> NDArray[np.int64]:
    days = months.astype("datetime64[M]").astype("datetime64[D]")
    return days.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Series:
    """One series on a regular grid.

    Attributes:
        id: Its name in the table.
        start: First timestamp, datetime64[us] in UTC, or the first step number.
        y: Target, shape (T,), float64, NaN where missing; the last one is observed.
        past: Covariates known up to now, shape (T, P), float64, NaN where missing.
        future: Covariates known in advance, shape (T_f, F); rows after T are the known future.
        static: Covariates of the whole series, shape (S,), NaN where missing.
    """

    id: str
    start: np.datetime64 | int
    y: NDArray[np.float64]
    past: NDArray[np.float64]
    future: NDArray[np.float64]
    static: NDArray[np.float64]


def check_roles(roles: Iterable[tuple[str, Any]]) -> None:
    """Refuse a column that is to be two things, or whose name is no text.

    Args:
        roles: What a column is to be, and its name.

    Raises:
        UsageError: naming the first such column.
    """
    taken: dict[str, str] = {}
    for role, name in roles:
        if not isinstance(name, str):
            raise UsageError(f"{role}: a column's name is a text, not {name!r}")
        if name in taken:
            raise UsageError(f"column {name!r} is named twice: as {taken[name]} and as {role}")
        taken[name] = role


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what.

    Attributes:
        time: Timestamps. Several columns that make up one are separated by commas:
            "year,month,day,hour" (any of year, month, day, hour, minute, second), or "date,time"
            (texts, joined by a space).
        target: What is forecast.
        id: Which series a row belongs to; None takes the column unique_id if the table has it,
            and otherwise the table as one series, named after its target.
        past: Covariates known up to now, such as a measured temperature.
        future: Covariates known in advance, such as a holiday.
        static: Covariates that are the same on every row of a series.

    Raises:
        UsageError: if a column is named twice, or its name is no text.

    >>> Columns(time="date", target="load", past=("load",))
    Traceback (most recent call last):
    noria.errors.UsageError: column 'load' is named twice: as target and as past
    """

    time: str = "ds"
    target: str = "y"
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        roles: list[tuple[str, Any]] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("past", "future", "static"):
                if isinstance(value, str):
                    raise UsageError(f"{field.name} takes a tuple of names, not {value!r}")
                names = tuple(value)
                object.__setattr__(self, field.name, names)
            else:
                names = () if field.name == "id" and value is None else (value,)
            roles += [(field.name, name) for name in names]
        check_roles(roles)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Past, future and static columns, in this order."""
        return tuple(chain(self.past, self.future, self.static))


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """Series that share columns and a frequency, sorted by id.

    Attributes:
        series: The series.
        columns: Which column was what, with the id column that was found.
        freq: Step of the grid, such as "1h", "1mo", or "1" for integer time.
        categories: Values of each text covariate, sorted; it is encoded one-hot.
        past_names: Names of the P encoded past covariates, "column" or "column=value".
        future_names: Names of the F encoded covariates known in advance.
        static_names: Names of the S encoded statics.
        month_end: Every timestamp is the last day of a month, so a grid of months keeps to it.
        zone: Time zone of the timestamps that were read, "UTC" for those written with offsets; None
            where there was none.
        wall: Where there is one, the timestamps here are what its clocks show, not UTC: midnights.
    """

    series: tuple[Series, ...]
    columns: Columns
    freq: str
    categories: dict[str, tuple[str, ...]]
    past_names: tuple[str, ...]
    future_names: tuple[str, ...]
    static_names: tuple[str, ...]
    month_end: bool = False
    zone: str | None = None
    wall: bool = False

    @property
    def n_rows(self) -> int:
        """Rows of all series up to their last observed targets, gaps included."""
        return sum(len(series.y) for series in self.series)

    def timestamps(self, series: Series, first: int, count: int) -> NDArray[Any]:
        """Give the grid of a series.

        Args:
            series: One of the table's series.
            first: Position of the first timestamp; 0 is the series' start.
            count: How many.

        Returns:
            Timestamps, shape (count,), datetime64[us], or int64 for integer time.
        """
        positions = np.arange(first, first + count, dtype=np.int64)
        start = np.asarray(series.start)
        times = Frequency.parse(self.freq).at(start.astype(np.int64), positions, self.month_end)
        return times.astype(start.dtype)

    def times(self, series: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the time of a step of each of some series.

        Args:
            series: Their numbers in the table, shape (R,).
            positions: Of each one's step; 0 is its start, shape (R,).

        Returns:
            Microseconds since 1970, or step numbers, shape (R,).
        """
        starts = np.array([np.asarray(own.start).astype(np.int64) for own in self.series])
        return Frequency.parse(self.freq).at(starts[series], positions, self.month_end)

    def from_first_observed(self) -> SeriesTable:
        """The table without the steps before each series' first observed target."""

        def cut(series: Series) -> Series:
            first = int(np.argmax(np.isfinite(series.y)))
            if not first:
                return series
            return replace(
                series,
                start=self.timestamps(series, first, 1)[0],
                y=series.y[first:],
                past=series.past[first:],
                future=series.future[first:],
            )

        return replace(self, series=tuple(cut(series) for series in self.series))

    def without_last(self, steps: int) -> SeriesTable:
        """The table as it was so many steps ago; what was known in advance stays.

        Raises:
            DataError: if a series has no more steps than these.
        """

        def cut(series: Series) -> Series:
            left = len(series.y) - steps
            if left < 1:
                raise DataError(
                    f"series {series.id!r} has {len(series.y)} time steps, all of them among the"
                    f" last {steps} that are to be forecast: give more data or fewer windows"
                )
            return replace(series, y=series.y[:left], past=series.past[:left])

        return replace(self, series=tuple(cut(series) for series in self.series))

    def with_values(self, values: NDArray[np.float64]) -> SeriesTable:
        """The table with K values, shape (N, K), after each series; their covariates missing."""

        def extend(series: Series, more: NDArray[np.float64]) -> Series:
            unknown = np.full((len(more), series.past.shape[1]), np.nan)
            return replace(
                series,
                y=np.concatenate([series.y, more]),
                past=np.concatenate([series.past, unknown]),
            )

        pairs = zip(self.series, values, strict=True)
        return replace(self, series=tuple(extend(series, more) for series, more in pairs))

    def require_every_step(self) -> None:
        """Check that the grid is in use: that of no series only every n-th step is ever observed.

        A few values that happen to lie so are no sign of it, unless there is nothing else.

        Raises:
            DataError: naming the first series of another step.
        """
        gaps = [np.diff(np.flatnonzero(np.isfinite(series.y))) for series in self.series]
        strides = [int(np.gcd.reduce(own)) for own in gaps]
        common = int(np.gcd.reduce(np.array(strides)))
        if common > 1:
            advice = f"resample it to {self.freq}, or fit a model of its step, without rows between"
        else:
            advice = "the series of one model have one step: leave it out, or resample it"
        for series, stride, own in zip(self.series, strides, gaps, strict=True):
            if stride > 1 and (common > 1 or len(own) >= _ENOUGH_GAPS):
                raise DataError(
                    f"series {series.id!r} has a value every {stride} steps of {self.freq} and none"
                    f" between; {advice}"
                )

    def require_future(self, steps: int) -> None:
        """Check that what is known in advance is known for so many steps past each series' end.

        Raises:
            DataError: naming the series, the columns and how far they must reach.
        """
        for series in self.series if self.columns.future else ():
            end = len(series.y)
            reach = end + steps
            if len(series.future) < reach:
                raise DataError(
                    f"series {series.id!r}: {', '.join(self.columns.future)} must be given for all"
                    f" {steps} steps to forecast, until {self.timestamps(series, reach - 1, 1)[0]}:"
                    f" append rows with an empty {self.columns.target}"
                )
            missing = np.isnan(series.future[end:reach])
            if missing.any():
                step, column = (int(index) for index in np.argwhere(missing)[0])
                name = self.future_names[column].partition("=")[0]
                raise DataError(
                    f"series {series.id!r}: {name} has no value at"
                    f" {self.timestamps(series, end + step, 1)[0]}, and must be given for all"
                    f" {steps} steps to forecast: fill it in"
                )

    def sha256(self) -> str:
        """A hash of all that a model is trained on."""
        digest = hashlib.sha256(f"{self.freq} {self.columns}".encode())
        for series in self.series:
            digest.update(f"{series.id} {series.start}".encode())
            for array in (series.y, series.past, series.future, series.static):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def season_lengths(freq: str) -> tuple[int, ...]:
    """Give the natural seasons of a frequency, in steps.

    Steps below a minute have the hour and the day, steps below a week the day and the week,
    weeks the year of 52, months and quarters the year. A cycle that is no whole number of
    steps, or more than 10,000 of them, is left out.

    Args:
        freq: As in `Frequency.parse`.

    Returns:
        Season lengths, ascending; empty for years and for integer time.

    Raises:
        UsageError: if freq is not a frequency.

    Source: Hyndman & Athanasopoulos, FPP3, 2.1, the table of seasonal periods.

    >>> season_lengths("1h"), season_lengths("1mo"), season_lengths("1")
    ((24, 168), (12,), ())
    """
    frequency = Frequency.parse(freq)
    if frequency.unit == "":
        return ()
    if frequency.unit == "mo":
        cycles = [12]
    elif frequency.size >= _MICROSECONDS["w"]:
        cycles = [52 * _MICROSECONDS["w"]]
    else:
        units = ("h", "d", "w") if frequency.size < _MICROSECONDS["m"] else ("d", "w")
        cycles = [_MICROSECONDS[unit] for unit in units]
    return tuple(
        cycle // frequency.size
        for cycle in cycles
        if cycle % frequency.size == 0 and 2 <= cycle // frequency.size <= _LONGEST_SEASON
    )
