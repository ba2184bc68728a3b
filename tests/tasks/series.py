"""Small hourly data, and a forecaster small enough to be trained in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from noria.tasks.forecast import Forecaster

SEASON = 12
START = np.datetime64("2024-01-01", "us")


def small(**settings: Any) -> Forecaster:
    defaults: dict[str, Any] = {
        "horizon": 6,
        "hidden_size": 8,
        "steps": 20,
        "seasons": (SEASON,),
        "baselines": ("seasonal_naive",),
        "batch_size": 8,
        "validation_windows": 2,
        "test_windows": 1,
    }
    return Forecaster(**{**defaults, **settings})


def hourly(length: int, name: str = "a", *, seed: int = 0, first: int = 0) -> pl.DataFrame:
    """A wave with noise, from so many hours after the start."""
    t = first + np.arange(length)
    noise = np.random.default_rng(seed).normal(size=first + length)[first:]
    y = 30 + 5 * np.sin(2 * np.pi * t / SEASON) + noise
    return pl.DataFrame(
        {
            "unique_id": [name] * length,
            "ds": START + t * np.timedelta64(1, "h"),
            "y": y,
        }
    )


def several() -> pl.DataFrame:
    """Series of unequal length; the last is too short to hold anything out."""
    lengths = {"a": 120, "b": 80, "c": 20}
    return pl.concat(hourly(n, name, seed=n) for name, n in lengths.items())


def with_covariates(rows: int = 120, ahead: int = 0) -> pl.DataFrame:
    """Covariates of every kind, known in advance for `ahead` rows after the targets."""
    random = np.random.default_rng(5)
    frame = hourly(rows + ahead)
    count = len(frame)
    target = frame["y"].to_numpy().copy()
    holiday = random.integers(0, 2, count).astype(float)
    target += 4 * holiday
    target[rows:] = np.nan
    return frame.with_columns(
        y=pl.Series(target).fill_nan(None),
        rain=pl.Series(random.normal(size=count)),
        sky=pl.Series(random.choice(["blue", "grey"], count)),
        holiday=pl.Series(holiday),
        school=pl.Series(random.choice(["open", "shut"], count)),
        size=pl.lit(3.5),
        town=pl.lit("Rome"),
    )


ROLES: dict[str, Any] = {
    "past": ["rain", "sky"],
    "future": ["holiday", "school"],
    "static": ["size", "town"],
}
