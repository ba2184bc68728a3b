"""The plain baseline of translation: word by word, from a lexicon learned from the pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lexicon"]

_ROUNDS = 8


class Lexicon:
    """Translates each token by the one that it is likeliest to give, in the source's order.

    The probabilities t(target | source) are IBM model 1's, by expectation and maximisation: each
    target token is explained by the source tokens of its sentence, none of which is preferred, or
    by none of them.

    Args:
        arrays: "source" tokens and the "target" of each; a target of −1 is left out.

    Source: Brown et al. 1993.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        sources, targets = (arrays[name].tolist() for name in ("source", "target"))
        self._best = dict(zip(sources, targets, strict=True))

    @classmethod
    def fit(
        cls, pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], vocabulary_size: int
    ) -> Lexicon:
        """Learn from pairs of sources (S,) and targets (T,)."""
        nothing = vocabulary_size  # stands before each source for what comes from none of it
        keys, places = [], []
        count = 0
        for source, target in pairs:
            given = np.append(np.unique(source), nothing)
            keys.append((given[:, None] * vocabulary_size + target).ravel())
            places.append(np.tile(np.arange(count, count + len(target)), len(given)))
            count += len(target)
        found, links = np.unique(np.concatenate(keys), return_inverse=True)
        owner, place = found // vocabulary_size, np.concatenate(places)
        probability = np.ones(len(found))
        for _ in range(_ROUNDS):
            share = probability[links]
            share /= np.bincount(place, share, minlength=count)[place]
            expected = np.bincount(links, share, minlength=len(found))
            probability = expected / np.bincount(owner, expected)[owner]
        order = np.lexsort((-probability, owner))
        first = np.flatnonzero(np.diff(owner[order], prepend=-1))
        best = order[first]
        sources, targets = owner[best], found[best] % vocabulary_size
        silent = probability[best] < 0.1  # spread over everything: it says nothing
        targets = np.where(silent, -1, targets)
        kept = sources != nothing
        return cls({"source": sources[kept], "target": targets[kept]})

    @property
    def parameter_count(self) -> int:
        """Number of entries."""
        return len(self._best)

    def translate(self, source: NDArray[np.int64]) -> list[int]:
        """The tokens for a source (S,); one that was never seen stays as it is."""
        found = [self._best.get(token, token) for token in source.tolist()]
        return [token for token in found if token >= 0]
