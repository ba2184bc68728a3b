"""WebSocket connections: events in, answers out, as they become durable."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

import orjson
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from noria.server.access import Access
from noria.server.engine import Engine
from noria.server.problems import Problem, problem_response
from noria.server.protocol import EVENT_BYTES, Request, Target, group_events, parse_json
from noria.server.stores import Key

__all__ = ["PROTOCOL", "Sockets", "bearer"]

log = logging.getLogger(__name__)

PROTOCOL = "noria"
"""The subprotocol; a browser, which cannot set headers, offers it and "bearer.SECRET"."""

_TRY_AGAIN_LATER, _POLICY, _RESTART = 1013, 1008, 1012


def bearer(connection: HTTPConnection) -> str | None:
    """The secret that a client sent, if any."""
    scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    for offered in connection.scope.get("subprotocols", ()):
        if offered.startswith("bearer."):
            return str(offered.removeprefix("bearer."))
    return None


class Sockets:
    """All WebSocket connections of a server.

    Args:
        engine: What steps the streams.
        access: Who may ask.
    """

    def __init__(self, engine: Engine, access: Access) -> None:
        self.engine = engine
        self.access = access
        self.connections: set[Connection] = set()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a connection until it ends."""
        try:
            if self.engine.draining:
                raise Problem("draining", "connect again; the server is about to stop")
            if len(self.connections) >= self.engine.limits.connections:
                raise Problem("too-many-connections", "connect again in a while")
            token = self.access.identify(bearer(websocket))
            token.check("send")
            served, pinned = self.engine.models.find(websocket.path_params["model"])
        except Problem as problem:
            self.engine.metrics.refused(problem.kind)
            await websocket.send_denial_response(problem_response(problem))
            return
        connection = Connection(websocket, self.engine, Target(served, pinned, token))
        self.connections.add(connection)
        try:
            offered = websocket.scope["subprotocols"]
            await websocket.accept(PROTOCOL if PROTOCOL in offered else None)
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def flush(self) -> None:
        """Wait until every answer is on its way, then close every connection."""
        while any(connection.busy for connection in self.connections):
            await asyncio.sleep(0.01)
        for connection in self.connections:
            connection.end(_RESTART, "the server is about to stop")


class Connection:
    """One WebSocket connection.

    Args:
        websocket: Accepted.
        engine: What steps the streams.
        target: The model, and who asks.
    """

    def __init__(self, websocket: WebSocket, engine: Engine, target: Target) -> None:
        self._websocket = websocket
        self._engine = engine
        self._target = target
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._unanswered = self._unanswered_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ending: tuple[int, str] | None = None
        self._transport = websocket.scope["extensions"].get("noria.transport", {}).get("transport")

    @property
    def busy(self) -> bool:
        """Whether an answer is still due."""
        return bool(self._outbox or self._unanswered)

    def end(self, code: int, reason: str) -> None:
        """Take nothing more, and close the connection once everything taken is answered."""
        self._ending = self._ending or (code, reason)
        self._wake.set()

    async def run(self) -> None:
        """Read and write until the client leaves or is made to."""
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read(self) -> None:
        limits = self._engine.limits
        while True:
            await self._room.wait()
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("text") or message.get("bytes") or b""
            if self._ending is None:
                self._take(data)
            if (
                self._unanswered >= limits.unanswered
                or self._unanswered_bytes >= limits.unanswered_bytes
            ):
                self._room.clear()

    def _take(self, data: str | bytes) -> None:
        """One message, an event or a list of events."""
        try:
            given = parse_json(data)
            events = given if isinstance(given, list) else [given]
            groups = group_events(events, self._engine.limits.message_events)
            model = self._target.served.name
            for stream in groups:
                self._target.token.check("send", Key(model, stream))
        except Problem as problem:
            self._engine.metrics.refused(problem.kind)
            self.put(_refusal(data, self._engine.limits.message_events, problem))
            return
        share = len(data) // len(events) + EVENT_BYTES
        self._unanswered += 1
        self._unanswered_bytes += share * len(events)
        reply = _Reply(self, groups, single=not isinstance(given, list), size=share * len(events))
        for stream, (first, own) in groups.items():
            size = share * len(own)
            done = functools.partial(reply.add, stream, first, len(own))
            request = Request(Key(model, stream), self._target, first, own, size, done)
            try:
                self._engine.submit(request)
            except Problem as problem:
                request.done(problem)
                if problem.kind == "overloaded":
                    self.end(_TRY_AGAIN_LATER, "too much is waiting already")

    def refused(self, problem: Problem) -> None:
        """Events of a stream met a problem."""
        self._engine.metrics.refused(problem.kind)

    def answered(self, size: int) -> None:
        """A message of so many bytes in memory has its answer."""
        self._unanswered -= 1
        self._unanswered_bytes -= size
        self._room.set()

    def put(self, message: Any) -> None:
        """Send a message, or cut the connection if its reader is too slow."""
        data = orjson.dumps(message)
        self._outbox.append(data)
        self._outbox_bytes += len(data)
        self._wake.set()
        if self._outbox_bytes > self._engine.limits.backlog_bytes:
            if self._ending is None:
                log.warning("a slow reader was cut", extra={"token": self._target.token.name})
            self.end(_POLICY, "answers are read too slowly")
            if self._transport is not None:
                self._transport.abort()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                data = self._outbox[0]
                await self._websocket.send_text(data.decode())
                self._outbox.popleft()
                self._outbox_bytes -= len(data)
            if self._ending is not None and not self._unanswered:
                await self._websocket.close(*self._ending)
                return


def _refusal(data: str | bytes, most: int, problem: Problem) -> Any:
    """What a message is answered of which nothing is taken: an item for each of its events."""
    document = problem.document()
    try:
        given = parse_json(data)
    except Problem:
        return {"problem": document}
    events = given if isinstance(given, list) else [given]
    if not 1 <= len(events) <= most:
        return {"problem": document}
    items = []
    for event in events:
        known = event if isinstance(event, dict) else {}
        names = {name: known[name] for name in ("stream", "seq") if name in known}
        items.append({**names, "problem": document})
    return items if isinstance(given, list) else items[0]


class _Reply:
    """Puts together what a message is answered: an item for each of its events.

    Args:
        connection: Where it goes.
        streams: The streams of the message; a list is answered stream by stream in this order.
        single: Whether the message was one event, not a list.
        size: Bytes of memory that the message takes.
    """

    def __init__(
        self, connection: Connection, streams: Iterable[str], *, single: bool, size: int
    ) -> None:
        self._size = size
        self._connection = connection
        self._items: dict[str, list[dict[str, Any]] | None] = dict.fromkeys(streams)
        self._due = len(self._items)
        self._single = single

    def add(
        self, stream: str, first: int, count: int, result: list[dict[str, Any]] | Problem
    ) -> None:
        """What came of the events of a stream."""
        if isinstance(result, Problem):
            self._connection.refused(result)
            result = [{"problem": result.document()}] * count
        self._items[stream] = [
            {"stream": stream, "seq": seq, **answer} for seq, answer in enumerate(result, first)
        ]
        self._due -= 1
        if not self._due:
            items = [item for part in self._items.values() for item in part or ()]
            self._connection.answered(self._size)
            self._connection.put(items[0] if self._single else items)
