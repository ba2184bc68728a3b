from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
from utilsforecast import losses

from noria.training import metrics
from noria.training.conformal import quantile_grid

NAN = float("nan")
SEASON = 4
LEVELS = np.array([0.1, 0.5, 0.9])
COLUMNS = ["q10", "q50", "q90"]


@pytest.fixture
def panel() -> dict[str, Any]:
    """Three series with a horizon of 6, and the same as frames for the reference."""
    generator = np.random.default_rng(0)
    y = generator.normal(10, 3, (3, 6))
    quantiles = np.sort(generator.normal(10, 3, (3, 6, 3)), axis=-1)
    history = generator.normal(10, 3, (3, 20))
    ids = np.repeat(["a", "b", "c"], 6)
    frame = pd.DataFrame({"unique_id": ids, "y": y.ravel(), "forecast": quantiles[..., 1].ravel()})
    frame[COLUMNS] = quantiles.reshape(-1, 3)
    train = pd.DataFrame({"unique_id": np.repeat(["a", "b", "c"], 20), "y": history.ravel()})
    return {
        "y": y, "forecast": quantiles[..., 1], "quantiles": quantiles, "history": history,
        "frame": frame, "train": train,
    }  # fmt: skip


def test_the_same_as_utilsforecast(panel: dict[str, Any]) -> None:
    frame, y, forecast = panel["frame"], panel["y"], panel["forecast"]
    models = ["forecast"]
    assert metrics.mae(y, forecast) == pytest.approx(losses.mae(frame, models)["forecast"].mean())
    squares = losses.mse(frame, models)["forecast"].mean()
    assert metrics.rmse(y, forecast) == pytest.approx(np.sqrt(squares))
    reference = losses.smape(frame, models)["forecast"].mean()
    assert metrics.smape(y, forecast) == pytest.approx(200 * reference)
    scale = [metrics.seasonal_naive_scale(history, SEASON) for history in panel["history"]]
    reference = losses.mase(frame, models, SEASON, panel["train"])["forecast"].mean()
    assert metrics.mase(y, forecast, scale) == pytest.approx(reference)
    pinball = [
        losses.quantile_loss(frame, {"q": column}, q=level)["q"].mean()
        for column, level in zip(COLUMNS, LEVELS, strict=True)
    ]
    assert metrics.pinball(y, panel["quantiles"], LEVELS) == pytest.approx(pinball)
    reference = losses.coverage(
        frame.rename(columns={"q10": "f-lo-80", "q90": "f-hi-80"}), ["f"], level=80
    )["f"].mean()
    lower, upper = panel["quantiles"][..., 0], panel["quantiles"][..., 2]
    assert metrics.coverage(y, lower, upper) == pytest.approx(reference)


def test_missing_targets_are_left_out() -> None:
    y = np.array([[1.0, NAN, 3.0], [NAN, NAN, NAN], [2.0, 2.0, NAN]])
    forecast = np.array([[2.0, 9.0, 3.0], [1.0, 1.0, 1.0], [4.0, 0.0, 7.0]])
    assert metrics.mae(y, forecast) == pytest.approx(5 / 4)
    assert metrics.rmse(y, forecast) == pytest.approx(1.5)
    # Series by series: 0.5 / 1 and 2 / 4; the one that is not observed is left out.
    assert metrics.mase(y, forecast, [1.0, 1.0, 4.0]) == pytest.approx(0.5)
    assert metrics.smape(y, forecast) == pytest.approx(100 * ((1 / 3 + 0) + (2 / 6 + 2 / 2)) / 2)
    assert metrics.coverage(y, forecast - 1, forecast + 1) == pytest.approx(0.5)
    quantiles = np.stack([forecast, forecast + 1], axis=-1)
    # Errors of the median: -1, 0, -2, 2; of the upper quartile: -2, -1, -3, 1.
    expected = [5 / 4 / 2, (0.25 * 6 + 0.75 * 1) / 4]
    np.testing.assert_allclose(metrics.pinball(y, quantiles, [0.5, 0.75]), expected)
    narrow = np.stack([forecast, forecast], axis=-1)
    assert metrics.crps_from_quantiles(y, narrow, [0.2, 0.9]) == pytest.approx(
        metrics.mae(y, forecast)
    )


def test_crps_is_the_integral_over_the_quantiles(panel: dict[str, Any]) -> None:
    y, quantiles, levels = panel["y"], panel["quantiles"], np.array([0.1, 0.3, 0.95])
    quantiles[0, :, 1] = quantiles[0, :, 0]  # a jump
    p = (np.arange(20_000) + 0.5) / 20_000
    between = np.apply_along_axis(lambda row: np.interp(p, levels, row), -1, quantiles)
    error = y[..., np.newaxis] - between
    expected = 2 * np.maximum(p * error, (p - 1) * error).mean()
    assert metrics.crps_from_quantiles(y, quantiles, levels) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("levels", [(50, 80), (50, 95), (50, 80, 95), (10, 50, 90, 99)])
def test_crps_hardly_depends_on_the_levels(levels: tuple[int, ...]) -> None:
    grid = np.array(quantile_grid(levels))
    normal = NormalDist()
    y = np.array([normal.inv_cdf((n + 0.5) / 5_000) for n in range(5_000)])
    quantiles = np.tile([normal.inv_cdf(p) for p in grid], (5_000, 1))
    found = metrics.crps_from_quantiles(y, quantiles, grid)
    assert found == pytest.approx(np.pi**-0.5, rel=0.011)  # that of N(0, 1) itself: 0.5642


def test_a_missing_forecast_shows() -> None:
    y, forecast = [1.0, 2.0, NAN], [1.0, NAN, NAN]
    assert np.isnan(metrics.mae(y, forecast))
    assert np.isnan(metrics.rmse(y, forecast))
    assert np.isnan(metrics.mase(y, forecast, 1.0))
    assert np.isnan(metrics.smape(y, forecast))
    assert np.isnan(metrics.coverage(y, forecast, [2.0, 2.0, 2.0]))
    assert np.isnan(metrics.pinball(y, np.array(forecast)[:, np.newaxis], [0.5])).all()
    assert metrics.mae([1.0, NAN], [1.0, NAN]) == 0


def test_nothing_observed() -> None:
    y, forecast = np.full((2, 3), NAN), np.ones((2, 3))
    assert np.isnan(metrics.mae(y, forecast))
    assert np.isnan(metrics.mase(y, forecast, [1.0, 1.0]))
    assert np.isnan(metrics.coverage(y, forecast, forecast))


def test_a_series_without_a_scale_is_left_out_of_the_mase() -> None:
    y, forecast = [[1.0, 1.0], [5.0, 5.0], [6.0, 6.0]], [[3.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert metrics.mase(y, forecast, [0.5, 0.0, NAN]) == pytest.approx(2)
    assert np.isnan(metrics.mase(y, forecast, [0.0, 0.0, 0.0]))
    assert metrics.mase(y[0], forecast[0], 0.5) == pytest.approx(2)


@pytest.mark.parametrize(
    ("history", "season", "scale"),
    [
        ([1.0, 2.0, 4.0, 8.0], 2, 4.5),
        ([1.0, NAN, 4.0, 8.0, 5.0], 2, 2.0),
        ([1.0, 3.0, 4.0], 3, 1.5),
        ([1.0, 3.0, NAN], 12, 2.0),
        ([1.0, NAN, NAN, 4.0, NAN, NAN, NAN], 2, NAN),
        ([2.0, 2.0, 2.0], 1, NAN),
        ([2.0], 1, NAN),
        ([], 1, NAN),
    ],
)
def test_seasonal_naive_scale(history: list[float], season: int, scale: float) -> None:
    found = metrics.seasonal_naive_scale(history, season)
    np.testing.assert_array_equal(found, scale)


def test_smape_runs_from_0_to_200() -> None:
    assert metrics.smape([0.0, 5.0], [0.0, 5.0]) == 0
    assert metrics.smape([1.0, -1.0], [-1.0, 0.0]) == 200
