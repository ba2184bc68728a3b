"""The rows of a long table in the order of its series and of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noria.errors import DataError, UsageError
from noria.features.series import Frequency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from noria.features.source import Source

__all__ = ["SortedRows"]

_DAY = 86_400_000_000


@dataclass(frozen=True)
class SortedRows:
    """The rows of a table, sorted by series and time; N rows, S series.

    Attributes:
        data: The table.
        order: Index in the table of each sorted row, shape (N,).
        times: Timestamps, microseconds or step numbers, shape (N,).
        integer: The timestamps are step numbers.
        zone: Their time zone, and whether they are what its clocks show; see `ParsedTimes`.
        ids: The series.
        owner: Series of each row, shape (N,).
        first: First row of each series, shape (S,).
    """

    data: Source
    order: NDArray[np.intp]
    times: NDArray[np.int64]
    integer: bool
    zone: tuple[str | None, bool]
    ids: tuple[str, ...]
    owner: NDArray[np.int64]
    first: NDArray[np.intp]

    @classmethod
    def sort(cls, data: Source) -> SortedRows:
        """Sort a table.

        Raises:
            DataError: if a series has a timestamp twice.
        """
        owner, ids = data.ids()
        parsed = data.times()
        order = np.lexsort((parsed.values, owner))
        owner, times = owner[order], parsed.values[order]
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        rows = cls(
            data, order, times, parsed.integer, (parsed.zone, parsed.wall), ids, owner, first
        )
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
        """What messages call the time column."""
        return ",".join(self.data.time)

    def timestamp(self, index: int) -> str:
        """Time of a sorted row, as text."""
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
