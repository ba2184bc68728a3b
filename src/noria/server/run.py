"""A server process, from its arguments to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from noria import kernels
from noria.errors import ResourceError, UsageError
from noria.server.access import Access, Token, is_loopback
from noria.server.app import make_app
from noria.server.engine import Engine
from noria.server.limits import Limits
from noria.server.logs import log_as_json
from noria.server.metrics import Metrics
from noria.server.models import Models
from noria.server.sockets import Sockets
from noria.server.stores import Store

__all__ = ["serve"]

log = logging.getLogger(__name__)

_SWITCH_INTERVAL_S = 0.0005
"""Kernels and SQLite let go of the interpreter, and should have it back soon (Python: 0.005)."""


def serve(
    models: Models,
    store: Store,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tokens: Sequence[Token] | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve models over HTTP and WebSocket until SIGTERM or SIGINT.

    Args:
        models: What to serve.
        store: Where the streams are kept.
        host: Address to listen at.
        port: Port to listen at; 0 for a free one, which the log tells.
        tokens: Who may ask; None lets everyone in, over loopback alone.
        limits: How much is taken; the defaults if left out.

    Raises:
        UsageError: if others could reach a server without tokens.
        ResourceError: if the address is taken or the store cannot be opened.
        KeyboardInterrupt: after SIGINT.
    """
    if tokens is None and not is_loopback(host):
        raise UsageError(
            f"--host {host}: a server that others can reach needs --token-file; without one, only"
            " 127.0.0.1, ::1 or localhost will do"
        )
    log_as_json()
    _raise_file_limit()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if "NORIA_NUM_THREADS" not in os.environ:
        # a batch is too small to share, and threads that wait for each other would hold the loop up
        kernels.set_num_threads(1)
    limits = limits or Limits()
    listener = _listen(host, port)
    with contextlib.closing(listener):
        server = _Server(models, store, Access(tokens), limits)
        runner = asyncio.Runner(loop_factory=server.config.get_loop_factory())
        with runner:
            runner.run(server.live(listener))
    if server.interrupted:
        raise KeyboardInterrupt


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"cannot listen at {host}:{port}: {reason}") from error


def _raise_file_limit() -> None:
    """Let the process have as many connections as the system lets it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _http_protocol(limits: Limits) -> type[H11Protocol]:
    """HTTP whose connections are counted, and closed if they bring no request."""

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > 2 * limits.connections:
                transport.abort()
            else:
                self.loop.call_later(limits.request_s, self._close_if_silent)

        def _close_if_silent(self) -> None:
            if self.scope is None:
                self.transport.abort()

    return Protocol


class _Protocol(WebSocketsSansIOProtocol):
    """Hands its transport on: a client that does not read can only be cut, not asked to leave."""

    async def run_asgi(self) -> None:
        self.scope["extensions"]["noria.transport"] = {"transport": self.transport}
        await super().run_asgi()


class _Server(uvicorn.Server):
    """A server that answers what it has taken before it goes."""

    def __init__(self, models: Models, store: Store, access: Access, limits: Limits) -> None:
        metrics = Metrics()
        self.engine = Engine(models, store, limits, metrics)
        self.sockets = Sockets(self.engine, access)
        self.interrupted = False
        self._limits = limits
        self._draining: asyncio.Task[None] | None = None
        metrics.gauge("noria_connections", "WebSockets", lambda: len(self.sockets.connections))
        metrics.gauge("noria_queue_bytes", "Messages that wait", lambda: self.engine.queued_bytes)
        metrics.gauge("noria_cached_streams", "Streams in memory", lambda: self.engine.cached)
        super().__init__(
            uvicorn.Config(
                make_app(self.engine, access, self.sockets),
                http=_http_protocol(limits),
                ws=_Protocol,
                ws_max_size=limits.message_bytes,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
        )

    async def live(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        await self.engine.start()
        try:
            await self.serve([listener])
        finally:
            await self.engine.stop()
            log.info("stopped")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        host, port = sockets[0].getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        served = [f"{one.name}@{one.version}" for one in self.engine.models]
        # told only now, when a signal already drains instead of killing
        log.info("listening", extra={"url": url, "models": served})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:
            self.interrupted = True
        if self._draining is not None:
            self.should_exit = self.force_exit = True
            return
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._draining = asyncio.create_task(self._finish())

    async def _finish(self) -> None:
        log.info("draining")
        try:
            async with asyncio.timeout(self._limits.drain_s):
                await self.engine.drain()
                await self.sockets.flush()
        except TimeoutError:
            log.warning("not everything was answered in time")
        self.should_exit = True
