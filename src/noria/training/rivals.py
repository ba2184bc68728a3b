"""A forecaster and its rivals on the same windows."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.features.panel import Panel
from noria.training.baselines import auto_arima, auto_ets, seasonal_naive
from noria.training.comparison import Comparison, Forecasts, baseline_quantiles, score
from noria.training.forecasting import TrainedForecaster
from noria.training.metrics import seasonal_naive_scale
from noria.training.windows import Origins

__all__ = ["BASELINES", "MORE_BASELINES", "compare", "exhibit"]

BASELINES = ("fnn", "seasonal_naive", "auto_ets")

MORE_BASELINES = ("auto_arima",)
"""Only where they are asked for."""

_EXHIBITS = 4


def compare(
    panel: Panel,
    origins: Origins,
    trained: Mapping[str, TrainedForecaster],
    baselines: Collection[str],
    levels: Sequence[int],
) -> Comparison:
    """Forecast the windows with every model and score them.

    The plain baselines take the season whose naive forecast errs least on the histories; MASE
    divides by the error of the shortest season, as is usual.

    Args:
        panel: The series.
        origins: The windows, R of them.
        trained: Networks by name, the one in question first.
        baselines: Which plain baselines to add, of `BASELINES` and `MORE_BASELINES`.
        levels: Levels of the intervals in %.
    """
    actual = panel.actual(origins.series, origins.t)
    histories = [
        panel.table.series[series].y[: t + 1]
        for series, t in zip(origins.series.tolist(), origins.t.tolist(), strict=True)
    ]
    shortest = min(panel.seasons, default=1)
    season = _strongest_season(histories, (shortest, *panel.seasons))
    scales = np.array([seasonal_naive_scale(history, shortest) for history in histories])
    forecasts: list[Forecasts] = []
    notes: list[str] = []
    for name, part in trained.items():
        started = time.monotonic()
        quantiles = part.quantiles(panel, origins)
        seconds = part.history.seconds + time.monotonic() - started
        forecasts.append(Forecasts(name, quantiles, part.parameter_count, seconds))
    if "seasonal_naive" in baselines:
        started = time.monotonic()
        plain = [seasonal_naive(history, panel.horizon, season, levels) for history in histories]
        quantiles = baseline_quantiles(plain, levels)
        forecasts.append(Forecasts("seasonal_naive", quantiles, None, time.monotonic() - started))
    for name, automatic in (("auto_ets", auto_ets), ("auto_arima", auto_arima)):
        if name in baselines:
            started = time.monotonic()
            plain, failed = automatic(
                histories, panel.horizon, season, levels, n_jobs=os.cpu_count() or 1
            )
            quantiles = baseline_quantiles(plain, levels)
            forecasts.append(Forecasts(name, quantiles, None, time.monotonic() - started))
            if failed:
                notes.append(
                    f"{name}: {failed} of {len(plain)} windows fell back to seasonal_naive"
                )
    if season != shortest and len(forecasts) > len(trained):
        plainly = " and ".join(part.model for part in forecasts[len(trained) :])
        notes.append(f"{plainly}: season {season}; MASE: season {shortest}")
    return Comparison(
        tuple(score(part, actual, scales, levels) for part in forecasts),
        windows=len(origins),
        series=len(np.unique(origins.series)),
        horizon=panel.horizon,
        notes=tuple(notes),
    )


def exhibit(panel: Panel, origins: Origins, trained: TrainedForecaster) -> list[dict[str, Any]]:
    """A few of the windows with their past and their forecasts, as JSON values for the report."""
    chosen = origins[np.unique(np.linspace(0, len(origins) - 1, _EXHIBITS).astype(np.int64))]
    quantiles = trained.quantiles(panel, chosen)
    exhibits = []
    for index, (number, t) in enumerate(
        zip(chosen.series.tolist(), chosen.t.tolist(), strict=True)
    ):
        series = panel.table.series[number]
        first = max(0, t + 1 - 3 * panel.horizon)
        count = t + 1 - first + panel.horizon
        values = series.y[first : first + count]
        exhibits.append(
            {
                "series": series.id,
                "time": [str(stamp) for stamp in panel.table.timestamps(series, first, count)],
                "actual": [float(v) if np.isfinite(v) else None for v in values],
                "origin": t + 1 - first,
                "quantiles": quantiles[index].tolist(),
            }
        )
    return exhibits


def _strongest_season(histories: list[NDArray[np.float64]], seasons: Sequence[int]) -> int:
    """The season whose naive forecast errs least on the histories."""
    usable = [s for s in seasons if all(len(history) > s for history in histories)]
    if not usable:
        return seasons[0]
    errors = np.array([[seasonal_naive_scale(h, season) for season in usable] for h in histories])
    total = np.nansum(errors, axis=1, keepdims=True)
    relative = np.nansum(errors / np.where(total > 0, total, 1.0), axis=0)
    return usable[int(relative.argmin())]
