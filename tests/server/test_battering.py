"""Hostile messages to a real server: it answers each, and goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.server.battering import batter, resident_mb
from tests.server.processes import serving


@pytest.mark.parametrize("count", [1000, pytest.param(50_000, marks=pytest.mark.long)])
def test_a_server_outlives_hostile_messages(model_path: Path, tmp_path: Path, count: int) -> None:
    with serving(model_path, "--store", f"sqlite:{tmp_path / 'streams.db'}") as server:
        warm = asyncio.run(batter(server, model_path, 200, first=10**6))
        before = resident_mb(server)
        found = asyncio.run(batter(server, model_path, count))
        assert resident_mb(server) < before + 30
        assert [line for line in server.log if line["level"] == "error"] == []
    assert found["malformed"] > count // 10
    assert found["refused-event"] > count // 50
    assert found["answers of the stream beside it"] > 0
    assert warm
