"""The plain baseline of language models: counts of n-grams, smoothed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KneserNey"]


class KneserNey:
    """Interpolated Kneser-Ney: what followed the last tokens, mixed with what followed fewer.

    Each order takes the same discount D off every count it has seen and gives it to the order
    below, whose counts say after how many different tokens something has come. Below the lowest
    order all tokens are alike.

    Args:
        vocabulary_size: V.
        order: Tokens of the longest n-gram, itself included.
        arrays: From another's `arrays`; None to `fit`.

    Attributes:
        arrays: N-grams and their counts, by order, as arrays.

    Source: Kneser & Ney 1995; Chen & Goodman 1999 (D = n₁ / (n₁ + 2 n₂), here between
    0.1 and 0.95).
    """

    def __init__(
        self, vocabulary_size: int, order: int, arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        longest = int(63 / max(np.log2(vocabulary_size), 1))  # an n-gram is one integer of 64 bits
        self.vocabulary_size = vocabulary_size
        self.order = max(1, min(order, longest))
        self.arrays = dict(arrays or {})

    def fit(self, tokens: NDArray[np.int64]) -> KneserNey:
        """Count a text, tokens (N,); the order is at most N."""
        self.order = max(1, min(self.order, len(tokens)))
        grams, counts = np.unique(self._grams(tokens, self.order), return_counts=True)
        for n in range(self.order, 0, -1):
            self.arrays[f"grams.{n}"] = grams
            self.arrays[f"counts.{n}"] = counts.astype(np.int32)
            if n > 1:  # after how many different tokens each shorter one has come
                shorter = grams % self.vocabulary_size ** (n - 1)
                grams, counts = np.unique(shorter, return_counts=True)
        return self

    @property
    def parameter_count(self) -> int:
        """Number of counts."""
        return sum(len(self.arrays[f"counts.{n}"]) for n in range(1, self.order + 1))

    def losses(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Negative log-probability of each token but the first, in nats, shape (N − 1,)."""
        size = self.vocabulary_size
        probability = np.full(len(tokens) - 1, 1.0 / size)
        for n in range(1, self.order + 1):
            grams, counts = self.arrays[f"grams.{n}"], self.arrays[f"counts.{n}"]
            once, twice = (counts == 1).sum(), (counts == 2).sum()
            discount = np.clip(once / max(once + 2 * twice, 1), 0.1, 0.95)
            contexts, begins = np.unique(grams // size, return_index=True)
            totals = np.add.reduceat(counts.astype(np.int64), begins)
            kinds = np.diff(np.append(begins, len(grams)))
            found = self._grams(tokens, n)[0 if n > 1 else 1 :]
            count = _look_up(grams, counts, found)
            total = _look_up(contexts, totals, found // size)
            kind = _look_up(contexts, kinds, found // size)
            known = total > 0
            seen = np.maximum(count - discount, 0.0)
            part = probability[len(probability) - len(found) :]
            mixed = (seen + discount * kind * part) / np.maximum(total, 1)
            part[known] = mixed[known]
        return np.asarray(-np.log(probability))

    def _grams(self, tokens: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Every n tokens in a row as one integer, shape (N − n + 1,)."""
        count = len(tokens) - n + 1
        grams = np.zeros(max(count, 0), dtype=np.int64)
        for offset in range(n):
            grams = grams * self.vocabulary_size + tokens[offset : offset + len(grams)]
        return grams


def _look_up(
    keys: NDArray[np.int64], values: NDArray[Any], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The value of each wanted key, 0 where it is not among the sorted keys."""
    where = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[where] == wanted, values[where], 0).astype(np.int64)
