"""Series as a recurrent network sees them: per-step inputs, and forecasts to make at any step.

Everything at step t is computed from steps up to t alone (covariates known in advance excepted),
so a stream that is stepped gives the same numbers as the whole series at once.

Letters here: N series, T steps, D inputs of a step, K horizon, F values known in advance,
C candidate forecasts; R is the number of forecasts made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noria.features.calendar import calendar_features
from noria.features.series import Series, SeriesTable

__all__ = ["CovariateScaler", "Forks", "Panel", "calendar_cycles"]

Floats = NDArray[np.float64]

_REPEATS = 3
"""Seasons averaged in the candidate that is smoother than the seasonal naive forecast."""

_PLAIN_WINDOW = 8
"""Steps of the level's moving average where the series has no season."""


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
    """

    candidates: NDArray[np.float32]
    known: NDArray[np.float32]
    target: NDArray[np.float32]


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
        self.scaler = scaler or CovariateScaler.fit(
            np.concatenate(
                [
                    _covariates(series, int(end))
                    for series, end in zip(table.series, ends, strict=True)
                ]
            )
        )
        prepared = [self._prepare(series) for series in table.series]
        self._offset = np.concatenate([[0], np.cumsum(self.lengths)])
        self._known_offset = np.concatenate([[0], np.cumsum([len(p.known) for p in prepared])])
        self._y = np.concatenate([series.y for series in table.series])
        self._level = np.concatenate([p.level for p in prepared])
        self._scale = np.concatenate([p.scale for p in prepared])
        self._last = np.concatenate([p.last for p in prepared])
        self._filled = [
            np.concatenate([p.filled[index] for p in prepared]) for index in range(len(seasons))
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
        self, series: NDArray[np.int64], t: NDArray[np.int64], window: int
    ) -> NDArray[np.float32]:
        """The last `window` values up to each step, scaled as the inputs are: a fixed window.

        Args:
            series: Indices, shape (R,).
            t: Steps, shape (R,).
            window: W.

        Returns:
            Shape (R, W + D): the values, zeros before a series begins, then the step's inputs.
        """
        steps = t[:, None] - np.arange(window)[::-1]
        here = self._offset[series] + t
        values = self._last[self._offset[series, None] + np.maximum(steps, 0)]
        values = np.arcsinh((values - self._level[here, None]) / self._scale[here, None])
        values[steps < 0] = 0.0
        joined = np.concatenate([values, self._inputs[here]], axis=1)
        return joined.astype(np.float32)

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
        level, scale = self._level[here, None], self._scale[here, None]
        ahead = np.arange(1, self.horizon + 1)
        # the last value; for each season the value of a season before, the mean of three of
        # them, and the first moved by how far the level has moved since; last, the level
        candidates = [np.repeat(self._last[here, None], self.horizon, 1)]
        for season, filled in zip(self.seasons, self._filled, strict=True):
            back = -(-ahead // season) * season
            latest = t[:, None] + ahead - back
            one = filled[offset[:, None] + np.maximum(latest, 0)]
            one = np.where(latest >= 0, one, self._last[here, None])
            mean = one.copy()
            for repeat in range(1, _REPEATS):
                earlier = latest - repeat * season
                value = filled[offset[:, None] + np.maximum(earlier, 0)]
                mean += np.where(earlier >= 0, value, one)
            origin = t - back[0]
            moved = self._level[here] - self._level[offset + np.maximum(origin, 0)]
            moved = np.where(origin >= 0, moved, 0.0)
            candidates += [one, mean / _REPEATS, one + moved[:, None]]
        scaled = (np.stack(candidates, axis=2) - level[:, :, None]) / scale[:, :, None]
        scaled = np.concatenate([scaled, np.zeros_like(scaled[:, :, :1])], axis=2)
        future = t[:, None] + ahead
        limit = self.lengths[series] if ends is None else np.minimum(ends, self.lengths[series])
        inside = future < limit[:, None]
        target = self._y[offset[:, None] + np.where(inside, future, 0)]
        target = np.where(inside, (target - level) / scale, np.nan)
        known = self._known[self._known_offset[series][:, None] + future]
        return Forks(scaled.astype(np.float32), known, target.astype(np.float32))

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

    def _prepare(self, series: Series) -> _Prepared:
        y = series.y
        steps = len(y)
        last = _carry_forward(y)
        seasons = self.seasons
        level = _moving_mean(y, seasons[0] if seasons else _PLAIN_WINDOW, last)
        filled = [_fill_by_season(y, season, last) for season in seasons]
        scale = _running_scale(last, filled, seasons, level)
        differences = [y - level, np.diff(last, prepend=last[0])]
        for season, values in zip(seasons, filled, strict=True):
            before = np.concatenate([last[: min(season, steps)], values[:-season]])[:steps]
            differences.append(np.where(np.arange(steps) >= season, last - before, 0.0))
            upcoming = np.arange(1, steps + 1) - season
            following = np.where(upcoming >= 0, values[np.maximum(upcoming, 0)], level)
            differences.append(following - level)
        missing = ~np.isfinite(y)
        inputs = np.arcsinh(np.nan_to_num(np.stack(differences, axis=1)) / scale[:, None])
        known = self._known_rows(series)
        covariates = self.scaler(_covariates(series, steps))
        past = covariates[:, : series.past.shape[1]]
        static = covariates[:, covariates.shape[1] - len(series.static) :]
        columns = [inputs, missing[:, None], past, static, known[1 : steps + 1]]
        return _Prepared(
            level, scale, last, filled, np.concatenate(columns, axis=1).astype(np.float32), known
        )

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
    level: Floats
    scale: Floats
    last: Floats
    filled: list[Floats]
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


def _carry_forward(y: Floats) -> Floats:
    """Missing values replaced by the latest observed one; the first value must be observed."""
    return y[np.maximum.accumulate(np.where(np.isfinite(y), np.arange(len(y)), 0))]


def _fill_by_season(y: Floats, season: int, last: Floats) -> Floats:
    """Missing values replaced by the value a season before, else by the latest observed."""
    filled = y.copy()
    for t in np.flatnonzero(~np.isfinite(y)):
        filled[t] = filled[t - season] if t >= season else last[t]
    return filled


def _moving_mean(y: Floats, window: int, otherwise: Floats) -> Floats:
    """Mean of the observed values among the last `window`; `otherwise` where there is none."""
    observed = np.isfinite(y)
    first = otherwise[0]  # taken off, the sums stay small, and those of a constant series 0
    total = np.cumsum(np.where(observed, y - first, 0.0))
    count = np.cumsum(observed)
    total[window:] -= total[:-window].copy()
    count[window:] -= count[:-window].copy()
    return np.where(count > 0, first + total / np.maximum(count, 1), otherwise)


def _running_scale(
    last: Floats, filled: list[Floats], seasons: tuple[int, ...], level: Floats
) -> Floats:
    """Mean absolute seasonal difference of all steps so far, the unit of all errors.

    It is what MASE divides by. Before a season and a half has passed, and without a season, the
    differences are those from step to step. It never falls under a hundredth of the mean distance
    from the level; a series that has not moved yet has scale 1.
    """
    steps = len(last)
    count = np.maximum(np.arange(steps), 1)
    scale = np.cumsum(np.abs(np.diff(last, prepend=last[0]))) / count
    if seasons and steps > seasons[0]:
        season, values = seasons[0], filled[0]
        difference = np.zeros(steps)
        difference[season:] = np.abs(values[season:] - values[:-season])
        passed = np.arange(steps) - season + 1
        seasonal = np.cumsum(difference) / np.maximum(passed, 1)
        scale = np.where(passed >= max(season // 2, 1), seasonal, scale)
    spread = np.cumsum(np.abs(last - level)) / (np.arange(steps) + 1)
    scale = np.maximum(scale, 0.01 * spread)
    return np.where(scale > 0, scale, 1.0)
