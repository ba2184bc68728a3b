"""Sessions: a trained model that takes one event at a time, forever, in constant memory.

A `Session` holds a model; a `StreamState` is what one stream of events has left behind so far. The
state is a value: stepping makes a new one and leaves the old one as it was, so whoever keeps states
commits the new one or drops it. What a task's events and answers are is its own affair
(`StreamTask`); the network, the batching, the bytes and the containment of bad numbers are here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from noria.errors import (
    DataError,
    KernelError,
    ModelFileError,
    NoriaError,
    ShapeError,
    StateError,
    UsageError,
    WiringError,
)
from noria.runtime.detect import DetectStream
from noria.runtime.forecast import ForecastStream
from noria.runtime.language_stream import LanguageStream
from noria.runtime.model_file import ModelFile, read_model
from noria.runtime.plain import PlainStream
from noria.runtime.state_bytes import seal, unseal
from noria.runtime.stepper import EnsembleStepper, NetworkState, NetworkStepper

__all__ = ["Outcome", "Session", "StreamState", "StreamTask"]

Array = NDArray[Any]

_PIECE = 128
"""Events of one stream that are read and fed at a time: a long gap makes many steps of each."""

_CALL = 2**18
"""Steps of all streams together in one native call."""

_TASKS: dict[str, type[StreamTask]] = {
    "network": PlainStream,
    "forecast": ForecastStream,
    "detect": DetectStream,
    "language": LanguageStream,
}


class Reading(Protocol):
    """Events of one stream as the network's inputs.

    Attributes:
        x: Inputs, shape (T, I); an event may take several steps, or none.
        last: Index of each event's last step, shape (E,), -1 where there is none yet; or of
            whichever steps the task wants to see the outputs of.
    """

    @property
    def x(self) -> Array: ...
    @property
    def last(self) -> NDArray[np.int64]: ...


class StreamTask(Protocol):
    """What a task does around its network: events into inputs, outputs into answers.

    A task's memory is what it must remember of a stream besides the network's state. It is a value
    that nothing changes.
    """

    def __init__(self, model: ModelFile, *, int8: bool = False) -> None:
        """Open a model; raises ModelFileError where it is not what its task needs."""

    @property
    def stepper(self) -> NetworkStepper | EnsembleStepper:
        """The network, or several side by side."""

    def start(self) -> Any:
        """The memory of a fresh stream."""

    def read(self, memory: Any, events: Sequence[Any]) -> Any:
        """Events as a `Reading`, which may carry more for `answer`; raises DataError."""

    def answer(
        self, readings: Sequence[Any], outputs: Sequence[Array]
    ) -> Sequence[tuple[Any, list[Any]] | DataError]:
        """For each stream its new memory and the answers to its events, or why there are none.

        Args:
            readings: What `read` gave, a stream each.
            outputs: The network's output after the steps that `Reading.last` names, (E, O) each.
        """

    def memory_to_bytes(self, memory: Any) -> bytes:
        """The memory as bytes."""

    def memory_from_bytes(self, data: bytes) -> Any:
        """The memory back; raises StateError where the bytes are none."""

    def describe(self) -> dict[str, Any]:
        """JSON schemas of an `event` and of an `answer`."""


@dataclasses.dataclass(frozen=True, eq=False)
class StreamState:
    """What a stream has left behind: a value, made by a `Session` and never changed.

    Attributes:
        network: States of all layers side by side, shape (S,).
        memory: What the task remembers besides.
    """

    network: Array
    memory: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one event: a new state and an answer, or an error and neither.

    Attributes:
        state: The stream's state after the event; None after an error.
        answer: Plain JSON values.
        error: Why the event was refused; None if it was not.
    """

    state: StreamState | None = None
    answer: Any = None
    error: NoriaError | None = None


class Session:
    """A model that streams; one session serves any number of streams.

    Open one with `Session.open`. It holds no stream's state, and may be used from several threads.

    Args:
        model: A model file's content.
        int8: Round the network's weights to eight bits: faster where it is large, a little off. A
            state may go on from one to the other.

    Attributes:
        model: The model; `model.sha256` is what a saved state names.
        stepper: Its network.

    Raises:
        UsageError: if the model's task or network cannot stream, or its weights are none that eight
            bits can stand for.
        ModelFileError: if the file is not what its task needs.
    """

    def __init__(self, model: ModelFile, *, int8: bool = False) -> None:
        if model.task not in _TASKS:
            raise UsageError(
                f"a model for {model.task} does not stream: its answer is about a whole that has to"
                f" be there; models that stream are those for {' and '.join(_TASKS)}"
            )
        self.model = model
        try:
            self._task = _TASKS[model.task](model, int8=int8)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            misfit = isinstance(error, ShapeError | KernelError | WiringError) and not (
                int8 and isinstance(error, KernelError)
            )
            if isinstance(error, NoriaError) and not misfit:
                raise
            reason = error if misfit else repr(error)
            raise ModelFileError(f"the model file is damaged: {reason}") from error
        self.stepper = self._task.stepper
        self._zeros = _frozen(_flatten(self.stepper.zero_state(1)))
        self._stored = self.stepper.dtype.newbyteorder("<")

    @classmethod
    def open(cls, path: Path | str, *, int8: bool = False) -> Self:
        """Read a model file and pack its weights.

        Args:
            path: The file.
            int8: See `Session`.

        Raises:
            ModelFileError: if it is missing, damaged or not Noria's.
            UsageError: if the model cannot stream, as a bidirectional one.
        """
        model = read_model(path)
        try:
            return cls(model, int8=int8)
        except (ModelFileError, UsageError) as error:
            raise type(error)(f"{path}: {error}") from error

    @property
    def sha256(self) -> str:
        """Hash of the model."""
        return self.model.sha256

    @property
    def task(self) -> str:
        """The model's task."""
        return self.model.task

    def start(self) -> StreamState:
        """A fresh stream."""
        return StreamState(self._zeros[0], self._task.start())

    def step(self, state: StreamState, event: Any) -> tuple[StreamState, Any]:
        """Take one event of one stream.

        Args:
            state: The stream so far; it stays as it is.
            event: Plain JSON values; see `describe`.

        Returns:
            The stream's new state, and the answer.

        Raises:
            DataError: if the event is not what it should be; the old state stays valid.
        """
        (outcome,) = self.step_batch([state], [event])
        if outcome.error is not None:
            raise outcome.error
        assert outcome.state is not None
        return outcome.state, outcome.answer

    def step_batch(self, states: Sequence[StreamState], events: Sequence[Any]) -> list[Outcome]:
        """Take one event of each of several streams, together in one native call.

        The bits are those of `step`: no stream depends on which others are in the batch.

        Args:
            states: The streams so far, B; they stay as they are.
            events: An event for each.

        Returns:
            For each a new state and an answer, or the error of its event alone.
        """
        outcomes = self.feed_batch(states, [[event] for event in events])
        return [
            outcome if outcome.error else Outcome(outcome.state, outcome.answer[0])
            for outcome in outcomes
        ]

    def feed(self, state: StreamState, events: Sequence[Any]) -> tuple[StreamState, list[Any]]:
        """Take a chunk of one stream's events, to the same bits as stepping through it.

        Args:
            state: The stream so far; it stays as it is.
            events: The events, in order.

        Returns:
            The stream's new state, and an answer to each event.

        Raises:
            DataError: if an event is not what it should be; none of the chunk counts then.
        """
        if not events:
            return state, []
        (outcome,) = self.feed_batch([state], [events])
        if outcome.error is not None:
            raise outcome.error
        assert outcome.state is not None
        return outcome.state, outcome.answer

    def feed_batch(
        self, states: Sequence[StreamState], chunks: Sequence[Sequence[Any]]
    ) -> list[Outcome]:
        """Take a chunk of events of each of several streams, those of about a length together.

        The bits are those of `step`.

        Args:
            states: The streams so far, B; they stay as they are.
            chunks: At least one event of each, in order.

        Returns:
            For each a new state and a list of answers, or the error of an event of its chunk,
            of which none counts then.
        """
        outcomes = [Outcome(state, []) for state in states]
        longest = max(map(len, chunks), default=0)
        for first in range(0, longest, _PIECE):
            readings: dict[int, Any] = {}
            for index, (outcome, events) in enumerate(zip(outcomes, chunks, strict=True)):
                if outcome.state is None or first >= len(events):
                    continue
                piece = events[first : first + _PIECE] if len(events) > _PIECE else events
                try:
                    readings[index] = self._task.read(outcome.state.memory, piece)
                except DataError as error:
                    outcomes[index] = Outcome(error=error)
            for together in _calls({index: len(found.x) for index, found in readings.items()}):
                self._feed_piece(outcomes, {index: readings[index] for index in together})
        return outcomes

    def _feed_piece(self, outcomes: list[Outcome], readings: Mapping[int, Any]) -> None:
        """Take the next events of some streams in one native call."""
        lengths = np.array([len(reading.x) for reading in readings.values()])
        steps = max(int(lengths.max()), 1)
        x = np.zeros((len(lengths), steps, self.stepper.wiring.input_size), self.stepper.dtype)
        for row, reading in zip(x, readings.values(), strict=True):
            row[: len(reading.x)] = reading.x
        before = np.stack([outcomes[index].state.network for index in readings])  # type: ignore[union-attr]
        whole = bool((lengths == steps).all())
        y, after = self.stepper.scan(x, self._unflatten(before), None if whole else lengths)
        network = _flatten(after)
        sound = np.asarray(np.isfinite(network).all(axis=1) & np.isfinite(y).all(axis=(1, 2)))
        kept = []
        for row, index in enumerate(readings):
            if sound[row]:
                kept.append((row, index))
            else:
                outcomes[index] = Outcome(error=DataError(_OVERFLOW))
        answered = self._task.answer(
            [readings[index] for _, index in kept],
            [y[row, readings[index].last] for row, index in kept],
        )
        for (row, index), found in zip(kept, answered, strict=True):
            if isinstance(found, DataError):
                outcomes[index] = Outcome(error=found)
                continue
            memory, answers = found
            state = StreamState(_frozen(network[row].copy()), memory)
            outcomes[index] = Outcome(state, [*outcomes[index].answer, *answers])

    def state_to_bytes(self, state: StreamState) -> bytes:
        """A stream's state as bytes, to go on from in another process.

        They carry the model's hash and a checksum, and hold no pickle.
        """
        network = state.network.astype(self._stored).tobytes()
        return seal("state", self.sha256, network + self._task.memory_to_bytes(state.memory))

    def state_from_bytes(self, data: bytes) -> StreamState:
        """The state that `state_to_bytes` wrote.

        Raises:
            StateError: if it is damaged, truncated, or another model's.
        """
        content = unseal("state", self.sha256, data)
        size = self._zeros.nbytes
        if len(content) < size:
            raise StateError("the saved state is damaged: it is too short for its model")
        network = np.frombuffer(content[:size], self._stored).astype(self.stepper.dtype)
        if not np.isfinite(network).all():
            raise StateError("the saved state is damaged: the network's state is not finite")
        return StreamState(_frozen(network), self._task.memory_from_bytes(content[size:]))

    def hidden(self, state: StreamState) -> dict[str, Array]:
        """What the network remembers, by layer and state, such as "layers.0.h": shape (H,)."""
        layers = self.stepper.layers
        return {
            f"layers.{index}.{name}": array[0]
            for index, (layer, part) in enumerate(
                zip(layers, self._unflatten(state.network[None]), strict=True)
            )
            for name, array in zip(layer.states, part, strict=True)
        }

    def describe(self) -> dict[str, Any]:
        """What an event holds and what an answer holds.

        Returns:
            `task`; JSON schemas under `event` and `answer`; and under `stream` the names an event
            may have for the field that says which stream it belongs to, where several streams
            share a pipe.
        """
        about = self._task.describe()
        own = about["event"]["properties"]
        columns = self.model.document.get("columns") or {}
        names = [name for name in ("stream", columns.get("id")) if name and name not in own]
        return {"task": self.task, "stream": names, **about}

    def _unflatten(self, network: Array) -> NetworkState:
        """States side by side, shape (B, S), as the network takes them."""
        parts, first = [], 0
        for layer in self.stepper.layers:
            own = []
            for _ in layer.states:
                own.append(network[:, first : first + layer.hidden_size])
                first += layer.hidden_size
            parts.append(tuple(own))
        return tuple(parts)


_OVERFLOW = (
    "the event drove the network out of the range of its numbers; it was not taken: check the"
    " event's values"
)


def _calls(lengths: Mapping[int, int]) -> Iterator[list[int]]:
    """What goes into one native call: rows are padded to the longest, at most twice their length.

    Args:
        lengths: Steps of each stream.
    """
    alike: dict[int, list[int]] = {}
    for index, length in lengths.items():
        alike.setdefault(max(length - 1, 0).bit_length(), []).append(index)
    for bits, together in alike.items():
        rows = max(_CALL >> bits, 1)
        for first in range(0, len(together), rows):
            yield together[first : first + rows]


def _flatten(state: NetworkState) -> Array:
    """States of all layers side by side, shape (B, S)."""
    return np.concatenate([array for part in state for array in part], axis=1)


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
