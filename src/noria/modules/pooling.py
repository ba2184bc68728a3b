"""From a whole sequence to one vector."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from noria.errors import UsageError
from noria.network import NetworkState

__all__ = ["POOLINGS", "Pooling", "PoolingHead", "mean_and_maximum", "running_steps"]

Pooling = Literal["last", "mean_max", "attention"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def running_steps(lengths: Tensor, steps: int) -> Tensor:
    """Which steps belong to the rows, boolean, shape (B, T, 1)."""
    return (torch.arange(steps, device=lengths.device) < lengths[:, None])[:, :, None]


def mean_and_maximum(x: Tensor, lengths: Tensor) -> Tensor:
    """Of each channel over each row's own steps, side by side, shape (B, 2 · C).

    Args:
        x: Shape (B, T, C).
        lengths: Steps of each row, at least 1, shape (B,).
    """
    running = running_steps(lengths, x.shape[1])
    mean = (x * running).sum(dim=1) / lengths[:, None]
    return torch.cat([mean, x.masked_fill(~running, -torch.inf).amax(dim=1)], dim=1)


class PoolingHead(nn.Module):
    """One vector a sequence.

    - "last": h after the last step; of a bidirectional layer, each direction's own last one.
    - "mean_max": mean and maximum over the steps, side by side.
    - "attention": Σ_t softmax(w · h_t) · h_t.

    Args:
        pooling: Which of them.
        hidden_size: H, width of the network's output.

    Raises:
        UsageError: if there is no such pooling.

    Source of the attention: Raffel & Ellis 2015, with one linear layer.
    """

    def __init__(self, pooling: str, hidden_size: int) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise UsageError(f"pooling is {pooling!r}, expected one of {', '.join(POOLINGS)}")
        self.pooling = pooling
        self.output_size = 2 * hidden_size if pooling == "mean_max" else hidden_size
        self.score = nn.Linear(hidden_size, 1) if pooling == "attention" else None

    def forward(self, hidden: Tensor, state: NetworkState, lengths: Tensor) -> Tensor:
        """Pool.

        Args:
            hidden: The network's output, shape (B, T, H).
            state: Its state after the last steps.
            lengths: Steps of each row, at least 1, shape (B,).

        Returns:
            Shape (B, `output_size`).
        """
        if self.pooling == "last":
            parts = state[-1]
            h_only = parts[:: len(parts) // (hidden.shape[2] // parts[0].shape[1])]
            return torch.cat(h_only, dim=1)
        if self.score is not None:
            running = running_steps(lengths, hidden.shape[1])
            return (self.attention(hidden, running) * hidden).sum(dim=1)
        return mean_and_maximum(hidden, lengths)

    def attention(self, hidden: Tensor, running: Tensor) -> Tensor:
        """How much each step counts, shape (B, T, 1), summing to 1.

        Args:
            hidden: The network's output, shape (B, T, H).
            running: Which steps belong to the rows, shape (B, T, 1).

        Raises:
            UsageError: if the pooling is not "attention".
        """
        if self.score is None:
            raise UsageError(f"pooling {self.pooling!r} has no attention to show")
        weights: Tensor = self.score(hidden).masked_fill(~running, -torch.inf).softmax(dim=1)
        return weights
