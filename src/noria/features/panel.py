"""Series as a recurrent network sees them: per-step inputs, and forecasts to make at any step.

Everything at step t is computed from steps up to t alone (covariates known in advance excepted),
so a stream that is stepped gives the same numbers as the whole series at once.

Letters here: N series, T steps, D inputs of a step, K horizon, F values known in advance,
C candidate forecasts; R is the number of forecasts made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError
from noria.features.calendar import calendar_features
from noria.features.running import Lookup, Past, Stretch, Window, observe, plain_forecasts
from noria.features.series import Series, SeriesTable

__all__ = ["CovariateScaler", "Forks", "Panel", "calendar_cycles"]

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class CovariateScaler:
    """Means and standard deviations of the covariates over the training part.

    Attributes:
        mean: Of past, then known, then static covariates, as they stand side by side.
        deviation: Likewise; 1 where a covariate is constant.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, rows: Floats) -> CovariateScaler:
        """From rows of covariates, shape (rows, columns); NaN is left out."""
        if not rows.shape[1]:
            return cls(np.zeros(0), np.ones(0))
        known = np.isfinite(rows)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, rows, 0).sum(0) / count
        variance = np.where(known, (rows - mean) ** 2, 0).sum(0) / count
        return cls(mean, np.where(variance > 0, np.sqrt(variance), 1.0))

    def __call__(self, rows: Floats) -> Floats:
        """Standardised; a missing value becomes 0, the mean."""
        return np.nan_to_num((rows - self.mean) / self.deviation, nan=0.0)


@dataclasses.dataclass(frozen=True)
class Forks:
    """What the head needs to forecast from R steps, and what came after them.

    Attributes:
        candidates: Plain forecasts in units of the scale, shape (R, K, C).
        known: Known in advance, shape (R, K, F).
        target: What came, in units of the scale relative to the level, shape (R, K); NaN where
            it is missing or not given.
        level: In the series' units, shape (R, 1).
        scale: Likewise.
    """

    candidates: NDArray[np.float32]
    known: NDArray[np.float32]
    target: NDArray[np.float32]
    level: NDArray[np.float32]
    scale: NDArray[np.float32]


def calendar_cycles(table: SeriesTable) -> tuple[str, ...]:
    """Names of the calendar features whose cycle comes round at least twice in the data.

    A cycle seen once cannot be told from a trend.
    """
    longest = max(table.series, key=lambda series: len(series.y))
    stamps = table.timestamps(longest, 0, len(longest.y))
    names, _ = calendar_features(stamps[:1], table.freq)
    if not names:
        return ()
    days = (stamps[-1] - stamps[0]) / np.timedelta64(1, "D")
    return tuple(name for name in names if days >= 2 * _cycle_days(name))


def _cycle_days(name: str) -> float:
    cycle = name.rsplit("_", 2)[1]
    return {"minute": 1 / 1440, "hour": 1 / 24, "day": 1, "week": 7, "month": 31, "year": 366}[
        cycle
    ]


class Panel:
    """A table of series, prepared.

    Args:
        table: The series, each from its first observed target on.
        seasons: Season lengths in steps, ascending; may be empty.
        horizon: K.
        calendar: Names of the calendar features to use; see `calendar_cycles`.
        scaler: Of the covariates; None fits one on the steps before `train_ends`.
        train_ends: For each series the first step that is not for training; None for all steps.

    Attributes:
        lengths: T of each series, shape (N,).
        scaler: The scaler in use.

    Raises:
        DataError: if a scaler is to be fitted and a covariate has no value there.
    """

    def __init__(
        self,
        table: SeriesTable,
        seasons: Sequence[int],
        horizon: int,
        calendar: Sequence[str] = (),
        scaler: CovariateScaler | None = None,
        train_ends: NDArray[np.int64] | None = None,
    ) -> None:
        self.table = table
        self.seasons = tuple(seasons)
        self.horizon = horizon
        self.calendar = tuple(calendar)
        self.lengths = np.array([len(series.y) for series in table.series], dtype=np.int64)
        ends = self.lengths if train_ends is None else train_ends
        self.scaler = scaler or self._fit_scaler(ends)
        prepared = [self._prepare(series) for series in table.series]
        self._offset = np.concatenate([[0], np.cumsum(self.lengths)])
        self._known_offset = np.concatenate([[0], np.cumsum([len(p.known) for p in prepared])])
        self._y = np.concatenate([series.y for series in table.series])
        self._level = np.concatenate([p.stretch.level for p in prepared])
        self._scale = np.concatenate([p.stretch.scale for p in prepared])
        self._last = np.concatenate([p.stretch.last for p in prepared])
        self._filled = [
            np.concatenate([p.stretch.filled[index] for p in prepared])
            for index in range(len(seasons))
        ]
        self._inputs = np.concatenate([p.inputs for p in prepared])
        self._known = np.concatenate([p.known for p in prepared])

    @property
    def input_size(self) -> int:
        """D."""
        return int(self._inputs.shape[1])

    @property
    def known_size(self) -> int:
        """F."""
        return int(self._known.shape[1])

    @property
    def candidate_size(self) -> int:
        """C."""
        return 2 + 3 * len(self.seasons)

    def inputs(
        self, series: NDArray[np.int64], starts: NDArray[np.int64], steps: int
    ) -> NDArray[np.float32]:
        """The inputs of a stretch of each given series, zeros past its end.

        Args:
            series: Indices, shape (B,).
            starts: First step of each stretch, shape (B,).
            steps: T.

        Returns:
            Shape (B, T, D).
        """
        t = starts[:, None] + np.arange(steps)
        inside = t < self.lengths[series, None]
        rows = self._offset[series, None] + np.where(inside, t, 0)
        result: NDArray[np.float32] = np.where(inside[..., None], self._inputs[rows], np.float32(0))
        return result

    def recent(
        self, series: NDArray[np.int64], t: NDArray[np.int64], window: Window
    ) -> NDArray[np.float32]:
        """The window up to each step; see `Window.inputs`.

        Args:
            series: Indices, shape (R,).
            t: Steps, shape (R,).
            window: How long, and in which segments.
        """
        here = self._offset[series] + t
        last = Lookup(self._last, self._offset[series], np.zeros_like(t))
        return window.inputs(t, last, self._level[here], self._scale[here], self._inputs[here])

    def forks(
        self,
        series: NDArray[np.int64],
        t: NDArray[np.int64],
        ends: NDArray[np.int64] | None = None,
    ) -> Forks:
        """What it takes to forecast the K steps after each given step.

        Args:
            series: Indices, shape (R,).
            t: The last step that is known, shape (R,).
            ends: Targets from this step on are not looked at, shape (R,); None for the length.
        """
        offset = self._offset[series]
        here = offset + t
        beginning = np.zeros_like(t)
        candidates = plain_forecasts(
            t,
            self.horizon,
            self.seasons,
            self._last[here],
            self._level[here],
            self._scale[here],
            Lookup(self._level, offset, beginning),
            [Lookup(filled, offset, beginning) for filled in self._filled],
        )
        future = t[:, None] + np.arange(1, self.horizon + 1)
        limit = self.lengths[series] if ends is None else np.minimum(ends, self.lengths[series])
        inside = future < limit[:, None]
        target = self._y[offset[:, None] + np.where(inside, future, 0)]
        level, scale = self._level[here, None], self._scale[here, None]
        target = np.where(inside, (target - level) / scale, np.nan)
        known = self._known[self._known_offset[series][:, None] + future]
        target, level, scale = (part.astype(np.float32) for part in (target, level, scale))
        return Forks(candidates, known, target, level, scale)

    def level_and_scale(
        self, series: NDArray[np.int64], t: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Level and scale at given steps, each (R, 1, 1), in the series' units."""
        here = (self._offset[series] + t)[:, None, None]
        return self._level[here], self._scale[here]

    def actual(self, series: NDArray[np.int64], t: NDArray[np.int64]) -> Floats:
        """The K values after each given step, shape (R, K), NaN past a series' end."""
        future = t[:, None] + np.arange(1, self.horizon + 1)
        inside = future < self.lengths[series, None]
        rows = self._offset[series, None] + np.where(inside, future, 0)
        return np.where(inside, self._y[rows], np.nan)

    def _fit_scaler(self, ends: NDArray[np.int64]) -> CovariateScaler:
        """Measure the covariates of each series up to its end, and see that each has a value."""
        table = self.table
        rows = np.concatenate(
            [_covariates(own, int(end)) for own, end in zip(table.series, ends, strict=True)]
        )
        names = (*table.past_names, *table.future_names, *table.static_names)
        for name, observed in zip(names, np.isfinite(rows).any(axis=0), strict=True):
            if not observed:
                raise DataError(
                    f"column {name.partition('=')[0]!r}: has no value in the part to learn from;"
                    " leave it out"
                )
        return CovariateScaler.fit(rows)

    def _prepare(self, series: Series) -> _Prepared:
        steps = len(series.y)
        stretch = observe(Past.empty(self.seasons), series.y, self.seasons)
        known = self._known_rows(series)
        covariates = self.scaler(_covariates(series, steps))
        past = covariates[:, : series.past.shape[1]]
        static = covariates[:, covariates.shape[1] - len(series.static) :]
        columns: list[NDArray[Any]] = [stretch.inputs, past, static, known[1 : steps + 1]]
        return _Prepared(stretch, np.concatenate(columns, axis=1).astype(np.float32), known)

    def _known_rows(self, series: Series) -> NDArray[np.float32]:
        """Calendar and known covariates from the first step to a horizon past the last."""
        count = len(series.y) + self.horizon
        names, cycles = calendar_features(self.table.timestamps(series, 0, count), self.table.freq)
        calendar = cycles[:, [names.index(name) for name in self.calendar]]
        first = series.past.shape[1]
        given = _future(series, count)
        width = given.shape[1]
        part = CovariateScaler(
            self.scaler.mean[first : first + width], self.scaler.deviation[first : first + width]
        )
        return np.concatenate([calendar, part(given)], axis=1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    stretch: Stretch
    inputs: NDArray[np.float32]
    known: NDArray[np.float32]


def _covariates(series: Series, end: int) -> Floats:
    """Past, known and static covariates side by side, shape (end, columns)."""
    static = np.broadcast_to(series.static, (end, len(series.static)))
    return np.concatenate([series.past[:end], _future(series, end), static], axis=1)


def _future(series: Series, count: int) -> Floats:
    """What is known in advance, shape (count, F); NaN where it is not given."""
    rows = np.full((count, series.future.shape[1]), np.nan)
    given = series.future[:count]
    rows[: len(given)] = given
    return rows
