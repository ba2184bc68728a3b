"""Intervals that hold what they promise: conformal calibration on held-out forecasts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["calibration_factors", "quantile_grid"]

_ENOUGH = 200
"""Forecasts from which on every horizon step is calibrated for itself."""


def quantile_grid(levels: Sequence[int]) -> tuple[float, ...]:
    """The quantiles at the ends of the intervals, and the median between them.

    Args:
        levels: Levels of the intervals in %.

    >>> quantile_grid((80, 95))
    (0.025, 0.1, 0.5, 0.9, 0.975)
    """
    lower = [(100 - level) / 200 for level in sorted(levels, reverse=True)]
    return (*lower, 0.5, *(1 - q for q in reversed(lower)))


def calibration_factors(
    target: NDArray[np.floating], quantiles: NDArray[np.floating], levels: Sequence[int]
) -> NDArray[np.float64]:
    """How far each interval must be stretched about its median to cover as often as it should.

    An observation's score is its distance from the median over that of the interval's end on its
    side; the factor is the scores' quantile at the interval's level, with the correction for the
    finite number of them.

    Args:
        target: What came, shape (R, K); NaN where missing.
        quantiles: At the points of `quantile_grid(levels)`, shape (R, K, Q).
        levels: Levels of the intervals in %.

    Returns:
        Shape (K, levels), the widest interval first. With fewer than 200 forecasts all horizon
        steps share one factor a level.

    Source: Vovk et al. 2005; normalised scores: Lei et al. 2018.
    """
    horizon, count = quantiles.shape[1:]
    middle = count // 2
    median = quantiles[..., middle]
    factors = np.ones((horizon, middle))
    for number, level in enumerate(sorted(levels, reverse=True)):
        ends = np.where(target < median, quantiles[..., number], quantiles[..., count - 1 - number])
        scores = np.abs(target - median) / np.maximum(np.abs(ends - median), 1e-9)
        if len(target) >= _ENOUGH:
            factors[:, number] = [_score_at(scores[:, k], level) for k in range(horizon)]
        else:
            factors[:, number] = _score_at(scores, level)
    return factors


def _score_at(scores: NDArray[np.floating], level: int) -> float:
    observed = scores[np.isfinite(scores)]
    if not observed.size:
        return 1.0
    rank = math.ceil((observed.size + 1) * level / 100)
    return float(np.sort(observed)[min(rank, observed.size) - 1])
