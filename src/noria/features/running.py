"""What a forecaster looks at in a series, computed as the series goes on.

A stretch of any length is taken after what the series left behind, `Past`, and gives the same bits
as one stretch from the beginning: every running sum goes on in the same order, and the moving mean
adds up blocks of its window, so that no sum grows without end and nothing has to be subtracted.
`Past` is a value of constant size.

Letters here: n steps of a stretch, R forecasts, K horizon, C candidate forecasts, D inputs of a
step, W steps of a window, S segments of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lookup", "Past", "Stretch", "Window", "observe", "plain_forecasts"]

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_REPEATS = 3
"""Seasons averaged in the candidate that is smoother than the seasonal naive forecast."""

_PLAIN_WINDOW = 8
"""Steps of the level's moving average where the series has no season."""


@dataclasses.dataclass(frozen=True, eq=False)
class Past:
    """What a series has left behind; `Past.empty` before its first step.

    Attributes:
        steps: Steps so far.
        first: The first value.
        last: The latest observed value.
        moved: Sum of the absolute differences from step to step.
        seasonal: Sum of the absolute differences from a season to the next.
        spread: Sum of the absolute distances from the level.
        y: Values, NaN where missing, from the block of the moving mean before the current one on.
        level: Levels of the longest season.
        filled: For each season, the values of the last three, gaps filled.
    """

    steps: int
    first: float
    last: float
    moved: float
    seasonal: float
    spread: float
    y: Floats
    level: Floats
    filled: tuple[Floats, ...]

    @classmethod
    def empty(cls, seasons: Sequence[int]) -> Past:
        """Before the first step."""
        nothing = np.empty(0)
        return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0, nothing, nothing, (nothing,) * len(seasons))

    @staticmethod
    def sizes(steps: int, seasons: Sequence[int]) -> tuple[int, ...]:
        """How long `y`, `level` and each of `filled` are after so many steps."""
        window = _window(seasons)
        return (
            steps - max(0, (steps // window - 1) * window),
            min(steps, max(seasons, default=0)),
            *(min(steps, _REPEATS * season) for season in seasons),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of a series, with all that forecasts from its steps are made of.

    Attributes:
        last: Latest observed value at each step, shape (n,).
        level: Moving mean over the shortest season, shape (n,).
        scale: The unit of all errors: the mean absolute seasonal difference so far, shape (n,).
        inputs: Distances from the level, from the step before and from the season before, in
            units of the scale and squashed; and whether the step is missing, shape (n, D).
        levels: As many levels as were remembered, then those of the stretch.
        filled: For each season the values that were remembered, then those of the stretch, gaps
            filled by the value a season before.
        past: What the series leaves behind after the stretch.
    """

    last: Floats
    level: Floats
    scale: Floats
    inputs: Floats
    levels: Floats
    filled: tuple[Floats, ...]
    past: Past


def observe(past: Past, y: Floats, seasons: Sequence[int]) -> Stretch:
    """Go on with a series.

    Args:
        past: What it left behind; seasons as there.
        y: Values of the stretch, shape (n,), n ≥ 1, NaN where missing; the first of all is
            observed.
        seasons: Season lengths in steps, ascending; may be empty.
    """
    steps = len(y)
    t = past.steps + np.arange(steps)
    first = past.first if past.steps else float(y[0])
    before_last = past.last if past.steps else float(y[0])
    missing = ~np.isfinite(y)
    last = _carry_forward(before_last, y)
    recent = np.concatenate([past.y, y])
    level = _moving_mean(recent, first, _window(seasons))[len(past.y) :]
    level = np.where(np.isnan(level), last, level)
    levels = np.concatenate([past.level, level])
    filled = [
        _fill_by_season(values, y, past.steps, season, last)
        for season, values in zip(seasons, past.filled, strict=True)
    ]
    step = np.diff(last, prepend=before_last)
    moved = _running_sum(past.moved, np.abs(step))
    spread = _running_sum(past.spread, np.abs(last - level))
    seasonal = np.zeros(steps)
    inputs = [np.where(missing, 0.0, y - level), step]
    for index, (season, values) in enumerate(zip(seasons, filled, strict=True)):
        # values[here + k] is that of step t + k
        here = len(values) - steps + np.arange(steps)
        before = values[np.maximum(here - season, 0)]
        following = values[np.maximum(here + 1 - season, 0)]
        if index == 0:
            apart = np.where(t >= season, np.abs(values[here] - before), 0.0)
            seasonal = _running_sum(past.seasonal, apart)
        inputs.append(np.where(t >= season, last - before, 0.0))
        inputs.append(np.where(t + 1 >= season, following - level, 0.0))
    scale = _scale(t, moved, seasonal, spread, seasons)
    squashed = np.arcsinh(np.stack(inputs, axis=1) / scale[:, None])
    sizes = Past.sizes(past.steps + steps, seasons)
    after = Past(
        steps=past.steps + steps,
        first=first,
        last=float(last[-1]),
        moved=float(moved[-1]),
        seasonal=float(seasonal[-1]),
        spread=float(spread[-1]),
        y=_tail(recent, sizes[0]),
        level=_tail(levels, sizes[1]),
        filled=tuple(_tail(v, size) for v, size in zip(filled, sizes[2:], strict=True)),
    )
    return Stretch(
        last,
        level,
        scale,
        np.concatenate([squashed, missing[:, None]], axis=1),
        levels,
        tuple(filled),
        after,
    )


class Lookup(NamedTuple):
    """Values of R series by step.

    Attributes:
        values: Of all series, end to end.
        offset: Where each one's step 0 is, or would be, shape (R,).
        first: The earliest step of each that is there, shape (R,).
    """

    values: Floats
    offset: Indices
    first: Indices

    def at(self, steps: Indices) -> Floats:
        """Values at steps of shape (R, …); for an earlier step the earliest that is there."""
        shape = (-1,) + (1,) * (steps.ndim - 1)
        rows = self.offset.reshape(shape) + np.maximum(steps, self.first.reshape(shape))
        return self.values[rows]


def plain_forecasts(
    t: Indices,
    horizon: int,
    seasons: Sequence[int],
    last: Floats,
    level: Floats,
    scale: Floats,
    levels: Lookup,
    filled: Sequence[Lookup],
) -> NDArray[np.float32]:
    """Candidate forecasts of the K steps after step t.

    The last value; for each season the value of a season before, the mean of three of them, and
    the first moved by how far the level has moved since; last, the level.

    Args:
        t: The last known step, shape (R,).
        horizon: K.
        seasons: Season lengths in steps.
        last: Latest observed value at step t, shape (R,).
        level: At step t, shape (R,).
        scale: At step t, shape (R,).
        levels: Levels back to a season before t.
        filled: For each season the filled values back to three of them before t.

    Returns:
        In units of the scale, relative to the level, shape (R, K, C).
    """
    ahead = np.arange(1, horizon + 1)
    candidates = [np.repeat(last[:, None], horizon, axis=1)]
    for season, values in zip(seasons, filled, strict=True):
        back = -(-ahead // season) * season
        latest = t[:, None] + ahead - back
        one = np.where(latest >= 0, values.at(latest), last[:, None])
        mean = one.copy()
        for repeat in range(1, _REPEATS):
            earlier = latest - repeat * season
            mean += np.where(earlier >= 0, values.at(earlier), one)
        origin = t - season
        moved = np.where(origin >= 0, level - levels.at(origin), 0.0)
        candidates += [one, mean / _REPEATS, one + moved[:, None]]
    relative = np.stack(candidates, axis=2) - level[:, None, None]
    scaled = relative / scale[:, None, None]
    zeros = np.zeros((len(t), horizon, 1))
    return np.concatenate([scaled, zeros], axis=2).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Window:
    """What a network sees that starts afresh at every forecast: the last steps, in segments.

    Attributes:
        length: Steps, W; a multiple of the segment.
        segment: Steps that the network takes at once, W / S.

    Source: segments: SegRNN, Lin et al. 2023; a normalisation of each window that its forecast
    takes back: RevIN, Kim et al. 2022.
    """

    length: int
    segment: int

    def inputs(
        self, t: Indices, last: Lookup, level: Floats, scale: Floats, now: NDArray[Any]
    ) -> NDArray[np.float32]:
        """The window up to step t, relative to the level there, in units of the scale, squashed.

        Args:
            t: The last known step, shape (R,).
            last: Latest observed values back to a window before t.
            level: At step t, shape (R,).
            scale: At step t, shape (R,).
            now: The inputs of step t, which every segment gets too, shape (R, D).

        Returns:
            Shape (R, S, W / S + D); zeros before the series begins.
        """
        steps = t[:, None] - np.arange(self.length)[::-1]
        values = np.arcsinh((last.at(steps) - level[:, None]) / scale[:, None])
        values = np.where(steps < 0, 0.0, values).reshape(len(t), -1, self.segment)
        repeated = np.broadcast_to(now[:, None], (*values.shape[:2], now.shape[1]))
        return np.concatenate([values, repeated], axis=2).astype(np.float32)


def _window(seasons: Sequence[int]) -> int:
    return seasons[0] if seasons else _PLAIN_WINDOW


def _tail(values: Floats, size: int) -> Floats:
    """The last values, in memory of their own that nobody writes to."""
    tail = values[len(values) - size :].copy()
    tail.setflags(write=False)
    return tail


def _carry_forward(before: float, y: Floats) -> Floats:
    """Missing values replaced by the latest observed one, `before` at the beginning."""
    values = np.concatenate([[before], y])
    seen = np.where(np.isfinite(values), np.arange(len(values)), 0)
    return values[np.maximum.accumulate(seen)][1:]


def _running_sum(before: float, more: Floats) -> Floats:
    """The sum after each value, added up one after the other."""
    return np.cumsum(np.concatenate([[before], more]))[1:]


def _fill_by_season(before: Floats, y: Floats, steps: int, season: int, last: Floats) -> Floats:
    """What was remembered, then y, missing values replaced by the value a season before.

    Within the first season they are replaced by the latest observed value.
    """
    values = np.concatenate([before, y])
    for index in np.flatnonzero(~np.isfinite(y)):
        here = len(before) + index
        values[here] = values[here - season] if steps + index >= season else last[index]
    return values


def _moving_mean(y: Floats, first: float, window: int) -> Floats:
    """Mean of the observed values among the last `window`; NaN where there is none.

    Args:
        y: From the beginning of a block of `window` steps on; values of a block before are only
            right where it is the series' first.
        first: Taken off each value, so that the sums of a constant series are 0.
        window: Steps.
    """
    observed = np.isfinite(y)
    total = _moving_sum(np.where(observed, y - first, 0.0), window)
    count = _moving_sum(observed.astype(float), window)
    return np.where(count > 0, first + total / np.maximum(count, 1), np.nan)


def _moving_sum(x: Floats, window: int) -> Floats:
    """Sums of the last `window` values: the end of the block before plus the current one so far."""
    window = min(window, len(x))
    blocks = np.zeros((-(-len(x) // window), window))
    blocks.reshape(-1)[: len(x)] = x
    so_far = np.cumsum(blocks, axis=1)
    to_end = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1]
    so_far[1:, :-1] += to_end[:-1, 1:]
    return so_far.reshape(-1)[: len(x)]


def _scale(
    t: Indices, moved: Floats, seasonal: Floats, spread: Floats, seasons: Sequence[int]
) -> Floats:
    """Mean absolute seasonal difference of all steps so far; it is what MASE divides by.

    Before a season and a half has passed, and without a season, the differences are those from
    step to step. It never falls under a hundredth of the mean distance from the level; a series
    that has not moved yet has scale 1.
    """
    scale = moved / np.maximum(t, 1)
    if seasons:
        passed = t - seasons[0] + 1
        usual = seasonal / np.maximum(passed, 1)
        scale = np.where(passed >= max(seasons[0] // 2, 1), usual, scale)
    scale = np.maximum(scale, 0.01 * (spread / (t + 1)))
    return np.where(scale > 0, scale, 1.0)
