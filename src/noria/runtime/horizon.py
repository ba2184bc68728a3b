"""A whole horizon of forecasts from a network's output, without torch.

The arithmetic of `noria.modules.horizon.HorizonHead` where nothing is trained. Every forecast has
the same bits, alone or among others: the products are the native core's, and the rest goes number
by number.

Letters: R forecasts, H hidden, K horizon, C candidates, F known in advance, Q quantiles, P numbers
of a step, which `noria.runtime.distribution` turns into quantiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noria import kernels

__all__ = ["HorizonWeights", "average", "calibrate", "horizon_numbers", "in_units"]

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class HorizonWeights:
    """The head's weights and biases, each in torch's order; those of one type.

    Attributes:
        context: (N, H) and (N,), from the network's output to a few numbers.
        code: A code of each horizon step, (K, E).
        first: (W, N + E + F + C) and (W,).
        second: (C + P, W) and (C + P,).
        direct: (K, H) and (K,), from the network's output to a shift of each step; None for none.
    """

    context: tuple[Array, Array]
    code: Array
    first: tuple[Array, Array]
    second: tuple[Array, Array]
    direct: tuple[Array, Array] | None = None

    @classmethod
    def from_names(cls, weights: Mapping[str, Array]) -> Self:
        """From arrays under the names of the head's parameters.

        Raises:
            KeyError: if one is not there.
        """

        def pair(name: str) -> tuple[Array, Array]:
            return weights[f"{name}.weight"], weights[f"{name}.bias"]

        direct = pair("direct") if "direct.weight" in weights else None
        return cls(pair("context"), weights["code"], pair("local.0"), pair("local.2"), direct)

    def fits(self, hidden: int, horizon: int, known: int, candidates: int, numbers: int) -> bool:
        """Whether the shapes are those of H, K, F, C and P, and all types one."""
        direct = self.direct or ()
        arrays = (*self.context, self.code, *self.first, *self.second, *direct)
        if self.code.ndim != 2 or len({array.dtype for array in arrays}) > 1:
            return False
        width, context = len(self.first[1]), len(self.context[1])
        seen = context + self.code.shape[1] + known + candidates
        return [array.shape for array in arrays] == [
            (context, hidden),
            (context,),
            (horizon, self.code.shape[1]),
            (width, seen),
            (width,),
            (candidates + numbers, width),
            (candidates + numbers,),
            *([(horizon, hidden), (horizon,)] if direct else []),
        ]


def horizon_numbers(
    weights: HorizonWeights, hidden: Array, candidates: Array, known: Array, moved: int
) -> Array:
    """Forecast.

        n_j(k) = Σ_c softmax(w(k))_c · candidate_c(k) + s(k) + δ_j(k),  δ_j(k) alone for j ≥ moved

    Args:
        weights: Of the head, float32 or float64; all arrays have their type.
        hidden: The network's output at the last known step, shape (R, H).
        candidates: Plain forecasts, in units of the scale, relative to the level, (R, K, C).
        known: Known in advance, shape (R, K, F).
        moved: How many of the numbers the candidates are added to.

    Returns:
        Shape (R, K, P); quantiles may cross.
    """
    count, horizon, size = candidates.shape
    context = kernels.linear(hidden, *weights.context)
    parts = [
        np.broadcast_to(context[:, None], (count, horizon, context.shape[1])),
        np.broadcast_to(weights.code, (count, *weights.code.shape)),
        known,
        np.arcsinh(candidates),
    ]
    local = kernels.linear(np.concatenate(parts, axis=2), *weights.first)
    out = kernels.linear(np.maximum(local, 0), *weights.second)
    top = out[..., :size].max(axis=2)
    total = np.zeros_like(top)
    mixed = np.zeros_like(top)
    # a sum of numpy's own may take another order for another shape
    for index in range(size):
        share = np.exp(out[..., index] - top)
        total += share
        mixed += share * candidates[..., index]
    numbers: Array = out[..., size:]
    place = mixed / total
    if weights.direct:
        place = place + kernels.linear(hidden, *weights.direct)
    numbers[..., :moved] += place[..., None]
    return numbers


def average(members: Sequence[Array]) -> Array:
    """The mean of the members' quantiles, number by number."""
    total = members[0]
    for more in members[1:]:
        total = total + more
    return total / len(members) if len(members) > 1 else total


def in_units(
    quantiles: Array,
    factors: NDArray[np.float64],
    level: NDArray[np.float64],
    scale: NDArray[np.float64],
    *,
    whole: bool,
) -> NDArray[np.float64]:
    """Calibrated quantiles in the series' units.

    Args:
        quantiles: Ascending, in units of the scale, relative to the level, shape (R, K, Q).
        factors: See `calibrate`.
        level: Shape (R, 1, 1).
        scale: Likewise.
        whole: Only whole numbers can come.
    """
    found = level + scale * calibrate(quantiles, factors)
    return np.rint(found) if whole else found


def calibrate(quantiles: Array, factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles stretched about their median.

    Args:
        quantiles: Ascending, shape (R, K, Q).
        factors: From `noria.training.conformal.calibration_factors`, shape (K, (Q − 1) / 2).

    Returns:
        Ascending, shape (R, K, Q).
    """
    middle = quantiles.shape[-1] // 2
    median = quantiles[..., middle, None]
    both = np.concatenate([factors, np.ones((len(factors), 1)), factors[:, ::-1]], axis=1)
    return np.sort(median + (quantiles - median) * both, axis=-1)
