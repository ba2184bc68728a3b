"""A classifier and its rivals on the same cases."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from noria.training.class_baselines import PLAIN
from noria.training.class_scores import ClassComparison, ClassForecasts, compared
from noria.training.classifying import TrainedClassifier
from noria.training.members import held_out
from noria.training.sequences import Sequences

__all__ = ["CLASS_BASELINES", "CROSS_VALIDATED", "KNOWN_CLASS_BASELINES", "ClassModels"]

CLASS_BASELINES = ("fnn", "nearest_neighbour", "logistic_regression")
KNOWN_CLASS_BASELINES = ("fnn", *PLAIN)

CROSS_VALIDATED = (
    "by cross-validation: each case was judged by a model that did not learn from it, though the"
    " networks stopped by it; name a test file for figures on cases held apart"
)


class PlainModels(Protocol):
    """Plain baselines that were fitted together."""

    @property
    def names(self) -> list[str]:
        """Which were fitted and can be asked here."""

    @property
    def notes(self) -> list[str]:
        """Which cannot be asked here, and why."""

    def refit(self, name: str, sequences: Sequences, labels: NDArray[Any]) -> PlainModels:
        """One of them, fitted on other sequences."""

    def probabilities(self, name: str, sequences: Sequences) -> NDArray[np.float64]:
        """Probability of each class, shape (N, C)."""


@dataclasses.dataclass(frozen=True)
class ClassModels:
    """Everything that was fitted on the same training cases.

    Attributes:
        network: The networks in question.
        fnn: The feed-forward rivals, or None.
        plain: The plain baselines.
        remembers: Whether the networks in question carry anything from step to step.
    """

    network: TrainedClassifier
    fnn: TrainedClassifier | None
    plain: PlainModels
    remembers: bool = True

    def compare(
        self, sequences: Sequences, labels: NDArray[Any], classes: Sequence[str]
    ) -> ClassComparison:
        """Score all of them on cases that none has seen.

        Args:
            sequences: As the networks take them, N.
            labels: See `noria.training.class_scores.score`.
            classes: The C classes, as texts.
        """
        forecasts = [_timed("network", self.network, self.network.probabilities, sequences)]
        if self.fnn is not None:
            forecasts.append(_timed("fnn", self.fnn, self.fnn.probabilities, sequences))
        for name in self.plain.names:
            started = time.monotonic()
            probabilities = self.plain.probabilities(name, sequences)
            forecasts.append(_plain(name, probabilities, time.monotonic() - started))
        found = compared(forecasts, labels, classes, self.plain.notes)
        return dataclasses.replace(found, remembers=self.remembers)

    def compare_out_of_fold(
        self,
        sequences: Sequences,
        labels: NDArray[Any],
        folds: NDArray[np.int64],
        classes: Sequence[str],
    ) -> ClassComparison:
        """Score all of them by cross-validation on the training cases themselves.

        Args:
            sequences: Those of training, N.
            labels: See `noria.training.class_scores.score`.
            folds: Fold of each, shape (N,).
            classes: The C classes, as texts.
        """
        members = len(self.network.modules)
        held = np.flatnonzero((folds >= 0) & (folds < members))

        def left_out(model: TrainedClassifier) -> ClassForecasts:
            name = "network" if model is self.network else "fnn"
            return _timed(name, model, lambda s: model.out_of_fold(s, folds)[held], sequences)

        forecasts = [left_out(model) for model in (self.network, self.fnn) if model is not None]
        for name in self.plain.names:
            started = time.monotonic()
            said = held_out(folds, members, partial(self._refitted, name, sequences, labels, folds))
            forecasts.append(_plain(name, np.array(said), time.monotonic() - started))
        found = compared(forecasts, labels[held], classes, [CROSS_VALIDATED, *self.plain.notes])
        return dataclasses.replace(found, remembers=self.remembers)

    def _refitted(
        self,
        name: str,
        sequences: Sequences,
        labels: NDArray[Any],
        folds: NDArray[np.int64],
        fold: int,
        own: list[int],
    ) -> Sequence[Any]:
        """What a plain baseline says of a fold's cases, fitted on the others."""
        rest = np.flatnonzero(folds != fold).tolist()
        fitted = self.plain.refit(name, [sequences[i] for i in rest], labels[rest])
        return list(fitted.probabilities(name, [sequences[i] for i in own]))


def _timed(
    name: str,
    model: TrainedClassifier,
    ask: Callable[[Sequences], NDArray[np.float64]],
    sequences: Sequences,
) -> ClassForecasts:
    started = time.monotonic()
    probabilities = ask(sequences)
    seconds = model.seconds + time.monotonic() - started
    return ClassForecasts(name, probabilities, False, model.parameter_count, seconds)


def _plain(name: str, probabilities: NDArray[np.float64], seconds: float) -> ClassForecasts:
    certain = name in ("nearest_neighbour", "minirocket")
    return ClassForecasts(name, probabilities, certain, None, seconds)
