"""Streams in memory, and what a batch does to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import orjson

from noria.errors import NoriaError
from noria.runtime import StreamState
from noria.server.limits import Limits
from noria.server.models import Models, Served
from noria.server.problems import Problem, problem_from_error
from noria.server.protocol import Request
from noria.server.stores import Change, Key, Record

__all__ = ["Run", "Stream", "restore", "restore_all", "step_runs"]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as the store has it.

    Attributes:
        served: The model version it began with.
        epoch: Of its record; None while it is not in the store.
        seq: Its last event.
        state: The state after it.
        snapshot_seq: The last event of the state that the store holds.
        snapshot_bytes: The length of that state; 0 while there is none.
    """

    served: Served
    epoch: int | None
    seq: int
    state: StreamState
    snapshot_seq: int
    snapshot_bytes: int

    @classmethod
    def fresh(cls, served: Served) -> Self:
        """A stream before its first event."""
        return cls(served, None, 0, served.session.start(), 0, 0)

    @property
    def cost(self) -> int:
        """About how many bytes of memory it takes."""
        return self.snapshot_bytes + 1024


def restore(models: Models, key: Key, record: Record) -> Stream:
    """A stream from its record: the state, and after it the events it has not seen.

    Raises:
        Problem: if the model it began with is not served.
        StateError: if the state is damaged.
    """
    served = models.by_hash(key.model, record.sha256)
    state, seq = served.session.state_from_bytes(record.state), record.seq
    for chunk in record.events:
        events = orjson.loads(chunk)
        state, _ = served.session.feed(state, events)
        seq += len(events)
    return Stream(served, record.epoch, seq, state, record.seq, len(record.state))


def restore_all(models: Models, records: Mapping[Key, Record]) -> dict[Key, Stream | Problem]:
    """The streams of records; of one that cannot be had, why."""
    streams: dict[Key, Stream | Problem] = {}
    for key, record in records.items():
        try:
            streams[key] = restore(models, key, record)
        except (NoriaError, Problem) as error:
            streams[key] = problem_from_error(error)
    return streams


class Run:
    """The requests of one stream in one batch.

    Args:
        key: The stream.
        requests: In the order they came.

    Attributes:
        problems: Of the requests that failed, by their `id`.
        change: What to commit; None if nothing was taken.
    """

    def __init__(self, key: Key, requests: list[Request]) -> None:
        self.key = key
        self.requests = requests
        self.problems: dict[int, Problem] = {}
        self.change: Change | None = None
        self.answers: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._pending = list(reversed(requests))
        self._one_by_one = False

    def begin(self, stream: Stream, token: str) -> None:
        """Go on from where the stream stands.

        Args:
            stream: The stream.
            token: Name of the token that begins it, if it is new.
        """
        self.stream = stream
        self._token = token
        self._state = stream.state
        for request in self.requests:
            if request.target.pinned and request.target.served is not stream.served:
                version = f"{stream.served.name}@{stream.served.version}"
                self.problems[id(request)] = Problem(
                    "other-model", f"the stream began with {version}; ask for that"
                )

    def fail(self, problem: Problem) -> None:
        """Refuse all requests."""
        self._pending.clear()
        for request in self.requests:
            self.problems[id(request)] = problem

    def lose(self) -> None:
        """Refuse all requests, since the store did not take the change."""
        self.fail(Problem("stream-moved", "send it again: this server then asks for the stream"))

    @property
    def first(self) -> int:
        """The seq of the first event that is new in this batch."""
        return self.stream.seq + 1

    @property
    def seq(self) -> int:
        """The last event so far."""
        return self.stream.seq + len(self.answers)

    @property
    def is_new(self) -> bool:
        """Whether the store does not have the stream yet."""
        return self.stream.epoch is None

    def fresh_answers(self, request: Request) -> list[dict[str, Any]]:
        """The answers of a request that this batch found."""
        first, end = request.first - self.first, request.last - self.first + 1
        return self.answers[max(first, 0) : max(end, 0)]

    def next_events(self) -> list[dict[str, Any]]:
        """The next events to take; none at the end.

        Those of all pending requests together, as they can be had in one call; one request at a
        time after a refusal, so that only the request with the refused event fails.
        """
        self._taking: list[Request] = []
        events: list[dict[str, Any]] = []
        while self._pending and not (events and self._one_by_one):
            request = self._pending.pop()
            if id(request) in self.problems:
                continue
            expected = self.seq + len(events) + 1
            if request.first > expected:
                if events:
                    self._pending.append(request)
                    break
                self.problems[id(request)] = Problem(
                    "sequence-gap",
                    f"the event with seq {request.first} came before seq {expected}",
                    expected=expected,
                )
            else:
                events += request.events[expected - request.first :]
                self._taking.append(request)
        return events

    def advance(self, state: StreamState, answers: list[Any], events: list[dict[str, Any]]) -> None:
        """The events were taken."""
        self._state = state
        self.answers += answers
        self._events += events

    def refuse(self, error: Exception) -> None:
        """The model refused one of the events."""
        if self._one_by_one or len(self._taking) == 1:
            # those before it repeat what was taken
            self.problems[id(self._taking[-1])] = problem_from_error(error)
        else:
            self._one_by_one = True
            self._pending += reversed(self._taking)

    def close(self, limits: Limits) -> None:
        """Make the change out of what was taken."""
        if not self.answers:
            return
        stream, seq = self.stream, self.seq
        journalled = (
            stream.snapshot_bytes > limits.journal_above_bytes
            and seq - stream.snapshot_seq < limits.snapshot_events
        )
        stride = max(limits.keep_answers // 4, 1)
        forgets = not journalled and (
            stream.snapshot_seq < stream.seq or seq // stride > stream.seq // stride
        )
        self.change = Change(
            key=self.key,
            epoch=stream.epoch,
            sha256=stream.served.session.sha256,
            token=self._token,
            seq=seq,
            answers=orjson.dumps(self.answers),
            state=None if journalled else stream.served.session.state_to_bytes(self._state),
            events=orjson.dumps(self._events) if journalled else None,
            forget_to=seq - limits.keep_answers if forgets else None,
        )

    def committed(self, epoch: int) -> Stream:
        """The stream after the change."""
        assert self.change is not None
        stream = replace(self.stream, epoch=epoch, seq=self.seq, state=self._state)
        if self.change.state is None:
            return stream
        return replace(stream, snapshot_seq=self.seq, snapshot_bytes=len(self.change.state))


def step_runs(runs: Iterable[Run], limits: Limits) -> None:
    """Take the events of many streams, those of one model together."""
    active = list(runs)
    while active:
        waves: dict[int, list[tuple[Run, list[dict[str, Any]]]]] = {}
        for run in active:
            events = run.next_events()
            if events:
                waves.setdefault(id(run.stream.served), []).append((run, events))
        active = []
        for together in waves.values():
            _step(together)
            active += [run for run, _ in together]
    for run in runs:
        run.close(limits)


def _step(wave: list[tuple[Run, list[dict[str, Any]]]]) -> None:
    session = wave[0][0].stream.served.session
    states = [run._state for run, _ in wave]
    outcomes = session.feed_batch(states, [events for _, events in wave])
    for (run, events), outcome in zip(wave, outcomes, strict=True):
        if outcome.state is not None:
            run.advance(outcome.state, outcome.answer, events)
        else:
            assert outcome.error is not None
            run.refuse(outcome.error)
