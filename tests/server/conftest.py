from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.runtime import Session
from tests.server.databases import Postgres, UnavailableError, running_postgres
from tests.server.nets import write_model


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real Postgres server for all tests that need one."""
    try:
        context = running_postgres()
        server = context.__enter__()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    yield server
    context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GRU's model file."""
    return write_model(tmp_path_factory.mktemp("models") / "gru.noria")


@pytest.fixture(scope="session")
def session(model_path: Path) -> Session:
    """The same model, to compare with."""
    return Session.open(model_path)
