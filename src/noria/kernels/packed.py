"""Weights packed once, for many short scans: a session that takes one step a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from noria.errors import KernelError, ShapeError
from noria.kernels import _native
from noria.kernels.scan import (
    CELLS,
    GATES,
    RECURRENCES,
    STATES,
    Array,
    Scan,
    check_int8,
    check_lengths,
    dense,
    dtype_name,
    explain,
)

__all__ = ["Packed", "pack", "scan_packed"]

_PACK = {"float32": _native.pack_float32, "float64": _native.pack_float64}
_SCAN_PACKED = {
    "float32": _native.scan_packed_float32,
    "float64": _native.scan_packed_float64,
}


@dataclass(frozen=True)
class Packed:
    """One layer's weights and biases as the native core reads them.

    The order inside depends on the machine: pack again rather than store it.
    """

    cell: str
    recurrence: str
    input_size: int
    hidden_size: int
    weights: Array
    int8: bool = False


def pack(
    cell: str,
    weight_ih: Array,
    weight_hh: Array | None,
    bias_ih: Array,
    bias_hh: Array,
    int8: bool = False,
) -> Packed:
    """Pack the weights of one layer for `scan_packed`.

    Args:
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or "linear".
        weight_ih: Shape (G*H, I), float32 or float64; all arrays have its dtype.
        weight_hh: Shape (G*H, H) dense, (G*H,) diagonal, or None.
        bias_ih: Shape (G*H,).
        bias_hh: Shape (G*H,).
        int8: Round weight_ih and a dense weight_hh to eight bits, with a scale a row, and what they
            multiply to sixteen at every step; states stay float32. A quarter of the memory to
            read. An infinite input gives NaN in its row.

    Raises:
        ShapeError: if a shape disagrees with the others.
        KernelError: if the core does not run this cell or dtype; with int8, unless the weights are
            finite and float32.
    """
    recurrence = "none" if weight_hh is None else "diagonal" if weight_hh.ndim == 1 else "dense"
    gates = GATES.get(cell, 1)
    if weight_ih.ndim != 2 or weight_ih.shape[0] % gates:
        raise ShapeError(f"weight_ih has shape {weight_ih.shape}, expected (G*H, I) with G={gates}")
    hidden = weight_ih.shape[0] // gates
    dtype = weight_ih.dtype
    reason = explain(cell, hidden_size=hidden, dtype=dtype_name(dtype), recurrence=recurrence)
    if reason:
        raise KernelError(reason)
    rows = ("G*H", gates * hidden)
    if weight_hh is not None:
        hh_shape = (rows, ("H", hidden)) if recurrence == "dense" else (rows,)
        weight_hh = dense("weight_hh", weight_hh, dtype, *hh_shape)
    if int8:
        named = {"weight_ih": weight_ih, "weight_hh": weight_hh}
        check_int8((name, array) for name, array in named.items() if array is not None)
    weights = _PACK[dtype_name(dtype)](
        CELLS[cell],
        RECURRENCES[recurrence],
        hidden,
        dense("weight_ih", weight_ih, dtype, rows, ("I", weight_ih.shape[1])),
        weight_hh,
        dense("bias_ih", bias_ih, dtype, rows),
        dense("bias_hh", bias_hh, dtype, rows),
        int8,
    )
    return Packed(cell, recurrence, weight_ih.shape[1], hidden, weights, int8)


def scan_packed(
    packed: Packed,
    x: Array,
    state: Sequence[Array],
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> Scan:
    """Run a layer whose weights are packed: `scan` without saving, to the same bits.

    Args:
        packed: From `pack`.
        x: Input, shape (B, T, I), of the weights' dtype.
        state: Initial (h, c) of the LSTM, (h,) of the others, each (B, H).
        lengths: Steps of each row, shape (B,), each 0..T; None: T.
        reverse: Run row b from step lengths[b]-1 down to 0.

    Raises:
        ShapeError: if a shape or a length disagrees with the weights or the others.
        KernelError: if a dtype is not that of the weights.
    """
    names = STATES[packed.cell]
    if x.ndim != 3 or x.shape[2] != packed.input_size:
        raise ShapeError(f"x has shape {x.shape}, expected (B, T, I={packed.input_size})")
    if len(state) != len(names):
        raise ShapeError(
            f"state has {len(state)} arrays, expected {len(names)}: ({', '.join(names)})"
        )
    dtype = packed.weights.dtype
    if x.dtype != dtype:
        raise KernelError(f"x is {x.dtype}, but the weights are {dtype}")
    batch, time, _ = x.shape
    axes = (("B", batch), ("H", packed.hidden_size))
    h, *rest = [
        dense(f"state {name}", array, dtype, *axes)
        for name, array in zip(names, state, strict=True)
    ]
    y, new_h, new_c, _ = _SCAN_PACKED[dtype_name(dtype)](
        CELLS[packed.cell],
        RECURRENCES[packed.recurrence],
        reverse,
        dense("x", x, dtype, ("B", batch), ("T", time), ("I", packed.input_size)),
        packed.weights,
        packed.int8,
        h,
        rest[0] if rest else None,
        None if lengths is None else check_lengths(lengths, batch, time),
    )
    return Scan(y, (new_h, new_c)[: len(names)], None)
