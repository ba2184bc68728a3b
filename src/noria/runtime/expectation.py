"""What a detector's network sees of each step, and what it expects of the next one.

Letters: S steps, C channels, Y cycles of the calendar; I = C + 2Y inputs of a step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SPREAD", "WARM_UP", "Channels", "Grid"]

Floats = NDArray[np.float64]

_CYCLES = {"day": 86_400_000_000, "week": 7 * 86_400_000_000}
"""Lengths in microseconds."""

WARM_UP = 16
"""First steps of a stream, which are not judged: the network has nothing to go on yet."""

LEAST_SPREAD = 0.02
"""Of an expectation, in units of the channel's deviation: nothing is known more exactly."""

_LONGEST_GAP = 64
"""Steps that a gap is filled with at the most; longer ones have made the network forget anyway."""


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Events and the steps between them that did not come; S steps, E events, C channels.

    Attributes:
        times: Of every step, microseconds or step numbers, shape (S,).
        scaled: Scaled values, NaN where missing, shape (S, C).
        filled: The same with the latest value where one is missing, shape (S, C).
        own: Step of each event, shape (E,).
    """

    times: NDArray[np.int64]
    scaled: Floats
    filled: Floats
    own: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Channels:
    """The channels' scale, and the calendar.

    Attributes:
        names: Of the channels, C.
        level: What is taken for zero of each, shape (C,).
        scale: Their deviation, shape (C,), positive.
        cycles: Names of the calendar's cycles, "day" and "week".
        step: Usual time between events, in microseconds or step numbers.
    """

    names: tuple[str, ...]
    level: Floats
    scale: Floats
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
        scale = np.where(deviation > 1e-9 * (1 + np.abs(level)), deviation, least)
        apart = np.diff(times.astype(np.int64))
        step = max(1, int(np.median(apart[apart > 0]))) if (apart > 0).any() else 1
        passed = int(times[-1].astype(np.int64) - times[0].astype(np.int64))
        known = {} if times.dtype.kind != "M" else _CYCLES
        # a cycle that came round once cannot be told from a trend
        cycles = tuple(
            name
            for name, length in known.items()
            if 2 * length <= passed + step and 2 * step < length
        )
        return cls(names, level, scale, cycles, step)

    @property
    def input_size(self) -> int:
        """I, inputs of a step."""
        return len(self.names) + 2 * len(self.cycles)

    def grid(
        self,
        times: NDArray[np.int64],
        values: Floats,
        before: int | None = None,
        latest: Floats | None = None,
    ) -> Grid:
        """Scale events, and fill in the steps that did not come.

        Values are in units of their deviation, the far ones drawn in.

        Args:
            times: Ascending, shape (E,).
            values: NaN where missing, shape (E, C).
            before: Time of the event before the first; None for none.
            latest: Filled values of that event, shape (C,); None for zeros.
        """
        first = times[0] - self.step if before is None else before
        steps = np.rint(np.diff(times, prepend=first) / self.step)
        steps = np.clip(steps, 1, _LONGEST_GAP).astype(np.int64)
        own = np.cumsum(steps) - 1
        scaled = np.full((own[-1] + 1, values.shape[1]), np.nan)
        scaled[own] = np.arcsinh((values - self.level) / self.scale)
        left = np.repeat(own, steps) - np.arange(len(scaled))
        start = np.zeros(values.shape[1]) if latest is None else latest
        return Grid(
            np.repeat(times, steps) - left * self.step, scaled, _carry_forward(start, scaled), own
        )

    def inputs(self, grid: Grid) -> NDArray[np.float32]:
        """What the network sees: the latest values, and when the next ones come.

        Returns:
            Shape (S, I).
        """
        columns = [grid.filled]
        for name in self.cycles:
            length = _CYCLES[name]
            phase = 2 * np.pi * ((grid.times + self.step) % length / length)[:, None]
            columns += [np.sin(phase), np.cos(phase)]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def expected(self, outputs: NDArray[Any]) -> tuple[Floats, Floats]:
        """The network's outputs as centre and spread of the next scaled values, each (S, C)."""
        middle = outputs[..., : len(self.names)].astype(np.float64)
        spread = outputs[..., len(self.names) :].astype(np.float64)
        return middle, LEAST_SPREAD + np.logaddexp(0.0, spread)

    def unscaled(self, scaled: Floats) -> Floats:
        """Values in their own units, shape (S, C)."""
        return self.level + self.scale * np.sinh(scaled)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "names": list(self.names),
            "level": self.level.tolist(),
            "scale": self.scale.tolist(),
            "cycles": list(self.cycles),
            "step": self.step,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(
            tuple(document["names"]),
            np.array(document["level"], dtype=np.float64),
            np.array(document["scale"], dtype=np.float64),
            tuple(document["cycles"]),
            int(document["step"]),
        )


def _carry_forward(start: Floats, values: Floats) -> Floats:
    """Values with the latest one where one is missing, shape (S, C)."""
    known = np.concatenate([start[None], values])
    steps = np.arange(len(known))[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(known), 0, steps), axis=0)
    return np.take_along_axis(known, latest, axis=0)[1:]
