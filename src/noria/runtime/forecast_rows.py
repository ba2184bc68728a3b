"""Rows of a series as a stream brings them: onto the grid, one after the other.

Letters: K horizon, Q quantiles, F values known in advance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, StateError
from noria.features.events import EventReader
from noria.features.running import Past
from noria.features.series import Frequency

__all__ = ["ForecastMemory", "RowReader", "Rows"]

Floats = NDArray[np.float64]

_DAY = 86_400_000_000
_LONGEST_GAP = 10_000
"""Steps that may lie between two rows."""

_LARGEST = 1e200
"""Of a target: one that is taken must leave room for all that is added up after it."""

_FARTHEST = 2**62
"""No timestamp of a stream is farther from 1970, in microseconds or steps."""


@dataclasses.dataclass(frozen=True, eq=False)
class ForecastMemory:
    """What a stream of a forecaster remembers besides the network's state.

    Attributes:
        start: Timestamp of the first observed row, its step 0; None before there is one.
        on_day: Every row so far fits a grid of months that keeps to the day of the month.
        on_end: Every row so far is the last day of a month, and the grid one of months.
        past: Of the target.
        static: Static covariates, encoded, NaN where missing.
        known: What was given in advance of the next K steps, (K, F), NaN where it was not.
        origin: The last observed step.
        quantiles: The forecast from there, (K, Q).
        window: Latest observed value at each of the last steps, as many as a network sees that
            starts afresh at every forecast.
    """

    start: int | None
    on_day: bool
    on_end: bool
    past: Past
    static: Floats
    known: Floats
    origin: int
    quantiles: Floats
    window: Floats

    def to_bytes(self) -> bytes:
        """Whole numbers, then all others; `from_bytes` knows how many of each there are."""
        past = self.past
        whole = [self.start is not None, self.start or 0, self.on_day, self.on_end]
        sums = np.array([past.first, past.last, past.moved, past.seasonal, past.spread])
        parts = (sums, past.y, past.level, *past.filled, self.static, self.known, self.quantiles)
        parts = (*parts, self.window)
        joined = np.concatenate([part.reshape(-1) for part in parts])
        return (
            np.array([*whole, past.steps, self.origin], "<i8").tobytes()
            + joined.astype("<f8").tobytes()
        )

    def from_bytes(self, data: bytes, seasons: Sequence[int], window: int) -> ForecastMemory:
        """Read what `to_bytes` wrote; this memory, an empty one, tells the sizes.

        Args:
            data: The bytes.
            seasons: Season lengths in steps.
            window: The most steps of the window.

        Raises:
            StateError: if it is no memory of this model.
        """
        if len(data) < 6 * 8:
            raise StateError(_DAMAGED)
        whole = [int(number) for number in np.frombuffer(data[: 6 * 8], "<i8")]
        started, start, on_day, on_end, steps, origin = whole
        flags = {started, on_day, on_end} <= {0, 1} and started == (steps > 0)
        if not flags or abs(start) >= _FARTHEST or not 0 <= origin <= max(steps - 1, 0):
            raise StateError(_DAMAGED)
        sizes = (5, *Past.sizes(steps, seasons), self.static.size, self.known.size)
        ends = np.cumsum([*sizes, self.quantiles.size, min(steps, window)]).tolist()
        if steps >= _FARTHEST or len(data) != 8 * (6 + ends[-1]):
            raise StateError(_DAMAGED)
        numbers = np.frombuffer(data[6 * 8 :], "<f8").astype(np.float64)
        sums, y, level, *filled, static, known, quantiles, latest = np.split(numbers, ends[:-1])
        first, last, moved, seasonal, spread = sums.tolist()
        if not all(np.isfinite(part).all() for part in (sums, level, *filled, quantiles, latest)):
            raise StateError(_DAMAGED)
        if np.isinf(y).any() or np.isinf(static).any() or np.isinf(known).any():
            raise StateError(_DAMAGED)
        return ForecastMemory(
            start=start if started else None,
            on_day=bool(on_day),
            on_end=bool(on_end),
            past=Past(steps, first, last, moved, seasonal, spread, y, level, tuple(filled)),
            static=static,
            known=known.reshape(self.known.shape),
            origin=origin,
            quantiles=quantiles.reshape(self.quantiles.shape),
            window=latest,
        )


_DAMAGED = "the saved state is damaged: it does not fit its model"


class Rows:
    """Rows that were read one after the other: where the series stands and what they brought.

    Attributes:
        start: Timestamp of step 0; None before there is one.
        on_day: See `ForecastMemory`.
        on_end: Likewise.
        static: Likewise.
        known: Likewise.
        steps: Steps of the series so far.
        y: Targets of the new steps, NaN where missing.
        past: Covariates known up to now of each new step.
        next: What was known in advance of the step after each new one, (F,).
        last: Index among the new steps of each row, -1 for one before the first observed.
        observed: Indices of the rows with a target.
        ahead: What was known in advance of the K steps after each of those, (K, F).
        month_end: For each row, whether the grid falls on the last days of months.
    """

    def __init__(self, memory: ForecastMemory) -> None:
        self.start = memory.start
        self.on_day, self.on_end = memory.on_day, memory.on_end
        self.static = memory.static
        self.known = memory.known
        self.steps = memory.past.steps
        self.y: list[float] = []
        self.past: list[Floats] = []
        self.next: list[Floats] = []
        self.last: list[int] = []
        self.observed: list[int] = []
        self.ahead: list[Floats] = []
        self.month_end: list[bool] = []

    def add_step(self, y: float, past: Floats, known: Floats) -> None:
        """One more step of the series, with what is known of the K after it."""
        self.steps += 1
        self.y.append(y)
        self.past.append(past)
        self.known = known
        self.next.append(known[0])

    def end_row(self, *, observed: bool) -> None:
        """The row is read, and its step, if it has one, is the last so far."""
        if observed:
            self.observed.append(len(self.last))
            self.ahead.append(self.known)
        self.last.append(len(self.y) - 1)
        self.month_end.append(self.on_end)


class RowReader:
    """Puts rows on the grid of their series.

    Args:
        events: Reads a row's values.
        frequency: Step of the grid.
        horizon: K.
    """

    def __init__(self, events: EventReader, frequency: Frequency, horizon: int) -> None:
        self._events = events
        self._columns = events.columns
        self._frequency = frequency
        self._horizon = horizon

    def read(self, memory: ForecastMemory, events: Sequence[Any]) -> Rows:
        """Go on with a series; a gap in time becomes steps whose target is missing.

        Raises:
            DataError: if a row cannot be read, is not later than the one before, does not fit the
                grid, changes a static covariate, or lacks what is to be known in advance.
        """
        rows = Rows(memory)
        for event in events:
            if not isinstance(event, dict):
                raise DataError("an event is an object, a row of the table by its columns")
            self._take(rows, event)
        return rows

    def _take(self, rows: Rows, event: Mapping[str, Any]) -> None:
        time = self._events.time(event)
        target = self._events.target(event)
        if abs(target) > _LARGEST:
            raise DataError(
                f"column {self._columns.target!r}: {target:g} is so large that differences would"
                " overflow; correct it or give null"
            )
        observed = not np.isnan(target)
        past = self._events.covariates(event, self._columns.past)
        static = self._events.covariates(event, self._columns.static)
        if rows.start is None and observed:
            rows.start, rows.static = time, static
            rows.on_end = rows.on_end and _is_month_end(time)
        elif rows.start is not None:
            self._step_to(rows, time)
            self._check_static(rows, static)
        if rows.start is not None:
            rows.add_step(target, past, self._known_ahead(rows, event, needed=observed))
        rows.end_row(observed=observed)

    def _step_to(self, rows: Rows, time: int) -> None:
        """Fill the gap up to a timestamp."""
        assert rows.start is not None
        name = self._columns.time
        stamp = self.texts(np.array([time]))[0]
        position = self._position(rows, time)
        if position is None:
            raise DataError(f"column {name!r}: {stamp} does not fit a step of {self._frequency}")
        if position < rows.steps:
            latest = self.stamps(rows.start, np.array([rows.steps - 1]), rows.on_end)
            raise DataError(
                f"column {name!r}: {stamp} is not after {self.texts(latest)[0]}, which the"
                " stream has had; give rows in order, each once"
            )
        gap = position - rows.steps
        if gap > _LONGEST_GAP:
            raise DataError(
                f"column {name!r}: {stamp} comes {gap:,} steps of {self._frequency} after the last"
                f" row, more than {_LONGEST_GAP:,}; correct it, or start the stream afresh"
            )
        nothing = np.full(self._events.width(self._columns.past), np.nan)
        unknown = np.full((1, rows.known.shape[1]), np.nan)
        for _ in range(gap):
            rows.add_step(float("nan"), nothing, np.concatenate([rows.known[1:], unknown]))

    def _position(self, rows: Rows, time: int) -> int | None:
        """The step of a timestamp; None where it lies on no grid with those before."""
        assert rows.start is not None
        if self._frequency.unit != "mo":
            position, off = divmod(time - rows.start, self._frequency.size)
            return None if off else position
        times, origins = np.array([time]), np.array([rows.start])
        positions, on_day = self._frequency.positions(times, origins)
        on_end = self._frequency.positions(times, origins, month_end=True)[1]
        stays_on_day = rows.on_day and bool(on_day[0])
        rows.on_end = rows.on_end and _is_month_end(time)
        if not (on_end[0] if rows.on_end else stays_on_day):
            return None
        rows.on_day = stays_on_day
        return int(positions[0])

    def _check_static(self, rows: Rows, static: Floats) -> None:
        changed = ~np.isnan(static) & (static != rows.static)
        if changed.any():
            names = [n for n in self._columns.static for _ in range(self._events.width((n,)))]
            name = names[int(np.argmax(changed))]
            raise DataError(
                f"column {name!r}: the static covariate changes within the stream; give it from"
                " the first row on, always the same"
            )

    def _known_ahead(self, rows: Rows, event: Mapping[str, Any], *, needed: bool) -> Floats:
        """What is known in advance of the K steps after this row, (K, F)."""
        names = self._columns.future
        if not names:
            return rows.known
        given = event.get("future")
        if given is None and not needed:
            unknown = np.full((1, rows.known.shape[1]), np.nan)
            return np.concatenate([rows.known[1:], unknown])
        wants = f"'future' must be a list of the {self._horizon} rows after this one, with"
        if not isinstance(given, list) or len(given) < self._horizon:
            raise DataError(f"{wants} {', '.join(names)}")
        known = []
        assert rows.start is not None
        for ahead, row in enumerate(given[: self._horizon], start=1):
            if not isinstance(row, dict):
                raise DataError(f"{wants} {', '.join(names)}: row {ahead} is no object")
            try:
                known.append(self._events.covariates(row, names))
                if self._columns.time in row:
                    stamps = self.stamps(rows.start, np.array([rows.steps + ahead]), rows.on_end)
                    if self._events.time(row) != int(stamps.astype(np.int64)[0]):
                        wanted = self.texts(stamps)[0]
                        raise DataError(f"column {self._columns.time!r}: it is not {wanted}")
            except DataError as error:
                raise DataError(f"'future', row {ahead}: {error}") from None
        return np.stack(known)

    def stamps(self, start: int, positions: NDArray[np.int64], month_end: bool) -> NDArray[Any]:
        """Timestamps of a grid, datetime64[us], or int64 for integer time."""
        times = self._frequency.at(np.asarray(start), positions, month_end)
        return times if self._frequency.unit == "" else times.astype("M8[us]")

    def texts(self, stamps: NDArray[Any]) -> list[Any]:
        """Timestamps as texts with a fraction of a second only where there is one; or numbers."""
        times = stamps.astype(np.int64)
        if self._frequency.unit == "":
            numbers: list[Any] = times.tolist()
            return numbers
        unit: Literal["us", "s"] = "us" if (times % 1_000_000).any() else "s"
        moments: NDArray[np.datetime64] = times.astype("M8[us]")
        texts: list[Any] = np.datetime_as_string(moments, unit=unit).tolist()
        return texts


def _is_month_end(time: int) -> bool:
    """Whether the day after is the first of a month."""
    tomorrow = np.asarray(time // _DAY + 1).astype("M8[D]")
    return bool(tomorrow == tomorrow.astype("M8[M]"))
