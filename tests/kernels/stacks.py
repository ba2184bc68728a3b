"""Random stacks of layers that feed each other, and their recurrence as a plain torch loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from noria import kernels
from noria.cells import PeepholeLSTM
from noria.equations import Equations
from noria.kernels import StackLayer
from tests.kernels.reference import GATES, Array, cell_step

# every function, a gate used whole and in parts, more states than a built-in cell has
EVERYTHING = Equations(
    "everything",
    ("a", "b"),
    ("h", "c", "d"),
    ("p", "q"),
    """
    s = softplus(a) + sqrt(abs(c) + 1)
    c' = where(b < p, log(s + 1), exp(min(b, 1))/2)
    d' = max(d/2, relu(x_a) - q/(1 + r_a**2))
    h' = tanh(c')*sigmoid(-d')/s
    """,
)
MIXES: dict[str, list[tuple[str | Equations, int]]] = {
    "lstm-gru-linear": [("lstm", 19), ("gru", 8), ("linear", 3)],
    "gru-rnn": [("gru", 1), ("rnn_tanh", 17)],
    "relu-lstm-lstm": [("rnn_relu", 5), ("lstm", 9), ("lstm", 33)],
    "lstm": [("lstm", 20)],
    "own cells": [(PeepholeLSTM.meaning, 9), (EVERYTHING, 17), ("linear", 3)],
    "normalised lstm-gru-rnn": [("lstm", 33), ("gru", 19), ("rnn_tanh", 5)],
    "normalised own cells": [(EVERYTHING, 21), ("rnn_relu", 9), ("linear", 3)],
}
WIRINGS = ("full", "indirect", "diagonal and indirect", "forward in time")


@dataclass(frozen=True)
class Stack:
    """Arguments of a scan of a stack, with gradients to send back through it."""

    layers: tuple[StackLayer, ...]
    x: Array
    state: tuple[tuple[Array, ...], ...]
    grad_y: Array
    grad_state: tuple[tuple[Array, ...], ...]
    lengths: Array | None = None

    def scan(self, save: bool = False) -> kernels.StackScan:
        return kernels.scan_stack(self.layers, self.x, self.state, self.lengths, save)

    def rows(self, first: int, last: int) -> Stack:
        """The same problem for rows [first, last) of the batch alone."""

        def cut(array: Array | None) -> Any:
            return None if array is None else array[first:last]

        def cut_all(state: tuple[tuple[Array, ...], ...]) -> tuple[tuple[Array, ...], ...]:
            return tuple(tuple(cut(part) for part in own) for own in state)

        return Stack(
            tuple(
                replace(l, recurrent_mask=cut(l.recurrent_mask), input_mask=cut(l.input_mask))
                for l in self.layers
            ),
            cut(self.x),
            cut_all(self.state),
            cut(self.grad_y),
            cut_all(self.grad_state),
            cut(self.lengths),
        )


def a_stack(
    mix: str | Sequence[tuple[str | Equations, int]] = "lstm-gru-linear",
    batch: int = 5,
    time: int = 6,
    inputs: int = 3,
    wiring: str = "full",
    dtype: str = "float64",
    ragged: bool = False,
    masked: bool = False,
    carries_state: bool = True,
    normalised: bool = False,
    seed: int = 0,
) -> Stack:
    """A random stack; ragged lengths hold 0 and T wherever the batch has room for them."""
    normalised |= isinstance(mix, str) and mix.startswith("normalised")
    random = np.random.default_rng(seed)
    cells = MIXES[mix] if isinstance(mix, str) else list(mix)

    def draw(*shape: int, scale: float = 1.0) -> Array:
        return (random.standard_normal(shape) * scale).astype(dtype)

    def mask(width: int) -> Array | None:
        return ((random.random((batch, width)) < 0.7) / 0.7).astype(dtype) if masked else None

    layers, width = [], inputs
    for index, (cell, hidden) in enumerate(cells):
        rows = gates_of(cell) * hidden
        count = len(cell.parameters) if isinstance(cell, Equations) else 0
        weight_hh = {}
        for source, (_, size) in enumerate(cells):
            own = source == index
            if own and wiring == "diagonal and indirect":
                weight_hh[source] = draw(rows, scale=0.5)
            elif (
                wiring == "full"
                or ("indirect" in wiring and source > index)
                or (wiring == "forward in time" and source < index)
            ):
                weight_hh[source] = draw(rows, size, scale=(len(cells) * size) ** -0.5)
        layers.append(
            StackLayer(
                cell=cell,
                weight_ih=draw(rows, width, scale=max(width, 1) ** -0.5),
                bias_ih=draw(rows, scale=0.3),
                bias_hh=None if cell == "linear" else draw(rows, scale=0.3),
                weight_hh=weight_hh,
                carries_state=carries_state or index == 0,
                recurrent_mask=mask(hidden),
                input_mask=mask(width) if index else None,
                weight_cell=draw(count, hidden, scale=0.7) if count else None,
                weight_norm=draw(len(slots_of(cell)), hidden) if normalised else None,
            )
        )
        width = hidden
    lengths = None
    if ragged:
        lengths = random.integers(0, time + 1, batch)
        lengths[:1] = time
        lengths[2:3] = 0

    def states(scale: float) -> tuple[tuple[Array, ...], ...]:
        return tuple(
            tuple(draw(batch, hidden, scale=scale) for _ in range(states_of(cell)))
            for cell, hidden in cells
        )

    x, grad_y = draw(batch, time, inputs), draw(batch, time, width)
    return Stack(tuple(layers), x, states(0.5), grad_y, states(1.0), lengths)


def gates_of(cell: str | Equations) -> int:
    return len(cell.gates) if isinstance(cell, Equations) else GATES[cell]


def slots_of(cell: str | Equations) -> tuple[str, ...]:
    """The pre-activations that a cell reads, in the order of their gains."""
    if isinstance(cell, Equations):
        return cell.slots
    return {"lstm": ("i", "f", "g", "o"), "gru": ("x_n", "r", "z", "r_n")}.get(cell, ("a",))


def states_of(cell: str | Equations) -> int:
    return len(cell.states) if isinstance(cell, Equations) else 2 if cell == "lstm" else 1


def kernel_results(case: Stack) -> dict[str, Array | None]:
    """Everything a scan and its way back give, by name."""
    result = case.scan(save=True)
    assert result.saved is not None
    grads = kernels.scan_stack_backward(result.saved, case.grad_y, case.grad_state)
    named: dict[str, Array | None] = {"y": result.y, "grad x": grads.x}
    for l, (states, layer) in enumerate(zip(result.state, grads.layers, strict=True)):
        named |= {f"state {l} {k}": part for k, part in enumerate(states)}
        named |= {f"grad state {l} {k}": part for k, part in enumerate(layer.state)}
        roles = ("weight_ih", "bias_ih", "bias_hh", "weight_cell", "weight_norm")
        named |= {f"grad {n} {l}": getattr(layer, n) for n in roles}
        named |= {f"grad weight_hh {l} {k}": part for k, part in layer.weight_hh.items()}
    return named


def reference_results(case: Stack) -> dict[str, Array | None]:
    """The same from a plain loop and autograd, in float64."""
    roots: dict[str, torch.Tensor] = {}

    def root(name: str, array: Array | None) -> Any:
        if array is None:
            return None
        roots[name] = torch.tensor(array, dtype=torch.float64, requires_grad=True)
        return roots[name]

    x = root("x", case.x)
    layers = [
        (
            root(f"weight_ih {l}", layer.weight_ih),
            root(f"bias_ih {l}", layer.bias_ih),
            root(f"bias_hh {l}", layer.bias_hh),
            root(f"weight_cell {l}", layer.weight_cell),
            root(f"weight_norm {l}", layer.weight_norm),
            {k: root(f"weight_hh {l} {k}", block) for k, block in layer.weight_hh.items()},
        )
        for l, layer in enumerate(case.layers)
    ]
    state = [
        [root(f"state {l} {k}", part) for k, part in enumerate(own)]
        for l, own in enumerate(case.state)
    ]
    batch, time, _ = case.x.shape
    lengths = torch.tensor(np.full(batch, time) if case.lengths is None else case.lengths)
    ys = []
    for t in range(time):
        running = (t < lengths)[:, None]
        state, y = _step(case.layers, layers, x[:, t], state, running)
        ys.append(torch.where(running, y, 0.0))
    y = torch.stack(ys, 1) if ys else torch.zeros(case.grad_y.shape, dtype=torch.float64)
    parts = [part for own in state for part in own]
    grads = [torch.tensor(g, dtype=torch.float64) for own in case.grad_state for g in own]
    ends = [(y, torch.tensor(case.grad_y, dtype=torch.float64)), *zip(parts, grads, strict=True)]
    torch.autograd.backward(
        [end for end, _ in ends if end.requires_grad], [g for end, g in ends if end.requires_grad]
    )
    named: dict[str, Array | None] = {"y": y.detach().numpy()}
    named |= {
        f"state {l} {k}": part.detach().numpy()
        for l, own in enumerate(state)
        for k, part in enumerate(own)
    }
    for number, role in ((2, "bias_hh"), (3, "weight_cell"), (4, "weight_norm")):
        named |= {f"grad {role} {l}": None for l, own in enumerate(layers) if own[number] is None}
    for name, tensor in roots.items():
        grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        named[f"grad {name}"] = grad.numpy()
    return named


def _step(
    layers: tuple[StackLayer, ...],
    weights: list[Any],
    x: torch.Tensor,
    state: list[list[torch.Tensor]],
    running: torch.Tensor,
) -> tuple[list[list[torch.Tensor]], torch.Tensor]:
    def masked(h: torch.Tensor, mask: Array | None) -> torch.Tensor:
        return h if mask is None else h * torch.tensor(mask)

    heard = [masked(own[0], l.recurrent_mask) for l, own in zip(layers, state, strict=True)]
    after = []
    for l, layer in enumerate(layers):
        weight_ih, bias_ih, bias_hh, weight_cell, weight_norm, blocks = weights[l]
        a = masked(x, layer.input_mask) @ weight_ih.T
        fed = torch.zeros_like(a)
        for source, block in blocks.items():
            if block.dim() == 1:
                fed = fed + heard[source].repeat(1, gates_of(layer.cell)) * block
            else:
                fed = fed + heard[source] @ block.T
        if weight_norm is not None:
            a, fed = _normalised(layer.cell, a, fed, weight_norm)
        a, fed = a + bias_ih, fed if bias_hh is None else fed + bias_hh
        own = state[l] if layer.carries_state else [torch.zeros_like(s) for s in state[l]]
        new = cell_step(layer.cell, a, fed, own, weight_cell)
        x = new[0]
        after.append([torch.where(running, n, o) for n, o in zip(new, state[l], strict=True)])
    return after, x


def _normalised(
    cell: str | Equations, a: torch.Tensor, fed: torch.Tensor, gains: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every pre-activation over its neurons, slot by slot; a sum's other part is zero."""
    gates = {"lstm": "ifgo", "gru": "rzn"}.get(cell, "a") if isinstance(cell, str) else cell.gates
    below, back = (
        dict(zip(gates, part.chunk(len(gates), dim=-1), strict=True)) for part in (a, fed)
    )
    x = {gate: torch.zeros_like(part) for gate, part in below.items()}
    r = dict(x)
    for slot, gain in zip(slots_of(cell), gains, strict=True):
        kind, _, gate = slot.rpartition("_")
        summed = {"x": below.get(gate), "r": back.get(gate)}.get(kind, below[gate] + back[gate])
        assert summed is not None
        off = summed - summed.mean(-1, keepdim=True)
        found = gain * off / (off.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        (r if kind == "r" else x)[gate] = found
    return torch.cat(list(x.values()), dim=-1), torch.cat(list(r.values()), dim=-1)
