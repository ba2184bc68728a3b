"""Sessions of plain networks: values, bits, bytes, and one bad event among many."""

from __future__ import annotations

import gc
import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.cells import GRU, LSTM, RNN
from noria.errors import DataError, ModelFileError, StateError, UsageError
from noria.network import Network
from noria.runtime import Session, StreamState, write_model
from noria.wiring import Wiring

WIDTH = 3


def saved(path: Path, *, seed: int = 0, **options: Any) -> Network:
    torch.manual_seed(seed)
    layers = options.pop("layers", [LSTM(16), GRU(5)])
    net = Network(WIDTH, layers, **{"feedback": "full", "output_size": 2} | options).eval()
    net.save(path)
    return net


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("session") / "net.noria"
    saved(path)
    return path


@pytest.fixture(scope="module")
def session(path: Path) -> Session:
    return Session.open(path)


def some_events(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rows = np.random.default_rng(seed).normal(size=(count, WIDTH)).tolist()
    return [{"x": row} for row in rows]


def walked(session: Session, events: list[dict[str, Any]]) -> tuple[StreamState, list[Any]]:
    state, answers = session.start(), []
    for event in events:
        state, answer = session.step(state, event)
        answers.append(answer)
    return state, answers


def test_a_stream_is_the_network_on_the_whole(tmp_path: Path) -> None:
    for number, dtype in enumerate([torch.float32, torch.float64]):
        path = tmp_path / f"{number}.noria"
        net = saved(path).to(dtype)
        net.save(path)
        events = some_events(300)
        x = torch.tensor([[event["x"] for event in events]], dtype=torch.float64).to(dtype)
        with torch.no_grad():
            y, state = net(x)
        session = Session.open(path)
        end, answers = walked(session, events)
        assert [answer["y"] for answer in answers] == y[0].tolist()
        fed, same = session.feed(session.start(), events)
        assert same == answers
        assert session.state_to_bytes(fed) == session.state_to_bytes(end)
        hidden = session.hidden(end)
        assert list(hidden) == ["layers.0.h", "layers.0.c", "layers.1.h", "layers.2.h"]
        for array, tensor in zip(hidden.values(), (p for part in state for p in part), strict=True):
            assert array.tobytes() == tensor.numpy().tobytes()


def test_stepping_never_changes_a_state(session: Session) -> None:
    state, _ = walked(session, some_events(5))
    before = session.state_to_bytes(state)
    first = session.step(state, some_events(1, seed=1)[0])
    session.feed(state, some_events(40))
    assert session.state_to_bytes(state) == before
    again = session.step(state, some_events(1, seed=1)[0])
    assert first[1] == again[1]
    with pytest.raises(ValueError, match="read-only"):
        state.network[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        session.start().network[0] = 1


BAD: list[Any] = [
    {"x": [0.0, float("nan"), 0.0]},
    {"x": [0.0, float("inf"), 0.0]},
    {"x": [0.0, -1e39, 0.0]},
    {"x": [0.0, 10**400, 0.0]},
    {"x": [0.0, 1.0]},
    {"x": [[0.0, 1.0, 2.0]]},
    {"x": [[0.0], 1.0, 2.0]},
    {"x": ["1", "2", "3"]},
    {"x": [True, False, True]},
    {"x": [None, 1.0, 2.0]},
    {"x": 1.0},
    {"x": None},
    {"y": [1.0]},
    {},
    [1.0, 2.0, 3.0],
    "x",
    None,
    7,
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_bad_event_is_refused_alone(session: Session, bad: Any) -> None:
    """One in a batch of 64: the other 63 are unchanged in every bit."""
    count = 64
    events: list[Any] = some_events(count, seed=2)
    states = [walked(session, some_events(3, seed=seed))[0] for seed in range(count)]
    good = session.step_batch(states, events)
    events[17] = bad
    found = session.step_batch(states, events)
    assert isinstance(found[17].error, DataError)
    assert found[17].state is None
    for index in set(range(count)) - {17}:
        one, other = found[index], good[index]
        assert one.error is None
        assert one.answer == other.answer
        assert one.state is not None
        assert other.state is not None
        assert session.state_to_bytes(one.state) == session.state_to_bytes(other.state)
        alone, answer = session.step(states[index], events[index])
        assert answer == one.answer
        assert session.state_to_bytes(alone) == session.state_to_bytes(one.state)
    with pytest.raises(DataError):
        session.step(states[17], bad)
    with pytest.raises(DataError):
        session.feed(states[17], [*some_events(3), bad])


def test_a_network_that_overflows_is_contained(tmp_path: Path) -> None:
    net = saved(tmp_path / "m", layers=[RNN(8, "relu")], feedback="direct+lateral")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(30.0)
    net.save(tmp_path / "m")
    session = Session.open(tmp_path / "m")
    states = [session.start()] * 64
    events = [{"x": [0.0] * WIDTH}] * 64
    for _ in range(50):
        bold = [*events[:9], {"x": [1e30] * WIDTH}, *events[10:]]
        outcomes = session.step_batch(states, bold)
        calm = session.step_batch(states, events)
        if outcomes[9].error is not None:
            break
        states = [outcome.state for outcome in outcomes if outcome.state is not None]
    assert outcomes[9].error is not None
    assert "out of the range" in str(outcomes[9].error)
    for index in set(range(64)) - {9}:
        one, other = outcomes[index], calm[index]
        assert one.state is not None
        assert other.state is not None
        assert one.answer == other.answer
        assert one.state.network.tobytes() == other.state.network.tobytes()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_streams_in_any_order_and_any_batches(path: Path, turns: list[int], seed: int) -> None:
    session = Session.open(path)
    events = some_events(len(turns), seed)
    states = [session.start() for _ in range(4)]
    for turn, event in zip(turns, events, strict=True):
        states[turn], _ = session.step(states[turn], event)
    for stream in range(4):
        own = [event for turn, event in zip(turns, events, strict=True) if turn == stream]
        end, _ = session.feed(session.start(), own)
        assert session.state_to_bytes(end) == session.state_to_bytes(states[stream])


def test_a_state_goes_on_in_another_session(path: Path, session: Session) -> None:
    state, _ = walked(session, some_events(20))
    data = session.state_to_bytes(state)
    other = Session.open(path)
    restored = other.state_from_bytes(data)
    assert other.state_to_bytes(restored) == data
    event = some_events(1, seed=9)[0]
    assert other.step(restored, event)[1] == session.step(state, event)[1]


def test_eight_bit_weights(path: Path, session: Session, tmp_path: Path) -> None:
    rounded = Session.open(path, int8=True)
    events = some_events(8)
    state, found = walked(rounded, events)
    assert walked(Session.open(path, int8=True), events)[1] == found
    _, wanted = walked(session, events)
    found, wanted = ([answer["y"] for answer in answers] for answers in (found, wanted))
    assert found != wanted
    np.testing.assert_allclose(found, wanted, atol=0.05)
    session.state_from_bytes(rounded.state_to_bytes(state))  # one goes on from the other
    saved(tmp_path / "double").double().save(tmp_path / "double")
    with pytest.raises(UsageError, match="is float64: int8=True takes float32"):
        Session.open(tmp_path / "double", int8=True)


def test_a_state_of_another_model_is_refused(tmp_path: Path, session: Session) -> None:
    saved(tmp_path / "other", seed=1)
    other = Session.open(tmp_path / "other")
    assert other.sha256 != session.sha256
    with pytest.raises(StateError, match=f"belongs to the model {session.sha256[:12]}"):
        other.state_from_bytes(session.state_to_bytes(session.start()))


def test_a_damaged_state_is_refused(session: Session) -> None:
    data = session.state_to_bytes(walked(session, some_events(5))[0])
    for wrong, message in [
        (b"", "no saved state"),
        (b"\0" * 500, "no saved state"),
        (data[:-1], "cut short"),
        (data + b"\0", "something was added"),
        (data[:8] + b"\2" + data[9:], "has version 2"),
        (data[:100] + bytes([data[100] ^ 1]) + data[101:], "damaged"),
    ]:
        with pytest.raises(StateError, match=message):
            session.state_from_bytes(wrong)


def test_threads_share_a_session(session: Session) -> None:
    events = [some_events(200, seed) for seed in range(4)]
    wanted = [walked(session, own)[1] for own in events]
    found: dict[int, list[Any]] = {}

    def run(index: int) -> None:
        found[index] = walked(session, events[index])[1]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(4)] == wanted


def test_what_does_not_stream_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "both", layers=[LSTM(4)], feedback="direct+lateral", bidirectional=True)
    with pytest.raises(UsageError, match=r"both: a bidirectional network cannot step.*stream it"):
        Session.open(tmp_path / "both")
    wiring = Wiring.build(1, [LSTM(1)]).to_dict()
    write_model(tmp_path / "classes", {"task": "classify", "wiring": wiring}, {})
    with pytest.raises(UsageError, match="a model for classify does not stream"):
        Session.open(tmp_path / "classes")
    with pytest.raises(ModelFileError, match="there is no such model file"):
        Session.open(tmp_path / "nothing")
    write_model(tmp_path / "empty", {"task": "network", "wiring": wiring}, {})
    with pytest.raises(ModelFileError, match="lacks the weight"):
        Session.open(tmp_path / "empty")


def test_what_an_event_and_an_answer_hold(session: Session) -> None:
    about = session.describe()
    assert json.loads(json.dumps(about)) == about
    assert about["task"] == "network"
    assert about["stream"] == ["stream"]
    x, y = (about[role]["properties"][name] for role, name in (("event", "x"), ("answer", "y")))
    assert (x["minItems"], x["maxItems"], y["minItems"]) == (WIDTH, WIDTH, 2)


def held() -> int:
    """Bytes of Python's objects, exactly, at a cost for each."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def resident() -> int:
    """Bytes of the whole process, by pages, for nothing."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def grown(session: Session, steps: int, *, warm_up: int, measure: Callable[[], int]) -> int:
    """Bytes that are held after so many more steps of one stream."""
    event = some_events(1)[0]
    state = session.start()
    for _ in range(warm_up):
        state, _ = session.step(state, event)
    before = measure()
    for _ in range(steps):
        state, _ = session.step(state, event)
    return measure() - before


def test_thousands_of_steps_hold_no_memory(session: Session) -> None:
    tracemalloc.start()
    try:
        assert grown(session, 3000, warm_up=100, measure=held) < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_million_steps_hold_no_memory(session: Session) -> None:
    bytes_a_step = 4
    steps = 1_000_000
    assert grown(session, steps, warm_up=10_000, measure=resident) < bytes_a_step * steps
