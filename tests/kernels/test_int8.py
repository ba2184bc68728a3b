"""Weights of eight bits: the same bits however they run, and how far they are from float32."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from noria import kernels
from noria.errors import KernelError
from tests.instruction_sets import run_on
from tests.kernels.reference import CELLS, Array, problem
from tests.kernels.stacks import MIXES, a_stack


def rounded(weight: Array) -> Array:
    """What eight bits leave of a matrix, (rows, columns)."""
    scale = np.abs(weight).max(axis=1, keepdims=True, initial=0) / np.float32(127)
    scale[scale == 0] = 1
    return (np.rint(weight / scale) * scale).astype(np.float32)


def digest(mix: str) -> str:
    """Of a whole scan with weights of eight bits."""
    case = a_stack(mix, 5, 6, inputs=21, dtype="float32")
    scan = kernels.scan_stack_packed(kernels.pack_stack(case.layers, int8=True), case.x, case.state)
    arrays = (scan.y, *(part for own in scan.state for part in own))
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@pytest.mark.parametrize("mix", MIXES)
def test_stack_computes_with_rounded_weights(mix: str) -> None:
    case = a_stack(mix, 3, 5, inputs=21, wiring="full", dtype="float32")
    weights = kernels.pack_stack(case.layers, int8=True)
    layers = tuple(
        replace(
            layer,
            weight_ih=rounded(layer.weight_ih),
            weight_hh={k: rounded(weight) for k, weight in layer.weight_hh.items()},
        )
        for layer in case.layers
    )
    found = kernels.scan_stack_packed(weights, case.x, case.state)
    wanted = kernels.scan_stack(layers, case.x, case.state)
    error = np.abs(found.y - wanted.y).max()  # of what the weights meet, rounded to sixteen bits
    assert error < 2e-4
    assert np.abs(found.y - case.scan().y).max() > 10 * error


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("recurrence", ["dense", "diagonal", "none"])
def test_layer_is_the_stack_of_one(cell: str, recurrence: str) -> None:
    case = problem(cell, 4, 7, 19, 35, dtype="float32", recurrence=recurrence)
    weights = kernels.pack(
        cell, case.weight_ih, case.weight_hh, case.bias_ih, case.bias_hh, int8=True
    )
    blocks = {} if case.weight_hh is None else {0: case.weight_hh}
    layer = kernels.StackLayer(cell, case.weight_ih, case.bias_ih, case.bias_hh, blocks)
    stack = kernels.pack_stack([layer], int8=True)
    found = kernels.scan_packed(weights, case.x, case.state)
    wanted = kernels.scan_stack_packed(stack, case.x, [case.state])
    assert found.y.tobytes() == wanted.y.tobytes()
    assert np.isfinite(found.y).all()


@pytest.mark.parametrize("mix", MIXES)
def test_same_bits_whole_stepped_alone_and_in_a_batch(mix: str) -> None:
    case = a_stack(mix, 9, 6, inputs=21, dtype="float32")
    weights = kernels.pack_stack(case.layers, int8=True)
    whole = kernels.scan_stack_packed(weights, case.x, case.state)
    for size in (1, 2, 4, 9):
        for first in range(0, 9, size):
            part = case.rows(first, first + size)
            stepper = kernels.Stepper(weights, len(part.x))
            stepper.state = part.state
            for t in range(6):
                y = stepper.step(np.ascontiguousarray(part.x[:, t]))
                assert y.tobytes() == whole.y[first : first + size, t].tobytes()


def test_more_inputs_than_are_summed_at_once_and_an_odd_number() -> None:
    random = np.random.default_rng(2)
    weight = random.standard_normal((5, 1031)).astype("float32")
    x = (random.standard_normal((3, 1031)) * 10.0 ** random.uniform(-3, 3, (3, 1))).astype(
        "float32"
    )
    layer = kernels.StackLayer("linear", weight, np.zeros(5, "float32"))
    y = kernels.Stepper(kernels.pack_stack([layer], int8=True), 3).step(x)
    wanted = x.astype("float64") @ rounded(weight).astype("float64").T
    assert (np.abs(y - wanted) < 2e-3 * np.abs(x).max(axis=1, keepdims=True)).all()


def test_largest_sums_do_not_overflow() -> None:
    weight = np.ones((1, 1024), "float32")
    layer = kernels.StackLayer("linear", weight, np.zeros(1, "float32"))
    stepper = kernels.Stepper(kernels.pack_stack([layer], int8=True))
    largest = np.full((1, 1024), 1.99997, "float32")
    for sign in (1, -1):
        np.testing.assert_allclose(stepper.step(sign * largest), sign * 2047.97, rtol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row(bad: float) -> None:
    case = a_stack([("lstm", 35)], 5, 4, inputs=11, wiring="full", dtype="float32")
    weights = kernels.pack_stack(case.layers, int8=True)
    whole = kernels.scan_stack_packed(weights, case.x, case.state).y
    case.x[2, 1, 3] = bad
    found = kernels.scan_stack_packed(weights, case.x, case.state).y
    assert np.isnan(found[2, 1:]).all()
    assert np.delete(found, 2, 0).tobytes() == np.delete(whole, 2, 0).tobytes()


def test_vanishing_and_huge_inputs() -> None:
    layer = kernels.StackLayer("linear", np.eye(3, dtype="float32"), np.zeros(3, "float32"))
    stepper = kernels.Stepper(kernels.pack_stack([layer], int8=True))
    x = np.array([[3e38, -1e38, 1e38]], "float32")
    np.testing.assert_allclose(stepper.step(x), x, rtol=1e-3)
    assert (stepper.step(np.full((1, 3), 1e-37, "float32")) == 0).all()


def test_an_index_is_a_one_among_zeros() -> None:
    case = a_stack([("lstm", 35)], 3, 7, inputs=11, wiring="full", dtype="float32")
    weights = kernels.pack_stack(case.layers, int8=True)
    by_x, by_index = kernels.Stepper(weights, 3), kernels.Stepper(weights, 3)
    for row in np.random.default_rng(1).integers(0, 11, (7, 3)):
        x = np.eye(11, dtype="float32")[row]
        assert by_index.step_index(row).tobytes() == by_x.step(x).tobytes()


@pytest.mark.skipif(kernels.instruction_set() != "avx512", reason="needs two instruction sets")
def test_same_bits_on_avx2_and_avx512() -> None:
    mixes = list(MIXES)
    code = f"from tests.kernels.test_int8 import digest; print([digest(m) for m in {mixes!r}])"
    assert run_on("avx2", code).strip() == str([digest(mix) for mix in mixes])


def test_a_row_of_zeros_stays_one() -> None:
    zero, bias = np.zeros((8, 3), "float32"), np.full(8, 0.5, "float32")
    layer = kernels.StackLayer("linear", zero, bias)
    stepper = kernels.Stepper(kernels.pack_stack([layer], int8=True))
    assert (stepper.step(np.ones((1, 3), "float32")) == 0.5).all()


def test_memory_is_a_quarter() -> None:
    case = a_stack([("lstm", 128)], inputs=128, dtype="float32")
    whole, small = (kernels.pack_stack(case.layers, int8=int8) for int8 in (False, True))
    assert small.weights.nbytes < 0.3 * whole.weights.nbytes


def test_refusals() -> None:
    case = problem("gru", 2, 3, 4, 5)
    arrays = (case.weight_ih, case.weight_hh, case.bias_ih, case.bias_hh)
    with pytest.raises(KernelError, match="weight_ih is float64: int8=True takes float32"):
        kernels.pack("gru", *arrays, int8=True)
    weight_ih, weight_hh, *biases = (array.astype("float32") for array in arrays)
    weight_hh[3, 1] = np.inf
    with pytest.raises(KernelError, match="weight_hh holds NaN or infinity"):
        kernels.pack("gru", weight_ih, weight_hh, *biases, int8=True)
    layer = kernels.StackLayer("gru", weight_ih, *biases, {0: weight_hh})
    with pytest.raises(KernelError, match="weight_hh of layer 0 holds NaN or infinity"):
        kernels.pack_stack([layer], int8=True)
