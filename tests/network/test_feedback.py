"""What each wiring computes, and that what it forbids is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from noria.cells import LSTM, RNN, Linear
from noria.network import Network
from tests.network.reference import (
    CELLS,
    FEEDBACKS,
    LAYERED,
    assert_close,
    equation,
    flat,
    inputs,
    network,
    results,
    some_state,
)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("feedback", "output_size"),
    # the adjacency names the output's neurons too
    [*((f, 2) for f in FEEDBACKS), *((f, None) for f in FEEDBACKS if f != "adjacency")],
)
def test_is_the_equation(cell: str, feedback: str, output_size: int | None) -> None:
    net = network(cell, feedback, output_size=output_size)
    x, state = inputs(), some_state(net)
    y, end = net(x, state)
    wanted, wanted_end = equation(net, x, state)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flat(end), flat(wanted_end), rtol=1e-12, atol=1e-12)


def test_three_layers_that_all_feed_all() -> None:
    torch.manual_seed(2)
    net = Network(2, [LSTM(3), RNN(2), LSTM(1)], "full", output_size=2).double()
    x, state = inputs(width=2), some_state(net)
    torch.testing.assert_close(net(x, state)[0], equation(net, x, state)[0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", LAYERED)
@pytest.mark.parametrize("lengths", [None, [5, 0, 2]])
def test_the_stack_advanced_together_is_the_layers_one_by_one(
    cell: str, feedback: str, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(cell, feedback, dropout=0.4, recurrent_dropout=0.3)
    x, state = inputs(), some_state(net)
    ragged = None if lengths is None else torch.tensor(lengths)
    torch.manual_seed(5)
    one_by_one = results(net, x, state, ragged)
    monkeypatch.setattr(Network, "_scan_layers", Network._scan_stack)
    torch.manual_seed(5)
    assert_close(results(net, x, state, ragged), one_by_one)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", ["none", "direct", "lateral", "adjacency"])
def test_forbidden_connections_stay_zero_in_training(cell: str, feedback: str) -> None:
    torch.manual_seed(3)
    net = network(cell, feedback, backend="auto")
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05, weight_decay=0.1)
    x, target = inputs(), torch.randn(3, 5, 2, dtype=torch.float64)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for _ in range(40):
        optimizer.zero_grad()
        functional.mse_loss(net(x)[0], target).backward()
        optimizer.step()

    assert not all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    for layer in net.layers:
        for edge in layer.edges:
            block = layer.recurrent(edge.source)
            blocks = block.reshape(len(layer.layer.gates), *edge.shape)
            forbidden = ~torch.from_numpy(edge.mask)
            assert blocks[:, ~forbidden].all()
            assert not any(blocks[:, forbidden].detach().numpy().tobytes())


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_exactly_the_allowed_neurons_are_heard(cell: str, feedback: str) -> None:
    net = network(cell, feedback)
    with torch.no_grad():
        for layer in net.layers[1:]:  # else one layer hears another through those below it
            layer.weight_ih.zero_()
    x = torch.ones(1, 4, dtype=torch.float64)
    state = some_state(net, batch=1)
    sizes = [layer.hidden_size for layer in net.wiring.layers]
    neurons = [range(sum(sizes[:l]), sum(sizes[: l + 1])) for l in range(len(sizes))]

    def after(h: Tensor) -> Tensor:
        """h of every neuron after a step from the h given, (N,) to (N,)."""
        start = tuple(
            (part[None], *own[1:]) for part, own in zip(h.split(sizes), state, strict=True)
        )
        return torch.cat([own[0][0] for own in net.step(x, start)[1]])

    allowed = np.zeros((sum(sizes), sum(sizes)), dtype=bool)
    for edge in net.wiring.edges:
        allowed[np.ix_(neurons[edge.target], neurons[edge.source])] = edge.mask
    if cell == "gru":  # its update gate keeps some of its own h
        for layer, own in zip(net.wiring.layers, neurons, strict=True):
            allowed[own, own] |= layer.carries_state

    h = torch.cat([own[0][0] for own in state])
    gradients = torch.autograd.functional.jacobian(after, h)
    assert np.array_equal(gradients != 0.0, allowed)
    for source in range(len(h)):
        moved = h.clone()
        moved[source] += 3.0
        assert np.array_equal(after(moved) != after(h), allowed[:, source])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", ["oracle", "native"])
def test_none_remembers_nothing(cell: str, backend: str) -> None:
    net = network(cell, "none", backend=backend)
    step = inputs(steps=1)
    x = torch.cat([inputs(steps=4), step, inputs(steps=2), step], dim=1)
    y, end = net(x, some_state(net))
    torch.testing.assert_close(y[:, 4], y[:, 7], rtol=1e-14, atol=1e-14)
    alone, end_alone = net(step)
    torch.testing.assert_close(y[:, 4], alone[:, 0], rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(flat(end), flat(end_alone), rtol=1e-14, atol=1e-14)


def test_none_in_both_directions_ends_where_each_direction_ends() -> None:
    net = network("gru", "none", bidirectional=True, output_size=None)
    x = inputs()
    lengths = torch.tensor([5, 3, 0])
    start = some_state(net)
    y, end = net(x, start, lengths)
    forward, backward = end[1]
    torch.testing.assert_close(forward[1], y[1, 2, :2])
    torch.testing.assert_close(backward[1], y[1, 0, 2:])
    assert torch.equal(backward[2], start[1][1][2])
    y, end = net(x)
    torch.testing.assert_close(end[1], (y[:, -1, :2], y[:, 0, 2:]))


@pytest.mark.parametrize("backend", ["native", "oracle"])
def test_a_linear_layer_without_feedback_runs_both_ways(backend: str) -> None:
    net = Network(3, [Linear(4)], "none", bidirectional=True, backend=backend)
    y, state = net(torch.randn(2, 5, 3))
    assert y.shape == (2, 5, net.wiring.output_size)
    forward, backward = state[0]
    torch.testing.assert_close((forward, backward), (y[:, -1, :4], y[:, 0, 4:]))


@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize(("batch", "steps"), [(2, 0), (0, 3)])
def test_nothing_to_do(feedback: str, batch: int, steps: int) -> None:
    net = network("lstm", feedback)
    state = some_state(net, batch)
    y, end = net(inputs(batch, steps), state)
    assert y.shape == (batch, steps, 2)
    for found, given in zip(flat(end), flat(state), strict=True):
        assert torch.equal(found, given)
