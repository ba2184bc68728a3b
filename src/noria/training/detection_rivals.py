"""What a detector must beat: plain expectations of the next value, under the same alarms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noria.runtime.expectation import WARM_UP, Grid

__all__ = ["BASELINES", "plain_expectation"]

Floats = NDArray[np.float64]

BASELINES = ("fnn", "last_value", "moving_z_score")

_WINDOW = 256
"""Steps that the moving z-score looks back."""


def plain_expectation(name: str, grid: Grid) -> tuple[Floats, Floats]:
    """What a plain baseline expected of each event, one step before it.

    Args:
        name: "last_value": as the value before, always to the same spread. "moving_z_score": the
            mean of the last 256 values, to their deviation.
        grid: The events.

    Returns:
        Centre and spread of the scaled values, each (E, C); NaN for the warm-up.
    """
    middle, spread = grid.filled, np.ones_like(grid.filled)
    if name == "moving_z_score":
        middle, spread = _moving(grid.filled)
    before = grid.own - 1
    cold = (grid.own < WARM_UP)[:, None]
    return np.where(cold, np.nan, middle[before]), np.where(cold, np.nan, spread[before])


def _moving(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of the last values up to each step, each (S, C)."""

    def mean(part: Floats) -> Floats:
        total = np.cumsum(part, axis=0)
        total[_WINDOW:] -= total[:-_WINDOW].copy()
        return total / np.minimum(np.arange(1, len(part) + 1), _WINDOW)[:, None]

    centre = mean(values)
    variance = np.maximum(mean(values**2) - centre**2, 0.0)
    return centre, np.sqrt(variance) + 1e-3
