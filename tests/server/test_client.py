"""The Python clients against real servers."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noria.client import AsyncClient, Client
from noria.errors import DataError, ServerError
from noria.runtime import Session
from tests.server.faults import free_port
from tests.server.nets import event, events, uninterrupted, write_model
from tests.server.processes import ServerProcess, serving


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = tmp_path_factory.mktemp("client") / "streams.db"
    with serving(model_path, "--store", f"sqlite:{store}") as process:
        yield process


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A stream of the test's own."""
    return re.sub(r"[^A-Za-z0-9]", "-", request.node.name)[:100]


def expected(session: Session, stream: str, first: int, last: int) -> list[dict[str, Any]]:
    every = itertools.islice(uninterrupted(session, stream), first - 1, last)
    return [{"seq": seq, **one} for seq, one in enumerate(every, first)]


def named(stream: str, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"stream": stream, **answer} for answer in answers]


def meet(server: ServerProcess, body: Callable[[AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with AsyncClient(server.url, "gru") as client:
            await body(client)

    asyncio.run(run())


def test_a_client_numbers_its_events(server: ServerProcess, session: Session, name: str) -> None:
    with Client(server.url) as client:
        stream = client.stream("gru", name)
        assert stream.seq == 0
        got = [stream.send(event(name, 1))]
        got += stream.send_many(events(name, 2, 600))  # more than one message holds
        assert got == expected(session, name, 1, 600)
    with Client(server.url) as client:
        again = client.stream("gru", name)
        assert again.seq == 600
        assert again.send(event(name, 601)) == expected(session, name, 601, 601)[0]


def test_numpy_is_taken(server: ServerProcess, session: Session, name: str) -> None:
    row = np.array(event(name, 1)["x"])
    with Client(server.url) as client:
        assert client.stream("gru", name).send({"x": row}) == expected(session, name, 1, 1)[0]


@pytest.mark.parametrize(
    "bad",
    [7, [1], {"seq": 1}, {"stream": "a"}, {"x": object()}, {"x": "y" * 600_000}],
    ids=["number", "list", "seq", "stream", "object", "long"],
)
def test_what_is_no_event_is_not_sent(server: ServerProcess, name: str, bad: Any) -> None:
    with Client(server.url) as client:
        stream = client.stream("gru", name)
        with pytest.raises(DataError):
            stream.send(bad)
        with pytest.raises(DataError):
            stream.send_many([event(name, 1), bad])
        assert stream.seq == 0

    async def body(client: AsyncClient) -> None:
        with pytest.raises(DataError):
            await (await client.stream(name)).send(bad)

    meet(server, body)


def test_a_refused_event_leaves_its_seq_to_the_next(
    server: ServerProcess, session: Session, name: str
) -> None:
    with Client(server.url) as client:
        stream = client.stream("gru", name)
        stream.send(event(name, 1))
        with pytest.raises(ServerError, match=r"must be finite") as raised:
            stream.send({"x": [1e39, 0, 0]})
        assert (raised.value.kind, raised.value.status) == ("refused-event", 422)
        assert stream.send(event(name, 2)) == expected(session, name, 2, 2)[0]


def test_state_hidden_delete(server: ServerProcess, session: Session, name: str) -> None:
    with Client(server.url) as client:
        stream, copy = client.stream("gru", name), client.stream("gru", f"{name}-copy")
        stream.send_many(events(name, 1, 10))
        saved = stream.state()
        assert (saved.seq, saved.sha256) == (10, session.sha256)
        state, _ = session.feed(session.start(), events(name, 1, 10))
        assert saved.data == session.state_to_bytes(state)
        assert stream.hidden() == {k: v.tolist() for k, v in session.hidden(state).items()}
        copy.restore(saved)
        assert copy.seq == 10
        assert copy.send(event(name, 11)) == expected(session, name, 11, 11)[0]
        stream.restore(saved)
        assert stream.send(event(name, 11)) == expected(session, name, 11, 11)[0]
        stream.delete()
        assert stream.seq == 0
        with pytest.raises(ServerError, match="There is no such stream"):
            stream.state()
        with pytest.raises(ServerError):
            stream.delete()


def test_what_is_served_and_what_is_not(server: ServerProcess, session: Session) -> None:
    with Client(server.url) as client:
        assert client.models()[0]["sha256"] == session.sha256
        with pytest.raises(ServerError, match="no model 'other' here; there is gru@1"):
            client.stream("other", "a").send({})
        with pytest.raises(ServerError, match="stream must be a name"):
            client.stream("gru", "a b").send({})


def test_a_server_out_of_reach_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Client(url, timeout_s=0.2) as client,
        pytest.raises(ServerError, match="cannot be reached"),
    ):
        client.stream("gru", "a").send({})

    async def run() -> None:
        async with AsyncClient(url, "gru", timeout_s=0.2) as client:
            with pytest.raises(ServerError, match="cannot be reached"):
                await client.stream("a")

    asyncio.run(run())


def test_many_streams_over_one_socket(server: ServerProcess, session: Session, name: str) -> None:
    names = [f"{name}-{number}" for number in range(40)]

    async def body(client: AsyncClient) -> None:
        async def feed(one: str) -> None:
            stream = await client.stream(one)
            sends = [stream.send(event(one, seq)) for seq in range(1, 11)]
            answers = await asyncio.gather(*sends)
            answers += await stream.send_many(events(one, 11, 320))
            assert answers == named(one, expected(session, one, 1, 320))
            assert stream.seq == 320

        await asyncio.gather(*(feed(one) for one in names))

    meet(server, body)


def test_a_refused_event_among_many_under_way(
    server: ServerProcess, session: Session, name: str
) -> None:
    """Those behind it take its place, and none is lost."""

    async def body(client: AsyncClient) -> None:
        stream = await client.stream(name)
        given = [event(name, seq) for seq in range(1, 31)]
        for place in (20, 11, 10, 0):
            given.insert(place, {"x": [1e39, 0, 0]})
        sends = [stream.send(one) for one in given]
        results = await asyncio.gather(*sends, return_exceptions=True)
        refused = [place for place, one in enumerate(results) if isinstance(one, ServerError)]
        assert refused == [0, 11, 13, 23]
        answers = [one for one in results if isinstance(one, dict)]
        assert answers == named(name, expected(session, name, 1, 30))

    meet(server, body)


def test_a_stream_that_was_deleted_under_way_is_asked_anew(
    server: ServerProcess, session: Session, name: str
) -> None:
    async def body(client: AsyncClient) -> None:
        stream = await client.stream(name)
        await stream.send_many(events(name, 1, 5))
        with Client(server.url) as other:
            other.stream("gru", name).delete()
        for _ in range(2):
            with pytest.raises(ServerError, match="came before seq 1"):
                await stream.send(event(name, 6))
        again = await client.stream(name)
        assert await again.send_many(events(name, 1, 3)) == named(
            name, expected(session, name, 1, 3)
        )

    meet(server, body)


def test_answers_that_are_no_longer_kept(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    """The events were taken, so that the next one does not take their place."""
    store = f"sqlite:{tmp_path / 'streams.db'}"
    with serving(model_path, "--store", store, "--keep-answers", "1") as server:

        async def body(client: AsyncClient) -> None:
            stream = await client.stream("a")
            await stream.send(event("a", 1))
            with Client(server.url) as other:
                other.stream("gru", "a").send_many(events("a", 2, 3))
                other.stream("gru", "a").send(event("a", 4))
            with pytest.raises(ServerError, match="no longer kept"):
                await stream.send(event("a", 2))
            assert stream.seq == 2

        meet(server, body)


def test_clients_go_on_after_the_server_was_gone(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    port = free_port()
    arguments = (model_path, "--store", f"sqlite:{tmp_path / 'streams.db'}")
    first = ServerProcess(*arguments, port=port)

    async def run() -> None:
        async with AsyncClient(first.url, "gru") as client:
            stream = await client.stream("a")
            answers = await stream.send_many(events("a", 1, 3))
            first.stop(signal.SIGKILL)
            waiting = [asyncio.create_task(stream.send(event("a", seq))) for seq in range(4, 8)]
            await asyncio.sleep(0.2)
            assert not any(task.done() for task in waiting)
            second = await asyncio.to_thread(ServerProcess, *arguments, port=port)
            try:
                answers += await asyncio.gather(*waiting)
                assert answers == named("a", expected(session, "a", 1, 7))
                with Client(second.url) as plain:
                    other = plain.stream("gru", "a")
                    sent = other.send(event("a", 8))
                    assert sent == expected(session, "a", 8, 8)[0]
                    second.stop(signal.SIGTERM)
                    late = asyncio.create_task(asyncio.to_thread(other.send, event("a", 9)))
                    await asyncio.sleep(0.2)
                    second = await asyncio.to_thread(ServerProcess, *arguments, port=port)
                    assert await late == expected(session, "a", 9, 9)[0]
            finally:
                second.stop(signal.SIGKILL)

    asyncio.run(run())


def test_a_client_that_is_closed_lets_nobody_wait(server: ServerProcess, name: str) -> None:
    async def run() -> None:
        async with AsyncClient(server.url, "gru") as client:
            stream = await client.stream(name)
            waiting = asyncio.create_task(stream.send(event(name, 1)))
            await asyncio.sleep(0)
        with pytest.raises(ServerError, match="closed before the answer"):
            await waiting
        with pytest.raises(ServerError, match="closed"):
            await stream.send(event(name, 1))

    asyncio.run(run())


def test_another_model_is_refused_for_good(server: ServerProcess, tmp_path: Path) -> None:
    other = Session.open(write_model(tmp_path / "other.noria", seed=9))
    with Client(server.url) as client:
        stream = client.stream("gru", "other-state")
        saved = client.stream("gru", "some")
        saved.send(event("some", 1))
        state = saved.state()
        state = type(state)(state.seq, other.sha256, other.state_to_bytes(other.start()))
        with pytest.raises(ServerError, match="belongs to the model"):
            stream.restore(state)
