"""Feedback between layers: the native kernel against the oracle, and its bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from noria import kernels
from noria.cells import GRU, LSTM, RNN, Cell
from noria.network import Network
from tests.network.reference import (
    assert_close,
    assert_same_bits,
    flat,
    inputs,
    results,
    scatter,
    some_state,
)

STACKS: dict[str, tuple[list[Cell], int | None]] = {
    "lstm-gru with output": ([LSTM(19), GRU(5)], 3),
    "gru-lstm": ([GRU(8), LSTM(17)], None),
    "relu-lstm-tanh with output": ([RNN(3, "relu"), LSTM(2), RNN(7)], 1),
    "one lstm with output": ([LSTM(9)], 2),
}


def over_layers(sizes: list[int]) -> Any:
    """Each layer feeds the one before it and the first feeds itself; nobody feeds the last."""
    adjacency = np.eye(len(sizes), k=1, dtype=bool)
    adjacency[0, 0] = True
    return adjacency


def over_neurons(sizes: list[int]) -> Any:
    adjacency = np.random.default_rng(0).random((sum(sizes), sum(sizes))) < 0.3
    adjacency[0, -1] = True
    return adjacency


def by_layer(sizes: list[int]) -> Any:
    """The first layer carries no state of its own, and is read by the later ones."""
    return ["none", *["full"] * (len(sizes) - 1)]


FEEDBACKS: dict[str, Any] = {
    "indirect": "indirect",
    "full": "full",
    "direct+indirect": "direct+indirect",
    "lateral+indirect": "lateral+indirect",
    "adjacency over layers": over_layers,
    "adjacency over neurons": over_neurons,
    "none below full": by_layer,
}
SHAPES = [(1, 1, 1), (3, 7, 5), (17, 2, 4)]


def stack(name: str, feedback: str, width: int = 4, **options: Any) -> Network:
    torch.manual_seed(1)
    cells, output_size = STACKS[name]
    sizes = [cell.hidden_size for cell in cells] + ([] if output_size is None else [output_size])
    wiring = FEEDBACKS[feedback]
    if not isinstance(wiring, str):
        wiring = wiring(sizes)
    made = Network(width, cells, wiring, output_size, **options).double()
    scatter(made)
    return made


# one layer alone has no other to feed it
CASES = [(name, feedback) for name in STACKS for feedback in FEEDBACKS]


@pytest.mark.parametrize(("name", "feedback"), CASES)
@pytest.mark.parametrize(("batch", "steps", "width"), SHAPES)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_native_is_the_oracle(
    name: str, feedback: str, batch: int, steps: int, width: int, ragged: bool, dropout: float
) -> None:
    net = stack(name, feedback, width, dropout=dropout, recurrent_dropout=dropout)
    assert not net.wiring.layered
    x, state = inputs(batch, steps, width), some_state(net, batch)
    lengths = torch.arange(batch) % (steps + 1) if ragged else None
    found = {}
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        torch.manual_seed(5)
        found[backend] = results(net, x, state, lengths)
    assert_close(found["native"], found["oracle"], 1e-10)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("feedback", ["indirect", "full", "adjacency over neurons"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_steps_chunks_and_rows_give_the_same_bits(
    name: str, feedback: str, dtype: torch.dtype
) -> None:
    net = stack(name, feedback, backend="native").to(dtype)
    x, start = inputs(4, 9).to(dtype), some_state(net, 4)
    y, end = net(x, start)
    for sizes in ([1] * 9, [4, 0, 5]):
        state, ys = start, []
        for part in x.split(sizes, dim=1):
            y_part, state = net(part, state)
            ys.append(y_part)
        assert_same_bits(torch.cat(ys, dim=1), y)
        for part, wanted in zip(flat(state), flat(end), strict=True):
            assert_same_bits(part, wanted)
    row = tuple(tuple(part[2:3] for part in layer) for layer in start)
    assert_same_bits(net(x[2:3], row)[0], y[2:3])
    ragged = net(x, start, torch.tensor([9, 4, 0, 6]))[0]
    assert_same_bits(ragged[1, :4], y[1, :4])
    assert not ragged[1, 4:].any()


def test_gradients_change_no_bits() -> None:
    net = stack("lstm-gru with output", "full", backend="native")
    x = inputs()
    with torch.no_grad():
        without = net(x)[0]
    assert_same_bits(net(x)[0], without)


def test_poison_in_the_padding_is_not_read() -> None:
    net = stack("lstm-gru with output", "full", backend="native")
    x, lengths = inputs(), torch.tensor([5, 0, 2])
    poisoned = x.clone()
    poisoned[1], poisoned[2, 2:] = torch.nan, torch.inf
    clean = results(net, x, None, lengths)
    for name, value in results(net, poisoned, None, lengths).items():
        assert_same_bits(value, clean[name])


def test_auto_takes_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    scan = kernels.scan_stack
    monkeypatch.setattr(
        kernels, "scan_stack", lambda *a, **k: calls.append(len(a[0])) or scan(*a, **k)
    )
    stack("lstm-gru with output", "full")(inputs())
    assert calls == [3]
    stack("lstm-gru with output", "full", backend="oracle")(inputs())
    assert calls == [3]


def test_shared_layers_share_their_gradient() -> None:
    torch.manual_seed(0)
    found = {}
    net = Network(6, [LSTM(6), LSTM(6), LSTM(6)], "full", share_layers=True).double()
    x = inputs(width=6)
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        found[backend] = results(net, x, None)
    assert_close(found["native"], found["oracle"], 1e-11)


@pytest.mark.parametrize("what", ["output", "weight", "bias", "input"])
def test_a_change_in_place_before_the_backward_pass_is_noticed(what: str) -> None:
    net = stack("gru-lstm", "full", backend="native")
    x = inputs()
    y, _ = net(x)
    changed = {
        "output": y,
        "weight": net.layers[0].weight_hh["1"],
        "bias": net.layers[1].bias_hh,
        "input": x,
    }[what]
    with torch.no_grad():
        changed.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
