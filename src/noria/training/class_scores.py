"""Every result beside what it must beat: classes and probabilities of several models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.training.verdict import verdict

__all__ = [
    "ClassComparison",
    "ClassForecasts",
    "ClassScore",
    "compared",
    "confusion",
    "macro_f1",
    "score",
]


@dataclasses.dataclass(frozen=True)
class ClassForecasts:
    """What one model says of the cases.

    Attributes:
        model: Its name in the table.
        probabilities: Shape (N, C).
        certain: Whether they are only 0 and 1, so that a log loss says nothing.
        parameters: Number of fitted weights; None where that says nothing.
        seconds: Time to fit and predict.
    """

    model: str
    probabilities: NDArray[np.float64]
    certain: bool
    parameters: int | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One line of the table.

    Attributes:
        model: Name.
        accuracy: Share of the cases whose class was found, 0 to 1.
        macro_f1: Mean over the classes of each one's F1, 0 to 1.
        log_loss: Mean of −log of the probability given to the true class, in nats; NaN for a
            model without probabilities.
        parameters: Number of fitted weights, or None.
        seconds: Time to fit and predict.
    """

    model: str
    accuracy: float
    macro_f1: float
    log_loss: float
    parameters: int | None
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The figures alone, by lower-case name; a figure that is no number is left out."""
        names = ("accuracy", "macro_f1", "log_loss")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if np.isfinite(value)}


@dataclasses.dataclass(frozen=True)
class ClassComparison:
    """Several models on the same cases; the first is the one in question.

    Attributes:
        scores: One a model.
        cases: Number of cases, N.
        classes: The C classes, as texts.
        confusion: Cases of each true class (row) that the first model took for each class, (C, C).
        notes: What a reader must know of how the table came about.
    """

    scores: tuple[ClassScore, ...]
    cases: int
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    def verdict(self) -> str:
        """In one sentence, whether memory pays on this data, by accuracy."""
        values = {score.model: score.accuracy for score in self.scores}
        return verdict("accuracy", values, lower_is_better=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; a figure that is no number becomes null."""
        document = dataclasses.asdict(self)
        for line in document["scores"]:
            if not np.isfinite(line["log_loss"]):
                line["log_loss"] = None
        return {
            **document,
            "scores": list(document["scores"]),
            "classes": list(self.classes),
            "confusion": [list(row) for row in self.confusion],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassComparison:
        """Read what `to_dict` wrote."""
        scores = [
            ClassScore(**{**line, "log_loss": np.nan if (v := line["log_loss"]) is None else v})
            for line in document["scores"]
        ]
        return cls(
            tuple(scores),
            document["cases"],
            tuple(document["classes"]),
            tuple(tuple(row) for row in document["confusion"]),
            tuple(document["notes"]),
        )


def confusion(actual: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> NDArray[Any]:
    """Cases of each true class (row) that were taken for each class, shape (C, C).

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return np.bincount(actual * classes + found, minlength=classes**2).reshape(classes, classes)


def macro_f1(table: NDArray[Any]) -> float:
    """Mean F1 over the classes that are there or were said to be, from a confusion matrix.

    >>> macro_f1(np.array([[1, 1], [0, 1]])).__round__(3)
    0.667
    """
    hits, sums = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    return float(np.mean(2 * hits[sums > 0] / sums[sums > 0]))


def score(forecasts: ClassForecasts, actual: NDArray[np.int64]) -> ClassScore:
    """Score one model.

    Args:
        forecasts: What it says.
        actual: Number of each case's class, shape (N,).
    """
    probabilities = forecasts.probabilities
    found = probabilities.argmax(axis=1)
    picked = np.maximum(probabilities[np.arange(len(actual)), actual], 1e-12)
    return ClassScore(
        forecasts.model,
        float(np.mean(found == actual)),
        macro_f1(confusion(actual, found, probabilities.shape[1])),
        float("nan") if forecasts.certain else float(-np.log(picked).mean()),
        forecasts.parameters,
        forecasts.seconds,
    )


def compared(
    forecasts: Sequence[ClassForecasts],
    actual: NDArray[np.int64],
    classes: Sequence[str],
    notes: Sequence[str] = (),
) -> ClassComparison:
    """Score several models on the same cases, the one in question first."""
    found = forecasts[0].probabilities.argmax(axis=1)
    table = confusion(actual, found, len(classes))
    return ClassComparison(
        tuple(score(part, actual) for part in forecasts),
        len(actual),
        tuple(classes),
        tuple(tuple(row) for row in table.tolist()),
        tuple(notes),
    )
