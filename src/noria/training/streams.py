"""One long text as training data: truncated back-propagation through time, and its loss."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.modules.language import LanguageModule
from noria.network import NetworkState
from noria.training.loop import random_generator

__all__ = ["Stream", "StreamObjective", "adapting_loss", "stream_loss"]

Stream = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""Tokens (N,), and which of them shall be foretold (N,)."""

_VALIDATION_ROWS = 32
_CHUNK = 256


class StreamObjective:
    """Learns one long stream of tokens, stretch after stretch, its state carried along.

    The stream is a ring, cut into rows that are read side by side. Each round begins at another
    place of the ring, so that the cuts fall elsewhere.

    Args:
        module: The language model.
        training: The stream to learn.
        validation: The stream to validate on.
        batch_size: Rows.
        stretch: Tokens of a row in a batch, the reach of the gradient.
        activation_penalty: Weight of the last layer's mean squared h (AR).
        temporal_penalty: Weight of its mean squared change from step to step (TAR).
        seed: Of the beginnings.

    Source: AR and TAR: Merity et al. 2017.
    """

    def __init__(
        self,
        module: LanguageModule,
        training: Stream,
        validation: Stream,
        *,
        batch_size: int,
        stretch: int,
        activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.module = module
        self.tokens, self.foretold = training
        self.validation = validation
        size = len(self.tokens)
        self.rows = max(1, min(batch_size, size // 2))
        self.stretch = max(1, min(stretch, size // self.rows))
        self.per_round = self.steps_a_round(size, batch_size, stretch)
        self.activation_penalty = activation_penalty
        self.temporal_penalty = temporal_penalty
        self.seed = seed

    @staticmethod
    def steps_a_round(size: int, batch_size: int, stretch: int) -> int:
        """Steps it takes to read a stream of `size` tokens once."""
        return max(1, size // (batch_size * stretch))

    def batch(self, step: int) -> tuple[tuple[Tensor, Tensor, Tensor], bool]:
        """Tokens (B, T), what comes after each of them, and which of these count."""
        turn, number = divmod(step, self.per_round)
        size = len(self.tokens)
        begin = int(random_generator(self.seed, turn).integers(size))
        rows = begin + np.arange(self.rows)[:, None] * (size // self.rows)
        where = (rows + number * self.stretch + np.arange(self.stretch + 1)) % size
        tokens = torch.from_numpy(self.tokens[where])
        counts = torch.from_numpy(self.foretold[where[:, 1:]])
        return (tokens[:, :-1], tokens[:, 1:], counts), number > 0

    def loss(
        self, batch: tuple[Tensor, Tensor, Tensor], state: NetworkState | None
    ) -> tuple[Tensor, NetworkState]:
        """Mean nats a token, plus the penalties."""
        tokens, targets, counts = batch
        hidden, dropped, state = self.module(tokens, state)
        loss = _mean(self.module.losses(dropped.flatten(0, 1), targets.flatten()), counts)
        if self.activation_penalty:
            loss = loss + self.activation_penalty * dropped.square().mean()
        if self.temporal_penalty and hidden.shape[1] > 1:
            loss = loss + self.temporal_penalty * hidden.diff(dim=1).square().mean()
        return loss, state

    def validate(self) -> float:
        """Mean nats a token; the stream is read in a few rows at once, to save time."""
        return stream_loss(self.module, self.validation, rows=_VALIDATION_ROWS)


@torch.no_grad()
def stream_loss(module: LanguageModule, stream: Stream, *, rows: int = 1) -> float:
    """What a text costs, in nats a token; the first token of a row is given.

    Args:
        module: The language model, in evaluation mode.
        stream: The text.
        rows: Pieces to read side by side; 1 for the exact value.
    """
    tokens, foretold = stream
    rows = max(1, min(rows, len(tokens) // _CHUNK))
    width = (len(tokens) - 1) // rows
    where = np.arange(rows)[:, None] * width + np.arange(width + 1)
    cut, counts = torch.from_numpy(tokens[where]), torch.from_numpy(foretold[where[:, 1:]])
    state: NetworkState | None = None
    total = 0.0
    for begin in range(0, width, _CHUNK):
        end = min(begin + _CHUNK, width)
        hidden, _, state = module(cut[:, begin:end], state)
        losses = module.losses(hidden.flatten(0, 1), cut[:, begin + 1 : end + 1].flatten())
        total += float((losses * counts[:, begin:end].flatten()).sum(dtype=torch.float64))
    return total / max(int(counts.sum()), 1)


def adapting_loss(
    module: LanguageModule,
    stream: Stream,
    *,
    learning_rate: float,
    decay: float,
    stretch: int = 20,
) -> float:
    """What a text costs a model that goes on learning as it reads (dynamic evaluation).

    After every stretch the weights go down its gradient, each in units of the root of its mean
    square so far (and a tenth of its matrix's), and a little back towards where they began. The
    module itself stays as it is.

    Args:
        module: The language model.
        stream: The text.
        learning_rate: Of the steps down.
        decay: Share of the way back after every stretch.
        stretch: Tokens that are foretold before the weights move.

    Returns:
        Nats a token.

    Source: Krause et al. 2018.
    """
    tokens, foretold = (torch.from_numpy(part) for part in stream)
    module = copy.deepcopy(module).eval()
    weights = list(module.parameters())
    origin = [weight.detach().clone() for weight in weights]
    squares = [torch.zeros_like(weight) for weight in weights]
    state: NetworkState | None = None
    total = 0.0
    for number, begin in enumerate(range(0, len(tokens) - 1, stretch), 1):
        end = min(begin + stretch, len(tokens) - 1)
        hidden, _, state = module(tokens[None, begin:end], state)
        state = tuple(tuple(part.detach() for part in layer) for layer in state)
        losses = module.losses(hidden[0], tokens[begin + 1 : end + 1])
        counts = foretold[begin + 1 : end + 1]
        total += float((losses.detach() * counts).sum(dtype=torch.float64))
        # a cluster of an adaptive softmax has no part in a stretch without its tokens
        gradients = torch.autograd.grad(_mean(losses, counts), weights, materialize_grads=True)
        with torch.no_grad():
            for weight, gradient, square, first in zip(
                weights, gradients, squares, origin, strict=True
            ):
                square.add_((gradient.square() - square) / number)
                scale = square.sqrt() + 0.1 * square.mean().sqrt() + 1e-8
                weight.sub_(learning_rate * gradient / scale)
                weight.add_(decay * (first - weight))
    return total / max(int(foretold[1:].sum()), 1)


def _mean(losses: Tensor, counts: Tensor) -> Tensor:
    """The mean of those that count."""
    counts = counts.flatten()
    return (losses * counts).sum() / counts.sum().clamp(min=1)
