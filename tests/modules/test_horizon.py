from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch

from noria.modules.horizon import HorizonHead, pinball_loss
from noria.runtime.distribution import Distribution
from noria.training.metrics import pinball

R, H, K, C, F = 3, 6, 4, 5, 2
QUANTILES = (0.1, 0.5, 0.9)


@pytest.fixture
def head() -> HorizonHead:
    torch.manual_seed(0)
    return HorizonHead(H, K, F, C, Distribution("quantiles", QUANTILES))


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(R, H), torch.randn(R, K, C), torch.randn(R, K, F)


def test_a_fresh_head_forecasts_about_the_mean_of_the_candidates(head: HorizonHead) -> None:
    hidden, candidates, known = inputs()
    found = head(hidden, candidates, known)
    normal = torch.tensor([NormalDist().inv_cdf(q) for q in QUANTILES])
    expected = candidates.mean(-1, keepdim=True) + normal
    assert (found - expected).abs().max() < 0.5
    assert (found.diff(dim=-1) > 0).all()


def test_quantiles_are_a_mixture_of_the_candidates_and_what_is_left(head: HorizonHead) -> None:
    hidden, candidates, known = inputs()
    with torch.no_grad():
        for parameter in head.local[2].parameters():
            parameter.zero_()
        head.local[2].bias[:C] = torch.tensor([0.0, 0.0, 50.0, 0.0, 0.0])
        head.local[2].bias[C:] = torch.tensor([-1.0, 0.5, 2.0])
    expected = candidates[:, :, 2:3] + torch.tensor([-1.0, 0.5, 2.0])
    torch.testing.assert_close(head(hidden, candidates, known), expected)


def test_each_step_is_forecast_by_its_own_code_and_known_values(head: HorizonHead) -> None:
    hidden, candidates, known = inputs()
    hidden, candidates, known = hidden[:1], candidates[:1], known[:1]
    candidates[:] = candidates[:, :1]
    known[:] = known[:, :1]
    found = head(hidden, candidates, known)[0]
    assert (found[0] - found[1]).abs().max() > 1e-5
    other = known.clone()
    other[:, 2] += 1
    changed = head(hidden, candidates, other)[0]
    assert torch.equal(changed[[0, 1, 3]], found[[0, 1, 3]])
    assert not torch.equal(changed[2], found[2])


def test_a_shift_is_linear_in_the_networks_output() -> None:
    torch.manual_seed(0)
    head = HorizonHead(H, K, F, C, Distribution("student_t", QUANTILES), direct=True)
    hidden, candidates, known = inputs()
    found = head(hidden, candidates, known)
    with torch.no_grad():
        torch.testing.assert_close(head(hidden, candidates, known), found)
        head.direct.bias += torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = torch.zeros(R, K, 3)
    expected[..., 0] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(head(hidden, candidates, known) - found, expected)
    head(hidden, candidates, known)[..., 0].sum().backward()
    torch.testing.assert_close(head.direct.weight.grad, hidden.sum(0).expand(K, H))


def test_every_parameter_is_used(head: HorizonHead) -> None:
    head(*inputs()).pow(2).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_pinball_loss_is_the_mean_of_the_metric() -> None:
    random = np.random.default_rng(0)
    target = random.normal(size=(R, K))
    target[1, 2] = np.nan
    quantiles = random.normal(size=(R, K, 3))
    found = pinball_loss(*map(torch.from_numpy, (target, quantiles)), torch.tensor(QUANTILES))
    expected = np.mean(pinball(target, quantiles, QUANTILES))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_pinball_loss_of_nothing_is_zero_and_its_gradient_too() -> None:
    quantiles = torch.randn(R, K, 3, requires_grad=True)
    loss = pinball_loss(torch.full((R, K), torch.nan), quantiles, torch.tensor(QUANTILES))
    loss.backward()
    assert loss.item() == 0
    assert not quantiles.grad.any()


def test_a_missing_target_leaves_no_gradient() -> None:
    quantiles = torch.randn(1, 2, 3, requires_grad=True)
    target = torch.tensor([[torch.nan, 1.0]])
    pinball_loss(target, quantiles, torch.tensor(QUANTILES)).backward()
    assert not quantiles.grad[0, 0].any()
    assert quantiles.grad[0, 1].all()
