"""What a native scan is made of: a plan without tensors, and its tensors in one list."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noria import kernels
from noria.cells import Cell, State
from noria.equations import Equations

__all__ = [
    "LayerPlan",
    "Plan",
    "StackLayer",
    "flatten",
    "gradients_of",
    "run",
    "run_layer",
    "saved_stack",
]

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class StackLayer:
    """One layer of a stack that advances together.

    Attributes:
        cell: The cell.
        weight_ih: W, shape (G·H, I).
        bias_ih: Shape (G·H,).
        bias_hh: Shape (G·H,), or None for zeros.
        weight_hh: R by the index of its source, in ascending order: (G·H, K), or (G·H,) for the
            diagonal of the layer's own.
        weight_cell: The cell's own parameters, (P, H), or None without.
        weight_norm: Gains of the normalised slots, (S, H), or None where none are.
        carries_state: False where the layer's own state is zero at every step.
        recurrent_mask: Factors on h(t−1) in every recurrent product that reads it, (B, H), or None.
        input_mask: Factors on what the layer below hands up, (B, I), or None.
    """

    cell: Cell
    weight_ih: Tensor
    bias_ih: Tensor
    bias_hh: Tensor | None = None
    weight_hh: dict[int, Tensor] = dataclasses.field(default_factory=dict)
    weight_cell: Tensor | None = None
    weight_norm: Tensor | None = None
    carries_state: bool = True
    recurrent_mask: Tensor | None = None
    input_mask: Tensor | None = None


_OPTIONAL = ("bias_hh", "weight_cell", "weight_norm", "recurrent_mask", "input_mask")
_PLAIN = ("weight_ih", "bias_ih", "bias_hh")
_MASKS = ("recurrent_mask", "input_mask")


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """A layer without its tensors, which follow each other: names, sources, states.

    Attributes:
        cell: Its name, or its equations.
        states: How many it has.
        carries_state: As the layer's.
        names: Of its tensors but R and states.
        sources: Of its blocks R.
    """

    cell: str | Equations
    states: int
    carries_state: bool
    names: tuple[str, ...]
    sources: tuple[int, ...]


Plan = tuple[LayerPlan, ...]


def flatten(
    layers: Sequence[StackLayer], x: Tensor, state: tuple[State, ...]
) -> tuple[Plan, list[Tensor]]:
    """The plan of a stack, and x and its tensors in one list."""
    plan, tensors = [], [x]
    for layer, own in zip(layers, state, strict=True):
        names = ["weight_ih", "bias_ih"]
        names += [name for name in _OPTIONAL if getattr(layer, name) is not None]
        tensors += [getattr(layer, name) for name in names]
        tensors += [*layer.weight_hh.values(), *own]
        plan.append(
            LayerPlan(
                cell=layer.cell.meaning or layer.cell.name,
                states=len(own),
                carries_state=layer.carries_state,
                names=tuple(names),
                sources=tuple(layer.weight_hh),
            )
        )
    return tuple(plan), tensors


def run(
    plan: Plan, reverse: bool, save: bool, lengths: Tensor | None, tensors: Sequence[Tensor]
) -> kernels.StackScan:
    """The scan of a plan with its tensors."""
    layers, x, state = _unflatten(plan, [_array(tensor) for tensor in tensors])
    counts = None if lengths is None else _array(lengths)
    return kernels.scan_stack(layers, x, state, counts, save=save, reverse=reverse)


def run_layer(
    plan: Plan, reverse: bool, save: bool, lengths: Tensor | None, tensors: Sequence[Tensor]
) -> kernels.Scan | None:
    """The scan of a plan of one plain layer, by a shorter way to the same bits; None for others.

    The way through a stack's checks takes longer than a short sequence.
    """
    if len(plan) > 1 or plan[0].names != _PLAIN or not isinstance(plan[0].cell, str):
        return None
    if not plan[0].carries_state or plan[0].sources not in ((), (0,)):
        return None
    x, weight_ih, bias_ih, bias_hh, *rest = [_array(tensor) for tensor in tensors]
    weight_hh = rest.pop(0) if plan[0].sources else None
    counts = None if lengths is None else _array(lengths)
    return kernels.scan(
        plan[0].cell,
        x,
        weight_ih,
        weight_hh,
        bias_ih,
        bias_hh,
        rest,
        lengths=counts,
        reverse=reverse,
        save=save,
    )


def saved_stack(
    plan: Plan,
    reverse: bool,
    lengths: Tensor | None,
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
) -> kernels.SavedStack:
    """What a scan saved, put together again.

    Args:
        plan: Of the scan, as are the next three.
        reverse: As it was.
        lengths: As they were.
        tensors: As they were.
        kept: y of the last layer, those of the layers below, and the gates.
    """
    arrays = [np.ascontiguousarray(_array(tensor)) for tensor in tensors]
    layers, x, state = _unflatten(plan, arrays)
    y, *below, gates = [_array(tensor) for tensor in kept]
    counts = None if lengths is None else _array(lengths)
    return kernels.SavedStack(tuple(layers), x, tuple(state), counts, reverse, (*below, y), gates)


def gradients_of(
    plan: Plan, saved: kernels.SavedStack | kernels.Saved, grads: Sequence[Array]
) -> list[Array | None]:
    """Gradients in the order of a plan's tensors, None for masks.

    Args:
        plan: Of the scan.
        saved: From it.
        grads: Of y and of the final states.
    """
    grad_y, *rest = grads
    if isinstance(saved, kernels.Saved):
        one = kernels.scan_backward(saved, grad_y, rest)
        recurrence = [] if one.weight_hh is None else [one.weight_hh]
        return [one.x, one.weight_ih, one.bias_ih, one.bias_hh, *recurrence, *one.state]
    following = iter(rest)
    given = [[next(following) for _ in range(layer.states)] for layer in plan]
    gradients = kernels.scan_stack_backward(saved, grad_y, given)
    found: list[Array | None] = [gradients.x]
    for layer, own in zip(plan, gradients.layers, strict=True):
        found += [None if name in _MASKS else getattr(own, name) for name in layer.names]
        found += [own.weight_hh[source] for source in layer.sources]
        found += own.state
    return found


def _unflatten(
    plan: Plan, arrays: Sequence[Array]
) -> tuple[list[kernels.StackLayer], Array, list[tuple[Array, ...]]]:
    x, *rest = arrays
    following = iter(rest)
    layers, state = [], []
    for layer in plan:
        named = {name: next(following) for name in layer.names}
        weight_hh = {source: next(following) for source in layer.sources}
        layers.append(
            kernels.StackLayer(
                cell=layer.cell, carries_state=layer.carries_state, weight_hh=weight_hh, **named
            )
        )
        state.append(tuple(next(following) for _ in range(layer.states)))
    return layers, x, state


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().numpy()
    return array
