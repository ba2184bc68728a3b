"""Scans of a whole stack: layers that advance together, since later ones feed earlier ones.

B batch, T time, I input, H hidden, K hidden of a source layer, G gates, L layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria.equations import Equations
from noria.errors import KernelError, ShapeError
from noria.kernels import _native
from noria.kernels.compiling import compiled
from noria.kernels.scan import (
    CELLS,
    Array,
    check_int8,
    check_lengths,
    dense,
    dtype_name,
    explain,
    gates_of,
    slots_of,
    states_of,
)

__all__ = [
    "LayerGradients",
    "PackedStack",
    "SavedStack",
    "StackGradients",
    "StackLayer",
    "StackScan",
    "pack_stack",
    "scan_stack",
    "scan_stack_backward",
    "scan_stack_packed",
]

_SCAN = {"float32": _native.scan_stack_float32, "float64": _native.scan_stack_float64}
_BACKWARD = {
    "float32": _native.scan_stack_backward_float32,
    "float64": _native.scan_stack_backward_float64,
}
_PACK = {"float32": _native.pack_stack_float32, "float64": _native.pack_stack_float64}
_SCAN_PACKED = {
    "float32": _native.scan_stack_packed_float32,
    "float64": _native.scan_stack_packed_float64,
}


@dataclasses.dataclass(frozen=True)
class StackLayer:
    """One layer of a stack.

    Attributes:
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or "linear"; or the equations of another.
        weight_ih: W, shape (G*H, I); above the first layer, I is H of the layer below.
        bias_ih: Shape (G*H,).
        bias_hh: Shape (G*H,), or None for zeros.
        weight_hh: R from each layer that feeds this one, by the source's index from 0: shape
            (G*H, K), with zeros where it has no connection; from the layer itself also (G*H,),
            when a neuron hears only itself.
        carries_state: False when the layer's own state is zero at every step; what others hear
            of it, and it of itself through `weight_hh`, is still its h(t-1).
        recurrent_mask: Shape (B, H); multiplies h(t-1) in every product with an R that reads it.
        input_mask: Shape (B, I); multiplies what the layer below hands up, at every step.
        weight_cell: Of equations with parameters: their values, shape (P, H).
        weight_norm: Gains of layer normalisation, shape (S, H), or None without: each of the S
            pre-activations that the cell reads is normalised over the layer's neurons before its
            biases are added. S: an LSTM's i, f, g, o; a GRU's x_n, r, z, r_n, where x_n is what
            comes from below and r_n what comes back; `slots` of equations; one of the others.
    """

    cell: str | Equations
    weight_ih: Array
    bias_ih: Array
    bias_hh: Array | None = None
    weight_hh: Mapping[int, Array] = dataclasses.field(default_factory=dict)
    carries_state: bool = True
    recurrent_mask: Array | None = None
    input_mask: Array | None = None
    weight_cell: Array | None = None
    weight_norm: Array | None = None

    @property
    def hidden_size(self) -> int:
        """H, number of neurons."""
        return int(self.weight_ih.shape[0]) // gates_of(self.cell)


@dataclasses.dataclass(frozen=True)
class SavedStack:
    """What `scan_stack_backward` needs; it shares memory with the scan's inputs and outputs."""

    layers: tuple[StackLayer, ...]
    x: Array
    state: tuple[tuple[Array, ...], ...]
    lengths: NDArray[np.int64] | None
    reverse: bool
    ys: tuple[Array, ...]
    gates: Array


@dataclasses.dataclass(frozen=True)
class StackScan:
    """The result of a scan of a stack.

    Attributes:
        y: h of the last layer after every step, shape (B, T, H); 0 past a row's length.
        state: Final states of every layer, each (B, H).
        saved: For `scan_stack_backward`; None unless asked for.
    """

    y: Array
    state: tuple[tuple[Array, ...], ...]
    saved: SavedStack | None


@dataclasses.dataclass(frozen=True)
class LayerGradients:
    """Gradients with respect to one layer's weights, biases and states, each in its shape."""

    weight_ih: Array
    bias_ih: Array
    bias_hh: Array | None
    weight_hh: dict[int, Array]
    state: tuple[Array, ...]
    weight_cell: Array | None
    weight_norm: Array | None


@dataclasses.dataclass(frozen=True)
class StackGradients:
    """Gradients with respect to the inputs of a scan of a stack."""

    x: Array
    layers: tuple[LayerGradients, ...]


@dataclasses.dataclass(frozen=True)
class PackedStack:
    """A stack's weights and biases as the native core reads them, beside the layers themselves.

    The order inside depends on the machine: pack again rather than store it.
    """

    layers: tuple[StackLayer, ...]
    weights: Array
    int8: bool = False


def scan_stack(
    layers: Sequence[StackLayer],
    x: Array,
    state: Sequence[Sequence[Array]],
    lengths: ArrayLike | None = None,
    save: bool = False,
    reverse: bool = False,
) -> StackScan:
    """Run layers that advance together over whole sequences.

        a_l(t) = W_l x_l(t) + b_ih + Σ_k R_{l←k} h_k(t-1) + b_hh       x_l(t) = h_{l-1}(t)

    The cell turns a_l(t) into h_l(t) as in `scan`; the linear cell has h_l(t) = a_l(t). With gains,
    it reads (a - mean)/sqrt(variance + 1e-5)·gain + biases instead, where a is without biases.

    Args:
        layers: The stack from below.
        x: Input of the first layer, shape (B, T, I), float32 or float64; all arrays have its dtype.
        state: Initial (h, c) of an LSTM, (h,) of the others, each (B, H), for every layer.
        lengths: Steps of each row, shape (B,), each 0..T; None: T. Past them x is not read.
        save: Keep what `scan_stack_backward` needs.
        reverse: Run row b from step lengths[b]-1 down to 0; outputs stay at their own time.

    Returns:
        y, the final states, and what was saved.

    Raises:
        ShapeError: if a shape, a source or a length disagrees with the others.
        KernelError: if the core does not run a cell or dtype.
    """
    if x.ndim != 3:
        raise ShapeError(f"x has shape {x.shape}, expected (B, T, I)")
    batch, time, inputs = x.shape
    checked = _checked_layers(layers, x.dtype, inputs, batch, save=save)
    x = np.ascontiguousarray(x)
    state = checked_states("state", checked, state, x.dtype, batch)
    lengths = None if lengths is None else check_lengths(lengths, batch, time)
    ys, final, gates = _SCAN[dtype_name(x.dtype)](
        arguments(checked, save), x, lists(state), lengths, reverse, save
    )
    saved = SavedStack(checked, x, state, lengths, reverse, tuple(ys), gates) if save else None
    return StackScan(ys[-1], tuples(final), saved)


def scan_stack_backward(
    saved: SavedStack, grad_y: Array, grad_state: Sequence[Sequence[Array]]
) -> StackGradients:
    """Compute the gradients of a scan of a stack.

    Args:
        saved: From `scan_stack(..., save=True)`. May be used more than once.
        grad_y: With respect to y, shape (B, T, H); ignored past a row's length.
        grad_state: With respect to the final states, each (B, H), for every layer.

    Returns:
        The gradients with respect to x, and to weights, biases and initial states of every layer.

    Raises:
        ShapeError: if a shape disagrees with the scan's.
        KernelError: if a dtype does.
    """
    dtype = saved.x.dtype
    batch, time, hidden = saved.ys[-1].shape
    grad_y = dense("grad_y", grad_y, dtype, ("B", batch), ("T", time), ("H", hidden))
    grad_state = checked_states("grad_state", saved.layers, grad_state, dtype, batch)
    x, found = _BACKWARD[dtype_name(dtype)](
        arguments(saved.layers, save=True),
        saved.x,
        lists(saved.state),
        saved.lengths,
        saved.reverse,
        list(saved.ys),
        saved.gates,
        grad_y,
        lists(grad_state),
    )
    gradients = tuple(
        LayerGradients(
            weight_ih=weight_ih,
            bias_ih=bias_ih,
            bias_hh=None if layer.bias_hh is None else bias_hh,
            weight_hh=dict(zip(layer.weight_hh, weight_hh, strict=True)),
            state=tuple(state),
            weight_cell=None if layer.weight_cell is None else weight_cell,
            weight_norm=None if layer.weight_norm is None else weight_norm,
        )
        for layer, (weight_ih, bias_ih, bias_hh, weight_cell, weight_norm, weight_hh, state) in zip(
            saved.layers, found, strict=True
        )
    )
    return StackGradients(x, gradients)


def pack_stack(layers: Sequence[StackLayer], int8: bool = False) -> PackedStack:
    """Pack the weights of a stack for `scan_stack_packed` or a `Stepper`.

    Args:
        layers: The stack from below, without masks.
        int8: Round every weight_ih and dense weight_hh to eight bits, with a scale a row, and what
            they multiply to sixteen at every step; states stay float32. A quarter of the memory to
            read. An infinite input gives NaN in its row.

    Raises:
        ShapeError: if a shape or a source disagrees with the others.
        KernelError: if the core does not run a cell or dtype, or a layer has a mask; with int8,
            unless the weights are finite and float32.
    """
    for index, layer in enumerate(layers):
        if layer.recurrent_mask is not None or layer.input_mask is not None:
            raise KernelError(f"layer {index} has a mask: a packed stack runs without")
    first = layers[0].weight_ih if layers else _NOTHING
    checked = _checked_layers(layers, first.dtype, first.shape[-1], 0, save=False)
    if int8:
        for index, layer in enumerate(checked):
            check_int8(
                (f"{name} of layer {index}", array)
                for name, array in (
                    ("weight_ih", layer.weight_ih),
                    *(("weight_hh", a) for a in layer.weight_hh.values()),
                )
            )
    return PackedStack(checked, _PACK[dtype_name(first.dtype)](arguments(checked), int8), int8)


def scan_stack_packed(
    packed: PackedStack,
    x: Array,
    state: Sequence[Sequence[Array]],
    lengths: ArrayLike | None = None,
) -> StackScan:
    """Run a stack whose weights are packed: `scan_stack` without saving, to the same bits.

    Args:
        packed: From `pack_stack`.
        x: Input, shape (B, T, I), of the weights' dtype.
        state: Initial (h, c) of an LSTM, (h,) of the others, each (B, H), for every layer.
        lengths: Steps of each row, shape (B,), each 0..T; None: T.

    Raises:
        ShapeError: if a shape or a length disagrees with the weights or the others.
        KernelError: if a dtype is not that of the weights.
    """
    dtype = packed.weights.dtype
    inputs = packed.layers[0].weight_ih.shape[1]
    if x.ndim != 3 or x.shape[2] != inputs:
        raise ShapeError(f"x has shape {x.shape}, expected (B, T, I={inputs})")
    if x.dtype != dtype:
        raise KernelError(f"x is {x.dtype}, but the weights are {dtype}")
    batch, time, _ = x.shape
    ys, final, _ = _SCAN_PACKED[dtype_name(dtype)](
        arguments(packed.layers),
        packed.weights,
        packed.int8,
        np.ascontiguousarray(x),
        lists(checked_states("state", packed.layers, state, dtype, batch)),
        None if lengths is None else check_lengths(lengths, batch, time),
    )
    return StackScan(ys[-1], tuples(final), None)


_NOTHING = np.empty((0, 0))


def _checked_layers(
    layers: Sequence[StackLayer], dtype: np.dtype[Any], inputs: int, batch: int, *, save: bool
) -> tuple[StackLayer, ...]:
    """The layers with their arrays in C order, once everything is found right."""
    if not layers:
        raise ShapeError("layers is empty: a stack has at least one")
    sizes = []
    for index, layer in enumerate(layers):
        gates, shape = gates_of(layer.cell), layer.weight_ih.shape
        if len(shape) != 2 or shape[0] % gates:
            raise ShapeError(
                f"weight_ih of layer {index} has shape {shape}, expected (G*H, I) with G={gates}"
            )
        sizes.append(shape[0] // gates)
        reason = explain(layer.cell, hidden_size=sizes[-1], dtype=dtype_name(dtype), save=save)
        if reason:
            raise KernelError(reason)
    checked = []
    for index, (layer, hidden) in enumerate(zip(layers, sizes, strict=True)):
        checked.append(_checked_layer(layer, index, sizes, dtype, inputs, batch))
        inputs = hidden
    return tuple(checked)


def _checked_layer(
    layer: StackLayer, index: int, sizes: list[int], dtype: np.dtype[Any], inputs: int, batch: int
) -> StackLayer:
    hidden = sizes[index]
    rows = ("G*H", gates_of(layer.cell) * hidden)

    def check(name: str, array: Array, *axes: tuple[str, int]) -> Array:
        return dense(f"{name} of layer {index}", array, dtype, *axes)

    weight_hh = {}
    for source, weight in sorted(layer.weight_hh.items()):
        if not 0 <= source < len(sizes):
            raise ShapeError(
                f"weight_hh of layer {index} comes from layer {source}, expected"
                f" 0..{len(sizes) - 1}"
            )
        own_diagonal = source == index and weight.ndim == 1
        axes = (rows,) if own_diagonal else (rows, ("K", sizes[source]))
        weight_hh[source] = check(f"weight_hh[{source}]", weight, *axes)
    recurrent_mask, input_mask = layer.recurrent_mask, layer.input_mask
    weight_cell = layer.weight_cell
    count = len(layer.cell.parameters) if isinstance(layer.cell, Equations) else 0
    if (weight_cell is not None) != (count > 0):
        raise ShapeError(f"layer {index} has {count} parameters a neuron: give them as weight_cell")
    if weight_cell is not None:
        weight_cell = check("weight_cell", weight_cell, ("P", count), ("H", hidden))
    if recurrent_mask is not None:
        recurrent_mask = check("recurrent_mask", recurrent_mask, ("B", batch), ("H", hidden))
    if input_mask is not None:
        if index == 0:
            raise KernelError("layer 0 has an input_mask: multiply x by it instead")
        input_mask = check("input_mask", input_mask, ("B", batch), ("I", inputs))
    weight_norm = layer.weight_norm
    if weight_norm is not None:
        slots = ("S", len(slots_of(layer.cell)))
        weight_norm = check("weight_norm", weight_norm, slots, ("H", hidden))
    return StackLayer(
        cell=layer.cell,
        weight_ih=check("weight_ih", layer.weight_ih, rows, ("I", inputs)),
        bias_ih=check("bias_ih", layer.bias_ih, rows),
        bias_hh=None if layer.bias_hh is None else check("bias_hh", layer.bias_hh, rows),
        weight_hh=weight_hh,
        carries_state=layer.carries_state,
        recurrent_mask=recurrent_mask,
        input_mask=input_mask,
        weight_cell=weight_cell,
        weight_norm=weight_norm,
    )


def checked_states(
    name: str,
    layers: tuple[StackLayer, ...],
    state: Sequence[Sequence[Array]],
    dtype: np.dtype[Any],
    batch: int,
) -> tuple[tuple[Array, ...], ...]:
    wanted = [states_of(layer.cell) for layer in layers]
    if [len(part) for part in state] != [len(names) for names in wanted]:
        raise ShapeError(
            f"{name} has {[len(part) for part in state]} arrays a layer,"
            f" expected {[len(names) for names in wanted]}"
        )
    return tuple(
        tuple(
            dense(f"{name}[{index}] {letter}", array, dtype, ("B", batch), ("H", layer.hidden_size))
            for letter, array in zip(names, part, strict=True)
        )
        for index, (layer, names, part) in enumerate(zip(layers, wanted, state, strict=True))
    )


def arguments(layers: tuple[StackLayer, ...], save: bool = False) -> list[_native._Layer]:
    return [
        (
            *_code(layer.cell, dtype_name(layer.weight_ih.dtype), save),
            layer.carries_state,
            layer.hidden_size,
            layer.weight_ih,
            layer.bias_ih,
            layer.bias_hh,
            layer.weight_cell,
            layer.weight_norm,
            list(layer.weight_hh.items()),
            layer.recurrent_mask,
            layer.input_mask,
        )
        for layer in layers
    ]


def _code(cell: str | Equations, dtype: str, save: bool) -> tuple[int, _native.OwnCell | None]:
    if isinstance(cell, str):
        return CELLS[cell], None
    return len(CELLS), compiled(cell, dtype, save=save)


def lists(state: tuple[tuple[Array, ...], ...]) -> list[list[Array]]:
    return [list(part) for part in state]


def tuples(state: list[list[Array]]) -> tuple[tuple[Array, ...], ...]:
    return tuple(tuple(part) for part in state)
