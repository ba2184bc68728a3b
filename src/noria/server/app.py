"""The HTTP routes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from noria.errors import NoriaError
from noria.server.access import Access, Token
from noria.server.engine import Engine
from noria.server.models import check_name
from noria.server.openapi import openapi
from noria.server.page import PAGE, PAGE_HEADERS
from noria.server.problems import HEADERS, Problem, problem_from_error, problem_response
from noria.server.protocol import EVENT_BYTES, LAST_SEQ, Request, Target, group_events, parse_json
from noria.server.sockets import Sockets, bearer
from noria.server.stores import Key

__all__ = ["make_app"]

log = logging.getLogger(__name__)


def make_app(engine: Engine, access: Access, sockets: Sockets) -> ASGIApp:
    """The application: every route, and every error as a problem document.

    Args:
        engine: What steps the streams; started and stopped by the caller.
        access: Who may ask.
        sockets: The WebSocket connections.
    """
    routes = Routes(engine, access)
    stream = "/v1/models/{model}/streams/{stream}"
    return _Guard(
        Starlette(
            routes=[
                Route("/", routes.page),
                Route("/healthz", routes.healthz),
                Route("/readyz", routes.readyz),
                Route("/metrics", routes.metrics),
                Route("/openapi.json", routes.openapi),
                Route("/v1/models", routes.models),
                Route(stream, routes.describe_stream, methods=["GET"]),
                Route(stream, routes.delete_stream, methods=["DELETE"]),
                Route(f"{stream}/events", routes.post_events, methods=["POST"]),
                Route(f"{stream}/state", routes.get_state, methods=["GET"]),
                Route(f"{stream}/state", routes.put_state, methods=["PUT"]),
                Route(f"{stream}/hidden", routes.get_hidden, methods=["GET"]),
                WebSocketRoute("/v1/models/{model}/events", sockets.serve),
            ],
            exception_handlers={
                HTTPException: routes.no_route,
                Problem: routes.refuse,
                NoriaError: routes.refuse,
                Exception: routes.refuse,
            },
        ),
        routes,
    )


class Routes:
    """What each route does.

    Args:
        engine: What steps the streams.
        access: Who may ask.
    """

    def __init__(self, engine: Engine, access: Access) -> None:
        self.engine = engine
        self.access = access

    async def page(self, request: HttpRequest) -> Response:
        """The live page."""
        return Response(PAGE, headers=PAGE_HEADERS, media_type="text/html")

    async def healthz(self, request: HttpRequest) -> Response:
        """The process answers."""
        return _json({"status": "ok"})

    async def readyz(self, request: HttpRequest) -> Response:
        """The server takes events: it does not drain, and the store can be written to."""
        if self.engine.draining:
            raise Problem("draining", "the server is about to stop")
        await self.engine.store.check()
        return _json({"status": "ready"})

    async def metrics(self, request: HttpRequest) -> Response:
        """Prometheus' text format."""
        self._token(request).check("metrics")
        return Response(self.engine.metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(self, request: HttpRequest) -> Response:
        """The OpenAPI document."""
        return _json(openapi(self.engine.limits, self.engine.models))

    async def models(self, request: HttpRequest) -> Response:
        """What is served."""
        self._token(request)
        return _json(
            [
                {
                    "name": one.name,
                    "version": one.version,
                    "sha256": one.session.sha256,
                    **one.session.describe(),
                }
                for one in self.engine.models
            ]
        )

    async def describe_stream(self, request: HttpRequest) -> Response:
        """Where a stream stands."""
        _, key = self._target(request, "read")
        stream = await self.engine.look(key)
        served = stream.served
        return _json(
            {
                "stream": key.stream,
                "model": served.name,
                "version": served.version,
                "sha256": served.session.sha256,
                "seq": stream.seq,
            }
        )

    async def delete_stream(self, request: HttpRequest) -> Response:
        """Forget a stream."""
        _, key = self._target(request, "delete")
        await self.engine.forget(key)
        return Response(status_code=204, headers=HEADERS)

    async def post_events(self, request: HttpRequest) -> Response:
        """Take an event or a list of events; answer when they are durable."""
        target, key = self._target(request, "send")
        data = await self._body(request)
        given = parse_json(data)
        events = given if isinstance(given, list) else [given]
        groups = group_events(events, self.engine.limits.message_events, key.stream)
        first, own = groups[key.stream]
        done: asyncio.Future[list[dict[str, Any]] | Problem] = (
            asyncio.get_running_loop().create_future()
        )

        def deliver(result: list[dict[str, Any]] | Problem) -> None:
            if not done.done():
                done.set_result(result)

        size = len(data) + EVENT_BYTES * len(own)
        self.engine.submit(Request(key, target, first, own, size, deliver))
        result = await done
        if isinstance(result, Problem):
            raise result
        answers = [{"seq": seq, **answer} for seq, answer in enumerate(result, first)]
        return _json(answers if isinstance(given, list) else answers[0])

    async def get_state(self, request: HttpRequest) -> Response:
        """Export a stream's state."""
        _, key = self._target(request, "read")
        stream = await self.engine.look(key)
        session = stream.served.session
        data = session.state_to_bytes(stream.state)
        state = base64.b64encode(data).decode()
        return _json({"seq": stream.seq, "sha256": session.sha256, "state": state})

    async def put_state(self, request: HttpRequest) -> Response:
        """Import a stream's state."""
        target, key = self._target(request, "write")
        given = parse_json(await self._body(request))
        if not isinstance(given, dict):
            raise Problem("malformed", 'a state is an object {"seq": …, "state": …}')
        seq, state = given.get("seq"), given.get("state")
        if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= LAST_SEQ:
            raise Problem("malformed", "seq must be a whole number from 0")
        try:
            data = base64.b64decode(state if isinstance(state, str) else "!", validate=True)
        except (binascii.Error, ValueError):
            raise Problem("malformed", "state must be base64, as it was exported") from None
        await self.engine.replace(target, key, seq, data)
        return Response(status_code=204, headers=HEADERS)

    async def get_hidden(self, request: HttpRequest) -> Response:
        """What the network remembers of a stream."""
        _, key = self._target(request, "read")
        stream = await self.engine.look(key)
        hidden = stream.served.session.hidden(stream.state)
        return _json(
            {"seq": stream.seq, "hidden": {name: array.tolist() for name, array in hidden.items()}}
        )

    async def refuse(self, request: HTTPConnection, error: Exception) -> Response:
        """An error as a problem document."""
        problem = problem_from_error(error)
        self.engine.metrics.refused(problem.kind)
        if problem.status >= 500 and not isinstance(error, Problem):
            log.error("%s: %s", problem.kind, error)
        return problem_response(problem)

    async def no_route(self, request: HTTPConnection, error: Exception) -> Response:
        """What the router refuses."""
        assert isinstance(error, HTTPException)
        kind = "method-not-allowed" if error.status_code == 405 else "not-found"
        response = await self.refuse(request, Problem(kind, "/openapi.json tells which there are"))
        response.headers.update(error.headers or {})
        return response

    def _token(self, connection: HTTPConnection) -> Token:
        return self.access.identify(bearer(connection))

    def _target(self, request: HttpRequest, verb: str) -> tuple[Target, Key]:
        token = self._token(request)
        stream = check_name("stream", request.path_params["stream"])
        served, pinned = self.engine.models.find(request.path_params["model"])
        key = Key(served.name, stream)
        token.check(verb, key)
        return Target(served, pinned, token), key

    async def _body(self, request: HttpRequest) -> bytes:
        limits = self.engine.limits
        body = bytearray()
        try:
            async with asyncio.timeout(limits.request_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limits.message_bytes:
                        most = limits.message_bytes
                        raise Problem("too-large", f"a message has at most {most} bytes")
        except TimeoutError:
            raise Problem("timeout", "the message did not come; send it again") from None
        except ClientDisconnect:
            raise Problem("malformed", "the client left in the middle of the message") from None
        return bytes(body)


class _Guard:
    """Refuses what pages of other sites ask through a visitor's browser."""

    def __init__(self, app: ASGIApp, routes: Routes) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        host, origin = (connection.headers.get(name) for name in ("host", "origin"))
        try:
            self._routes.access.check_origin(host, origin)
        except Problem as problem:
            response = await self._routes.refuse(connection, problem)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), headers=HEADERS, media_type="application/json")
