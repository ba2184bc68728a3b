"""Regressors side by side on the same cases."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.training.class_rivals import CROSS_VALIDATED
from noria.training.members import held_out
from noria.training.regressing import TrainedRegressor
from noria.training.regression_baselines import PLAIN, PlainRegressors
from noria.training.sequences import Sequences
from noria.training.verdict import verdict

__all__ = ["REGRESS_BASELINES", "RegressionComparison", "RegressionModels", "RegressionScore"]

Floats = NDArray[np.float64]

REGRESS_BASELINES = ("fnn", *PLAIN)


@dataclasses.dataclass(frozen=True)
class RegressionScore:
    """One line of the table.

    Attributes:
        model: Name.
        rmse: Root mean square error, in the unit of what is regressed.
        mae: Mean absolute error, likewise.
        r2: Share of the variance that is explained, at most 1; NaN if there is none.
        parameters: Number of fitted weights, or None.
        seconds: Time to fit and predict.
    """

    model: str
    rmse: float
    mae: float
    r2: float
    parameters: int | None
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The figures alone, by lower-case name; a figure that is no number is left out."""
        values = {"rmse": self.rmse, "mae": self.mae, "r2": self.r2}
        return {name: value for name, value in values.items() if np.isfinite(value)}


@dataclasses.dataclass(frozen=True)
class RegressionComparison:
    """Several models on the same cases; the first is the one in question.

    Attributes:
        scores: One a model.
        cases: Number of cases.
        notes: What a reader must know of how the table came about.
        remembers: Whether the one in question carries anything from step to step.
    """

    scores: tuple[RegressionScore, ...]
    cases: int
    notes: tuple[str, ...] = ()
    remembers: bool = True

    def verdict(self) -> str:
        """In one sentence, whether memory pays on this data, by the root mean square error."""
        values = {score.model: score.rmse for score in self.scores}
        return verdict("RMSE", values, lower_is_better=True, remembers=self.remembers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; a figure that is no number becomes null."""
        document = dataclasses.asdict(self)
        for line in document["scores"]:
            line["r2"] = line["r2"] if np.isfinite(line["r2"]) else None
        return {**document, "scores": list(document["scores"]), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> RegressionComparison:
        """Read what `to_dict` wrote."""
        scores = [
            RegressionScore(**{**line, "r2": np.nan if line["r2"] is None else line["r2"]})
            for line in document["scores"]
        ]
        notes = tuple(document["notes"])
        return cls(tuple(scores), document["cases"], notes, document.get("remembers", True))


@dataclasses.dataclass(frozen=True)
class RegressionModels:
    """Everything that was fitted on the same training cases.

    Attributes:
        network: The networks in question.
        fnn: The feed-forward rivals, or None.
        plain: The plain baselines.
        centre: What the networks' numbers stand above or below of.
        spread: The unit that they are in.
        remembers: Whether the networks in question carry anything from step to step.
    """

    network: TrainedRegressor
    fnn: TrainedRegressor | None
    plain: PlainRegressors
    centre: float
    spread: float
    remembers: bool = True

    def numbers(self, sequences: Sequences) -> Floats:
        """What the networks say of sequences, in the unit of what is regressed, shape (N,)."""
        return self.centre + self.spread * self.network.numbers(sequences)

    def compare(self, sequences: Sequences, actual: Floats) -> RegressionComparison:
        """Score all of them on cases that none has seen.

        Args:
            sequences: As the networks take them, N.
            actual: Shape (N,).
        """
        scores = [
            self._score(name, part, actual, partial(part.numbers, sequences))
            for name, part in self._trained()
        ]
        for name in self.plain.names:
            ask = partial(self.plain.numbers, name, sequences)
            scores.append(self._score(name, None, actual, ask))
        return RegressionComparison(tuple(scores), len(actual), remembers=self.remembers)

    def compare_out_of_fold(
        self, sequences: Sequences, actual: Floats, folds: NDArray[np.int64]
    ) -> RegressionComparison:
        """Score all of them by cross-validation on the training cases themselves.

        Args:
            sequences: Those of training, N.
            actual: Shape (N,).
            folds: Fold of each, shape (N,).
        """
        members = len(self.network.modules)
        held = np.flatnonzero((folds >= 0) & (folds < members))

        def network(part: TrainedRegressor, fold: int, own: list[int]) -> Sequence[Any]:
            return list(part.out_of_fold(fold, [sequences[index] for index in own]))

        def plain(name: str, fold: int, own: list[int]) -> Sequence[Any]:
            rest = np.flatnonzero(folds != fold).tolist()
            fitted = self.plain.refit(name, [sequences[index] for index in rest], actual[rest])
            return list(fitted.numbers(name, [sequences[index] for index in own]))

        def left_out(ask: Callable[[int, list[int]], Sequence[Any]]) -> Floats:
            return np.array(held_out(folds, members, ask))

        scores = [
            self._score(name, part, actual[held], partial(left_out, partial(network, part)))
            for name, part in self._trained()
        ]
        for name in self.plain.names:
            ask = partial(left_out, partial(plain, name))
            scores.append(self._score(name, None, actual[held], ask))
        return RegressionComparison(tuple(scores), len(held), (CROSS_VALIDATED,), self.remembers)

    def _trained(self) -> list[tuple[str, TrainedRegressor]]:
        parts = (("network", self.network), ("fnn", self.fnn))
        return [(name, part) for name, part in parts if part is not None]

    def _score(
        self,
        name: str,
        part: TrainedRegressor | None,
        actual: Floats,
        ask: Callable[[], Floats],
    ) -> RegressionScore:
        started = time.monotonic()
        found = ask()
        seconds = time.monotonic() - started
        if part is not None:
            found, seconds = self.centre + self.spread * found, seconds + part.seconds
        errors = found - actual
        square = float((errors**2).mean())
        variance = float(actual.var())
        return RegressionScore(
            name,
            square**0.5,
            float(np.abs(errors).mean()),
            1 - square / variance if variance > 0 else float("nan"),
            part.parameter_count if part else None,
            seconds,
        )
