from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from sklearn.base import clone

from noria import Forecaster
from noria.errors import DataError, ModelFileError, UsageError
from noria.runtime import read_model, write_model
from noria.training.comparison import Comparison
from tests.tasks.series import ROLES, hourly, several, small, with_covariates

COLUMNS = ["unique_id", "ds", "forecast", "lo-80", "hi-80", "lo-95", "hi-95"]


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return small().fit(several())


@pytest.fixture(scope="module")
def informed() -> Forecaster:
    return small().fit(with_covariates(), **ROLES)


def same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """Bit for bit."""
    assert_frame_equal(one, other, check_exact=True)


def weights(forecaster: Forecaster) -> dict[str, bytes]:
    return {name: w.tobytes() for name, w in forecaster.network_.weights().items()}


def test_arguments_are_stored_as_given() -> None:
    levels, seasons, baselines = [90], [7], ["fnn"]
    forecaster = Forecaster(3, levels=levels, seasons=seasons, baselines=baselines, cell="gru")
    parameters = forecaster.get_params()
    assert parameters["levels"] is levels
    assert parameters["seasons"] is seasons
    assert parameters["baselines"] is baselines
    assert parameters["cell"] == "gru"
    assert not [name for name in vars(forecaster) if name.endswith("_")]


def test_sklearn_habits(fitted: Forecaster) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "network_")
    assert copy.set_params(horizon=9, cell="gru") is copy
    assert (copy.horizon, copy.cell) == (9, "gru")
    with pytest.raises(ValueError, match="Invalid parameter 'horison'"):
        copy.set_params(horison=3)
    assert repr(Forecaster(48, hidden_size=8)) == "Forecaster(hidden_size=8, horizon=48)"


def test_fit_returns_self_and_leaves_the_arguments_alone() -> None:
    forecaster = small(steps=1)
    before = dict(forecaster.get_params())
    assert forecaster.fit(several()) is forecaster
    assert forecaster.get_params() == before
    assert forecaster.seasons_ == (12,)
    assert forecaster.freq_ == "1h"
    assert forecaster.columns_.id == "unique_id"
    assert forecaster.history_ is forecaster.network_.history


def test_not_fitted_yet(tmp_path: Path) -> None:
    for act in (
        lambda f: f.predict(several()),
        lambda f: f.evaluate(several()),
        lambda f: f.save(tmp_path / "x.noria"),
    ):
        with pytest.raises(UsageError, match="not fitted yet: call fit first"):
            act(small())
    assert not list(tmp_path.iterdir())


def test_forecasts_follow_each_series(fitted: Forecaster) -> None:
    forecast = fitted.predict(several())
    assert forecast.columns == COLUMNS
    assert forecast["unique_id"].to_list() == ["a"] * 6 + ["b"] * 6 + ["c"] * 6
    for name, length in [("a", 120), ("b", 80), ("c", 20)]:
        stamps = forecast.filter(pl.col("unique_id") == name)["ds"].to_numpy()
        np.testing.assert_array_equal(stamps, hourly(6, first=length)["ds"].to_numpy())
    inside = forecast.select(
        (pl.col("lo-95") <= pl.col("lo-80"))
        & (pl.col("lo-80") <= pl.col("forecast"))
        & (pl.col("forecast") <= pl.col("hi-80"))
        & (pl.col("hi-80") <= pl.col("hi-95"))
    )
    assert inside.to_series().all()
    assert forecast["forecast"].is_between(20, 40).all()


def test_save_and_load_give_the_same_forecasts(fitted: Forecaster, tmp_path: Path) -> None:
    path = tmp_path / "m.noria"
    fitted.save(path)
    loaded = Forecaster.load(path)
    same(loaded.predict(several()), fitted.predict(several()))
    same(loaded.predict(several(), horizon=15), fitted.predict(several(), horizon=15))
    assert weights(loaded) == weights(fitted)
    assert repr(loaded.comparison_) == repr(fitted.comparison_)
    assert loaded.history_ == fitted.history_
    assert loaded.trained_on_ == fitted.trained_on_
    assert loaded.exhibits_ == fitted.exhibits_
    again = tmp_path / "again.noria"
    loaded.save(again)
    assert read_model(again).sha256 == read_model(path).sha256


def test_save_and_load_with_covariates(informed: Forecaster, tmp_path: Path) -> None:
    informed.save(tmp_path / "m.noria")
    data = with_covariates(ahead=6)
    same(Forecaster.load(tmp_path / "m.noria").predict(data), informed.predict(data))


def test_a_model_of_another_task(fitted: Forecaster, tmp_path: Path) -> None:
    document = {"task": "tag", "wiring": fitted.network_.wiring.to_dict()}
    write_model(tmp_path / "m.noria", document, {"a": np.zeros(1)})
    with pytest.raises(ModelFileError, match="is a model for tag, not for forecast"):
        Forecaster.load(tmp_path / "m.noria")


def test_a_document_that_does_not_fit_its_weights(fitted: Forecaster, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    file = read_model(tmp_path / "m.noria")
    for change in ({"settings": {"sideways": 1}}, {"parts": {}}, {"scaler": None}):
        document = {**file.document, **change}
        del document["format"], document["version"]
        write_model(tmp_path / "n.noria", document, file.weights)
        with pytest.raises(ModelFileError, match=r"n\.noria is damaged"):
            Forecaster.load(tmp_path / "n.noria")
    fewer = {name: w for name, w in file.weights.items() if not name.endswith("code")}
    document = {k: v for k, v in file.document.items() if k not in ("format", "version")}
    write_model(tmp_path / "n.noria", document, fewer)
    with pytest.raises(ModelFileError, match=r"n\.noria is damaged"):
        Forecaster.load(tmp_path / "n.noria")


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "csv", "parquet"])
def test_any_data_frame_gives_the_same_forecasts(
    fitted: Forecaster, kind: str, tmp_path: Path
) -> None:
    frame = several()
    given: Any = {
        "pandas": frame.to_pandas,
        "polars": lambda: frame,
        "pyarrow": frame.to_arrow,
        "csv": lambda: tmp_path / "t.csv",
        "parquet": lambda: str(tmp_path / "t.parquet"),
    }[kind]()
    if kind == "csv":
        frame.write_csv(given)
    if kind == "parquet":
        frame.write_parquet(given)
    forecast = fitted.predict(given)
    expected = pl.DataFrame if isinstance(given, str | Path) else type(given)
    assert isinstance(forecast, expected)
    if kind == "pandas":
        assert isinstance(forecast, pd.DataFrame)
        assert forecast["ds"].dtype.kind == "M"
    same(pl.DataFrame(forecast).cast({"ds": pl.Datetime("us")}), fitted.predict(frame))


def test_training_is_the_same_from_any_data_frame(tmp_path: Path) -> None:
    frame = with_covariates(80)
    frame.write_csv(tmp_path / "t.csv")
    fits = [
        small(steps=3).fit(data, **ROLES)
        for data in (frame, frame.to_pandas(), frame.to_arrow(), tmp_path / "t.csv")
    ]
    assert all(weights(fit) == weights(fits[0]) for fit in fits)
    assert len({fit.trained_on_["data_sha256"] for fit in fits}) == 1


def test_a_series_is_forecast_the_same_alone_and_among_others(fitted: Forecaster) -> None:
    together = fitted.predict(several())
    for name in ("a", "b", "c"):
        mine = pl.col("unique_id") == name
        alone = fitted.predict(several().filter(mine))
        assert_frame_equal(alone, together.filter(mine), rel_tol=1e-5)


def test_a_series_that_was_not_trained_on(fitted: Forecaster) -> None:
    other = hourly(60, "new", seed=9).with_columns(y=1000 * pl.col("y"))
    forecast = fitted.predict(other)
    assert set(forecast["unique_id"]) == {"new"}
    assert forecast["forecast"].is_between(20_000, 40_000).all()


def test_one_series_without_an_id() -> None:
    data = hourly(100).drop("unique_id").rename({"ds": "hour", "y": "load"})
    forecaster = small(steps=2).fit(data, time="hour", target="load")
    forecast = forecaster.predict(data)
    assert forecast.columns[:2] == ["unique_id", "hour"]
    assert set(forecast["unique_id"]) == {"load"}


def test_columns_of_other_names_and_step_numbers() -> None:
    data = several().with_columns(step=pl.int_range(pl.len()).over("unique_id") * 5)
    data = data.rename({"unique_id": "plant", "y": "load"})
    forecaster = small(steps=2).fit(data, id="plant", time="step", target="load")
    forecast = forecaster.predict(data)
    assert forecast.columns[:2] == ["plant", "step"]
    assert forecast["step"].to_list()[:3] == [600, 605, 610]
    assert forecaster.freq_ == "5"


def test_time_in_several_columns() -> None:
    stamp = pl.col("ds").dt
    data = hourly(100).with_columns(
        day=stamp.day(), month=stamp.month(), year=stamp.year(), hour=stamp.hour()
    )
    forecaster = small(steps=2).fit(data.drop("ds"), time="year,month,day,hour")
    assert_frame_equal(
        forecaster.predict(data.drop("ds")).select("ds"), hourly(6, first=100).select("ds")
    )


def test_a_shorter_horizon_is_the_beginning_of_the_whole(fitted: Forecaster) -> None:
    whole = fitted.predict(several())
    first = whole.group_by("unique_id", maintain_order=True).head(2)
    same(fitted.predict(several(), horizon=2), first)


def test_a_longer_horizon_goes_on_from_its_medians(fitted: Forecaster) -> None:
    data = hourly(120)
    far = fitted.predict(data, horizon=15)
    same(far.head(6), fitted.predict(data))
    more = hourly(126).with_columns(y=pl.concat([data["y"], far["forecast"].head(6)]))
    again = fitted.predict(more)
    np.testing.assert_allclose(far["forecast"][6:12], again["forecast"], rtol=1e-5)
    assert far["ds"].to_list() == hourly(15, first=120)["ds"].to_list()


def test_intervals_beyond_the_trained_horizon_are_never_narrower(fitted: Forecaster) -> None:
    far = fitted.predict(several(), horizon=20)
    for _, series in far.group_by("unique_id"):
        for level in (80, 95):
            for end, sign in ((f"lo-{level}", -1), (f"hi-{level}", 1)):
                apart = sign * (series[end] - series["forecast"]).to_numpy()
                assert (apart >= 0).all()
                for first in (6, 12, 18):
                    assert (apart[first : first + 6] >= apart[first - 1]).all()


def test_levels_are_those_asked_for(fitted: Forecaster) -> None:
    whole = fitted.predict(several())
    fewer = fitted.predict(several(), levels=[95])
    same(fewer, whole.drop("lo-80", "hi-80"))
    assert fitted.predict(several(), levels=()).columns == COLUMNS[:3]
    assert fitted.predict(several(), levels=(50,)).columns[3:] == ["lo-50", "hi-50"]
    with pytest.raises(UsageError, match="level 90 was not trained; this model has 50, 80, 95"):
        fitted.predict(several(), levels=(90,))
    with pytest.raises(UsageError, match="horizon is 0"):
        fitted.predict(several(), horizon=0)


@pytest.mark.parametrize("role", ["id", "time"])
@pytest.mark.parametrize("name", ["forecast", "cutoff", "y"])
def test_columns_that_would_stand_twice_in_the_result(role: str, name: str) -> None:
    taken = {"id": "unique_id", "time": "ds"}[role]
    data = hourly(100).rename({"y": "load"}).rename({taken: name})
    with pytest.raises(UsageError, match=f"column '{name}' has the name of a result; rename it"):
        small().fit(data, target="load", **{role: name})


def test_levels_in_any_order_and_form() -> None:
    forecaster = small(steps=1, levels=(95, 80.0, 80)).fit(hourly(60))
    assert forecaster.predict(hourly(60)).columns == COLUMNS


def test_missing_values_and_rows() -> None:
    holes = pl.int_range(pl.len()) % 7 == 3
    data = several().with_columns(y=pl.when(holes).then(None).otherwise(pl.col("y")))
    forecaster = small(steps=5).fit(data)
    forecast = forecaster.predict(data)
    assert forecast["forecast"].is_finite().all()
    # a row that is not there is a missing value
    absent = data.filter(pl.col("y").is_not_null())
    same(forecaster.predict(absent), forecast)
    # a series begins with its first value, wherever its rows begin
    late = pl.concat(
        [hourly(5, "d").with_columns(y=pl.lit(None, pl.Float64)), hourly(50, "d", first=5)]
    )
    same(forecaster.predict(late), forecaster.predict(late.tail(50)))


def test_a_long_gap_and_a_constant_series() -> None:
    gap = pl.int_range(pl.len()).is_between(30, 60)
    data = pl.concat(
        [
            hourly(100, "gap").with_columns(y=pl.when(gap).then(None).otherwise(pl.col("y"))),
            hourly(100, "constant").with_columns(y=pl.lit(0.1)),
        ]
    )
    forecaster = small(steps=5).fit(data)
    forecast = forecaster.predict(data)
    assert forecast["forecast"].is_finite().all()
    assert forecaster.comparison_ is not None
    assert np.isfinite(forecaster.comparison_.scores[0].mase)


def test_nothing_but_constant_series(tmp_path: Path) -> None:
    data = hourly(100).with_columns(y=pl.lit(0.1))
    forecaster = small(steps=5, baselines=("fnn", "seasonal_naive")).fit(data)
    assert forecaster.comparison_ is not None
    assert np.isnan(forecaster.comparison_.scores[0].mase)
    assert "MAE" in forecaster.comparison_.verdict()
    forecaster.save(tmp_path / "m.noria")
    assert repr(Forecaster.load(tmp_path / "m.noria").comparison_) == repr(forecaster.comparison_)


def test_covariates_of_every_kind_make_a_difference(informed: Forecaster) -> None:
    data = with_covariates(ahead=6)
    forecast = informed.predict(data)
    assert informed.categories_ == {
        "sky": ("blue", "grey"), "school": ("open", "shut"), "town": ("Rome",),
    }  # fmt: skip
    last = pl.int_range(pl.len()) == 119
    coming = pl.int_range(pl.len()) == 122
    changes = {
        "rain": pl.when(last).then(9.0).otherwise(pl.col("rain")).alias("rain"),
        "sky": pl.when(last).then(pl.lit("red")).otherwise(pl.col("sky")).alias("sky"),
        "holiday": pl.when(coming).then(9.0).otherwise(pl.col("holiday")).alias("holiday"),
        "school": pl.when(coming).then(pl.lit("?")).otherwise(pl.col("school")).alias("school"),
        "size": pl.lit(7.5).alias("size"),
    }
    for name, change in changes.items():
        other = informed.predict(data.with_columns(change))
        differ = (other["forecast"] != forecast["forecast"]).to_list()
        if name in ("holiday", "school"):
            assert differ == [False, False, True, False, False, False], name
        else:
            assert all(differ), name


def test_a_covariate_that_drives_the_series_is_used() -> None:
    data = with_covariates(400, ahead=6)
    forecaster = small(steps=150, learning_rate=0.01).fit(data, **ROLES)

    def forecast(holiday: float) -> Any:
        ahead = pl.int_range(pl.len()) >= 400
        change = pl.when(ahead).then(holiday).otherwise(pl.col("holiday")).alias("holiday")
        return forecaster.predict(data.with_columns(change))["forecast"]

    assert (forecast(1.0) - forecast(0.0)).mean() == pytest.approx(4, abs=1.5)


@pytest.mark.parametrize("column", [name for names in ROLES.values() for name in names])
def test_a_covariate_without_a_value_to_learn_from_is_refused(column: str) -> None:
    data = with_covariates()
    held_out = column not in ROLES["static"]
    late = pl.when((pl.int_range(pl.len()) >= 115) & held_out).then(column).alias(column)
    with pytest.raises(DataError, match=f"column '{column}': has no value in the part to learn"):
        small().fit(data.with_columns(late), **ROLES)


def test_missing_future_covariates_are_named(informed: Forecaster) -> None:
    for ahead, horizon in [(0, 6), (5, 6), (6, 7)]:
        with pytest.raises(DataError) as caught:
            informed.predict(with_covariates(ahead=ahead), horizon=horizon)
        last = hourly(1, first=120 + horizon - 1)["ds"][0].isoformat()
        assert str(caught.value).startswith(
            f"series 'a': holiday, school must be given for all {horizon} steps to forecast, until"
            f" {last}"
        )
        assert str(caught.value).endswith("append rows with an empty y")
    assert len(informed.predict(with_covariates(ahead=5), horizon=5)) == 5


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
def test_every_cell_trains(cell: str) -> None:
    check_trained(small(cell=cell, steps=4))


@pytest.mark.parametrize(
    "feedback",
    [
        "none", "direct", "lateral", "direct+lateral", "indirect", "full", "direct + indirect",
        ["direct", "full"], np.tril(np.ones((2, 2), bool)),
    ],
)  # fmt: skip
def test_every_feedback_trains(feedback: Any) -> None:
    check_trained(small(feedback=feedback, num_layers=2, steps=4))


def check_trained(forecaster: Forecaster) -> None:
    data = hourly(100)
    forecaster.fit(data)
    assert np.isfinite(forecaster.history_.validation).all()
    trained = weights(forecaster)
    untrained = weights(clone(forecaster).set_params(learning_rate=1e-30, weight_decay=0).fit(data))
    assert trained.keys() == untrained.keys()
    assert {name for name in trained if trained[name] == untrained[name]} == set()
    forecast = forecaster.predict(data)
    assert forecast["forecast"].is_finite().all()


def test_every_baseline() -> None:
    forecaster = small(steps=3, baselines=("fnn", "seasonal_naive", "auto_ets")).fit(hourly(100))
    comparison = forecaster.comparison_
    assert comparison is not None
    assert [score.model for score in comparison.scores] == [
        "network", "fnn", "seasonal_naive", "auto_ets",
    ]  # fmt: skip
    network, fnn = comparison.scores[:2]
    assert network.parameters == forecaster.network_.parameter_count
    assert fnn.parameters == pytest.approx(network.parameters, rel=0.05)
    assert forecaster.fnn_ is not None
    assert not forecaster.fnn_.modules[0].remembers


def test_the_comparison_is_of_the_last_windows() -> None:
    data = pl.concat([hourly(120), hourly(70, "b", seed=3)])
    forecaster = small(steps=3, test_windows=2).fit(data)
    comparison = forecaster.comparison_
    assert comparison is not None
    assert (comparison.windows, comparison.series, comparison.horizon) == (4, 2, 6)
    errors = []
    for name, length in [("a", 120), ("b", 70)]:
        mine = data.filter(pl.col("unique_id") == name)
        for first in (length - 12, length - 6):
            forecast = forecaster.predict(mine.head(first))["forecast"]
            errors.append((forecast - mine["y"][first : first + 6]).abs().mean())
    assert comparison.scores[0].mae == pytest.approx(np.mean(errors), rel=1e-5)
    assert len(forecaster.exhibits_) == 4


def test_evaluate_is_the_comparison_on_other_data(fitted: Forecaster) -> None:
    data = pl.concat([hourly(60, "x", seed=8), hourly(50, "y", seed=9)])
    comparison = fitted.evaluate(data, windows=2)
    assert isinstance(comparison, Comparison)
    assert [score.model for score in comparison.scores] == ["network", "seasonal_naive"]
    assert (comparison.windows, comparison.series) == (4, 2)
    assert comparison.notes == ()
    assert comparison.held_out
    message = "series 'x' has 60 time steps and is the longest; 10 windows of 6 need at least 62"
    with pytest.raises(DataError, match=message):
        fitted.evaluate(data, windows=10)
    with pytest.raises(UsageError, match="windows is 0"):
        fitted.evaluate(data, windows=0)


def test_no_windows_for_a_comparison(tmp_path: Path) -> None:
    forecaster = small(steps=2, test_windows=0).fit(hourly(60))
    assert forecaster.comparison_ is None
    assert forecaster.exhibits_ == []
    forecaster.save(tmp_path / "m.noria")
    assert Forecaster.load(tmp_path / "m.noria").comparison_ is None


def test_a_seed_is_a_training(fitted: Forecaster) -> None:
    torch.manual_seed(123)
    again = small().fit(several())
    assert weights(again) == weights(fitted)
    same(again.predict(several()), fitted.predict(several()))
    other = small(seed=1).fit(several())
    assert all(w != weights(fitted)[name] for name, w in weights(other).items())


@pytest.mark.parametrize("refit", [False, True])
def test_cross_validation(refit: bool) -> None:
    data = pl.concat([hourly(90), hourly(70, "b", seed=3)])
    frame = small(steps=3).cross_validation(data, windows=3, stride=4, refit=refit)
    assert frame.columns == ["unique_id", "ds", "cutoff", "y", *COLUMNS[2:]]
    assert len(frame) == 3 * 2 * 6
    for name, length in [("a", 90), ("b", 70)]:
        mine = frame.filter(pl.col("unique_id") == name)
        truth = data.filter(pl.col("unique_id") == name)
        cutoffs = mine["cutoff"].unique().sort().to_list()
        firsts = [length - 6 - 8, length - 6 - 4, length - 6]
        assert cutoffs == [truth["ds"][first - 1] for first in firsts]
        for cutoff, first in zip(cutoffs, firsts, strict=True):
            window = mine.filter(pl.col("cutoff") == cutoff)
            assert window["ds"].to_list() == truth["ds"][first : first + 6].to_list()
            assert window["y"].to_list() == truth["y"][first : first + 6].to_list()


@pytest.mark.parametrize("refit", [False, True])
def test_cross_validation_never_looks_past_a_cutoff(refit: bool) -> None:
    data = with_covariates(90)
    model = small(steps=3)
    frame = model.cross_validation(data, windows=3, refit=refit, **ROLES)
    for known in (72, 78, 84):
        late = pl.int_range(pl.len()) >= known
        spoilt = data.with_columns(
            y=pl.when(late).then(1e5).otherwise(pl.col("y")),
            rain=pl.when(late).then(-1e5).otherwise(pl.col("rain")),
        )
        other = model.cross_validation(spoilt, windows=3, refit=refit, **ROLES)
        made_by_then = pl.col("cutoff") <= data["ds"][known - 1]
        assert other.filter(made_by_then)["forecast"].len() > 0
        same(other.filter(made_by_then).drop("y"), frame.filter(made_by_then).drop("y"))
    assert not hasattr(model, "network_")


def test_refitting_uses_what_came_in_the_meantime() -> None:
    data = hourly(90)
    once = small(steps=3).cross_validation(data, windows=2)
    again = small(steps=3).cross_validation(data, windows=2, refit=True)
    same(once.head(6), again.head(6))
    assert (once["forecast"][6:] != again["forecast"][6:]).all()
    # the last fit of all is on everything but the last horizon
    fit = small(steps=3, test_windows=0, baselines=()).fit(data.head(84))
    np.testing.assert_allclose(again["forecast"][6:], fit.predict(data.head(84))["forecast"])


def test_cross_validation_of_other_frames_and_of_too_little() -> None:
    frame = small(steps=1).cross_validation(hourly(60).to_pandas(), windows=1)
    assert isinstance(frame, pd.DataFrame)
    with pytest.raises(DataError, match="series 'a' has 60 time steps, all of them among the last"):
        small(steps=1).cross_validation(hourly(60), windows=10)
    for bad in ({"windows": 0}, {"stride": 0}):
        with pytest.raises(UsageError, match="windows and stride must be at least 1"):
            small(steps=1).cross_validation(hourly(60), **bad)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 0}, "horizon is 0: it must be at least 1"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"truncation_length": 0}, "truncation_length is 0"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0"),
        ({"context_length": 0}, "context_length is 0"),
        ({"validation_windows": 0}, "validation_windows is 0"),
        ({"test_windows": -1}, "test_windows is -1: it must be 0 or more"),
        ({"levels": (80, 100)}, "level 100: levels are whole percentages from 1 to 99"),
        ({"levels": (0.8,)}, r"level 0\.8: levels are whole percentages"),
        ({"seasons": (1,)}, "season 1: a season has at least 2 steps"),
        ({"baselines": ("arima",)}, "baseline 'arima' is none of fnn, seasonal_naive, auto_ets"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"weight_decay": -1}, "weight_decay is -1"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"dropout": 1}, "dropout is 1"),
        ({"recurrent_dropout": -0.1}, r"recurrent_dropout is -0\.1"),
        ({"cell": "lstmm"}, "cell 'lstmm' is unknown, expected one of lstm, gru"),
        ({"feedback": "sideways"}, "feedback 'sideways'"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**settings).fit(hourly(60))


def test_settings_of_numpy_numbers(tmp_path: Path) -> None:
    settings = {"horizon": np.int64(6), "hidden_size": np.int32(8), "seasons": np.array([12])}
    forecaster = small(steps=2, **settings, levels=np.array([80, 95])).fit(hourly(60))
    forecaster.save(tmp_path / "m.noria")
    same(Forecaster.load(tmp_path / "m.noria").predict(hourly(60)), forecaster.predict(hourly(60)))


def test_seasons_are_found_in_the_frequency() -> None:
    forecaster = small(steps=1, seasons=None).fit(hourly(24 * 8))
    assert forecaster.seasons_ == (24,)
    assert small(steps=1, seasons=None).fit(hourly(60)).seasons_ == ()
    assert small(steps=1, seasons=()).fit(hourly(24 * 8)).seasons_ == ()


def shifting(length: int, seed: int) -> pl.DataFrame:
    """A wave with noise on a level that jumps now and then."""
    random = np.random.default_rng(seed)
    jumps = np.where(random.random(length) < 0.01, random.normal(0, 15, length), 0)
    frame = hourly(length, f"s{seed}", seed=seed)
    return frame.with_columns(y=frame["y"] + pl.Series(jumps.cumsum()))


def test_it_learns_what_a_season_before_does_not_tell() -> None:
    data = pl.concat(shifting(600, seed) for seed in range(4))
    settings: dict[str, Any] = {
        "horizon": 12, "test_windows": 10, "batch_size": 16, "hidden_size": 16,
    }  # fmt: skip
    trained = small(steps=200, learning_rate=0.01, **settings).fit(data)
    untrained = small(steps=1, learning_rate=1e-30, **settings).fit(data)
    assert trained.comparison_ is not None
    assert untrained.comparison_ is not None
    network, naive = trained.comparison_.scores
    before = untrained.comparison_.scores[0]
    assert network.mase < 0.88 * naive.mase
    assert network.crps < 0.75 * naive.crps
    assert network.mase < 0.85 * before.mase
    assert network.crps < 0.85 * before.crps
    assert network.coverage[80] == pytest.approx(0.8, abs=0.1)
    assert "network has the lowest MASE" in trained.comparison_.verdict()
    history = trained.history_
    assert min(history.validation) < 0.9 * history.validation[0]


def test_it_remembers_what_no_window_of_the_series_shows() -> None:
    random = np.random.default_rng(0)
    rain = random.integers(0, 2, 800).astype(float)
    y = 20 + random.normal(0, 0.3, 800)
    y[3:] += 5 * rain[:-3]
    data = hourly(800).with_columns(y=pl.Series(y), rain=pl.Series(rain))
    settings: dict[str, Any] = {
        "horizon": 3, "seasons": (), "hidden_size": 16, "steps": 300, "learning_rate": 0.01,
        "dropout": 0.0, "recurrent_dropout": 0.0, "test_windows": 20, "baselines": ("fnn",),
    }  # fmt: skip
    comparison = small(**settings).fit(data, past=["rain"]).comparison_
    assert comparison is not None
    network, fnn = comparison.scores
    assert network.mase < 0.6 * fnn.mase
    assert "Memory pays here" in comparison.verdict()
    plain = small(**settings | {"steps": 1, "feedback": "none"}).fit(data).comparison_
    assert "Memory" not in plain.verdict()


def test_the_real_air_of_beijing(shared_data: Path) -> None:
    forecaster = small(steps=10, horizon=24, seasons=None)
    path = shared_data / "series" / "beijing-pm25.csv"
    forecaster.fit(
        path,
        time="year,month,day,hour",
        target="pm2.5",
        past=["DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir"],
    )
    assert forecaster.seasons_ == (24, 168)
    assert forecaster.categories_ == {"cbwd": ("NE", "NW", "SE", "cv")}
    assert forecaster.trained_on_["rows"] == 43_800
    forecast = forecaster.predict(path)
    assert forecast["ds"].to_list()[0].isoformat() == "2015-01-01T00:00:00"
    assert forecast["forecast"].is_between(-100, 900).all()


def test_a_series_too_short_to_evaluate_is_left_out(fitted: Forecaster) -> None:
    long = [hourly(60, name, seed=8) for name in ("x", "z")]
    found = fitted.evaluate(pl.concat([*long, hourly(50, "y")]), windows=9)
    alone = fitted.evaluate(pl.concat(long), windows=9)
    assert (found.windows, found.series) == (18, 2)
    assert found.scores[0].metrics() == alone.scores[0].metrics()
    left_out = "left out: series 'y', with less than the 56 time steps that 9 windows of 6 need"
    assert found.notes == (left_out,)
    with_more = fitted.evaluate(pl.concat([*long, hourly(50, "y"), hourly(9, "w")]), windows=9)
    assert with_more.notes[0].startswith("left out: series 'w' and 1 more series, with less")


def test_what_was_trained_on_is_not_called_held_out(tmp_path: Path) -> None:
    data = hourly(120)
    forecaster = small(steps=1).fit(data)
    assert forecaster.comparison_.held_out
    forecaster.save(tmp_path / "m.noria")
    loaded = Forecaster.load(tmp_path / "m.noria")
    assert loaded.evaluate(data, windows=1).held_out  # the last 6 steps, as in the fit
    three = loaded.evaluate(data, windows=3)
    assert not three.held_out
    assert three.notes[0].startswith("2 of 3 windows lie at times that the network was trained on")
    assert loaded.evaluate(hourly(120, "b"), windows=3).held_out
    assert loaded.evaluate(hourly(126), windows=3).held_out is False
    assert loaded.evaluate(hourly(132), windows=3).held_out is True
    # trained on, it has seen what it was compared on before
    assert loaded.refit(hourly(150)).comparison_.held_out
    older = loaded.refit(data).comparison_
    assert not older.held_out
    assert older.notes[0].startswith("1 of 1 windows lie at times")
    loaded.trained_until_ = None
    assert not loaded.evaluate(hourly(150)).held_out


def test_data_of_a_coarser_step_is_refused(fitted: Forecaster) -> None:
    with pytest.raises(DataError, match="a value every 24 steps of 1h and none between"):
        fitted.predict(hourly(24 * 9).gather_every(24))
    daily = hourly(120).with_columns(y=pl.when(pl.int_range(pl.len()) % 24 == 0).then("y"))
    with pytest.raises(DataError, match="a value every 24 steps of 1h and none between; resample"):
        small(steps=1).fit(daily)


def test_series_of_unequal_steps_are_refused(fitted: Forecaster) -> None:
    mixed = pl.concat([hourly(120), hourly(24 * 9, "slow").gather_every(24)])
    message = "series 'slow' has a value every 24 steps of 1h and none between; the series of one"
    for act in (lambda: small().fit(mixed), lambda: fitted.predict(mixed)):
        with pytest.raises(DataError, match=message):
            act()
    # a few values that happen to lie so
    sparse = pl.concat([hourly(120), hourly(24 * 3, "sparse").gather_every(24)])
    assert fitted.predict(sparse)["unique_id"].to_list()[-1] == "sparse"


@pytest.mark.parametrize(("first", "last", "part"), [(102, 114, "validation"), (1, 102, "train")])
def test_a_part_without_a_value_is_refused(first: int, last: int, part: str) -> None:
    """The last 6 steps are for the comparison, 12 before them for validation."""
    gap = pl.int_range(pl.len()).is_between(first, last, closed="left")
    data = hourly(120).with_columns(y=pl.when(~gap).then(pl.col("y")))
    with pytest.raises(DataError, match=f"'y'.* {part}.*validation_windows"):
        small(steps=1).fit(data)
    small(steps=1).fit(pl.concat([data, hourly(120, "b")]))


def test_forecasts_are_in_the_time_zone_of_the_data(tmp_path: Path) -> None:
    """March 2024 in Rome: the clocks go forward within the data, or within the forecast."""
    utc = hourly(120, first=24 * 86).with_columns(pl.col("ds").dt.replace_time_zone("UTC"))
    rome = utc.with_columns(pl.col("ds").dt.convert_time_zone("Europe/Rome"))
    fitted = small(steps=1, baselines=(), test_windows=0).fit(rome)
    found = fitted.predict(rome)
    assert found.schema["ds"] == pl.Datetime("us", "Europe/Rome")
    expected = utc["ds"][-1] + np.arange(1, 7) * dt.timedelta(hours=1)
    assert found["ds"].to_list() == expected.tolist()
    pandas = fitted.predict(rome.to_pandas())
    assert str(pandas["ds"].dt.tz) == "Europe/Rome"
    assert pandas["ds"].to_list() == expected.tolist()
    rome.with_columns(pl.col("ds").dt.to_string("iso:strict")).write_csv(tmp_path / "t.csv")
    assert fitted.predict(tmp_path / "t.csv").schema["ds"] == pl.Datetime("us", "UTC")
    rolled = small(steps=1).cross_validation(rome, windows=2)
    assert rolled.schema["cutoff"] == rolled.schema["ds"] == pl.Datetime("us", "Europe/Rome")
    with pytest.raises(DataError, match="have no time zone and those the model was trained on had"):
        fitted.predict(hourly(120))
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(85)]
    daily = pl.DataFrame({"ds": days, "y": hourly(85)["y"]}).with_columns(
        pl.col("ds").cast(pl.Datetime("us")).dt.replace_time_zone("Europe/Rome")
    )
    fitted = small(steps=1, horizon=9, seasons=(7,)).fit(daily)
    after = fitted.predict(daily)["ds"]
    assert after.dtype == pl.Datetime("us", "Europe/Rome")
    assert after.dt.replace_time_zone(None).dt.time().unique().to_list() == [dt.time(0)]
    assert after[-1].date() == dt.date(2024, 4, 3)


@pytest.mark.parametrize("column", ["holiday", "school"])
def test_what_is_known_in_advance_has_no_gaps_ahead(informed: Forecaster, column: str) -> None:
    data = with_covariates(120, 6)
    gap = data.with_columns(pl.when(pl.int_range(pl.len()) != 123).then(column).alias(column))
    with pytest.raises(DataError, match=f"'a': {column} has no value at 2024-01-06T03:00.*fill it"):
        informed.predict(gap)
    assert len(informed.predict(gap, horizon=3)) == 3
