"""Step by step, in chunks and whole: the same outputs, the same states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from noria.cells import GRU, LSTM, RNN
from noria.errors import ShapeError, UsageError
from noria.network import Network, NetworkState
from tests.network.reference import (
    CELLS,
    FEEDBACKS,
    assert_same_bits,
    flat,
    inputs,
    network,
    some_state,
)

T = 9


def in_chunks(
    net: Network, x: Tensor, state: NetworkState, sizes: list[int]
) -> tuple[Tensor, NetworkState]:
    outputs = []
    for part in x.split(sizes, dim=1):
        y, state = net(part, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


@st.composite
def chunkings(draw: st.DrawFn) -> list[int]:
    """Chunk sizes, some of them 0, that add up to T."""
    cuts = sorted(draw(st.lists(st.integers(0, T), max_size=8)))
    return [end - start for start, end in zip([0, *cuts], [*cuts, T], strict=True)]


@given(st.sampled_from(list(CELLS)), st.sampled_from(list(FEEDBACKS)), chunkings())
@settings(max_examples=100, deadline=None)
def test_any_chunking_is_the_whole(cell: str, feedback: str, sizes: list[int]) -> None:
    net = network(cell, feedback)
    x, state = inputs(steps=T), some_state(net)
    y, end = net(x, state)
    found, found_end = in_chunks(net, x, state, sizes)
    torch.testing.assert_close(found, y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flat(found_end), flat(end), rtol=1e-12, atol=1e-12)


@given(
    st.sampled_from(list(CELLS)),
    st.sampled_from(list(FEEDBACKS)),
    chunkings(),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
@torch.no_grad()
def test_the_native_kernel_gives_the_same_bits(
    cell: str, feedback: str, sizes: list[int], dtype: torch.dtype, batch: int
) -> None:
    net = network(cell, feedback, backend="native").to(dtype)
    x = inputs(batch, T).to(dtype)
    state = some_state(net, batch)
    y, end = net(x, state)
    found, found_end = in_chunks(net, x, state, sizes)
    assert_same_bits(found, y)
    for part, wanted in zip(flat(found_end), flat(end), strict=True):
        assert_same_bits(part, wanted)
    row = tuple(tuple(part[:1] for part in layer) for layer in state)
    assert_same_bits(net(x[:1], row)[0], y[:1])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("backend", ["oracle", "auto"])
def test_stepping_is_scanning(cell: str, feedback: str, backend: Any) -> None:
    net = network(cell, feedback, backend=backend)
    x, start = inputs(), some_state(net)
    y, end = net(x, start)
    state = start
    for t in range(x.shape[1]):
        y_t, state = net.step(x[:, t], state)
        torch.testing.assert_close(y_t, y[:, t], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flat(state), flat(end), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hidden_size", [1, 8, 63, 130])
@torch.no_grad()
def test_stepping_gives_the_same_bits_at_odd_sizes(hidden_size: int) -> None:
    torch.manual_seed(0)
    net = Network(7, [LSTM(hidden_size), GRU(hidden_size), RNN(3)], output_size=5, backend="native")
    x = torch.randn(2, 20, 7)
    y, end = net(x)
    state = None
    for t in range(20):
        y_t, state = net.step(x[:, t], state)
        assert_same_bits(y_t, y[:, t])
    assert state is not None
    for part, wanted in zip(flat(state), flat(end), strict=True):
        assert_same_bits(part, wanted)


def test_no_state_is_zeros() -> None:
    net = network("lstm", "full")
    x = inputs()
    assert_same_bits(net(x)[0], net(x, net.zero_state(3))[0])
    assert all(not part.any() for part in flat(net.zero_state(3)))


@pytest.mark.parametrize("feedback", ["direct+lateral", "none", "full"])
@pytest.mark.parametrize("gradients", [False, True])
def test_a_call_leaves_the_state_it_was_given(feedback: str, gradients: bool) -> None:
    net = network("lstm", feedback, backend="auto")
    state = some_state(net)
    before = [part.clone() for part in flat(state)]
    with torch.set_grad_enabled(gradients):
        net(inputs(), state)
    for part, wanted in zip(flat(state), before, strict=True):
        assert_same_bits(part, wanted)


@pytest.mark.parametrize("feedback", ["direct", "full"])
def test_a_rollout_is_a_loop_of_steps(feedback: str) -> None:
    net = network("gru", feedback, output_size=4)
    x, start = inputs(steps=1)[:, 0], some_state(net)
    y, end = net.rollout(x, start, steps=4)
    state = start
    for t in range(4):
        x, state = net.step(x, state)
        assert_same_bits(y[:, t], x)
    assert all(torch.equal(a, b) for a, b in zip(flat(end), flat(state), strict=True))
    assert y.shape == (3, 4, 4)


def test_a_rollout_with_feed() -> None:
    net = network("lstm", output_size=2)
    first, start = inputs(steps=1)[:, 0], some_state(net)
    known = inputs(steps=5)
    fed: list[int] = []

    def feed(y: Tensor, t: int) -> Tensor:
        fed.append(t)
        return torch.cat([y, known[:, t, :2]], dim=1)

    y, _ = net.rollout(first, start, steps=5, feed=feed)
    assert fed == [0, 1, 2, 3]
    inputs_seen = [first, *(torch.cat([y[:, t], known[:, t, :2]], dim=1) for t in range(4))]
    torch.testing.assert_close(net(torch.stack(inputs_seen, dim=1), start)[0], y)


def test_a_rollout_sends_gradients_through_its_own_outputs() -> None:
    net = network("rnn_tanh", output_size=4)
    x = inputs(steps=1)[:, 0].requires_grad_()
    y, _ = net.rollout(x, steps=3)
    (through,) = torch.autograd.grad(y[:, 2].sum(), x)
    assert through.all()


def test_a_rollout_that_cannot_be() -> None:
    net = network("lstm", output_size=2)
    with pytest.raises(ShapeError, match=r"O=2 is not the input's I=4: pass feed"):
        net.rollout(inputs()[:, 0], steps=2)
    with pytest.raises(UsageError, match="steps is 0"):
        net.rollout(inputs()[:, 0], steps=0, feed=lambda y, _: y)
