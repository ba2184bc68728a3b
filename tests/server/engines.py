"""Engines inside the test's process, for what a process cannot show as sharply."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noria.server.access import EVERYONE, Token
from noria.server.engine import Engine
from noria.server.limits import Limits
from noria.server.metrics import Metrics
from noria.server.models import Models
from noria.server.problems import Problem
from noria.server.protocol import Request, Target
from noria.server.stores import Change, Key, Store, store_from_url
from tests.server.nets import events

Answers = list[dict[str, Any]]


class Requester:
    """Sends requests to an engine and waits for what comes of them.

    Attributes:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def begin(
        self,
        stream: str,
        first: int,
        given: Sequence[dict[str, Any]],
        label: str = "gru",
        token: Token = EVERYONE,
    ) -> asyncio.Future[Answers | Problem]:
        """Submit a request."""
        served, pinned = self.engine.models.find(label)
        done: asyncio.Future[Answers | Problem] = asyncio.get_running_loop().create_future()
        target = Target(served, pinned, token)
        key = Key(served.name, stream)
        self.engine.submit(Request(key, target, first, list(given), 100, done.set_result))
        return done

    async def send(self, stream: str, first: int, last: int, **how: Any) -> Answers:
        """Send the events of a stream from a seq to another, in one request; raise a problem."""
        result = await self.begin(stream, first, events(stream, first, last), **how)
        if isinstance(result, Problem):
            raise result
        return result


class WatchedStore:
    """A store that notes its commits, and fails when it is told to.

    Attributes:
        commits: The changes of each commit that was asked for.
        failure: Raised by the next commit instead of it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.commits: list[Sequence[Change]] = []
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, changes: Sequence[Change]) -> Mapping[Key, int]:
        self.commits.append(changes)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return await self._store.commit(changes)


@contextlib.asynccontextmanager
async def running(
    models: Path | list[str], store: Store | str, limits: Limits | None = None
) -> AsyncIterator[Requester]:
    """An engine at work."""
    opened = Models.open([f"gru={models}"] if isinstance(models, Path) else models)
    kept = store_from_url(store) if isinstance(store, str) else store
    engine = Engine(opened, kept, limits or Limits(), Metrics())
    await engine.start()
    try:
        yield Requester(engine)
    finally:
        await engine.stop()


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Run a test's body."""

    async def main() -> None:
        await body()

    asyncio.run(main())
