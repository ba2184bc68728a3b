from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.runtime.horizon import calibrate
from noria.training.conformal import calibration_factors, quantile_grid

NAN = float("nan")
LEVELS = (50, 80, 95)
GRID = np.array([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
NORMAL = np.array([NormalDist().inv_cdf(q) for q in GRID])


def test_the_grid_goes_from_the_widest_interval_to_the_median_and_back() -> None:
    np.testing.assert_allclose(quantile_grid((95, 50, 80)), GRID)
    assert quantile_grid(()) == (0.5,)


def test_factors_by_hand() -> None:
    # nine forecasts of one step, all 0 with an 80% interval from −2 to 1
    quantiles = np.tile([-2.0, 0.0, 1.0], (9, 1, 1))
    target = np.array([0.0, 0.1, -0.4, 0.3, -0.8, 0.5, -1.2, 0.7, -8.0])[:, None]
    # distances in units of the end on their side: 0, 0.1, 0.2, …, 0.7, 4; the rank is
    # ⌈(9 + 1) · 80%⌉ = 8
    factors = calibration_factors(target, quantiles, (80,))
    np.testing.assert_allclose(factors, [[0.7]])
    calibrated = calibrate(quantiles, factors)
    np.testing.assert_allclose(calibrated[0], [[-1.4, 0, 0.7]])
    inside = (calibrated[:, :, 0] <= target) & (target <= calibrated[:, :, 2])
    assert inside.sum() == 8
    # ⌈10 · 95%⌉ = 10 of 9: the largest there is
    np.testing.assert_allclose(calibration_factors(target, quantiles, (95,)), [[4.0]])


def test_missing_targets_do_not_count() -> None:
    quantiles = np.tile([-1.0, 0.0, 1.0], (6, 1, 1))
    target = np.array([1.0, NAN, 2.0, NAN, 3.0, 4.0])[:, None]
    np.testing.assert_allclose(calibration_factors(target, quantiles, (50,)), [[3.0]])
    nothing = np.full((6, 1), NAN)
    np.testing.assert_array_equal(calibration_factors(nothing, quantiles, (50,)), [[1.0]])


def test_few_forecasts_share_a_factor_and_many_have_one_a_step() -> None:
    random = np.random.default_rng(0)
    for count, shared in [(199, True), (200, False)]:
        target = random.normal(size=(count, 3)) * [1, 2, 4]
        factors = calibration_factors(target, np.tile(NORMAL, (count, 3, 1)), LEVELS)
        assert factors.shape == (3, 3)
        assert (len(np.unique(factors[:, 0])) == 1) is shared
        if not shared:
            assert (np.diff(factors, axis=0) > 0).all()


@pytest.mark.parametrize("count", [60, 2000])
@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
def test_calibrated_intervals_cover_as_often_as_they_say(count: int, width: float) -> None:
    random = np.random.default_rng(count)
    horizon = 6

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Skewed noise of a size that is known, forecast `width` times too narrow or too wide."""
        size = random.uniform(0.5, 4, (rows, horizon, 1))
        median = random.normal(0, 9, (rows, horizon, 1))
        noise = random.gumbel(np.log(np.log(2)), 1, (rows, horizon))  # its median is 0
        return median[..., 0] + noise * size[..., 0], median + width * size * NORMAL

    target, quantiles = draw(count)
    factors = calibration_factors(target, quantiles, LEVELS)
    target, quantiles = draw(20_000)
    calibrated = calibrate(quantiles, factors)
    for number, level in enumerate(sorted(LEVELS, reverse=True)):
        lower, upper = calibrated[..., number], calibrated[..., -1 - number]
        share = ((lower <= target) & (target <= upper)).mean()
        assert share == pytest.approx(level / 100, abs=0.05 if count == 60 else 0.02)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_intervals_are_nested_and_the_median_stays(seed: int, horizon: int) -> None:
    random = np.random.default_rng(seed)
    quantiles = np.sort(random.normal(size=(4, horizon, 7)), axis=-1)
    factors = random.exponential(size=(horizon, 3)) ** 3
    calibrated = calibrate(quantiles, factors)
    assert (np.diff(calibrated, axis=-1) >= 0).all()
    np.testing.assert_array_equal(calibrated[..., 3], quantiles[..., 3])


def test_factors_of_one_change_nothing() -> None:
    quantiles = np.sort(np.random.default_rng(0).normal(size=(4, 2, 7)), axis=-1)
    np.testing.assert_allclose(calibrate(quantiles, np.ones((2, 3))), quantiles, rtol=1e-12)
