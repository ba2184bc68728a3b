"""Damaged and hostile models, states, files of states and messages, by the million.

    python -m tests.mutations --count 1000000

Each case is made from its number, so that a failure can be had again with --first. What is
damaged must be refused by one of Noria's errors, in memory bounded by its own size; what still
passes for whole must work. Half of the models and states get fresh hashes after the damage, since
otherwise nothing behind the check of the hash would ever be reached.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors.numpy import load, save

import noria
from noria.errors import DataError, NoriaError, StateError
from noria.runtime import Session, StreamState
from noria.runtime.files import content_hash
from noria.runtime.state_bytes import seal, unseal
from noria.runtime.stream_file import read_streams, write_streams
from noria.server.problems import Problem
from noria.server.protocol import group_events, parse_json
from tests.tasks import readings, series, words

AT_ONCE = 64
"""Cases between two looks at the memory."""

ALLOWANCE = 16 << 20
"""Bytes that the interpreter may take for itself meanwhile."""

LONGEST_S = 60
"""Processor time that one case may take before it counts as one without an end."""

HOSTILE: list[Any] = [
    *(0, 1, -1, 2, 7, 2**31, 2**63, -(2**63), 10**30, 1e308, -1e308, 5e-324, 0.5),
    *(None, True, False, "", "x", "𝄞" * 9, "../../etc/passwd", [], {}, [[]], [None], {"": None}),
    *("lstm", "gru", "float64", "NaN", "2024-13-45", "9999-12-31T23:59:59", "0001-01-01"),
]


class Target:
    """Models to begin with, and events that each takes.

    Args:
        folder: Where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: list[bytes] = []
        self.sessions: list[Session] = []
        self.events: list[list[Any]] = []
        for number, (dtype, feedback) in enumerate(
            [(torch.float32, "direct+lateral"), (torch.float64, "full"), (torch.float32, "direct")]
        ):
            torch.manual_seed(number)
            layers = [noria.LSTM(6), noria.GRU(5), noria.RNN(4)][: number + 1]
            net = noria.Network(3, layers, feedback=feedback, output_size=2).to(dtype)
            self._add(net, [{"x": [0.1 * seq, -1.0, 2.5]} for seq in range(8)])
        frame = series.hourly(400).drop("unique_id")
        forecaster = series.small(steps=2, test_windows=0, baselines=()).fit(frame)
        self._add(forecaster, json.loads(frame[:8].write_json()))
        table = readings.readings(readings.values(300))
        detector = readings.fit(readings.small(steps=2), table)
        self._add(detector, json.loads(table[:8].write_json()))
        language = words.small_language(steps=2).fit(["to be or not to be"] * 20)
        self._add(language, [{"text": letter} for letter in "to be or"])

    def _add(self, model: Any, events: list[Any]) -> None:
        path = self.folder / "model.noria"
        model.save(path)
        self.models.append(path.read_bytes())
        self.sessions.append(Session.open(path))
        self.events.append(events)

    def model(self, chance: random.Random) -> tuple[str, int]:
        """A mutated model file, opened and stepped."""
        number = chance.randrange(len(self.models))
        data = self.models[number]
        data = remade_model(chance, data) if chance.random() < 0.5 else damaged(chance, data)
        path = self.folder / "mutated.noria"
        path.write_bytes(data)
        try:
            session = Session.open(path)
        except NoriaError as error:
            check_message(error, "mutated.noria")
            return f"model refused: {type(error).__name__}", len(data)
        try:
            session.feed(session.start(), self.events[number])
        except DataError as error:
            check_message(error)
        return "model opened", len(data)

    def state(self, chance: random.Random) -> tuple[str, int]:
        """A mutated state, and a file of states, read and gone on from."""
        number = chance.randrange(len(self.sessions))
        session, events = self.sessions[number], self.events[number]
        state, _ = session.feed(session.start(), events[: chance.randrange(1, 6)])
        data = session.state_to_bytes(state)
        if chance.random() < 0.2:
            return self._states(chance, session, state)
        if chance.random() < 0.5:
            content = damaged(chance, unseal("state", session.sha256, data))
            data = seal("state", session.sha256, content)
        else:
            data = damaged(chance, data)
        try:
            found = session.state_from_bytes(data)
        except StateError as error:
            check_message(error)
            return "state refused", len(data)
        outcomes = session.feed_batch([found, state], [events[6:], events[6:]])
        alone, answers = session.feed(state, events[6:])
        assert outcomes[1].answer == answers, "a state changed its neighbour's answers"
        assert outcomes[1].state is not None
        assert session.state_to_bytes(outcomes[1].state) == session.state_to_bytes(alone)
        if outcomes[0].error is None:
            orjson.dumps(outcomes[0].answer)
        return "state read", len(data)

    def _states(
        self, chance: random.Random, session: Session, state: StreamState
    ) -> tuple[str, int]:
        path = self.folder / "states"
        write_streams(path, session, 5, {"": state, "other": state})
        data = path.read_bytes()
        if chance.random() < 0.5:
            data = seal(
                "states", session.sha256, damaged(chance, unseal("states", session.sha256, data))
            )
        else:
            data = damaged(chance, data)
        path.write_bytes(data)
        try:
            read_streams(path, session)
        except StateError as error:
            check_message(error)
            return "file of states refused", len(data)
        return "file of states read", len(data)

    def message(self, chance: random.Random) -> tuple[str, int]:
        """A mutated message, beside a stream that must not notice."""
        number = chance.randrange(len(self.sessions))
        session, events = self.sessions[number], self.events[number]
        data = mutated_message(chance, events)
        try:
            given = parse_json(data)
            groups = group_events(given if isinstance(given, list) else [given], 1024)
        except Problem as problem:
            check_message(problem)
            return f"message refused: {problem.kind}", len(data)
        chunks = [chunk for _, chunk in groups.values()]
        state = session.start()
        outcomes = session.feed_batch([state] * (len(chunks) + 1), [*chunks, events[:1]])
        _, answers = session.feed(state, events[:1])
        assert outcomes[-1].answer == answers, "a message changed another stream's answer"
        for outcome in outcomes:
            if outcome.error is not None:
                check_message(outcome.error)
            else:
                orjson.dumps(outcome.answer)
        refused = any(outcome.error for outcome in outcomes)
        return f"event{' refused' if refused else 's taken'}", len(data)


def check_message(error: Exception, name: str = "") -> None:
    """An error's message says something, on one line, and names the file."""
    text = str(error)
    assert text, repr(error)
    assert name in text, f"{name} is not named: {text!r}"
    assert "\n" not in text.strip(), f"more than a line: {text!r}"
    assert len(text) < 2000, f"a message of {len(text)} characters: {text[:200]}"


def damaged(chance: random.Random, data: bytes) -> bytes:
    """Bytes with something wrong in one to four places."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(len(out) + 1)
        kind = chance.randrange(8)
        if kind == 0:
            del out[place:]
        elif kind == 1 and place < len(out):
            out[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            out[place : place + 8] = chance.choice((b"\0", b"\xff", b"\x7f")) * 8
        elif kind == 3:
            number = chance.choice((0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, len(out)))
            out[place : place + 8] = number.to_bytes(8, "little")
        elif kind == 4:
            del out[place : place + chance.randrange(1, 64)]
        elif kind == 5:
            out[place:place] = chance.randbytes(chance.randrange(1, 64))
        elif kind == 6:
            other = chance.randrange(len(out) + 1)
            out[place:place] = out[other : other + chance.randrange(1, 200)]
        else:
            out[place : place + 4] = chance.randbytes(4)
    return bytes(out)


def remade_model(chance: random.Random, data: bytes) -> bytes:
    """A model file whose document or weights were changed, with a hash that fits them."""
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    document = json.loads(metadata["noria"])
    weights = load(data)
    for _ in range(chance.choice((1, 1, 2))):
        if chance.random() < 0.75:
            document = changed(chance, document)
        else:
            change_weights(chance, weights)
    text = json.dumps(document)
    return bytes(save(weights, {"noria": text, "sha256": content_hash(text, weights)}))


def change_weights(chance: random.Random, weights: dict[str, Any]) -> None:
    name = chance.choice(list(weights))
    array = weights[name]
    kind = chance.randrange(7)
    if kind == 0:
        del weights[name]
    elif kind == 1:
        with np.errstate(all="ignore"):  # damage may overflow
            weights[name] = array.astype(chance.choice(("float16", "float64", "int32", "uint8")))
    elif kind == 2:
        weights[name] = np.ascontiguousarray(array[..., :-1])
    elif kind == 3:
        weights[name] = array.reshape(-1)[None]
    elif kind == 4:
        weights[f"{name}.more"] = array
    elif kind == 5:
        weights[name] = np.zeros((0, 3), array.dtype)
    else:
        array = weights[name] = array.copy()
        bad = chance.choice((np.nan, np.inf, -np.inf, 1e38, -1e38))
        if array.size:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                array.reshape(-1)[chance.randrange(array.size)] = np.array(bad).astype(array.dtype)


def changed(chance: random.Random, value: Any) -> Any:
    """JSON that is made to hold something else in one place."""
    *above, last = some_place(chance, value)
    holder = at(value, above)
    kind = chance.randrange(8)
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    elif kind == 2 and isinstance(holder[last], int | float):
        holder[last] = chance.choice((-holder[last], holder[last] + 1, holder[last] * 1000))
    elif kind == 3:
        holder[last] = copy.deepcopy(at(value, some_place(chance, value)))
    else:
        holder[last] = copy.deepcopy(chance.choice(HOSTILE))
    return value


def some_place(chance: random.Random, value: Any) -> list[Any]:
    """Keys and indices that lead from a value to something inside it."""
    path: list[Any] = []
    while isinstance(value, dict | list) and value and (not path or chance.random() < 0.8):
        path.append(
            chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
        )
        value = value[path[-1]]
    return path


def at(value: Any, path: list[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def mutated_message(
    chance: random.Random, events: list[Any], streams: tuple[str, ...] = ("a", "a", "b")
) -> bytes:
    """A message of one or several events that is hostile in its values or in its bytes."""
    count = chance.choice((1, 1, 1, 2, 5, 8))
    given: Any = [
        {"stream": chance.choice(streams), "seq": seq, **copy.deepcopy(event)}
        for seq, event in enumerate(events[:count], 1)
    ]
    if chance.random() < 0.7:
        given = changed(chance, given)
    if isinstance(given, list) and len(given) == 1 and chance.random() < 0.7:
        given = given[0]
    text = json.dumps(given).encode()
    if chance.random() < 0.4:
        return damaged(chance, text)
    if chance.random() < 0.05:
        depth = chance.choice((10, 1000, 100_000))
        return b"[" * depth + text + b"]" * depth
    return text


def too_long(*_: Any) -> None:
    raise TimeoutError(f"no end after {LONGEST_S} s")


class Memory:
    """The most memory this process has taken since the last look."""

    def __init__(self) -> None:
        self._before = 0
        self.reset()

    def reset(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        return self._read("VmHWM") - self._before

    def now(self) -> int:
        return self._read("VmRSS")

    def _read(self, field: str) -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.split(f"{field}:")[1].split()[0]) * 1024


def run(
    target: Target,
    kinds: dict[str, Callable[[random.Random], tuple[str, int]]],
    *,
    first: int,
    count: int,
    seed: int = 0,
    tell: bool = False,
) -> Counter[str]:
    """Try cases.

    Args:
        target: What to mutate.
        kinds: What to do, in turns.
        first: Number of the first case.
        count: How many.
        seed: Of all.
        tell: Print progress and failures, instead of ending at the first failure.

    Returns:
        How often what came of it.
    """
    found = Counter[str]()
    memory, largest, begun = Memory(), 0, time.monotonic()
    names = list(kinds)
    signal.signal(signal.SIGVTALRM, too_long)
    for number in range(first, first + count):
        chance = random.Random(f"{seed}-{number}")
        name = names[number % len(names)]
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
        try:
            what, size = kinds[name](chance)
        except Exception as error:
            if not tell:
                raise AssertionError(f"case {number} of seed {seed}, a {name}") from error
            print(f"case {number} of seed {seed}, a {name}: {error!r}", flush=True)
            what, size = "FAILED", 0
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        found[what] += 1
        largest = max(largest, size)
        if (number + 1) % AT_ONCE == 0:
            grown = memory.growth()
            assert grown < 2 * largest + ALLOWANCE, (
                f"cases {number + 1 - AT_ONCE} to {number} of seed {seed} took {grown >> 20} MiB"
            )
            memory.reset()
            largest = 0
        if tell and (number + 1) % 20_000 == 0:
            seconds = time.monotonic() - begun
            print(f"{number + 1} cases, {seconds:.0f} s, {memory.now() >> 20} MiB", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as name:
        target = Target(Path(name))
        kinds = {"model": target.model, "state": target.state, "message": target.message}
        counts = run(
            target, kinds, first=options.first, count=options.count, seed=options.seed, tell=True
        )
    for what, count in sorted(counts.items()):
        print(f"{count:9,} {what}")
    sys.exit(counts["FAILED"] > 0)


if __name__ == "__main__":
    main()
