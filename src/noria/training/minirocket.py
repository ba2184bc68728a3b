"""MiniRocket, thousands of fixed convolutions and a linear classifier, through sktime.

Source: Dempster, Schmidt & Webb 2021.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MINIROCKET_MISSING", "MINIROCKET_STEPS", "has_minirocket", "minirocket_classes"]

MINIROCKET_STEPS = 9
"""Steps that a series needs: those of a kernel."""

MINIROCKET_MISSING = (
    "minirocket is left out: sktime and numba are not installed; pip install 'noria[rivals]'"
)

_SEED = 0


def has_minirocket() -> bool:
    """Whether what runs it is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("numba", "sktime"))


def minirocket_classes(
    series: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Fit it, and class other series.

    Args:
        series: For training, at least `MINIROCKET_STEPS` long, shape (N, T, I).
        labels: Number of each one's class, shape (N,).
        asked: Shape (M, T, I).

    Returns:
        Number of each class found, shape (M,).
    """
    if (labels == labels[0]).all():  # which the linear classifier does not take
        return np.full(len(asked), labels[0], dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sktime's own, and numba's on its threads
        from sktime.classification.kernel_based import RocketClassifier

        model: Any = RocketClassifier(rocket_transform="minirocket", random_state=_SEED)
        model.fit(series.transpose(0, 2, 1).astype(np.float64), labels)
        found = model.predict(asked.transpose(0, 2, 1).astype(np.float64))
    return np.asarray(found, dtype=np.int64)
