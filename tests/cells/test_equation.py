"""Cells written as equations: against the built-in ones and against the papers' formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from noria.cells import (
    GRU,
    LSTM,
    MGU,
    SLSTM,
    Cell,
    CoupledLSTM,
    EquationCell,
    LeakyRNN,
    PeepholeLSTM,
    make_cell,
)
from noria.equations import Equations
from noria.errors import WiringError

B, H = 5, 7


class OwnLSTM(EquationCell):
    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    equations = """
        c' = sigmoid(f)*c + sigmoid(i)*tanh(g)
        h' = sigmoid(o)*tanh(c')
    """


class OwnGRU(EquationCell):
    gates = ("r", "z", "n")
    equations = """
        update = sigmoid(z)
        new = tanh(x_n + sigmoid(r)*r_n)
        h' = (1 - update)*new + update*h
    """


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def parts(cell: Cell) -> tuple[Tensor, Tensor, tuple[Tensor, ...], Tensor]:
    torch.manual_seed(0)
    rows = len(cell.gates) * H
    state = tuple(draw(B, H) for _ in cell.states)
    return draw(B, rows), draw(B, rows), state, draw(len(cell.parameters), H)


@pytest.mark.parametrize(("own", "built_in"), [(OwnLSTM(H), LSTM(H)), (OwnGRU(H), GRU(H))])
def test_a_built_in_cell_written_as_equations(own: EquationCell, built_in: Cell) -> None:
    x, r, state, _ = parts(built_in)
    found, wanted = own.step(x, r, state), built_in.step(x, r, state)
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-13)
    sent = [torch.randn_like(part) for part in wanted]
    inputs = [x, r, *state]
    grads = [
        torch.autograd.grad(ends, inputs, sent, allow_unused=True, materialize_grads=True)
        for ends in (found, wanted)
    ]
    torch.testing.assert_close(*grads, rtol=1e-13, atol=1e-13)


def peephole(x: Tensor, r: Tensor, state: Any, p: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = (x + r).chunk(4, -1)
    c = torch.sigmoid(f + p[1] * state[1]) * state[1]
    c = c + torch.sigmoid(i + p[0] * state[1]) * torch.tanh(g)
    return torch.sigmoid(o + p[2] * c) * torch.tanh(c), c


def coupled(x: Tensor, r: Tensor, state: Any, p: Tensor) -> tuple[Tensor, ...]:
    f, g, o = (x + r).chunk(3, -1)
    c = torch.sigmoid(f) * state[1] + (1 - torch.sigmoid(f)) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def minimal(x: Tensor, r: Tensor, state: Any, p: Tensor) -> tuple[Tensor, ...]:
    (x_z, x_n), (r_z, r_n) = x.chunk(2, -1), r.chunk(2, -1)
    f = torch.sigmoid(x_z + r_z)
    return ((1 - f) * state[0] + f * torch.tanh(x_n + f * r_n),)


def leaky(x: Tensor, r: Tensor, state: Any, p: Tensor) -> tuple[Tensor, ...]:
    return (torch.lerp(state[0], torch.tanh(x + r), torch.sigmoid(p[0]).expand(B, H)),)


PAPERS: dict[type[EquationCell], Callable[..., tuple[Tensor, ...]]] = {
    PeepholeLSTM: peephole,
    CoupledLSTM: coupled,
    MGU: minimal,
    LeakyRNN: leaky,
}


@pytest.mark.parametrize("kind", PAPERS)
def test_the_papers_formulas(kind: type[EquationCell]) -> None:
    cell = kind(H)
    x, r, state, p = parts(cell)
    found = cell.step(x, r, state, p if len(p) else None)
    torch.testing.assert_close(found, PAPERS[kind](x, r, state, p), rtol=1e-13, atol=1e-13)


def test_the_slstm_without_its_stabiliser() -> None:
    """c' = σ(f)·c + exp(i)·tanh(z);  n' = σ(f)·n + exp(i);  h' = σ(o)·c'/n'."""
    torch.manual_seed(0)
    cell = SLSTM(H)
    state = tuple(torch.zeros(B, H, dtype=torch.float64) for _ in cell.states)
    c = n = torch.zeros(B, H, dtype=torch.float64)
    for _ in range(6):
        x, r = draw(B, 4 * H), draw(B, 4 * H)
        i, f, z, o = (x + r).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.exp(i) * torch.tanh(z)
        n = torch.sigmoid(f) * n + torch.exp(i)
        state = cell.step(x, r, state)
        torch.testing.assert_close(state[0], torch.sigmoid(o) * c / n, rtol=1e-12, atol=1e-12)
        scaled = state[1] * state[3].exp(), state[2] * state[3].exp()
        torch.testing.assert_close(scaled, (c, n), rtol=1e-11, atol=1e-11)


def test_the_slstms_stabiliser_holds_gates_that_would_overflow() -> None:
    cell = SLSTM(1)
    state = tuple(torch.zeros(1, 1) for _ in cell.states)
    for size in (500.0, -500.0, 0.0):
        x = torch.tensor([[size, 5.0, 1.0, 0.0]])
        state = cell.step(x, torch.zeros_like(x), state)
        assert all(part.isfinite().all() for part in state)
        torch.testing.assert_close(state[0], torch.tensor([[0.5]]) * torch.tanh(torch.ones(1, 1)))


def test_max_and_min_keep_nan() -> None:
    class Bounded(EquationCell):
        gates = ("a", "b")
        states = ("h", "c")
        equations = "h' = max(a, b)\nc' = min(a, b)"

    x = torch.tensor([[float("nan"), 1.0, 1.0, float("nan")]])
    for part in Bounded(2).step(x, torch.zeros_like(x), (x[:, :2], x[:, :2])):
        assert part.isnan().all()


@pytest.mark.parametrize("name", ["peepholelstm", "coupledlstm", "mgu", "leakyrnn", "slstm"])
def test_a_shipped_cell_is_found_by_its_name(name: str) -> None:
    cell = make_cell(name, 11)
    assert (cell.name, cell.hidden_size) == (name, 11)
    assert cell.meaning is not None
    assert make_cell(name, 11, cell.meaning) == cell


def test_equations_make_a_cell_that_nobody_has_the_class_of() -> None:
    meaning = Equations("strange", ("a",), ("h",), (), "h' = a*h")
    cell = make_cell("strange", 3, meaning)
    assert repr(cell) == "strange(hidden_size=3, layer_norm=False)"
    assert cell == make_cell("strange", 3, meaning)
    x, h = torch.full((1, 3), 2.0), torch.full((1, 3), 3.0)
    assert torch.equal(cell.step(x, x, (h,))[0], torch.full((1, 3), 12.0))


def test_a_class_that_cannot_be_meant() -> None:
    with pytest.raises(WiringError, match="cell wrong, line 1: the name 'b' is unknown"):
        type("Wrong", (EquationCell,), {"gates": ("a",), "equations": "h' = a + b"})
    with pytest.raises(WiringError, match="cell Bare: it needs gates and equations"):
        type("Bare", (EquationCell,), {})
    with pytest.raises(WiringError, match="cell lstm: a built-in cell has this name"):
        type("LSTM", (EquationCell,), {"gates": ("a",), "equations": "h' = a"})
