"""What a classifier of series must beat: nearest neighbour, logistic regression, MiniRocket.

All are kept as plain arrays, so that a model file can hold them and `evaluate` runs them again;
MiniRocket, which another library runs, as the series that it is fitted on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.features.labelled import flattened
from noria.training.logistic import fit_logistic, logistic_probabilities
from noria.training.minirocket import (
    MINIROCKET_MISSING,
    MINIROCKET_STEPS,
    has_minirocket,
    minirocket_classes,
)
from noria.training.sequences import Sequences

__all__ = ["PLAIN", "PlainBaselines", "summaries"]

PLAIN = ("nearest_neighbour", "logistic_regression", "minirocket")

_BY_CASES = ("nearest_neighbour", "minirocket")
_KEYS = {
    "nearest_neighbour": "neighbour_labels",
    "logistic_regression": "coefficients",
    "minirocket": "minirocket_labels",
}


def summaries(sequences: Sequences) -> NDArray[np.float64]:
    """Statistics of each channel that know nothing of order, and the length, shape (N, 6 · I + 1).

    Mean, deviation, least, median, largest value, and the mean absolute change from step to step.
    """
    rows = []
    for sequence in sequences:
        x = sequence.astype(np.float64)
        change = np.abs(np.diff(x, axis=0)).mean(axis=0) if len(x) > 1 else np.zeros(x.shape[1])
        parts = [x.mean(0), x.std(0), x.min(0), np.median(x, axis=0), x.max(0), change]
        rows.append(np.concatenate([*parts, [len(x)]]))
    return np.array(rows)


@dataclasses.dataclass(frozen=True)
class PlainBaselines:
    """Fitted baselines.

    Attributes:
        window: K, steps that series are brought to for the neighbours' distance.
        classes: C.
        arrays: What was fitted: "neighbours" (N, K · I), which MiniRocket is fitted on, too, and
            their "neighbour_labels" and "minirocket_labels" (N,); "centre", "spread", each (F,),
            "coefficients" (C, F) and "intercepts" (C,). Those of a baseline that was not asked for
            are missing.
    """

    window: int
    classes: int
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def fit(
        cls,
        names: Collection[str],
        sequences: Sequences,
        labels: NDArray[np.int64],
        window: int,
        classes: int,
    ) -> PlainBaselines:
        """Fit the baselines asked for.

        Args:
            names: Of `PLAIN`.
            sequences: Scaled, N.
            labels: Number of each one's class, shape (N,).
            window: K.
            classes: C.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name in _BY_CASES:
            if name in names:
                arrays["neighbours"] = flattened(sequences, window)
                arrays[_KEYS[name]] = labels
        if "logistic_regression" in names:
            arrays |= _fit_logistic(summaries(sequences), labels, classes)
        return cls(window, classes, arrays)

    @property
    def names(self) -> list[str]:
        """Which were fitted and can be asked here."""
        fitted = [name for name, key in _KEYS.items() if key in self.arrays]
        return [name for name in fitted if name != "minirocket" or has_minirocket()]

    @property
    def notes(self) -> list[str]:
        """Which cannot be asked here, and why."""
        missing = _KEYS["minirocket"] in self.arrays and not has_minirocket()
        return [MINIROCKET_MISSING] if missing else []

    def refit(self, name: str, sequences: Sequences, labels: NDArray[np.int64]) -> PlainBaselines:
        """One of the baselines, fitted on other sequences."""
        return self.fit([name], sequences, labels, self.window, self.classes)

    def probabilities(self, name: str, sequences: Sequences) -> NDArray[np.float64]:
        """Probability of each class, shape (N, C); 0 and 1 but for logistic regression."""
        arrays = self.arrays
        if name == "minirocket":
            steps = max(self.window, MINIROCKET_STEPS)
            shape = (-1, self.window, arrays["neighbours"].shape[1] // self.window)
            known = flattened(list(arrays["neighbours"].reshape(shape)), steps)
            asked = flattened(sequences, steps)
            known, asked = (rows.reshape(len(rows), steps, shape[2]) for rows in (known, asked))
            found = minirocket_classes(known, arrays["minirocket_labels"], asked)
            return _certain(found, self.classes)
        if name == "nearest_neighbour":
            from sklearn.neighbors import NearestNeighbors

            search = NearestNeighbors(n_neighbors=1).fit(arrays["neighbours"])
            nearest = search.kneighbors(flattened(sequences, self.window))[1][:, 0]
            return _certain(arrays["neighbour_labels"][nearest], self.classes)
        x = (summaries(sequences) - arrays["centre"]) / arrays["spread"]
        logits = x @ arrays["coefficients"].T + arrays["intercepts"]
        return logistic_probabilities(logits, multi_label=False)


def _certain(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Probability 1 of the class found, shape (N, C)."""
    found: NDArray[np.float64] = np.eye(classes)[labels]
    return found


def _fit_logistic(
    x: NDArray[np.float64], labels: NDArray[np.int64], classes: int
) -> dict[str, NDArray[Any]]:
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread[~(spread > 1e-9)] = 1.0
    fitted = fit_logistic((x - centre) / spread, labels, classes)
    return {"centre": centre, "spread": spread, **fitted}
