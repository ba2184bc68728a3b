"""The door from torch to the native kernels: one call a sequence, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from noria import kernels
from noria.cells import State
from noria.errors import UsageError
from noria.network.compiled import scan_opaque
from noria.network.plan import Plan, StackLayer, flatten, gradients_of, run

__all__ = ["scan_native"]

Array = NDArray[Any]


def scan_native(
    layers: Sequence[StackLayer],
    x: Tensor,
    state: tuple[State, ...],
    lengths: Tensor | None,
    *,
    reverse: bool = False,
) -> tuple[Tensor, tuple[State, ...]]:
    """Run a stack by the native kernel; see `noria.network.scan.scan_stack`."""
    plan, tensors = flatten(layers, x, state)
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if torch.compiler.is_compiling():
        found = scan_opaque(plan, reverse, save, lengths, tensors)
    elif save:
        found = _Scan.apply(plan, reverse, lengths, *tensors)  # type: ignore[no-untyped-call]
    else:
        found = _tensors_of(run(plan, reverse, save, lengths, tensors))
    final = list(found[1:])
    return found[0], tuple(tuple(final.pop(0) for _ in own) for own in state)


def _tensors_of(result: kernels.StackScan) -> list[Tensor]:
    """y and the final states."""
    arrays = [result.y, *(part for own in result.state for part in own)]
    return [torch.from_numpy(array) for array in arrays]


class _Scan(torch.autograd.Function):
    """The scan in eager mode."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        reverse: bool,
        lengths: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        result = run(plan, reverse, True, lengths, tensors)
        ctx.plan = plan
        ctx.scan = result.saved
        y, *final = _tensors_of(result)
        ctx.save_for_backward(*tensors, y)
        return (y, *final)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        def compute(arrays: list[Array]) -> list[Array | None]:
            return gradients_of(ctx.plan, ctx.scan, arrays)

        # `scan` shares memory with the saved tensors: reading them raises if one was changed
        saved = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            found = _FirstDerivatives.apply(  # type: ignore[no-untyped-call]
                compute, len(grads), *grads, *saved
            )
        else:
            found = _gradients(compute, grads)
        return (None, None, None, *found)


def _gradients(
    compute: Callable[[list[Array]], list[Array | None]], grads: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    arrays = compute([grad.detach().numpy() for grad in grads])
    return tuple(None if array is None else torch.from_numpy(array) for array in arrays)


class _FirstDerivatives(torch.autograd.Function):
    """A native kernel's gradients as a node of their own, which has none."""

    @staticmethod
    def forward(
        ctx: Any, compute: Callable[[list[Array]], list[Array | None]], count: int, *tensors: Tensor
    ) -> tuple[Tensor | None, ...]:
        return _gradients(compute, tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise UsageError(
            "the native kernel has no second derivatives: use backend='oracle' for them"
        )
