"""Batches of labelled sequences, and the loss of their classes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn
from torch.nn import functional

from noria.features.labelled import flattened, resampled
from noria.network import NetworkState
from noria.training.loop import random_generator

__all__ = [
    "NumberObjective",
    "Padded",
    "SequenceObjective",
    "Sequences",
    "chosen_of_step",
    "class_probabilities",
    "class_weights",
    "distorted",
    "log_loss",
    "outputs",
    "pad",
    "split_folds",
    "split_groups",
    "windowed",
]

Sequences = Sequence[NDArray[Any]]
"""Sequences of unequal length, each (T_i, I): float32, or integers for ids."""

Padded = tuple[Tensor, Tensor]
"""Sequences side by side, (B, T, I), zero past their lengths, (B,)."""

_ORDER, _DISTORTION = 1, 2  # what a random number is for, beside its seed
_INFERENCE_BATCH = 256
_MIXING = 0.2  # how far a sequence may stray from the others of its length


def pad(sequences: Sequences) -> Padded:
    """Put sequences, each (T_i, I), side by side."""
    lengths = [len(sequence) for sequence in sequences]
    x = np.zeros((len(sequences), max(lengths), sequences[0].shape[1]), sequences[0].dtype)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(x), torch.tensor(lengths)


def windowed(sequences: Sequences, window: int) -> list[NDArray[Any]]:
    """Sequences as a network takes them.

    Args:
        sequences: Each (T_i, I).
        window: K: a feed-forward network sees K steps at once, (1, K · I), to which a sequence is
            brought by straight lines. 0 leaves the sequences as they are.
    """
    return list(flattened(sequences, window)[:, np.newaxis]) if window else list(sequences)


def distorted(
    sequence: NDArray[np.float32], strength: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """A sequence as it could have been: cut at its ends, faster or slower, larger, with noise.

    Args:
        sequence: In units of its deviation, shape (T, I).
        strength: Share of the steps that may be cut off, and by which the length may change; half
            of it is the deviation of the size's logarithm, a fifth that of the noise.
        random: Where the random numbers come from.

    Returns:
        Shape (T', I).
    """
    steps, channels = sequence.shape
    kept = (1 - strength * random.random()) * (steps - 1)
    start = random.random() * (steps - 1 - kept)
    count = max(1, round(steps * (1 + strength * random.uniform(-1, 1))))
    positions = np.linspace(start, start + kept, count)
    size = np.exp(strength / 2 * random.standard_normal(channels))
    noise = strength / 5 * random.standard_normal((count, channels))
    changed: NDArray[np.float32] = resampled(sequence, positions) * size + noise
    return changed.astype(np.float32)


def split_folds(labels: NDArray[Any], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal the cases out to folds, each class evenly.

    A class of one case is in no fold: it is for training alone.

    Args:
        labels: Number of each case's class, shape (N,); or which classes it has, (N, C): then it
            is each set of classes that is dealt out evenly.
        folds: How many.
        seed: Of the order.

    Returns:
        The fold of each case, −1 for none, shape (N,).
    """
    if labels.ndim == 2:
        labels = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    random = random_generator(seed)
    fold = np.full(len(labels), -1)
    dealt = 0
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        if len(members) > 1:
            fold[members] = (dealt + np.arange(len(members))) % folds
            dealt += len(members)
    return fold


def split_groups(
    labels: NDArray[np.int64], groups: NDArray[Any], folds: int, seed: int
) -> NDArray[np.int64]:
    """Deal whole groups out to folds, the classes as evenly as that goes.

    Args:
        labels: Number of each case's class, shape (N,).
        groups: Who or what each case comes from, shape (N,).
        folds: How many, at most as there are groups.
        seed: Of the order.

    Returns:
        The fold of each case, shape (N,).
    """
    fold = np.empty(len(labels), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # a class with fewer cases than folds is no fault here
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, own) in enumerate(splitter.split(labels, labels, groups)):
            fold[own] = number
    return fold


def class_weights(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Factors that make rare classes count as much as common ones, shape (C,).

    Args:
        labels: Number of each case's class, shape (N,); or which classes it has, (N, C).
    """
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels)
    weights: NDArray[np.float64] = counts.sum() / (len(counts) * counts)
    return weights


def chosen_of_step(
    step: int, count: int, batches: int, seed: int, lengths: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Which sequences are in the batch of a step, every one of them once an epoch.

    Args:
        step: The step.
        count: Sequences, N.
        batches: In an epoch; they differ in size by one at most.
        seed: Of the order.
        lengths: Of the sequences, shape (N,), to put those of like length into one batch, which
            saves padding; None leaves it to chance.
    """
    epoch, number = divmod(step, batches)
    random = random_generator(seed, _ORDER, epoch)
    order = random.permutation(count)
    if lengths is not None:
        stray = random.uniform(1 - _MIXING, 1 + _MIXING, count)
        order = order[np.argsort(lengths[order] * stray)]
        number = random.permutation(batches)[number]
    return np.array_split(order, batches)[number]


class SequenceObjective:
    """Cross entropy over whole sequences, every one of them once an epoch.

    Args:
        module: Puts out unnormalised log-probabilities for a `Padded` batch.
        sequences: For training, N of them.
        labels: Number of each one's class, shape (N,); or which classes it has, (N, C), and the
            loss is the mean over the classes of each one's own cross entropy.
        validation: Sequences and their labels.
        batch_size: At the most.
        class_weights: Factor on each class's loss, shape (C,); None for 1.
        label_smoothing: Share of the target's probability that all classes get alike.
        augmentation: Strength of `distorted`; 0 leaves the sequences as they are.
        window: See `windowed`.
        seed: Of the order and the distortions.
        by_length: Put sequences of like length into one batch, which saves padding.
    """

    def __init__(
        self,
        module: nn.Module,
        sequences: Sequences,
        labels: NDArray[Any],
        validation: tuple[Sequences, NDArray[Any]],
        *,
        batch_size: int,
        class_weights: NDArray[np.float64] | None,
        label_smoothing: float,
        augmentation: float,
        window: int,
        seed: int,
        by_length: bool = False,
    ) -> None:
        self.module = module
        self.sequences = sequences
        self.labels = labels
        self.validation = validation
        self.batches = math.ceil(len(sequences) / batch_size)
        self.class_weights = (
            None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        )
        self.label_smoothing = label_smoothing
        self.augmentation = augmentation
        self.by_length = by_length
        self.lengths = np.array([len(sequence) for sequence in sequences])
        self.window = window
        self.seed = seed

    def batch(self, step: int) -> tuple[tuple[Padded, Tensor], bool]:
        """The batch of a step; batches of an epoch differ in size by one at most."""
        lengths = self.lengths if self.by_length else None
        chosen = chosen_of_step(step, len(self.sequences), self.batches, self.seed, lengths)
        sequences = [self.sequences[index] for index in chosen]
        if self.augmentation:
            random = random_generator(self.seed, _DISTORTION, step)
            sequences = [distorted(s, self.augmentation, random) for s in sequences]
        return (pad(windowed(sequences, self.window)), torch.from_numpy(self.labels[chosen])), False

    def loss(self, batch: tuple[Padded, Tensor], state: NetworkState | None) -> tuple[Tensor, None]:
        """Cross entropy of a batch."""
        (x, lengths), labels = batch
        logits = self.module(x, lengths)
        if labels.dim() == 2:
            soft = labels.float() * (1 - self.label_smoothing) + self.label_smoothing / 2
            weight = self.class_weights
            return functional.binary_cross_entropy_with_logits(logits, soft, weight), None
        loss = functional.cross_entropy(
            logits, labels, weight=self.class_weights, label_smoothing=self.label_smoothing
        )
        return loss, None

    def validate(self) -> float:
        """Log loss of the validation part, without smoothing."""
        sequences, labels = self.validation
        probabilities = class_probabilities(
            self.module, windowed(sequences, self.window), multi_label=labels.ndim == 2
        )
        return log_loss(probabilities, labels, self.class_weights)


class NumberObjective(SequenceObjective):
    """A number for each whole sequence: squares of small errors, the size of large ones.

    The labels are numbers in units of their deviation, shape (N,), float32.
    """

    def loss(self, batch: tuple[Padded, Tensor], state: NetworkState | None) -> tuple[Tensor, None]:
        """Huber's loss of a batch."""
        (x, lengths), numbers = batch
        return functional.smooth_l1_loss(self.module(x, lengths)[:, 0], numbers), None

    def validate(self) -> float:
        """Root mean square error of the validation part."""
        sequences, numbers = self.validation
        errors = outputs(self.module, windowed(sequences, self.window))[:, 0] - numbers
        return float(np.sqrt((errors**2).mean()))


def log_loss(
    probabilities: NDArray[np.float64], labels: NDArray[Any], weights: Any = None
) -> float:
    """Mean of −log of the probability given to what is true, in nats.

    Args:
        probabilities: Of each class, shape (N, C).
        labels: Number of each case's class, shape (N,); or which classes it has, (N, C).
        weights: How much each class counts, shape (C,); None for all alike.

    >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([1])), 3)
    0.693
    """
    if labels.ndim == 2:
        picked = np.where(labels, probabilities, 1 - probabilities)
        own = None if weights is None else np.broadcast_to(weights, picked.shape)
    else:
        picked = probabilities[np.arange(len(labels)), labels]
        own = None if weights is None else np.asarray(weights)[labels]
    return float(np.average(-np.log(np.maximum(picked, 1e-12)), weights=own))


def class_probabilities(
    module: nn.Module, sequences: Sequences, *, multi_label: bool = False
) -> NDArray[np.float64]:
    """Probability of each class for each sequence, shape (N, C).

    Args:
        module: In evaluation mode.
        sequences: As the module takes them.
        multi_label: Whether each class is there or not, whatever the others are.
    """
    logits = torch.from_numpy(outputs(module, sequences))
    found: NDArray[np.float64] = (
        logits.sigmoid() if multi_label else logits.softmax(dim=1)
    ).numpy()
    return found


@torch.no_grad()
def outputs(module: nn.Module, sequences: Sequences) -> NDArray[np.float64]:
    """What a module in evaluation mode puts out for each sequence, shape (N, C)."""
    order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
    result: NDArray[np.float64] | None = None
    for start in range(0, len(sequences), _INFERENCE_BATCH):
        chosen = order[start : start + _INFERENCE_BATCH]
        part = module(*pad([sequences[index] for index in chosen])).double().numpy()
        result = np.empty((len(sequences), part.shape[1])) if result is None else result
        result[chosen] = part
    assert result is not None
    return result
