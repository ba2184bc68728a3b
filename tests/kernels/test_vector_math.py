"""The kernels' own sigmoid and tanh, against numpy in higher precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noria.kernels import _native

Array = NDArray[Any]
FUNCTIONS: dict[tuple[str, str], Callable[[Array], Array]] = {
    ("sigmoid", "float32"): _native.sigmoid_float32,
    ("sigmoid", "float64"): _native.sigmoid_float64,
    ("tanh", "float32"): _native.tanh_float32,
    ("tanh", "float64"): _native.tanh_float64,
}
EXACT: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
LOWEST = {"float32": -87.0, "float64": -708.0}  # below, sigmoid is a denormal number: 0 here


@pytest.mark.parametrize(("name", "dtype"), FUNCTIONS)
def test_within_a_few_units_of_the_last_place(name: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    lowest = LOWEST[dtype]
    x = np.concatenate(
        [
            np.linspace(lowest, -lowest, 200_001),
            np.linspace(-2, 2, 200_001),
            random.standard_normal(200_000) * 10.0 ** random.uniform(-30, 1, 200_000),
        ]
    ).astype(dtype)
    found = FUNCTIONS[name, dtype](x)
    exact = EXACT[name](x.astype(np.longdouble))
    ulps = np.abs(found - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert ulps.max() < 4


@pytest.mark.parametrize(("name", "dtype"), FUNCTIONS)
def test_ends_of_the_range(name: str, dtype: str) -> None:
    huge = np.finfo(dtype).max
    x = np.array([np.inf, huge, 1e4, -1e4, -huge, -np.inf, np.nan, 0.0, -0.0], dtype)
    y = FUNCTIONS[name, dtype](x)
    low = 0.0 if name == "sigmoid" else -1.0
    assert y[:6].tolist() == [1.0, 1.0, 1.0, low, low, low]
    assert np.isnan(y[6])
    assert y[7:].tolist() == ([0.5, 0.5] if name == "sigmoid" else [0.0, 0.0])
    if name == "tanh":
        assert np.signbit(y[7:]).tolist() == [False, True]


@pytest.mark.parametrize(("name", "dtype"), FUNCTIONS)
def test_same_bits_anywhere_in_an_array(name: str, dtype: str) -> None:
    x = np.random.default_rng(1).standard_normal(67).astype(dtype) * 3
    whole = FUNCTIONS[name, dtype](x)
    for k in range(67):
        assert FUNCTIONS[name, dtype](x[k:].copy()).tobytes() == whole[k:].tobytes()


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_never_leaves_its_range_and_never_falls(name: str) -> None:
    x = np.linspace(-20, 20, 400_001, dtype="float32")
    y = FUNCTIONS[name, "float32"](x)
    assert y.max() <= 1
    assert y.min() >= (0 if name == "sigmoid" else -1)
    assert (np.diff(y) >= -2 * np.spacing(np.abs(y[1:]))).all()
