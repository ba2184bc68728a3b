"""The WebSocket of a real server."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from noria.runtime import Session
from tests.server.nets import event, uninterrupted
from tests.server.processes import ServerProcess, serving


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = tmp_path_factory.mktemp("socket") / "streams.db"
    with serving(model_path, "--store", f"sqlite:{store}") as process:
        yield process


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A stream of the test's own."""
    return re.sub(r"[^A-Za-z0-9]", "-", request.node.name)[:100]


class Speaker:
    """Speaks the protocol over one connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, message: Any) -> None:
        raw = message if isinstance(message, bytes | str) else orjson.dumps(message)
        await self.socket.send(raw, text=True if isinstance(raw, bytes) else None)

    async def hear(self) -> Any:
        return orjson.loads(await asyncio.wait_for(self.socket.recv(), 20))

    async def ask(self, message: Any) -> Any:
        await self.say(message)
        return await self.hear()


def speak(url: str, body: Callable[[Speaker], Awaitable[None]], **how: Any) -> None:
    async def run() -> None:
        where = url.replace("http", "ws") + "/v1/models/gru/events"
        async with connect(where, compression=None, max_size=None, proxy=None, **how) as socket:
            await body(Speaker(socket))

    asyncio.run(run())


def sent(stream: str, first: int, last: int) -> list[dict[str, Any]]:
    return [{"stream": stream, "seq": seq, **event(stream, seq)} for seq in range(first, last + 1)]


def expected(session: Session, stream: str, first: int, last: int) -> list[dict[str, Any]]:
    every = itertools.islice(uninterrupted(session, stream), first - 1, last)
    return [{"stream": stream, "seq": seq, **one} for seq, one in enumerate(every, first)]


def kind(item: dict[str, Any]) -> str:
    return str(item["problem"]["type"]).removeprefix("urn:noria:problem:")


def test_events_and_lists_of_several_streams(
    server: ServerProcess, session: Session, name: str
) -> None:
    a, b = f"{name}-a", f"{name}-b"

    async def body(speaker: Speaker) -> None:
        assert await speaker.ask(sent(a, 1, 1)[0]) == expected(session, a, 1, 1)[0]
        assert await speaker.ask(sent(a, 2, 4)) == expected(session, a, 2, 4)
        mixed = list(itertools.chain(*zip(sent(a, 5, 7), sent(b, 1, 3), strict=True)))
        found = await speaker.ask(mixed)
        assert found == [*expected(session, a, 5, 7), *expected(session, b, 1, 3)]
        for one in sent(b, 4, 30):
            await speaker.say(one)
        assert [await speaker.hear() for _ in range(27)] == expected(session, b, 4, 30)
        binary = orjson.dumps(sent(a, 8, 8)[0])
        await speaker.socket.send(binary)
        assert await speaker.hear() == expected(session, a, 8, 8)[0]

    speak(server.url, body)


def test_a_reconnect_goes_on_after_the_last_acknowledged_seq(
    server: ServerProcess, session: Session, name: str
) -> None:
    async def lose(speaker: Speaker) -> None:
        await speaker.ask(sent(name, 1, 5))
        await speaker.say(sent(name, 6, 8))
        speaker.socket.transport.abort()

    async def go_on(speaker: Speaker) -> None:
        assert await speaker.ask(sent(name, 6, 8)) == expected(session, name, 6, 8)
        assert await speaker.ask(sent(name, 1, 9)) == expected(session, name, 1, 9)

    speak(server.url, lose)
    speak(server.url, go_on)


def test_what_is_refused_has_the_event_that_it_was(
    server: ServerProcess, session: Session, name: str
) -> None:
    async def body(speaker: Speaker) -> None:
        gap = await speaker.ask(sent(name, 3, 3)[0])
        assert (gap["stream"], gap["seq"], kind(gap)) == (name, 3, "sequence-gap")
        assert gap["problem"]["expected"] == 1
        several = await speaker.ask(sent(name, 3, 4))
        assert [(item["seq"], kind(item)) for item in several] == [
            (3, "sequence-gap"),
            (4, "sequence-gap"),
        ]
        bad = await speaker.ask({"stream": name, "seq": 1, "x": [1e39, 0, 0]})
        assert (bad["seq"], kind(bad)) == (1, "refused-event")
        assert await speaker.ask(sent(name, 1, 1)[0]) == expected(session, name, 1, 1)[0]

    speak(server.url, body)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"x"',
        b'{"seq": 1}',
        b'{"stream": "a"}',
        b'{"stream": 1, "seq": 1}',
        b'{"stream": "../a", "seq": 1}',
        b'{"stream": "a", "seq": 1e0}',
        b'{"stream": "a", "seq": NaN}',
        b"[[1]]",
        b"[" * 100_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
    ],
    ids=range(15),
)
def test_a_malformed_message_is_answered_and_the_connection_goes_on(
    server: ServerProcess, session: Session, name: str, message: bytes
) -> None:
    async def body(speaker: Speaker) -> None:
        found = await speaker.ask(message)
        assert kind(found[0] if isinstance(found, list) else found) == "malformed"
        assert await speaker.ask(sent(name, 1, 1)) == expected(session, name, 1, 1)

    speak(server.url, body)


def test_a_malformed_list_is_answered_item_by_item(server: ServerProcess, name: str) -> None:
    async def body(speaker: Speaker) -> None:
        wrong = [*sent(name, 1, 2), *sent(name, 4, 4), 7]
        found = await speaker.ask(wrong)
        assert [(item.get("stream"), item.get("seq")) for item in found] == [
            (name, 1),
            (name, 2),
            (name, 4),
            (None, None),
        ]
        assert {kind(item) for item in found} == {"malformed"}
        long = await speaker.ask([{"stream": name, "seq": seq} for seq in range(1, 1026)])
        assert kind(long) == "too-large"

    speak(server.url, body)


def test_a_message_that_is_too_long_ends_the_connection(server: ServerProcess) -> None:
    async def body(speaker: Speaker) -> None:
        # In two fragments, of which the second goes too far: a server that hangs up on bytes it
        # has not read resets the connection, perhaps before the reason has arrived.
        with pytest.raises(ConnectionClosed) as raised:
            await asyncio.gather(speaker.socket.send(["[".ljust(1 << 20), "]"]), speaker.hear())
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1009

    speak(server.url, body)


def test_text_that_is_not_utf8_ends_the_connection(server: ServerProcess) -> None:
    async def body(speaker: Speaker) -> None:
        await speaker.socket.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed) as raised:
            await speaker.hear()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1007

    speak(server.url, body)


def test_an_unknown_model_is_refused_before_the_connection(server: ServerProcess) -> None:
    async def run() -> None:
        where = server.url.replace("http", "ws") + "/v1/models/other/events"
        with pytest.raises(InvalidStatus) as raised:
            await connect(where, proxy=None)
        assert raised.value.response.status_code == 404
        assert b"unknown-model" in (raised.value.response.body or b"")

    asyncio.run(run())


def test_a_drain_answers_what_was_taken_and_says_goodbye(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    url = f"sqlite:{tmp_path / 'streams.db'}"
    with serving(model_path, "--store", url, "--batch-wait-ms", "300") as server:

        async def body(speaker: Speaker) -> None:
            await speaker.say(sent("a", 1, 5))
            await asyncio.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            assert await speaker.hear() == expected(session, "a", 1, 5)
            with pytest.raises(ConnectionClosed) as raised:
                await speaker.hear()
            assert raised.value.rcvd is not None
            assert raised.value.rcvd.code == 1012

        speak(server.url, body)
        assert server.process.wait(20) == 0
        assert [line["message"] for line in server.log][-2:] == ["draining", "stopped"]
