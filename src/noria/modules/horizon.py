"""A head that forecasts a whole horizon at once, as quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor, nn

from noria.runtime.horizon import HorizonWeights, horizon_quantiles

__all__ = ["HorizonHead", "pinball_loss"]


class HorizonHead(nn.Module):
    """Quantiles of the next K values from a network's output at one step.

    A few numbers drawn from the network's output, a code of the horizon step and what is known in
    advance of it weigh the plain forecasts (last value, a season before, …) against each other
    and add what those leave out:

        q_j(k) = Σ_c softmax(w(k))_c · candidate_c(k) + δ_j(k)

    Letters: R forecasts, H hidden, K horizon, C candidates, F known in advance, Q quantiles.

    Args:
        hidden_size: H.
        horizon: K.
        known_size: F.
        candidate_size: C.
        quantiles: The Q probabilities, ascending.

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
        quantiles: Sequence[float],
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.known_size = known_size
        self.candidate_size = candidate_size
        self.context = nn.Linear(hidden_size, self._context)
        self.code = nn.Parameter(torch.randn(horizon, self._code) * 0.1)
        self.local = nn.Sequential(
            nn.Linear(self._context + self._code + known_size + candidate_size, self._width),
            nn.ReLU(),
            nn.Linear(self._width, candidate_size + len(quantiles)),
        )
        last = self.local[2]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[candidate_size:] = torch.tensor([NormalDist().inv_cdf(q) for q in quantiles])

    def forward(self, hidden: Tensor, candidates: Tensor, known: Tensor) -> Tensor:
        """Forecast.

        Without gradients `noria.runtime.horizon` runs it, whose bits do not depend on the batch;
        in training torch does.

        Args:
            hidden: The network's output at the last known step, shape (R, H).
            candidates: Plain forecasts, in units of the scale, relative to the level, (R, K, C).
            known: Known in advance, shape (R, K, F).

        Returns:
            Quantiles in the candidates' units, shape (R, K, Q); they may cross.
        """
        if hidden.device.type == "cpu" and not torch.is_grad_enabled():
            named = {name: weight.numpy() for name, weight in self.named_parameters()}
            arrays = (part.numpy() for part in (hidden, candidates, known))
            return torch.from_numpy(horizon_quantiles(HorizonWeights.from_names(named), *arrays))
        context = self.context(hidden)[:, None].expand(-1, self.horizon, -1)
        code = self.code.expand(len(hidden), -1, -1)
        seen = torch.cat([context, code, known, torch.asinh(candidates)], dim=-1)
        out = self.local(seen)
        weights = out[..., : self.candidate_size].softmax(dim=-1)
        mixed = (weights * candidates).sum(dim=-1, keepdim=True)
        quantiles: Tensor = mixed + out[..., self.candidate_size :]
        return quantiles


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
