"""Gradients of every wiring against finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from noria.network import Network
from tests.network.reference import CELLS, FEEDBACKS, LAYERED, flat, inputs, network, some_state


def check(net: Network) -> None:
    x = inputs(batch=3, steps=3).requires_grad_()
    lengths = torch.tensor([3, 1, 0])
    start = some_state(net)
    weights = dict(net.named_parameters())

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        own = dict(zip(weights, rest, strict=False))
        parts = list(rest[len(weights) :])
        given = tuple(tuple(parts.pop(0) for _ in layer) for layer in start)
        y, end = functional_call(net, own, (x, given, lengths))
        return (y, *flat(end))

    arguments = (x, *weights.values(), *(part.requires_grad_() for part in flat(start)))
    assert torch.autograd.gradcheck(run, arguments, fast_mode=True)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_oracle(cell: str, feedback: str) -> None:
    check(network(cell, feedback))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", ["none", "direct", "lateral", "direct+lateral"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_native(cell: str, feedback: str, bidirectional: bool) -> None:
    check(network(cell, feedback, backend="native", bidirectional=bidirectional))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", [name for name in FEEDBACKS if name not in LAYERED])
def test_native_stack(cell: str, feedback: str) -> None:
    check(network(cell, feedback, backend="native"))


@pytest.mark.parametrize("backend", ["oracle", "auto"])
@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_shared_layers(backend: Any, feedback: str) -> None:
    torch.manual_seed(0)
    cells = [CELLS["lstm"], CELLS["lstm"]]
    check(Network(4, cells, feedback, share_layers=True, backend=backend).double())


def test_lengths_may_change_before_the_backward_pass() -> None:
    net = network(backend="native", output_size=None)
    x = inputs()
    gradients = []
    for later in (2, 1):
        lengths = torch.full((len(x),), 2)
        y, _ = net(x, lengths=lengths)
        lengths.fill_(later)
        net.zero_grad()
        y.sum().backward()
        gradients.append(net.layers[0].weight_ih.grad.clone())
    assert torch.equal(*gradients)


@pytest.mark.parametrize("what", ["output", "weight", "input"])
def test_a_change_in_place_before_the_backward_pass_is_noticed(what: str) -> None:
    net = network(backend="native", output_size=None)
    x = inputs()
    y, _ = net(x)
    changed = {"output": y, "weight": net.layers[0].weight_hh["0"], "input": x}[what]
    with torch.no_grad():
        changed.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
