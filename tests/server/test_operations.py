"""Running a server: metrics, logs, health, signals, expiry."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import httpx
import pytest

from noria.client import Client
from noria.errors import ServerError
from noria.server.logs import _JsonFormatter
from tests.commands import result
from tests.server.nets import event, events, write_model
from tests.server.processes import ServerProcess, serving


def metrics(server: ServerProcess) -> dict[str, float]:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def test_what_happened_is_counted(model_path: Path, tmp_path: Path) -> None:
    with serving(model_path, "--store", f"sqlite:{tmp_path / 'streams.db'}") as server:
        with Client(server.url) as client:
            stream = client.stream("gru", "a")
            stream.send(event("a", 1))
            stream.send_many(events("a", 2, 11))
            with pytest.raises(ServerError):
                stream.send({"x": [1]})
            with pytest.raises(ServerError):
                client.stream("other", "a").send({})
        found = metrics(server)
        assert found['noria_events_total{model="gru"}'] == 11
        assert found['noria_problems_total{problem="refused-event"}'] == 1
        assert found['noria_problems_total{problem="unknown-model"}'] == 1
        assert found["noria_batch_events_sum"] == 11
        assert found["noria_commit_seconds_count"] == found["noria_step_seconds_count"]
        assert found["noria_request_seconds_count"] == 3
        assert found["noria_cached_streams"] == 1
        assert found["noria_queue_bytes"] == 0
        assert found["noria_connections"] == 0


def test_the_log_is_json_line_by_line(model_path: Path, tmp_path: Path) -> None:
    with serving(model_path, "--store", f"sqlite:{tmp_path / 'streams.db'}") as server:
        assert server.stop() == 0
        assert server.errors == []
        assert [line["message"] for line in server.log] == ["listening", "draining", "stopped"]
        first = server.log[0]
        assert first["models"] == ["gru@1"]
        assert first["url"] == server.url
        for line in server.log:
            assert (line["level"], line["logger"]) == ("info", "noria.server.run")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_a_stored_state_that_is_damaged_is_told_and_harms_no_other_stream(
    model_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "streams.db"
    with serving(model_path, "--store", f"sqlite:{path}") as server:
        with Client(server.url) as client:
            client.stream("gru", "a").send(event("a", 1))
        server.stop()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE streams SET state = x'00'")
    connection.close()
    store = f"sqlite:{path}"
    with serving(model_path, "--store", store) as server, Client(server.url) as client:
        with pytest.raises(ServerError, match="damaged") as raised:
            client.stream("gru", "a").hidden()
        assert raised.value.kind == "refused-state"
        client.stream("gru", "b").send(event("b", 1))
        client.stream("gru", "a").delete()
        client.stream("gru", "a").send(event("a", 1))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(
    model_path: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with serving(model_path, "--store", f"sqlite:{tmp_path / 'streams.db'}") as server:
        with Client(server.url) as client:
            client.stream("gru", "a").send(event("a", 1))
        assert server.stop(number) == code
    # everything is in the one file
    assert [path.name for path in tmp_path.iterdir()] == ["streams.db"]


def test_while_it_drains_it_is_not_ready(model_path: Path, tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'streams.db'}"
    with (
        serving(model_path, "--store", store, "--batch-wait-ms", "1000") as server,
        ThreadPoolExecutor(1) as pool,
    ):
        with httpx.Client(base_url=server.url, trust_env=False) as http, Client(server.url) as late:
            assert http.get("/readyz").status_code == 200
            url = f"{server.url}/v1/models/gru/streams/a/events"
            event = {"seq": 1, "x": [1, 2, 3]}
            sent = pool.submit(httpx.post, url, json=event, trust_env=False)
            while metrics(server)["noria_queue_bytes"] == 0:
                assert not sent.done(), "the event was taken too fast for this test"
                time.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            ready = http.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["type"] == "urn:noria:problem:draining"
            assert http.get("/healthz").status_code == 200
            late._timeout_s = 0
            with pytest.raises(ServerError, match="about to stop"):
                late.stream("gru", "b")._send(b'{"seq": 1, "x": [1, 2, 3]}', 1)
            assert sent.result(20).status_code == 200
        assert server.process.wait(20) == 0


def test_streams_without_events_expire(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    arguments = (model_path, "--store", f"sqlite:{path}")
    with serving(*arguments) as server:
        with Client(server.url) as client:
            for name in ("old", "new"):
                client.stream("gru", name).send(event(name, 1))
        server.stop()
    connection = apsw.Connection(str(path))
    day = "UPDATE {} SET touched_s = touched_s - 86400 WHERE id = (SELECT id FROM streams WHERE"
    for table in ("journal", "streams"):
        connection.execute(f"{day.format(table)} stream = 'old')")
    connection.close()
    with serving(*arguments, "--expire-after", "12h") as server, Client(server.url) as client:
        deadline = time.monotonic() + 10
        while client.stream("gru", "old").seq and time.monotonic() < deadline:
            time.sleep(0.05)
        assert client.stream("gru", "old").seq == 0
        assert client.stream("gru", "new").seq == 1
        (line,) = [line for line in server.log if line["message"] == "streams expired"]
        assert line["streams"] == 1
    assert b"old" not in path.read_bytes()


def test_what_keeps_a_server_from_starting_is_told_in_a_line(
    model_path: Path, tmp_path: Path
) -> None:
    taken, free = (f"sqlite:{tmp_path / name}" for name in ("taken.db", "free.db"))
    with serving(model_path, "--store", taken) as server:
        port = server.url.rpartition(":")[2]
        for arguments, message in (
            (("--store", free, "--port", port), f"cannot listen at 127.0.0.1:{port}"),
            (("--store", taken, "--port", "0"), "open in another server"),
            (("--store", "postgres://nobody@127.0.0.1:1/none", "--port", "0"), "cannot connect"),
        ):
            command = [sys.executable, "-m", "noria", "serve", str(model_path), *arguments]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
            assert (ended.returncode, len(lines)) == (4, 1), (arguments, lines)
            assert message in lines[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "name a model file"),
        ("FOLDER/nothing.noria", 3, "no such model file"),
        ("MODEL --store FOLDER/x", 2, "expected sqlite:PATH"),
        ("a@1=MODEL a@1=MODEL", 2, "two models are called a@1"),
        ("a+b=MODEL", 2, "must be a name"),
        ("MODEL --port 70000", 2, "--port 70000"),
        ("MODEL --expire-after soon", 2, "--expire-after soon"),
        ("MODEL --batch-wait-ms -1", 2, "--batch-wait-ms -1"),
        ("MODEL --keep-answers 0", 2, "--keep-answers 0"),
        ("MODEL --token-file FOLDER/no", 2, "--token-file"),
        ("MODEL --host 0.0.0.0", 2, "needs --token-file"),
    ],
)
def test_a_command_that_cannot_be_meant_is_told_in_a_line(
    model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    text = arguments.replace("MODEL", str(model_path)).replace("FOLDER", str(tmp_path))
    found, _, error = result(capsys, ["serve", *text.split()])
    assert (found, len(error.splitlines())) == (code, 1), error
    assert message in error


def test_a_store_of_another_model_is_told(model_path: Path, tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'streams.db'}"
    with serving(model_path, "--store", store) as server, Client(server.url) as client:
        client.stream("gru", "a").send(event("a", 1))
        server.stop()
    other = write_model(tmp_path / "other.noria", seed=3)
    with serving(f"gru={other}", "--store", store) as server, Client(server.url) as client:
        with pytest.raises(ServerError, match="serve that file too") as raised:
            client.stream("gru", "a").send(event("a", 2))
        assert raised.value.kind == "other-model"


def test_the_log_has_only_json_even_of_what_fails(tmp_path: Path) -> None:

    try:
        raise ValueError("of no use")
    except ValueError:
        record = logging.LogRecord("a", 40, "f", 1, "it %s", ("failed",), sys.exc_info())
    record.stream = object()
    line = json.loads(_JsonFormatter().format(record))
    assert line["message"] == "it failed"
    assert "ValueError: of no use" in line["exception"]
    assert line["stream"].startswith("<object")
