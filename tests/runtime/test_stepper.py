"""The network without torch: the bits of `noria.Network`, whatever its wiring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.cells import GRU, LSTM, RNN
from noria.errors import ModelFileError, ShapeError, UsageError
from noria.network import Network
from noria.runtime import NetworkStepper
from tests.network.reference import CELLS, FEEDBACKS, network, scatter


def stepper_of(net: Network) -> NetworkStepper:
    return NetworkStepper(net.wiring, {n: p.detach().numpy() for n, p in net.named_parameters()})


def bits(arrays: Any) -> list[bytes]:
    return [np.asarray(array).tobytes() for array in arrays]


@given(
    st.sampled_from(list(CELLS)),
    st.sampled_from(list(FEEDBACKS)),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([None, 2]),
    st.integers(1, 9),
)
@settings(max_examples=120, deadline=None)
def test_steps_and_scans_are_the_network(
    cell: str, feedback: str, dtype: torch.dtype, output_size: int | None, cut: int
) -> None:
    if feedback.endswith("adjacency"):
        output_size = 2
    net = network(cell, feedback, backend="native", output_size=output_size).to(dtype).eval()
    x = torch.randn(3, 9, 4, dtype=dtype)
    with torch.no_grad():
        y, state = net(x)
    stepper = stepper_of(net)
    assert stepper.dtype == y.numpy().dtype
    own, rows = stepper.zero_state(3), []
    for t in range(9):
        row, own = stepper.step(x[:, t].numpy(), own)
        rows.append(row)
    assert np.stack(rows, axis=1).tobytes() == y.numpy().tobytes()
    assert bits(p for part in own for p in part) == bits(p for part in state for p in part)
    first, own = stepper.scan(x[:, :cut].numpy(), stepper.zero_state(3))
    rest, own = stepper.scan(x[:, cut:].numpy(), own)
    assert np.concatenate([first, rest], axis=1).tobytes() == y.numpy().tobytes()
    assert bits(p for part in own for p in part) == bits(p for part in state for p in part)


def test_lengths_and_shared_layers() -> None:
    torch.manual_seed(0)
    net = Network(5, [GRU(5), GRU(5), GRU(5)], share_layers=True, output_size=2).eval()
    x, lengths = torch.randn(4, 6, 5), torch.tensor([6, 0, 3, 1])
    with torch.no_grad():
        y, state = net(x, None, lengths)
    stepper = stepper_of(net)
    found, own = stepper.scan(x.numpy(), stepper.zero_state(4), lengths.numpy())
    assert found.tobytes() == y.numpy().tobytes()
    hidden = [p for part in state[:-1] for p in part]
    assert bits(p for part in own[:-1] for p in part) == bits(hidden)


def test_a_state_is_never_changed() -> None:
    net = network("lstm", "full", backend="native")
    stepper = stepper_of(net)
    state = tuple(tuple(np.random.default_rng(1).normal(size=p.shape) for p in part)
                  for part in stepper.zero_state(2))  # fmt: skip
    before = bits(p for part in state for p in part)
    stepper.step(np.ones((2, 4)), state)
    stepper.scan(np.ones((2, 3, 4)), state)
    assert bits(p for part in state for p in part) == before


def test_a_bidirectional_network_is_refused() -> None:
    net = Network(2, [LSTM(3)], bidirectional=True)
    with pytest.raises(UsageError, match="bidirectional network cannot step"):
        stepper_of(net)


def test_weights_of_another_network_are_refused() -> None:
    net = network()
    weights = {n: p.detach().numpy() for n, p in net.named_parameters()}
    name = "layers.1.weight_hh.1"
    lacking = {n: w for n, w in weights.items() if n != name}
    for wrong, message in [
        (lacking, f"lacks the weight '{name}'"),
        (weights | {"layers.7.bias": np.zeros(3)}, "has a weight of no layer, 'layers.7.bias'"),
        (weights | {name: weights[name][:-1]}, rf"{name}' has shape \(7, 2\), expected \(8, 2\)"),
        (weights | {name: weights[name].astype("float32")}, "of several types"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            NetworkStepper(net.wiring, wrong)


def test_a_wrong_input_is_refused() -> None:
    stepper = stepper_of(network())
    with pytest.raises(ShapeError, match=r"x has shape \(2, 3\), expected \(B, I=4\)"):
        stepper.step(np.zeros((2, 3)), stepper.zero_state(2))
    with pytest.raises(ShapeError, match="state"):
        stepper.step(np.zeros((2, 4)), stepper.zero_state(3))


def test_saved_and_loaded_a_network_is_the_same(tmp_path: Any) -> None:
    for number, net in enumerate(
        [
            network("gru", "adjacency", backend="native").float(),
            Network(2, [LSTM(3), RNN(3)], bidirectional=True, output_size=1).double(),
        ]
    ):
        scatter(net)
        path = tmp_path / f"{number}.noria"
        net.eval().save(path)
        loaded = Network.load(path)
        x = torch.randn(2, 5, net.wiring.input_size, dtype=next(net.parameters()).dtype)
        with torch.no_grad():
            assert torch.equal(loaded(x)[0], net(x)[0])
        assert not loaded.training
        assert loaded.wiring == net.wiring
