"""Stacks of layers that feed each other: values, every gradient, bits, padding and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from noria import kernels
from noria.errors import KernelError, ShapeError
from noria.kernels import StackLayer
from tests.kernels.reference import assert_close
from tests.kernels.stacks import MIXES, WIRINGS, Stack, a_stack, kernel_results, reference_results

DTYPES = ["float32", "float64"]


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    count = kernels.get_num_threads()
    yield
    kernels.set_num_threads(count)


def same(a: kernels.StackScan, b: kernels.StackScan) -> bool:
    arrays = zip(
        [a.y, *(part for own in a.state for part in own)],
        [b.y, *(part for own in b.state for part in own)],
        strict=True,
    )
    return all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in arrays)


def in_chunks(case: Stack, boundaries: list[int]) -> kernels.StackScan:
    """The scan of a stack without lengths, one chunk after the other."""
    state, ys = case.state, []
    for first, last in zip([0, *boundaries], [*boundaries, case.x.shape[1]], strict=True):
        part = replace(case, x=case.x[:, first:last], state=state).scan(save=first % 2 == 1)
        state = part.state
        ys.append(part.y)
    return kernels.StackScan(np.concatenate(ys, axis=1), state, None)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("carries_state", [False, True])
def test_agrees_with_a_plain_loop(
    mix: str, wiring: str, ragged: bool, masked: bool, carries_state: bool
) -> None:
    case = a_stack(mix, wiring=wiring, ragged=ragged, masked=masked, carries_state=carries_state)
    assert_close(kernel_results(case), reference_results(case), 1e-12)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 1, 9), (2, 20, 1), (0, 3, 2), (2, 0, 2)])
def test_odd_shapes(mix: str, shape: tuple[int, int, int]) -> None:
    case = a_stack(mix, *shape, ragged=True, masked=True)
    assert_close(kernel_results(case), reference_results(case), 1e-12)


def test_single_precision() -> None:
    case = a_stack(dtype="float32", ragged=True, masked=True)
    assert_close(kernel_results(case), reference_results(case), 2e-5)


@pytest.mark.parametrize("normalised", [False, True])
def test_more_steps_than_a_block_holds(normalised: bool) -> None:
    cells: list[tuple[str, int]] = [("lstm", 40), ("gru", 23)]
    case = a_stack(cells, 3, 400, 5, ragged=True, masked=True, normalised=normalised)
    assert_close(kernel_results(case), reference_results(case), 1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_that_feed_only_themselves_give_the_bits_of_their_scans(dtype: str) -> None:
    case = a_stack(dtype=dtype, ragged=True, wiring="full")
    layers = tuple(
        replace(layer, weight_hh={l: layer.weight_hh[l]}) for l, layer in enumerate(case.layers)
    )
    found = replace(case, layers=layers).scan()
    y = case.x
    for l, layer in enumerate(layers):
        bias_hh = np.zeros_like(layer.bias_ih) if layer.bias_hh is None else layer.bias_hh
        weights = (layer.weight_ih, layer.weight_hh[l], layer.bias_ih, bias_hh)
        one = kernels.scan(layer.cell, y, *weights, case.state[l], lengths=case.lengths)
        for part, wanted in zip(found.state[l], one.state, strict=True):
            assert part.tobytes() == wanted.tobytes()
        y = one.y
    assert found.y.tobytes() == y.tobytes()


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_chunks_and_steps(mix: str, dtype: str, masked: bool) -> None:
    case = a_stack(mix, 5, 23, dtype=dtype, masked=masked, carries_state=False)
    whole = case.scan()
    assert same(whole, in_chunks(case, list(range(1, 23))))
    assert same(whole, in_chunks(case, [4, 4, 9, 22]))
    assert same(whole, case.scan(save=True))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_alone_and_in_any_batch(mix: str, dtype: str) -> None:
    case = a_stack(mix, 33, 9, dtype=dtype, masked=True)
    whole = case.scan()
    for size in (1, 2, 3, 5, 8, 20):
        for first in range(0, 33, size):
            part = case.rows(first, first + size).scan()
            assert part.y.tobytes() == whole.y[first : first + size].tobytes()
            for own, wanted in zip(part.state, whole.state, strict=True):
                for one, other in zip(own, wanted, strict=True):
                    assert one.tobytes() == other[first : first + size].tobytes()


@pytest.mark.parametrize("mix", MIXES)
def test_ragged_rows_as_if_alone(mix: str) -> None:
    case = a_stack(mix, 20, 15, dtype="float32", ragged=True)
    assert case.lengths is not None
    whole = case.scan()
    for b, length in enumerate(case.lengths):
        row = case.rows(b, b + 1)
        alone = replace(row, x=row.x[:, :length], lengths=None).scan()
        assert alone.y.tobytes() == whole.y[b : b + 1, :length].tobytes()
        for own, wanted in zip(alone.state, whole.state, strict=True):
            for one, other in zip(own, wanted, strict=True):
                assert one.tobytes() == other[b : b + 1].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
# the first so heavy a step that threads share its neurons, the others rows
@pytest.mark.parametrize("shape", [(2, 9, 40), (1, 12, 90), (31, 14, 50)])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_any_number_of_threads(
    dtype: str, shape: tuple[int, int, int], ragged: bool, normalised: bool
) -> None:
    mix = [("lstm", 300), ("gru", 200), ("linear", 4)]
    case = a_stack(mix, *shape, dtype=dtype, ragged=ragged, masked=True, normalised=normalised)
    kernels.set_num_threads(1)
    alone = kernel_results(case)
    for threads in (2, 3, 5):
        kernels.set_num_threads(threads)
        for name, array in kernel_results(case).items():
            wanted = alone[name]
            assert (array is None) == (wanted is None)
            if array is not None and wanted is not None:
                assert array.tobytes() == wanted.tobytes(), f"{name} with {threads} threads"


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("wiring", WIRINGS)
def test_padding_is_not_read(mix: str, wiring: str) -> None:
    case = a_stack(mix, 9, 8, wiring=wiring, ragged=True, masked=True)
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
    for name in ("y", "grad x"):
        padded = clean[name]
        assert padded is not None
        for b, length in enumerate(case.lengths):
            assert not padded[b, length:].any()


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("ragged", [False, True])
def test_nan_stays_in_its_row(mix: str, wiring: str, ragged: bool) -> None:
    case = a_stack(mix, 7, 5, wiring=wiring, ragged=ragged, masked=True, dtype="float32")
    if case.lengths is not None:
        case.lengths[1] = 4
    x = case.x.copy()
    x[1, 1, 0] = np.nan
    found, wanted = kernel_results(replace(case, x=x)), kernel_results(case)
    y, healthy = found["y"], wanted["y"]
    assert y is not None
    assert healthy is not None
    assert y[1, 0].tobytes() == healthy[1, 0].tobytes()
    assert np.isnan(y[1, 1:4]).any()
    for name in ("y", "grad x", *(name for name in found if "state" in name)):
        one, other = found[name], wanted[name]
        assert one is not None
        assert other is not None
        assert np.delete(one, 1, 0).tobytes() == np.delete(other, 1, 0).tobytes(), name


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_weights_give_the_same_bits(mix: str, dtype: str) -> None:
    case = a_stack(mix, 3, 8, dtype=dtype, ragged=True)
    packed = kernels.pack_stack(case.layers)
    assert same(kernels.scan_stack_packed(packed, case.x, case.state, case.lengths), case.scan())
    whole, state = replace(case, lengths=None).scan(), case.state
    for t in range(8):
        step = kernels.scan_stack_packed(packed, case.x[:, t : t + 1], state)
        state = step.state
        assert step.y.tobytes() == whole.y[:, t : t + 1].tobytes()


def test_backward_twice_gives_the_same() -> None:
    case = a_stack(masked=True, ragged=True)
    saved = case.scan(save=True).saved
    assert saved is not None
    first, second = (
        kernels.scan_stack_backward(saved, case.grad_y, case.grad_state) for _ in range(2)
    )
    assert first.x.tobytes() == second.x.tobytes()
    assert first.layers[0].weight_ih.tobytes() == second.layers[0].weight_ih.tobytes()


def changed(index: int, **changes: Any) -> list[StackLayer]:
    layers = list(a_stack().layers)
    layers[index] = replace(layers[index], **changes)
    return layers


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no layers": ({"layers": ()}, "layers is empty"),
    "x": ({"x": np.zeros((5, 3))}, r"x has shape \(5, 3\), expected \(B, T, I\)"),
    "width": (
        {"layers": changed(1, weight_ih=np.zeros((24, 18)))},
        r"weight_ih of layer 1 has shape \(24, 18\), expected \(G\*H=24, I=19\)",
    ),
    "rows": (
        {"layers": changed(0, weight_ih=np.zeros((75, 3)))},
        r"weight_ih of layer 0 has shape \(75, 3\), expected \(G\*H, I\) with G=4",
    ),
    "bias_ih": (
        {"layers": changed(2, bias_ih=np.zeros(4))},
        r"bias_ih of layer 2 has shape \(4,\), expected \(G\*H=3\)",
    ),
    "bias_hh": (
        {"layers": changed(1, bias_hh=np.zeros(8))},
        r"bias_hh of layer 1 has shape \(8,\), expected \(G\*H=24\)",
    ),
    "block": (
        {"layers": changed(0, weight_hh={1: np.zeros((76, 7))})},
        r"weight_hh\[1\] of layer 0 has shape \(76, 7\), expected \(G\*H=76, K=8\)",
    ),
    "diagonal from another": (
        {"layers": changed(0, weight_hh={1: np.zeros(76)})},
        r"weight_hh\[1\] of layer 0 has shape \(76,\), expected \(G\*H=76, K=8\)",
    ),
    "source": (
        {"layers": changed(0, weight_hh={3: np.zeros((76, 8))})},
        r"weight_hh of layer 0 comes from layer 3, expected 0..2",
    ),
    "gains": (
        {"layers": changed(1, weight_norm=np.zeros((3, 8)))},
        r"weight_norm of layer 1 has shape \(3, 8\), expected \(S=4, H=8\)",
    ),
    "recurrent mask": (
        {"layers": changed(1, recurrent_mask=np.zeros((5, 19)))},
        r"recurrent_mask of layer 1 has shape \(5, 19\), expected \(B=5, H=8\)",
    ),
    "input mask": (
        {"layers": changed(1, input_mask=np.zeros((5, 8)))},
        r"input_mask of layer 1 has shape \(5, 8\), expected \(B=5, I=19\)",
    ),
    "states": ({"state": a_stack().state[:2]}, r"state has \[2, 1\] arrays a layer, expected \[2,"),
    "state": (
        {"state": (a_stack().state[0], (np.zeros((5, 9)),), a_stack().state[2])},
        r"state\[1\] h has shape \(5, 9\), expected \(B=5, H=8\)",
    ),
    "lengths": ({"lengths": [7] * 5}, r"lengths holds 7..7, expected 0..T=6"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_shapes_are_named(name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(ShapeError, match=message):
        replace(a_stack(), **changes).scan()


def test_wrong_kinds_are_refused() -> None:
    case = a_stack()
    for layers, message in [
        (changed(1, cell="mgu"), "not mgu"),
        (changed(1, bias_ih=np.zeros(24, "float32")), "bias_ih of layer 1 is float32, but x is fl"),
        (changed(0, input_mask=np.zeros((5, 3))), "layer 0 has an input_mask"),
    ]:
        with pytest.raises(KernelError, match=message):
            replace(case, layers=tuple(layers)).scan()
    with pytest.raises(KernelError, match="float32 or float64, not float16"):
        replace(case, x=case.x.astype("float16")).scan()


def test_wrong_gradients_and_packed_arguments_are_refused() -> None:
    case = a_stack()
    saved = case.scan(save=True).saved
    assert saved is not None
    with pytest.raises(ShapeError, match=r"grad_y has shape \(5, 6, 2\), expected \(B=5, T=6, H=3"):
        kernels.scan_stack_backward(saved, case.grad_y[:, :, :2], case.grad_state)
    with pytest.raises(ShapeError, match=r"grad_state has \[2\] arrays a layer"):
        kernels.scan_stack_backward(saved, case.grad_y, case.grad_state[:1])
    packed = kernels.pack_stack(case.layers)
    with pytest.raises(ShapeError, match=r"x has shape \(5, 6, 2\), expected \(B, T, I=3\)"):
        kernels.scan_stack_packed(packed, case.x[:, :, :2], case.state)
    with pytest.raises(KernelError, match="x is float32, but the weights are float64"):
        kernels.scan_stack_packed(packed, case.x.astype("float32"), case.state)
    with pytest.raises(KernelError, match="layer 0 has a mask"):
        kernels.pack_stack(a_stack(masked=True).layers)
    with pytest.raises(ShapeError, match="layers is empty"):
        kernels.pack_stack([])
