"""Streams in one SQLite file, for one server."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from noria.errors import DataError, MissingExtraError, ResourceError
from noria.server.stores.base import Change, Key, Record, StoreError

try:
    import apsw
except ImportError as error:
    raise MissingExtraError("a SQLite store needs apsw: pip install 'noria[serve]'") from error

__all__ = ["SqliteStore"]

T = TypeVar("T")

OLDEST = (3, 51, 3)
"""Older versions of SQLite can corrupt a WAL database."""

APPLICATION_ID = 0x4E6F7269
"""Marks the file as Noria's, in its header."""

_SETTINGS = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA cache_size = -32768;
"""

_TABLES = f"""
CREATE TABLE streams(
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, stream TEXT NOT NULL, sha256 TEXT NOT NULL,
  token TEXT NOT NULL, seq INTEGER NOT NULL, state BLOB NOT NULL, touched_s INTEGER NOT NULL,
  UNIQUE(model, stream)
) STRICT;
CREATE TABLE journal(
  id INTEGER NOT NULL, last INTEGER NOT NULL, touched_s INTEGER NOT NULL, answers BLOB NOT NULL,
  events BLOB, PRIMARY KEY(id, last)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
"""

_ID = "(SELECT id FROM streams WHERE model = ? AND stream = ?)"
_INSERT = """
INSERT INTO streams(model, stream, sha256, token, seq, state, touched_s)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = "UPDATE streams SET seq = ?, state = ?, touched_s = ? WHERE model = ? AND stream = ?"
_JOURNAL = f"INSERT INTO journal(id, last, touched_s, answers, events) VALUES ({_ID}, ?, ?, ?, ?)"
_FORGET_ANSWERS = f"DELETE FROM journal WHERE id = {_ID} AND last <= ?"
_IDLE = """
SELECT id, model, stream, token FROM streams s WHERE touched_s < ?1 AND NOT EXISTS
  (SELECT 1 FROM journal j WHERE j.id = s.id AND j.touched_s >= ?1) LIMIT ?2
"""


class SqliteStore:
    """The embedded store: one file, one connection, one thread that uses it.

    Commits are durable when they return (WAL, synchronous=FULL). The file is locked for as long as
    it is open, so every epoch is 0: there is no other owner.

    Args:
        path: The file; it is made, for its user alone, if there is none.
        vfs: Name of the SQLite VFS to go through; the default one if empty.

    Raises:
        MissingExtraError: if the SQLite inside apsw is older than 3.51.3.
    """

    exclusive = True

    def __init__(self, path: Path, vfs: str = "") -> None:
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if version < OLDEST:
            raise MissingExtraError(
                f"SQLite {apsw.sqlite_lib_version()} can damage its file; 3.51.3 is the oldest that"
                " will do: pip install --upgrade apsw"
            )
        self.path = path
        self.vfs = vfs
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")

    async def open(self) -> None:
        """Open the file, and make the tables if there are none.

        Raises:
            ResourceError: if it cannot be opened, or another server has it open.
            DataError: if it is no store of Noria's.
        """
        await self._call(self._open)

    async def close(self) -> None:
        """Write everything into the one file and close it."""
        if hasattr(self, "_connection"):
            await self._call(self._connection.close)
        self._thread.shutdown()

    async def load(self, keys: Sequence[Key], *, claim: bool = True) -> dict[Key, Record]:
        """See `Store.load`."""
        return await self._call(self._load, keys)

    async def commit(self, changes: Sequence[Change]) -> dict[Key, int]:
        """See `Store.commit`."""
        return await self._call(self._commit, changes)

    async def replace(self, key: Key, record: Record) -> None:
        """See `Store.replace`."""
        await self._call(self._replace, key, record)

    async def answers(self, key: Key, first: int, last: int) -> dict[int, bytes]:
        """See `Store.answers`."""
        return await self._call(self._answers, key, first, last)

    async def forget(self, key: Key) -> str | None:
        """See `Store.forget`: not a byte is left in the file, nor in the log beside it."""
        return await self._call(self._forget, key)

    async def expire(self, idle_since: int, limit: int) -> dict[Key, str]:
        """See `Store.expire`."""
        return await self._call(self._expire, idle_since, limit)

    async def count(self) -> dict[str, int]:
        """See `Store.count`."""
        return await self._call(self._count)

    async def check(self) -> None:
        """See `Store.check`."""
        await self._call(self._check)

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, function, *arguments)
        except apsw.FullError as error:
            raise StoreError(f"{self.path}: the disk is full", full=True) from error
        except apsw.NotADBError as error:
            raise DataError(f"{self.path} is no store of streams; name another file") from error
        except apsw.BusyError as error:
            raise StoreError(f"{self.path} is open in another server; stop it first") from error
        except apsw.Error as error:
            raise StoreError(f"{self.path} cannot be used: {error}") from error

    def _open(self) -> None:
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise ResourceError(f"{self.path} cannot be opened: {error.strerror}") from error
        connection = apsw.Connection(str(self.path), vfs=self.vfs or None)
        try:
            connection.execute(_SETTINGS).fetchall()
            if not connection.pragma("schema_version"):
                with connection:
                    connection.execute(_TABLES).fetchall()
            found = connection.pragma("application_id"), connection.pragma("user_version")
            if found != (APPLICATION_ID, 1):
                raise DataError(f"{self.path} is no store of streams; name another file")
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _load(self, keys: Sequence[Key]) -> dict[Key, Record]:
        records = {}
        for key in keys:
            row = self._connection.execute(
                "SELECT id, sha256, token, seq, state FROM streams WHERE model = ? AND stream = ?",
                key,
            ).get
            if row is not None:
                id_, sha256, token, seq, state = row
                events = self._connection.execute(
                    "SELECT events FROM journal WHERE id = ? AND last > ? ORDER BY last", (id_, seq)
                )
                chunks = tuple(chunk for (chunk,) in events)
                records[key] = Record(0, sha256, token, seq, state, chunks)
        return records

    def _commit(self, changes: Sequence[Change]) -> dict[Key, int]:
        now = int(time.time())
        inserts = [
            (*c.key, c.sha256, c.token, c.seq, c.state, now) for c in changes if c.epoch is None
        ]
        updates = [
            (c.seq, c.state, now, *c.key)
            for c in changes
            if c.epoch is not None and c.state is not None
        ]
        journal = [(*c.key, c.seq, now, c.answers, c.events) for c in changes]
        forgotten = [(*c.key, c.forget_to) for c in changes if c.forget_to is not None]
        with self._connection as connection:
            connection.executemany(_INSERT, inserts)
            connection.executemany(_UPDATE, updates)
            connection.executemany(_JOURNAL, journal)
            connection.executemany(_FORGET_ANSWERS, forgotten)
        return {change.key: 0 for change in changes}

    def _replace(self, key: Key, record: Record) -> None:
        now = int(time.time())
        with self._connection as connection:
            self._delete(key)
            row = (*key, record.sha256, record.token, record.seq, record.state, now)
            connection.execute(_INSERT, row)

    def _delete(self, key: Key) -> str | None:
        self._connection.execute(f"DELETE FROM journal WHERE id = {_ID}", key)
        token: str | None = self._connection.execute(
            "DELETE FROM streams WHERE model = ? AND stream = ? RETURNING token", key
        ).get
        return token

    def _answers(self, key: Key, first: int, last: int) -> dict[int, bytes]:
        found = self._connection.execute(
            f"SELECT last, answers FROM journal WHERE id = {_ID} AND last >= ? ORDER BY last",
            (*key, first),
        )
        chunks = {}
        for end, answers in found:
            chunks[end] = answers
            if end >= last:
                break
        return chunks

    def _forget(self, key: Key) -> str | None:
        with self._connection:
            token = self._delete(key)
        if token is not None:
            self._empty_log()
        return token

    def _expire(self, idle_since: int, limit: int) -> dict[Key, str]:
        with self._connection as connection:
            idle: Any = connection.execute(_IDLE, (idle_since, limit)).fetchall()
            connection.executemany("DELETE FROM journal WHERE id = ?", [row[:1] for row in idle])
            connection.executemany("DELETE FROM streams WHERE id = ?", [row[:1] for row in idle])
        if idle:
            self._empty_log()
        return {Key(model, stream): token for _, model, stream, token in idle}

    def _empty_log(self) -> None:
        """Move what the write-ahead log holds into the file, deleted bytes zeroed, and cut it."""
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _count(self) -> dict[str, int]:
        rows: Any = self._connection.execute("SELECT token, count(*) FROM streams GROUP BY token")
        return dict(rows)

    def _check(self) -> None:
        with self._connection as connection:
            connection.execute("PRAGMA user_version = 1")
