"""A head that forecasts a whole horizon at once."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor, nn

from noria.runtime.distribution import Distribution
from noria.runtime.horizon import HorizonWeights, horizon_numbers

__all__ = ["HorizonHead", "pinball_loss"]


class HorizonHead(nn.Module):
    """Forecasts of the next K values from a network's output at one step.

    A few numbers drawn from the network's output, a code of the horizon step and what is known in
    advance of it weigh the plain forecasts (last value, a season before, …) against each other
    and add what those leave out:

        n_j(k) = Σ_c softmax(w(k))_c · candidate_c(k) + s(k) + δ_j(k)

    The shift s is linear in the network's output, where there is one. The numbers n are quantiles,
    or those of another distribution, whose widths are δ alone.

    Letters: R forecasts, H hidden, K horizon, C candidates, F known in advance, P numbers.

    Args:
        hidden_size: H.
        horizon: K.
        known_size: F.
        candidate_size: C.
        distribution: What the numbers stand for.
        direct: Whether there is a shift s.

    Source: one context and a local network a step, as in MQ-RNN, Wen et al. 2017.
    """

    _context = 24
    _code = 8
    _width = 48

    def __init__(
        self,
        hidden_size: int,
        horizon: int,
        known_size: int,
        candidate_size: int,
        distribution: Distribution,
        *,
        direct: bool = False,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.known_size = known_size
        self.candidate_size = candidate_size
        self.distribution = distribution
        self.context = nn.Linear(hidden_size, self._context)
        self.code = nn.Parameter(torch.randn(horizon, self._code) * 0.1)
        self.local = nn.Sequential(
            nn.Linear(self._context + self._code + known_size + candidate_size, self._width),
            nn.ReLU(),
            nn.Linear(self._width, candidate_size + distribution.size),
        )
        self.direct = nn.Linear(hidden_size, horizon) if direct else None
        last = self.local[2]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            if self.direct is not None:
                self.direct.weight.mul_(0.1)
                self.direct.bias.zero_()
            if distribution.name == "quantiles":
                normal = [NormalDist().inv_cdf(q) for q in distribution.probabilities]
                last.bias[candidate_size:] = torch.tensor(normal)

    def forward(self, hidden: Tensor, candidates: Tensor, known: Tensor) -> Tensor:
        """Forecast.

        Without gradients `noria.runtime.horizon` runs it, whose bits do not depend on the batch;
        in training torch does.

        Args:
            hidden: The network's output at the last known step, shape (R, H).
            candidates: Plain forecasts, in units of the scale, relative to the level, (R, K, C).
            known: Known in advance, shape (R, K, F).

        Returns:
            In the candidates' units, shape (R, K, P); quantiles may cross.
        """
        if hidden.device.type == "cpu" and not torch.is_grad_enabled():
            named = {name: weight.numpy() for name, weight in self.named_parameters()}
            h, c, k = (part.numpy() for part in (hidden, candidates, known))
            weights = HorizonWeights.from_names(named)
            return torch.from_numpy(horizon_numbers(weights, h, c, k, self.distribution.moved))
        context = self.context(hidden)[:, None].expand(-1, self.horizon, -1)
        code = self.code.expand(len(hidden), -1, -1)
        seen = torch.cat([context, code, known, torch.asinh(candidates)], dim=-1)
        out = self.local(seen)
        shares = out[..., : self.candidate_size].softmax(dim=-1)
        mixed = (shares * candidates).sum(dim=-1, keepdim=True)
        if self.direct is not None:
            mixed = mixed + self.direct(hidden)[..., None]
        moved, apart = out[..., self.candidate_size :].tensor_split([self.distribution.moved], -1)
        return torch.cat([mixed + moved, apart], dim=-1)


def pinball_loss(target: Tensor, quantiles: Tensor, probabilities: Tensor) -> Tensor:
    """Mean pinball loss over all observed targets.

    Args:
        target: Shape (R, K); NaN where missing.
        quantiles: Shape (R, K, Q).
        probabilities: Shape (Q,).

    Returns:
        A scalar; zero where nothing is observed.

    Source: Koenker & Bassett 1978.
    """
    observed = torch.isfinite(target)
    error = torch.where(observed, target, 0.0)[..., None] - quantiles
    loss = torch.maximum(probabilities * error, (probabilities - 1) * error).mean(dim=-1)
    return (loss * observed).sum() / observed.sum().clamp(min=1)
