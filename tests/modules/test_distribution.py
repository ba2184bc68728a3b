from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from noria.modules.distribution import distribution_loss
from noria.modules.horizon import HorizonHead, pinball_loss
from noria.runtime.distribution import (
    LEAST_DISPERSION,
    LEAST_FREEDOM,
    LEAST_WIDTH,
    Distribution,
)

Q = (0.1, 0.5, 0.9)
LEVEL, SCALE = torch.tensor([[4.0], [0.0]]), torch.tensor([[2.0], [1.0]])
COUNTS = torch.tensor([[0.0, 7.0, 3.0], [1.0, torch.nan, 0.0]])
TARGET = (COUNTS - LEVEL) / SCALE


def numbers(count: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, count, requires_grad=True)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def test_the_loss_of_quantiles_is_the_pinball_loss() -> None:
    given = numbers(3)
    found = distribution_loss(Distribution("quantiles", Q), TARGET, given, LEVEL, SCALE)
    assert found == pinball_loss(TARGET, given, torch.tensor(Q))


@pytest.mark.parametrize("name", ["student_t", "negative_binomial"])
def test_the_loss_is_the_likelihood_of_what_was_observed(name: str) -> None:
    distribution = Distribution(name, Q)
    given = numbers(distribution.size)
    plain = given.detach().double().numpy()
    target, level, scale = TARGET.double().numpy(), LEVEL.numpy(), SCALE.numpy()
    if name == "student_t":
        freedom, width = LEAST_FREEDOM + softplus(plain[..., 2]), softplus(plain[..., 1])
        likelihood = stats.t.logpdf(target, freedom, plain[..., 0], LEAST_WIDTH + width)
    else:
        mean = scale * softplus(level / scale + plain[..., 0])
        successes = 1 / (LEAST_DISPERSION + softplus(plain[..., 1]))
        likelihood = stats.nbinom.logpmf(COUNTS.numpy(), successes, successes / (successes + mean))
    found = distribution_loss(distribution, TARGET, given, LEVEL, SCALE)
    assert found.item() == pytest.approx(-np.nanmean(likelihood), rel=1e-5)
    found.backward()
    assert not given.grad[1, 1].any()
    assert given.grad[0].all()
    nothing = distribution_loss(distribution, TARGET * torch.nan, given, LEVEL, SCALE)
    assert nothing.item() == 0


@pytest.mark.parametrize("name", ["quantiles", "student_t", "negative_binomial"])
def test_training_and_forecasting_have_the_same_numbers(name: str) -> None:
    torch.manual_seed(0)
    head = HorizonHead(6, 4, 2, 5, Distribution(name, Q))
    given = torch.randn(3, 6), torch.randn(3, 4, 5), torch.randn(3, 4, 2)
    trained = head(*given)
    with torch.no_grad():
        torch.testing.assert_close(head(*given), trained, rtol=1e-4, atol=1e-5)
    moved = head(given[0], given[1] + 1, given[2]) - trained
    assert (moved[..., : head.distribution.moved].abs() > 0.5).all()
    assert (moved[..., head.distribution.moved :].abs() < 0.5).all()
