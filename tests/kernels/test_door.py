"""What the door refuses, what it says, and what it leaves as it was."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from noria import kernels
from noria.errors import KernelError, ShapeError
from tests.kernels.reference import CELLS, problem

WRONG_SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "x": ({"x": np.zeros((2, 3))}, r"x has shape \(2, 3\), expected \(B, T, I\)"),
    "weight_ih": (
        {"weight_ih": np.zeros((16, 9))},
        r"weight_ih has shape \(16, 9\), expected \(G\*H=16, I=3\)",
    ),
    "weight_hh": (
        {"weight_hh": np.zeros((12, 4))},
        r"weight_hh has shape \(12, 4\), expected \(G\*H=16, H=4\)",
    ),
    "diagonal": (
        {"weight_hh": np.zeros(4)},
        r"weight_hh has shape \(4,\), expected \(G\*H=16\)",
    ),
    "bias_ih": ({"bias_ih": np.zeros(4)}, r"bias_ih has shape \(4,\), expected \(G\*H=16\)"),
    "bias_hh": ({"bias_hh": np.zeros((16, 1))}, r"bias_hh has shape \(16, 1\)"),
    "one state": ({"state": (np.zeros((2, 4)),)}, r"state has 1 arrays, expected 2: \(h, c\)"),
    "state c": (
        {"state": (np.zeros((2, 4)), np.zeros((2, 5)))},
        r"state c has shape \(2, 5\), expected \(B=2, H=4\)",
    ),
    "state h": (
        {"state": (np.zeros((3, 4)), np.zeros((2, 4)))},
        r"state h has shape \(3, 4\), expected \(B=2, H=4\)",
    ),
    "lengths": ({"lengths": [1]}, r"lengths has shape \(1,\), expected \(B=2\)"),
    "long": ({"lengths": [1, 6]}, r"lengths holds 1..6, expected 0..T=5"),
    "negative": ({"lengths": [-1, 5]}, r"lengths holds -1..5, expected 0..T=5"),
    "mask": (
        {"recurrent_mask": np.zeros(4)},
        r"recurrent_mask has shape \(4,\), expected \(B=2, H=4\)",
    ),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_wrong_shapes_are_named(name: str) -> None:
    changes, message = WRONG_SHAPES[name]
    with pytest.raises(ShapeError, match=message):
        replace(problem("lstm", 2, 5, 3, 4), **changes).scan()


def test_wrong_gradient_shapes_are_named() -> None:
    case = problem("gru", 2, 5, 3, 4)
    saved = case.scan(save=True).saved
    assert saved is not None
    with pytest.raises(ShapeError, match=r"grad_y has shape \(2, 5, 3\)"):
        kernels.scan_backward(saved, case.x, case.grad_state)
    with pytest.raises(ShapeError, match=r"grad_state h has shape \(5, 4\)"):
        kernels.scan_backward(saved, case.grad_y, (case.grad_y[0],))
    with pytest.raises(ShapeError, match="grad_state has 2 arrays, expected 1"):
        kernels.scan_backward(saved, case.grad_y, case.grad_state * 2)


def test_wrong_kinds_are_refused() -> None:
    case = problem("lstm", 2, 5, 3, 4)
    with pytest.raises(KernelError, match="not lsmt"):
        replace(case, cell="lsmt").scan()
    with pytest.raises(KernelError, match="float32 or float64, not float16"):
        replace(case, x=case.x.astype("float16")).scan()
    with pytest.raises(KernelError, match="float32 or float64, not >f8"):
        replace(case, x=case.x.astype(">f8")).scan()
    with pytest.raises(KernelError, match="float32 or float64, not >f8"):
        kernels.pack_stack([kernels.StackLayer("linear", np.ones((1, 1), ">f8"), np.ones(1))])
    with pytest.raises(KernelError, match="float32 or float64, not >f8"):
        kernels.linear(np.zeros((2, 3), ">f8"), np.zeros((5, 3)), None)
    with pytest.raises(KernelError, match="bias_hh is float32, but x is float64"):
        replace(case, bias_hh=case.bias_hh.astype("float32")).scan()
    with pytest.raises(KernelError, match="lengths is float64, expected integers"):
        replace(case, lengths=np.array([1.0, 2.0])).scan()
    with pytest.raises(KernelError, match="at least 1, not 0"):
        kernels.set_num_threads(0)
    with pytest.raises(ShapeError, match=r"weight has shape \(5, 3\), expected \(O=5, I=4\)"):
        kernels.linear(np.zeros((2, 4)), np.zeros((5, 3)), None)
    with pytest.raises(KernelError, match="not int64"):
        kernels.linear(np.zeros((2, 3), "int64"), np.zeros((5, 3)), None)


def test_explain() -> None:
    for cell in CELLS:
        for recurrence in ("dense", "diagonal", "off_diagonal", "masked", "none"):
            assert (
                kernels.explain(cell, hidden_size=3, dtype="float32", recurrence=recurrence) is None
            )
    for changes, word in [
        ({"cell": "mgu"}, "not mgu; any other it runs by its eq"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"recurrence": "ring"}, "ring"),
        ({"device": "cuda"}, "cuda"),
        ({"hidden_size": 0}, "hidden_size"),
    ]:
        arguments: dict[str, Any] = {"cell": "gru", "hidden_size": 3, "dtype": "float32"}
        reason = kernels.explain(**(arguments | changes))
        assert reason is not None
        assert word in reason


def test_arrays_in_any_memory_order() -> None:
    case = problem("lstm", 3, 4, 5, 6)
    strange = replace(
        case,
        x=np.asfortranarray(case.x),
        weight_hh=np.repeat(case.weight_hh, 2, axis=1)[:, ::2],
        state=tuple(np.asfortranarray(s) for s in case.state),
    )
    assert strange.scan().y.tobytes() == case.scan().y.tobytes()


def test_inputs_are_left_alone() -> None:
    case = problem("gru", 3, 4, 5, 6, ragged=True, masked=True)
    before = [a.copy() for a in (case.x, case.weight_ih, case.bias_hh, case.state[0], case.grad_y)]
    saved = case.scan(save=True).saved
    assert saved is not None
    case.scan_backward(saved)
    after = (case.x, case.weight_ih, case.bias_hh, case.state[0], case.grad_y)
    for one, other in zip(before, after, strict=True):
        assert one.tobytes() == other.tobytes()


def test_denormals_are_flushed_inside_and_kept_outside() -> None:
    tiny = np.float64(5e-324)
    case = problem("rnn_relu", 1, 1, 1, 1)
    x = np.full((1, 1, 1), 1e-310)
    one, zero = np.ones((1, 1)), np.zeros(1)
    result = replace(
        case, x=x, weight_ih=one, bias_ih=zero, bias_hh=zero, state=(np.zeros((1, 1)),)
    ).scan()
    assert result.y.item() == 0
    assert tiny * np.float64(2) > 0


def test_calls_from_several_threads_at_once() -> None:
    case = problem("gru", 8, 30, 20, 64, dtype="float32")
    wanted = case.scan().y.tobytes()
    found: list[bool] = []

    def work() -> None:
        found.extend(case.scan().y.tobytes() == wanted for _ in range(20))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [True] * 80


def _scan_in_child(case: Any, answers: Any) -> None:
    answers.put(case.scan().y.tobytes())


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_works_after_a_fork() -> None:
    case = problem("lstm", 16, 30, 32, 64)
    wanted = case.scan().y.tobytes()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_scan_in_child, args=(case, answers))
    child.start()
    assert answers.get(timeout=30) == wanted
    child.join(30)


def test_does_not_import_torch() -> None:
    script = "import sys, noria.kernels; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
