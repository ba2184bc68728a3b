from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noria.training.search import search

SPACE = {"size": [1, 2, 4], "rate": (1e-4, 1e-1), "drop": (0.0, 0.5)}
FIRST = {"size": 4, "rate": 0.05, "drop": 0.5}


def score(trial: Mapping[str, Any]) -> float:
    return abs(trial["size"] - 2) + abs(trial["rate"] - 1e-3) + trial["drop"]


def test_a_search_begins_with_the_settings_given_and_keeps_the_best() -> None:
    tried: list[dict[str, Any]] = []

    def noted(trial: Mapping[str, Any]) -> float:
        tried.append(dict(trial))
        return score(trial)

    found = search(SPACE, noted, FIRST, 30, seed=0)
    assert tried[0] == FIRST
    assert len(tried) == 31
    assert found == min(tried, key=score)
    assert found["size"] == 2
    assert score(found) < 0.2
    assert search(SPACE, score, FIRST, 30, seed=0) == found


def test_nothing_else_to_try() -> None:
    assert search(SPACE, score, FIRST, 0, seed=0) == FIRST
