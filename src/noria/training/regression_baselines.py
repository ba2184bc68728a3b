"""What a regressor of whole series must beat: the mean, the nearest neighbour, ridge regression.

All are kept as plain arrays, so that a model file can hold them and `evaluate` runs them again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.features.labelled import flattened
from noria.training.class_baselines import summaries
from noria.training.sequences import Sequences

__all__ = ["PLAIN", "PlainRegressors"]

Floats = NDArray[np.float64]

PLAIN = ("mean", "nearest_neighbour", "ridge_regression")


@dataclasses.dataclass(frozen=True)
class PlainRegressors:
    """Fitted baselines.

    Attributes:
        window: K, steps that series are brought to for the neighbours' distance.
        arrays: What was fitted: "mean" (); "neighbours" (N, K · I) and their "numbers" (N,);
            "centre", "spread", "coefficients", each (F,), and "intercept" (). Those of a baseline
            that was not asked for are missing.
    """

    window: int
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def fit(
        cls, names: Collection[str], sequences: Sequences, numbers: Floats, window: int
    ) -> PlainRegressors:
        """Fit the baselines asked for.

        Args:
            names: Of `PLAIN`.
            sequences: Scaled, N.
            numbers: Shape (N,).
            window: K.
        """
        arrays: dict[str, NDArray[Any]] = {}
        if "mean" in names:
            arrays["mean"] = np.array(np.mean(numbers))
        if "nearest_neighbour" in names:
            arrays["neighbours"] = flattened(sequences, window)
            arrays["numbers"] = np.asarray(numbers, np.float64)
        if "ridge_regression" in names:
            from sklearn.linear_model import Ridge

            x = summaries(sequences)
            centre, spread = x.mean(axis=0), x.std(axis=0)
            spread[~(spread > 1e-9)] = 1.0
            model = Ridge().fit((x - centre) / spread, numbers)
            arrays |= {"centre": centre, "spread": spread, "coefficients": model.coef_}
            arrays["intercept"] = np.array(model.intercept_)
        return cls(window, arrays)

    @property
    def names(self) -> list[str]:
        """Which were fitted."""
        keys = zip(PLAIN, ("mean", "neighbours", "coefficients"), strict=True)
        return [name for name, key in keys if key in self.arrays]

    def refit(self, name: str, sequences: Sequences, numbers: Floats) -> PlainRegressors:
        """One of the baselines, fitted on other sequences."""
        return self.fit([name], sequences, numbers, self.window)

    def numbers(self, name: str, sequences: Sequences) -> Floats:
        """What a baseline says of each sequence, shape (N,)."""
        arrays = self.arrays
        if name == "mean":
            return np.full(len(sequences), float(arrays["mean"]))
        if name == "nearest_neighbour":
            from sklearn.neighbors import NearestNeighbors

            search = NearestNeighbors(n_neighbors=1).fit(arrays["neighbours"])
            nearest = search.kneighbors(flattened(sequences, self.window))[1][:, 0]
            found: Floats = arrays["numbers"][nearest]
            return found
        x = (summaries(sequences) - arrays["centre"]) / arrays["spread"]
        said: Floats = x @ arrays["coefficients"] + arrays["intercept"]
        return said
