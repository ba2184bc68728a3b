"""A layer, or a stack of layers that feed each other, over a whole sequence.

By the native kernel, or step by step by the oracle. This is the only place that chooses between the
two. A cell never does.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from noria import kernels
from noria.cells import Cell, EquationCell, State
from noria.errors import KernelError
from noria.network.native import scan_native
from noria.network.plan import StackLayer

__all__ = ["Backend", "StackLayer", "choose_native", "linear", "scan", "scan_stack"]

Backend = Literal["auto", "native", "oracle"]

_told: set[str] = set()


def choose_native(cell: Cell, x: Tensor, backend: Backend, recurrence: str) -> bool:
    """Whether the native kernel runs this layer.

    Args:
        cell: The cell.
        x: The layer's input, for its device and dtype.
        backend: "auto" takes the kernel where it can, and warns once where it cannot; "native"
            insists, "oracle" never does.
        recurrence: "dense", "diagonal" or "none".

    Raises:
        KernelError: if backend is "native" and the kernel cannot; says why.
    """
    if backend == "oracle":
        return False
    reason = kernels.explain(
        cell.meaning or cell.name,
        hidden_size=cell.hidden_size,
        dtype=str(x.dtype).removeprefix("torch."),
        recurrence=recurrence,
        device=x.device.type,
        save=torch.is_grad_enabled(),
    )
    if reason is None:
        return True
    if backend == "native":
        raise KernelError(f"the native kernel cannot run this layer: {reason}")
    _tell(reason)
    return False


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _tell(reason: str) -> None:
    """Warn once in a process that the oracle runs a layer; under torch.compile while it traces."""
    if reason not in _told:
        _told.add(reason)
        warnings.warn(f"A layer runs step by step, by torch: {reason}", RuntimeWarning, 2)


def scan(
    layer: StackLayer,
    x: Tensor,
    state: State,
    lengths: Tensor | None,
    *,
    reverse: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, State]:
    """Run one layer that feeds only itself over all T steps.

    Args:
        layer: The layer, with no R but its own from layer 0.
        x: Input, shape (B, T, I).
        state: Initial states, each (B, H).
        lengths: Steps of each row, shape (B,); None for T everywhere. Past its length a row puts
            out zeros and keeps its state.
        reverse: Run from each row's last step to its first.
        backend: See `choose_native`.

    Returns:
        Outputs, shape (B, T, H), and the final states.
    """
    recurrence = layer.weight_hh.get(0)
    kind = "none" if recurrence is None else ("diagonal" if recurrence.dim() == 1 else "dense")
    if choose_native(layer.cell, x, backend, kind):
        y, (final,) = scan_native([layer], x, (state,), lengths, reverse=reverse)
        return y, final
    return _oracle(layer, x, state, lengths, reverse=reverse)


def scan_stack(
    layers: Sequence[StackLayer],
    x: Tensor,
    state: tuple[State, ...],
    lengths: Tensor | None,
    *,
    backend: Backend = "auto",
) -> tuple[Tensor, tuple[State, ...]]:
    """Run layers that feed each other over all T steps, the whole stack together.

    Args:
        layers: The stack from below; the first has no input_mask.
        x: Input, shape (B, T, I).
        state: Initial states of every layer, each (B, H).
        lengths: Steps of each row, shape (B,); None for T everywhere. Past its length a row puts
            out zeros and keeps its state.
        backend: See `choose_native`.

    Returns:
        Outputs of the last layer, shape (B, T, H), and the final states.
    """
    if all(choose_native(layer.cell, x, backend, "dense") for layer in layers):
        return scan_native(layers, x, state, lengths)
    return _oracle_stack(layers, x, state, lengths)


def _step_of(layer: StackLayer) -> Callable[[Tensor, Tensor, State], State]:
    """The step of a layer's cell, with its parameters if it has some."""
    if isinstance(layer.cell, EquationCell):
        return functools.partial(layer.cell.step, parameters=layer.weight_cell)
    return layer.cell.step


def _normalised(layer: StackLayer, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """What the cell of a layer with gains reads, from W · x and Σ R · h without their biases.

        gain · (a − mean)/√(variance + 1e-5) + biases

    a is x + r of a gate, or x and r each where the cell treats them apart; mean and variance are
    those of a over the layer's neurons.

    Args:
        layer: The layer.
        x: W · x(t), shape (B, G·H).
        r: Σ R · h(t−1), shape (B, G·H).

    Source: Ba et al. 2016.
    """
    cell = layer.cell
    assert layer.weight_norm is not None
    gains = dict(zip(cell.slots, layer.weight_norm.unbind(), strict=True))

    def normal(a: Tensor, slot: str) -> Tensor:
        return functional.layer_norm(a, a.shape[-1:], gains[slot], eps=1e-5)

    below, back = [], []
    parts = [part.chunk(len(cell.gates), dim=-1) for part in (x, r)]
    for gate, x_gate, r_gate in zip(cell.gates, *parts, strict=True):
        if gate in gains:
            below.append(normal(x_gate + r_gate, gate))
            back.append(torch.zeros_like(r_gate))
        else:
            below.append(normal(x_gate, f"x_{gate}"))
            back.append(normal(r_gate, f"r_{gate}"))
    bias_hh = 0.0 if layer.bias_hh is None else layer.bias_hh
    return torch.cat(below, dim=-1) + layer.bias_ih, torch.cat(back, dim=-1) + bias_hh


def _advance(new: State, old: State, active: Tensor | None) -> State:
    """The new states where a row is still running, the old ones where it has ended.

    Args:
        new: States after the step, each (B, H).
        old: States before it.
        active: Boolean, shape (B, 1); None when every row runs.
    """
    if active is None:
        return new
    return tuple(torch.where(active, n, o) for n, o in zip(new, old, strict=True))


def _oracle(
    layer: StackLayer, x: Tensor, state: State, lengths: Tensor | None, *, reverse: bool
) -> tuple[Tensor, State]:
    cell, recurrence, mask = layer.cell, layer.weight_hh.get(0), layer.recurrent_mask
    step = _step_of(layer)
    steps = x.shape[1]
    if lengths is not None:  # whatever stands in the padding, NaN too, must not be touched
        running = torch.arange(steps, device=x.device) < lengths[:, None]
        x = x.masked_fill(~running[:, :, None], 0.0)
    normalised = layer.weight_norm is not None
    from_below = functional.linear(x, layer.weight_ih, None if normalised else layer.bias_ih)
    bias_hh = torch.zeros_like(layer.bias_ih)
    if layer.bias_hh is not None and not normalised:
        bias_hh = layer.bias_hh
    outputs: list[Tensor] = [x.new_empty(0)] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        h = state[0] if mask is None else state[0] * mask
        if recurrence is None:
            fed_back = bias_hh.expand(len(h), -1)
        elif recurrence.dim() == 1:
            fed_back = h.repeat(1, len(cell.gates)) * recurrence + bias_hh
        else:
            fed_back = functional.linear(h, recurrence, bias_hh)
        active = None if lengths is None else running[:, t, None]
        x_t = from_below[:, t]
        if normalised:
            x_t, fed_back = _normalised(layer, x_t, fed_back)
        new = step(x_t, fed_back, state)
        outputs[t] = new[0] if active is None else new[0] * active
        state = _advance(new, state, active)
    if not steps:
        return x.new_zeros(len(x), 0, cell.hidden_size), state
    return torch.stack(outputs, dim=1), state


def _oracle_stack(
    layers: Sequence[StackLayer],
    x: Tensor,
    state: tuple[State, ...],
    lengths: Tensor | None,
) -> tuple[Tensor, tuple[State, ...]]:
    steps = x.shape[1]
    if lengths is not None:  # whatever stands in the padding, NaN too, must not be touched
        running = torch.arange(steps, device=x.device) < lengths[:, None]
        x = x.masked_fill(~running[:, :, None], 0.0)
    biases = [None if l.weight_norm is not None else l.bias_ih for l in layers]
    first = functional.linear(x, layers[0].weight_ih, biases[0])
    steps_of = [_step_of(layer) for layer in layers]
    outputs = []
    for t in range(steps):
        active = None if lengths is None else running[:, t, None]
        heard = [
            own[0] if layer.recurrent_mask is None else own[0] * layer.recurrent_mask
            for layer, own in zip(layers, state, strict=True)
        ]
        new_state: list[State] = []
        h = x[:, t]
        for index, (layer, before) in enumerate(zip(layers, state, strict=True)):
            if index == 0:
                from_below = first[:, t]
            else:
                h = h if layer.input_mask is None else h * layer.input_mask
                from_below = functional.linear(h, layer.weight_ih, biases[index])
            fed = torch.zeros_like(from_below)
            if layer.bias_hh is not None and layer.weight_norm is None:
                fed = fed + layer.bias_hh
            for source, block in layer.weight_hh.items():
                if block.dim() == 1:
                    fed = fed + heard[source].repeat(1, len(layer.cell.gates)) * block
                else:
                    fed = fed + functional.linear(heard[source], block)
            if layer.weight_norm is not None:
                from_below, fed = _normalised(layer, from_below, fed)
            own = before
            if not layer.carries_state:
                own = tuple(torch.zeros_like(part) for part in before)
            new = steps_of[index](from_below, fed, own)
            h = new[0]
            new_state.append(_advance(new, before, active))
        outputs.append(h if active is None else h * active)
        state = tuple(new_state)
    if not steps:
        return x.new_zeros(len(x), 0, layers[-1].cell.hidden_size), state
    return torch.stack(outputs, dim=1), state


def linear(x: Tensor, weight: Tensor, bias: Tensor, backend: Backend) -> Tensor:
    """The output layer's product, x (…, I) to (…, O).

    Without gradients the native kernel runs it, whose bits do not depend on the batch; in training
    torch does.
    """
    native = backend != "oracle" and x.device.type == "cpu" and not torch.is_grad_enabled()
    if native and x.dtype in (torch.float32, torch.float64):
        if torch.compiler.is_compiling():
            found: Tensor = torch.ops.noria.linear(x, weight, bias)
            return found
        y = kernels.linear(x.detach().numpy(), weight.detach().numpy(), bias.detach().numpy())
        return torch.from_numpy(y)
    return functional.linear(x, weight, bias)
