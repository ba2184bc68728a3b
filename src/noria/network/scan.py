"""One layer over a whole sequence: by the native kernel, or step by step by the oracle.

This is the only place that chooses between the two. A cell never does.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from noria import kernels
from noria.cells import Cell, State
from noria.errors import KernelError

__all__ = ["Backend", "advance", "choose_native", "linear", "scan"]

Backend = Literal["auto", "native", "oracle"]


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
        outputs = _NativeScan.apply(  # type: ignore[no-untyped-call]
            cell.name, reverse, save, lengths, recurrent_mask, *inputs
        )
        return outputs[0], tuple(outputs[1:])
    return _oracle(cell, x, weights, state, lengths, recurrent_mask, reverse=reverse)


def advance(new: State, old: State, active: Tensor | None) -> State:
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
        state = advance(new, state, active)
    if not steps:
        return x.new_zeros(len(x), 0, cell.hidden_size), state
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
        def array(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.detach().numpy()

        result = kernels.scan(
            cell,
            array(x),
            array(weight_ih),
            array(recurrence),
            array(bias_ih),
            array(bias_hh),
            tuple(array(part) for part in state),
            lengths=array(lengths),
            recurrent_mask=array(recurrent_mask),
            reverse=reverse,
            save=save,
        )
        ctx.scan = result.saved
        y = torch.from_numpy(result.y)
        ctx.save_for_backward(x, weight_ih, recurrence, bias_ih, bias_hh, *state, y)
        return (y, *(torch.from_numpy(part) for part in result.state))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor, *grad_state: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # `scan` shares their memory: raises if one was changed in place
        grads = kernels.scan_backward(
            ctx.scan,
            grad_y.detach().numpy(),
            tuple(part.detach().numpy() for part in grad_state),
        )
        arrays = (
            grads.x,
            grads.weight_ih,
            grads.weight_hh,
            grads.bias_ih,
            grads.bias_hh,
            *grads.state,
        )
        tensors = (None if array is None else torch.from_numpy(array) for array in arrays)
        return (None, None, None, None, None, *tensors)


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
