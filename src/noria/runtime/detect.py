"""A detector as a stream: rows of readings in, scores, alarms and the channel to blame out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, ModelFileError, StateError
from noria.features.events import EventReader
from noria.features.series import Columns
from noria.runtime.alarms import Alarms
from noria.runtime.expectation import WARM_UP, Channels, Grid
from noria.runtime.judge import Expectations, Judge, JudgeState
from noria.runtime.model_file import ModelFile
from noria.runtime.stepper import NetworkStepper

__all__ = ["DetectStream"]

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class _Memory:
    """Of one stream: what is expected next, when the last event came, what errors have been.

    Attributes:
        middle: Centre of the expectation, scaled, shape (C,).
        spread: Its spread, shape (C,).
        latest: Latest scaled values, shape (C,).
        level: Where they have been of late, shape (C,).
        seen: Steps so far, up to the end of the warm-up.
        last: Time of the last event; None before the first.
        judge: What it has been judged by so far.
    """

    middle: Floats
    spread: Floats
    latest: Floats
    level: Floats
    seen: int
    last: int | None
    judge: JudgeState


class _Reading(NamedTuple):
    memory: _Memory
    x: NDArray[np.float32]
    last: NDArray[np.int64]
    grid: Grid
    time: int


class DetectStream:
    """Events {"timestamp": …, "temperature": …} and answers {"score", "alarm", "channel"}.

    An event is a row of the table that the model was trained on; a value may be null. Where events
    did not come, the network sees the latest values for as many steps.

    Args:
        model: A model file that `AnomalyDetector.save` wrote.
    """

    def __init__(self, model: ModelFile, *, int8: bool = False) -> None:
        document = model.document["detection"]
        self.stepper = NetworkStepper(model.wiring, model.part("network"), int8=int8)
        self._time: str = document["time"]
        self._dates: bool = document["dates"]
        self._channels = Channels.from_dict(document["channels"])
        wiring = model.wiring
        sizes = self._channels.input_size, 2 * len(self._channels.names)
        if (wiring.input_size, wiring.output_size) != sizes:
            raise ModelFileError("the model file is damaged: its network is not of its channels")
        first, *others = self._channels.names
        columns = Columns(self._time, first, past=tuple(others))
        self._events = EventReader(columns, {}, integer_time=not self._dates)
        normal = np.array(document["normal"]["network"], dtype=np.float64)
        count = len(self._channels.names)
        self._judge = Judge(Alarms.from_dict(document["alarms"]), count)
        self._start = _Memory(
            np.zeros(count),
            np.ones(count),
            np.zeros(count),
            np.zeros(count),
            0,
            None,
            self._judge.state(normal),
        )

    def start(self) -> _Memory:
        """Nothing seen, and the normal errors of the training data."""
        return self._start

    def read(self, memory: _Memory, events: Sequence[Any]) -> _Reading:
        """Events as inputs: a step for each one and for each that did not come.

        Raises:
            DataError: if an event is no such row, or comes from before the one before it.
        """
        times = np.empty(len(events), np.int64)
        values = np.empty((len(events), len(self._channels.names)))
        last = memory.last
        for row, event in enumerate(events):
            if not isinstance(event, dict):
                names = ", ".join((self._time, *self._channels.names))
                raise DataError(f"an event is an object with {names}")
            times[row] = self._events.time(event)
            if last is not None and times[row] < last:
                raise DataError(
                    f"column {self._time!r}: {event[self._time]!r} is before the event before it;"
                    " events of a stream come in order"
                )
            last = int(times[row])
            values[row] = [self._events.number(event, name) for name in self._channels.names]
        grid = self._channels.grid(times, values, memory.last, memory.latest, memory.level)
        x = self._channels.inputs(grid)
        return _Reading(memory, x, np.arange(len(x)), grid, int(times[-1]))

    def answer(
        self, readings: Sequence[_Reading], outputs: Sequence[NDArray[Any]]
    ) -> list[tuple[_Memory, list[dict[str, Any]]]]:
        """Judge each event by what was expected of it one step before."""
        return [self._answers(*pair) for pair in zip(readings, outputs, strict=True)]

    def _answers(
        self, reading: _Reading, outputs: NDArray[Any]
    ) -> tuple[_Memory, list[dict[str, Any]]]:
        memory = reading.memory
        middle, spread = self._channels.expected(outputs, reading.grid.filled)
        middles = np.concatenate([memory.middle[None], middle])
        spreads = np.concatenate([memory.spread[None], spread])
        own = reading.grid.own
        cold = memory.seen + own < WARM_UP
        filled = np.concatenate([memory.latest[None], reading.grid.filled])
        judge, answers = memory.judge, []
        for row in Expectations(
            np.where(cold[:, None], np.nan, middles[own]),
            spreads[own],
            filled[own],
            reading.grid.scaled[own],
            filled[own + 1],
        ).rows():
            judge, (score, channel, fresh), _ = self._judge.step(judge, *row)
            known = not np.isnan(row[3]).all()
            answers.append(
                {
                    "score": score,
                    "alarm": fresh and score >= self._judge.alarms.threshold,
                    "channel": self._channels.names[channel] if known else None,
                }
            )
        seen = min(memory.seen + len(outputs), WARM_UP)
        after = _Memory(
            middles[-1],
            spreads[-1],
            filled[-1],
            reading.grid.level[-1],
            seen,
            reading.time,
            judge,
        )
        return after, answers

    def memory_to_bytes(self, memory: _Memory) -> bytes:
        """The memory as numbers of eight bytes each."""
        time = np.array([memory.seen, memory.last is not None, memory.last or 0], "<i8")
        numbers = [memory.middle, memory.spread, memory.latest, memory.level]
        numbers.append(memory.judge.to_numbers())
        return time.tobytes() + np.concatenate(numbers).astype("<f8").tobytes()

    def memory_from_bytes(self, data: bytes) -> _Memory:
        """The memory back.

        Raises:
            StateError: if the bytes are none of this model's.
        """
        size = len(self.memory_to_bytes(self._start))
        if len(data) != size:
            raise StateError(
                f"the saved state is damaged: its memory has {len(data)} bytes, not {size}"
            )
        seen, known, last = np.frombuffer(data[:24], "<i8").tolist()
        numbers = np.frombuffer(data[24:], "<f8").astype(np.float64)
        count = len(self._channels.names)
        middle, spread, latest, level, rest = np.split(numbers, count * np.arange(1, 5))
        time = last if known else None
        try:
            judge = self._judge.state(rest)
        except ValueError as error:
            raise StateError(f"the saved state is damaged: {error}") from error
        return _Memory(middle, spread, latest, level, seen, time, judge)

    def describe(self) -> dict[str, Any]:
        """JSON schemas of an event and an answer."""
        time = {"type": "string", "format": "date-time"} if self._dates else {"type": "integer"}
        values = {name: {"type": ["number", "null"]} for name in self._channels.names}
        return {
            "event": {
                "type": "object",
                "required": [self._time],
                "properties": {self._time: time, **values},
            },
            "answer": {
                "type": "object",
                "required": ["score", "alarm", "channel"],
                "properties": {
                    "score": {"type": "number", "minimum": 0, "maximum": 1},
                    "alarm": {"type": "boolean"},
                    "channel": {"type": ["string", "null"]},
                },
            },
        }
