"""Where streams are kept between events."""

from __future__ import annotations

from pathlib import Path

from noria.errors import UsageError
from noria.server.stores.base import Change, Key, Record, Store, StoreError

__all__ = ["Change", "Key", "Record", "Store", "StoreError", "store_from_url"]


def store_from_url(url: str) -> Store:
    """The store that a URL names.

    Args:
        url: `sqlite:PATH`, or `postgres://USER@HOST/DATABASE`.

    Raises:
        UsageError: if no store has this scheme, or its library is missing or too old.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        from noria.server.stores.sqlite import SqliteStore

        return SqliteStore(Path(rest))
    if scheme in ("postgres", "postgresql"):
        from noria.server.stores.postgres import PostgresStore

        return PostgresStore(url)
    raise UsageError(
        f"--store {url}: expected sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"
    )
