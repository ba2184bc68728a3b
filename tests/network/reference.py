"""What the tests of the network share: its parts in float64, and its equation as a plain loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from noria.cells import GRU, LSTM, RNN, Cell, make_cell
from noria.network import Network, NetworkState
from noria.wiring import Wiring

CELLS: dict[str, Cell] = {
    "lstm": LSTM(3),
    "gru": GRU(3),
    "rnn_tanh": RNN(3),
    "rnn_relu": RNN(3, "relu"),
}

# over the neurons of layers of 3 and 2 and an output layer of 2: [target, source]
ADJACENCY = [
    [1, 0, 1, 0, 0, 0, 1],
    [1, 1, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 1, 0, 0],
    [0, 1, 0, 1, 0, 1, 0],
    [0, 0, 0, 0, 0, 0, 1],
    [1, 0, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 1, 0, 0],
]

# the same with nothing between layers
LAYERED_ADJACENCY = [
    [1, 0, 1, 0, 0],
    [1, 1, 0, 0, 0],
    [0, 0, 0, 0, 0],
    [0, 0, 0, 1, 0],
    [0, 0, 0, 1, 1],
]

FEEDBACKS: dict[str, Any] = {
    "none": "none",
    "direct": "direct",
    "lateral": "lateral",
    "direct+lateral": "direct+lateral",
    "indirect": "indirect",
    "full": "full",
    "direct+indirect": "direct+indirect",
    "adjacency": ADJACENCY,
    "layered adjacency": LAYERED_ADJACENCY,
}

LAYERED = ["none", "direct", "lateral", "direct+lateral", "layered adjacency"]


def network(cell: str = "lstm", feedback: str = "direct+lateral", **options: Any) -> Network:
    """Layers of 3 and 2 neurons and an output layer of 2, in float64, with no weight zero."""
    torch.manual_seed(1)
    lower = CELLS[cell]
    cells = [lower, make_cell(cell, 2)]
    options = {"output_size": 2, "backend": "oracle"} | options
    made = Network(4, cells, FEEDBACKS.get(feedback, feedback), **options).double()
    scatter(made)
    return made


@torch.no_grad()
def scatter(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        parameter.normal_(std=0.5)


def inputs(batch: int = 3, steps: int = 5, width: int = 4) -> Tensor:
    return torch.randn(batch, steps, width, dtype=torch.float64)


def some_state(net: Network, batch: int = 3) -> NetworkState:
    return tuple(tuple(torch.randn_like(part) for part in layer) for layer in net.zero_state(batch))


def flat(state: NetworkState) -> list[Tensor]:
    return [part for layer in state for part in layer]


def results(
    net: Network, x: Tensor, state: NetworkState | None, lengths: Tensor | None = None
) -> dict[str, Tensor]:
    """Outputs, final states, and the gradients of a fixed mixture of them by name."""
    x = x.detach().clone().requires_grad_()
    start = None
    if state is not None:
        start = tuple(
            tuple(part.detach().clone().requires_grad_() for part in layer) for layer in state
        )
    y, end = net(x, start, lengths)
    found = {"y": y} | {f"state {number}": part for number, part in enumerate(flat(end))}
    loss = sum((v * torch.cos(torch.arange(v.numel())).view_as(v)).sum() for v in found.values())
    roots = {"x": x} | {f"state {n}": part for n, part in enumerate(flat(start or ()))}
    roots |= dict(net.named_parameters())
    grads = torch.autograd.grad(loss, list(roots.values()), allow_unused=True)
    for name, root, grad in zip(roots, roots.values(), grads, strict=True):
        found[f"grad {name}"] = torch.zeros_like(root) if grad is None else grad
    return {name: value.detach() for name, value in found.items()}


def assert_close(
    found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 1e-11
) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        message = f"{name}\n{{}}".format
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=message)


def assert_same_bits(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert found.detach().numpy().tobytes() == wanted.detach().numpy().tobytes()


def dense(wiring: Wiring, weights: dict[str, Tensor], target: int, source: int) -> Tensor:
    """R from `source` to `target`, (G, H, K), entry by entry from the stored weights."""
    layer = wiring.layers[target]
    gates, rows, columns = len(layer.gates), layer.hidden_size, wiring.layers[source].hidden_size
    block = torch.zeros(gates, rows, columns, dtype=torch.float64)
    for edge in wiring.edges_into(target):
        if edge.source == source:
            stored = weights[f"layers.{target}.weight_hh.{source}"].reshape(gates, -1)
            allowed = [(i, j) for i in range(rows) for j in range(columns) if edge.mask[i, j]]
            for number, (i, j) in enumerate(allowed):
                block[:, i, j] = stored[:, number]
    return block


def equation(net: Network, x: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
    """a_l(t) = W_l · x_l(t) + Σ_k R_{l←k} · h_k(t−1) + b_l, then each cell, neuron by gate."""
    wiring = net.wiring
    weights = dict(net.named_parameters())
    count = range(len(wiring.layers))
    blocks = {(l, k): dense(wiring, weights, l, k) for l in count for k in count}
    outputs = []
    for t in range(x.shape[1]):
        before = [part[0] for part in state]
        x_l = x[:, t]
        new: list[tuple[Tensor, ...]] = []
        for l, layer in enumerate(wiring.layers):
            gates = len(layer.gates)
            w = weights[f"layers.{l}.weight_ih"].reshape(gates, layer.hidden_size, -1)
            b = weights[f"layers.{l}.bias_ih"].reshape(gates, -1)
            below = torch.einsum("ghi,bi->gbh", w, x_l) + b[:, None]
            fed = sum(torch.einsum("ghk,bk->gbh", blocks[l, k], before[k]) for k in count)
            if layer.cell != "linear":
                fed = fed + weights[f"layers.{l}.bias_hh"].reshape(gates, 1, -1)
            own = state[l] if layer.carries_state else tuple(torch.zeros_like(s) for s in state[l])
            new.append(_cell(layer.cell, below, fed, own))
            x_l = new[-1][0]
        state = tuple(new)
        outputs.append(x_l)
    return torch.stack(outputs, 1), state


def _cell(name: str, x: Tensor, r: Any, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    def sigmoid(a: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-a))

    if name == "lstm":
        i, f, g, o = x + r
        c = sigmoid(f) * state[1] + sigmoid(i) * torch.tanh(g)
        return sigmoid(o) * torch.tanh(c), c
    if name == "gru":
        reset, update = sigmoid(x[0] + r[0]), sigmoid(x[1] + r[1])
        new = torch.tanh(x[2] + reset * r[2])
        return ((1 - update) * new + update * state[0],)
    a = (x + r)[0]
    return (torch.tanh(a) if name == "rnn_tanh" else a.clamp(min=0) if name == "rnn_relu" else a,)
