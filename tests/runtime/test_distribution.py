from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from noria.runtime.distribution import (
    LEAST_DISPERSION,
    LEAST_FREEDOM,
    LEAST_WIDTH,
    Distribution,
)

Q = (0.025, 0.1, 0.5, 0.9, 0.975)
LEVEL, SCALE = np.array([4.0, 0.0])[:, None, None], np.array([2.0, 1.0])[:, None, None]


def numbers(count: int, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, count)).astype(dtype)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def test_quantiles_are_put_in_order() -> None:
    given = numbers(5)
    distribution = Distribution("quantiles", Q)
    assert (distribution.size, distribution.moved) == (5, 5)
    np.testing.assert_array_equal(distribution.quantiles(given, LEVEL, SCALE), np.sort(given))


def test_student_t_is_scipys() -> None:
    given = numbers(3)
    place, width, freedom = (given[..., i] for i in range(3))
    expected = [
        stats.t.ppf(q, LEAST_FREEDOM + softplus(freedom), place, LEAST_WIDTH + softplus(width))
        for q in Q
    ]
    distribution = Distribution("student_t", Q)
    assert (distribution.size, distribution.moved) == (3, 1)
    found = distribution.quantiles(given, LEVEL, SCALE)
    np.testing.assert_allclose(found, np.stack(expected, -1), rtol=1e-9)


def test_negative_binomial_has_its_mean_and_dispersion() -> None:
    given = numbers(2)
    mean = (SCALE * softplus(LEVEL / SCALE + given[..., :1]))[..., 0]
    dispersion = LEAST_DISPERSION + softplus(given[..., 1])
    distribution = Distribution("negative_binomial", Q)
    assert distribution.counts
    found = distribution.quantiles(given, LEVEL, SCALE) * SCALE + LEVEL
    np.testing.assert_allclose(found, np.rint(found), atol=1e-9)
    # as many draws as it takes: variance = mean + dispersion · mean²
    random = np.random.default_rng(1)
    gamma = random.gamma(1 / dispersion, mean * dispersion, size=(40_000, 2, 3))
    drawn = random.poisson(gamma)
    for number, q in enumerate(Q):
        assert ((drawn <= found[..., number] + 1e-6).mean(0) > q - 0.01).all()
        assert ((drawn < found[..., number] - 1e-6).mean(0) < q + 0.01).all()


@pytest.mark.parametrize("name", ["quantiles", "student_t", "negative_binomial"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_forecast_has_the_same_bits_alone(name: str, dtype: type) -> None:
    distribution = Distribution(name, Q)
    given = numbers(distribution.size, dtype)
    both = distribution.quantiles(given, LEVEL, SCALE)
    assert both.dtype == dtype
    assert (np.diff(both, axis=-1) >= 0).all()
    alone = distribution.quantiles(given[1:, 2:], LEVEL[1:], SCALE[1:])
    assert alone.tobytes() == both[1:, 2:].tobytes()
