"""A conditional random field over a chain of tags: its likelihood, best chain, and marginals.

    score(y | x) = Σ_t emission_t[y_t] + Σ_t transition[y_{t−1}, y_t]

with a beginning before the first word and an end after the last one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["ConditionalRandomField", "best_chains", "chain_scores", "log_partition", "marginals"]

_FORBIDDEN = -1e4
_TINY = 1e-300


class ConditionalRandomField(nn.Module):
    """The scores of one tag after another, learned.

    Args:
        legal: Which may follow which, boolean, shape (C + 1, C + 1); row and column C stand for
            the beginning and the end. What may not scores −10,000 for good.

    Source: Lafferty et al. 2001; above a recurrent network: Huang et al. 2015.
    """

    legal: Tensor

    def __init__(self, legal: NDArray[np.bool_]) -> None:
        super().__init__()
        self.register_buffer("legal", torch.from_numpy(legal), persistent=False)
        self.learned = nn.Parameter(torch.zeros(legal.shape))

    def transitions(self) -> Tensor:
        """Score of each tag after each, shape (C + 1, C + 1)."""
        return self.learned.masked_fill(~self.legal, _FORBIDDEN)

    def forward(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """−log of the probability of the chains, shape (B,).

        Args:
            emissions: Shape (B, T, C).
            tags: Of each word, shape (B, T); anything past the lengths.
            lengths: Words of each row, at least 1, shape (B,).
        """
        transitions = self.transitions()
        whole = log_partition(emissions, transitions, lengths)
        return whole - chain_scores(emissions, transitions, tags, lengths)


def chain_scores(emissions: Tensor, transitions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
    """The score of one chain a row, shape (B,), in double precision.

    Args:
        emissions: Shape (B, T, C).
        transitions: Shape (C + 1, C + 1).
        tags: The chains, shape (B, T); anything past the lengths.
        lengths: Words of each row, at least 1, shape (B,).
    """
    running = torch.arange(tags.shape[1]) < lengths[:, None]
    edge = transitions.shape[0] - 1
    own = emissions.double().gather(2, tags[:, :, None])[:, :, 0]
    before = torch.cat([torch.full_like(tags[:, :1], edge), tags[:, :-1]], dim=1)
    moves = transitions.double()[before, tags]
    ends = transitions.double()[tags.gather(1, lengths[:, None] - 1)[:, 0], edge]
    return ((own + moves) * running).sum(dim=1) + ends


def log_partition(emissions: Tensor, transitions: Tensor, lengths: Tensor) -> Tensor:
    """Log of the sum of exp(score) over all chains, by the forward algorithm, shape (B,).

    The sums are products with exp(transitions), each row scaled by its largest term, in double
    precision: 10^300 apart two chains may be.

    Args:
        emissions: Shape (B, T, C).
        transitions: Shape (C + 1, C + 1).
        lengths: Words of each row, at least 1, shape (B,).
    """
    emissions, transitions = emissions.double(), transitions.double()
    moves = transitions[:-1, :-1].exp()
    alpha = emissions[:, 0] + transitions[-1, :-1]
    for step in range(1, emissions.shape[1]):
        top = alpha.detach().amax(dim=1, keepdim=True)
        sums = (alpha - top).exp() @ moves
        moved = sums.clamp(min=_TINY).log() + top + emissions[:, step]
        alpha = torch.where((step < lengths)[:, None], moved, alpha)
    return (alpha + transitions[:-1, -1]).logsumexp(dim=1)


def best_chains(emissions: Tensor, transitions: Tensor, lengths: Tensor) -> Tensor:
    """The chain of the highest score of each row, by Viterbi, shape (B, T); 0 past the lengths.

    Args:
        emissions: Shape (B, T, C).
        transitions: Shape (C + 1, C + 1).
        lengths: Words of each row, at least 1, shape (B,).
    """
    batch, steps, tags = emissions.shape
    best = emissions[:, 0] + transitions[-1, :-1]
    itself = torch.arange(tags).expand(batch, tags)
    came_from = []
    into = transitions[:-1, :-1].T.contiguous()  # the tag before last, where it is searched
    for step in range(1, steps):
        highest, origin = (best[:, None, :] + into).max(dim=2)
        running = (step < lengths)[:, None]
        best = torch.where(running, highest + emissions[:, step], best)
        came_from.append(torch.where(running, origin, itself))
    tag = (best + transitions[:-1, -1]).argmax(dim=1)
    chain = [tag]
    for origin in reversed(came_from):
        tag = origin.gather(1, tag[:, None])[:, 0]
        chain.append(tag)
    chains = torch.stack(chain[::-1], dim=1)
    return chains * (torch.arange(steps) < lengths[:, None])


def marginals(emissions: Tensor, transitions: Tensor, lengths: Tensor) -> Tensor:
    """Probability of each tag at each word, over all chains, shape (B, T, C).

    They are the gradient of the log partition: back-propagation is the backward algorithm.

    Args:
        emissions: Shape (B, T, C).
        transitions: Shape (C + 1, C + 1).
        lengths: Words of each row, at least 1, shape (B,).
    """
    with torch.enable_grad():
        leaf = emissions.detach().double().requires_grad_()
        (gradient,) = torch.autograd.grad(log_partition(leaf, transitions, lengths).sum(), leaf)
    return gradient
