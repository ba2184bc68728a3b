"""Scans with packed weights: the bits of `scan`, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from noria import kernels
from noria.errors import KernelError, ShapeError
from tests.kernels.reference import CELLS, Problem, problem


def packed(case: Problem) -> kernels.Packed:
    return kernels.pack(case.cell, case.weight_ih, case.weight_hh, case.bias_ih, case.bias_hh)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("recurrence", ["dense", "diagonal", "none"])
@pytest.mark.parametrize("reverse", [False, True])
def test_same_bits_as_scan(cell: str, dtype: str, recurrence: str, reverse: bool) -> None:
    case = problem(
        cell, 5, 8, 6, 35, dtype=dtype, recurrence=recurrence, ragged=True, reverse=reverse
    )
    wanted = case.scan()
    found = kernels.scan_packed(packed(case), case.x, case.state, case.lengths, reverse)
    assert found.y.tobytes() == wanted.y.tobytes()
    for one, other in zip(found.state, wanted.state, strict=True):
        assert one.tobytes() == other.tobytes()


def test_denormal_biases_count_for_nothing_packed_or_not() -> None:
    # two of them make a number that is none
    case = problem("linear", 1, 1, 3, 4)
    tiny, zero = np.full(4, 1.2e-308), np.zeros((4, 3))
    case = replace(case, weight_ih=zero, bias_ih=tiny, bias_hh=tiny, state=(np.zeros((1, 4)),))
    assert not case.scan().y.any()
    assert not kernels.scan_packed(packed(case), case.x, case.state).y.any()


@pytest.mark.parametrize("cell", CELLS)
def test_steps_give_the_bits_of_the_whole(cell: str) -> None:
    case = problem(cell, 2, 12, 3, 21, dtype="float32")
    weights, state = packed(case), case.state
    whole = case.scan()
    for t in range(12):
        step = kernels.scan_packed(weights, case.x[:, t : t + 1], state)
        state = step.state
        assert step.y.tobytes() == whole.y[:, t : t + 1].tobytes()


def test_refusals() -> None:
    case = problem("lstm", 2, 3, 4, 5)
    weights = packed(case)
    with pytest.raises(ShapeError, match=r"x has shape \(2, 3, 3\), expected \(B, T, I=4\)"):
        kernels.scan_packed(weights, case.x[:, :, :3], case.state)
    with pytest.raises(ShapeError, match=r"state c has shape \(1, 5\), expected \(B=2, H=5\)"):
        kernels.scan_packed(weights, case.x, (case.state[0], case.state[1][:1]))
    with pytest.raises(ShapeError, match="state has 1 arrays, expected 2"):
        kernels.scan_packed(weights, case.x, case.state[:1])
    with pytest.raises(ShapeError, match=r"lengths holds 1..4, expected 0..T=3"):
        kernels.scan_packed(weights, case.x, case.state, [1, 4])
    with pytest.raises(KernelError, match="x is float32, but the weights are float64"):
        kernels.scan_packed(weights, case.x.astype("float32"), case.state)
    with pytest.raises(ShapeError, match=r"weight_ih has shape \(18, 4\), expected \(G\*H, I\)"):
        kernels.pack("lstm", case.weight_ih[:18], case.weight_hh, case.bias_ih, case.bias_hh)
    with pytest.raises(ShapeError, match=r"bias_ih has shape \(4,\), expected \(G\*H=20\)"):
        kernels.pack("lstm", case.weight_ih, case.weight_hh, case.bias_ih[:4], case.bias_hh)
    with pytest.raises(KernelError, match="not mgu"):
        kernels.pack("mgu", case.weight_ih, None, case.bias_ih, case.bias_hh)
    assert np.isfinite(kernels.scan_packed(weights, case.x, case.state).y).all()
    short = replace(weights, weights=weights.weights[:-1])
    with pytest.raises(ShapeError, match=r"weights has \d+ numbers, expected \d+: give what was"):
        kernels.scan_packed(short, case.x, case.state)
    saved = case.scan(save=True).saved
    assert saved is not None
    with pytest.raises(ShapeError, match=r"gates has \d+ numbers"):
        kernels.scan_backward(saved._replace(gates=saved.gates[:-1]), case.grad_y, case.grad_state)
