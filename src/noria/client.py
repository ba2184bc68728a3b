"""Clients of a Noria server: they number events, send them again, and go on after a break.

An event counts as sent once its answer is here; until then a client keeps it and, after a lost
connection or a restart of the server, sends it again under the same seq. The server takes each seq
once, so no event is lost and none counts twice.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from noria.errors import DataError, MissingExtraError, ServerError

try:
    import httpx
    import orjson
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import InvalidStatus, WebSocketException
except ImportError as error:
    raise MissingExtraError(
        "a client needs httpx and websockets: pip install 'noria[serve]'"
    ) from error

__all__ = ["AsyncClient", "AsyncStream", "Client", "SavedState", "Stream"]

_AT_ONCE = 256
"""Events of one stream under way at a time: the server keeps the answers to as many."""

_LONGEST = 1 << 20
"""Bytes of a message: what a server takes."""

_AROUND = 256
"""Bytes at the most that seq and stream add to an event."""

_RETRY = {429, 502, 503, 504, 507}
_LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True)
class SavedState:
    """A stream's state, taken out of a server.

    Attributes:
        seq: Its last event.
        sha256: Hash of the model it belongs to.
        data: The state, as `noria.runtime.Session.state_from_bytes` reads it.
    """

    seq: int
    sha256: str
    data: bytes


class Client:
    """A client over HTTP: every call returns when the server has made it durable.

    Args:
        url: Of the server, such as "http://127.0.0.1:8000".
        token: The secret of a token, if the server wants one.
        timeout_s: How long a call tries again before it gives up.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=url, headers=_headers(token), timeout=timeout_s, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """What the server serves: names, versions, hashes, and schemas of events and answers.

        Raises:
            ServerError: if the server cannot be reached or refuses.
        """
        return list(orjson.loads(self._request("GET", "/v1/models").content))

    def stream(self, model: str, name: str) -> Stream:
        """A stream, which begins with its first event if the server does not have it.

        Args:
            model: The model's name, or NAME@VERSION.
            name: The stream's.
        """
        return Stream(self, _path(model, name))

    def _request(self, method: str, path: str, data: bytes | None = None) -> httpx.Response:
        for pause_s in _pauses(self._timeout_s):
            try:
                response = self._http.request(method, path, content=data)
            except httpx.TransportError as error:
                problem = ServerError(f"{self._http.base_url} cannot be reached: {error}")
            else:
                if response.is_success:
                    return response
                problem = _error(_document(response), response.status_code)
                if not _worth_a_retry(problem):
                    break
            if pause_s is None:
                break
            time.sleep(pause_s)
        raise problem


class Stream:
    """One stream of a `Client`; it knows by itself where the stream stands."""

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path
        self._seq: int | None = None

    @property
    def seq(self) -> int:
        """The last event the server has taken; 0 before the first.

        Raises:
            ServerError: if the server cannot be reached or refuses.
        """
        if self._seq is None:
            try:
                self._seq = int(self._get()["seq"])
            except ServerError as error:
                if error.kind != "unknown-stream":
                    raise
                self._seq = 0
        return self._seq

    def send(self, event: dict[str, Any]) -> dict[str, Any]:
        """Send an event.

        Args:
            event: As the model takes it, such as {"x": [...]}.

        Returns:
            The answer, such as {"seq": 1, "y": [...]}.

        Raises:
            DataError: if the event is no JSON object, or has a seq of its own.
            ServerError: if the event is refused; it does not count then, and the next one takes its
                place. Or if the server was out of reach for too long: whether the event counts
                is not known then, and `seq` tells when the server is back.
        """
        message = _numbered(_encode(event), self.seq + 1)
        return self._send(message, 1)  # type: ignore[no-any-return]

    def send_many(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send events, at most 256 in one message.

        Args:
            events: As the model takes them.

        Returns:
            The answers.

        Raises:
            DataError: as `send`; nothing was sent then.
            ServerError: as `send`; of a message with a refused event none counts, of those before
                it all.
        """
        answers: list[dict[str, Any]] = []
        for some in _pieces([_encode(event) for event in events]):
            answers += self._send(_numbered_list(some, self.seq + 1), len(some))
        return answers

    def state(self) -> SavedState:
        """Take a copy of the state out of the server.

        Raises:
            ServerError: if there is no such stream, or the server refuses.
        """
        return _saved_state(self._get("/state"))

    def restore(self, state: SavedState) -> None:
        """Put a state in the place of the stream's, or begin a stream with it.

        Raises:
            ServerError: if it is damaged or belongs to another model, or the server refuses.
        """
        self._seq = None
        data = orjson.dumps(_plain_state(state))
        self._client._request("PUT", f"{self._path}/state", data)

    def hidden(self) -> dict[str, list[float]]:
        """What the network remembers, by layer and state, such as "layers.0.h": H numbers.

        Raises:
            ServerError: if there is no such stream, or the server refuses.
        """
        return dict(self._get("/hidden")["hidden"])

    def delete(self) -> None:
        """Forget the stream.

        Raises:
            ServerError: if there is no such stream, or the server refuses.
        """
        self._seq = None
        self._client._request("DELETE", self._path)

    def _get(self, part: str = "") -> dict[str, Any]:
        return dict(orjson.loads(self._client._request("GET", self._path + part).content))

    def _send(self, message: bytes, count: int) -> Any:
        before = self.seq
        try:
            response = self._client._request("POST", f"{self._path}/events", message)
        except BaseException:
            self._seq = None  # a lost answer may have been a taken event's
            raise
        self._seq = before + count
        return orjson.loads(response.content)


class AsyncClient:
    """A client over one WebSocket: events of many streams under way at a time.

    Use it as an asynchronous context manager. After a lost connection it connects again and sends
    what has no answer yet.

    Args:
        url: Of the server, such as "http://127.0.0.1:8000".
        model: The model's name, or NAME@VERSION.
        token: The secret of a token, if the server wants one.
        timeout_s: How long it tries to connect before it gives up, and what waits fails.
    """

    def __init__(
        self, url: str, model: str, *, token: str | None = None, timeout_s: float = 30.0
    ) -> None:
        self._model = model
        self._timeout_s = timeout_s
        parts = urlsplit(url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        self._url = f"{scheme}://{parts.netloc}/v1/models/{quote(model)}/events"
        self._token = token
        self._asking = Client(url, token=token, timeout_s=timeout_s)
        self._streams: dict[str, AsyncStream] = {}
        self._outbox: deque[tuple[AsyncStream, _Entry]] = deque()
        self._wake = asyncio.Event()
        self._failure: ServerError | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._fail(ServerError("the client was closed before the answer came"))
        self._asking.close()

    async def stream(self, name: str) -> AsyncStream:
        """A stream, which begins with its first event if the server does not have it.

        Raises:
            ServerError: if the server cannot be reached or refuses.
        """
        if name not in self._streams:
            seq = await asyncio.to_thread(self._ask_seq, name)
            self._streams.setdefault(name, AsyncStream(self, name, seq))
        return self._streams[name]

    def _ask_seq(self, name: str) -> int:
        return self._asking.stream(self._model, name).seq

    def _enqueue(self, stream: AsyncStream, entry: _Entry) -> None:
        self._outbox.append((stream, entry))
        self._wake.set()

    async def _run(self) -> None:
        try:
            await self._live()
        except ServerError as error:
            self._fail(error)
        except Exception as error:
            self._fail(ServerError(f"the client failed: {error!r}"))
            raise

    async def _live(self) -> None:
        """Be connected, again and again."""
        pauses = _pauses(self._timeout_s)
        while True:
            try:
                async with connect(
                    self._url,
                    additional_headers=_headers(self._token),
                    compression=None,
                    max_size=None,
                    proxy=None,
                ) as socket:
                    pauses = _pauses(self._timeout_s)
                    await self._converse(socket)
            except InvalidStatus as error:
                problem = _error(_body(error.response.body), error.response.status_code)
                if not _worth_a_retry(problem):
                    self._fail(problem)
                    return
            except (OSError, WebSocketException) as error:
                problem = ServerError(f"{self._url} cannot be reached: {error}")
            else:
                problem = ServerError(f"{self._url} closed the connection")
            pause_s = next(pauses)
            if pause_s is None:
                self._fail(problem)
                return
            await asyncio.sleep(pause_s)

    async def _converse(self, socket: ClientConnection) -> None:
        self._outbox.clear()
        for stream in self._streams.values():
            stream._resend(0)
        sending = asyncio.create_task(self._send(socket))
        try:
            async for message in socket:
                reply = orjson.loads(message)
                items = reply if isinstance(reply, list) else [reply]
                if "stream" not in items[0]:
                    problem = items[0].get("problem", {})
                    raise _error(problem, problem.get("status", 0))
                if items[0]["stream"] in self._streams:  # it may have been given up
                    stream = self._streams[items[0]["stream"]]
                    stream._receive(items, single=not isinstance(reply, list))
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, socket: ClientConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                stream, entry = self._outbox.popleft()
                if not entry.future.done():
                    await socket.send(entry.message(stream.name), text=True)

    def _fail(self, error: ServerError) -> None:
        self._failure = error
        for stream in list(self._streams.values()):
            stream._fail(error)


@dataclass(slots=True, eq=False)
class _Entry:
    """A message that has no answer yet."""

    first: int
    events: Sequence[bytes]
    single: bool
    future: asyncio.Future[list[dict[str, Any]]]

    def message(self, stream: str) -> bytes:
        if self.single:
            return _numbered(self.events[0], self.first, stream)
        return _numbered_list(self.events, self.first, stream)


class AsyncStream:
    """One stream of an `AsyncClient`.

    Attributes:
        name: Its name.
        seq: The last event whose answer is here; 0 before the first.
    """

    def __init__(self, client: AsyncClient, name: str, seq: int) -> None:
        self.name = name
        self.seq = seq
        self._client = client
        self._entries: deque[_Entry] = deque()
        self._under_way = 0
        self._room = asyncio.Event()
        self._pauses: Iterator[float | None] | None = None
        self._failure: ServerError | None = None

    async def send(self, event: dict[str, Any]) -> dict[str, Any]:
        """Send an event; several calls at a time go out in the order they were made.

        Args:
            event: As the model takes it, such as {"x": [...]}.

        Returns:
            The answer, such as {"stream": "a", "seq": 1, "y": [...]}.

        Raises:
            DataError: if the event is no JSON object, or has a seq or stream of its own.
            ServerError: if the event is refused; it does not count then, and the next one takes its
                place. Or if the server was out of reach for too long, or the stream was deleted or
                set back: whether the event counts is not known then, and `AsyncClient.stream`
                asks anew.
        """
        return (await self._send([_encode(event)], single=True))[0]

    async def send_many(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send events, at most 256 in one message.

        Args:
            events: As the model takes them.

        Returns:
            The answers.

        Raises:
            DataError: as `send`; nothing was sent then.
            ServerError: as `send`; of a message with a refused event none counts.
        """
        encoded = [_encode(event) for event in events]
        parts = [self._send(some, single=False) for some in _pieces(encoded)]
        return list(itertools.chain.from_iterable(await asyncio.gather(*parts)))

    async def _send(self, events: Sequence[bytes], *, single: bool) -> list[dict[str, Any]]:
        while self._entries and self._under_way + len(events) > _AT_ONCE:
            self._room.clear()
            await self._room.wait()
        failure = self._client._failure or self._failure
        if failure is not None:
            raise failure
        future: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        entry = _Entry(self.seq + self._under_way + 1, events, single, future)
        self._entries.append(entry)
        self._under_way += len(events)
        self._client._enqueue(self, entry)
        return await asyncio.shield(future)

    def _receive(self, items: list[dict[str, Any]], *, single: bool) -> None:
        """What came of the message that has the seq of the first item."""
        found = (
            index
            for index, entry in enumerate(self._entries)
            if entry.first == items[0]["seq"]
            and entry.single == single
            and len(entry.events) == len(items)
        )
        index = next(found, None)
        if index is None:
            return
        problem = items[0].get("problem")
        if problem is None:
            entry = self._take(index)
            self.seq += len(items)
            self._pauses = None
            entry.future.set_result(items)
            return
        error = _error(problem, problem.get("status", 0))
        if _worth_a_retry(error):
            if index == 0:
                self._retry(error)
        elif error.kind == "answer-forgotten":
            self._take(index).future.set_exception(error)  # the events were taken all the same
            self.seq += len(items)
        elif error.kind != "sequence-gap":
            self._take(index).future.set_exception(error)
            self._resend(index)
        elif index == 0:
            self._fail(error)  # the stream is not what it was: deleted, or set back

    def _take(self, index: int) -> _Entry:
        entry = self._entries[index]
        del self._entries[index]
        self._under_way -= len(entry.events)
        self._room.set()
        return entry

    def _retry(self, error: ServerError) -> None:
        """Send everything again after a pause."""
        self._pauses = self._pauses or _pauses(self._client._timeout_s)
        pause_s = next(self._pauses, None)
        if pause_s is None:
            self._fail(error)
        else:
            asyncio.get_running_loop().call_later(pause_s, self._resend, 0)

    def _resend(self, index: int) -> None:
        """Send the entries from an index on under the seqs that they have now."""
        first = self.seq + 1
        for position, entry in enumerate(self._entries):
            entry.first = first
            first += len(entry.events)
            if position >= index:
                self._client._enqueue(self, entry)

    def _fail(self, error: ServerError) -> None:
        """Give up: where the stream stands is to be asked anew."""
        self._client._streams.pop(self.name, None)
        self._failure = error
        while self._entries:
            entry = self._take(0)
            if not entry.future.done():
                entry.future.set_exception(error)


def _headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


def _path(model: str, stream: str) -> str:
    return f"/v1/models/{quote(model)}/streams/{quote(stream, safe='')}"


def _pauses(timeout_s: float) -> Iterator[float | None]:
    """How long to wait before each further try, in seconds; None when the time is over."""
    end_s = time.monotonic() + timeout_s
    for doubling in itertools.count():
        pause_s = min(0.05 * 2 ** min(doubling, 10), _LONGEST_PAUSE_S)
        yield pause_s if time.monotonic() + pause_s < end_s else None


def _encode(event: Any) -> bytes:
    """An event as JSON; numpy's arrays and numbers are taken too."""
    if not isinstance(event, Mapping) or not event.keys().isdisjoint(("seq", "stream")):
        raise DataError("an event is a dictionary without seq and stream: the client adds them")
    try:
        data = orjson.dumps(dict(event), option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise DataError(f"an event must be plain JSON values: {error}") from None
    if len(data) > _LONGEST // 2:
        raise DataError(f"an event of {len(data):,} bytes is more than a server takes")
    return data


def _numbered(event: bytes, seq: int, stream: str | None = None) -> bytes:
    """An encoded event with its seq, and the name of its stream, if it is to have one."""
    head = (
        b'{"seq":%d' % seq
        if stream is None
        else b'{"stream":"%s","seq":%d' % (stream.encode(), seq)
    )
    return head + b"}" if event == b"{}" else head + b"," + event[1:]


def _numbered_list(events: Sequence[bytes], first: int, stream: str | None = None) -> bytes:
    return b"[" + b",".join(_numbered(e, seq, stream) for seq, e in enumerate(events, first)) + b"]"


def _pieces(events: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Events as messages that a server takes."""
    some: list[bytes] = []
    size = 0
    for event in events:
        length = len(event) + _AROUND
        if some and (len(some) == _AT_ONCE or size + length > _LONGEST):
            yield some
            some, size = [], 0
        some.append(event)
        size += length
    if some:
        yield some


def _body(body: bytes | bytearray | None) -> dict[str, Any]:
    try:
        document = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        document = None
    return document if isinstance(document, dict) else {}


def _document(response: httpx.Response) -> dict[str, Any]:
    return _body(response.content)


def _error(document: dict[str, Any], status: int) -> ServerError:
    kind = str(document.get("type", "")).rpartition(":")[2]
    title, detail = document.get("title", f"HTTP status {status}"), document.get("detail", "")
    return ServerError(f"{title}: {detail}" if detail else title, kind=kind, status=status)


def _worth_a_retry(error: ServerError) -> bool:
    if error.kind == "too-many-streams":
        return False
    return error.kind == "stream-moved" or error.status in _RETRY


def _saved_state(document: dict[str, Any]) -> SavedState:
    return SavedState(document["seq"], document["sha256"], base64.b64decode(document["state"]))


def _plain_state(state: SavedState) -> dict[str, Any]:
    return {"seq": state.seq, "state": base64.b64encode(state.data).decode()}
