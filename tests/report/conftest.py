from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noria.cells import LSTM
from noria.runtime import write_model
from noria.wiring import Wiring

LEVELS = [50, 80, 95]


def _score(model: str, mae: float, mase: float | None, parameters: int | None) -> dict[str, Any]:
    return {
        "model": model,
        "mae": mae,
        "mase": mase,
        "smape": mae / 100,
        "crps": mae / 2,
        "coverage": {"50": 0.5, "80": 0.78 + mae / 1e5, "95": 0.9375},
        "parameters": parameters,
        "seconds": 12.34,
    }


def _exhibit(series: str, time: list[str]) -> dict[str, Any]:
    return {
        "series": series,
        "time": time,
        "actual": [10.0, 11.0, None, 13.0, 14.0],
        "origin": 3,
        "quantiles": [[value + step for value in range(10, 17)] for step in range(2)],
    }


def _history(steps: int) -> dict[str, Any]:
    return {
        "step": [10, 20, 30][:steps],
        "training": [0.9, 0.5, 0.4][:steps],
        "validation": [0.8, 0.45, 0.6][:steps],
        "best_step": 20,
        "stopped_early": True,
        "seconds": 3.21,
    }


@pytest.fixture
def document() -> dict[str, Any]:
    """A forecaster's document as its model file holds it."""
    days = [f"2024-01-0{day}T00:00:00.000000" for day in range(1, 6)]
    return {
        "task": "forecast",
        "wiring": Wiring.build(3, [LSTM(4)]).to_dict(),
        "settings": {"horizon": 2, "cell": "lstm", "levels": [80, 95], "seasons": None},
        "columns": {
            "time": "date",
            "target": "load",
            "id": "plant",
            "past": [],
            "future": ["holiday"],
            "static": [],
        },
        "freq": "1d",
        "seasons": [7],
        "levels": LEVELS,
        "calendar": ["day_of_week_sin", "day_of_week_cos"],
        "chosen": {"hidden_size": 32, "context_length": 64},
        "parts": {"network": {"history": _history(3)}, "fnn": {"history": _history(3)}},
        "trained_on": {
            "series": 2,
            "rows": 1234,
            "training_rows": 1000,
            "validation_windows": 1,
            "test_windows": 1,
            "data_sha256": "ab" * 32,
        },
        "comparison": {
            "windows": 6,
            "series": 2,
            "horizon": 2,
            "notes": ["auto_ets: 1 of 6 windows fell back to seasonal_naive"],
            "scores": [
                _score("network", 612.25, 0.8125, 9876),
                _score("fnn", 744.5, 0.97, 9900),
                _score("seasonal_naive", 1913.75, 1.25, None),
            ],
        },
        "exhibits": [_exhibit("north", days), _exhibit("south", days)],
    }


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write a model file around a document."""

    def make(document: dict[str, Any]) -> Path:
        path = tmp_path / "model.noria"
        write_model(path, document, {"network.a": np.zeros((3, 7), np.float32)})
        return path

    return make
