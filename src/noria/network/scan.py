"""A layer, or a stack of layers that feed each other, over a whole sequence.

By the native kernel, or step by step by the oracle. This is the only place that chooses between the
two. A cell never does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from noria import kernels
from noria.cells import Cell, State
from noria.errors import KernelError, UsageError

__all__ = ["Backend", "StackLayer", "choose_native", "linear", "scan", "scan_stack"]

Backend = Literal["auto", "native", "oracle"]
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
        carries_state: False where the layer's own state is zero at every step.
        recurrent_mask: Factors on h(t−1) in every recurrent product that reads it, (B, H), or None.
        input_mask: Factors on what the layer below hands up, (B, I), or None.
    """

    cell: Cell
    weight_ih: Tensor
    bias_ih: Tensor
    bias_hh: Tensor | None
    weight_hh: dict[int, Tensor]
    carries_state: bool
    recurrent_mask: Tensor | None
    input_mask: Tensor | None

    def tensors(self, state: State) -> tuple[Tensor | None, ...]:
        """What has gradients, beside its state, in the order of the native kernel's."""
        return (self.weight_ih, self.bias_ih, self.bias_hh, *self.weight_hh.values(), *state)


def choose_native(cell: Cell, x: Tensor, backend: Backend, recurrence: str) -> bool:
    """Whether the native kernel runs this layer.

    Args:
        cell: The cell.
        x: The layer's input, for its device and dtype.
        backend: "auto" takes the kernel where it can, "native" insists, "oracle" never does.
        recurrence: "dense", "diagonal" or "none".

    Raises:
        KernelError: if backend is "native" and the kernel cannot; says why.
    """
    if backend == "oracle":
        return False
    reason = kernels.explain(
        cell.name,
        hidden_size=cell.hidden_size,
        dtype=str(x.dtype).removeprefix("torch."),
        recurrence=recurrence,
        device=x.device.type,
    )
    if reason is not None and backend == "native":
        raise KernelError(f"the native kernel cannot run this layer: {reason}")
    return reason is None


def scan(
    cell: Cell,
    x: Tensor,
    weights: tuple[Tensor, Tensor | None, Tensor, Tensor],
    state: State,
    lengths: Tensor | None,
    recurrent_mask: Tensor | None,
    *,
    reverse: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, State]:
    """Run one layer that feeds only itself over all T steps.

    Args:
        cell: The cell.
        x: Input, shape (B, T, I).
        weights: weight_ih (G·H, I); the recurrence (G·H, H), (G·H,) diagonal or None; bias_ih and
            bias_hh (G·H).
        state: Initial states, each (B, H).
        lengths: Steps of each row, shape (B,); None for T everywhere. Past its length a row puts
            out zeros and keeps its state.
        recurrent_mask: Factors on h(t−1) in the recurrent product, shape (B, H), or None.
        reverse: Run from each row's last step to its first.
        backend: See `choose_native`.

    Returns:
        Outputs, shape (B, T, H), and the final states.
    """
    recurrence = weights[1]
    kind = "none" if recurrence is None else ("diagonal" if recurrence.dim() == 1 else "dense")
    if choose_native(cell, x, backend, kind):
        inputs = (x, *weights, *state)
        save = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
        outputs = _apply(_NativeScan, cell.name, reverse, save, lengths, recurrent_mask, *inputs)
        return outputs[0], tuple(outputs[1:])
    return _oracle(cell, x, weights, state, lengths, recurrent_mask, reverse=reverse)


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
    if not all(choose_native(layer.cell, x, backend, "dense") for layer in layers):
        return _oracle_stack(layers, x, state, lengths)
    inputs: list[Tensor | None] = [x]
    for layer, own in zip(layers, state, strict=True):
        inputs += layer.tensors(own)
    save = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
    y, *final = _apply(_NativeStack, layers, save, lengths, *inputs)
    return y, tuple(tuple(final.pop(0) for _ in own) for own in state)


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
    cell: Cell,
    x: Tensor,
    weights: tuple[Tensor, Tensor | None, Tensor, Tensor],
    state: State,
    lengths: Tensor | None,
    recurrent_mask: Tensor | None,
    *,
    reverse: bool,
) -> tuple[Tensor, State]:
    weight_ih, recurrence, bias_ih, bias_hh = weights
    steps = x.shape[1]
    if lengths is not None:  # whatever stands in the padding, NaN too, must not be touched
        running = torch.arange(steps, device=x.device) < lengths[:, None]
        x = x.masked_fill(~running[:, :, None], 0.0)
    from_below = functional.linear(x, weight_ih, bias_ih)
    outputs: list[Tensor] = [x.new_empty(0)] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        h = state[0] if recurrent_mask is None else state[0] * recurrent_mask
        if recurrence is None:
            fed_back = bias_hh.expand(len(h), -1)
        elif recurrence.dim() == 1:
            fed_back = h.repeat(1, len(cell.gates)) * recurrence + bias_hh
        else:
            fed_back = functional.linear(h, recurrence, bias_hh)
        active = None if lengths is None else running[:, t, None]
        new = cell.step(from_below[:, t], fed_back, state)
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
    first = functional.linear(x, layers[0].weight_ih, layers[0].bias_ih)
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
                from_below = functional.linear(h, layer.weight_ih, layer.bias_ih)
            fed = torch.zeros_like(from_below)
            if layer.bias_hh is not None:
                fed = fed + layer.bias_hh
            for source, block in layer.weight_hh.items():
                if block.dim() == 1:
                    fed = fed + heard[source].repeat(1, len(layer.cell.gates)) * block
                else:
                    fed = fed + functional.linear(heard[source], block)
            own = before
            if not layer.carries_state:
                own = tuple(torch.zeros_like(part) for part in before)
            new = layer.cell.step(from_below, fed, own)
            h = new[0]
            new_state.append(_advance(new, before, active))
        outputs.append(h if active is None else h * active)
        state = tuple(new_state)
    if not steps:
        return x.new_zeros(len(x), 0, layers[-1].cell.hidden_size), state
    return torch.stack(outputs, dim=1), state


class _NativeScan(torch.autograd.Function):
    """The door from torch to `noria.kernels.scan`: one call a sequence."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        reverse: bool,
        save: bool,
        lengths: Tensor | None,
        recurrent_mask: Tensor | None,
        x: Tensor,
        weight_ih: Tensor,
        recurrence: Tensor | None,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        result = kernels.scan(
            cell,
            _array(x),
            _array(weight_ih),
            _array(recurrence),
            _array(bias_ih),
            _array(bias_hh),
            tuple(_array(part) for part in state),
            lengths=_array(lengths),
            recurrent_mask=_array(recurrent_mask),
            reverse=reverse,
            save=save,
        )
        ctx.scan = result.saved
        y = torch.from_numpy(result.y)
        ctx.save_for_backward(x, weight_ih, recurrence, bias_ih, bias_hh, *state, y)
        return (y, *(torch.from_numpy(part) for part in result.state))

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, *grad_state: Tensor) -> tuple[Tensor | None, ...]:
        def compute(grad_y: Array, *grad_state: Array) -> tuple[Array | None, ...]:
            grads = kernels.scan_backward(ctx.scan, grad_y, grad_state)
            weights = (grads.x, grads.weight_ih, grads.weight_hh, grads.bias_ih, grads.bias_hh)
            return (*weights, *grads.state)

        # `scan` shares memory with the saved tensors: reading them raises if one was changed
        found = _first_derivatives(compute, (grad_y, *grad_state), ctx.saved_tensors)
        return (None, None, None, None, None, *found)


class _NativeStack(torch.autograd.Function):
    """The door from torch to `noria.kernels.scan_stack`: one call a sequence."""

    @staticmethod
    def forward(
        ctx: Any,
        layers: Sequence[StackLayer],
        save: bool,
        lengths: Tensor | None,
        x: Tensor,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, ...]:
        arrays = iter([_array(tensor) for tensor in tensors])
        stack, state = [], []
        for layer in layers:
            weight_ih, bias_ih, bias_hh = next(arrays), next(arrays), next(arrays)
            stack.append(
                kernels.StackLayer(
                    cell=layer.cell.name,
                    weight_ih=weight_ih,
                    bias_ih=bias_ih,
                    bias_hh=bias_hh,
                    weight_hh={source: next(arrays) for source in layer.weight_hh},
                    carries_state=layer.carries_state,
                    recurrent_mask=_array(layer.recurrent_mask),
                    input_mask=_array(layer.input_mask),
                )
            )
            state.append([next(arrays) for _ in layer.cell.states])
        result = kernels.scan_stack(stack, _array(x), state, _array(lengths), save)
        ctx.scan = result.saved
        y = torch.from_numpy(result.y)
        ctx.save_for_backward(x, *tensors, y)
        return (y, *(torch.from_numpy(part) for layer in result.state for part in layer))

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, *grad_state: Tensor) -> tuple[Tensor | None, ...]:
        def compute(grad_y: Array, *grad_state: Array) -> tuple[Array | None, ...]:
            parts = iter(grad_state)
            states = [[next(parts) for _ in layer] for layer in ctx.scan.state]
            grads = kernels.scan_stack_backward(ctx.scan, grad_y, states)
            found: list[Array | None] = [grads.x]
            for layer in grads.layers:
                found += (layer.weight_ih, layer.bias_ih, layer.bias_hh)
                found += (*layer.weight_hh.values(), *layer.state)
            return tuple(found)

        # `scan` shares memory with the saved tensors: reading them raises if one was changed
        found = _first_derivatives(compute, (grad_y, *grad_state), ctx.saved_tensors)
        return (None, None, None, *found)


def _apply(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    """Apply a native kernel, which torch.compile is to call and not to look into."""
    apply: Callable[..., Any] = function.apply
    if torch.compiler.is_compiling():
        apply = torch.compiler.disable(apply)  # type: ignore[no-untyped-call]
    return apply(*inputs)


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().numpy()


def _first_derivatives(
    compute: Callable[..., tuple[Array | None, ...]],
    grads: tuple[Tensor, ...],
    inputs: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients by a native kernel, from those of its outputs; deriving them again raises."""
    if not torch.is_grad_enabled():  # without create_graph nobody can
        return _gradients(compute, grads)
    found: tuple[Tensor | None, ...] = _apply(
        _FirstDerivatives, compute, len(grads), *grads, *inputs
    )
    return found


def _gradients(
    compute: Callable[..., tuple[Array | None, ...]], grads: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    arrays = compute(*(_array(grad) for grad in grads))
    return tuple(None if array is None else torch.from_numpy(array) for array in arrays)


class _FirstDerivatives(torch.autograd.Function):
    """A native kernel's gradients as a node of their own, which has none."""

    @staticmethod
    def forward(
        ctx: Any, compute: Callable[..., tuple[Array | None, ...]], count: int, *tensors: Tensor
    ) -> tuple[Tensor | None, ...]:
        return _gradients(compute, tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise UsageError(
            "the native kernel has no second derivatives: use backend='oracle' for them"
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor, backend: Backend) -> Tensor:
    """The output layer's product, x (…, I) to (…, O).

    Without gradients the native kernel runs it, whose bits do not depend on the batch; in training
    torch does.
    """
    native = backend != "oracle" and x.device.type == "cpu" and not torch.is_grad_enabled()
    if native and x.dtype in (torch.float32, torch.float64):
        y = kernels.linear(x.detach().numpy(), weight.detach().numpy(), bias.detach().numpy())
        return torch.from_numpy(y)
    return functional.linear(x, weight, bias)
