"""Made-up languages that are quickly learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from noria import LanguageModel, Translator

GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs"]
ENGLISH = ["one", "two", "three", "four", "five", "six"]


def story(words: int, seed: int = 0) -> str:
    """Words one after the other."""
    return " ".join(np.random.default_rng(seed).choice(GERMAN, words).tolist())


def pairs(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Numbers, and their translations the other way round."""
    random = np.random.default_rng(seed)
    rows = [random.integers(0, 6, random.integers(2, 6)) for _ in range(count)]
    return (
        [" ".join(GERMAN[n] for n in row) for row in rows],
        [" ".join(ENGLISH[n] for n in reversed(row)) for row in rows],
    )


def cards(count: int, seed: int = 0) -> pl.DataFrame:
    """Texts of two kinds, each of its own letters."""
    random = np.random.default_rng(seed)
    kinds = ["high" if high else "low" for high in random.integers(0, 2, count)]
    letters = {"high": "xyz", "low": "abc"}
    texts = [
        "".join(random.choice(list(letters[kind]), int(random.integers(3, 9)))) for kind in kinds
    ]
    return pl.DataFrame({"text": texts, "kind": kinds})


def small_language(**settings: Any) -> LanguageModel:
    """A language model that is fitted in no time."""
    quick: dict[str, Any] = {
        "hidden_size": 16,
        "embedding_size": 8,
        "steps": 6,
        "batch_size": 4,
        "stretch": 16,
    }
    return LanguageModel(**(quick | settings))


def small_translator(**settings: Any) -> Translator:
    """A translator that is fitted in no time."""
    quick: dict[str, Any] = {
        "tokens": "word",
        "hidden_size": 16,
        "embedding_size": 8,
        "steps": 6,
        "batch_size": 8,
    }
    return Translator(**(quick | settings))
