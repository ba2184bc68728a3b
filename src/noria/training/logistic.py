"""Logistic regression as plain arrays, so that a model file can hold it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_logistic", "logistic_probabilities"]

_NEVER = -50.0  # log-odds of a class that the data lacks


def fit_logistic(
    x: Any, labels: NDArray[Any], classes: int, *, strength: float = 1.0
) -> dict[str, NDArray[np.float64]]:
    """Fit one weight a class and feature, with an L2 penalty.

    Args:
        x: Features, an array or a scipy sparse matrix, (N, F).
        labels: Number of each case's class, shape (N,); or which classes it has, (N, C).
        classes: C.
        strength: Inverse of the penalty.

    Returns:
        "coefficients" (C, F) and "intercepts" (C,).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def fit(target: NDArray[Any]) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for a baseline
            return LogisticRegression(C=strength, max_iter=2000).fit(x, target)

    coefficients = np.zeros((classes, x.shape[1]))
    intercepts = np.full(classes, _NEVER)
    if labels.ndim == 2:
        for number in range(classes):
            if labels[:, number].all():
                intercepts[number] = -_NEVER
            elif labels[:, number].any():
                model = fit(labels[:, number])
                coefficients[number], intercepts[number] = model.coef_[0], model.intercept_[0]
        return {"coefficients": coefficients, "intercepts": intercepts}
    if (labels == labels[0]).all():  # as in a part of the data that lacks the other classes
        intercepts[labels[0]] = 0.0
        return {"coefficients": coefficients, "intercepts": intercepts}
    model = fit(labels)
    if len(model.classes_) == 2:  # one row, for the second class: half of it to each
        coefficients[model.classes_] = np.concatenate([-model.coef_, model.coef_]) / 2
        intercepts[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        coefficients[model.classes_] = model.coef_
        intercepts[model.classes_] = model.intercept_
    return {"coefficients": coefficients, "intercepts": intercepts}


def logistic_probabilities(logits: NDArray[Any], *, multi_label: bool) -> NDArray[np.float64]:
    """Probability of each class, shape (N, C).

    Args:
        logits: Features times coefficients plus intercepts, shape (N, C).
        multi_label: Whether each class is there or not, whatever the others are.
    """
    if multi_label:
        sigmoid: NDArray[np.float64] = 0.5 * (1 + np.tanh(logits / 2))
        return sigmoid
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return softmax
