"""Made sentences whose tags need memory: a word that opens a stretch far before its close."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from noria import SequenceTagger


def chunks(count: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences and their tags; which type a stretch has, its first word alone tells."""
    random = np.random.default_rng(seed)
    sentences, tags = [], []
    for _ in range(count):
        words, own = [], []
        for _ in range(int(random.integers(1, 4))):
            fillers = [f"w{int(random.integers(9))}" for _ in range(int(random.integers(1, 9)))]
            kind = ("PER", "LOC", "")[int(random.integers(3))]
            if kind:
                opened = {"PER": "mr", "LOC": "to"}[kind]
                words += [opened, *fillers, "end"]
                own += [f"B-{kind}", *[f"I-{kind}"] * (len(fillers) + 1)]
            else:
                words += ["the", *fillers, "end"]
                own += ["O"] * (len(fillers) + 2)
        sentences.append(words)
        tags.append(own)
    return sentences, tags


def write_columns(path: Path, sentences: list[list[str]], *columns: list[list[str]]) -> Path:
    """A file in CoNLL's columns."""
    blocks = [
        "".join(f"{' '.join(row)}\n" for row in zip(words, *(c[i] for c in columns), strict=True))
        for i, words in enumerate(sentences)
    ]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def small(**settings: Any) -> SequenceTagger:
    """A tagger that trains in no time."""
    quick: dict[str, Any] = {
        "hidden_size": 4, "embedding_size": 6, "character_size": 4, "feature_size": 3,
        "steps": 4, "members": 2, "batch_size": 8,
    }  # fmt: skip
    return SequenceTagger(**{**quick, **settings})
