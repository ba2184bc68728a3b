"""What a tagger must beat: a word's commonest tag, and logistic regression on a few words around.

Both are kept as plain arrays, so that a model file can hold them and `evaluate` runs them again.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.features.sentences import MOST_CHARACTERS
from noria.training.sequences import Sequences

__all__ = ["PLAIN_TAGGERS", "PlainTaggers"]

PLAIN_TAGGERS = ("most_frequent_tag", "logistic_regression")

_WINDOW = range(-2, 3)
_ENDS = range(1, 5)
_BUCKETS = 2**17
_ROUNDS = 8


@dataclasses.dataclass(frozen=True)
class PlainTaggers:
    """Fitted baselines; neither knows what tags it gave to other words.

    Attributes:
        tags: C.
        arrays: What was fitted: "most_frequent" (V,), the commonest tag of each word's number, −1
            where it was not seen, and "overall" (1,); "coefficients" (C, F) and "intercepts" (C,)
            of words and features from two before to two after, and of the word's last one to four
            characters, in F buckets. Those of a baseline that was not asked for are missing.
    """

    tags: int
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def fit(
        cls,
        names: Collection[str],
        sequences: Sequences,
        labels: Sequence[NDArray[np.int64]],
        tags: int,
        seed: int = 0,
    ) -> PlainTaggers:
        """Fit them.

        Args:
            names: Which of `PLAIN_TAGGERS`.
            sequences: See `noria.features.sentences.SentenceEncoder`, N of them.
            labels: Number of each word's tag, each (T_i,).
            tags: C.
            seed: Of the order in which the regression sees the words.
        """
        arrays: dict[str, NDArray[Any]] = {}
        own = np.concatenate(labels)
        if "most_frequent_tag" in names:
            words = np.concatenate([sequence[:, 0] for sequence in sequences])
            counts = np.zeros((int(words.max()) + 1, tags), np.int64)
            np.add.at(counts, (words, own), 1)
            arrays["most_frequent"] = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
            arrays["overall"] = np.array([np.bincount(own).argmax()])
        if "logistic_regression" in names:
            arrays |= _fit_linear(_window_features(sequences), own, tags, seed)
        return cls(tags, arrays)

    @property
    def names(self) -> list[str]:
        """Which were fitted."""
        fitted = ("most_frequent" in self.arrays, "coefficients" in self.arrays)
        return [name for name, there in zip(PLAIN_TAGGERS, fitted, strict=True) if there]

    def tag(self, name: str, sequences: Sequences) -> list[NDArray[np.int64]]:
        """The tags that one of them gives, as numbers, each (T_i,)."""
        if name == "most_frequent_tag":
            table, (overall,) = self.arrays["most_frequent"], self.arrays["overall"]
            return [
                np.where((tags := table[np.minimum(s[:, 0], len(table) - 1)]) < 0, overall, tags)
                for s in sequences
            ]
        x = _window_features(sequences)
        scores = x @ self.arrays["coefficients"].T + self.arrays["intercepts"]
        ends = np.cumsum([len(sequence) for sequence in sequences])[:-1]
        return np.split(scores.argmax(axis=1), ends)


def _fit_linear(x: Any, labels: NDArray[np.int64], tags: int, seed: int) -> dict[str, NDArray[Any]]:
    """One logistic regression a tag against the rest, by averaged gradient descent."""
    from sklearn.linear_model import SGDClassifier

    coefficients = np.zeros((tags, _BUCKETS), np.float32)
    intercepts = np.full(tags, -np.inf, np.float32)
    for tag in np.unique(labels).tolist():
        if (labels == tag).all():
            intercepts[tag] = 0.0
            continue
        model = SGDClassifier(
            loss="log_loss", alpha=1e-6, max_iter=_ROUNDS, tol=None, average=True, random_state=seed
        ).fit(x, labels == tag)
        coefficients[tag], intercepts[tag] = model.coef_[0], model.intercept_[0]
    return {"coefficients": coefficients, "intercepts": intercepts}


def _window_features(sequences: Sequences) -> Any:
    """What the regression sees of each word, all sentences below each other, sparse, (Σ T_i, F)."""
    from scipy.sparse import csr_matrix

    rows = []
    for sequence in sequences:
        count = sequence.shape[1] - MOST_CHARACTERS  # a word's number and its features
        steps = len(sequence)
        padded = np.pad(sequence[:, :count].astype(np.int64), ((2, 2), (0, 0)))
        parts = [
            _bucket(column * 16 + offset + 2, padded[2 + offset : 2 + offset + steps, column])
            for column in range(count)
            for offset in _WINDOW
        ]
        parts += [
            np.array(
                [zlib.crc32(bytes(f"{size}", "ascii") + end.tobytes()) % _BUCKETS for end in e]
            )
            for size, e in ((size, _ends(sequence[:, count:], size)) for size in _ENDS)
        ]
        rows.append(np.stack(parts, axis=1))
    indices = np.concatenate(rows)
    words, features = indices.shape
    pointers = np.arange(words + 1) * features
    ones = np.ones(words * features, np.float32)
    return csr_matrix((ones, indices.ravel(), pointers), shape=(words, _BUCKETS))


def _bucket(place: int, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a value at a place goes: multiplied by a large odd number, the upper bits."""
    mixed = (values + place * 1_000_003) * 0x9E3779B1 % 2**32
    return mixed >> (32 - 17)


def _ends(characters: NDArray[Any], size: int) -> NDArray[np.int32]:
    """The last characters of words (T, K), shape (T, size), 0 where there are fewer."""
    lengths = (characters > 0).sum(axis=1)
    places = lengths[:, np.newaxis] - 1 - np.arange(size)
    found = np.take_along_axis(characters, np.maximum(places, 0), axis=1)
    return np.where(places >= 0, found, 0).astype(np.int32)
