"""Load on a real server in its own process: throughput, latency, connections, memory, restart.

    python -m benchmarks.server_load              everything, with a SQLite store in a new folder
    python -m benchmarks.server_load memory --events 10000000

The model is a GRU with 128 neurons, 8 inputs and one output. Clients speak the protocol over plain
WebSockets, in one process of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import torch
import uvloop
from websockets.asyncio.client import ClientConnection, connect

import noria
from tests.server.processes import ServerProcess

INPUTS = 8
EVENT = [0.1234, -0.5, 0.25, 0.777, -0.9, 0.3333, 0.05, -0.125]


def write_model(folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "gru.noria"
    noria.Network(INPUTS, [noria.GRU(128)], output_size=1).save(path)
    return path


class Load:
    """Clients of one server; every answer's seq is checked."""

    def __init__(self, url: str) -> None:
        self.url = url.replace("http", "ws") + "/v1/models/gru/events"
        self.delays_s: list[float] = []

    def connect(self) -> connect:
        return connect(self.url, compression=None, max_size=None, proxy=None, open_timeout=60)

    async def converse(
        self,
        stream: str,
        messages: int,
        *,
        size: int,
        window: int,
        pause_s: float = 0.0,
        offset_s: float = 0.0,
    ) -> None:
        """Send messages of `size` events over one connection, `window` of them without answers.

        With a pause, messages are due at fixed times, the first after an offset, and a delay counts
        from when it was due.
        """
        free = asyncio.Semaphore(window)
        due: list[float] = []

        async def send(socket: ClientConnection) -> None:
            start = time.perf_counter() + offset_s
            seq = 0
            for number in range(messages):
                if pause_s:
                    due.append(start + number * pause_s)
                    await asyncio.sleep(due[-1] - time.perf_counter())
                else:
                    await free.acquire()
                    due.append(time.perf_counter())
                events = [
                    {"stream": stream, "seq": seq + k, "x": EVENT} for k in range(1, size + 1)
                ]
                seq += size
                await socket.send(orjson.dumps(events if size > 1 else events[0]), text=True)

        async with self.connect() as socket:
            sending = asyncio.create_task(send(socket))
            for number in range(messages):
                reply = orjson.loads(await socket.recv())
                last = reply[-1] if size > 1 else reply
                assert last["seq"] == (number + 1) * size, last
                assert "y" in last, last
                self.delays_s.append(time.perf_counter() - due[number])
                free.release()
            await sending

    async def together(self, connections: int, name: str, messages: int, **how: Any) -> float:
        """Many connections at once; their messages are due at times spread evenly.

        Returns:
            Seconds until all are answered.
        """
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(connections):
                offset_s = how.get("pause_s", 0.0) * number / connections
                group.create_task(
                    self.converse(f"{name}-{number}", messages, offset_s=offset_s, **how)
                )
        return time.perf_counter() - start

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.delays_s)
        return 1000 * ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


async def singles(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    await load.together(64, "warm", 10, size=1, window=8)
    before_s = cpu_s(options)
    took = await load.together(64, "single", 500, size=1, window=16)
    return {
        "single-event messages/s": round(64 * 500 / took),
        "the server's CPU, µs a message": round((cpu_s(options) - before_s) / (64 * 500) * 1e6),
    }


async def batched(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    await load.together(16, "warm", 4, size=100, window=2)
    before_s = cpu_s(options)
    took = await load.together(32, "batched", 120, size=100, window=2)
    count = 32 * 120 * 100
    return {
        "events/s in messages of 100": round(count / took),
        "the server's CPU, µs an event": round((cpu_s(options) - before_s) / count * 1e6, 1),
    }


async def latency(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    await load.together(64, "warm", 10, size=1, window=8)
    disk_ms = sync_ms(64 * 1024)
    rate, connections, seconds = 2500, 64, 8
    pause_s = connections / rate
    halves, tails, rates = [], [], []
    before = await commits(options)
    for number in range(options.rounds):
        load.delays_s.clear()
        took = await load.together(
            connections,
            f"paced-{number}",
            round(seconds / pause_s),
            size=1,
            window=1,
            pause_s=pause_s,
        )
        rates.append(round(len(load.delays_s) / took))
        halves.append(round(load.percentile_ms(50), 1))
        tails.append(round(load.percentile_ms(99), 1))
    count, seconds_in_commits = (
        now - then for now, then in zip(await commits(options), before, strict=True)
    )
    return {
        "messages/s at half load": statistics.median(rates),
        "p50 ms": statistics.median(halves),
        "p99 ms": statistics.median(tails),
        "p99 ms of each round": tails,
        "ms a commit": round(1000 * seconds_in_commits / count, 1),
        "the disk alone, 64 KiB synchronised, ms p50 and p99": disk_ms,
    }


def sync_ms(size: int, count: int = 100) -> list[float]:
    """What the disk takes for a write that is synchronised: median and 99th percentile."""
    took = []
    with tempfile.NamedTemporaryFile(dir=".") as file:
        for number in range(count):
            os.pwrite(file.fileno(), os.urandom(size), number * size)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(1000 * (time.perf_counter() - start))
    took.sort()
    return [round(took[count // 2], 1), round(took[count * 99 // 100], 1)]


async def commits(options: argparse.Namespace) -> tuple[float, float]:
    """How many commits the server has made, and the seconds they took."""
    async with httpx.AsyncClient(base_url=options.server.url, trust_env=False) as http:
        text = (await http.get("/metrics")).text
    names = ("noria_commit_seconds_count", "noria_commit_seconds_sum")
    count, seconds = (float(text.split(f"\n{name} ")[1].split()[0]) for name in names)
    return count, seconds


async def connections(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    count, open_at_once = 1000, 0
    async with contextlib.AsyncExitStack() as stack:
        sockets = []
        for number in range(0, count, 100):
            some = [load.connect() for _ in range(number, number + 100)]
            sockets += await asyncio.gather(*(stack.enter_async_context(one) for one in some))
        for seq in range(1, 4):
            for number, socket in enumerate(sockets):
                event = {"stream": f"many-{number}", "seq": seq, "x": EVENT}
                await socket.send(orjson.dumps(event), text=True)
            replies = await asyncio.gather(*(socket.recv() for socket in sockets))
            open_at_once = sum(orjson.loads(reply).get("seq") == seq for reply in replies)
    return {"connections at once": count, "of them answered in the last round": open_at_once}


async def memory(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    clients, size = 32, 100
    messages = options.events // (clients * size)
    quarter = max(messages // 4, 1)
    grown = []
    start = time.perf_counter()
    await load.together(clients, "warm", 100, size=size, window=2)
    first = resident_mb(options.server.process.pid)
    for part in range(4):
        await load.together(clients, f"memory-{part}", quarter, size=size, window=2)
        load.delays_s.clear()
        grown.append(round(resident_mb(options.server.process.pid) - first, 1))
    return {
        "events": 4 * quarter * clients * size,
        "memory after warming up, MB": round(first, 1),
        "growth after each quarter, MB": grown,
        "s": round(time.perf_counter() - start),
    }


async def restart(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    count = options.streams
    start = time.perf_counter()
    await touch(load, 1, range(count))
    filled = time.perf_counter()
    options.server.stop(signal.SIGKILL)
    killed = time.perf_counter()
    options.server = await asyncio.to_thread(options.start)
    again = Load(options.server.url)
    await touch(again, 2, range(777, 778))
    ready = time.perf_counter()
    await touch(again, 3, range(777, 778))
    await touch(again, 2, [number for number in range(count) if number != 777])
    return {
        "streams": count,
        "s to begin them": round(filled - start, 1),
        "s from kill to the next durable answer": round(ready - killed, 2),
        "s for another event of every stream": round(time.perf_counter() - ready, 1),
    }


async def touch(load: Load, seq: int, numbers: Sequence[int]) -> None:
    """An event of each of many streams, in messages of 1,000."""
    async with load.connect() as socket:
        for first in range(0, len(numbers), 1000):
            some = numbers[first : first + 1000]
            events = [{"stream": f"kept-{number}", "seq": seq, "x": EVENT} for number in some]
            await socket.send(orjson.dumps(events), text=True)
            assert all("y" in item for item in orjson.loads(await socket.recv()))


def cpu_s(options: argparse.Namespace) -> float:
    """CPU time that the server has taken."""
    fields = Path(f"/proc/{options.server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


PARTS: dict[str, Callable[[Load, argparse.Namespace], Awaitable[dict[str, Any]]]] = {
    "singles": singles,
    "batched": batched,
    "latency": latency,
    "connections": connections,
    "memory": memory,
    "restart": restart,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--store", help="instead of SQLite in a new folder")
    parser.add_argument("--events", type=int, default=1_000_000, help="of the part memory")
    parser.add_argument("--rounds", type=int, default=7, help="of the part latency")
    parser.add_argument("--streams", type=int, default=100_000, help="of the part restart")
    options = parser.parse_args()
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory(dir=".") as name:
            folder = Path(name)
            model, store = write_model(folder), options.store or f"sqlite:{folder / 'streams.db'}"
            options.start = lambda m=model, s=store: ServerProcess(m, "--store", s)
            options.server = options.start()
            try:
                figures = uvloop.run(PARTS[part](Load(options.server.url), options))
            finally:
                options.server.stop(signal.SIGKILL)
        print(part, json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
