"""Losses of the distributions that a forecaster's head may give."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from noria.modules.horizon import pinball_loss
from noria.runtime.distribution import (
    LEAST_DISPERSION,
    LEAST_FREEDOM,
    LEAST_WIDTH,
    Distribution,
)

__all__ = ["distribution_loss"]


def distribution_loss(
    distribution: Distribution, target: Tensor, numbers: Tensor, level: Tensor, scale: Tensor
) -> Tensor:
    """Pinball loss of quantiles, else the mean negative log-likelihood of what was observed.

    Args:
        distribution: Which one.
        target: In units of the scale, relative to the level, shape (R, K); NaN where missing.
        numbers: From the head, shape (R, K, P).
        level: Of each series at its last known step, shape (R, 1).
        scale: Likewise.

    Returns:
        A scalar; zero where nothing is observed.

    Source: DeepAR, Salinas et al. 2020.
    """
    if distribution.name == "quantiles":
        return pinball_loss(target, numbers, torch.tensor(distribution.probabilities))
    observed = torch.isfinite(target)
    known = torch.where(observed, target, 0.0)
    place, spread = numbers[..., 0], functional.softplus(numbers[..., 1])
    if distribution.name == "student_t":
        freedom = LEAST_FREEDOM + functional.softplus(numbers[..., 2])
        student = torch.distributions.StudentT(freedom, place, LEAST_WIDTH + spread)
        likelihood: Tensor = student.log_prob(known)  # type: ignore[no-untyped-call]
    else:
        mean = scale * functional.softplus(level / scale + place)
        dispersion = LEAST_DISPERSION + spread
        logits = torch.log(mean.clamp(min=torch.finfo(mean.dtype).tiny) * dispersion)
        binomial = torch.distributions.NegativeBinomial(
            1 / dispersion, logits=logits, validate_args=False
        )
        count = torch.round(level + scale * known).clamp(min=0)
        likelihood = binomial.log_prob(count)  # type: ignore[no-untyped-call]
    loss: Tensor = -(likelihood * observed).sum() / observed.sum().clamp(min=1)
    return loss
