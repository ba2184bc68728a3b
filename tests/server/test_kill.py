"""A server that is killed at any moment: no acknowledged event lost, none taken twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.server.databases import Postgres
from tests.server.faults import kill_under_load


@pytest.mark.parametrize("cycles", [3, pytest.param(20, marks=pytest.mark.long)])
def test_killed_on_sqlite(model_path: Path, tmp_path: Path, cycles: int) -> None:
    store = f"sqlite:{tmp_path / 'streams.db'}"
    outcome = asyncio.run(kill_under_load(model_path, store, cycles=cycles))
    assert outcome.kills == cycles
    assert outcome.under_way > 0
    assert outcome.events > 10 * cycles


@pytest.mark.parametrize("cycles", [2, pytest.param(20, marks=pytest.mark.long)])
def test_one_of_two_killed_on_postgres(model_path: Path, postgres: Postgres, cycles: int) -> None:
    url = postgres.new_database()
    outcome = asyncio.run(kill_under_load(model_path, url, cycles=cycles, servers=2))
    assert outcome.kills == cycles
    assert outcome.events > 10 * cycles
