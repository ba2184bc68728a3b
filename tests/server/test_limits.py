"""How much of everything a real server takes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from noria.client import AsyncClient, Client
from noria.runtime import Session
from tests.server.battering import resident_mb
from tests.server.nets import event, events, uninterrupted
from tests.server.processes import ServerProcess, serving


def sockets(server: ServerProcess) -> str:
    return server.url.replace("http", "ws") + "/v1/models/gru/events"


async def listen(one: ClientConnection) -> AsyncIterator[str | bytes]:
    """What comes until the connection is closed, in whatever way."""
    with contextlib.suppress(ConnectionClosed):
        async for message in one:
            yield message


def store(folder: Path) -> str:
    return f"sqlite:{folder / 'streams.db'}"


def test_overload_is_told_and_the_queue_stays_bounded(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    limits = {"queue_bytes": 20_000}
    arguments = (model_path, "--store", store(tmp_path), "--batch-wait-ms", "1000")
    with serving(*arguments, limits=limits) as server:

        async def run() -> None:
            async with (
                connect(sockets(server), proxy=None) as one,
                httpx.AsyncClient(base_url=server.url, trust_env=False) as http,
            ):
                for seq in range(1, 60):
                    await one.send(orjson.dumps({"stream": "a", "seq": seq, **event("a", seq)}))
                several = [{"seq": seq, **event("b", seq)} for seq in range(1, 20)]
                refused = await http.post("/v1/models/gru/streams/b/events", json=several)
                assert refused.status_code == 429
                assert refused.headers["retry-after"] == "1"
                answers = [orjson.loads(message) async for message in listen(one)]
                assert one.close_code == 1013
                taken = [answer for answer in answers if "y" in answer]
                expected = itertools.islice(uninterrupted(session, "a"), len(taken))
                assert [answer["y"] for answer in taken] == [one["y"] for one in expected]
                assert 5 < len(taken) < 50
                problems = {one["problem"]["type"] for one in answers if "problem" in one}
                assert problems == {"urn:noria:problem:overloaded"}
            # a client waits, sends again, and loses nothing
            async with AsyncClient(server.url, "gru") as client:
                stream = await client.stream("c")
                sends = [stream.send(event("c", seq)) for seq in range(1, 51)]
                answers = await asyncio.gather(*sends)
                every = itertools.islice(uninterrupted(session, "c"), 50)
                assert [answer["y"] for answer in answers] == [one["y"] for one in every]

        asyncio.run(run())


def test_a_slow_reader_is_cut_and_the_others_do_not_notice(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    with serving(model_path, "--store", store(tmp_path)) as server:

        async def run() -> None:
            async with connect(sockets(server), proxy=None, compression=None) as slow:
                slow.transport.pause_reading()
                raw: socket.socket = slow.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                seq, until_s = 1, time.monotonic() + 60
                with contextlib.suppress(ConnectionClosed, OSError, TimeoutError):
                    while time.monotonic() < until_s:
                        numbers = range(seq, seq + 1000)
                        some = [{"stream": "slow", "seq": n, "x": [0.1, 0.2, 0.3]} for n in numbers]
                        async with asyncio.timeout(10):
                            await slow.send(orjson.dumps(some), text=True)
                        seq += 1000
                        await asyncio.sleep(0.01)
            assert "a slow reader was cut" in [line["message"] for line in server.log]
            async with AsyncClient(server.url, "gru") as client:
                stream = await client.stream("quick")
                answers = await stream.send_many(events("quick", 1, 50))
                every = itertools.islice(uninterrupted(session, "quick"), 50)
                assert [answer["y"] for answer in answers] == [one["y"] for one in every]

        before = resident_mb(server)
        asyncio.run(run())
        assert resident_mb(server) < before + 60
        with Client(server.url) as client:
            assert client.stream("gru", "slow").seq % 1000 == 0


def test_connections_are_counted(model_path: Path, tmp_path: Path) -> None:
    with serving(model_path, "--store", store(tmp_path), limits={"connections": 3}) as server:

        async def run() -> None:
            held = [await connect(sockets(server), proxy=None) for _ in range(3)]
            with pytest.raises(InvalidStatus) as raised:
                await connect(sockets(server), proxy=None)
            assert raised.value.response.status_code == 503
            assert b"too-many-connections" in (raised.value.response.body or b"")
            await held.pop().close()
            await asyncio.sleep(0.1)
            held.append(await connect(sockets(server), proxy=None))
            # of all connections, as many again
            host, port = server.url.removeprefix("http://").split(":")
            idle = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
            idle.append(await asyncio.open_connection(host, int(port)))
            with contextlib.suppress(ConnectionResetError):
                assert await idle[-1][0].read(1) == b""
            for _, writer in idle:
                writer.close()
                with contextlib.suppress(ConnectionResetError):
                    await writer.wait_closed()
            for one in held:
                await one.close()

        asyncio.run(run())


def test_who_connects_and_says_nothing_is_cut(model_path: Path, tmp_path: Path) -> None:
    with serving(model_path, "--store", store(tmp_path), limits={"request_s": 0.5}) as server:
        host, port = server.url.removeprefix("http://").split(":")
        head = b"POST /v1/models/gru/streams/a/events HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        for begun in (b"", b"GET / HT", head):
            with socket.create_connection((host, int(port)), timeout=10) as silent:
                silent.sendall(begun)
                with contextlib.suppress(ConnectionResetError):
                    assert silent.recv(1) == b""
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(head + b"content-length: 100\r\n\r\n{")
            assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_message_of_the_largest_size_is_taken(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    with serving(model_path, "--store", store(tmp_path)) as server:
        numbered = [{"seq": seq, **event("a", seq)} for seq in range(1, 1025)]
        with httpx.Client(base_url=server.url, trust_env=False) as http:
            answers = http.post("/v1/models/gru/streams/a/events", json=numbered).json()
            assert http.post("/v1/models/gru/streams/a/events", json=numbered).json() == answers
        every = itertools.islice(uninterrupted(session, "a"), 1024)
        assert [answer["y"] for answer in answers] == [one["y"] for one in every]
