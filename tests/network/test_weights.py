"""Initial weights, and weights that layers share."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from noria.cells import GRU, LSTM, RNN, Cell, Linear, make_cell
from noria.network import Network
from tests.network.reference import ADJACENCY, CELLS, inputs, network

H = 16


def made(cell: Cell, feedback: str = "direct+lateral", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(8, [cell], feedback)


@pytest.mark.parametrize("cell", CELLS)
def test_every_gate_of_the_recurrence_is_orthogonal(cell: str) -> None:
    net = made(make_cell(cell, H))
    for block in net.layers[0].weight_hh["0"].detach().split(H):
        torch.testing.assert_close(block.T @ block, torch.eye(H), rtol=0, atol=1e-5)


def test_several_blocks_together_keep_a_length() -> None:
    torch.manual_seed(0)
    net = Network(8, [RNN(H), RNN(H)], "full", output_size=H)
    blocks = [net.layers[0].recurrent(source).detach() for source in range(3)]
    joined = torch.cat(blocks, dim=1)
    torch.testing.assert_close(joined @ joined.T, torch.eye(H), rtol=0, atol=1e-5)


def test_lateral_is_orthogonal_but_for_its_diagonal() -> None:
    torch.manual_seed(0)
    dense = made(RNN(H)).layers[0].recurrent(0).detach()
    lateral = made(RNN(H), "lateral").layers[0].recurrent(0).detach()
    assert torch.equal(lateral, dense - dense.diag().diag())


@pytest.mark.parametrize("cell", CELLS)
def test_a_diagonal_is_uniform_between_0_and_1(cell: str) -> None:
    weights = made(make_cell(cell, 500), "direct").layers[0].weight_hh["0"].detach()
    assert weights.min() >= 0
    assert weights.max() < 1
    assert weights.mean().item() == pytest.approx(0.5, abs=0.05)
    assert weights.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.02)


@pytest.mark.parametrize("cell", CELLS)
def test_the_input_weights_follow_glorot(cell: str) -> None:
    net = made(make_cell(cell, 200))
    bound = math.sqrt(6 / (8 + 200))  # of one gate, whatever their number
    for block in net.layers[0].weight_ih.detach().split(200):
        assert block.abs().max().item() == pytest.approx(bound, rel=0.02)
        assert block.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_biases_are_zero_but_for_the_forget_gate() -> None:
    torch.manual_seed(0)
    net = Network(2, [LSTM(3), GRU(3), RNN(3)], output_size=2)
    lstm, *others = net.layers
    wanted = torch.tensor([0.0] * 3 + [1.0] * 3 + [0.0] * 6)
    assert torch.equal(lstm.bias_ih + lstm.bias_hh, wanted)
    for layer in others:
        assert not layer.bias_ih.any()
        assert layer.bias_hh is None or not layer.bias_hh.any()


def test_the_seed_draws_the_weights() -> None:
    one, same, other = made(LSTM(H)), made(LSTM(H)), made(LSTM(H), seed=1)
    weights = [net.state_dict() for net in (one, same, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["layers.0.weight_ih"], weights[2]["layers.0.weight_ih"])


def test_directions_have_weights_of_their_own() -> None:
    net = Network(2, [LSTM(3)], bidirectional=True, output_size=1)
    layer = net.layers[0]
    assert not torch.equal(layer.weight_ih, layer.reverse.weight_ih)
    assert net.layers[1].reverse is None


def test_masked_weights_stand_row_by_row() -> None:
    net = network("lstm", "adjacency")
    layer = net.layers[0]
    mask = np.array(ADJACENCY, dtype=bool)[:3, :3]
    stored = layer.weight_hh["0"]
    assert stored.shape == (4, mask.sum())
    for gate, block in enumerate(layer.recurrent(0).reshape(4, 3, 3)):
        assert torch.equal(block[torch.from_numpy(mask)], stored[gate])


def test_shared_layers_are_one_tensor_whose_gradient_is_the_sum() -> None:
    torch.manual_seed(0)
    cells = [LSTM(3)] * 3
    shared = Network(3, cells, share_layers=True).double()
    apart = Network(3, cells).double()
    with torch.no_grad():
        for name, parameter in apart.named_parameters():
            parameter.copy_(shared.get_parameter(shared.wiring.owner(name)))
    assert shared.layers[0].weight_hh["0"] is shared.layers[2].weight_hh["2"]
    assert len(list(shared.parameters())) == len(list(apart.parameters())) / 3

    x = inputs(width=3)
    for net in (shared, apart):
        net(x)[0].square().sum().backward()
    for name, parameter in shared.named_parameters():
        users = [n for n in apart.wiring.parameters() if shared.wiring.owner(n) == name]
        assert len(users) == 3
        total = sum(apart.get_parameter(user).grad for user in users)  # type: ignore[misc]
        torch.testing.assert_close(parameter.grad, total)


def test_sharing_lasts() -> None:
    net = Network(3, [GRU(3), GRU(3)], share_layers=True)
    torch.optim.SGD(net.parameters(), lr=0.1)
    for other in (copy.deepcopy(net), net.double(), net.float()):
        assert other.layers[0].weight_ih is other.layers[1].weight_ih
        other.load_state_dict(net.state_dict())
        assert other.layers[0].weight_ih is other.layers[1].weight_ih


def test_linear_is_a_cell_like_the_others() -> None:
    torch.manual_seed(0)
    net = Network(4, [Linear(3)], "none").double()
    layer = net.layers[0]
    x = inputs()
    torch.testing.assert_close(net(x)[0], x @ layer.weight_ih.T + layer.bias_ih)
