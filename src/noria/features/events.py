"""A row of a table as a stream gives it: an object of JSON values, read as the table reader would.

Errors name the column. Axes: P covariates known up to now, F known in advance, S static, encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from reprlib import repr as shown
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError
from noria.features.series import CLOCK, MISSING, Columns

__all__ = ["EventReader"]

Floats = NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LARGEST_STEP = 2**53


class EventReader:
    """Reads rows as a model was fitted on them.

    Args:
        columns: Which column is what.
        categories: Values of each text covariate.
        integer_time: The time column holds step numbers, not timestamps.
    """

    def __init__(
        self, columns: Columns, categories: Mapping[str, Sequence[str]], *, integer_time: bool
    ) -> None:
        self.columns = columns
        self.categories = {name: tuple(values) for name, values in categories.items()}
        self.integer_time = integer_time

    def width(self, names: Sequence[str]) -> int:
        """How many numbers encode these covariates."""
        return sum(len(self.categories.get(name, (name,))) for name in names)

    def time(self, row: Mapping[str, Any]) -> int:
        """The timestamp, in microseconds since 1970 in UTC, or the step number.

        Raises:
            DataError: if it is missing or cannot be read.
        """
        name = self.columns.time
        if name in row or "," not in name:
            value = _value(row, name)
        else:
            value = self._joined(row, [part.strip() for part in name.split(",")])
        return self._step(name, value) if self.integer_time else _timestamp(name, value)

    def _joined(self, row: Mapping[str, Any], names: list[str]) -> str:
        """A timestamp that several columns make up, as one text."""
        if not {name.lower() for name in names} <= set(CLOCK):
            return " ".join(str(_value(row, name)).strip() for name in names)
        parts = {name.lower(): self.number(row, name) for name in names}
        for name, part in parts.items():
            if not (part >= 0 and part == np.floor(part) and part <= 9999):
                raise DataError(f"column {name!r}: {part:g} is no {name}")
        year, month, day, hour, minute, second = (
            int(parts.get(name, name in ("month", "day"))) for name in CLOCK
        )
        return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"

    def _step(self, name: str, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,16}(\.0*)?", value.strip()):
            value = int(value.strip().partition(".")[0])
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST_STEP:
            raise DataError(f"column {name!r}: {shown(value)} is not a step number")
        return value

    def target(self, row: Mapping[str, Any]) -> float:
        """The target, NaN where missing.

        Raises:
            DataError: if it is not there or no finite number.
        """
        return self.number(row, self.columns.target)

    def covariates(self, row: Mapping[str, Any], names: Sequence[str]) -> Floats:
        """Covariates, encoded side by side, NaN where missing.

        Raises:
            DataError: if one is not there or cannot be read.
        """
        values: list[float] = []
        for name in names:
            if name in self.categories:
                values += self._one_hot(row, name)
            else:
                values.append(self.number(row, name))
        return np.array(values, np.float64)

    def _one_hot(self, row: Mapping[str, Any], name: str) -> list[float]:
        value = _value(row, name)
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str | int | None):
            raise DataError(f"column {name!r}: {shown(value)} is not a text")
        text = "" if value is None else str(value).strip()
        if text.lower() in MISSING:
            return [np.nan] * len(self.categories[name])
        return [float(text == category) for category in self.categories[name]]

    def number(self, row: Mapping[str, Any], name: str) -> float:
        """The number in a column, NaN where missing.

        Raises:
            DataError: if it is not there or no finite number.
        """
        value = _value(row, name)
        if isinstance(value, str):
            text = value.strip()
            if text.lower() in MISSING:
                return float("nan")
            value = float(text) if _NUMBER.fullmatch(text) else value
        if value is None:
            return float("nan")
        if not isinstance(value, int | float):
            raise DataError(
                f"column {name!r}: {shown(value)} is not a number; correct it or give null"
            )
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if abs(number) == float("inf"):
            raise DataError(f"column {name!r}: the number is infinite; correct it or give null")
        return number


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise DataError(f"the event has no {name!r}; a missing value is given as null")
    return row[name]


def _timestamp(name: str, value: Any) -> int:
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not text or text.lower() in MISSING:
        raise DataError(f"column {name!r}: {shown(value)} is not a timestamp")
    match = _ISO.fullmatch(text)
    if match is None:
        return _parsed_by_table(name, text)
    date, clock, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock or '00:00'}{zone or 'Z'}")
    except ValueError as error:
        raise DataError(f"column {name!r}: {shown(value)} is not a timestamp: {error}") from None
    if moment.year < 1000:
        raise DataError(f"column {name!r}: {shown(value)} is not a timestamp after the year 1000")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _parsed_by_table(name: str, text: str) -> int:
    """A timestamp that is not written as ISO 8601, as the table reader reads it."""
    try:
        import polars as pl

        from noria.features.timestamps import TimestampError, parse_timestamps
    except ModuleNotFoundError:
        raise DataError(
            f"column {name!r}: {shown(text)} is not a timestamp such as 2024-01-31T23:59:59"
        ) from None
    try:
        parsed = parse_timestamps(pl.Series([text]))
    except TimestampError as error:
        raise DataError(f"column {name!r}: {error.reason}") from None
    if parsed.integer:
        raise DataError(f"column {name!r}: {shown(text)} is a step number, not a timestamp")
    return int(parsed.values[0])
