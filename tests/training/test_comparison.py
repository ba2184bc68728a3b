from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from utilsforecast import losses

from noria.training.baselines import seasonal_naive
from noria.training.comparison import Comparison, Forecasts, Score, baseline_quantiles, score
from noria.training.conformal import quantile_grid
from noria.training.metrics import crps_from_quantiles

NAN = float("nan")
LEVELS = (50, 80, 95)


def a_score(model: str, mae: float, mase: float = NAN) -> Score:
    return Score(model, mae, mase, 3.0, 0.5, {80: 0.75, 95: NAN}, None, 1.5)


def compared(*scores: Score) -> Comparison:
    return Comparison(scores, windows=3, series=2, horizon=4, notes=("a note",))


def test_scores_are_those_of_utilsforecast() -> None:
    random = np.random.default_rng(0)
    R, K = 12, 5
    history = random.normal(10, 3, (R, 40))
    actual = random.normal(10, 3, (R, K))
    quantiles = np.sort(random.normal(10, 3, (R, K, 7)), axis=-1)
    scales = np.abs(history[:, 4:] - history[:, :-4]).mean(1)
    found = score(Forecasts("m", quantiles, 7, 2.5), actual, scales, LEVELS)

    window = np.repeat(np.arange(R), K)
    frame = pd.DataFrame({"unique_id": window, "y": actual.ravel(), "m": quantiles[..., 3].ravel()})
    for number, level in enumerate((95, 80, 50)):
        frame[f"m-lo-{level}"] = quantiles[..., number].ravel()
        frame[f"m-hi-{level}"] = quantiles[..., -1 - number].ravel()
    train = pd.DataFrame({"unique_id": np.repeat(np.arange(R), 40), "y": history.ravel()})
    assert found.mae == pytest.approx(losses.mae(frame, ["m"])["m"].mean())
    assert found.mase == pytest.approx(losses.mase(frame, ["m"], 4, train)["m"].mean())
    assert found.smape == pytest.approx(200 * losses.smape(frame, ["m"])["m"].mean())
    for level in LEVELS:
        coverage = losses.coverage(frame, ["m"], level)["m"].mean()
        assert found.coverage[level] == pytest.approx(coverage)
    grid = np.array(quantile_grid(LEVELS))
    assert found.crps == crps_from_quantiles(actual, quantiles, grid)
    assert (found.model, found.parameters, found.seconds) == ("m", 7, 2.5)


def test_baselines_have_the_quantiles_of_the_grid() -> None:
    history = np.array([1.0, 5.0, 2.0, 9.0, 3.0])
    forecasts = [seasonal_naive(history, 3, 2, LEVELS), seasonal_naive(-history, 3, 2, LEVELS)]
    quantiles = baseline_quantiles(forecasts, (80, 50, 95))
    assert quantiles.shape == (2, 3, 7)
    assert (np.diff(quantiles, axis=-1) > 0).all()
    np.testing.assert_array_equal(quantiles[0, :, 3], forecasts[0].mean)
    np.testing.assert_array_equal(quantiles[1, :, 1], forecasts[1].lower[80])
    np.testing.assert_array_equal(quantiles[1, :, 5], forecasts[1].upper[80])
    np.testing.assert_array_equal(quantiles[0, :, 0], forecasts[0].lower[95])


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (
            [a_score("network", 3, 0.8), a_score("fnn", 2, 0.9)],
            "Memory pays here: network has the lowest MASE, 0.8.",
        ),
        (
            [a_score("network", 3, 0.8), a_score("fnn", 2, 0.7), a_score("auto_ets", 2, 0.9)],
            "Memory does not pay here: fnn did no worse than network (MASE 0.7 against 0.8).",
        ),
        (
            [a_score("network", 3, 0.8), a_score("fnn", 2, 0.9), a_score("auto_ets", 2, 0.8)],
            "Memory does not pay here: auto_ets did no worse than network (MASE 0.8 against 0.8).",
        ),
        (
            [a_score("network", 3, 0.8), a_score("fnn", 3.5), a_score("auto_ets", 4, 0.7)],
            "Memory pays here: network has the lowest MAE, 3.",
        ),
        (
            [a_score("network", 3, 0.8), a_score("auto_ets", 4, 0.9)],
            (
                "network has the lowest MASE, 0.8. Whether memory pays, only a feed-forward network"
                " beside it would tell."
            ),
        ),
        ([a_score("network", 3, 0.8)], "network: MASE 0.8; nothing to compare it with."),
        ([a_score("network", 3)], "network: MAE 3; nothing to compare it with."),
    ],
)
def test_verdicts(scores: list[Score], verdict: str) -> None:
    assert compared(*scores).verdict() == verdict


def test_of_a_network_without_memory_nothing_is_said_of_memory() -> None:
    for rival, verdict in [
        (
            0.9,
            "network has the lowest MASE, 0.8. It has no memory, so that says nothing of memory.",
        ),
        (0.7, "fnn did no worse than network (MASE 0.7 against 0.8), which has no memory."),
    ]:
        scores = [a_score("network", 3, 0.8), a_score("fnn", 3, rival)]
        comparison = replace(compared(*scores), remembers=False)
        assert Comparison.from_dict(comparison.to_dict()).verdict() == verdict
    old = compared(*scores).to_dict()
    del old["remembers"]
    assert Comparison.from_dict(old).remembers


def test_every_model_that_did_no_worse_is_named() -> None:
    scores = [a_score("network", 3, 0.8), a_score("fnn", 2, 0.7), a_score("auto_ets", 2, 0.8)]
    assert "fnn and auto_ets did no worse than network (MASE 0.7" in compared(*scores).verdict()


@pytest.mark.parametrize("bad", [0, 1])
def test_no_verdict_without_numbers(bad: int) -> None:
    scores = [a_score("network", 3.0), a_score("fnn", 4.0)]
    scores[bad] = replace(scores[bad], mae=NAN)
    assert "pay" not in compared(*scores).verdict()


def same(one: Any, other: Any) -> bool:
    """Equal, NaN to NaN; as a text NaN is itself."""
    return repr(one) == repr(other)


def test_a_comparison_survives_json_with_nan() -> None:
    comparison = compared(a_score("network", 3, 0.8), replace(a_score("fnn", 2), parameters=5))
    text = json.dumps(comparison.to_dict(), allow_nan=False)
    assert same(Comparison.from_dict(json.loads(text)), comparison)


def test_metrics_are_numbers() -> None:
    assert a_score("network", 3).metrics() == {
        "mae": 3, "smape": 3.0, "crps": 0.5, "coverage_80": 0.75,
    }  # fmt: skip
