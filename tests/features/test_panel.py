from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from noria.features.calendar import calendar_features
from noria.features.panel import CovariateScaler, Panel, calendar_cycles
from noria.features.running import Window
from noria.features.series import Columns, Series, SeriesTable
from noria.training.metrics import seasonal_naive_scale

NAN = float("nan")
START = np.datetime64("2024-01-01", "us")
HORIZON = 3


def make_table(
    *targets: Any,
    past: Any = None,
    future: Any = None,
    static: Any = (),
    freq: str = "1",
    start: Any = 0,
) -> SeriesTable:
    """Series with the given targets, all with the same covariates."""
    series = []
    for number, target in enumerate(targets):
        y = np.array(target, dtype=float)
        series.append(
            Series(
                id=f"s{number}",
                start=start,
                y=y,
                past=np.empty((len(y), 0)) if past is None else np.array(past, float)[: len(y)],
                future=np.empty((len(y), 0)) if future is None else np.array(future, dtype=float),
                static=np.array(static, dtype=float),
            )
        )
    parts = {"past": series[0].past[0], "future": series[0].future[0], "static": static}
    names = (tuple(f"{kind}{n}" for n in range(len(part))) for kind, part in parts.items())
    return SeriesTable(tuple(series), Columns(), freq, {}, *names)


def one(t: int, series: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array([series]), np.array([t])


def seen_at(panel: Panel, t: int, series: int = 0) -> dict[str, bytes]:
    """All that a forecast from step t is made of, as bits."""
    where = one(t, series)
    level, scale = panel.level_and_scale(*where)
    forks = panel.forks(*where)
    inputs = panel.inputs(where[0], np.array([0]), t + 1)
    parts = {
        "inputs": inputs,
        "level": level,
        "scale": scale,
        "candidates": forks.candidates,
        "known": forks.known,
        "recent": panel.recent(*where, Window(6, 3)),
    }
    return {name: array.tobytes() for name, array in parts.items()}


values = st.integers(-(10**6), 10**6).map(lambda n: n / 8) | st.just(NAN) | st.just(0.0)
seasonings = st.sampled_from([(), (2,), (3,), (2, 5), (24,)])


@st.composite
def tables(draw: st.DrawFn) -> tuple[SeriesTable, tuple[int, ...]]:
    count = draw(st.integers(2, 30))
    y = [draw(values.filter(np.isfinite)), *(draw(values) for _ in range(count - 1))]
    past = [[draw(values)] for _ in range(count)]
    future = [[draw(values)] for _ in range(count + HORIZON)]
    table = make_table(y, past=past, future=future, static=[draw(values)], freq="1h", start=START)
    return table, draw(seasonings)


CALENDAR = ("hour_of_day_sin", "day_of_week_cos")
SCALER = CovariateScaler(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))


@settings(deadline=None, max_examples=150)
@given(tables(), st.data())
def test_nothing_used_at_a_step_depends_on_what_comes_after(
    made: tuple[SeriesTable, tuple[int, ...]], data: st.DataObject
) -> None:
    table, seasons = made
    series = table.series[0]
    t = data.draw(st.integers(0, len(series.y) - 2))
    y, past = series.y.copy(), series.past.copy()
    y[t + 1 :] = [data.draw(values | st.just(1e12)) for _ in y[t + 1 :]]
    past[t + 1 :] = 7.5
    other = dataclasses.replace(table, series=(dataclasses.replace(series, y=y, past=past),))
    prefix = dataclasses.replace(
        table, series=(dataclasses.replace(series, y=y[: t + 1], past=past[: t + 1]),)
    )
    whole = seen_at(Panel(table, seasons, HORIZON, CALENDAR, SCALER), t)
    assert seen_at(Panel(other, seasons, HORIZON, CALENDAR, SCALER), t) == whole
    assert seen_at(Panel(prefix, seasons, HORIZON, CALENDAR, SCALER), t) == whole


@settings(deadline=None, max_examples=100)
@given(tables())
def test_every_number_is_finite(made: tuple[SeriesTable, tuple[int, ...]]) -> None:
    table, seasons = made
    own = table.series[0]
    for part in (own.past, own.future[: len(own.y)], own.static[None]):
        assume(np.isfinite(part).any(axis=0).all())
    panel = Panel(table, seasons, HORIZON, CALENDAR)
    t = np.arange(panel.lengths[0])
    series = np.zeros_like(t)
    level, scale = panel.level_and_scale(series, t)
    forks = panel.forks(series, t)
    assert np.isfinite(level).all()
    assert (scale > 0).all()
    assert np.isfinite(panel.inputs(series[:1], t[:1], len(t))).all()
    assert np.isfinite(panel.recent(series, t, Window(4, 2))).all()
    assert np.isfinite(forks.candidates).all()
    assert np.isfinite(forks.known).all()
    assert not np.isinf(forks.target).any()


def test_covariates_known_in_advance_may_show_before_their_step() -> None:
    future = [[float(k)] for k in range(6 + HORIZON)]
    changed = [row[:] for row in future]
    changed[5][0] = 99.0
    scaler = CovariateScaler(np.zeros(1), np.ones(1))
    one_panel, other = (
        Panel(make_table(range(6), future=rows), (), HORIZON, (), scaler)
        for rows in (future, changed)
    )
    np.testing.assert_array_equal(one_panel.forks(*one(2)).known[0, :, 0], [3, 4, 5])
    np.testing.assert_array_equal(other.forks(*one(2)).known[0, :, 0], [3, 4, 99])
    assert seen_at(one_panel, 1) == seen_at(other, 1)


def test_candidates_of_a_small_seasonal_series_by_hand() -> None:
    y = [10.0, 20.0, 13.0, 26.0, 15.0, 28.0]
    panel = Panel(make_table(y), (2,), HORIZON)
    # level: mean of the last two; scale: mean |y(t) − y(t−2)|
    level, scale = panel.level_and_scale(*one(5))
    assert level.item() == 21.5
    assert scale.item() == (3 + 6 + 2 + 2) / 4
    plain = panel.forks(*one(5)).candidates[0] * scale.item() + level.item()
    moved = 21.5 - 19.5
    np.testing.assert_allclose(plain[:, 0], 28)
    np.testing.assert_allclose(plain[:, 1], [15, 28, 15])
    np.testing.assert_allclose(
        plain[:, 2], [(15 + 13 + 10) / 3, (28 + 26 + 20) / 3, (15 + 13 + 10) / 3], rtol=1e-6
    )
    np.testing.assert_allclose(plain[:, 3], [15 + moved, 28 + moved, 15 + moved])
    np.testing.assert_allclose(plain[:, 4], 21.5)
    assert panel.candidate_size == 5


def test_candidates_before_a_season_is_known_are_the_last_value() -> None:
    panel = Panel(make_table([4.0, 6.0, 8.0]), (5,), 2)
    level, scale = panel.level_and_scale(*one(1))
    assert (level.item(), scale.item()) == (5.0, 2.0)
    # a season before the steps 2 and 3 lies before the series
    plain = panel.forks(*one(1)).candidates[0] * 2 + 5
    np.testing.assert_array_equal(plain, [[6, 6, 6, 6, 5]] * 2)


def test_inputs_of_a_small_seasonal_series_by_hand() -> None:
    y = [10.0, 20.0, 13.0, NAN, 15.0]
    panel = Panel(make_table(y), (2,), 1)
    row = panel.inputs(np.array([0]), np.array([0]), 5)[0]
    # from the level, from the step before, from a season before, the season before the next step
    level = np.array([10, 15, 16.5, 13, 15])
    scale = np.array([1, 10, 3, 1.5, 5 / 3])
    differences = np.array(
        [
            [0, 0, 0, 0],
            [5, 10, 0, 10 - 15],
            [13 - 16.5, -7, 3, 20 - 16.5],
            [0, 0, 13 - 20, 13 - 13],
            [0, 2, 2, 20 - 15],
        ]
    )
    # before three steps are known the unit is the mean |y(t) − y(t−1)|
    np.testing.assert_allclose(
        panel.level_and_scale(np.zeros(5, int), np.arange(5))[0].ravel(), level
    )
    found = panel.level_and_scale(np.zeros(5, int), np.arange(5))[1].ravel()
    np.testing.assert_allclose(found, scale)
    np.testing.assert_allclose(row[:, :4], np.arcsinh(differences / scale[:, None]), rtol=1e-6)
    np.testing.assert_array_equal(row[:, 4], [0, 0, 0, 1, 0])
    assert panel.input_size == 5


def test_stretches_stop_where_their_series_ends() -> None:
    panel = Panel(make_table([1.0, 5.0, 2.0], [7.0, 1.0]), (), 1)
    whole = panel.inputs(np.array([0]), np.array([0]), 3)[0]
    both = panel.inputs(np.array([0, 1]), np.array([1, 0]), 4)
    np.testing.assert_array_equal(both[0, :2], whole[1:])
    assert not both[0, 2:].any()
    assert not both[1, 2:].any()
    assert both[1, 1].any()


@pytest.mark.parametrize("season", [2, 7, 24])
def test_the_scale_is_that_of_mase_after_a_season_and_a_half(season: int) -> None:
    y = np.random.default_rng(season).normal(50, 9, 4 * season)
    panel = Panel(make_table(y), (season, 2 * season), 1)
    for t in range(season + (season + 1) // 2, len(y)):
        scale = panel.level_and_scale(*one(t))[1].item()
        assert scale == pytest.approx(seasonal_naive_scale(y[: t + 1], season), rel=1e-12)
    early = panel.level_and_scale(*one(season - 1))[1].item()
    assert early == pytest.approx(np.abs(np.diff(y[:season])).mean(), rel=1e-12)


def test_the_scale_without_a_season_is_that_of_neighbours() -> None:
    y = np.random.default_rng(1).normal(size=30)
    panel = Panel(make_table(y), (), 1)
    scale = panel.level_and_scale(*one(29))[1].item()
    assert scale == pytest.approx(seasonal_naive_scale(y, 1), rel=1e-12)


def test_the_scale_never_falls_under_a_hundredth_of_the_distance_from_the_level() -> None:
    y = np.tile([0.0, 100.0], 20)
    panel = Panel(make_table(y), (2,), 1)
    # the seasonal differences are all 0; the distance from the level is 50, at the first step 0
    assert panel.level_and_scale(*one(39))[1].item() == pytest.approx(0.01 * 50 * 39 / 40)


@pytest.mark.parametrize("seasons", [(), (3,), (3, 7)])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e9 + 0.1])
def test_a_constant_series(seasons: tuple[int, ...], value: float) -> None:
    panel = Panel(make_table([value] * 50), seasons, HORIZON)
    level, scale = panel.level_and_scale(np.zeros(50, int), np.arange(50))
    assert (level == value).all()
    assert (scale == 1).all()
    assert not panel.inputs(np.array([0]), np.array([0]), 50).any()
    assert np.abs(panel.forks(*one(40)).candidates).max() < 1e-12


@pytest.mark.parametrize("seasons", [(), (3,)])
def test_a_single_observation(seasons: tuple[int, ...]) -> None:
    panel = Panel(make_table([4.0]), seasons, HORIZON)
    level, scale = panel.level_and_scale(*one(0))
    assert (level.item(), scale.item()) == (4.0, 1.0)
    forks = panel.forks(*one(0))
    assert not forks.candidates.any()
    assert np.isnan(forks.target).all()
    assert np.isnan(panel.actual(*one(0))).all()


def test_units_do_not_matter() -> None:
    y = np.random.default_rng(0).normal(10, 3, 60)
    plain = Panel(make_table(y), (7,), HORIZON)
    scaled = Panel(make_table(64 * y), (7,), HORIZON)
    first, steps = np.array([0]), np.array([1])
    np.testing.assert_allclose(
        plain.inputs(first, steps, 59), scaled.inputs(first, steps, 59), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        plain.forks(*one(50)).candidates, scaled.forks(*one(50)).candidates, rtol=1e-5, atol=1e-6
    )


def test_missing_values_are_marked_and_carried() -> None:
    panel = Panel(make_table([5.0, 9.0, NAN, NAN, 3.0]), (), HORIZON)
    rows = panel.inputs(np.array([0]), np.array([0]), 5)[0]
    np.testing.assert_array_equal(rows[:, 2], [0, 0, 1, 1, 0])
    assert not rows[2:4, :2].any()
    level, scale = panel.level_and_scale(*one(3))
    assert level.item() == 7
    last = panel.forks(*one(3)).candidates[0, :, 0] * scale.item() + level.item()
    np.testing.assert_allclose(last, 9, rtol=1e-6)
    target = panel.forks(*one(1)).target[0]
    assert np.isnan(target).tolist() == [True, True, False]


def test_a_missing_value_is_filled_by_the_season_before() -> None:
    y = [1.0, 2.0, 30.0, 4.0, NAN, 6.0]
    panel = Panel(make_table(y), (3,), 3)
    level, scale = panel.level_and_scale(*one(5))
    one_season = panel.forks(*one(5)).candidates[0, :, 1] * scale.item() + level.item()
    np.testing.assert_allclose(one_season, [4, 2, 6], rtol=1e-6)


def test_targets_by_hand_and_none_beyond_the_end() -> None:
    y = np.arange(10.0) ** 2
    panel = Panel(make_table(y, y[:6]), (), HORIZON)
    where = np.array([0, 0, 1]), np.array([4, 8, 4])
    level, scale = panel.level_and_scale(*where)
    target = panel.forks(*where).target * scale[:, 0] + level[:, 0]
    np.testing.assert_allclose(target, [[25, 36, 49], [81, NAN, NAN], [25, NAN, NAN]], rtol=1e-6)
    np.testing.assert_array_equal(
        panel.actual(*where), [[25, 36, 49], [81, NAN, NAN], [25, NAN, NAN]]
    )


@given(st.integers(0, 9), st.integers(0, 12))
def test_targets_from_the_given_end_on_are_never_looked_at(t: int, end: int) -> None:
    y = np.arange(10.0)
    panel = Panel(make_table(y), (), HORIZON)
    observed = np.isfinite(panel.forks(*one(t), np.array([end])).target[0])
    assert observed.tolist() == [t + k < min(end, 10) for k in range(1, HORIZON + 1)]


def test_a_fixed_window_by_hand() -> None:
    y = [2.0, 4.0, NAN, 8.0]
    panel = Panel(make_table(y), (), 1)
    level, scale = (part.item() for part in panel.level_and_scale(*one(3)))
    rows = panel.recent(np.array([0, 0]), np.array([3, 1]), Window(3, 3))[:, 0]
    expected = np.arcsinh((np.array([4, 4, 8]) - level) / scale)
    np.testing.assert_allclose(rows[0, :3], expected, rtol=1e-6)
    assert rows[1, 0] == 0
    inputs = panel.inputs(np.array([0]), np.array([0]), 4)[0]
    np.testing.assert_array_equal(rows[:, 3:], inputs[[3, 1]])


def test_a_window_in_segments_is_the_window_in_pieces_with_the_steps_inputs_in_each() -> None:
    random = np.random.default_rng(0)
    panel = Panel(make_table(random.normal(size=20)), (3,), 1)
    where = np.array([0, 0, 0]), np.array([19, 11, 4])
    whole = panel.recent(*where, Window(12, 12))
    cut = panel.recent(*where, Window(12, 4))
    assert cut.shape == (3, 3, 4 + panel.input_size)
    np.testing.assert_array_equal(cut[:, :, :4].reshape(3, 12), whole[:, 0, :12])
    for number in range(3):
        np.testing.assert_array_equal(cut[:, number, 4:], whole[:, 0, 12:])
    assert not cut[2, 0, :4].any()


def test_past_and_static_covariates_are_scaled_and_missing_ones_are_the_mean() -> None:
    past = [[1.0], [3.0], [NAN], [5.0]]
    panel = Panel(make_table([1, 2, 3, 4], past=past, static=[8.0]), (), 1)
    rows = panel.inputs(np.array([0]), np.array([0]), 4)[0]
    deviation = np.std([1.0, 3.0, 5.0])
    np.testing.assert_allclose(rows[:, 3], [-2 / deviation, 0, 0, 2 / deviation], rtol=1e-6)
    assert not rows[:, 4].any()


def test_the_next_steps_known_values_are_inputs() -> None:
    future = [[float(k)] for k in range(4)]
    scaler = CovariateScaler(np.zeros(1), np.ones(1))
    panel = Panel(make_table([1, 2, 3], future=future), (), 1, (), scaler)
    rows = panel.inputs(np.array([0]), np.array([0]), 3)[0]
    np.testing.assert_array_equal(rows[:, -1], [1, 2, 3])
    assert panel.known_size == 1


def test_the_scaler_sees_the_training_part_alone() -> None:
    past = [[1.0], [3.0], [1000.0], [2000.0]]
    table = make_table([1, 2, 3, 4], [5, 6, 7], past=past)
    panel = Panel(table, (), 1, train_ends=np.array([2, 1]))
    np.testing.assert_allclose(panel.scaler.mean, [(1 + 3 + 1) / 3])
    np.testing.assert_allclose(panel.scaler.deviation, [np.std([1, 3, 1])])


def test_a_scaler_of_constant_and_of_absent_columns() -> None:
    scaler = CovariateScaler.fit(np.array([[2.0, NAN], [2.0, NAN]]))
    np.testing.assert_array_equal(scaler.deviation, 1)
    np.testing.assert_array_equal(scaler(np.array([[2.0, NAN], [3.0, 4.0]])), [[0, 0], [1, 4]])
    assert CovariateScaler.fit(np.empty((3, 0)))(np.empty((3, 0))).shape == (3, 0)


def test_only_the_calendar_features_that_are_named_are_used() -> None:
    table = make_table(range(30), freq="1h", start=START)
    panel = Panel(table, (), 2, ("day_of_week_cos", "hour_of_day_sin"))
    names, cycles = calendar_features(table.timestamps(table.series[0], 0, 32), "1h")
    known = panel.forks(*one(29)).known[0]
    for number, name in enumerate(panel.calendar):
        np.testing.assert_array_equal(known[:, number], cycles[30:, names.index(name)])
    assert panel.known_size == 2
    assert Panel(table, (), 2).known_size == 0


@pytest.mark.parametrize(
    ("freq", "count", "cycles"),
    [
        ("1h", 40, set()),
        ("1h", 49, {"hour_of_day"}),
        ("1h", 14 * 24 + 1, {"hour_of_day", "day_of_week"}),
        ("15m", 2 * 4 + 1, {"minute_of_hour"}),
        ("1d", 63, {"day_of_week", "day_of_month"}),
        ("1d", 733, {"day_of_week", "day_of_month", "day_of_year"}),
        ("1mo", 20, set()),
        ("1mo", 26, {"month_of_year"}),
        ("1w", 110, {"week_of_year"}),
    ],
)
def test_a_cycle_of_the_calendar_counts_when_it_came_round_twice(
    freq: str, count: int, cycles: set[str]
) -> None:
    table = make_table(range(3), range(count), freq=freq, start=START)
    found = calendar_cycles(table)
    assert {name.removesuffix("_sin").removesuffix("_cos") for name in found} == cycles
    assert len(found) == 2 * len(cycles)


def test_integer_time_has_no_calendar() -> None:
    assert calendar_cycles(make_table(range(100))) == ()
