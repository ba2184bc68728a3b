"""From errors of expectation to alarms: how rare an error is, at a stated rate of false alarms.

Errors arrive standardised, one for each channel and step. Their sums over the last 1, 2, … steps
are what may be too large. How large they get on normal data is learned from blocks: the largest
of a block, as a logarithm, follows Gumbel's law whatever the errors' own law is, and neighbours
that err together count once. So a file of spikes alarms at what is no spike of its own.

Letters: C channels, K widths of the sums.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["AlarmState", "Alarms", "Verdict"]

Floats = NDArray[np.float64]

_SQRT_6 = math.sqrt(6) / math.pi
_EULER = 0.5772156649015329

_FLOOR = 1e-3
"""Added to a sum before the logarithm: a series that errs by nothing has a law too."""

_PRIOR_DEVIATION = 0.25
_PRIOR_BLOCKS = 4
"""What is believed of the logarithms' deviation before any block, and of how many it weighs."""

_SLOWEST = 0.05
"""Least weight of a new block: the law of some twenty blocks is what counts as normal."""

_OUTLYING = 3.0
"""Deviations beyond which a block changes the law no further: an anomaly is no new normal."""

_LEAST_DEVIATION = 0.3 * _PRIOR_DEVIATION


class Verdict(NamedTuple):
    """What is said of one step.

    Attributes:
        score: In [0, 1]; of normal blocks at most a share 1 − s has a step of score s or more.
        channel: Index of the channel to blame.
        fresh: Whether the score is above all of the quiet time before it, so that it may alarm.
    """

    score: float
    channel: int
    fresh: bool


@dataclasses.dataclass(frozen=True, eq=False)
class AlarmState:
    """What one stream's errors have left behind, of constant size; a value that nothing changes.

    Attributes:
        recent: Latest errors, newest last, shape (C, longest width).
        largest: Largest logarithm of the block so far, shape (C, K).
        mean: Of the blocks' largest logarithms, shape (C, K).
        variance: Likewise.
        blocks: Blocks that the law was learned from.
        position: Steps into the block.
        held: Score that the next alarm must be above.
        quiet: Steps for which that holds.
    """

    recent: Floats
    largest: Floats
    mean: Floats
    variance: Floats
    blocks: int
    position: int
    held: float
    quiet: int

    def to_numbers(self) -> Floats:
        """All of it as one row of numbers."""
        arrays = (self.recent, self.largest, self.mean, self.variance)
        counts = [self.blocks, self.position, self.held, self.quiet]
        return np.concatenate([*(array.ravel() for array in arrays), counts])


@dataclasses.dataclass(frozen=True)
class Alarms:
    """How errors become scores.

    Attributes:
        block: Steps of a block.
        quiet: Steps after a score within which only a higher one may alarm.
        widths: Steps that are summed, ascending.

    Source: block maxima and their law: Gumbel 1958; sums over a short window against their
    long-term law: Ahmad et al. 2017.
    """

    block: int
    quiet: int
    widths: tuple[int, ...] = (1, 8)

    def threshold(self, rate: float) -> float:
        """The score that a share `rate` of normal steps reaches and alarms at the most."""
        return 1.0 - rate * self.block

    def state(self, numbers: Floats, channels: int) -> AlarmState:
        """The state that `AlarmState.to_numbers` wrote.

        Raises:
            ValueError: if there are not as many numbers as that takes.
        """
        laws = channels * len(self.widths)
        *arrays, counts = np.split(numbers, np.cumsum([channels * self.widths[-1], *3 * [laws]]))
        blocks, position, held, quiet = counts.tolist()
        recent, largest, mean, variance = (array.reshape(channels, -1) for array in arrays)
        return AlarmState(
            recent, largest, mean, variance, int(blocks), int(position), held, int(quiet)
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made."""
        return cls(document["block"], document["quiet"], tuple(document["widths"]))

    def learn(self, errors: Floats) -> AlarmState:
        """The state after a stretch of normal errors, with which a stream begins.

        Args:
            errors: Standardised, NaN where missing, shape (T, C); T is at least `block`.
        """
        channels = errors.shape[1]
        logs = self._logarithms(errors)
        blocks = len(logs) // self.block
        # the last blocks, so that none begins with the cold start of whatever made the errors
        ends = logs[len(logs) - blocks * self.block :]
        largest = ends.reshape(blocks, self.block, channels, len(self.widths)).max(axis=1)
        known = blocks + _PRIOR_BLOCKS
        variance = (largest.var(axis=0) * blocks + _PRIOR_BLOCKS * _PRIOR_DEVIATION**2) / known
        empty = np.zeros((channels, self.widths[-1]))
        none = np.full((channels, len(self.widths)), -np.inf)
        return AlarmState(empty, none, largest.mean(axis=0), variance, blocks, 0, 0.0, 0)

    def _logarithms(self, errors: Floats) -> Floats:
        """What the law is of, shape (T, C, K)."""
        total = np.cumsum(np.nan_to_num(errors), axis=0)
        sums = []
        for width in self.widths:
            before = np.zeros_like(total)
            before[width:] = total[:-width]
            sums.append((total - before) / math.sqrt(width))
        return np.log(np.abs(np.stack(sums, axis=-1)) + _FLOOR)

    def step(self, state: AlarmState, errors: Floats) -> tuple[AlarmState, Verdict]:
        """Judge one step.

        Args:
            state: The stream so far.
            errors: Standardised errors, shape (C,); NaN where a channel is missing.

        Returns:
            The new state, and the verdict.
        """
        recent = np.empty_like(state.recent)
        recent[:, :-1] = state.recent[:, 1:]
        recent[:, -1] = np.where(np.isnan(errors), 0.0, errors)
        sums = np.stack(
            [recent[:, -width:].sum(axis=1) / math.sqrt(width) for width in self.widths], axis=1
        )
        logs = np.log(np.abs(sums) + _FLOOR)
        spread = _SQRT_6 * np.sqrt(state.variance)
        rarity = (logs - state.mean) / spread + _EULER
        channel, width = divmod(int(rarity.argmax()), len(self.widths))
        # each channel and width has its chance of a false alarm
        share = -math.expm1(-math.exp(-min(max(rarity[channel, width], -5.0), 700.0)))
        score = max(0.0, 1.0 - share * rarity.size)
        fresh = score > (state.held if state.quiet else 0.0)
        changed: dict[str, Any] = {
            "recent": recent,
            "largest": np.maximum(state.largest, logs),
            "position": state.position + 1,
            "quiet": self.quiet if fresh else max(0, state.quiet - 1),
        }
        if fresh:
            changed["held"] = score
        state = dataclasses.replace(state, **changed)
        if state.position == self.block:
            state = self._close_block(state)
        return state, Verdict(score, channel, fresh)

    def _close_block(self, state: AlarmState) -> AlarmState:
        blocks = state.blocks + 1
        weight = max(_SLOWEST, 1 / (blocks + 1))
        limit = state.mean + _OUTLYING * np.sqrt(state.variance)
        apart = np.minimum(state.largest, limit) - state.mean
        variance = state.variance + weight * (apart**2 - state.variance)
        return dataclasses.replace(
            state,
            largest=np.full_like(state.largest, -np.inf),
            mean=state.mean + weight * apart,
            variance=np.maximum(variance, _LEAST_DEVIATION**2),
            blocks=blocks,
            position=0,
        )
