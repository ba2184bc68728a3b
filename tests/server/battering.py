"""Hostile messages to a real server, beside a stream that must not notice.

python -m tests.server.battering --count 100000
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import tempfile
from collections import Counter
from pathlib import Path

import httpx
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from noria.client import AsyncClient
from noria.runtime import Session
from tests.mutations import damaged, mutated_message
from tests.server.nets import event, events, uninterrupted, write_model
from tests.server.processes import ServerProcess, serving

WINDOW = 32
"""Messages under way."""


async def batter(server: ServerProcess, model: Path, count: int, first: int = 0) -> Counter[str]:
    """Send mutated messages and states.

    Args:
        server: A server of `model`, called gru.
        model: The model file.
        count: How many messages; a tenth as many states.
        first: Number of the first.

    Returns:
        How often what came of it. An answer that is missing, or not what an uninterrupted stream
        would have had, is an AssertionError.
    """
    session = Session.open(model)
    found = Counter[str]()
    over = asyncio.Event()
    async with AsyncClient(server.url, "gru") as client:
        innocent = asyncio.create_task(_watch(client, session, over))
        await _messages(server.url, count, first, found)
        await asyncio.to_thread(_states, server.url, session, count // 10, first, found)
        over.set()
        found["answers of the stream beside it"] = await innocent
    assert server.process.poll() is None
    return found


async def _watch(client: AsyncClient, session: Session, over: asyncio.Event) -> int:
    stream = await client.stream("innocent")
    expected = uninterrupted(session, "innocent")
    begun = stream.seq
    for _ in range(begun):
        next(expected)
    while not over.is_set():
        answer = await stream.send(event("innocent", stream.seq + 1))
        assert answer["y"] == next(expected)["y"]
        await asyncio.sleep(0.005)
    return stream.seq - begun


async def _messages(url: str, count: int, first: int, found: Counter[str]) -> None:
    where = url.replace("http", "ws") + "/v1/models/gru/events"
    given = events("hostile", 1, 8)
    number = first
    while number < first + count:
        async with connect(where, compression=None, max_size=None, proxy=None) as socket:
            try:
                while number < first + count:
                    some = min(WINDOW, first + count - number)
                    for _ in range(some):
                        chance, names = random.Random(f"message-{number}"), (f"m{number}", "n")
                        data = mutated_message(chance, given, names)
                        number += 1
                        await socket.send(data, text=_is_text(data) or number % 50 == 0)
                    for _ in range(some):
                        reply = orjson.loads(await asyncio.wait_for(socket.recv(), 30))
                        item = reply[0] if isinstance(reply, list) else reply
                        problem = item.get("problem")
                        found[problem["type"].rpartition(":")[2] if problem else "taken"] += 1
                        assert problem is None or problem["status"] < 500, problem
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else None
                # what comes after a message that ends a connection can lose the reason on its way
                assert code in (1007, 1009, None), f"closed with {code} after message {number}"
                found["closed"] += 1


def _is_text(data: bytes) -> bool:
    """Whether a text frame may hold it: one that may not ends the connection."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _states(url: str, session: Session, count: int, first: int, found: Counter[str]) -> None:
    whole = session.state_to_bytes(session.feed(session.start(), events("hostile", 1, 3))[0])
    with httpx.Client(base_url=url, trust_env=False) as http:
        for number in range(first, first + count):
            chance = random.Random(f"state-{number}")
            body = orjson.dumps({"seq": 3, "state": base64.b64encode(whole).decode()})
            content = damaged(chance, body)
            response = http.put("/v1/models/gru/streams/hostile/state", content=content)
            assert response.status_code < 500, response.text
            found[f"state: {response.status_code}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "gru.noria")
        with serving(model, "--store", f"sqlite:{folder}/streams.db") as server:
            before = resident_mb(server)
            found = asyncio.run(batter(server, model, options.count, options.first))
            print(f"memory {before:.0f} MB before, {resident_mb(server):.0f} MB after")
    for what, times in sorted(found.items()):
        print(f"{times:9,} {what}")


def resident_mb(server: ServerProcess) -> float:
    """Memory of a server's process."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
