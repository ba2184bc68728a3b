"""What a classifier of texts must beat: tf-idf with logistic regression, which knows no order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.training.logistic import fit_logistic, logistic_probabilities
from noria.training.sequences import Sequences

__all__ = ["BagOfWords"]

_NAME = "tfidf_logistic_regression"
_STRENGTH = 10.0


@dataclasses.dataclass(frozen=True)
class BagOfWords:
    """Words and pairs of neighbours, weighed by tf-idf, into logistic regression.

    Attributes:
        multi_label: Whether a text may have several classes, or none.
        arrays: What was fitted: "terms" (F,), sorted, a word's id or that of a pair; "idf" (F,),
            "coefficients" (C, F), "intercepts" (C,). Empty if it was not asked for.
    """

    multi_label: bool
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def fit(cls, sequences: Sequences, labels: NDArray[Any], classes: int) -> BagOfWords:
        """Fit it.

        Args:
            sequences: Each (T_i, I), the words' ids in the first column, N of them.
            labels: Number of each one's class, shape (N,); or which classes it has, (N, C).
            classes: C.
        """
        documents = [np.unique(_terms(sequence)) for sequence in sequences]
        terms, counts = np.unique(np.concatenate(documents), return_counts=True)
        idf = np.log((1 + len(sequences)) / (1 + counts)) + 1
        arrays = {"terms": terms, "idf": idf}
        fitted = fit_logistic(_weighed(sequences, arrays), labels, classes, strength=_STRENGTH)
        return cls(labels.ndim == 2, {**arrays, **fitted})

    @property
    def names(self) -> list[str]:
        """Which baselines were fitted."""
        return [_NAME] if self.arrays else []

    @property
    def notes(self) -> list[str]:
        """Which cannot be asked here, and why: none."""
        return []

    def refit(self, name: str, sequences: Sequences, labels: NDArray[Any]) -> BagOfWords:
        """The same baseline, fitted on other texts."""
        return self.fit(sequences, labels, len(self.arrays["intercepts"]))

    def probabilities(self, name: str, sequences: Sequences) -> NDArray[np.float64]:
        """Probability of each class, shape (N, C)."""
        arrays = self.arrays
        x = _weighed(sequences, arrays)
        logits = np.asarray(x @ arrays["coefficients"].T) + arrays["intercepts"]
        return logistic_probabilities(logits, multi_label=self.multi_label)


def _terms(sequence: NDArray[Any]) -> NDArray[np.int64]:
    """Each word as its id, each pair of neighbours as a number of its own."""
    words = sequence[:, 0].astype(np.int64)
    return np.concatenate([words, (words[:-1] + 1) << 32 | words[1:]])


def _weighed(sequences: Sequences, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """A sparse matrix (N, F) of tf-idf, each row of length 1."""
    from scipy.sparse import csr_matrix

    terms, idf = arrays["terms"], arrays["idf"]
    rows, columns = [], []
    for row, sequence in enumerate(sequences):
        own = _terms(sequence)
        places = np.minimum(np.searchsorted(terms, own), len(terms) - 1)
        places = places[terms[places] == own]
        rows.append(np.full(len(places), row))
        columns.append(places)
    at = (np.concatenate(rows), np.concatenate(columns))
    x = csr_matrix((idf[at[1]], at), shape=(len(sequences), len(terms)))  # what repeats adds up
    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)))
    return x.multiply(1 / np.maximum(norms, 1e-12)).tocsr()
