"""The HTTP routes of a real server."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import noria
from noria.runtime import Session
from tests.server.nets import event, events, uninterrupted, write_model
from tests.server.processes import ServerProcess, serving


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = tmp_path_factory.mktemp("http") / "streams.db"
    with serving(model_path, "--store", f"sqlite:{store}") as process:
        yield process


@pytest.fixture
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


@pytest.fixture
def stream(request: pytest.FixtureRequest) -> str:
    """A stream of the test's own."""
    return "stream-" + re.sub(r"[^A-Za-z0-9]", "-", request.node.name)[:100]


def path(stream: str, part: str = "", model: str = "gru") -> str:
    return f"/v1/models/{model}/streams/{stream}{part}"


def numbered(stream: str, first: int, last: int) -> list[dict[str, Any]]:
    return [{"seq": seq, **event(stream, seq)} for seq in range(first, last + 1)]


def answers(session: Session, stream: str, first: int, last: int) -> list[dict[str, Any]]:
    every = enumerate(uninterrupted(session, stream), 1)
    return [{"seq": seq, **answer} for seq, answer in itertools.islice(every, first - 1, last)]


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """A problem document, after checking it."""
    document: dict[str, Any] = response.json()
    assert (response.status_code, document["type"]) == (status, f"urn:noria:problem:{kind}")
    assert response.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def test_an_event_and_a_list_of_events(http: httpx.Client, session: Session, stream: str) -> None:
    first = http.post(path(stream, "/events"), json=numbered(stream, 1, 1)[0])
    assert first.status_code == 200
    assert first.json() == answers(session, stream, 1, 1)[0]
    several = http.post(path(stream, "/events"), json=numbered(stream, 2, 9))
    assert several.json() == answers(session, stream, 2, 9)
    assert http.post(path(stream, "/events"), json=numbered(stream, 4, 12)).json() == answers(
        session, stream, 4, 12
    )
    where = http.get(path(stream)).json()
    assert where == {
        "stream": stream,
        "model": "gru",
        "version": "1",
        "sha256": session.sha256,
        "seq": 12,
    }


def test_a_gap_and_bad_events(http: httpx.Client, session: Session, stream: str) -> None:
    def post(content: Any) -> httpx.Response:
        if isinstance(content, bytes):
            return http.post(path(stream, "/events"), content=content)
        return http.post(path(stream, "/events"), json=content)

    gap = problem(post({"seq": 2, "x": [1, 2, 3]}), 409, "sequence-gap")
    assert gap["expected"] == 1
    for bad in (b"", b"{", b"[]", b"NaN", b"7", b"null", b'{"x": [1, 2, 3]}', b"[" * 5000, b"\xff"):
        problem(post(bad), 400, "malformed")
    for seq in (0, -1, 1.0, True, "1", None, 2**53):
        problem(post({"seq": seq, "x": [1, 2, 3]}), 400, "malformed")
    for wrong in ([{"seq": 1, "x": [1, 2, 3]}, {"seq": 3, "x": [1, 2, 3]}], [[]]):
        problem(post(wrong), 400, "malformed")
    for x in ([1, 2], [1, 2, 1e39], "x", None, [1, 2, [3]]):
        problem(post({"seq": 1, "x": x}), 422, "refused-event")
    problem(post([{"seq": seq, "x": [1, 2, 3]} for seq in range(1, 1026)]), 413, "too-large")
    problem(post(b" " * (1 << 20) + b"{}"), 413, "too-large")
    problem(http.get(path(stream)), 404, "unknown-stream")
    assert post(numbered(stream, 1, 1)).json() == answers(session, stream, 1, 1)


def test_a_state_goes_out_and_comes_in(http: httpx.Client, session: Session, stream: str) -> None:
    http.post(path(stream, "/events"), json=numbered(stream, 1, 20))
    saved = http.get(path(stream, "/state")).json()
    assert (saved["seq"], saved["sha256"]) == (20, session.sha256)
    state, _ = session.feed(session.start(), events(stream, 1, 20))
    assert base64.b64decode(saved["state"]) == session.state_to_bytes(state)
    hidden = http.get(path(stream, "/hidden")).json()
    found = {name: array.tolist() for name, array in session.hidden(state).items()}
    assert hidden == {"seq": 20, "hidden": found}
    copy = f"{stream}-copy"
    assert http.put(path(copy, "/state"), json=saved).status_code == 204
    more = http.post(path(copy, "/events"), json=numbered(stream, 21, 30))
    assert more.json() == answers(session, stream, 21, 30)


def test_a_bad_state_is_refused(http: httpx.Client, stream: str, tmp_path: Path) -> None:
    http.post(path(stream, "/events"), json=numbered(stream, 1, 3))
    saved = http.get(path(stream, "/state")).json()
    data = base64.b64decode(saved["state"])
    other = Session.open(write_model(tmp_path / "other.noria", seed=5))
    for bad in (
        data[:-1],
        data[:60] + bytes([data[60] ^ 1]) + data[61:],
        other.state_to_bytes(other.start()),
        b"",
    ):
        state = {**saved, "state": base64.b64encode(bad).decode()}
        problem(http.put(path(stream, "/state"), json=state), 422, "refused-state")
    for change in ({"seq": -1}, {"seq": "1"}, {"state": "%"}, {"state": 7}):
        problem(http.put(path(stream, "/state"), json={**saved, **change}), 400, "malformed")
    problem(http.put(path(stream, "/state"), json=[]), 400, "malformed")
    assert http.get(path(stream, "/state")).json() == saved


def test_a_deleted_stream_is_gone(http: httpx.Client, session: Session, stream: str) -> None:
    http.post(path(stream, "/events"), json=numbered(stream, 1, 5))
    assert http.delete(path(stream)).status_code == 204
    for part in ("", "/state", "/hidden"):
        problem(http.get(path(stream, part)), 404, "unknown-stream")
    problem(http.delete(path(stream)), 404, "unknown-stream")
    again = http.post(path(stream, "/events"), json=numbered(stream, 1, 2))
    assert again.json() == answers(session, stream, 1, 2)


def test_what_is_served(http: httpx.Client, session: Session) -> None:
    (model,) = http.get("/v1/models").json()
    assert model == {
        "name": "gru",
        "version": "1",
        "sha256": session.sha256,
        **session.describe(),
    }
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("target", "status", "kind"),
    [
        ("/nothing", 404, "not-found"),
        ("/v1/models/other/streams/a", 404, "unknown-model"),
        ("/v1/models/gru@2/streams/a", 404, "unknown-model"),
        ("/v1/models/gru/streams/a%20b", 400, "malformed"),
        ("/v1/models/gru/streams/" + 129 * "a", 400, "malformed"),
        ("/v1/models/gru/streams/..%2f..%2fetc%2fpasswd", 404, "not-found"),
        ("/v1/models/..%2fgru/streams/a", 404, "not-found"),
        ("/v1/models/gru/streams/a/events", 405, "method-not-allowed"),
    ],
)
def test_what_is_not_there(http: httpx.Client, target: str, status: int, kind: str) -> None:
    problem(http.get(target), status, kind)


def test_versions(model_path: Path, session: Session, tmp_path: Path) -> None:
    newer = write_model(tmp_path / "newer.noria", seed=1)
    models = (f"gru@1={model_path}", f"gru@2={newer}", f"other={model_path}")
    with (
        serving(*models, "--store", f"sqlite:{tmp_path / 'streams.db'}") as server,
        httpx.Client(base_url=server.url, trust_env=False) as http,
    ):
        assert [(one["name"], one["version"]) for one in http.get("/v1/models").json()] == [
            ("gru", "1"),
            ("gru", "2"),
            ("other", "1"),
        ]
        old = http.post(path("old", "/events", "gru@1"), json=numbered("old", 1, 2))
        assert old.json() == answers(session, "old", 1, 2)
        new = http.post(path("new", "/events"), json=numbered("new", 1, 2))
        assert new.json() == answers(Session.open(newer), "new", 1, 2)
        elsewhere = http.post(path("old", "/events", "other"), json=numbered("old", 1, 1))
        assert elsewhere.json() == answers(session, "old", 1, 1)
        wrong = http.post(path("old", "/events", "gru@2"), json=numbered("old", 3, 3))
        problem(wrong, 409, "other-model")
        assert http.get(path("old")).json()["version"] == "1"


def test_a_deleted_stream_leaves_no_byte_on_the_disk(model_path: Path, tmp_path: Path) -> None:
    store = tmp_path / "streams.db"
    name = "the-secret-stream"

    def found() -> bool:
        return any(name.encode() in file.read_bytes() for file in tmp_path.iterdir())

    with (
        serving(model_path, "--store", f"sqlite:{store}") as server,
        httpx.Client(base_url=server.url, trust_env=False) as http,
    ):
        http.post(path(name, "/events"), json=numbered(name, 1, 5))
        assert found()
        http.delete(path(name))
        assert not found()
        assert server.stop() == 0
    assert not found()


def test_a_large_state_is_journalled_through_kills(tmp_path: Path) -> None:
    model = tmp_path / "large.noria"
    noria.Network(3, [noria.RNN(5000)], feedback="direct", output_size=2).save(model)
    session = Session.open(model)
    assert len(session.state_to_bytes(session.start())) > 16384
    got = []
    for first in (1, 6, 7):
        with (
            serving(model, "--store", f"sqlite:{tmp_path / 'streams.db'}") as server,
            httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http,
        ):
            last = {1: 5, 6: 6, 7: 10}[first]
            sent = http.post(path("a", "/events", "large"), json=numbered("a", first, last))
            got += sent.json()
    assert got == answers(session, "a", 1, 10)
