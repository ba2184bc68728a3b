"""What a forecaster's head gives of each horizon step, and the quantiles it stands for.

| distribution | numbers of a step | of them moved by the plain forecasts |
|---|---|---|
| `quantiles` | the quantiles | all |
| `student_t` | location, width, degrees of freedom | the location |
| `negative_binomial` | mean, dispersion | the mean |

Widths, dispersions and means come through softplus. All is in units of the series' scale, relative
to its level; a count is counted from zero for that.

Letters: R forecasts, K horizon, P numbers, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import MissingExtraError

__all__ = ["DISTRIBUTIONS", "LEAST_DISPERSION", "LEAST_FREEDOM", "LEAST_WIDTH", "Distribution"]

Array = NDArray[Any]

DISTRIBUTIONS = ("quantiles", "student_t", "negative_binomial")

LEAST_WIDTH = 1e-3
LEAST_FREEDOM = 2.0
"""Above it the variance is finite."""

LEAST_DISPERSION = 1e-3


class Distribution:
    """One of `DISTRIBUTIONS` at given probabilities.

    Args:
        name: Which one.
        probabilities: The Q probabilities, ascending.
    """

    def __init__(self, name: str, probabilities: Sequence[float]) -> None:
        self.name = name
        self.probabilities = tuple(probabilities)
        count = len(self.probabilities)
        self.size = {"quantiles": count, "student_t": 3, "negative_binomial": 2}[name]
        """P."""
        self.moved = count if name == "quantiles" else 1
        """How many of the numbers, the first ones, the plain forecasts are added to."""

    @property
    def counts(self) -> bool:
        """Whether only whole numbers from zero on can come."""
        return self.name == "negative_binomial"

    def quantiles(self, numbers: Array, level: NDArray[Any], scale: NDArray[Any]) -> Array:
        """The quantiles, ascending, each with the same bits alone or among others.

        Args:
            numbers: From the head, shape (R, K, P).
            level: Of each series at its last known step, shape (R, 1, 1).
            scale: Likewise.

        Returns:
            In units of the scale, relative to the level, shape (R, K, Q).

        Raises:
            MissingExtraError: if a distribution needs scipy and it is not installed.
        """
        if self.name == "quantiles":
            return np.sort(numbers, axis=-1)
        probabilities = np.array(self.probabilities)
        wide = numbers.astype(np.float64)
        place, spread = wide[..., :1], _softplus(wide[..., 1:2])
        if self.name == "student_t":
            freedom = LEAST_FREEDOM + _softplus(wide[..., 2:])
            standard = _scipy("special").stdtrit(freedom, probabilities)
            found = place + (LEAST_WIDTH + spread) * standard
        else:
            mean = np.maximum(scale * _softplus(level / scale + place), np.finfo(np.float32).tiny)
            # as scipy counts: failures before so many successes of such a probability
            successes = 1 / (LEAST_DISPERSION + spread)
            share = successes / (successes + mean)
            found = _scipy("stats").nbinom.ppf(probabilities, successes, share)
            found = (found - level) / scale
        return np.asarray(found.astype(numbers.dtype))


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def _scipy(module: str) -> Any:
    try:
        import scipy.special
        import scipy.stats
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "this forecaster's distribution needs scipy: pip install 'noria[series]'"
        ) from error
    return getattr(scipy, module)
