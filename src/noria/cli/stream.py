"""Events in, answers out, a line each: a model in a pipe."""

from __future__ import annotations

import json as jsonlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from noria.cli.arguments import Flag, check_output
from noria.errors import DataError, NoriaError, UsageError

if TYPE_CHECKING:
    from noria.runtime import Outcome, Session, StreamState

__all__ = ["stream"]

_BATCH = 64
"""Lines that are answered together, at the most; never waited for."""

_CHUNK = 2**16
_LONGEST_LINE = 16 * 2**20


def stream(
    model: Path,
    /,
    *,
    state: Path | None = None,
    resume: Flag = False,
    save_every: Annotated[float, Parameter(name="--save-every")] = 10.0,
    skip_bad: Flag = False,
    int8: Flag = False,
) -> None:
    """Answer events from standard input as they come, a JSON object a line.

    Parameters
    ----------
    model
        Model file.
    state
        File that keeps the streams' states, to go on from later; made if it is not there.
    resume
        The input begins again at its first line: pass over the lines that the state has had.
    save_every
        Seconds between two saves of the state; with 0 it is saved after every batch of answers.
    skip_bad
        Answer a bad line with {"error": ...} and go on, instead of ending there.
    int8
        Round the network's weights to eight bits: faster where it is large, a little off.
    """
    if resume and state is None:
        raise UsageError("--resume goes on from a state: give --state too")
    if not save_every >= 0:
        raise UsageError(f"--save-every {save_every}: it must be 0 or more seconds")
    if state is not None:
        check_output(state, model)
    from noria.runtime.session import Session
    from noria.runtime.stream_file import read_streams, write_streams

    session = Session.open(model, int8=int8)
    lines = 0
    states: dict[str, StreamState] = {}
    if state is not None and state.exists():
        lines, states = read_streams(state, session)
        print(f"noria: going on after line {lines} ({len(states)} streams)", file=sys.stderr)
    pipe = _Pipe(session, states, lines, first=0 if resume else lines, skip_bad=skip_bad)
    source = _Input()
    saved = None
    try:
        last = time.monotonic()
        source.pass_over(lines if resume else 0)
        for batch in source.batches():
            pipe.take(batch)
            if state is not None and time.monotonic() - last >= save_every:
                write_streams(state, session, pipe.lines, pipe.states)
                saved, last = pipe.lines, time.monotonic()
    finally:
        if state is not None and saved != pipe.lines:
            write_streams(state, session, pipe.lines, pipe.states)
        source.close()


class _Pipe:
    """The streams of a pipe: an answer is handed out before its event counts as taken.

    Args:
        session: The model.
        states: The streams by name.
        lines: Lines taken so far.
        first: Lines taken before this input began.
        skip_bad: Answer a bad line with an error and go on.
    """

    def __init__(
        self,
        session: Session,
        states: dict[str, StreamState],
        lines: int,
        *,
        first: int,
        skip_bad: bool,
    ) -> None:
        self.session = session
        self.states = states
        self.lines = lines
        self._first = first
        self._skip_bad = skip_bad
        self._fields: list[str] = session.describe()["stream"]

    def take(self, batch: Sequence[bytes]) -> None:
        """Answer lines, then count them.

        Raises:
            DataError: naming the first bad line; those before it are answered and counted.
        """
        events: list[_Event | None] = []
        errors: dict[int, NoriaError] = {}
        for index, line in enumerate(batch):
            events.append(None)
            try:
                events[index] = self._read(line)
            except DataError as error:
                errors[index] = error
        outcomes = self._outcomes(events)
        errors |= {index: found.error for index, found in outcomes.items() if found.error}
        end = len(batch) if self._skip_bad else min(errors, default=len(batch))
        answers, after = [], {}
        for index, event in enumerate(events[:end]):
            field = {event.field: event.stream} if event is not None and event.field else {}
            if index in errors:
                answers.append({**field, "error": self._place(index, errors[index])})
            elif event is not None:
                answers.append({**field, **outcomes[index].answer})
                after[event.name] = outcomes[index].state
        text = "".join(jsonlib.dumps(answer, allow_nan=False) + "\n" for answer in answers)
        sys.stdout.write(text)
        sys.stdout.flush()
        self.states |= {name: state for name, state in after.items() if state is not None}
        self.lines += end
        if end < len(batch):
            raise DataError(self._place(0, errors[end]))

    def _place(self, index: int, error: NoriaError) -> str:
        return f"standard input, line {self.lines - self._first + index + 1}: {error}"

    def _read(self, line: bytes) -> _Event | None:
        """The event on a line; None where it is blank."""
        if not line.strip():
            return None
        try:
            event = jsonlib.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise DataError("it is not UTF-8 text") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"it is no JSON: {error}") from None
        if isinstance(event, dict):
            for field in self._fields:
                if field in event:
                    stream = event[field]
                    if not isinstance(stream, str | int):
                        raise DataError(f"{field!r} is the name of a stream: a text or a number")
                    return _Event(event, field, stream)
        return _Event(event)

    def _outcomes(self, events: Sequence[_Event | None]) -> dict[int, Outcome]:
        """What came of each event, by its place in the batch."""
        waiting: dict[str, list[tuple[int, _Event]]] = {}
        for index, event in enumerate(events):
            if event is not None:
                waiting.setdefault(event.name, []).append((index, event))
        current = {name: self.states.get(name) or self.session.start() for name in waiting}
        outcomes: dict[int, Outcome] = {}
        while waiting:
            # an event of each stream at a time, for the next one needs the state after it
            now = {name: queue.pop(0) for name, queue in waiting.items()}
            found = self.session.step_batch(
                [current[name] for name in now], [event.event for _, event in now.values()]
            )
            for (name, (index, _)), outcome in zip(now.items(), found, strict=True):
                outcomes[index] = outcome
                current[name] = outcome.state or current[name]
            waiting = {name: queue for name, queue in waiting.items() if queue}
        return outcomes


class _Event(NamedTuple):
    """An event, and the field that names its stream, "" where there is none."""

    event: Any
    field: str = ""
    stream: str | int = ""

    @property
    def name(self) -> str:
        return str(self.stream)


class _Input:
    """Lines of standard input, as many at once as are there.

    An interrupt ends the waiting for input; one that comes while a batch is being answered takes
    effect after it, and the second at once.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._waiting = self._asked = False
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._interrupt) for number in signals}

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._waiting or self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_over(self, count: int) -> None:
        """Leave out so many lines.

        Raises:
            DataError: if there are fewer.
        """
        while len(self._lines) < count:
            count -= len(self._lines)
            self._lines = self._read()
            if not self._lines:
                raise DataError(
                    f"standard input ends {count} lines before the line that the state has come to;"
                    " give the whole input, or leave --resume out"
                )
        del self._lines[:count]

    def batches(self) -> Iterator[Sequence[bytes]]:
        """Lines without their ends, until the input ends."""
        while self._lines or (lines := self._read()):
            lines = self._lines or lines
            self._lines = lines[_BATCH:]
            yield lines[:_BATCH]
            if self._asked:
                raise KeyboardInterrupt

    def _read(self) -> list[bytes]:
        """The lines that are there, or the next; none at the end."""
        while True:
            self._waiting = True
            chunk = os.read(sys.stdin.fileno(), _CHUNK)
            self._waiting = False
            if not chunk:
                lines, self._rest = [self._rest] if self._rest else [], b""
                return lines
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > _LONGEST_LINE:
                raise DataError(f"standard input has a line of more than {_LONGEST_LINE} bytes")
            if lines:
                return lines
