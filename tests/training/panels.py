"""Small panels of hourly series to train and forecast on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from noria.cells import LSTM, RNN
from noria.features.panel import Panel
from noria.features.running import Window
from noria.features.series import Columns, Series, SeriesTable
from noria.modules.forecast import ForecastModule
from noria.runtime.distribution import Distribution
from noria.training.conformal import quantile_grid
from noria.wiring import Wiring

HORIZON = 4
SEASON = 6
LEVELS = (50, 80)


def hourly_table(*lengths: int, seed: int = 0) -> SeriesTable:
    """Waves with noise and a covariate known in advance, series by series."""
    random = np.random.default_rng(seed)
    series = []
    for number, length in enumerate(lengths):
        t = np.arange(length)
        y = 20 + 5 * np.sin(2 * np.pi * t / SEASON) + random.normal(size=length)
        future = random.normal(size=(length + HORIZON, 1))
        start = np.datetime64("2024-01-01", "us")
        past = random.normal(size=(length, 1))
        series.append(Series(f"s{number}", start, y, past, future, np.array([1.0 * number])))
    return SeriesTable(tuple(series), Columns(), "1h", {}, ("past",), ("future",), ("static",))


def make_panel(table: SeriesTable, train_ends: Sequence[int] | None = None) -> Panel:
    ends = None if train_ends is None else np.array(train_ends)
    return Panel(table, (SEASON,), HORIZON, train_ends=ends)


def make_module(
    panel: Panel, *, feedback: str = "direct+lateral", window: Window | None = None
) -> ForecastModule:
    torch.manual_seed(0)
    cell = RNN(5, "relu") if feedback == "none" else LSTM(5)
    wiring = Wiring.build(panel.input_size + (window.segment if window else 0), [cell], feedback)
    quantiles = Distribution("quantiles", quantile_grid(LEVELS))
    module = ForecastModule(wiring, HORIZON, panel.known_size, panel.candidate_size, quantiles)
    return module.eval()
