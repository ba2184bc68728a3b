"""Scans: one recurrent layer over whole sequences, forward and backward.

B batch, T time, I input, H hidden, G gates (LSTM 4: i, f, g, o; GRU 3: r, z, n; the others 1).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria.equations import Equations
from noria.errors import KernelError, ShapeError
from noria.kernels import _native
from noria.kernels.compiling import missing_library

__all__ = ["Gradients", "Saved", "Scan", "explain", "linear", "scan", "scan_backward"]

Array = NDArray[Any]

CELLS = {"lstm": 0, "gru": 1, "rnn_tanh": 2, "rnn_relu": 3, "linear": 4}
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1, "linear": 1}
STATES = {
    "lstm": ("h", "c"),
    "gru": ("h",),
    "rnn_tanh": ("h",),
    "rnn_relu": ("h",),
    "linear": ("h",),
}
SLOTS = {
    "lstm": ("i", "f", "g", "o"),
    "gru": ("x_n", "r", "z", "r_n"),
    "rnn_tanh": ("a",),
    "rnn_relu": ("a",),
    "linear": ("a",),
}
RECURRENCES = {"dense": 0, "diagonal": 1, "none": 2}
_DENSE_WITH_ZEROS = ("off_diagonal", "masked")
_SCAN = {"float32": _native.scan_float32, "float64": _native.scan_float64}
_SCAN_BACKWARD = {
    "float32": _native.scan_backward_float32,
    "float64": _native.scan_backward_float64,
}
_LINEAR = {"float32": _native.linear_float32, "float64": _native.linear_float64}


class Saved(NamedTuple):
    """What `scan_backward` needs of a scan; it shares memory with the scan's inputs and y."""

    cell: str
    recurrence: str
    reverse: bool
    x: Array
    weight_ih: Array
    weight_hh: Array | None
    bias_ih: Array
    bias_hh: Array
    state: list[Array]
    lengths: NDArray[np.int64] | None
    recurrent_mask: Array | None
    y: Array
    gates: Array


@dataclass(frozen=True)
class Scan:
    """The result of a scan.

    Attributes:
        y: h after every step, shape (B, T, H); 0 past a row's length.
        state: Final state of every row, each (B, H).
        saved: For `scan_backward`; None unless asked for.
    """

    y: Array
    state: tuple[Array, ...]
    saved: Saved | None


@dataclass(frozen=True)
class Gradients:
    """Gradients with respect to the inputs of a scan, each in its input's shape."""

    x: Array
    weight_ih: Array
    weight_hh: Array | None
    bias_ih: Array
    bias_hh: Array
    state: tuple[Array, ...]


def explain(
    cell: str | Equations,
    *,
    hidden_size: int,
    dtype: str,
    recurrence: str = "dense",
    device: str = "cpu",
    save: bool = True,
) -> str | None:
    """Say why the native core does not run a configuration.

    Args:
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or "linear"; or the equations of another, such
            as `noria.cells.SLSTM.meaning`.
        hidden_size: H.
        dtype: "float32" or "float64".
        recurrence: "dense" (every neuron hears every neuron), "diagonal" (only itself),
            "off_diagonal" (all but itself), "masked" (some of them) or "none".
        device: "cpu".
        save: Whether gradients will be asked for.

    Returns:
        The reason in one sentence, or None when it runs.

    >>> explain("lstm", hidden_size=64, dtype="float32")
    >>> explain("lstm", hidden_size=64, dtype="float16")
    'The native core computes in float32 or float64, not float16.'
    """
    if isinstance(cell, str) and cell not in CELLS:
        return (
            f"The native core has the cells {', '.join(CELLS)}, not {cell}; any other it runs by"
            " its equations: give the cell's meaning."
        )
    if isinstance(cell, Equations) and (library := missing_library(save=save)):
        return (
            f"The native core compiles the equations of {cell.name} with {library}, which is not"
            " installed: pip install 'noria[cells]'."
        )
    if recurrence not in (*RECURRENCES, *_DENSE_WITH_ZEROS):
        known = ", ".join((*RECURRENCES, *_DENSE_WITH_ZEROS))
        return f"The native core has the recurrences {known}, not {recurrence}."
    if dtype not in _SCAN:
        return f"The native core computes in float32 or float64, not {dtype}."
    if device != "cpu":
        return f"The native core runs on the CPU, not on {device}."
    if hidden_size < 1:
        return f"The native core needs a hidden_size of at least 1, not {hidden_size}."
    return None


def scan(
    cell: str,
    x: Array,
    weight_ih: Array,
    weight_hh: Array | None,
    bias_ih: Array,
    bias_hh: Array,
    state: Sequence[Array],
    lengths: ArrayLike | None = None,
    recurrent_mask: Array | None = None,
    reverse: bool = False,
    save: bool = False,
) -> Scan:
    """Run one recurrent layer over whole sequences.

        LSTM  i, f, o = σ(…);  g = tanh(…);  c' = f·c + i·g;  h' = o·tanh(c')
        GRU   r, z = σ(…);  n = tanh(W_n x + b_in + r·(R_n h + b_hn));  h' = (1 - z)·n + z·h
        RNN   h' = tanh(…), relu(…), or … itself: linear        where … is W x + b_ih + R h + b_hh

    Args:
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or "linear".
        x: Input, shape (B, T, I), float32 or float64; all arrays have its dtype.
        weight_ih: W, shape (G*H, I).
        weight_hh: R, shape (G*H, H); (G*H,) when a neuron hears only itself; None without R.
        bias_ih: Shape (G*H,).
        bias_hh: Shape (G*H,).
        state: Initial (h, c) of the LSTM, (h,) of the others, each (B, H).
        lengths: Steps of each row, shape (B,), each 0..T; None: T. Past them x is not read.
        recurrent_mask: Shape (B, H); multiplies h in the product with R only.
        reverse: Run row b from step lengths[b]-1 down to 0; outputs stay at their own time.
        save: Keep what `scan_backward` needs.

    Returns:
        y, the final state, and what was saved.

    Raises:
        ShapeError: if a shape or a length disagrees with the others.
        KernelError: if the core does not run this cell or dtype.
    """
    if cell not in CELLS:
        raise KernelError(f"The native core has the cells {', '.join(CELLS)}, not {cell}.")
    if x.ndim != 3:
        raise ShapeError(f"x has shape {x.shape}, expected (B, T, I)")
    if len(state) != len(STATES[cell]):
        names = ", ".join(STATES[cell])
        raise ShapeError(f"state has {len(state)} arrays, expected {len(STATES[cell])}: ({names})")
    if state[0].ndim != 2:
        raise ShapeError(f"state h has shape {state[0].shape}, expected (B={x.shape[0]}, H)")
    batch, time, inputs = x.shape
    hidden = state[0].shape[1]
    recurrence = "none" if weight_hh is None else "diagonal" if weight_hh.ndim == 1 else "dense"
    dtype = x.dtype
    reason = explain(cell, hidden_size=hidden, dtype=dtype_name(dtype), recurrence=recurrence)
    if reason:
        raise KernelError(reason)

    rows = ("G*H", GATES[cell] * hidden)
    state_shape = (("B", batch), ("H", hidden))
    if weight_hh is not None:
        hh_shape = (rows, ("H", hidden)) if recurrence == "dense" else (rows,)
        weight_hh = dense("weight_hh", weight_hh, dtype, *hh_shape)
    if recurrent_mask is not None:
        recurrent_mask = dense("recurrent_mask", recurrent_mask, dtype, *state_shape)
    arguments = (
        cell,
        recurrence,
        reverse,
        np.ascontiguousarray(x),
        dense("weight_ih", weight_ih, dtype, rows, ("I", inputs)),
        weight_hh,
        dense("bias_ih", bias_ih, dtype, rows),
        dense("bias_hh", bias_hh, dtype, rows),
        [
            dense(f"state {name}", array, dtype, *state_shape)
            for name, array in zip(STATES[cell], state, strict=True)
        ],
        None if lengths is None else check_lengths(lengths, batch, time),
        recurrent_mask,
    )
    y, h, c, gates = _SCAN[dtype_name(dtype)](
        CELLS[cell], RECURRENCES[recurrence], *arguments[2:], save
    )
    final = (h, c)[: len(state)]
    return Scan(y, final, Saved(*arguments, y, gates) if save else None)


def scan_backward(saved: Saved, grad_y: Array, grad_state: Sequence[Array]) -> Gradients:
    """Compute the gradients of a scan.

    Args:
        saved: From `scan(..., save=True)`. May be used more than once.
        grad_y: With respect to y, shape (B, T, H); ignored past a row's length.
        grad_state: With respect to the final state, each (B, H).

    Returns:
        The gradients with respect to every input of the scan.

    Raises:
        ShapeError: if a shape disagrees with the scan's.
        KernelError: if a dtype does.
    """
    dtype = saved.x.dtype
    batch, time, hidden = saved.y.shape
    if len(grad_state) != len(saved.state):
        raise ShapeError(f"grad_state has {len(grad_state)} arrays, expected {len(saved.state)}")
    grad_y = dense("grad_y", grad_y, dtype, ("B", batch), ("T", time), ("H", hidden))
    grad_state = [
        dense(f"grad_state {name}", array, dtype, ("B", batch), ("H", hidden))
        for name, array in zip(STATES[saved.cell], grad_state, strict=True)
    ]
    cell, recurrence = CELLS[saved.cell], RECURRENCES[saved.recurrence]
    arguments: list[Any] = [cell, recurrence, *saved[2:], grad_y, grad_state]
    x, weight_ih, weight_hh, bias_ih, bias_hh, h, c = _SCAN_BACKWARD[dtype_name(dtype)](*arguments)
    return Gradients(
        x=x,
        weight_ih=weight_ih,
        weight_hh=None if saved.weight_hh is None else weight_hh,
        bias_ih=bias_ih,
        bias_hh=bias_hh,
        state=(h, c)[: len(saved.state)],
    )


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """Compute W x + b; each output is accumulated in the same order as in a scan.

    Args:
        x: Shape (..., I), float32 or float64.
        weight: W, shape (O, I).
        bias: b, shape (O,), or None.

    Returns:
        Shape (..., O).

    Raises:
        ShapeError: if the shapes disagree.
        KernelError: if the core does not compute in this dtype.
    """
    if dtype_name(x.dtype) not in _LINEAR:
        raise KernelError(f"The native core computes in float32 or float64, not {x.dtype}.")
    if x.ndim < 1 or weight.ndim != 2:
        raise ShapeError(
            f"x and weight have shapes {x.shape} and {weight.shape}, expected (..., I) and (O, I)"
        )
    outputs = ("O", weight.shape[0])
    weight = dense("weight", weight, x.dtype, outputs, ("I", x.shape[-1]))
    if bias is not None:
        bias = dense("bias", bias, x.dtype, outputs)
    rows = np.ascontiguousarray(x).reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
    return _LINEAR[dtype_name(x.dtype)](rows, weight, bias).reshape(*x.shape[:-1], weight.shape[0])


@functools.lru_cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Its name, which numpy takes longer to find than a small step takes."""
    return dtype.name if dtype.isnative else dtype.str


def gates_of(cell: str | Equations) -> int:
    return len(cell.gates) if isinstance(cell, Equations) else GATES.get(cell, 1)


def slots_of(cell: str | Equations) -> tuple[str, ...]:
    """The pre-activations that a cell reads, in the native core's order."""
    return cell.slots if isinstance(cell, Equations) else SLOTS.get(cell, ())


def states_of(cell: str | Equations) -> tuple[str, ...]:
    return cell.states if isinstance(cell, Equations) else STATES[cell]


def dense(name: str, array: Array, dtype: np.dtype[Any], *axes: tuple[str, int]) -> Array:
    """The array in C order, once its shape and dtype are found right."""
    if array.shape != tuple([size for _, size in axes]):
        wanted = ", ".join(f"{letter}={size}" for letter, size in axes)
        raise ShapeError(f"{name} has shape {array.shape}, expected ({wanted})")
    if array.dtype != dtype:
        raise KernelError(f"{name} is {array.dtype}, but x is {dtype}")
    return np.ascontiguousarray(array)


def check_int8(named: Iterable[tuple[str, Array]]) -> None:
    """Raises unless these weights can be rounded to eight bits."""
    for name, array in named:
        if array.dtype != np.float32:
            raise KernelError(f"{name} is {array.dtype}: int8=True takes float32")
        if not np.isfinite(array).all():
            raise KernelError(f"{name} holds NaN or infinity, which no eight bits can stand for")


def check_lengths(lengths: ArrayLike, batch: int, time: int) -> NDArray[np.int64]:
    found = np.asarray(lengths)
    if found.shape != (batch,):
        raise ShapeError(f"lengths has shape {found.shape}, expected (B={batch})")
    if batch and not np.issubdtype(found.dtype, np.integer):
        raise KernelError(f"lengths is {found.dtype}, expected integers")
    if batch and (found.min() < 0 or found.max() > time):
        raise ShapeError(f"lengths holds {found.min()}..{found.max()}, expected 0..T={time}")
    # a copy: what the way back needs must not change with the caller's array
    return np.array(found, dtype=np.int64)
