"""Steppers: the bits of the whole sequence, their state, and what they refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from noria import kernels
from noria.errors import KernelError, ShapeError
from noria.kernels import StackLayer
from tests.kernels.reference import CELLS, Array
from tests.kernels.stacks import MIXES, WIRINGS, Stack, a_stack


def steps(stepper: kernels.Stepper, x: Array) -> Array:
    """y of every step of x, (B, T, I)."""
    ys = [stepper.step(np.ascontiguousarray(x[:, t])) for t in range(x.shape[1])]
    return np.stack(ys, axis=1)


def started(case: Stack) -> kernels.Stepper:
    stepper = kernels.Stepper(kernels.pack_stack(case.layers), len(case.x))
    stepper.state = case.state
    return stepper


def same(one: tuple[tuple[Array, ...], ...], other: tuple[tuple[Array, ...], ...]) -> bool:
    pairs = zip(sum(one, ()), sum(other, ()), strict=True)
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_give_the_bits_of_the_whole(mix: str, wiring: str, dtype: str) -> None:
    for batch in (1, 5):
        case = a_stack(mix, batch, wiring=wiring, dtype=dtype, carries_state=batch == 1)
        whole = case.scan()
        stepper = started(case)
        assert steps(stepper, case.x).tobytes() == whole.y.tobytes()
        assert same(stepper.state, whole.state)


def test_a_classical_stack_gives_the_bits_of_its_layers() -> None:
    case = a_stack([("lstm", 40), ("gru", 33), ("linear", 3)], 2, 9, wiring="own", dtype="float32")
    layers = [
        StackLayer(l.cell, l.weight_ih, l.bias_ih, l.bias_hh, {k: square})
        for k, l in enumerate(case.layers[:2])
        for square in [np.tile(l.weight_ih[:, :1], l.hidden_size)]
    ]
    stepper = kernels.Stepper(kernels.pack_stack([*layers, case.layers[2]]), 2)
    y = case.x
    for layer in layers:
        state = [np.zeros((2, layer.hidden_size), "float32")] * (2 if layer.cell == "lstm" else 1)
        (recurrent,) = layer.weight_hh.values()
        assert layer.bias_hh is not None
        y = kernels.scan(
            layer.cell, y, layer.weight_ih, recurrent, layer.bias_ih, layer.bias_hh, state
        ).y
    y = kernels.linear(y, case.layers[2].weight_ih, case.layers[2].bias_ih)
    assert steps(stepper, case.x).tobytes() == y.tobytes()


@pytest.mark.parametrize("cell", CELLS)
def test_an_index_is_a_one_among_zeros(cell: str) -> None:
    case = a_stack([(cell, 35)], 3, 7, inputs=11, wiring="full", dtype="float32")
    index = np.random.default_rng(1).integers(0, 11, (7, 3))
    by_x, by_index = started(case), started(case)
    for row in index:
        x = np.zeros((3, 11), "float32")
        x[np.arange(3), row] = 1
        assert by_index.step_index(row).tobytes() == by_x.step(x).tobytes()


def test_state_is_copied_out_and_in() -> None:
    case = a_stack(dtype="float32")
    stepper = started(case)
    assert same(stepper.state, case.state)
    steps(stepper, case.x[:, :3])
    middle = stepper.state
    end = steps(stepper, case.x[:, 3:])
    assert not same(middle, stepper.state)
    other = kernels.Stepper(kernels.pack_stack(case.layers), len(case.x))
    assert all(not part.any() for own in other.state for part in own)
    other.state = middle
    assert steps(other, case.x[:, 3:]).tobytes() == end.tobytes()


def test_threads_change_nothing() -> None:
    case = a_stack([("lstm", 420), ("gru", 400)], 1, 3, inputs=9, dtype="float32")
    before = kernels.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            found.append(steps(started(case), case.x).tobytes())
    finally:
        kernels.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_writes_where_it_is_told() -> None:
    case = a_stack(dtype="float32")
    wanted = started(case).step(case.x[:, 0].copy())
    out = np.full_like(wanted, np.nan)
    assert started(case).step(case.x[:, 0].copy(), out) is out
    assert out.tobytes() == wanted.tobytes()


def test_refusals() -> None:
    case = a_stack(batch=2, dtype="float32")  # 3 inputs, 3 outputs
    stepper = started(case)
    x, before = np.ones((2, 3), "float32"), stepper.state
    with pytest.raises(ShapeError, match=r"x has shape \(2, 4\), expected \(2, 3\)"):
        stepper.step(np.ones((2, 4), "float32"))
    with pytest.raises(ShapeError, match=r"x has shape \(3,\), expected \(2, 3\)"):
        stepper.step(x[0])
    with pytest.raises(KernelError, match="x holds 'd', expected float32"):
        stepper.step(x.astype("float64"))
    with pytest.raises(KernelError, match="x is no dense array in C order"):
        stepper.step(np.ones((3, 2), "float32").T)
    with pytest.raises(KernelError, match="x is no dense array in C order"):
        stepper.step([[1.0, 2.0, 3.0]] * 2)
    with pytest.raises(ShapeError, match=r"out has shape \(1, 3\), expected \(2, 3\)"):
        stepper.step(x, np.empty((1, 3), "float32"))
    fixed = np.empty((2, 3), "float32")
    fixed.flags.writeable = False
    with pytest.raises(KernelError, match="out is no dense, writable array"):
        stepper.step(x, fixed)
    with pytest.raises(ShapeError, match=r"index holds 3, expected 0\.\.2"):
        stepper.step_index(np.array([0, 3]))
    with pytest.raises(ShapeError, match=r"index holds -1, expected 0\.\.2"):
        stepper.step_index(np.array([-1, 0]))
    with pytest.raises(KernelError, match="index holds 'f', expected int64"):
        stepper.step_index(np.ones(2, "float32"))
    with pytest.raises(ShapeError, match=r"state\[0\] h has shape \(1, 19\)"):
        stepper.state = tuple(tuple(part[:1] for part in own) for own in before)
    with pytest.raises(ShapeError, match="batch_size is 0"):
        kernels.Stepper(kernels.pack_stack(case.layers), 0)
    whole = kernels.pack_stack(case.layers)
    short = dataclasses.replace(whole, weights=whole.weights[:-1])
    with pytest.raises(ShapeError, match=r"weights has \d+ numbers, expected \d+"):
        kernels.Stepper(short)
    with pytest.raises(ShapeError, match=r"weights has \d+ numbers, expected \d+"):
        kernels.scan_stack_packed(short, case.x, case.state)
    assert same(stepper.state, before)
