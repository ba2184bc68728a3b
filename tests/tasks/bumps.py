"""Made cases whose class is the order of two bumps, which no summary of the values tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from noria import SequenceClassifier


def bumps(count: int, seed: int = 0) -> tuple[list[NDArray[Any]], NDArray[np.str_]]:
    """Series of unequal length: a high and a low bump, in one order or the other."""
    random = np.random.default_rng(seed)
    series, labels = [], []
    for number in range(count):
        steps = int(random.integers(20, 40))
        x = 0.1 * random.standard_normal(steps)
        first, second = np.sort(random.choice(np.arange(2, steps - 2, 4), 2, replace=False))
        rising = number % 2 == 0
        x[first : first + 3] += 1.0 if rising else 2.0
        x[second : second + 3] += 2.0 if rising else 1.0
        series.append(x[:, np.newaxis])
        labels.append("rising" if rising else "falling")
    return series, np.array(labels)


def ts_text(series: list[NDArray[Any]], labels: NDArray[np.str_]) -> str:
    lines = [",".join(f"{v:.6f}" for v in x[:, 0]) for x in series]
    cases = [f"{line}:{label}" for line, label in zip(lines, labels, strict=True)]
    return "\n".join(["@classLabel true falling rising", "@data", *cases, ""])


def long_table(series: list[NDArray[Any]], labels: NDArray[np.str_]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unique_id": [f"case{i:03d}" for i, x in enumerate(series) for _ in x],
            "ds": [t for x in series for t in range(len(x))],
            "value": [v for x in series for v in x[:, 0].tolist()],
            "label": [str(label) for x, label in zip(series, labels, strict=True) for _ in x],
        }
    )


def small(**settings: Any) -> SequenceClassifier:
    """A classifier that trains in no time."""
    quick: dict[str, Any] = {
        "hidden_size": 4,
        "steps": 4,
        "members": 2,
        "channels": 4,
        "batch_size": 8,
    }
    quick |= {"baselines": ("fnn", "nearest_neighbour", "logistic_regression")}
    return SequenceClassifier(**{**quick, **settings})
