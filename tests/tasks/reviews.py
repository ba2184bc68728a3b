"""Made texts whose class depends on the order of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from noria import TextClassifier


def reviews(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts that say good and bad; which of them comes last, far from the other, is the class."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for number in range(count):
        parts = [
            [f"w{int(random.integers(30))}" for _ in range(int(random.integers(*bounds)))]
            for bounds in ((2, 4), (3, 8), (2, 4))
        ]
        first, second = ("good", "bad") if number % 2 else ("bad", "good")
        texts.append(" ".join([*parts[0], first, *parts[1], second, *parts[2]]))
        labels.append("down" if number % 2 else "up")
    return texts, labels


def small(**settings: Any) -> TextClassifier:
    """A classifier that trains in no time."""
    quick: dict[str, Any] = {
        "hidden_size": 4, "embedding_size": 6, "buckets": 50, "steps": 4, "members": 2,
        "batch_size": 8,
    }  # fmt: skip
    return TextClassifier(**{**quick, **settings})
