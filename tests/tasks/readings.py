"""Made readings of a machine: a day of 24 steps in `load`, noise in `heat`."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from noria import AnomalyDetector

START = dt.datetime(2024, 1, 1)  # noqa: DTZ001


def values(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Shape (T, 2)."""
    random = np.random.default_rng(seed)
    load = 10 + 3 * np.sin(np.arange(count) / 24 * 2 * np.pi) + 0.2 * random.standard_normal(count)
    return np.stack([load, 50 + random.standard_normal(count)], axis=1)


def readings(rows: NDArray[np.float64]) -> pl.DataFrame:
    """A row an hour."""
    times = [START + dt.timedelta(hours=hour) for hour in range(len(rows))]
    return pl.DataFrame({"when": times, "load": rows[:, 0], "heat": rows[:, 1]})


def small(**given: Any) -> AnomalyDetector:
    """A detector that trains in no time."""
    quick = {"hidden_size": 8, "steps": 40, "context_length": 48, "batch_size": 8}
    return AnomalyDetector(**{**quick, **given})


def fit(detector: AnomalyDetector, table: pl.DataFrame, **given: Any) -> AnomalyDetector:
    return detector.fit(table, time="when", value=("load", "heat"), **given)
