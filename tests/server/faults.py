"""Servers that are killed under load, and the proof that nobody notices.

python -m tests.server.faults sqlite --cycles 200
python -m tests.server.faults postgres --cycles 200      two servers, one of them killed
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import random
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from noria.client import AsyncClient, AsyncStream
from noria.runtime import Session
from tests.server.databases import running_postgres
from tests.server.nets import event, uninterrupted, write_model
from tests.server.processes import ServerProcess


@dataclasses.dataclass
class Outcome:
    """What a run of kills saw.

    Attributes:
        kills: How many processes were killed.
        events: Events that were acknowledged.
        under_way: Kills that hit while events had no answer yet.
    """

    kills: int = 0
    events: int = 0
    under_way: int = 0


class Farm:
    """Servers that share a store, behind one address that leads to any of them.

    Args:
        model: The model file.
        store: The store's URL.
        count: How many servers.
    """

    def __init__(self, model: Path, store: str, count: int) -> None:
        self._arguments = (model, "--store", store)
        self._count = count
        self._links: set[asyncio.Task[None]] = set()
        self.servers: list[ServerProcess | None] = [None] * count

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """All servers up; gives the shared address."""
        await asyncio.gather(*(self.start(index) for index in range(self._count)))
        proxy = await asyncio.start_server(self._link, "127.0.0.1", 0)
        try:
            host, port = proxy.sockets[0].getsockname()
            yield f"http://{host}:{port}"
        finally:
            proxy.close()
            for task in self._links:
                task.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)
            for index in range(self._count):
                await self.stop(index)

    async def start(self, index: int) -> None:
        """Start a server."""
        self.servers[index] = await asyncio.to_thread(ServerProcess, *self._arguments)

    async def stop(self, index: int, with_signal: int = signal.SIGKILL) -> None:
        """End a server."""
        server, self.servers[index] = self.servers[index], None
        if server is not None:
            await asyncio.to_thread(server.stop, with_signal)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        alive = [server for server in self.servers if server is not None]
        with contextlib.closing(writer), contextlib.suppress(OSError, IndexError):
            port = int(random.choice(alive).url.rpartition(":")[2])
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(other_writer):
                copies = [
                    asyncio.create_task(_copy(reader, other_writer)),
                    asyncio.create_task(_copy(other_reader, writer)),
                ]
                try:
                    await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for copy in copies:
                        copy.cancel()
                    await asyncio.gather(*copies, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def kill_under_load(
    model: Path, store: str, *, cycles: int, servers: int = 1, seed: int = 0, streams: int = 8
) -> Outcome:
    """Kill servers at random moments under load, and check every answer to the bit.

    Args:
        model: The model file.
        store: The store's URL.
        cycles: How many kills.
        servers: How many servers share the store; one of them is killed at a time.
        seed: Of the moments.
        streams: How many streams are under load.

    Returns:
        What happened. An answer that is missing, doubled or different by a bit is an
        AssertionError.
    """
    chance = random.Random(seed)
    session = Session.open(model)
    outcome = Outcome()
    farm = Farm(model, store, servers)
    async with farm.running() as url:
        over = asyncio.Event()
        names = [f"stream-{number}" for number in range(streams)]
        clients = [AsyncClient(url, model.stem, timeout_s=600) for _ in range(2)]
        async with clients[0], clients[1]:
            opened = [await clients[n % 2].stream(name) for n, name in enumerate(names)]
            feeds = [asyncio.create_task(_feed(one, session, over, outcome)) for one in opened]
            for _ in range(cycles):
                await asyncio.sleep(chance.uniform(0.01, 0.25))
                for feed in feeds:
                    if feed.done():
                        feed.result()
                outcome.under_way += any(one._entries for one in opened)
                index = chance.randrange(servers)
                await farm.stop(index)
                await farm.start(index)
                outcome.kills += 1
                if outcome.kills % 10 == 0:
                    print(outcome, flush=True)
            over.set()
            lasts = await asyncio.gather(*feeds)
        async with AsyncClient(url, model.stem) as last:
            for name, seq in zip(names, lasts, strict=True):
                found = (await last.stream(name)).seq
                assert found == seq, f"{name} is at {found}, but {seq} events were acknowledged"
    return outcome


async def _feed(
    stream: AsyncStream, session: Session, over: asyncio.Event, outcome: Outcome
) -> int:
    """Send events, alone and in lists, several messages at a time; compare each answer."""
    expected = uninterrupted(session, stream.name)
    sizes = itertools.cycle((1, 1, 3, 1, 7))
    seq = 0
    while not over.is_set():
        messages: list[Any] = []
        for _ in range(3):
            size = next(sizes)
            events = [event(stream.name, seq + k) for k in range(1, size + 1)]
            send = stream.send_many(events) if size > 1 else _alone(stream, events)
            messages.append(asyncio.ensure_future(send))
            await asyncio.sleep(0)  # they go out in the order they are made
            seq += size
        answers = list(itertools.chain.from_iterable(await asyncio.gather(*messages)))
        for number, answer in enumerate(answers, seq - len(answers) + 1):
            wanted = {"stream": stream.name, "seq": number, **next(expected)}
            assert answer == wanted, f"expected {wanted}, got {answer}"
        outcome.events += len(answers)
    return seq


async def _alone(stream: AsyncStream, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [await stream.send(events[0])]


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", choices=["sqlite", "postgres"])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        model = write_model(Path(folder) / "gru.noria")
        servers, store = 1, f"sqlite:{folder}/streams.db"
        if options.store == "postgres":
            servers, store = 2, stack.enter_context(running_postgres()).new_database()
        outcome = asyncio.run(
            kill_under_load(model, store, cycles=options.cycles, servers=servers, seed=options.seed)
        )
    print(f"{outcome}, {time.monotonic() - begun:.0f} s; every answer was as if uninterrupted")


if __name__ == "__main__":
    main()
