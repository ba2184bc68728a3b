from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.databases import Postgres, Unavailable, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real Postgres server for all tests that need one."""
    try:
        context = running_postgres()
        server = context.__enter__()
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield server
    context.__exit__(None, None, None)
