from __future__ import annotations

import numpy as np
import pytest

from noria.runtime.correction import Correction, corrected, follow


def walk(middle: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, Correction]:
    """Corrected expectations of values, shape (T, C), and what was learned."""
    correction = Correction.start(values.shape[1])
    expected = np.empty_like(values)
    latest = np.zeros(values.shape[1])
    for row, value in enumerate(values):
        expected[row], terms = corrected(correction, middle[row], latest)
        spread = np.full_like(value, 0.5)
        correction = follow(correction, terms, spread, value - expected[row], value - middle[row])
        latest = np.where(np.isnan(value), latest, value)
    return expected, correction


def test_what_is_right_stays_as_it_is() -> None:
    random = np.random.default_rng(0)
    middle = random.standard_normal((500, 2))
    expected, correction = walk(middle, middle + 0.01 * random.standard_normal((500, 2)))
    np.testing.assert_allclose(expected, middle, atol=0.05)
    np.testing.assert_allclose(correction.weights[:, 0], 1, atol=0.05)


def test_a_bias_and_a_lost_level_are_put_right() -> None:
    random = np.random.default_rng(1)
    walked = np.cumsum(0.1 * random.standard_normal(2000))
    noise = random.standard_normal(2000)
    values = np.stack([walked + 20, noise], axis=1)
    middle = np.stack([np.zeros(2000), noise + 3], axis=1)
    expected, _ = walk(middle, values)
    errors = np.abs(values - expected)[500:].mean(axis=0)
    assert errors[0] < 0.12  # as good as the value before, 0.08
    assert errors[1] < 0.1


def test_an_outlier_teaches_little_and_a_missing_value_nothing() -> None:
    random = np.random.default_rng(2)
    middle = random.standard_normal((300, 1))
    values = middle + 0.1 * random.standard_normal((300, 1))
    _, calm = walk(middle, values)
    values[299] = 1000.0
    _, struck = walk(middle, values)
    np.testing.assert_allclose(struck.weights, calm.weights, atol=0.05)
    values[299] = np.nan
    _, before = walk(middle[:299], values[:299])
    _, after = walk(middle, values)
    assert after.to_numbers().tobytes() == before.to_numbers().tobytes()


def test_it_never_blows_up() -> None:
    """Nothing new to learn for long is where least squares with forgetting breaks down."""
    values = np.zeros((20_000, 1))
    _, correction = walk(values, values)
    assert np.isfinite(correction.to_numbers()).all()
    assert np.trace(correction.doubt[0]) <= 4.0 + 1e-9


def test_numbers_and_back() -> None:
    _, correction = walk(np.ones((20, 3)), np.arange(60.0).reshape(20, 3))
    numbers = correction.to_numbers()
    again = Correction.from_numbers(numbers, 3)
    assert again.to_numbers().tobytes() == numbers.tobytes()
    with pytest.raises(ValueError, match="a correction has"):
        Correction.from_numbers(numbers[:-1], 3)
