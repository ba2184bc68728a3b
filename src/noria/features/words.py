"""Texts as a network takes them: the id of each word, and its character n-grams in buckets."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.features.tokens import Tokenizer

__all__ = ["MOST_GRAMS", "TextEncoder", "gram_buckets"]

MOST_GRAMS = 24
"""N-grams of a word at the most, the shortest first."""

_SIZES = range(3, 6)


def gram_buckets(word: str, buckets: int) -> list[int]:
    """The buckets of a word's character n-grams, of 3 to 5 with its ends marked, from 1 on.

    >>> len(gram_buckets("cat", 1000))  # <ca cat at> <cat cat>
    5
    """
    marked = f"<{word}>"
    grams = (
        marked[begin : begin + size]
        for size in _SIZES
        if size < len(marked)
        for begin in range(len(marked) - size + 1)
    )
    first = itertools.islice(grams, MOST_GRAMS)
    return [1 + zlib.crc32(gram.encode("utf-8", "replace")) % buckets for gram in first]


@dataclass
class TextEncoder:
    """Turns texts into arrays.

    Attributes:
        tokenizer: Makes the words.
        buckets: For the n-grams of words; 0 for none.
        max_length: Words of a text at the most; what comes after is not looked at.
    """

    tokenizer: Tokenizer
    buckets: int
    max_length: int
    _known: dict[str, NDArray[np.int32]] = field(default_factory=dict, repr=False)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        tokens: str,
        *,
        vocabulary_size: int,
        min_count: int,
        lower_case: bool,
        buckets: int,
        max_length: int,
    ) -> TextEncoder:
        """Learn the vocabulary; see `Tokenizer.train`. Only whole words have n-grams."""
        tokenizer = Tokenizer.train(
            texts,
            tokens,
            vocabulary_size=vocabulary_size,
            min_count=min_count,
            lower_case=lower_case,
        )
        return cls(tokenizer, buckets if tokens in ("word", "space") else 0, max_length)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Each text as (T_i, 1 + G): a word's id, then its buckets, 0 where there are no more."""
        ids = self.tokenizer.encode_batch(texts)
        if not self.buckets:
            return [part[: self.max_length, np.newaxis].astype(np.int32) for part in ids]
        sequences = []
        for text, part in zip(texts, ids, strict=True):
            words = self.words(text)
            sequence = np.zeros((len(words), 1 + MOST_GRAMS), np.int32)
            sequence[:, 0] = part[: self.max_length]
            for row, word in zip(sequence, words, strict=True):
                row[1:] = self._grams(word.lower() if self.tokenizer.lower_case else word)
            sequences.append(sequence)
        return sequences

    def words(self, text: str) -> list[str]:
        """The words as they stand in the text, `max_length` at the most."""
        spans, text = self.tokenizer.spans(text), self.tokenizer.normal(text)
        return [text[begin:end] for begin, end in spans[: self.max_length]]

    def _grams(self, word: str) -> NDArray[np.int32]:
        if word not in self._known:
            buckets = gram_buckets(word, self.buckets)
            row = np.zeros(MOST_GRAMS, np.int32)
            row[: len(buckets)] = buckets
            self._known[word] = row
        return self._known[word]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "tokenizer": self.tokenizer.to_dict(),
            "buckets": self.buckets,
            "max_length": self.max_length,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TextEncoder:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: if the document is not what `to_dict` writes.
        """
        tokenizer = Tokenizer.from_dict(document["tokenizer"])
        return cls(tokenizer, int(document["buckets"]), int(document["max_length"]))
