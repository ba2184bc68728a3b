"""Takes events of many streams, steps them in batches, and commits each batch at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

from noria.errors import NoriaError
from noria.server.access import Token
from noria.server.limits import Limits
from noria.server.metrics import Metrics
from noria.server.models import Models
from noria.server.problems import Problem, problem_from_error
from noria.server.protocol import Request, Target
from noria.server.stepping import Run, Stream, restore, restore_all, step_runs
from noria.server.stores import Key, Record, Store

__all__ = ["Engine"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_EXPIRE_EVERY_S = 60.0
_EXPIRE_AT_ONCE = 1000


class Engine:
    """Owns the streams of a server.

    One batch is worked on at a time: its streams are loaded, stepped in a thread of their own
    (kernels release the GIL), and committed in one transaction; only then are its events answered.
    Meanwhile the next batch gathers. A stream in memory is thus always as the store has it.

    Args:
        models: What is served.
        store: Where the streams are kept; `run` opens and closes it.
        limits: How much is taken.
        metrics: What is counted.

    Attributes:
        draining: Whether nothing more is taken.
        queued_bytes: Bytes of the messages that wait.
    """

    def __init__(self, models: Models, store: Store, limits: Limits, metrics: Metrics) -> None:
        self.models = models
        self.store = store
        self.limits = limits
        self.metrics = metrics
        self.draining = False
        self._queue: deque[Request] = deque()
        self.queued_bytes = 0
        self._queued_events = 0
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._lock = asyncio.Lock()
        self._streams: OrderedDict[Key, Stream] = OrderedDict()
        self._cached_bytes = 0
        self._begun = Counter[str]()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="step")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the store and begin to work.

        Raises:
            NoriaError: if the store cannot be opened.
        """
        await self.store.open()
        self._begun.update(await self.store.count())
        self._tasks = [asyncio.create_task(self._work())]
        if self.limits.expire_after_s is not None:
            self._tasks.append(asyncio.create_task(self._expire(self.limits.expire_after_s)))

    @property
    def cached(self) -> int:
        """How many streams are in memory."""
        return len(self._streams)

    async def drain(self) -> None:
        """Take nothing more, and wait until everything that was taken is answered."""
        self.draining = True
        await self._idle.wait()

    async def stop(self) -> None:
        """End the work and close the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown()
        await self.store.close()

    def submit(self, request: Request) -> None:
        """Queue a request; its `done` is called when it is durable or refused.

        Raises:
            Problem: if the server drains or the queue is full.
        """
        if self.draining:
            raise Problem("draining", "connect again; the server is about to stop")
        if self.queued_bytes + request.size > self.limits.queue_bytes:
            raise Problem("overloaded", "send it again in a while")
        self._queue.append(request)
        self.queued_bytes += request.size
        self._queued_events += len(request.events)
        self._idle.clear()
        self._arrived.set()
        if self._queued_events >= self.limits.batch_events:
            self._full.set()

    async def look(self, key: Key) -> Stream:
        """A stream as it is now.

        Raises:
            Problem: if there is none, or its model is not served.
            StoreError: if the store fails.
        """
        async with self._lock:
            stream = self._streams.get(key)
            if stream is None or not self.store.exclusive:
                record = (await self.store.load([key], claim=False)).get(key)
                if record is None:
                    raise Problem("unknown-stream", f"{key.model} has no stream {key.stream}")
                stream = await self._in_thread(restore, self.models, key, record)
            return stream

    async def replace(self, target: Target, key: Key, seq: int, data: bytes) -> None:
        """Put a state in the place of a stream's, or begin a stream with it.

        Raises:
            Problem: if the token may not begin another stream.
            StateError: if the bytes are not a state of this model.
            StoreError: if the store fails.
        """
        session = target.served.session
        await self._in_thread(session.state_from_bytes, data)
        async with self._lock:
            before = (await self.store.load([key], claim=False)).get(key)
            if before is None:
                self._check_quota(target.token, 1)
            owner = target.token.name if before is None else before.token
            await self.store.replace(key, Record(0, session.sha256, owner, seq, data))
            if before is None:
                self._begun[owner] += 1
            self._drop(key)

    async def forget(self, key: Key) -> None:
        """Delete a stream.

        Raises:
            Problem: if there is none.
            StoreError: if the store fails.
        """
        async with self._lock:
            token = await self.store.forget(key)
            if token is None:
                raise Problem("unknown-stream", f"{key.model} has no stream {key.stream}")
            self._begun[token] -= 1
            self._drop(key)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            rest = self._queue[0].arrived_s + self.limits.wait_s - time.monotonic()
            if rest > 0 and not self._full.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), rest)
            batch = self._take()
            async with self._lock:
                await self._answer(batch)
            if not self._queue:
                self._idle.set()

    def _take(self) -> list[Request]:
        batch: list[Request] = []
        events = 0
        while self._queue and events < self.limits.batch_events:
            request = self._queue.popleft()
            batch.append(request)
            events += len(request.events)
            self.queued_bytes -= request.size
        self._queued_events -= events
        if not self._queue:
            self._arrived.clear()
        if self._queued_events < self.limits.batch_events:
            self._full.clear()
        return batch

    async def _answer(self, batch: list[Request]) -> None:
        """Work on a batch; whatever happens, each of its requests is answered."""
        runs: list[Run] = []
        try:
            runs = await self._process(batch)
        except Exception as error:
            if not isinstance(error, NoriaError):
                log.exception("a batch failed")
            else:
                log.error("a batch failed: %s", error)
            problem = problem_from_error(error)
            for key in {request.key for request in batch}:
                self._drop(key)
            for request in batch:
                request.done(problem)
            return
        for run in runs:
            for request in run.requests:
                await self._deliver(run, request)
        self.metrics.waited(batch)

    async def _process(self, batch: list[Request]) -> list[Run]:
        by_key: dict[Key, list[Request]] = {}
        for request in batch:
            by_key.setdefault(request.key, []).append(request)
        runs = await self._open_runs(by_key)
        started = time.monotonic()
        await self._in_thread(step_runs, runs, self.limits)
        stepped = time.monotonic()
        changed = {run.key: run for run in runs if run.change is not None}
        epochs = await self.store.commit([run.change for run in changed.values() if run.change])
        self.metrics.batch(runs, stepped - started, time.monotonic() - stepped)
        for key, run in changed.items():
            self._drop(key)
            if key in epochs:
                if run.is_new:
                    owner = run.requests[0].target.token.name
                    self._begun[owner] += 1
                self._keep(key, run.committed(epochs[key]))
            else:
                run.lose()
        return runs

    async def _open_runs(self, by_key: dict[Key, list[Request]]) -> list[Run]:
        """For every stream of a batch where it stands; who asks in vain gets a problem."""
        # what looks like a gap may be a stream that another server has carried on
        wanted = [
            key
            for key, (first, *_) in by_key.items()
            if key not in self._streams or first.first > self._streams[key].seq + 1
        ]
        for key in wanted:
            self._drop(key)
        records = await self.store.load(wanted) if wanted else {}
        found = await self._in_thread(restore_all, self.models, records) if records else {}
        runs: list[Run] = []
        begun = Counter[str]()
        for key, requests in by_key.items():
            run = Run(key, requests)
            runs.append(run)
            stream = found.get(key) or self._streams.get(key)
            target = requests[0].target
            if isinstance(stream, Problem):
                run.fail(stream)
                continue
            if stream is not None:
                self._drop(key)
                self._keep(key, stream)
            else:
                begun[target.token.name] += 1
                try:
                    self._check_quota(target.token, begun[target.token.name])
                except Problem as problem:
                    run.fail(problem)
                    continue
                stream = Stream.fresh(target.served)
            run.begin(stream, target.token.name)
        return runs

    def _check_quota(self, token: Token, more: int) -> None:
        most = token.max_streams
        if most is not None and self._begun[token.name] + more > most:
            raise Problem("too-many-streams", f"the token {token.name!r} may begin {most} streams")

    async def _deliver(self, run: Run, request: Request) -> None:
        problem = run.problems.get(id(request))
        try:
            if problem is not None:
                raise problem
            known = run.first - request.first
            answers = run.fresh_answers(request)
            if known > 0:
                last = min(request.last, run.first - 1)
                answers = await self._stored(run.key, request.first, last) + answers
            request.done(answers)
        except Exception as error:
            if not isinstance(error, NoriaError | Problem):
                log.exception("an answer failed")
            request.done(problem_from_error(error))

    async def _stored(self, key: Key, first: int, last: int) -> list[dict[str, Any]]:
        """Answers that were given before."""
        found: dict[int, dict[str, Any]] = {}
        for end, chunk in (await self.store.answers(key, first, last)).items():
            answers = orjson.loads(chunk)
            found.update(zip(range(end - len(answers) + 1, end + 1), answers, strict=True))
        missing = next((seq for seq in range(first, last + 1) if seq not in found), None)
        if missing is not None:
            raise Problem(
                "answer-forgotten",
                f"the event with seq {missing} was taken, but its answer is no longer kept",
            )
        return [found[seq] for seq in range(first, last + 1)]

    def _keep(self, key: Key, stream: Stream) -> None:
        self._streams[key] = stream
        self._cached_bytes += stream.cost
        while self._cached_bytes > self.limits.cache_bytes and len(self._streams) > 1:
            _, oldest = self._streams.popitem(last=False)
            self._cached_bytes -= oldest.cost

    def _drop(self, key: Key) -> None:
        stream = self._streams.pop(key, None)
        if stream is not None:
            self._cached_bytes -= stream.cost

    async def _expire(self, after_s: float) -> None:
        while True:
            try:
                async with self._lock:
                    since = int(time.time() - after_s)
                    gone = await self.store.expire(since, _EXPIRE_AT_ONCE)
                    for key, token in gone.items():
                        self._begun[token] -= 1
                        self._drop(key)
                if gone:
                    log.info("streams expired", extra={"streams": len(gone)})
            except NoriaError as error:
                log.error("streams could not be expired: %s", error)
                gone = {}
            await asyncio.sleep(
                0 if len(gone) == _EXPIRE_AT_ONCE else min(_EXPIRE_EVERY_S, after_s)
            )
