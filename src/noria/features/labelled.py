"""Whole sequences with a label each: what a classifier learns from.

Axes: N sequences, T_i steps of one of them, I channels.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError
from noria.features.series import LARGEST

__all__ = [
    "LabelledSequences",
    "SequenceScaler",
    "class_finder",
    "flattened",
    "from_arrays",
    "resampled",
]


@dataclass(frozen=True, eq=False)
class LabelledSequences:
    """Sequences of unequal length over the same channels.

    Attributes:
        sequences: Each (T_i, I), float64, NaN where missing; T_i is at least 1.
        ids: What the source calls them, N.
        channels: Names of the I channels.
        labels: The class of each, shape (N,); None where the source has none.
        name: What messages call the source.
        groups: Who or what each comes from, shape (N,); None where that is not told.
        targets: Whether the source says that the labels are numbers to predict, not classes.
    """

    sequences: tuple[NDArray[np.float64], ...]
    ids: tuple[str, ...]
    channels: tuple[str, ...]
    labels: NDArray[Any] | None
    name: str
    groups: NDArray[Any] | None = None
    targets: bool = False

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """T_i of each, shape (N,)."""
        return np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)

    def sha256(self) -> str:
        """A hash of all that a model is trained on."""
        digest = hashlib.sha256(repr(self.channels).encode())
        for sequence in self.sequences:
            digest.update(f"{sequence.shape}".encode())
            digest.update(np.ascontiguousarray(sequence).tobytes())
        digest.update(repr(None if self.labels is None else self.labels.tolist()).encode())
        return digest.hexdigest()


def from_arrays(X: Any, y: Any = None, groups: Any = None) -> LabelledSequences:
    """Take sequences as a scikit-learn user has them.

    Args:
        X: An array (N, T, I) or (N, T), or a list of arrays, each (T_i, I) or (T_i,).
        y: Labels, shape (N,); None for none.
        groups: Who or what each comes from, shape (N,); None for none.

    Raises:
        DataError: if the arrays, labels or groups do not fit together, or hold what is no finite
            number, or one of a size above 1e100.

    >>> from_arrays(np.zeros((3, 5)), ["a", "b", "a"]).sequences[0].shape
    (5, 1)
    """
    name = "X"
    if hasattr(X, "toarray"):
        raise DataError(f"X is {type(X).__name__}: sparse data is not read; give X.toarray()")
    if hasattr(X, "__array__"):
        X = np.asarray(X)
    if not isinstance(X, np.ndarray | Sequence):
        raise DataError(f"X is {type(X).__name__}: expected an array (N, T, I) or a list of arrays")
    if isinstance(X, np.ndarray):
        if X.ndim not in (2, 3):
            raise DataError(
                f"X has shape {X.shape}: expected (N, T, I) or (N, T). Reshape your data: X[None]"
                " is one series"
            )
        if len(X) and not X.size:
            raise DataError(
                f"X has 0 feature(s) (shape={X.shape}) while a minimum of 1 is required: a case"
                " needs a step and a channel"
            )
    if not len(X):
        raise DataError("X holds no sequences")
    sequences = tuple(_sequence(part, index) for index, part in enumerate(X))
    widths = [sequence.shape[1] for sequence in sequences]
    if len(set(widths)) > 1:
        odd = next(index for index, width in enumerate(widths) if width != widths[0])
        raise DataError(f"X[{odd}] has {widths[odd]} channels, X[0] has {widths[0]}")
    labels = _one_each("y", y, len(sequences))
    ids = tuple(str(index) for index in range(len(sequences)))
    channels = tuple(f"channel_{index}" for index in range(widths[0]))
    own = _one_each("groups", groups, len(sequences))
    return LabelledSequences(sequences, ids, channels, labels, name, own)


def _one_each(name: str, values: Any, count: int) -> NDArray[Any] | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (count,):
        raise DataError(f"{name} has shape {array.shape}: expected ({count},), one for each case")
    for index, value in enumerate(array.tolist() if array.dtype == object else ()):
        if value is None:
            raise DataError(f"{name}[{index}] is None: fill it in or leave the case out")
    return array


def class_finder(classes: Iterable[Any]) -> Callable[[Any], int | None]:
    """Find classes by labels from any source, which may write 3 as 3.0 and True as true.

    Args:
        classes: The classes that are known.

    Returns:
        What gives the number of a label's class, None where it is of none.

    >>> number = class_finder(["3", "7"])
    >>> number(7.0), number("7"), number(8)
    (1, 1, None)
    """
    exact = {str(name): number for number, name in enumerate(classes)}
    alike = {_as_elsewhere(name): number for name, number in exact.items()}

    def number(label: Any) -> int | None:
        name = str(label)
        return exact.get(name, alike.get(_as_elsewhere(name)))

    return number


def _as_elsewhere(name: str) -> str:
    """One text for what sources write differently: booleans, and whole numbers with a fraction."""
    if name.lower() in ("true", "false"):
        return name.lower()
    return re.sub(r"^([+-]?[0-9]+)\.0+$", r"\1", name)


def _sequence(part: Any, index: int) -> NDArray[np.float64]:
    if np.iscomplexobj(part):
        raise DataError(f"X[{index}] is complex. Complex data not supported: give its parts apart")
    try:
        values = np.asarray(part, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"X[{index}] holds what is not a number") from None
    if values.ndim == 1:
        values = values[:, np.newaxis]
    if values.ndim != 2 or not len(values) or not values.shape[1]:
        raise DataError(f"X[{index}] has shape {values.shape}: expected (T, I), at least one step")
    if np.isinf(values).any():
        raise DataError(f"X[{index}] holds an infinite number; write NaN for a missing one")
    if (np.abs(values) > LARGEST).any():
        step, channel = np.argwhere(np.abs(values) > LARGEST)[0].tolist()
        raise DataError(
            f"X[{index}], step {step}, channel {channel}: {values[step, channel]:g} is too large a"
            f" number, above {LARGEST:g}; correct it, or write NaN for a missing one"
        )
    return values


_ROUNDING = 1e-14
"""Share of a channel's mean that its deviation must exceed, or it is taken for constant."""

_FARTHEST = 1e15
"""Deviations from the mean: squares of such numbers are finite in float32."""


@dataclass(frozen=True, eq=False)
class SequenceScaler:
    """Channels in units of their own deviation in the training part.

    Attributes:
        mean: Of each channel, shape (I,).
        deviation: Of each channel, shape (I,); at least 1 for a constant one.
        gaps: Whether values were missing; each channel then brings a second one that says where.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    gaps: bool

    @classmethod
    def fit(cls, sequences: Sequence[NDArray[np.floating[Any]]]) -> SequenceScaler:
        """Measure the channels over all steps of all sequences."""
        values = np.concatenate(sequences).astype(np.float64)
        observed = ~np.isnan(values)
        count = np.maximum(observed.sum(axis=0), 1)
        # from one of the values on, so that the mean of a constant channel is exact
        first = values[observed.argmax(axis=0), np.arange(values.shape[1])]
        first = np.where(np.isnan(first), 0.0, first)
        mean = first + np.where(observed, values - first, 0.0).sum(axis=0) / count
        spread = np.where(observed, values - mean, 0.0)
        deviation = np.sqrt((spread**2).sum(axis=0) / count)
        rounding = _ROUNDING * np.abs(mean)
        deviation = np.where(deviation > rounding, deviation, np.maximum(rounding, 1.0))
        return cls(mean, deviation, not bool(observed.all()))

    @property
    def size(self) -> int:
        """Channels that `scale` puts out."""
        return len(self.mean) * (2 if self.gaps else 1)

    def scale(self, sequence: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Standardise one sequence (T, I); what is missing becomes the mean, zero.

        Raises:
            DataError: naming the first step and channel that is so far from the values measured
                that no network can take it.
        """
        scaled = (sequence - self.mean) / self.deviation
        far = np.argwhere(np.abs(scaled) > _FARTHEST)
        if len(far):
            step, channel = far[0].tolist()
            raise DataError(
                f"step {step}, channel {channel}: {sequence[step, channel]:g} is too far from the"
                f" values trained on, about {self.mean[channel]:g}; correct it"
            )
        missing = np.isnan(scaled)
        scaled[missing] = 0.0
        if self.gaps:
            scaled = np.concatenate([scaled, missing], axis=1)
        return scaled.astype(np.float32)


def resampled(sequence: NDArray[np.float32], positions: NDArray[Any]) -> NDArray[np.float32]:
    """A sequence (T, I) at fractional steps, by straight lines between its values.

    Args:
        sequence: Without missing values.
        positions: Steps from 0 to T − 1, ascending, shape (K,).

    Returns:
        Shape (K, I).

    >>> resampled(np.array([[0.0], [2.0]], np.float32), np.array([0.0, 0.5])).tolist()
    [[0.0], [1.0]]
    """
    before = np.minimum(positions.astype(np.int64), max(len(sequence) - 2, 0))
    after = np.minimum(before + 1, len(sequence) - 1)
    share = (positions - before)[:, np.newaxis]
    low, high = sequence[before].astype(np.float64), sequence[after].astype(np.float64)
    between: NDArray[np.float32] = (low + share * (high - low)).astype(np.float32)
    return between


def flattened(sequences: Sequence[NDArray[np.float32]], window: int) -> NDArray[np.float32]:
    """Sequences brought to K steps by straight lines, each as one row, shape (N, K · I).

    Args:
        sequences: Each (T_i, I), without missing values.
        window: K.
    """
    return np.stack(
        [resampled(s, np.linspace(0, len(s) - 1, window)).reshape(-1) for s in sequences]
    )
