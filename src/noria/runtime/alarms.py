"""From errors of expectation to alarms: how rare an error is, at a stated rate of false alarms.

Errors arrive standardised, one for each channel and step. Their sums over the last 1, 2, … steps
are what may be too large. How large they get when all is well is learned from blocks of a few
steps, so that neighbours that err together count once: the largest of each block are kept for some
thousand steps, and beyond the largest of them the tail goes on as a power law. So a series of
spikes alarms at what is no spike of its own, and what has come to stay is normal in the end.
Watched alike are the mean size of the errors over a few steps, which may be too small as well, as
when a sensor hangs; and the mean of the values themselves: a network that follows them closely errs
little on a way into where they have never been.

Letters: C channels, K what is watched of each, M blocks remembered.
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

_FLOOR = 1e-3
_MEAN_FLOOR = 0.05
"""Added before the logarithm, to errors and to means: a series that errs by nothing has a law
too."""

_LEAST = -1e3
"""Below every logarithm."""

_EXTREMES = 6
"""Blocks, the largest ones, that the law's tail is drawn from."""

_PRIOR_TAIL, _PRIOR_EXTREMES = 0.12, 2
"""What is believed of the tail before any block, and of how many extremes it weighs."""

_LEAST_TAIL = 0.07

_OUTLYING = 3.0
"""Tails above the extremes beyond which a block changes the law no further: an anomaly is no new
normal."""

_LEAST_SHARE = 1e-300

_MORE = 1.5
"""How many times the last alarm's rarity, a logarithm, a step in its quiet time must have."""


class Verdict(NamedTuple):
    """What is said of one step.

    Attributes:
        score: In [0, 1]; of normal blocks a share of about 1 − s has a step of score s or more.
        channel: Index of the channel to blame.
        fresh: Whether it may alarm: it is much rarer than the last alarm of its channel, or that
            one's quiet time is over.
    """

    score: float
    channel: int
    fresh: bool


@dataclasses.dataclass(frozen=True, eq=False)
class AlarmState:
    """What one stream's errors have left behind, of constant size; a value that nothing changes.

    Attributes:
        errors: Latest errors, newest last, shape (C, longest width).
        sizes: Latest sizes of errors, likewise, shape (C, `size_width`).
        values: Latest values, likewise, shape (C, `value_width`).
        largest: Largest logarithm of the block so far, shape (C, K).
        history: Those of the last blocks, newest last, shape (M, C, K).
        edge: Logarithm from which the tail goes on, shape (C, K).
        tail: Mean of the logarithms beyond it, shape (C, K), positive.
        held: Rarity of each channel's last alarm, shape (C,).
        quiet: Steps for which that holds, shape (C,).
        blocks: Blocks in the history that are one, at most M.
        position: Steps into the block.
    """

    errors: Floats
    sizes: Floats
    values: Floats
    largest: Floats
    history: Floats
    edge: Floats
    tail: Floats
    held: Floats
    quiet: Floats
    blocks: int
    position: int

    def to_numbers(self) -> Floats:
        """All of it as one row of numbers."""
        recent = (self.errors, self.sizes, self.values)
        law = (self.largest, self.history, self.edge, self.tail)
        parts = (*recent, *law, self.held, self.quiet, np.array([self.blocks, self.position]))
        return np.concatenate([part.ravel() for part in parts])


@dataclasses.dataclass(frozen=True)
class Alarms:
    """How errors become scores.

    Attributes:
        rate: Share of normal steps that may alarm; see `threshold`.
        quiet: Steps after an alarm within which only a much rarer step of that channel may alarm.
        block: Steps of a block.
        memory: M, blocks remembered.
        widths: Steps whose errors are summed, ascending.
        size_width: Steps that the sizes of errors are averaged over.
        value_width: Steps that values are averaged over.

    Source: the tail of the largest values as a power law: Hill 1975, Weissman 1978; sums over a
    short window against their long-term law: Ahmad et al. 2017.
    """

    rate: float
    quiet: int
    block: int = 16
    memory: int = 128
    widths: tuple[int, ...] = (1, 32)
    size_width: int = 16
    value_width: int = 8

    @property
    def threshold(self) -> float:
        """The score from which a fresh step alarms: 1 − rate · block.

        A share rate · block of normal blocks is to reach it, each with one alarm, so that a share
        `rate` of normal steps alarms, less what falls into quiet times.
        """
        return 1.0 - self.rate * self.block

    @property
    def watched(self) -> int:
        """K."""
        return len(self.widths) + 3

    def state(self, numbers: Floats, channels: int) -> AlarmState:
        """The state that `AlarmState.to_numbers` wrote.

        Raises:
            ValueError: if the numbers cannot be such a state.
        """
        law = (channels, self.watched)
        shapes = [
            (channels, self.widths[-1]),
            (channels, self.size_width),
            (channels, self.value_width),
            law,
            (self.memory, *law),
            law,
            law,
            (channels,),
            (channels,),
        ]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        if len(numbers) != ends[-1] + 2:
            raise ValueError(f"the alarms have {ends[-1] + 2} numbers, not {len(numbers)}")
        *arrays, counts = np.split(numbers, ends)
        blocks, position = counts.tolist()
        if not (
            np.isfinite(numbers).all()
            and 1 <= blocks <= self.memory
            and 0 <= position < self.block
            and blocks == int(blocks)
            and position == int(position)
        ):
            raise ValueError("the alarms' numbers cannot be meant")
        parts = (array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True))
        errors, sizes, values, largest, history, edge, tail, held, quiet = parts
        return AlarmState(
            errors,
            sizes,
            values,
            largest,
            history,
            edge,
            tail,
            held,
            quiet,
            int(blocks),
            int(position),
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made.

        Raises:
            ValueError: if the numbers cannot be meant.
        """
        alarms = cls(**{**document, "widths": tuple(document["widths"])})
        counts = (alarms.quiet, alarms.block, alarms.memory, alarms.size_width, alarms.value_width)
        if not all(type(count) is int and count > 0 for count in (*counts, *alarms.widths)):
            raise ValueError("the sizes of the alarms' law must be positive")
        if list(alarms.widths) != sorted(alarms.widths) or not 0 < alarms.rate * alarms.block < 1:
            raise ValueError("the alarms' widths or rate cannot be meant")
        return alarms

    def learn(self, errors: Floats, values: Floats) -> AlarmState:
        """The state after a stretch of normal events, with which a stream begins.

        Args:
            errors: Standardised, NaN where missing, shape (T, C); T is at least 2 blocks.
            values: Scaled, shape (T, C).
        """
        channels = errors.shape[1]
        law = (channels, self.watched)
        known = np.isfinite(errors).sum(axis=0)
        usual = np.abs(np.nan_to_num(errors)).sum(axis=0) / np.maximum(known, 1)
        start = state = AlarmState(
            np.zeros((channels, self.widths[-1])),
            np.repeat(usual[:, None], self.size_width, axis=1),
            np.zeros((channels, self.value_width)),
            np.full(law, _LEAST),
            np.full((self.memory, *law), _LEAST),
            np.zeros(law),
            np.ones(law),
            np.zeros(channels),
            np.zeros(channels),
            *(0, 0),
        )
        logs = np.empty((len(errors), *law))
        for row, (error, value) in enumerate(zip(errors, values, strict=True)):
            state = dataclasses.replace(state, **self._recent(state, error, value))
            logs[row] = self._logarithms(state)
        blocks = min(len(logs) // self.block, self.memory)
        # the last blocks, so that none begins with the cold start of whatever made the errors
        ends = logs[len(logs) - blocks * self.block :]
        start.history[-blocks:] = ends.reshape(blocks, self.block, *law).max(axis=1)
        edge, tail = _law(start.history, blocks)
        return dataclasses.replace(start, edge=edge, tail=tail, blocks=blocks)

    def _recent(self, state: AlarmState, errors: Floats, values: Floats) -> dict[str, Any]:
        """The latest errors and values with one step more."""
        latest: dict[str, Any] = {}
        missing = np.isnan(errors)
        for name, new in (
            ("errors", np.where(missing, 0.0, errors)),
            ("sizes", np.where(missing, state.sizes.mean(axis=1), np.abs(errors))),
            ("values", values),
        ):
            latest[name] = np.empty_like(getattr(state, name))
            latest[name][:, :-1] = getattr(state, name)[:, 1:]
            latest[name][:, -1] = new
        return latest

    def _logarithms(self, state: AlarmState) -> Floats:
        """Sizes of what is watched, shape (C, K)."""
        sums = [state.errors[:, -width:].sum(axis=1) / math.sqrt(width) for width in self.widths]
        size = np.log(state.sizes.mean(axis=1) + _MEAN_FLOOR)
        level = np.log(np.abs(state.values.mean(axis=1)) + _MEAN_FLOOR)
        return np.stack([*(np.log(np.abs(s) + _FLOOR) for s in sums), size, -size, level], axis=1)

    def step(self, state: AlarmState, errors: Floats, values: Floats) -> tuple[AlarmState, Verdict]:
        """Judge one step.

        Args:
            state: The stream so far.
            errors: Standardised errors, shape (C,); NaN where a channel is missing.
            values: Scaled values, the latest where one is missing, shape (C,).

        Returns:
            The new state, and the verdict.
        """
        state = dataclasses.replace(state, **self._recent(state, errors, values))
        logs = self._logarithms(state)
        known = state.history[len(state.history) - state.blocks :]
        shares = np.where(
            logs > state.edge,
            min(_EXTREMES, state.blocks) / state.blocks * np.exp((state.edge - logs) / state.tail),
            (known >= logs).mean(axis=0),
        )
        channel = int(shares.min(axis=1).argmin())
        # everything watched has its chance of a false alarm
        rarity = -math.log(max(float(shares.min()) * shares.size, _LEAST_SHARE))
        score = -math.expm1(-max(rarity, 0.0))
        held, quiet = state.held, np.maximum(state.quiet - 1, 0.0)
        fresh = bool(rarity > (_MORE * held[channel] if state.quiet[channel] else 0.0))
        if fresh and score >= self.threshold:
            one = np.arange(len(held)) == channel
            held, quiet = np.where(one, rarity, held), np.where(one, float(self.quiet), quiet)
        state = dataclasses.replace(
            state,
            largest=np.maximum(state.largest, logs),
            position=state.position + 1,
            held=held,
            quiet=quiet,
        )
        if state.position == self.block:
            state = self._close_block(state)
        return state, Verdict(score, channel, fresh)

    def _close_block(self, state: AlarmState) -> AlarmState:
        history = np.empty_like(state.history)
        history[:-1] = state.history[1:]
        history[-1] = np.minimum(state.largest, state.edge + _OUTLYING * state.tail)
        blocks = min(state.blocks + 1, self.memory)
        edge, tail = _law(history, blocks)
        return dataclasses.replace(
            state,
            largest=np.full_like(state.largest, _LEAST),
            history=history,
            edge=edge,
            tail=tail,
            blocks=blocks,
            position=0,
        )


def _law(history: Floats, blocks: int) -> tuple[Floats, Floats]:
    """Where the tail begins and how far it reaches on average, each (C, K)."""
    extremes = min(_EXTREMES, blocks)
    largest = np.sort(history[len(history) - blocks :], axis=0)[-extremes:]
    beyond = (largest - largest[0]).sum(axis=0) + _PRIOR_EXTREMES * _PRIOR_TAIL
    return largest[0], np.maximum(beyond / (extremes - 1 + _PRIOR_EXTREMES), _LEAST_TAIL)
