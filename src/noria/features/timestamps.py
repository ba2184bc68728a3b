"""Texts into timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ParsedTimes", "TimestampError", "parse_timestamps"]

# A date, and perhaps a clock with a half of the day and a time zone.
_PATTERN = (
    r"^(?P<date>.*?)"
    r"(?:[T ]+(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}(?:\.[0-9]*)?))?)?"
    r"(?: ?(?P<half>[AaPp])[Mm])?"
    r" ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y-%m", "%Y/%m", "quarter",
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d-%b-%Y",
    "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%b %Y", "%B %Y", "%b-%Y",
)  # fmt: skip
_DAY_OR_MONTH_FIRST = {"%d/%m/%Y": "%m/%d/%Y", "%d-%m-%Y": "%m-%d-%Y"}
_SAMPLE = 1_000


class TimestampError(Exception):
    """A text that is no timestamp.

    Attributes:
        row: Index of the text.
        reason: What is wrong with it, to follow its place in the table.
    """

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


@dataclass(frozen=True)
class ParsedTimes:
    """Timestamps as integers.

    Attributes:
        values: Microseconds since 1970 in UTC, or step numbers, shape (N,), int64.
        integer: They are step numbers.
        zone: Time zone that they were written in, "UTC" for those written with offsets; None where
            there was none.
        wall: They are all midnights of their zone, the days of a calendar: `values` are what its
            clocks show, as days are not all of one length in UTC.
    """

    values: NDArray[np.int64]
    integer: bool
    zone: str | None = None
    wall: bool = False


def parse_timestamps(texts: pl.Series) -> ParsedTimes:
    """Read timestamps that are all written in one way.

    Whole numbers are step numbers, unless all are dates such as 20240131. A date is ISO's
    (2024-01-31, 2024-01, 2024Q1), or has its day or its month first (31.1.2024, 31/1/2024,
    1/31/2024, 31 Jan 2024, January 31, 2024); the clock after it is 5, 05:06, 05:06:07.8 or
    5:06 PM, and a time zone after that is Z, UTC, GMT, +01, +0100 or +01:00.

    Args:
        texts: Texts without blanks around them, shape (N,), none missing.

    Returns:
        The timestamps.

    Raises:
        TimestampError: for the first text that cannot be read, or whose day and month cannot be
            told apart, or where some have a time zone and some have none.
    """
    whole = texts.str.contains(r"^[+-]?[0-9]+(\.0*)?$")
    sample = texts.head(_SAMPLE)
    if 2 * int(whole.head(_SAMPLE).sum()) >= len(sample) and not _are_compact_dates(texts):
        steps = texts.str.extract(r"^([+-]?[0-9]+)(?:\.0*)?$", 1)
        values = steps.str.strip_prefix("+").cast(pl.Int64, strict=False)
        _refuse(texts, values.is_null(), "is not a step number, as the others are")
        return ParsedTimes(values.to_numpy(), integer=True)
    parts = texts.str.extract_groups(_PATTERN).struct.unnest()
    days = _parse_dates(texts, parts["date"])
    zone = "UTC" if parts["zone"].is_not_null().any() else None
    times = days * 86_400_000_000 + _clock(texts, parts)
    return ParsedTimes(times, integer=False, zone=zone)


def _are_compact_dates(texts: pl.Series) -> bool:
    if not bool(texts.str.contains(r"^(19|20)[0-9]{6}$").all()):
        return False
    return texts.str.to_date("%Y%m%d", strict=False).null_count() == 0


def _refuse(texts: pl.Series, faults: pl.Series, reason: str) -> None:
    row = faults.arg_max()
    if row is not None and faults[row]:
        raise TimestampError(row, f"{texts[row]!r} {reason}")


def _parse_dates(texts: pl.Series, dates: pl.Series) -> NDArray[np.int64]:
    """Read dates into days since 1970, by the one format that reads most of a sample."""
    sample = dates.head(_SAMPLE)
    best = min(_DATES, key=lambda form: _read_dates(sample, form).null_count())
    days = _read_dates(dates, best)
    if best in _DAY_OR_MONTH_FIRST:
        month_first = _read_dates(dates, _DAY_OR_MONTH_FIRST[best])
        if month_first.null_count() < days.null_count():
            days = month_first
        elif month_first.null_count() == 0 and days.null_count() == 0:
            reason = "can be read day first or month first; write dates as YYYY-MM-DD"
            _refuse(texts, days != month_first, reason)
    reason = "is not a timestamp, or not written as the others; write YYYY-MM-DD HH:MM:SS"
    _refuse(texts, days.is_null(), reason)
    return days.to_numpy()


def _read_dates(dates: pl.Series, form: str) -> pl.Series:
    if form == "quarter":
        groups = dates.str.extract_groups(r"^([0-9]{4})[- ]?[Qq]([1-4])$").struct.unnest()
        month = (groups["2"].cast(pl.Int32) * 3 - 2).cast(pl.String).str.zfill(2)
        dates, form = groups["1"] + month, "%Y%m"
    if form in ("%Y-%m", "%Y/%m", "%Y%m", "%b %Y", "%B %Y", "%b-%Y"):
        dates, form = dates + " 01", form + " %d"
    read = dates.str.to_date(form, strict=False)
    # chrono reads 1/2/24 as a day of the year 24.
    days = read.cast(pl.Int32).cast(pl.Int64)
    return pl.select(pl.when(read.dt.year() >= 1000).then(days)).to_series()


def _clock(texts: pl.Series, parts: pl.DataFrame) -> NDArray[np.int64]:
    """Give microseconds since midnight in UTC, shape (N,)."""
    zoned = parts["zone"].is_not_null()
    if zoned.any() and not zoned.all():
        this, first = ("none", "one") if zoned[0] else ("one", "none")
        reason = (
            f"mixes time zones: it has {this} and {texts[0]!r} has {first}; give all or none one"
        )
        _refuse(texts, zoned != zoned[0], reason)
    hour = _numbers(parts["hour"])
    minute = _numbers(parts["minute"])
    microsecond = np.round(parts["second"].cast(pl.Float64).fill_null(0.0).to_numpy() * 1e6)
    half = parts["half"].str.to_lowercase().fill_null("")
    latest = np.where(half == "", 23, 12)
    impossible = (hour > latest) | (minute > 59) | (microsecond >= 60_000_000)
    _refuse(texts, pl.Series(impossible), "has an hour, minute or second that no clock shows")
    hour = np.where(half == "", hour, hour % 12 + 12 * (half == "p").to_numpy())
    zone = parts["zone"].str.extract_groups("([+-])([0-9]{2}):?([0-9]{2})?").struct.unnest()
    offset = _numbers(zone["2"]) * 60 + _numbers(zone["3"])
    offset *= np.where(zone["1"].fill_null("+") == "-", -1, 1)
    minutes: NDArray[np.int64] = hour * 60 + minute - offset
    return minutes * 60_000_000 + microsecond.astype(np.int64)


def _numbers(digits: pl.Series) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = digits.cast(pl.Int64).fill_null(0).to_numpy()
    return numbers
