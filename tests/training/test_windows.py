from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.features.running import Window
from noria.modules.horizon import pinball_loss
from noria.training import windows
from noria.training.conformal import quantile_grid
from noria.training.windows import Origins, WindowBatch, WindowObjective, forecast_quantiles
from tests.training.panels import (
    HORIZON,
    LEVELS,
    hourly_table,
    make_module,
    make_panel,
)

WINDOWS = [None, Window(7, 7), Window(8, 4)]


def feedback_of(window: Window | None) -> str:
    """A window in one piece is for a feed-forward network."""
    return "none" if window and window.segment == window.length else "direct+lateral"


def objective(
    lengths: Any,
    ends: Any,
    *,
    context: int = 20,
    piece: int = 8,
    batch: int = 6,
    window: Window | None = None,
    table: Any = None,
) -> WindowObjective:
    panel = make_panel(hourly_table(*lengths) if table is None else table, ends)
    ends = np.array(ends)
    module = make_module(panel, feedback=feedback_of(window), window=window)
    return WindowObjective(
        module,
        panel,
        ends,
        Origins.rolling(ends, panel.lengths, HORIZON, 1),
        context_length=context,
        truncation_length=piece,
        batch_size=batch,
        forks=5,
        window=window,
        seed=3,
    )


def bits(batch: WindowBatch) -> dict[str, bytes]:
    return {
        field.name: getattr(batch, field.name).numpy().tobytes()
        for field in dataclasses.fields(batch)
    }


def test_rolling_origins_by_hand() -> None:
    origins = Origins.rolling(np.array([3, 5, 9]), np.array([10, 5, 12]), horizon=4, stride=2)
    assert origins.series.tolist() == [0, 0]
    assert origins.t.tolist() == [2, 4]
    assert origins.ends.tolist() == [10, 10]
    assert origins.t.dtype == np.int64
    assert len(origins[np.array([True, False])]) == 1


@pytest.mark.parametrize("window", WINDOWS)
def test_a_batch_is_a_function_of_its_step_alone(window: Window | None) -> None:
    one, other = (objective((60, 40), (50, 30), window=window) for _ in range(2))
    forward = [bits(one.batch(step)[0]) for step in range(7)]
    torch.manual_seed(99)
    backward = [bits(other.batch(step)[0]) for step in reversed(range(7))]
    assert forward == backward[::-1]
    assert len({batch["target"] for batch in forward}) == 7


def find(panel: Any, x: Any) -> tuple[int, int]:
    """The series and the step of an input row."""
    for series, length in enumerate(panel.lengths.tolist()):
        rows = panel.inputs(np.array([series]), np.array([0]), length)[0]
        same = np.flatnonzero((rows == x).all(1))
        if len(same):
            assert len(same) == 1
            return series, int(same[0])
    raise AssertionError("no such row")


def test_pieces_follow_each_other_in_time() -> None:
    made = objective((60, 40, 9), (50, 30, 9))
    seen: dict[int, list[tuple[int, int, int]]] = {}
    for step in range(9):
        batch, continues = made.batch(step)
        assert continues is (step % 3 > 0)
        assert batch.x.shape[1] == 8
        if not continues:
            seen = {row: [] for row in range(6)}
        for row, length in enumerate(batch.lengths.tolist()):
            if length:
                first = find(made.panel, batch.x[row, 0].numpy())
                last = find(made.panel, batch.x[row, length - 1].numpy())
                assert last == (first[0], first[1] + length - 1)
                seen[row].append((*first, length))
        if step % 3 == 2:
            for parts in seen.values():
                series = parts[0][0]
                for before, after in itertools.pairwise(parts):
                    assert after[:2] == (series, before[1] + before[2])
                end = int(made.train_ends[series])
                assert sum(part[2] for part in parts) == min(end, 20)
                assert parts[-1][1] + parts[-1][2] <= end


def test_pieces_with_the_carried_state_forecast_as_the_whole_stretch() -> None:
    made = objective((60, 40), (50, 30), context=24, piece=8)
    state = None
    for step in range(3):
        batch, continues = made.batch(step)
        assert continues is (step > 0)
        with torch.no_grad():
            _, state = made.loss(batch, state)
    assert state is not None
    first, _ = made.batch(0)
    where = [find(made.panel, first.x[row, 0].numpy()) for row in range(6)]
    series, starts = (np.array(part) for part in zip(*where, strict=True))
    whole = torch.from_numpy(made.panel.inputs(series, starts, 24))
    with torch.no_grad():
        _, expected = made.module.network(whole, None, torch.full((6,), 24))
    for part, other in zip(state[0], expected[0], strict=True):
        torch.testing.assert_close(part, other)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(3, 40), min_size=1, max_size=4),
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(0, 8),
    st.sampled_from(WINDOWS),
)
def test_every_forecast_has_a_step_after_it_and_none_beyond_the_training_part(
    ends: list[int], context: int, piece: int, step: int, window: Window | None
) -> None:
    lengths = [end + HORIZON for end in ends]
    made = objective(lengths, ends, context=context, piece=piece, window=window)
    batch, _ = made.batch(step)
    count = len(batch.rows)
    assert batch.target.shape == (count, HORIZON)
    assert (batch.steps < batch.lengths[batch.rows]).all()
    assert np.isfinite(batch.target[:, 0].numpy()).all()
    loss, _ = made.loss(batch, None)
    assert np.isfinite(loss.item())


@pytest.mark.parametrize("window", WINDOWS)
def test_training_never_looks_at_or_after_the_end_of_the_training_part(
    window: Window | None,
) -> None:
    table = hourly_table(60, 40)
    ends = (50, 30)

    def spoilt(series: Any, end: int) -> Any:
        y, past = series.y.copy(), series.past.copy()
        y[end:], past[end:] = 1e9, -1e9
        return dataclasses.replace(series, y=y, past=past)

    pairs = zip(table.series, ends, strict=True)
    other = dataclasses.replace(table, series=tuple(spoilt(s, end) for s, end in pairs))
    clean = objective((60, 40), ends, window=window, table=table)
    dirty = objective((60, 40), ends, window=window, table=other)
    states: list[Any] = [None, None]
    for step in range(12):
        losses = []
        for number, made in enumerate((clean, dirty)):
            batch, continues = made.batch(step)
            loss, states[number] = made.loss(batch, states[number] if continues else None)
            losses.append((loss.item(), batch.target.numpy().tobytes()))
        assert losses[0] == losses[1]


def test_series_are_drawn_in_proportion_to_their_training_part() -> None:
    made = objective((404, 104, 3), (400, 100, 2), batch=500)
    np.testing.assert_allclose(made.weights, [398 / 496, 98 / 496, 0])
    batch, _ = made.batch(0)
    drawn = [find(made.panel, row[0].numpy())[0] for row in batch.x[:200]]
    assert set(drawn) == {0, 1}
    assert 0.7 < np.mean(np.array(drawn) == 0) < 0.9


def test_forecasts_are_spread_over_all_but_the_first_quarter() -> None:
    made = objective((104,), (100,), context=40, piece=40, batch=400)
    batch, _ = made.batch(0)
    steps = batch.steps.numpy()
    assert set(steps.tolist()) == set(range(10, 40))


def test_validation_is_the_pinball_loss_of_the_forecasts() -> None:
    made = objective((60, 40), (50, 30))
    origins = made.validation
    assert len(origins) == 7 + 7
    quantiles = forecast_quantiles(made.module, made.panel, origins, None)
    target = made.panel.forks(origins.series, origins.t, origins.ends).target
    q = np.array(quantile_grid(LEVELS))
    error = target[..., None] - quantiles
    expected = np.maximum(q * error, (q - 1) * error).mean()
    assert made.validate() == pytest.approx(expected, rel=1e-5)


def test_validation_looks_at_some_forecasts_of_some_series(monkeypatch: Any) -> None:
    monkeypatch.setattr(windows, "_VALIDATION_SERIES", 3)
    monkeypatch.setattr(windows, "_VALIDATION_FORECASTS", 10)
    made = objective((60,) * 5, (50,) * 5)
    assert len(np.unique(made.validation.series)) == 3
    assert 7 <= len(made.validation) <= 10


@pytest.fixture
def forecasts() -> Any:
    """A panel of unequal series with a module, and every forecast it can make."""
    table = hourly_table(60, 12, 33, 2)
    panel = make_panel(table)
    origins = Origins.rolling(np.ones(4, int), panel.lengths + HORIZON, HORIZON, 1)
    return table, panel, make_module(panel), origins


def close(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_forecasts_do_not_depend_on_how_they_are_grouped(forecasts: Any, monkeypatch: Any) -> None:
    _, panel, module, origins = forecasts
    whole = forecast_quantiles(module, panel, origins, None)
    assert whole.shape == (len(origins), HORIZON, 5)
    assert (np.diff(whole, axis=-1) >= 0).all()
    monkeypatch.setattr(windows, "_SCAN_VALUES", 300)
    assert len(windows._groups(panel, origins, None)) > 2
    assert len(windows._groups(panel, origins, Window(8, 4))) > 2
    close(forecast_quantiles(module, panel, origins, None), whole)
    shuffled = np.random.default_rng(0).permutation(len(origins))
    close(forecast_quantiles(module, panel, origins[shuffled], None), whole[shuffled])
    alone = [forecast_quantiles(module, panel, origins[[i]], None) for i in range(len(origins))]
    close(np.concatenate(alone), whole)


@pytest.mark.parametrize("window", WINDOWS)
def test_forecasts_are_those_of_the_truncated_series(forecasts: Any, window: Window | None) -> None:
    table, panel, module, _ = forecasts
    if window:
        module = make_module(panel, feedback=feedback_of(window), window=window)
    for number, t in [(0, 41), (1, 5), (2, 20)]:
        series = table.series[number]
        shorter = dataclasses.replace(series, y=series.y[: t + 1], past=series.past[: t + 1])
        alone = dataclasses.replace(table, series=(shorter,))
        panel_then = windows_panel(alone, panel)
        now = forecast_quantiles(module, panel, at(number, t), window)
        then = forecast_quantiles(module, panel_then, at(0, t), window)
        close(then, now)


def windows_panel(table: Any, like: Any) -> Any:
    from noria.features.panel import Panel

    return Panel(table, like.seasons, like.horizon, like.calendar, like.scaler)


def at(series: int, t: int) -> Origins:
    return Origins(np.array([series]), np.array([t]), np.array([t + 1]))


def test_a_forecast_remembers_what_came_before_its_window(forecasts: Any) -> None:
    _, panel, module, _ = forecasts
    far = panel._inputs.copy()
    now = forecast_quantiles(module, panel, at(0, 41), None)
    panel._inputs = far + (np.arange(len(far)) == 30)[:, None].astype(np.float32)
    assert np.abs(forecast_quantiles(module, panel, at(0, 41), None) - now).max() > 1e-6


def test_the_loss_is_that_of_the_quantiles() -> None:
    made = objective((60,), (50,))
    batch, _ = made.batch(0)
    loss, _ = made.loss(batch, None)
    quantiles, _ = made.module(
        batch.x, batch.lengths, None, batch.rows, batch.steps, batch.candidates, batch.known
    )
    grid = torch.tensor(quantile_grid(LEVELS))
    torch.testing.assert_close(loss, pinball_loss(batch.target, quantiles, grid))
