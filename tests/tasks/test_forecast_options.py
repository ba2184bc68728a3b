"""Segments, ensembles, distributions, a search for settings, and training on from a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from noria.errors import DataError, UsageError
from noria.tasks.forecast import Forecaster
from tests.tasks.series import ROLES, hourly, several, small, with_covariates

ALONE: dict[str, Any] = {"baselines": (), "test_windows": 0}


def weights(forecaster: Forecaster) -> dict[str, bytes]:
    return {name: w.tobytes() for name, w in forecaster.network_.weights().items()}


def repeating(periods: int, length: int = 9) -> pl.DataFrame:
    """A season of nine steps that nobody is told of, different in every repetition but for one."""
    random = np.random.default_rng(0)
    y = np.tile(random.normal(size=length), periods) + 0.05 * random.normal(size=periods * length)
    return pl.DataFrame({"ds": np.arange(len(y)), "y": y})


def test_segments_learn_what_is_in_the_window() -> None:
    data = repeating(60)
    forecaster = small(
        cell="gru", segment_length=9, context_length=27, seasons=(), steps=400, hidden_size=24,
        learning_rate=1e-2, dropout=0.0, recurrent_dropout=0.0, batch_size=16,
    ).fit(data)  # fmt: skip
    network, naive = forecaster.comparison_.scores
    assert network.mae < 0.3 * naive.mae


def test_a_window_is_all_that_a_forecast_depends_on() -> None:
    data = hourly(120)
    forecaster = small(segment_length=4, context_length=16, seasons=(), **ALONE).fit(data)
    changed = data.with_columns(
        y=pl.when(pl.int_range(pl.len()) == 103).then(pl.col("y") + 9).otherwise("y")
    )
    scale = pl.col("y").diff().abs().mean()
    assert data.select(scale).item() != changed.select(scale).item()
    panel, other = (forecaster._panel(forecaster._read(frame)) for frame in (data, changed))
    for name in ("_scale", "_level"):
        setattr(other, name, getattr(panel, name))
    from noria.training.windows import Origins

    def forecast(panel: Any, t: int) -> Any:
        return forecaster.network_.quantiles(panel, Origins(*(np.array([n]) for n in (0, t, 120))))

    other._inputs = panel._inputs
    np.testing.assert_array_equal(forecast(panel, 119), forecast(other, 119))
    assert (forecast(panel, 118) != forecast(other, 118)).any()


def test_sizes_by_the_data() -> None:
    few = small(hidden_size=None, steps=1, **ALONE).fit(hourly(120))
    assert few.chosen_ == {"hidden_size": 32, "context_length": 64}
    many = small(hidden_size=None, steps=1, segment_length=12, **ALONE).fit(hourly(2_100))
    assert many.chosen_ == {"hidden_size": 128, "context_length": 48}
    assert many.network_.wiring.layers[0].hidden_size == 128
    short = small(steps=1, segment_length=12, context_length=96, **ALONE).fit(hourly(60))
    assert short.chosen_["context_length"] == 48


def test_an_ensemble_forecasts_the_mean_of_its_members() -> None:
    data = several()
    both = small(ensemble=2, **ALONE).fit(data)
    alone = [small(seed=seed, **ALONE).fit(data) for seed in (0, 1)]
    for number, member in enumerate(alone):
        own = {f"{number}{name[1:]}": value for name, value in weights(member).items()}
        assert own.items() <= weights(both).items()
    assert len(weights(both)) == 2 * len(weights(alone[0]))
    middles = [member.predict(data)["forecast"].to_numpy() for member in alone]
    np.testing.assert_allclose(both.predict(data)["forecast"], np.mean(middles, 0), rtol=1e-5)


def test_an_ensemble_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    data, checkpoint = several(), tmp_path / "c"
    whole = small(ensemble=2, checkpoint_every=7, **ALONE).fit(data)
    first = small(ensemble=2, checkpoint_every=7, **ALONE).fit(data, checkpoint=checkpoint)
    assert weights(first) == weights(whole)
    files = first.checkpoints(checkpoint)
    assert sorted(tmp_path.iterdir()) == sorted(files[:2])
    files[1].unlink()
    again = small(ensemble=2, checkpoint_every=7, **ALONE)
    assert weights(again.fit(data, checkpoint=checkpoint, resume=True)) == weights(whole)
    assert again.history_.seconds >= first.history_.seconds / 4


def counts(length: int) -> pl.DataFrame:
    """Sales that depend on the hour, most of them none."""
    random = np.random.default_rng(1)
    mean = 0.5 + 6 * (np.arange(length) % 12 == 3)
    drawn = random.negative_binomial(2.0, 2.0 / (2.0 + mean))
    return hourly(length).with_columns(y=pl.Series(drawn.astype(float)))


def test_counts() -> None:
    data = counts(1_200)
    options = {"steps": 250, "hidden_size": 16, "learning_rate": 1e-2, "test_windows": 20}
    forecaster = small(distribution="negative_binomial", levels=(80,), **options).fit(data)
    found = forecaster.predict(data)
    ends = found.select("forecast", "lo-80", "hi-80").to_numpy()
    assert (ends == np.rint(ends)).all()
    assert (ends >= 0).all()
    peak = (np.arange(1_200, 1_206) % 12) == 3
    assert (found["hi-80"].to_numpy()[peak] >= 6).all()
    assert (found["hi-80"].to_numpy()[~peak] <= 3).all()
    (network, naive) = forecaster.comparison_.scores
    assert network.crps < 0.8 * naive.crps
    assert 0.78 < network.coverage[80] < 0.99


def test_counts_stay_counts_beyond_the_horizon() -> None:
    data = counts(240)
    forecaster = small(distribution="negative_binomial", steps=30, **ALONE).fit(data)
    ends = forecaster.predict(data, horizon=20).select(pl.col("^(forecast|lo|hi).*$")).to_numpy()
    assert (ends == np.rint(ends)).all()
    assert (ends >= 0).all()


def test_only_counts_are_counts() -> None:
    with pytest.raises(DataError, match=r"series 'a': y has the value 3[0-9.]*; negative_b"):
        small(distribution="negative_binomial").fit(hourly(120))


def test_student_t_intervals_cover() -> None:
    random = np.random.default_rng(2)
    y = 5 * random.standard_t(2.5, size=1_500)
    data = hourly(1_500).with_columns(y=pl.Series(y))
    options = {"steps": 150, "learning_rate": 5e-3, "validation_windows": 20, "test_windows": 40}
    forecaster = small(distribution="student_t", **options).fit(data)
    network = forecaster.comparison_.scores[0]
    assert 0.72 < network.coverage[80] < 0.88
    assert 0.91 < network.coverage[95] < 0.99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distribution": "gamma"}, "distribution 'gamma' is none of quantiles, student_t, neg"),
        ({"segment_length": 0}, "segment_length is 0"),
        ({"segment_length": 5, "context_length": 12}, "segments of 5 steps it must be a multiple"),
        ({"ensemble": 0}, "ensemble is 0"),
        ({"search": -1}, "search is -1"),
        ({"horizon": 3.5}, "horizon is 3.5: it must be a whole number"),
        ({"hidden_size": "8"}, "hidden_size is '8': it must be a whole number"),
        ({"batch_size": True}, "batch_size is True: it must be a whole number"),
        ({"test_windows": 1.5}, "test_windows is 1.5: it must be a whole number"),
        ({"search": "1"}, "search is '1': it must be a whole number"),
        ({"seed": 1.5}, "seed is 1.5: it must be a whole number"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1': it must be a number"),
        ({"dropout": "0.1"}, "dropout is '0.1': it must be a number"),
        ({"levels": ("80",)}, "a level is '80': it must be a number"),
        ({"levels": 80}, r"levels is 80: give several, as in \[80\]"),
        ({"seasons": 24}, r"seasons is 24: give several, as in \[24\]"),
        ({"seasons": (3.5,)}, "a season is 3.5: it must be a whole number"),
        ({"baselines": ("arima",)}, "'arima' is none of fnn, seasonal_naive, auto_ets, auto_ari"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**settings).fit(hourly(120))


def test_auto_arima_where_asked_for() -> None:
    forecaster = small(steps=1, baselines=("auto_arima", "auto_ets")).fit(hourly(120))
    assert [s.model for s in forecaster.comparison_.scores] == ["network", "auto_ets", "auto_arima"]
    assert forecaster.comparison_.scores[2].mase < 1


def test_a_search_takes_what_validates_best(monkeypatch: pytest.MonkeyPatch) -> None:
    from noria.tasks import forecast_settings

    tried: list[tuple[float, dict[str, Any]]] = []
    train = forecast_settings.train_forecaster

    def watched(wiring: Any, panel: Any, split: Any, recipe: Any, *rest: Any, **more: Any) -> Any:
        part = train(wiring, panel, split, recipe, *rest, **more)
        layer = wiring.layers[0]
        found = {"cell": layer.cell, "hidden_size": layer.hidden_size, "recipe": recipe}
        tried.append((min(part.history.validation), found))
        return part

    monkeypatch.setattr(forecast_settings, "train_forecaster", watched)
    forecaster = small(search=4, steps=15, **ALONE).fit(several())
    assert len(tried) == 5
    assert tried[0][1]["hidden_size"] == 8
    assert len({str(found) for _, found in tried}) > 2
    best, found = min(tried, key=lambda pair: pair[0])
    assert min(forecaster.history_.validation) == best
    for name in ("cell", "hidden_size"):
        assert forecaster.chosen_[name] == found[name]
    assert forecaster.chosen_["learning_rate"] == found["recipe"].training.learning_rate
    assert forecaster.search == 4
    assert forecaster.cell == "lstm"


def test_what_a_search_found_is_in_the_model_file(tmp_path: Path) -> None:
    forecaster = small(search=1, steps=4, **ALONE).fit(several())
    forecaster.save(tmp_path / "m.noria")
    loaded = Forecaster.load(tmp_path / "m.noria")
    assert loaded.chosen_ == forecaster.chosen_
    assert_frame_equal(loaded.predict(several()), forecaster.predict(several()), check_exact=True)
    assert loaded.refit(several()).network_.wiring == forecaster.network_.wiring


def test_training_on_begins_where_it_stopped(tmp_path: Path) -> None:
    data = with_covariates(200)
    first = small(steps=60, **ALONE).fit(data[:150], **ROLES)
    first.save(tmp_path / "m.noria")
    again = Forecaster.load(tmp_path / "m.noria").set_params(steps=1, learning_rate=1e-9)
    assert again.refit(data) is again
    for name, value in first.network_.weights().items():
        np.testing.assert_allclose(again.network_.weights()[name], value, atol=1e-6)
    assert again.trained_on_["rows"] == 200
    assert again.scaler_.mean.tolist() == first.scaler_.mean.tolist()
    assert again.columns_ == first.columns_
    assert again.network_.factors.tolist() != first.network_.factors.tolist()
    # the first validation of a training from scratch is worse than that of one that goes on
    on = Forecaster.load(tmp_path / "m.noria").set_params(steps=10).refit(data)
    fresh = small(steps=10, **ALONE).fit(data, **ROLES)
    assert on.history_.validation[0] < 0.9 * fresh.history_.validation[0]


def test_training_on_needs_a_model_and_its_columns() -> None:
    with pytest.raises(UsageError, match="not fitted yet"):
        small().refit(hourly(120))
    fitted = small(steps=1, **ALONE).fit(hourly(120))
    with pytest.raises(DataError, match="'y'"):
        fitted.refit(hourly(120).rename({"y": "load"}))


def test_what_a_network_was_made_by_stays(tmp_path: Path) -> None:
    data = hourly(120)
    small(steps=1, **ALONE).fit(data).save(tmp_path / "m.noria")
    for name, value in [("horizon", 9), ("cell", "gru"), ("levels", (50,)), ("ensemble", 2)]:
        fitted = Forecaster.load(tmp_path / "m.noria").set_params(**{name: value})
        with pytest.raises(UsageError, match=rf"^{name} is .* and was .* when this forecaster was"):
            fitted.refit(data)
    fitted = Forecaster.load(tmp_path / "m.noria").set_params(horizon=9)
    for ask in (fitted.predict, fitted.evaluate):
        with pytest.raises(UsageError, match="horizon is 9 and was 6 when"):
            ask(data)
    fitted = small(steps=1, **ALONE).fit(data)
    with pytest.raises(UsageError, match=r"horizon is 2\.5: it must be a whole number"):
        fitted.predict(data, horizon=2.5)
    with pytest.raises(UsageError, match=r"windows is 1\.5: it must be a whole number"):
        fitted.evaluate(data, windows=1.5)
    with pytest.raises(UsageError, match="windows is '2': it must be a whole number"):
        fitted.cross_validation(data, windows="2")


def test_rolling_forecasts_of_a_model_with_segments_are_its_predictions() -> None:
    data = several().filter(pl.col("unique_id") != "c")
    forecaster = small(segment_length=4, context_length=16, steps=5)
    rolled = forecaster.cross_validation(data, windows=3, stride=2)
    last = rolled.filter(pl.col("cutoff") == pl.col("cutoff").max().over("unique_id"))
    known = data.filter(pl.int_range(pl.len()).over("unique_id") < pl.len().over("unique_id") - 6)
    shorter = data.filter(
        pl.int_range(pl.len()).over("unique_id") < pl.len().over("unique_id") - 10
    )
    fitted = small(segment_length=4, context_length=16, steps=5, **ALONE).fit(shorter)
    assert_frame_equal(
        last.select("unique_id", "ds", "forecast", "hi-95"),
        fitted.predict(known).select("unique_id", "ds", "forecast", "hi-95"),
    )


def test_the_feed_forward_rival_sees_the_whole_window() -> None:
    forecaster = small(segment_length=4, context_length=16, baselines=("fnn",)).fit(several())
    assert forecaster.fnn_.window.segment == forecaster.fnn_.window.length == 16
    size = forecaster.network_.parameter_count
    assert forecaster.fnn_.parameter_count == pytest.approx(size, rel=0.15)


def test_intervals_are_calibrated_on_what_training_was_not_stopped_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from noria.training import forecasting

    stopped: list[Any] = []
    calibrated: list[Any] = []
    objective, factors = forecasting.WindowObjective, forecasting.calibration_factors

    def watched(module: Any, panel: Any, ends: Any, validation: Any, **more: Any) -> Any:
        stopped.append(panel.forks(validation.series, validation.t, validation.ends).target)
        return objective(module, panel, ends, validation, **more)

    def watching(target: Any, *rest: Any) -> Any:
        calibrated.append(target)
        return factors(target, *rest)

    monkeypatch.setattr(forecasting, "WindowObjective", watched)
    monkeypatch.setattr(forecasting, "calibration_factors", watching)
    small(steps=1, validation_windows=10, **ALONE).fit(hourly(120))
    assert len(stopped[0]) == len(calibrated[0]) == 25  # of 5 windows of 6 steps
    assert not (stopped[0][-1] == calibrated[0][0]).any()


def test_the_season_of_step_numbers_is_found_in_the_part_for_training() -> None:
    data = repeating(12)
    assert small(seasons=None, steps=1, **ALONE).fit(data).seasons_ == (9,)
    assert small(seasons=(4,), steps=1, **ALONE).fit(data).seasons_ == (4,)
    assert small(seasons=(), steps=1, **ALONE).fit(data).seasons_ == ()
    # the last 2 windows of 6 steps are for validation
    late = data.with_columns(y=pl.when(pl.int_range(pl.len()) < 96).then(0.0).otherwise("y"))
    noise = pl.Series(np.random.default_rng(3).normal(size=108))
    late = late.with_columns(y=pl.col("y") + 0.01 * noise)
    assert small(seasons=None, steps=1, **ALONE).fit(late).seasons_ == ()
    dates = data.with_columns(ds=pl.datetime(2024, 1, 1) + pl.duration(hours=pl.col("ds")))
    assert small(seasons=None, steps=1, **ALONE).fit(dates).seasons_ == (24,)
