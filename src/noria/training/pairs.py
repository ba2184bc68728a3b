"""Pairs of token sequences as training data: batches of like length, and their loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from noria.features.tokens import Tokenizer
from noria.modules.translate import TranslateModule
from noria.network import NetworkState
from noria.training.loop import random_generator

__all__ = ["PairObjective", "TokenPair"]

TokenPair = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Tokens of a source (S,) and of its target (T,), without marks of beginning and end."""

_VALIDATION_ROWS = 64


class PairObjective:
    """Learns to translate, token by token, the right ones before given.

    Args:
        module: The translating module.
        training: Pairs to learn from.
        validation: Pairs to validate on.
        batch_size: Pairs in a batch; those of a batch are of like length.
        label_smoothing: Share of the target's probability that all tokens get alike.
        seed: Of the batches.

    Source: label smoothing: Szegedy et al. 2016.
    """

    def __init__(
        self,
        module: TranslateModule,
        training: Sequence[TokenPair],
        validation: Sequence[TokenPair],
        *,
        batch_size: int,
        label_smoothing: float,
        seed: int,
    ) -> None:
        self.module = module
        self.training = training
        self.validation = validation
        self.batch_size = batch_size
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.sizes = np.array([len(target) + 0.1 * len(source) for source, target in training])
        self.per_round = -(-len(training) // batch_size)
        self._turn, self._batches = -1, [np.zeros(0, np.int64)]

    def batch(self, step: int) -> tuple[list[TokenPair], bool]:
        """The pairs of a step; each round meets every pair once."""
        turn, number = divmod(step, self.per_round)
        if turn != self._turn:
            random = random_generator(self.seed, turn)
            order = np.argsort(self.sizes + random.uniform(0, 2, len(self.sizes)), kind="stable")
            batches = np.array_split(order, self.per_round)
            self._batches = [batches[i] for i in random.permutation(len(batches))]
            self._turn = turn
        return [self.training[index] for index in self._batches[number].tolist()], False

    def loss(
        self, batch: list[TokenPair], state: NetworkState | None
    ) -> tuple[Tensor, NetworkState | None]:
        """Mean nats a token of the targets, with smoothed labels."""
        return self._losses(batch, self.label_smoothing).mean(), None

    def validate(self) -> float:
        """Mean nats a token of the targets."""
        total, count = 0.0, 0
        pairs = sorted(self.validation, key=lambda pair: len(pair[1]))
        for begin in range(0, len(pairs), _VALIDATION_ROWS):
            losses = self._losses(pairs[begin : begin + _VALIDATION_ROWS], 0.0)
            total += float(losses.sum(dtype=torch.float64))
            count += len(losses)
        return total / count

    def _losses(self, pairs: Sequence[TokenPair], label_smoothing: float) -> Tensor:
        """Of each token of the targets and their ends, all of them in a row."""
        sources, lengths = _padded([source for source, _ in pairs])
        begun, ends = _padded([np.append(Tokenizer.BEGIN, target) for _, target in pairs])
        wanted, _ = _padded([np.append(target, Tokenizer.END) for _, target in pairs])
        attended, _ = self.module(sources, lengths, begun)
        counted = torch.arange(begun.shape[1]) < ends[:, None]
        return functional.cross_entropy(
            self.module.output(attended[counted]),
            wanted[counted],
            reduction="none",
            label_smoothing=label_smoothing,
        )


def _padded(sequences: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Sequences side by side, shape (B, T), and their lengths, shape (B,)."""
    lengths = [len(sequence) for sequence in sequences]
    rows = np.full((len(sequences), max(lengths)), Tokenizer.PADDING)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(rows), torch.tensor(lengths)
