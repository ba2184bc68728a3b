"""What a detector's network sees of each step, and what it expects of the next one.

Letters: S steps, C channels; I inputs of a step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noria.runtime.judge import Expectations

__all__ = ["LEAST_SPREAD", "WARM_UP", "Channels", "Grid", "expectations"]

Floats = NDArray[np.float64]

_CYCLES = {"day": (86_400_000_000, 6), "week": (7 * 86_400_000_000, 3)}
"""Length in microseconds, and how many of its waves the network sees: the sharper the clock."""

WARM_UP = 16
"""First steps of a stream, which are not judged: the network has nothing to go on yet."""

LEAST_SPREAD = 0.05
"""Of an expectation, in units of the channel's usual change: nothing is known more exactly."""

_LEVEL_RATE = 1 / 64
"""Share of a new value in the level that the network sees values above or below of."""

_LEAST_CHANGE = 0.01
"""The usual change of a channel, in units of its deviation, at the least."""

_ROUNDING = 1e-14
"""Share of a channel's level that its deviation must exceed, or it is taken for constant."""

_FARTHEST = 300.0
"""Scaled value beyond which none is told apart, so that numbers stay finite."""

_LONGEST_GAP = 64
"""Steps that a gap is filled with at the most; longer ones have made the network forget anyway."""


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Events and the steps between them that did not come; S steps, E events, C channels.

    Attributes:
        times: Of every step, microseconds or step numbers, shape (S,).
        scaled: Scaled values, NaN where missing, shape (S, C).
        filled: The same with the latest value where one is missing, shape (S, C).
        changed: Change of `filled` from the step before, 0 for a stream's first, shape (S, C).
        level: Where `filled` has been of late: its exponentially weighted mean, shape (S, C).
        own: Step of each event, shape (E,).
    """

    times: NDArray[np.int64]
    scaled: Floats
    filled: Floats
    changed: Floats
    level: Floats
    own: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Channels:
    """The channels' scale, and the calendar.

    Attributes:
        names: Of the channels, C.
        level: What is taken for zero of each, shape (C,).
        scale: Their deviation, shape (C,), positive.
        change: Their mean change from step to step, in units of `scale`, shape (C,), positive.
        cycles: Names of the calendar's cycles, "day" and "week".
        step: Usual time between events, in microseconds or step numbers.
    """

    names: tuple[str, ...]
    level: Floats
    scale: Floats
    change: Floats
    cycles: tuple[str, ...]
    step: int

    @classmethod
    def fit(cls, names: tuple[str, ...], times: NDArray[Any], values: Floats) -> Self:
        """Measure what is normal.

        Args:
            names: Of the channels.
            times: Microseconds (datetime64[us]) or step numbers (int64), ascending, shape (T,).
            values: NaN where missing, shape (T, C); each channel has one that is not.
        """
        level = np.nanmedian(values, axis=0)
        deviation = np.nanstd(values, axis=0)
        # a constant channel may wander by a hundredth of its value, or by 1 around zero
        least = np.where(level == 0, 1.0, 0.01 * np.abs(level))
        moves = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)
        scale = np.where(moves & (deviation > _ROUNDING * np.abs(level)), deviation, least)
        apart = np.diff(times.astype(np.int64))
        step = max(1, int(np.median(apart[apart > 0]))) if (apart > 0).any() else 1
        passed = int(times[-1].astype(np.int64) - times[0].astype(np.int64))
        known = {} if times.dtype.kind != "M" else _CYCLES
        # a cycle that came round once cannot be told from a trend
        cycles = tuple(
            name
            for name, (length, _) in known.items()
            if 2 * length <= passed + step and 2 * step < length
        )
        scaled = _carry_forward(np.zeros(len(names)), np.arcsinh((values - level) / scale))
        change = np.abs(np.diff(scaled, axis=0)).mean(axis=0) if len(values) > 1 else scale * 0
        return cls(names, level, scale, np.maximum(change, _LEAST_CHANGE), cycles, step)

    @property
    def input_size(self) -> int:
        """I, inputs of a step."""
        return 2 * len(self.names) + 2 * sum(_CYCLES[name][1] for name in self.cycles)

    def grid(
        self,
        times: NDArray[np.int64],
        values: Floats,
        before: int | None = None,
        latest: Floats | None = None,
        level: Floats | None = None,
    ) -> Grid:
        """Scale events, and fill in the steps that did not come.

        Values are in units of their deviation, the far ones drawn in.

        Args:
            times: Ascending, shape (E,).
            values: NaN where missing, shape (E, C).
            before: Time of the event before the first; None for none.
            latest: Filled values of that event, shape (C,); None for zeros.
            level: Their level then, shape (C,); None for the first value.
        """
        first = times[0] - self.step if before is None else before
        steps = np.rint(np.diff(times, prepend=first) / self.step)
        steps = np.clip(steps, 1, _LONGEST_GAP).astype(np.int64)
        own = np.cumsum(steps) - 1
        scaled = np.full((own[-1] + 1, values.shape[1]), np.nan)
        scaled[own] = np.arcsinh((values - self.level) / self.scale)
        left = np.repeat(own, steps) - np.arange(len(scaled))
        start = np.zeros(values.shape[1]) if latest is None else latest
        filled = _carry_forward(start, scaled)
        changed = np.diff(filled, axis=0, prepend=start[None])
        if before is None:
            changed[0] = 0.0
        stamps = np.repeat(times, steps) - left * self.step
        levels = np.empty_like(filled)
        now = filled[0] if level is None else level
        for row, value in enumerate(filled):
            now = now + _LEVEL_RATE * (value - now)
            levels[row] = now
        return Grid(stamps, scaled, filled, changed, levels, own)

    def inputs(self, grid: Grid) -> NDArray[np.float32]:
        """What the network sees: the latest values, how they changed, and when the next ones come.

        Returns:
            Shape (S, I).
        """
        columns = [grid.filled - grid.level, np.arcsinh(grid.changed / self.change)]
        for name in self.cycles:
            length, waves = _CYCLES[name]
            turns = ((grid.times + self.step) % length / length)[:, None] * np.arange(1, waves + 1)
            columns += [np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def targets(self, grid: Grid) -> Floats:
        """What the network is to put out: the change to each step but the first, shape (S − 1, C).

        In units of the usual change; NaN where the next value is missing.
        """
        return (grid.scaled[1:] - grid.filled[:-1]) / self.change

    def expected(self, outputs: NDArray[Any], filled: Floats) -> tuple[Floats, Floats]:
        """The network's outputs as centre and spread of the next scaled values.

        Args:
            outputs: Of each step, shape (S, 2C): the change to come, in units of the usual one.
            filled: Latest scaled values at each step, shape (S, C).

        Returns:
            Each (S, C).
        """
        change = outputs[..., : len(self.names)].astype(np.float64)
        spread = outputs[..., len(self.names) :].astype(np.float64)
        return (
            filled + self.change * change,
            self.change * (LEAST_SPREAD + np.logaddexp(0.0, spread)),
        )

    def unscaled(self, scaled: Floats) -> Floats:
        """Values in their own units, shape (S, C)."""
        return self.level + self.scale * np.sinh(np.clip(scaled, -_FARTHEST, _FARTHEST))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "names": list(self.names),
            "level": self.level.tolist(),
            "scale": self.scale.tolist(),
            "change": self.change.tolist(),
            "cycles": list(self.cycles),
            "step": self.step,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: if it is nothing that `to_dict` writes.
        """
        names, cycles = tuple(document["names"]), tuple(document["cycles"])
        level, scale, change = (
            np.array(document[name], dtype=np.float64) for name in ("level", "scale", "change")
        )
        whole = np.concatenate([level, scale, change])
        if not (level.shape == scale.shape == change.shape == (len(names),) and names):
            raise ValueError("the channels' scales are not one for each channel")
        if not (np.isfinite(whole).all() and (scale > 0).all() and (change > 0).all()):
            raise ValueError("the channels' scales must be positive")
        if not set(cycles) <= set(_CYCLES) or not 1 <= int(document["step"]) < 2**53:
            raise ValueError("the channels' calendar is not known")
        return cls(names, level, scale, change, cycles, int(document["step"]))


def expectations(grid: Grid, middle: Floats, spread: Floats) -> Expectations:
    """The events of a whole table with what was expected of each one step before it.

    Args:
        grid: From a stream's beginning.
        middle: Centre of the expectation after each step, shape (S, C).
        spread: How exact it is, shape (S, C).
    """
    before = grid.own - 1
    cold = (grid.own < WARM_UP)[:, None]
    return Expectations(
        np.where(cold, np.nan, middle[before]),
        spread[before],
        grid.filled[before],
        grid.scaled[grid.own],
        grid.filled[grid.own],
    )


def _carry_forward(start: Floats, values: Floats) -> Floats:
    """Values with the latest one where one is missing, shape (S, C)."""
    known = np.concatenate([start[None], values])
    steps = np.arange(len(known))[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(known), 0, steps), axis=0)
    return np.take_along_axis(known, latest, axis=0)[1:]
