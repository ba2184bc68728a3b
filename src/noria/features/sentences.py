"""Sentences as a tagger takes them: each word's number, its features and its characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.features.tagged import TaggedWords
from noria.features.tokens import Tokenizer

__all__ = ["MOST_CHARACTERS", "Numbering", "SentenceEncoder"]

MOST_CHARACTERS = 20
"""Characters of a word at the most; of a longer one, as many from its beginning as from its end."""

_DIGIT = re.compile(r"\d")


class Numbering:
    """Numbers for texts that were seen often enough, from 2 on; 1 for others, 0 for padding.

    Args:
        names: Those that have a number, in its order.
    """

    PADDING, UNKNOWN = range(2)

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._numbers = {name: number for number, name in enumerate(self.names, 2)}

    @classmethod
    def train(cls, names: Iterable[str], *, most: int, min_count: int) -> Numbering:
        """Number the commonest first; those alike common by their letters."""
        common = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
        return cls([name for name, count in common[: max(most - 2, 0)] if count >= min_count])

    def __len__(self) -> int:
        return len(self.names) + 2

    def __getitem__(self, name: str) -> int:
        return self._numbers.get(name, self.UNKNOWN)


@dataclass(frozen=True)
class SentenceEncoder:
    """Turns sentences into arrays.

    Attributes:
        words: Of words in their plain form: lower-case, every digit a 0.
        features: Of each further column.
        characters: Of characters.
    """

    words: Numbering
    features: tuple[Numbering, ...]
    characters: Tokenizer

    @classmethod
    def train(cls, data: TaggedWords, *, vocabulary_size: int, min_count: int) -> SentenceEncoder:
        """Learn the numbers.

        Args:
            data: Sentences.
            vocabulary_size: Words at the most, padding and the unknown one included.
            min_count: How often a word must occur to have a number.
        """
        forms = [word for sentence in data.words for word in sentence]
        return cls(
            Numbering.train(map(_plain, forms), most=vocabulary_size, min_count=min_count),
            tuple(
                Numbering.train((v for s in part for v in s), most=vocabulary_size, min_count=1)
                for part in data.features
            ),
            Tokenizer.train(forms, "character"),
        )

    def encode(self, data: TaggedWords) -> list[NDArray[np.int32]]:
        """Each sentence as (T_i, 1 + P + `MOST_CHARACTERS`).

        A word's number, the numbers of its P features, its characters, 0 where there are no more.
        """
        known: dict[str, NDArray[np.int32]] = {}
        for word in {word for sentence in data.words for word in sentence}:
            codes = self.characters.encode(word)
            half = MOST_CHARACTERS // 2
            if len(codes) > MOST_CHARACTERS:
                codes = np.concatenate([codes[:half], codes[-half:]])
            row = np.zeros(1 + MOST_CHARACTERS, np.int32)
            row[0] = self.words[_plain(word)]
            row[1 : 1 + len(codes)] = codes
            known[word] = row
        sequences = []
        for index, sentence in enumerate(data.words):
            rows = np.stack([known[word] for word in sentence])
            columns = [
                np.array([numbering[value] for value in part[index]], np.int32)
                for numbering, part in zip(self.features, data.features, strict=True)
            ]
            sequences.append(np.column_stack([rows[:, :1], *columns, rows[:, 1:]]))
        return sequences

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "words": self.words.names,
            "features": [numbering.names for numbering in self.features],
            "characters": self.characters.to_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> SentenceEncoder:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: if the document is not what `to_dict` writes.
        """
        return cls(
            Numbering(document["words"]),
            tuple(map(Numbering, document["features"])),
            Tokenizer.from_dict(document["characters"]),
        )


def _plain(word: str) -> str:
    return _DIGIT.sub("0", word.lower())
