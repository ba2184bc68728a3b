"""Detectors side by side on the same events, with labels or without."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.runtime.judge import Expectations, Judge, JudgeState
from noria.training.nab import NabFile, nab_score
from noria.training.verdict import verdict

__all__ = ["DetectionComparison", "DetectionScore", "Judged", "judged", "score"]

Floats = NDArray[np.float64]

_FIGURES = ("nab", "precision", "recall", "f1", "false_alarm_rate", "mae")


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """What one model says of E events.

    Attributes:
        model: Its name in the table.
        scores: In [0, 1], shape (E,).
        fresh: Whether a score is above those of the quiet time before it, shape (E,).
        errors: Distance of each value from what was expected, in units of the channel's
            deviation, shape (E, C); NaN where missing.
        parameters: Number of fitted weights; None where that says nothing.
        seconds: Time to fit and judge.
    """

    model: str
    scores: Floats
    fresh: NDArray[np.bool_]
    errors: Floats
    parameters: int | None
    seconds: float

    def onsets(self) -> Floats:
        """Scores that may alarm; 0 where an anomaly only goes on."""
        return np.where(self.fresh, self.scores, 0.0)


def judged(
    model: str,
    judge: Judge,
    state: JudgeState,
    events: Expectations,
    parameters: int | None,
    seconds: float,
) -> Judged:
    """Judge events one after the other.

    Args:
        model: Its name in the table.
        judge: How.
        state: What was normal before them.
        events: With what the model expected of them.
        parameters: Number of fitted weights, or None.
        seconds: Time to fit and expect.
    """
    started = time.monotonic()
    scores = np.empty(len(events.middle))
    fresh = np.empty(len(scores), dtype=bool)
    errors = np.empty_like(events.middle)
    for row, event in enumerate(events.rows()):
        state, said, errors[row] = judge.step(state, *event)
        scores[row], fresh[row] = said.score, said.fresh
    return Judged(model, scores, fresh, errors, parameters, seconds + time.monotonic() - started)


@dataclasses.dataclass(frozen=True)
class DetectionScore:
    """One line of the table; a figure that needs labels is NaN without them.

    Attributes:
        model: Name.
        nab: Score of the Numenta Anomaly Benchmark's standard profile for the alarms raised.
        precision: Share of the alarms that lie in a window.
        recall: Share of the windows with an alarm.
        f1: Harmonic mean of the two.
        false_alarm_rate: Share of the events that raise an alarm and lie in no window.
        mae: Mean distance of a value from what was expected, in units of the channel's deviation.
        parameters: Number of fitted weights, or None.
        seconds: Time to fit and judge.
    """

    model: str
    nab: float
    precision: float
    recall: float
    f1: float
    false_alarm_rate: float
    mae: float
    parameters: int | None
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The figures alone, by lower-case name; a figure that is no number is left out."""
        values = {name: getattr(self, name) for name in _FIGURES}
        return {name: value for name, value in values.items() if np.isfinite(value)}


@dataclasses.dataclass(frozen=True)
class DetectionComparison:
    """Several models on the same events; the first is the one in question.

    Attributes:
        scores: One a model.
        events: Number of events judged.
        windows: Number of true anomalies; None without labels.
        notes: What a reader must know of how the table came about.
        remembers: Whether the one in question carries anything from step to step.
    """

    scores: tuple[DetectionScore, ...]
    events: int
    windows: int | None
    notes: tuple[str, ...] = ()
    remembers: bool = True

    def verdict(self) -> str:
        """In one sentence, whether memory pays: by NAB's score, or without labels by the error."""
        name, metric = ("nab", "NAB score") if self.windows else ("mae", "MAE")
        values = {score.model: float(getattr(score, name)) for score in self.scores}
        return verdict(metric, values, lower_is_better=name == "mae", remembers=self.remembers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; a figure that is no number becomes null."""
        document = dataclasses.asdict(self)
        for line in document["scores"]:
            line |= {name: None for name in _FIGURES if not np.isfinite(line[name])}
        return {**document, "scores": list(document["scores"]), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> DetectionComparison:
        """Read what `to_dict` wrote."""
        scores = [
            DetectionScore(**{**line, **{name: np.nan for name in _FIGURES if line[name] is None}})
            for line in document["scores"]
        ]
        return cls(
            tuple(scores),
            document["events"],
            document["windows"],
            tuple(document["notes"]),
            document.get("remembers", True),
        )


def score(
    said: Judged, threshold: float, windows: Sequence[tuple[int, int]] | None
) -> DetectionScore:
    """Score one model.

    Args:
        said: What the model says.
        threshold: Score from which it alarms.
        windows: First and last event of each true anomaly; None without labels.
    """
    alarms = said.onsets() >= threshold
    observed = np.isfinite(said.errors)
    mae = float(np.abs(said.errors[observed]).mean()) if observed.any() else float("nan")
    nab = precision = recall = f1 = float("nan")
    outside = np.ones(len(alarms), dtype=bool)
    if windows is not None:
        file = NabFile.from_windows(len(alarms), windows)
        outside = file.window < 0
        hits = len(np.unique(file.window[alarms & ~outside]))
        nab = nab_score([file], [alarms])
        if alarms.any():
            precision = float(np.mean(~outside[alarms]))
        if windows:
            recall = hits / len(windows)
        if windows and precision + recall > 0:
            f1 = 2 * precision * recall / (precision + recall)
    false = float(alarms[outside].mean()) if outside.any() else float("nan")
    return DetectionScore(
        said.model, nab, precision, recall, f1, false, mae, said.parameters, said.seconds
    )
