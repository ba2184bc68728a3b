"""The oracles against torch's cells, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import GRU, LSTM, RNN, Cell, Linear, make_cell
from noria.errors import WiringError

B, I, H = 5, 3, 7

PAIRS: dict[str, tuple[Cell, nn.RNNCellBase]] = {
    "lstm": (LSTM(H), nn.LSTMCell(I, H)),
    "gru": (GRU(H), nn.GRUCell(I, H)),
    "rnn_tanh": (RNN(H), nn.RNNCell(I, H)),
    "rnn_relu": (RNN(H, "relu"), nn.RNNCell(I, H, nonlinearity="relu")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_torch(name: str) -> None:
    cell, theirs = PAIRS[name]
    torch.manual_seed(0)
    theirs = theirs.double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(B, I, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(B, H, dtype=torch.float64, requires_grad=True) for _ in cell.states)
    weights = dict(theirs.named_parameters())

    ours = cell.step(
        functional.linear(x, weights["weight_ih"], weights["bias_ih"]),
        functional.linear(state[0], weights["weight_hh"], weights["bias_hh"]),
        state,
    )
    expected = theirs(x, state if len(state) > 1 else state[0])
    wanted = expected if isinstance(expected, tuple) else (expected,)

    sent_back = [torch.randn(B, H, dtype=torch.float64) for _ in wanted]
    inputs = [x, *state, *weights.values()]
    assert_close(ours, wanted)
    assert_close(
        torch.autograd.grad(ours, inputs, sent_back), torch.autograd.grad(wanted, inputs, sent_back)
    )


def assert_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_linear_adds_what_it_receives() -> None:
    x, r, h = torch.randn(3, B, H).unbind()
    assert torch.equal(Linear(H).step(x, r, (h,))[0], x + r)


@pytest.mark.parametrize("name", [*PAIRS, "linear"])
def test_a_cell_is_found_by_its_name(name: str) -> None:
    cell = make_cell(name, 11)
    assert cell.name == name
    assert cell.hidden_size == 11


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(WiringError, match="cell 'lsmt' is unknown, expected one of lstm, gru"):
        make_cell("lsmt", 1)
