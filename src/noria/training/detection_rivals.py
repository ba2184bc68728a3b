"""What a detector must beat: plain expectations of the next value, under the same alarms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noria.runtime.expectation import Grid, expectations
from noria.runtime.judge import Expectations

__all__ = ["BASELINES", "plain_expectation"]

Floats = NDArray[np.float64]

BASELINES = ("fnn", "last_value", "moving_z_score")

_WINDOW = 256
"""Steps that the moving z-score looks back."""


def plain_expectation(name: str, grid: Grid) -> Expectations:
    """The events with what a plain baseline expected of each one step before it.

    Args:
        name: "last_value": as the value before, always to the same spread. "moving_z_score": the
            mean of the last 256 values, to their deviation.
        grid: The events.
    """
    middle, spread = grid.filled, np.ones_like(grid.filled)
    if name == "moving_z_score":
        middle, spread = _moving(grid.filled)
    return expectations(grid, middle, spread)


def _moving(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of the last values up to each step, each (S, C)."""

    def mean(part: Floats) -> Floats:
        total = np.cumsum(part, axis=0)
        total[_WINDOW:] -= total[:-_WINDOW].copy()
        return total / np.minimum(np.arange(1, len(part) + 1), _WINDOW)[:, None]

    centre = mean(values)
    variance = np.maximum(mean(values**2) - centre**2, 0.0)
    return centre, np.sqrt(variance) + 1e-3
