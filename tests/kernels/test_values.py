"""Values and every gradient, against torch.nn and against plain loops."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from noria import kernels
from tests.kernels.reference import (
    CELLS,
    TORCH_CELLS,
    assert_close,
    kernel_results,
    problem,
    reference_results,
    torch_results,
)

SHAPES = [
    (1, 1, 1, 1),
    (3, 7, 5, 63),
    (1, 20, 16, 32),
    (17, 4, 1, 130),
    (40, 3, 33, 8),
    (2, 60, 3, 5),
]
TOLERANCE = {"float64": 1e-13, "float32": 2e-5}


@pytest.mark.parametrize("cell", TORCH_CELLS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_agrees_with_torch(cell: str, shape: tuple[int, int, int, int], dtype: str) -> None:
    case = problem(cell, *shape, dtype=dtype)
    wanted = torch_results(case)
    assert_close(kernel_results(case), wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("recurrence", ["dense", "diagonal", "none"])
@pytest.mark.parametrize(("ragged", "masked", "reverse"), list(product([False, True], repeat=3)))
def test_agrees_with_a_plain_loop(
    cell: str, recurrence: str, ragged: bool, masked: bool, reverse: bool
) -> None:
    case = problem(
        cell, 5, 6, 3, 19, recurrence=recurrence, ragged=ragged, masked=masked, reverse=reverse
    )
    assert_close(kernel_results(case), reference_results(case), 1e-13)


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_more_steps_than_a_block_holds(cell: str) -> None:
    case = problem(cell, 3, 200, 5, 63)
    assert_close(kernel_results(case), torch_results(case), 1e-12)


@pytest.mark.parametrize(
    ("cell", "recurrence"), [("lstm", "dense"), ("gru", "diagonal"), ("rnn_tanh", "dense")]
)
def test_ragged_rows_longer_than_a_block(cell: str, recurrence: str) -> None:
    case = problem(cell, 2, 760, 1, 90, recurrence=recurrence, ragged=True, masked=True)
    assert_close(kernel_results(case), reference_results(case), 1e-12)


@pytest.mark.parametrize("cell", TORCH_CELLS)
@pytest.mark.parametrize("threads", [1, 3])
def test_large_shapes_shared_by_threads(cell: str, threads: int) -> None:
    before = kernels.get_num_threads()
    kernels.set_num_threads(threads)
    try:
        for shape in [(1, 12, 70, 200), (2, 9, 40, 260), (30, 8, 200, 65)]:
            case = problem(cell, *shape)
            assert_close(kernel_results(case), torch_results(case), 1e-13)
    finally:
        kernels.set_num_threads(before)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(0, 3, 2, 4), (2, 0, 2, 4), (0, 0, 2, 4)])
def test_nothing_to_do(cell: str, shape: tuple[int, int, int, int]) -> None:
    case = problem(cell, *shape)
    found = kernel_results(case)
    assert_close(found, reference_results(case), 1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_no_input_features(cell: str) -> None:
    case = problem(cell, 3, 4, 0, 5)
    assert_close(kernel_results(case), reference_results(case), 1e-13)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("recurrence", ["dense", "diagonal", "none"])
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_not_read(cell: str, recurrence: str, reverse: bool) -> None:
    case = problem(cell, 9, 8, 3, 17, recurrence=recurrence, ragged=True, reverse=reverse)
    assert case.lengths is not None
    x, grad_y = case.x.copy(), case.grad_y.copy()
    for b, length in enumerate(case.lengths):
        x[b, length:] = np.nan
        grad_y[b, length:] = np.nan
    poisoned = kernel_results(replace(case, x=x, grad_y=grad_y))
    clean = kernel_results(case)
    for name, array in clean.items():
        other = poisoned[name]
        assert (array is None) == (other is None)
        if array is not None and other is not None:
            assert np.isfinite(other).all(), name
            assert array.tobytes() == other.tobytes(), name
    y, grad_x = clean["y"], clean["grad x"]
    assert y is not None
    assert grad_x is not None
    for b, length in enumerate(case.lengths):
        assert not y[b, length:].any()
        assert not grad_x[b, length:].any()


@pytest.mark.parametrize("cell", CELLS)
def test_backward_twice_gives_the_same(cell: str) -> None:
    case = problem(cell, 4, 5, 3, 20, masked=True)
    saved = case.scan(save=True).saved
    assert saved is not None
    first, second = case.scan_backward(saved), case.scan_backward(saved)
    assert first.weight_ih.tobytes() == second.weight_ih.tobytes()
    assert first.x.tobytes() == second.x.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 70)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (63, 5), (8, 40)])
def test_linear(dtype: str, shape: tuple[int, ...], inputs: int, outputs: int) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((*shape, inputs)).astype(dtype)
    weight = random.standard_normal((outputs, inputs)).astype(dtype)
    bias = random.standard_normal(outputs).astype(dtype)
    tolerance = 1e-14 if dtype == "float64" else 1e-5
    for b in (bias, None):
        y = kernels.linear(x, weight, b)
        wanted = x.astype("float64") @ weight.T.astype("float64") + (0 if b is None else b)
        assert y.dtype == x.dtype
        np.testing.assert_allclose(y, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))


def test_extreme_values_saturate() -> None:
    case = problem("lstm", 1, 3, 1, 4, dtype="float32")
    for value in (3e38, -3e38):
        result = replace(case, x=np.full_like(case.x, value)).scan()
        assert np.isfinite(result.y).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("recurrence", ["dense", "diagonal", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("ragged", "batch", "hidden"), [(False, 4, 5), (True, 9, 35)])
def test_nan_stays_in_its_row(
    cell: str, recurrence: str, dtype: str, ragged: bool, batch: int, hidden: int
) -> None:
    case = problem(
        cell, batch, 5, 3, hidden, dtype=dtype, recurrence=recurrence, ragged=ragged, masked=True
    )
    if case.lengths is not None:
        case.lengths[1] = 4
    x = case.x.copy()
    x[1, 1, 0] = np.nan
    sick = replace(case, x=x)
    found, wanted = kernel_results(sick), kernel_results(case)
    y, healthy = found["y"], wanted["y"]
    assert y is not None
    assert healthy is not None
    assert y[1, 0].tobytes() == healthy[1, 0].tobytes()
    assert np.isnan(y[1, 1]).all()
    for name in ("y", "grad x", *(name for name in found if "state" in name)):
        one, other = found[name], wanted[name]
        assert one is not None
        assert other is not None
        assert np.delete(one, 1, 0).tobytes() == np.delete(other, 1, 0).tobytes(), name


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_an_infinite_input_saturates_there_and_back(cell: str) -> None:
    case = problem(cell, 2, 3, 2, 5)
    x = case.x.copy()
    x[1, 1, 0] = np.inf
    infinite = replace(case, x=x)
    found, wanted = kernel_results(infinite), reference_results(infinite)
    for name in ("y", "state 0", "grad x", "grad state 0"):
        array, expected = found[name], wanted[name]
        assert array is not None
        assert expected is not None
        assert np.isfinite(array).all(), name
        np.testing.assert_allclose(array, expected, atol=1e-12, err_msg=name)
