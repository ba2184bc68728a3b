"""Streams in Postgres, for several servers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from noria.errors import MissingExtraError, ResourceError
from noria.server.stores.base import Change, Key, Record, StoreError

try:
    import asyncpg
except ImportError as error:
    raise MissingExtraError("a Postgres store needs asyncpg: pip install 'noria[serve]'") from error

__all__ = ["PostgresStore"]

_TIMEOUT_S = 30.0

_TABLES_LOCK = 0x4E6F7269
"""Servers that start at once make the tables one after the other."""

_TABLES = """
CREATE SEQUENCE IF NOT EXISTS noria_epochs;
CREATE TABLE IF NOT EXISTS noria_streams(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, model text NOT NULL, stream text NOT NULL,
  epoch bigint NOT NULL DEFAULT nextval('noria_epochs'), sha256 text NOT NULL, token text NOT NULL,
  seq bigint NOT NULL, state bytea NOT NULL, touched_s bigint NOT NULL, UNIQUE (model, stream)
);
CREATE TABLE IF NOT EXISTS noria_journal(
  id bigint NOT NULL REFERENCES noria_streams ON DELETE CASCADE, last bigint NOT NULL,
  touched_s bigint NOT NULL, answers bytea NOT NULL, events bytea, PRIMARY KEY (id, last)
);
"""

_KEYS = "unnest($1::text[], $2::text[]) AS k(model, stream)"
_CLAIM = f"""
WITH locked AS (
  SELECT s.id FROM noria_streams s JOIN {_KEYS} USING (model, stream) ORDER BY s.id FOR UPDATE OF s)
UPDATE noria_streams s SET epoch = nextval('noria_epochs') FROM locked WHERE s.id = locked.id
RETURNING s.id, s.model, s.stream, s.epoch, s.sha256, s.token, s.seq, s.state
"""
_READ = f"""
SELECT s.id, s.model, s.stream, s.epoch, s.sha256, s.token, s.seq, s.state
FROM noria_streams s JOIN {_KEYS} USING (model, stream)
"""
_EVENTS = """
SELECT j.id, j.events FROM noria_journal j JOIN noria_streams s ON s.id = j.id
WHERE j.id = ANY($1::bigint[]) AND j.last > s.seq ORDER BY j.id, j.last
"""
# everyone takes the locks in the order of ids: no two servers wait for each other
_LOCK = f"""
SELECT s.id, s.model, s.stream, s.epoch FROM noria_streams s JOIN {_KEYS} USING (model, stream)
ORDER BY s.id FOR UPDATE OF s
"""
_INSERT = """
INSERT INTO noria_streams(model, stream, sha256, token, seq, state, touched_s)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])
  AS n(model, stream, sha256, token, seq, state), (SELECT $7::bigint) AS now
ORDER BY n.model, n.stream ON CONFLICT DO NOTHING RETURNING id, model, stream, epoch
"""
_UPDATE = """
UPDATE noria_streams s SET seq = u.seq, state = u.state, touched_s = $4
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS u(id, seq, state) WHERE s.id = u.id
"""
_JOURNAL = """
INSERT INTO noria_journal(id, last, answers, events, touched_s)
SELECT j.*, $5 FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[]) AS j
"""
_FORGET_ANSWERS = """
DELETE FROM noria_journal j USING unnest($1::bigint[], $2::bigint[]) AS f(id, last)
WHERE j.id = f.id AND j.last <= f.last
"""
_ANSWERS = """
SELECT j.last, j.answers FROM noria_journal j JOIN noria_streams s ON s.id = j.id
WHERE s.model = $1 AND s.stream = $2 AND j.last >= $3 ORDER BY j.last
"""
_EXPIRE = """
DELETE FROM noria_streams WHERE id IN (
  SELECT s.id FROM noria_streams s WHERE s.touched_s < $1 AND NOT EXISTS
    (SELECT 1 FROM noria_journal j WHERE j.id = s.id AND j.touched_s >= $1)
  ORDER BY s.id LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING model, stream, token
"""


class PostgresStore:
    """A Postgres database that several servers share.

    State, answer and seq are committed together. Every stream has an epoch, drawn anew from one
    sequence whenever a server takes the stream over; a commit under any other epoch is refused, so
    a server that was thought dead can do no harm when it comes back.

    Args:
        url: postgres://USER:PASSWORD@HOST/DATABASE, or what else libpq takes.
    """

    exclusive = False

    def __init__(self, url: str) -> None:
        self._url = url

    async def open(self) -> None:
        """Connect, and make the tables if there are none.

        Raises:
            ResourceError: if the database cannot be reached, or loses what it has confirmed.
        """
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=2,
                command_timeout=_TIMEOUT_S,
                server_settings={"synchronous_commit": "on", "application_name": "noria"},
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            raise ResourceError(f"cannot connect to the Postgres store: {error}") from error
        async with self._transaction() as connection:
            if await connection.fetchval("SHOW fsync") != "on":
                raise ResourceError(
                    "the Postgres store runs with fsync=off and would lose what it has confirmed"
                )
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _TABLES_LOCK)
            await connection.execute(_TABLES)

    async def close(self) -> None:
        """Close the connections."""
        if hasattr(self, "_pool"):
            await self._pool.close()

    async def load(self, keys: Sequence[Key], *, claim: bool = True) -> dict[Key, Record]:
        """See `Store.load`."""
        async with self._transaction() as connection:
            rows = await connection.fetch(_CLAIM if claim else _READ, *_columns(keys, 2))
            events: dict[int, list[bytes]] = {row["id"]: [] for row in rows}
            for id_, chunk in await connection.fetch(_EVENTS, list(events)):
                events[id_].append(chunk)
        return {
            Key(row["model"], row["stream"]): Record(
                row["epoch"],
                row["sha256"],
                row["token"],
                row["seq"],
                row["state"],
                tuple(events[row["id"]]),
            )
            for row in rows
        }

    async def commit(self, changes: Sequence[Change]) -> dict[Key, int]:
        """See `Store.commit`."""
        if not changes:
            return {}
        now = int(time.time())
        by_key = {change.key: change for change in changes}
        old = [change.key for change in changes if change.epoch is not None]
        new = [change for change in changes if change.epoch is None]
        async with self._transaction() as connection:
            taken: dict[Key, tuple[int, int]] = {}
            for id_, model, stream, epoch in await connection.fetch(_LOCK, *_columns(old, 2)):
                key = Key(model, stream)
                if by_key[key].epoch == epoch:
                    taken[key] = (id_, epoch)
            if new:
                rows = [(*c.key, c.sha256, c.token, c.seq, c.state) for c in new]
                for id_, model, stream, epoch in await connection.fetch(
                    _INSERT, *_columns(rows, 6), now
                ):
                    taken[Key(model, stream)] = (id_, epoch)
            kept = [(taken[key][0], change) for key, change in by_key.items() if key in taken]
            updates = [(id_, c.seq, c.state) for id_, c in kept if c.state is not None and c.epoch]
            journal = [(id_, c.seq, c.answers, c.events) for id_, c in kept]
            forgotten = [(id_, c.forget_to) for id_, c in kept if c.forget_to is not None]
            await connection.execute(_UPDATE, *_columns(updates, 3), now)
            await connection.execute(_JOURNAL, *_columns(journal, 4), now)
            if forgotten:
                await connection.execute(_FORGET_ANSWERS, *_columns(forgotten, 2))
        return {key: epoch for key, (_, epoch) in taken.items()}

    async def replace(self, key: Key, record: Record) -> None:
        """See `Store.replace`."""
        row = (*key, record.sha256, record.token, record.seq, record.state)
        async with self._transaction() as connection:
            await connection.execute(_DELETE, *key)
            inserted = await connection.fetch(_INSERT, *_columns([row], 6), int(time.time()))
            if not inserted:
                raise StoreError(f"another server began {key.stream} at the same moment")

    async def answers(self, key: Key, first: int, last: int) -> dict[int, bytes]:
        """See `Store.answers`."""
        chunks = {}
        async with self._transaction() as connection:
            async for end, answers in connection.cursor(_ANSWERS, *key, first, prefetch=8):
                chunks[end] = answers
                if end >= last:
                    break
        return chunks

    async def forget(self, key: Key) -> str | None:
        """See `Store.forget`; the bytes stay in the database's files until it vacuums them."""
        async with self._transaction() as connection:
            token: str | None = await connection.fetchval(f"{_DELETE} RETURNING token", *key)
        return token

    async def expire(self, idle_since: int, limit: int) -> dict[Key, str]:
        """See `Store.expire`."""
        async with self._transaction() as connection:
            gone = await connection.fetch(_EXPIRE, idle_since, limit)
        return {Key(model, stream): token for model, stream, token in gone}

    async def count(self) -> dict[str, int]:
        """See `Store.count`."""
        async with self._transaction() as connection:
            rows = await connection.fetch("SELECT token, count(*) FROM noria_streams GROUP BY 1")
        return dict(rows)

    async def check(self) -> None:
        """See `Store.check`."""
        async with self._transaction() as connection:
            await connection.execute("SELECT nextval('noria_epochs'), pg_current_xact_id()")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        try:
            async with (
                self._pool.acquire(timeout=_TIMEOUT_S) as connection,
                connection.transaction(),
            ):
                yield connection
        except asyncpg.DiskFullError as error:
            raise StoreError("the Postgres store: the disk is full", full=True) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise StoreError(f"the Postgres store: {error or type(error).__name__}") from error
        except TimeoutError as error:
            raise StoreError(f"the Postgres store did not answer in {_TIMEOUT_S:g} s") from error


_DELETE = "DELETE FROM noria_streams WHERE model = $1 AND stream = $2"


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    """Rows as the arrays that `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * count
