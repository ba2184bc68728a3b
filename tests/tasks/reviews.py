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
        fillers = [f"w{int(random.integers(30))}" for _ in range(int(random.integers(6, 14)))]
        first, second = np.sort(random.choice(len(fillers) // 2, 2, replace=False) * 2)
        pair = ["good", "bad"] if number % 2 else ["bad", "good"]
        fillers[first], fillers[second] = pair
        if second - first < 2:
            fillers.insert(second, "and")
        texts.append(" ".join(fillers))
        labels.append("down" if number % 2 else "up")
    return texts, labels


def small(**settings: Any) -> TextClassifier:
    """A classifier that trains in no time."""
    quick: dict[str, Any] = {
        "hidden_size": 4, "embedding_size": 6, "buckets": 50, "steps": 4, "members": 2,
        "batch_size": 8,
    }  # fmt: skip
    return TextClassifier(**{**quick, **settings})
