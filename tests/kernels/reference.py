"""The recurrences as plain torch loops, and torch.nn's, for the kernels to be compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noria import kernels
from noria.cells import cell_from_equations
from noria.equations import Equations

Array = NDArray[Any]
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1, "linear": 1}
CELLS = tuple(GATES)
TORCH_CELLS = CELLS[:-1]  # those that torch.nn has


@dataclass(frozen=True)
class Problem:
    """Arguments of a scan, with gradients to send back through it."""

    cell: str
    x: Array
    weight_ih: Array
    weight_hh: Array | None
    bias_ih: Array
    bias_hh: Array
    state: tuple[Array, ...]
    grad_y: Array
    grad_state: tuple[Array, ...]
    lengths: Array | None = None
    recurrent_mask: Array | None = None
    reverse: bool = False

    def scan(self, save: bool = False) -> kernels.Scan:
        return kernels.scan(
            self.cell,
            self.x,
            self.weight_ih,
            self.weight_hh,
            self.bias_ih,
            self.bias_hh,
            self.state,
            lengths=self.lengths,
            recurrent_mask=self.recurrent_mask,
            reverse=self.reverse,
            save=save,
        )

    def scan_backward(self, saved: kernels.Saved) -> kernels.Gradients:
        return kernels.scan_backward(saved, self.grad_y, self.grad_state)

    def rows(self, first: int, last: int) -> Problem:
        """The same problem for rows [first, last) of the batch alone."""

        def cut(array: Array | None) -> Any:
            return None if array is None else array[first:last]

        return replace(
            self,
            x=cut(self.x),
            state=tuple(cut(s) for s in self.state),
            grad_y=cut(self.grad_y),
            grad_state=tuple(cut(s) for s in self.grad_state),
            lengths=cut(self.lengths),
            recurrent_mask=cut(self.recurrent_mask),
        )


def problem(
    cell: str,
    batch: int,
    time: int,
    inputs: int,
    hidden: int,
    dtype: str = "float64",
    recurrence: str = "dense",
    ragged: bool = False,
    masked: bool = False,
    reverse: bool = False,
    seed: int = 0,
) -> Problem:
    """A random problem; ragged lengths hold 0 and T wherever the batch has room for them."""
    random = np.random.default_rng(seed)

    def draw(*shape: int, scale: float = 1.0) -> Array:
        return (random.standard_normal(shape) * scale).astype(dtype)

    rows = GATES[cell] * hidden
    states = 2 if cell == "lstm" else 1
    weight_hh = None
    if recurrence == "dense":
        weight_hh = draw(rows, hidden, scale=hidden**-0.5)
    elif recurrence == "diagonal":
        weight_hh = draw(rows, scale=0.5)
    lengths = None
    if ragged:
        lengths = random.integers(0, time + 1, batch)
        lengths[:1] = time
        lengths[2:3] = 0
    mask = None
    if masked:
        mask = ((random.random((batch, hidden)) < 0.7) / 0.7).astype(dtype)
    return Problem(
        cell=cell,
        x=draw(batch, time, inputs),
        weight_ih=draw(rows, inputs, scale=max(inputs, 1) ** -0.5),
        weight_hh=weight_hh,
        bias_ih=draw(rows, scale=0.3),
        bias_hh=draw(rows, scale=0.3),
        state=tuple(draw(batch, hidden, scale=0.5) for _ in range(states)),
        grad_y=draw(batch, time, hidden),
        grad_state=tuple(draw(batch, hidden) for _ in range(states)),
        lengths=lengths,
        recurrent_mask=mask,
        reverse=reverse,
    )


def results(result: kernels.Scan, gradients: kernels.Gradients) -> dict[str, Array | None]:
    """Everything a scan and its way back give, by name."""
    named: dict[str, Array | None] = {"y": result.y}
    named |= {f"state {k}": s for k, s in enumerate(result.state)}
    named |= {f"grad {k}": v for k, v in vars(gradients).items() if k != "state"}
    named |= {f"grad state {k}": s for k, s in enumerate(gradients.state)}
    return named


def kernel_results(problem: Problem) -> dict[str, Array | None]:
    result = problem.scan(save=True)
    assert result.saved is not None
    return results(result, problem.scan_backward(result.saved))


def reference_results(problem: Problem) -> dict[str, Array | None]:
    """The same from a plain loop and autograd, in float64."""

    def leaf(array: Array | None) -> torch.Tensor | None:
        if array is None:
            return None
        return torch.tensor(array, dtype=torch.float64, requires_grad=True)

    names = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh")
    leaves = {name: leaf(getattr(problem, name)) for name in names}
    state = [leaf(s) for s in problem.state]
    y, final = _loop(problem, leaves, state)
    torch.autograd.backward(
        [y, *final],
        [torch.tensor(g, dtype=torch.float64) for g in (problem.grad_y, *problem.grad_state)],
    )

    def grad(tensor: torch.Tensor | None) -> Array | None:
        if tensor is None:
            return None
        return np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()

    named: dict[str, Array | None] = {"y": y.detach().numpy()}
    named |= {f"state {k}": s.detach().numpy() for k, s in enumerate(final)}
    named |= {f"grad {name}": grad(leaves[name]) for name in names}
    named |= {f"grad state {k}": grad(s) for k, s in enumerate(state)}
    return named


def _loop(
    problem: Problem, leaves: dict[str, Any], state: list[Any]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    batch, time, _ = problem.x.shape
    hidden = problem.state[0].shape[1]
    lengths = np.full(batch, time) if problem.lengths is None else problem.lengths
    outputs: list[list[torch.Tensor]] = []
    finals: list[list[torch.Tensor]] = [[] for _ in state]
    for b in range(batch):
        now = [s[b] for s in state]
        row = [torch.zeros(hidden, dtype=torch.float64)] * time
        steps = range(lengths[b])
        for t in reversed(steps) if problem.reverse else steps:
            now = _step(problem, leaves, b, leaves["x"][b, t], now)
            row[t] = now[0]
        outputs.append(row)
        for k, value in enumerate(now):
            finals[k].append(value)
    empty = torch.zeros(batch, time, hidden, dtype=torch.float64, requires_grad=True) * 1
    y = torch.stack([torch.stack(row) for row in outputs]) if batch and time else empty
    return y, [torch.stack(f) if batch else s * 1 for f, s in zip(finals, state, strict=True)]


def _step(problem: Problem, leaves: dict[str, Any], b: int, x: Any, state: list[Any]) -> list[Any]:
    h = state[0]
    heard = h if problem.recurrent_mask is None else h * torch.tensor(problem.recurrent_mask[b])
    weight_hh = leaves["weight_hh"]
    hidden = len(h)
    gates = GATES[problem.cell]
    if weight_hh is None:
        product = torch.zeros(gates * hidden, dtype=torch.float64)
    elif weight_hh.ndim == 1:
        product = weight_hh * heard.repeat(gates)
    else:
        product = weight_hh @ heard.to(weight_hh.dtype)
    a = leaves["weight_ih"] @ x + leaves["bias_ih"]
    return cell_step(problem.cell, a, product + leaves["bias_hh"], state)


def cell_step(
    cell: str | Equations, a: Any, b_hh: Any, state: list[Any], weight_cell: Any = None
) -> list[Any]:
    """The states after a step, from the products with the input and with h, biases included."""
    if isinstance(cell, Equations):
        oracle = cell_from_equations(cell)(state[0].shape[-1])
        return list(oracle.step(a, b_hh, tuple(state), weight_cell))
    if cell == "lstm":
        i, f, g, o = (a + b_hh).chunk(4, dim=-1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return [o.sigmoid() * c.tanh(), c]
    if cell == "gru":
        (a_r, a_z, a_n), (b_r, b_z, b_n) = a.chunk(3, dim=-1), b_hh.chunk(3, dim=-1)
        z = (a_z + b_z).sigmoid()
        n = (a_n + (a_r + b_r).sigmoid() * b_n).tanh()
        return [(1 - z) * n + z * state[0]]
    a = a + b_hh
    return [a.tanh() if cell == "rnn_tanh" else a.relu() if cell == "rnn_relu" else a]


def torch_results(problem: Problem) -> dict[str, Array | None]:
    """The same from torch.nn, for dense problems without lengths, mask or reversal."""
    _, _, inputs = problem.x.shape
    hidden = problem.state[0].shape[1]
    dtype = getattr(torch, str(problem.x.dtype))
    options: dict[str, Any] = {"batch_first": True, "dtype": dtype}
    net: torch.nn.RNNBase
    if problem.cell == "lstm":
        net = torch.nn.LSTM(inputs, hidden, **options)
    elif problem.cell == "gru":
        net = torch.nn.GRU(inputs, hidden, **options)
    else:
        net = torch.nn.RNN(inputs, hidden, nonlinearity=problem.cell[4:], **options)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    with torch.no_grad():
        for name in names:
            getattr(net, f"{name}_l0").copy_(torch.tensor(getattr(problem, name)))
    x = torch.tensor(problem.x, requires_grad=True)
    state = [torch.tensor(s, requires_grad=True) for s in problem.state]
    start = tuple(s[None] for s in state)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its threads, one per operation, only get in each other's way here
    try:
        y, final = net(x, start if len(start) > 1 else start[0])
        final = [s[0] for s in final] if len(start) > 1 else [final[0]]
        torch.autograd.backward(
            [y, *final], [torch.tensor(g) for g in (problem.grad_y, *problem.grad_state)]
        )
    finally:
        torch.set_num_threads(threads)
    named: dict[str, Any] = {"y": y.detach().numpy(), "grad x": x.grad.numpy()}
    named |= {f"state {k}": s.detach().numpy() for k, s in enumerate(final)}
    named |= {f"grad {name}": getattr(net, f"{name}_l0").grad.numpy() for name in names}
    named |= {f"grad state {k}": s.grad.numpy() for k, s in enumerate(state)}
    return named


def assert_close(
    found: dict[str, Array | None], wanted: dict[str, Array | None], tolerance: float
) -> None:
    """Every array agrees within the tolerance, relative to its largest element."""
    assert found.keys() == wanted.keys()
    for name, expected in wanted.items():
        got = found[name]
        if expected is None or got is None:
            assert got is expected, name
            continue
        assert got.shape == expected.shape, name
        scale = np.abs(expected).max(initial=1.0)
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale, err_msg=name)
