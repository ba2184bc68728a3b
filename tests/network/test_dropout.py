"""Dropout: one mask a sequence, fair on average, gone in evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from noria.cells import LSTM, RNN
from noria.errors import UsageError
from noria.network import Network

BACKENDS = ["native", "oracle"]


def summing(wide: int, feedback: str = "direct", **options: Any) -> Network:
    """A ReLU layer that copies its one input to many neurons, and an output that adds them up."""
    net = Network(1, [RNN(wide, "relu")], feedback, output_size=1, **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.layers[0].weight_ih.fill_(1.0)
        net.layers[1].weight_ih.fill_(1.0)
    return net


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_mask_a_sequence(backend: Any) -> None:
    torch.manual_seed(0)
    net = summing(100, dropout=0.25, backend=backend)
    y, _ = net(torch.ones(200, 6, 1))
    kept = y[:, 0, 0] * 0.75
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-3)  # a count of neurons
    torch.testing.assert_close(y, y[:, :1].expand(y.shape))  # constant over time
    assert len(kept.unique()) > 5  # another for each row
    assert not torch.equal(y, net(torch.ones(200, 6, 1))[0])  # another for each call
    assert y.mean().item() == pytest.approx(100, abs=1.5)  # 200 · 100 draws: 5 deviations
    assert kept.std().item() == pytest.approx((100 * 0.25 * 0.75) ** 0.5, rel=0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_mask_a_sequence_on_the_way_back(backend: Any) -> None:
    torch.manual_seed(0)
    net = summing(100, recurrent_dropout=0.25, backend=backend)
    with torch.no_grad():
        net.layers[0].weight_hh["0"].fill_(1.0)
    x = torch.zeros(200, 4, 1)
    x[:, 0] = 1.0
    y, _ = net(x)
    assert (y[:, 0] == 100).all()  # nothing has come back yet
    kept = y[:, 1, 0] * 0.75
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-3)
    # the same neurons every time: what is left only grows by 1/0.75
    torch.testing.assert_close(y[:, 3], y[:, 1] / 0.75**2)
    assert y[:, 1].mean().item() == pytest.approx(100, abs=1.5)
    assert len(kept.unique()) > 5


def test_no_dropout_in_evaluation() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 1)
    with_dropout = summing(10, dropout=0.5, recurrent_dropout=0.5).eval()
    assert torch.equal(with_dropout(x)[0], summing(10)(x)[0])


def test_the_input_and_the_output_are_not_dropped() -> None:
    torch.manual_seed(0)
    one_layer = Network(3, [LSTM(4)], dropout=0.9)
    x = torch.randn(2, 5, 3)
    assert torch.equal(one_layer(x)[0], one_layer.eval()(x)[0])


@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_backends_and_wirings_drop_alike(feedback: str) -> None:
    torch.manual_seed(0)
    net = Network(3, [LSTM(4), RNN(5)], feedback, dropout=0.5, recurrent_dropout=0.5).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    found = []
    for backend in ("auto", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        torch.manual_seed(1)
        found.append(net(x)[0])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_what_is_no_probability(name: str, p: float) -> None:
    with pytest.raises(UsageError, match=f"^{name} is"):
        Network(1, [RNN(1)], **{name: p})  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_mask_of_weights_a_call(backend: Any) -> None:
    torch.manual_seed(0)
    net = summing(40, "direct+lateral", weight_dropout=0.25, backend=backend)
    with torch.no_grad():
        net.layers[0].weight_hh["0"].fill_(1.0)
    x = torch.zeros(7, 3, 1)
    x[:, 0] = 1.0
    y, _ = net(x)
    assert (y[:, 0] == 40).all()  # nothing has come back yet
    torch.testing.assert_close(y, y[:1].expand(y.shape))  # the same for every row
    kept = y[0, 1, 0] * 0.75
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-2)  # a count of weights
    assert kept.item() == pytest.approx(40 * 40 * 0.75, rel=0.1)
    assert not torch.equal(y, net(x)[0])  # another for each call
    y[:, 1].sum().backward()
    grad = net.layers[0].weight_hh["0"].grad
    assert grad is not None
    assert (grad == 0).sum() == 1600 - round(kept.item())  # none where the weight was dropped
    assert torch.equal(net.eval()(x)[0][:, 1], torch.full((7, 1), 1600.0))


@pytest.mark.parametrize("feedback", ["direct", "lateral", "direct+lateral", "full"])
def test_backends_and_wirings_drop_weights_alike(feedback: str) -> None:
    torch.manual_seed(0)
    net = Network(3, [LSTM(4), RNN(5)], feedback, weight_dropout=0.5).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    found = []
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        torch.manual_seed(7)
        y, _ = net(x)
        net.zero_grad()
        y.square().sum().backward()
        found.append([y, *(p.grad for p in net.parameters() if p.grad is not None)])
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-11)
    assert not torch.equal(found[0][0], net.eval()(x)[0])
