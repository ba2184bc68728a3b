from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsforecast.models import MSTL, AutoARIMA, AutoETS, SeasonalNaive

from noria.errors import DataError, UsageError
from noria.training import baselines
from noria.training.baselines import PointAndIntervals, auto_arima, auto_ets, seasonal_naive
from noria.training.metrics import mase, seasonal_naive_scale

NAN = float("nan")


def seasonal_series(season: int, length: int, seed: int = 0) -> Any:
    noise = np.random.default_rng(seed).normal(size=length)
    return 100 + 10 * np.sin(2 * np.pi * np.arange(length) / season) + noise


def assert_same(found: PointAndIntervals, reference: dict[str, Any], skip: int = 0) -> None:
    np.testing.assert_allclose(found.mean, reference["mean"][skip:])
    for level in found.lower:
        np.testing.assert_allclose(found.lower[level], reference[f"lo-{level}"][skip:])
        np.testing.assert_allclose(found.upper[level], reference[f"hi-{level}"][skip:])


@pytest.mark.parametrize(("length", "season"), [(20, 4), (23, 7), (30, 1), (8, 7)])
def test_seasonal_naive_is_that_of_statsforecast(length: int, season: int) -> None:
    history = seasonal_series(season, length)
    reference = SeasonalNaive(season).forecast(y=history, h=10, level=[80, 95])
    assert_same(seasonal_naive(history, 10, season, (80, 95)), reference)


def test_seasonal_naive_by_hand() -> None:
    found = seasonal_naive(np.array([1.0, 2.0, 4.0, 6.0]), 5, 2, (90,))
    assert found.mean.tolist() == [4, 6, 4, 6, 4]
    # Seasonal differences 3 and 4; the normal quantile of 95%.
    width = 1.6448536269514722 * np.sqrt((9 + 16) / 2) * np.sqrt([1, 1, 2, 2, 3])
    np.testing.assert_allclose(found.upper[90], found.mean + width)
    np.testing.assert_allclose(found.lower[90], found.mean - width)
    assert seasonal_naive(np.array([1.0, 2.0]), 1, 2).lower == {}


def test_seasonal_naive_goes_further_back_past_missing_values() -> None:
    found = seasonal_naive(np.array([1.0, 2.0, 3.0, 5.0, NAN, 7.0]), 4, 2, (80,))
    assert found.mean.tolist() == [3, 7, 3, 7]
    # The first value is two seasons old, so its interval is that of two seasons ahead.
    widths = (found.upper[80] - found.mean) / (found.upper[80] - found.mean)[1]
    np.testing.assert_allclose(widths, np.sqrt([2, 1, 3, 2]))
    # The second phase was never observed.
    found = seasonal_naive(np.array([1.0, NAN, 3.0, NAN]), 2, 2)
    assert found.mean.tolist() == [3, 3]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_history_no_longer_than_a_season_is_repeated_by_its_last_value(length: int) -> None:
    history = np.arange(1.0, length + 1)
    found = seasonal_naive(history, 3, 5, (80,))
    assert found.mean.tolist() == [length] * 3
    if length == 1:
        assert np.isnan(found.lower[80]).all()
    else:
        np.testing.assert_allclose(
            (found.upper[80] - found.mean) ** 2 / 1.2815515655446004**2, [1, 2, 3]
        )


@given(
    history=st.lists(st.one_of(st.just(NAN), st.floats(-9, 9)), min_size=1, max_size=40),
    season=st.integers(1, 12),
    horizon=st.integers(1, 30),
)
def test_seasonal_naive_repeats_what_was_observed(
    history: list[float], season: int, horizon: int
) -> None:
    values = np.array(history)
    if np.isnan(values).all():
        with pytest.raises(DataError, match="no observed value"):
            seasonal_naive(values, horizon, season)
        return
    mean = seasonal_naive(values, horizon, season).mean
    assert np.isin(mean, values).all()
    np.testing.assert_array_equal(mean[season:], mean[:-season] if len(mean) > season else [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, ()), "horizon=0 and season=1 must be at least 1"),
        ((1, 0, ()), "horizon=1 and season=0 must be at least 1"),
        ((1, 1, (100,)), "the level 100 of an interval must lie between 0 and 100"),
    ],
)
def test_arguments_out_of_range(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        seasonal_naive(np.ones(3), *arguments)
    with pytest.raises(UsageError, match=message):
        auto_ets([np.ones(3)], *arguments)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_auto_ets_is_that_of_statsforecast(n_jobs: int) -> None:
    histories = [seasonal_series(4, 40, seed) for seed in range(3)]
    found, fallbacks = auto_ets(histories, 6, 4, (80,), n_jobs=n_jobs)
    assert fallbacks == 0
    for forecast, history in zip(found, histories, strict=True):
        assert_same(forecast, AutoETS(4).forecast(y=history, h=6, level=[80]))


def test_a_season_too_long_for_ets_is_taken_out_by_stl() -> None:
    history = seasonal_series(48, 200)
    (found,), fallbacks = auto_ets([history], 48, 48, (80,))
    model = MSTL(48, trend_forecaster=AutoETS(model="ZZN"))
    assert_same(found, model.forecast(y=history, h=48, level=[80]))
    assert fallbacks == 0
    truth = 100 + 10 * np.sin(2 * np.pi * np.arange(200, 248) / 48)
    assert np.abs(found.mean - truth).mean() < 1


@pytest.mark.parametrize("season", [12, 48])
def test_a_history_shorter_than_two_seasons_has_no_seasonal_part(season: int) -> None:
    history = seasonal_series(season, 2 * season - 1)
    (found,), fallbacks = auto_ets([history], 3, season)
    assert_same(found, AutoETS(1).forecast(y=history, h=3))
    assert fallbacks == 0


def test_missing_values_are_interpolated_and_those_at_the_end_forecast() -> None:
    whole = seasonal_series(4, 40)
    whole[11] = (whole[10] + whole[12]) / 2
    history = whole.copy()
    history[11] = NAN
    padded = np.concatenate([[NAN, NAN], history, [NAN, NAN, NAN]])
    (found,), fallbacks = auto_ets([padded], 5, 4, (80,))
    assert_same(found, AutoETS(4).forecast(y=whole, h=8, level=[80]), skip=3)
    assert fallbacks == 0


def test_a_series_that_ets_cannot_fit_is_seasonal_naive() -> None:
    histories = [np.array([1.0, 2.0, 3.0]), seasonal_series(4, 40)]
    found, fallbacks = auto_ets(histories, 2, 4, (80,))
    assert fallbacks == 1
    naive = seasonal_naive(histories[0], 2, 4, (80,))
    np.testing.assert_array_equal(found[0].mean, naive.mean)
    np.testing.assert_array_equal(found[0].upper[80], naive.upper[80])


@pytest.mark.parametrize("season", [4, 13])
def test_auto_arima_is_that_of_statsforecast(season: int) -> None:
    history = seasonal_series(season, 60)
    model = AutoARIMA(season_length=season)
    if season > 12:
        model = MSTL(season_length=season, trend_forecaster=AutoARIMA(season_length=1))
    found, fallbacks = auto_arima([history], 5, season, (80,))
    assert fallbacks == 0
    assert_same(found[0], model.forecast(y=history, h=5, level=[80]))


def test_of_a_long_history_the_end_is_taken() -> None:
    history = seasonal_series(4, 5_000)
    (whole,), _ = auto_ets([history], 3, 1)
    (end,), _ = auto_ets([history[-4_096:]], 3, 1)
    np.testing.assert_array_equal(whole.mean, end.mean)


def test_a_constant_series() -> None:
    (found,), _ = auto_ets([np.full(40, 3.0)], 2, 4, (80,))
    np.testing.assert_allclose(found.mean, 3)
    np.testing.assert_allclose(found.upper[80], 3, rtol=1e-5)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_series_is_begun_after_the_time_is_up(n_jobs: int) -> None:
    histories = [seasonal_series(24, 400, seed) for seed in range(30)]
    found, fallbacks = auto_ets(histories, 3, 24, n_jobs=n_jobs, timeout_s=0.5)
    assert fallbacks > 0
    assert len(found) == 30
    np.testing.assert_array_equal(found[-1].mean, seasonal_naive(histories[-1], 3, 24).mean)


def test_a_killed_process_costs_no_more_than_its_forecasts(monkeypatch: Any) -> None:
    monkeypatch.setattr(baselines, "_forecast", die)
    found, fallbacks = auto_ets([seasonal_series(4, 40)] * 3, 2, 4, n_jobs=2)
    assert fallbacks == 3
    np.testing.assert_array_equal(found[0].mean, seasonal_naive(seasonal_series(4, 40), 2, 4).mean)


def die(*job: Any) -> None:
    import os

    os._exit(1)


def test_no_series_and_no_processes() -> None:
    assert auto_ets([], 2, 4, n_jobs=2) == ([], 0)
    with pytest.raises(UsageError, match="n_jobs=0 must be at least 1"):
        auto_ets([np.ones(3)], 2, 4, n_jobs=0)


def test_statsforecast_is_needed() -> None:
    program = (
        "import sys; sys.modules['statsforecast'] = None\n"
        "import numpy as np\n"
        "from noria.errors import MissingExtraError\n"
        "from noria.training.baselines import auto_ets\n"
        "from noria.training import metrics\n"
        "try: auto_ets([np.ones(3)], 1, 1)\n"
        "except MissingExtraError as error: print(error)\n"
        "print('torch' in sys.modules, 'pandas' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "the AutoETS baseline needs statsforecast: pip install 'noria[series]'",
        "False False",
    ]


def test_seasonal_naive_on_m4_hourly_is_as_published(shared_data: Path) -> None:
    def rows(name: str) -> list[Any]:
        with (shared_data / "series" / "m4-hourly" / name).open() as file:
            return [
                np.array([float(v) for v in row[1:] if v]) for row in list(csv.reader(file))[1:]
            ]

    train, test = rows("train.csv"), np.array(rows("test.csv"))
    scale = [seasonal_naive_scale(history, 24) for history in train]
    mean = np.array([seasonal_naive(history, 48, 24).mean for history in train])
    assert round(mase(test, mean, scale), 3) == 1.193
