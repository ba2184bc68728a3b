"""The native kernels under torch.compile: two opaque ops, `noria::scan` and `noria::scan_backward`.

An op takes strings, flags and tensors only: the plan of a stack is written as a string, its tensors
follow in a list. What the way back needs is among the outputs, as the graph must hold it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from noria import kernels
from noria.equations import Equations
from noria.errors import UsageError
from noria.network.plan import LayerPlan, Plan, gradients_of, run, saved_stack

__all__ = ["linear_opaque", "scan_opaque", "write_plan"]

# separators that stand in no name and no equation
_LAYER, _FIELD, _ITEM = "\x1d", "\x1e", "\x1f"


def scan_opaque(
    plan: Plan, reverse: bool, save: bool, lengths: Tensor | None, tensors: list[Tensor]
) -> list[Tensor]:
    """y and the final states, by an op that the compiler calls and does not look into."""
    found: list[Tensor] = torch.ops.noria.scan(write_plan(plan), reverse, save, lengths, tensors)
    return found[: 1 + sum(layer.states for layer in plan)]


def write_plan(plan: Plan) -> str:
    """The plan as a string, by operations that torch.compile carries out while it traces."""
    layers = []
    for layer in plan:
        cell = layer.cell
        if isinstance(cell, str):
            fields = [cell, "", "", "", ""]
        else:
            names = (cell.gates, cell.states, cell.parameters)
            fields = [cell.name, *[_ITEM.join(group) for group in names], cell.text]
        fields += [str(layer.states), str(int(layer.carries_state)), _ITEM.join(layer.names)]
        fields.append(_ITEM.join([str(source) for source in layer.sources]))
        layers.append(_FIELD.join(fields))
    return _LAYER.join(layers)


@functools.lru_cache(maxsize=256)
def _read(text: str) -> Plan:
    plan = []
    for layer in text.split(_LAYER):
        name, gates, states, parameters, equations, count, carries, names, sources = layer.split(
            _FIELD
        )
        cell: str | Equations = name
        if equations:
            cell = Equations(name, _items(gates), _items(states), _items(parameters), equations)
        plan.append(
            LayerPlan(
                cell=cell,
                states=int(count),
                carries_state=carries == "1",
                names=_items(names),
                sources=tuple(int(source) for source in _items(sources)),
            )
        )
    return tuple(plan)


def _items(text: str) -> tuple[str, ...]:
    return tuple(text.split(_ITEM)) if text else ()


_scan = torch.library.custom_op(
    "noria::scan",
    mutates_args=(),
    schema="(str plan, bool reverse, bool save, Tensor? lengths, Tensor[] tensors) -> Tensor[]",
)
_scan_backward = torch.library.custom_op(
    "noria::scan_backward",
    mutates_args=(),
    schema=(
        "(str plan, bool reverse, Tensor? lengths, Tensor[] tensors, Tensor[] kept, Tensor[] grads)"
        " -> Tensor[]"
    ),
)


@_scan
def _scan_op(
    plan: str, reverse: bool, save: bool, lengths: Tensor | None, tensors: Sequence[Tensor]
) -> list[Tensor]:
    result = run(_read(plan), reverse, save, lengths, tensors)
    arrays = [result.y, *(part for own in result.state for part in own)]
    if result.saved is not None:
        arrays += [*result.saved.ys[:-1], result.saved.gates]
    return [torch.from_numpy(array) for array in arrays]


@_scan_op.register_fake
def _(
    plan: str, reverse: bool, save: bool, lengths: Tensor | None, tensors: Sequence[Tensor]
) -> list[Tensor]:
    x = tensors[0]
    layers = _read(plan)
    states = _states(layers, tensors)
    wide = [x.new_empty(*x.shape[:2], own[0].shape[1]) for own in states]
    found = [wide[-1], *(torch.empty_like(part, memory_format=torch.contiguous_format)
                         for own in states for part in own)]  # fmt: skip
    if save:
        size = torch.library.get_ctx().new_dynamic_size()
        found += [*wide[:-1], x.new_empty(size)]
    return found


@_scan_backward
def _scan_backward_op(
    plan: str,
    reverse: bool,
    lengths: Tensor | None,
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
    grads: Sequence[Tensor],
) -> list[Tensor]:
    layers = _read(plan)
    saved = saved_stack(layers, reverse, lengths, tensors, kept)
    arrays = gradients_of(layers, saved, [grad.detach().numpy() for grad in grads])
    return [
        tensor.new_zeros(tensor.shape) if array is None else torch.from_numpy(array)
        for tensor, array in zip(tensors, arrays, strict=True)
    ]


@_scan_backward_op.register_fake
def _(
    plan: str,
    reverse: bool,
    lengths: Tensor | None,
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
    grads: Sequence[Tensor],
) -> list[Tensor]:
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors]


def _states(plan: Plan, tensors: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    """The initial states among a plan's tensors, by layer."""
    found, place = [], 1
    for layer in plan:
        place += len(layer.names) + len(layer.sources)
        found.append(tensors[place : place + layer.states])
        place += layer.states
    return found


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.plan, ctx.reverse, ctx.save, lengths, tensors = inputs
    ctx.has_lengths = lengths is not None
    ctx.count = len(tensors)
    ctx.states = sum(layer.states for layer in _read(ctx.plan))
    kept = [output[0], *output[1 + ctx.states :]] if ctx.save else []
    ctx.save_for_backward(*([lengths] if ctx.has_lengths else []), *tensors, *kept)


def _backward(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    given = list(ctx.saved_tensors)
    lengths = given.pop(0) if ctx.has_lengths else None
    tensors, kept = given[: ctx.count], given[ctx.count :]
    found = torch.ops.noria.scan_backward(
        ctx.plan, ctx.reverse, lengths, tensors, kept, list(grads[: 1 + ctx.states])
    )
    return None, None, None, None, found


def _no_second(ctx: Any, grads: list[Tensor]) -> None:
    raise UsageError("the native kernel has no second derivatives: use backend='oracle' for them")


@torch.library.custom_op(
    "noria::linear", mutates_args=(), schema="(Tensor x, Tensor weight, Tensor bias) -> Tensor"
)
def linear_opaque(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The native product of an output layer; see `noria.network.scan.linear`."""
    arrays = [part.detach().numpy() for part in (x, weight, bias)]
    return torch.from_numpy(kernels.linear(*arrays))


@linear_opaque.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


_scan_op.register_autograd(_backward, setup_context=_setup)
_scan_backward_op.register_autograd(_no_second)
