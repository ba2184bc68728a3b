"""Every result beside what it must beat: classes and probabilities of several models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.training.sequences import log_loss
from noria.training.verdict import verdict

__all__ = [
    "ClassComparison",
    "ClassForecasts",
    "ClassScore",
    "compared",
    "confusion",
    "decided",
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
        accuracy: Share of the cases whose class was found, 0 to 1; where a case may have several,
            of those whose classes were all found and no other.
        macro_f1: Mean over the classes of each one's F1, 0 to 1.
        log_loss: Mean of −log of the probability given to what is true, in nats; NaN for a model
            without probabilities.
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
        confusion: Cases of each true class (row) that the first model took for each class, (C, C);
            where a case may have several, it counts at each of its classes with each one found.
        notes: What a reader must know of how the table came about.
        remembers: Whether the one in question carries anything from step to step.
    """

    scores: tuple[ClassScore, ...]
    cases: int
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()
    remembers: bool = True

    def verdict(self) -> str:
        """In one sentence, whether memory pays on this data, by accuracy."""
        values = {score.model: score.accuracy for score in self.scores}
        return verdict("accuracy", values, lower_is_better=False, remembers=self.remembers)

    def noted(self, notes: Sequence[str]) -> ClassComparison:
        """The same with further notes."""
        return dataclasses.replace(self, notes=(*self.notes, *notes))

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
            document.get("remembers", True),
        )


def confusion(actual: NDArray[Any], found: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Cases of each true class (row) that were taken for each class, shape (C, C).

    Args:
        actual: Number of each case's class, shape (N,); or which classes it has, (N, C).
        found: What it was taken for, of the same form.
        classes: C.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    if actual.ndim == 2:
        table: NDArray[np.int64] = actual.astype(np.int64).T @ found.astype(np.int64)
        return table
    return np.bincount(actual * classes + found, minlength=classes**2).reshape(classes, classes)


def macro_f1(actual: NDArray[Any], found: NDArray[Any], classes: int) -> float:
    """Mean F1 over the classes that are there or were said to be; arguments as of `confusion`.

    >>> round(macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), 3)
    0.667
    """
    one, other = (
        part if part.ndim == 2 else np.eye(classes, dtype=bool)[part] for part in (actual, found)
    )
    hits, sums = (one & other).sum(axis=0), one.sum(axis=0) + other.sum(axis=0)
    return float(np.mean(2 * hits[sums > 0] / sums[sums > 0])) if sums.any() else 1.0


def decided(probabilities: NDArray[np.float64], *, multi_label: bool) -> NDArray[Any]:
    """The likeliest class, shape (N,); or each class more likely than not, boolean, (N, C)."""
    return probabilities > 0.5 if multi_label else probabilities.argmax(axis=1)


def score(forecasts: ClassForecasts, actual: NDArray[Any]) -> ClassScore:
    """Score one model.

    Args:
        forecasts: What it says.
        actual: Number of each case's class, shape (N,); or which classes it has, boolean, (N, C).
    """
    probabilities = forecasts.probabilities
    multi_label = actual.ndim == 2
    found = decided(probabilities, multi_label=multi_label)
    right = (found == actual).all(axis=1) if multi_label else found == actual
    return ClassScore(
        forecasts.model,
        float(np.mean(right)),
        macro_f1(actual, found, probabilities.shape[1]),
        float("nan") if forecasts.certain else log_loss(probabilities, actual),
        forecasts.parameters,
        forecasts.seconds,
    )


def compared(
    forecasts: Sequence[ClassForecasts],
    actual: NDArray[Any],
    classes: Sequence[str],
    notes: Sequence[str] = (),
) -> ClassComparison:
    """Score several models on the same cases, the one in question first."""
    found = decided(forecasts[0].probabilities, multi_label=actual.ndim == 2)
    table = confusion(actual, found, len(classes))
    return ClassComparison(
        tuple(score(part, actual) for part in forecasts),
        len(actual),
        tuple(classes),
        tuple(tuple(row) for row in table.tolist()),
        tuple(notes),
    )
