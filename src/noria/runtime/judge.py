"""One stream of events judged: an expectation, put right as it goes on, and the alarms it raises.

Letters: E events, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noria.runtime.alarms import Alarms, AlarmState, Verdict
from noria.runtime.correction import Correction, corrected, follow

__all__ = ["Expectations", "Judge", "JudgeState"]

Floats = NDArray[np.float64]


class Expectations(NamedTuple):
    """Events with what was expected of them one step before; scaled values.

    Attributes:
        middle: Centre of the expectation, shape (E, C); NaN where there was none yet.
        spread: How exact it was, shape (E, C).
        latest: The latest values before each event, shape (E, C).
        actual: Values of the event, NaN where missing, shape (E, C).
        filled: The same with the latest value where one is missing, shape (E, C).
    """

    middle: Floats
    spread: Floats
    latest: Floats
    actual: Floats
    filled: Floats

    def since(self, first: int) -> Expectations:
        """Those of the events from one on."""
        return Expectations(*(part[first:] for part in self))

    def rows(self) -> Iterator[tuple[Floats, ...]]:
        """One event after the other, five arrays of shape (C,) each."""
        return zip(*self, strict=True)


class JudgeState(NamedTuple):
    """What a stream has left behind, of constant size; a value that nothing changes."""

    correction: Correction
    alarms: AlarmState

    def to_numbers(self) -> Floats:
        """All of it as one row of numbers."""
        return np.concatenate([self.correction.to_numbers(), self.alarms.to_numbers()])


@dataclasses.dataclass(frozen=True)
class Judge:
    """Judges events by what was expected of them.

    Attributes:
        alarms: How errors become scores.
        channels: C.
        corrects: Whether the expectation goes on learning; a plain baseline does not.
    """

    alarms: Alarms
    channels: int
    corrects: bool = True

    def learn(self, normal: Expectations) -> JudgeState:
        """The state after a stretch of normal events, with which a stream begins."""
        correction = Correction.start(self.channels)
        errors = np.empty_like(normal.middle)
        for row, event in enumerate(normal.rows()):
            correction, errors[row] = self._correct(correction, *event[:4])
        return JudgeState(correction, self.alarms.learn(errors / normal.spread, normal.filled))

    def _correct(
        self, correction: Correction, middle: Floats, spread: Floats, latest: Floats, actual: Floats
    ) -> tuple[Correction, Floats]:
        if not self.corrects or np.isnan(middle).any():
            return correction, actual - middle
        expected, terms = corrected(correction, middle, latest)
        error = actual - expected
        return follow(correction, terms, spread, error, actual - middle), error

    def step(
        self,
        state: JudgeState,
        middle: Floats,
        spread: Floats,
        latest: Floats,
        actual: Floats,
        filled: Floats,
    ) -> tuple[JudgeState, Verdict, Floats]:
        """Judge one event; the arguments are a row of `Expectations` each.

        Returns:
            The new state, the verdict, and the errors, shape (C,).
        """
        correction, error = self._correct(state.correction, middle, spread, latest, actual)
        alarms, verdict = self.alarms.step(state.alarms, error / spread, filled)
        return JudgeState(correction, alarms), verdict, error

    def state(self, numbers: Floats) -> JudgeState:
        """The state that `JudgeState.to_numbers` wrote.

        Raises:
            ValueError: if there are not as many numbers as that takes.
        """
        size = len(Correction.start(self.channels).to_numbers())
        return JudgeState(
            Correction.from_numbers(numbers[:size], self.channels),
            self.alarms.state(numbers[size:], self.channels),
        )
