"""`noria stream` in a real pipe."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noria.runtime import Session
from tests.server.nets import event, uninterrupted, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("stream") / "gru.noria")


@pytest.fixture(scope="module")
def session(model: Path) -> Session:
    return Session.open(model)


def expected(session: Session, stream: str, first: int, last: int) -> list[dict[str, Any]]:
    return list(itertools.islice(uninterrupted(session, stream), first - 1, last))


def lines(*given: Any) -> bytes:
    return b"".join(
        (json.dumps(one) if not isinstance(one, str) else one).encode() + b"\n" for one in given
    )


def run(model: Path, content: bytes, *arguments: str | Path) -> tuple[int, list[Any], list[str]]:
    command = [sys.executable, "-m", "noria", "stream", model, *arguments]
    ended = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    return ended.returncode, answers, ended.stderr.decode().splitlines()


class Pipe:
    """A `noria stream` that is spoken to line by line."""

    def __init__(self, model: Path, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "noria", "stream", str(model), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ask(self, given: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(lines(given))
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self, number: int | None = None) -> tuple[int, str]:
        if number is not None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors.decode()


@pytest.fixture
def pipe(model: Path) -> Iterator[Pipe]:
    pipe = Pipe(model)
    yield pipe
    if pipe.process.poll() is None:
        pipe.end(signal.SIGKILL)


def test_each_line_is_answered_before_the_next_comes(pipe: Pipe, session: Session) -> None:
    for seq, answer in enumerate(expected(session, "a", 1, 5), 1):
        assert pipe.ask(event("a", seq)) == answer
    assert pipe.end() == (0, "")


def test_streams_share_a_pipe(model: Path, session: Session) -> None:
    names = ["a", "b", "a", "a", "c", "b"] * 20
    seqs = {name: itertools.count(1) for name in "abc"}
    given = [{"stream": name, **event(name, next(seqs[name]))} for name in names]
    code, answers, errors = run(model, lines(*given))
    assert (code, errors) == (0, [])
    every = {name: uninterrupted(session, name) for name in "abc"}
    assert answers == [{"stream": name, **next(every[name])} for name in names]


def test_eight_bit_weights(model: Path, session: Session) -> None:
    events = [event("a", seq) for seq in range(1, 9)]
    code, answers, errors = run(model, lines(*events), "--int8")
    assert (code, errors) == (0, [])
    wanted = uninterrupted(Session.open(model, int8=True), "a")
    assert answers == [next(wanted) for _ in events]
    assert answers != expected(session, "a", 1, 8)


def test_a_state_goes_on_where_it_was(model: Path, session: Session, tmp_path: Path) -> None:
    state = tmp_path / "state"
    got = []
    for first, last in ((1, 3), (4, 4), (5, 300)):
        content = lines(*(event("a", seq) for seq in range(first, last + 1)))
        code, answers, errors = run(model, content, "--state", state)
        assert code == 0
        said = [] if first == 1 else [f"noria: going on after line {first - 1} (1 streams)"]
        assert errors == said
        got += answers
    assert got == expected(session, "a", 1, 300)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_state(
    model: Path, session: Session, tmp_path: Path, number: signal.Signals
) -> None:
    state = tmp_path / "state"
    first = Pipe(model, "--state", state)
    answers = [first.ask(event("a", seq)) for seq in (1, 2)]
    code, errors = first.end(number)
    assert code == 130
    assert errors.strip() == "noria: interrupted"
    second = Pipe(model, "--state", state)
    answers.append(second.ask(event("a", 3)))
    second.end(signal.SIGKILL)
    assert answers == expected(session, "a", 1, 3)


def test_killed_it_goes_on_from_the_last_save(
    model: Path, session: Session, tmp_path: Path
) -> None:
    """With --save-every 0 a state is on the disk before the next batch; --resume passes over it."""
    state, given = tmp_path / "state", lines(*(event("a", seq) for seq in range(1, 21)))
    first = Pipe(model, "--state", state, "--save-every", "0")
    for seq in range(1, 11):
        first.ask(event("a", seq))
    while True:  # until the tenth is saved
        time.sleep(0.05)
        if first.process.poll() is None and state.exists():
            break
    time.sleep(0.2)
    first.end(signal.SIGKILL)
    code, answers, errors = run(model, given, "--state", state, "--resume")
    assert code == 0
    assert errors == ["noria: going on after line 10 (1 streams)"]
    assert answers == expected(session, "a", 11, 20)


def test_a_bad_line_ends_it_and_those_before_count(
    model: Path, session: Session, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    given = lines(event("a", 1), event("a", 2), {"x": [1]}, event("a", 3))
    code, answers, errors = run(model, given, "--state", state)
    assert code == 3
    assert answers == expected(session, "a", 1, 2)
    assert errors == ["noria: standard input, line 3: x is not a list of 3 numbers"]
    code, answers, _ = run(model, lines(event("a", 3)), "--state", state)
    assert (code, answers) == (0, expected(session, "a", 3, 3))


def test_bad_lines_can_be_skipped(model: Path, session: Session) -> None:
    bad = ["{", "", "7", '{"x": [1e39, 0, 0]}', '{"stream": [], "x": [1, 2, 3]}', "[" * 10_000]
    given = lines(event("a", 1), *bad, event("a", 2))
    code, answers, errors = run(model, given, "--skip-bad")
    assert (code, errors) == (0, [])
    good = [answer for answer in answers if "y" in answer]
    assert good == expected(session, "a", 1, 2)
    told = [answer["error"] for answer in answers if "error" in answer]
    assert [text.split(":")[0] for text in told] == [
        f"standard input, line {number}" for number in (2, 4, 5, 6, 7)
    ]


def test_a_state_of_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run(model, lines(event("a", 1)), "--state", state)
    other = write_model(tmp_path / "other.noria", seed=4)
    code, answers, errors = run(other, lines(event("a", 2)), "--state", state)
    assert (code, answers, len(errors)) == (3, [], 1)
    assert "belongs to the model" in errors[0]
    state.write_bytes(state.read_bytes()[:-3])
    code, _, errors = run(model, lines(event("a", 2)), "--state", state)
    assert (code, len(errors)) == (3, 1)
    assert "cut" in errors[0]


def test_a_reader_that_has_had_enough(model: Path) -> None:
    command = f"{sys.executable} -m noria stream {model} | head -n 1"
    content = lines(*(event("a", seq) for seq in range(1, 5000)))
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        input=content,
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(ended.stdout.splitlines()) == 1
