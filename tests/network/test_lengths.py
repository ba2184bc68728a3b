"""Ragged batches: what stands in the padding never shows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from noria.network import Network
from tests.network.reference import (
    CELLS,
    FEEDBACKS,
    LAYERED,
    assert_close,
    assert_same_bits,
    flat,
    inputs,
    network,
    results,
    some_state,
)

LENGTHS = [5, 0, 2, 4]
NETWORKS = [
    *((cell, feedback, {}) for cell in CELLS for feedback in FEEDBACKS),
    *((cell, feedback, {"backend": "native"}) for cell in CELLS for feedback in LAYERED[:4]),
    *((cell, feedback, {"bidirectional": True}) for cell in CELLS for feedback in LAYERED),
    *((c, "direct+lateral", {"bidirectional": True, "backend": "native"}) for c in CELLS),
    *((c, "direct", {"recurrent_dropout": 0.5, "dropout": 0.5}) for c in CELLS),
    ("lstm", "full", {"recurrent_dropout": 0.5, "dropout": 0.5}),
    ("gru", "direct+lateral", {"output_size": None}),
]


def ragged(cell: str, feedback: str, options: dict[str, Any]) -> tuple[Network, Any, Any, Any]:
    net = network(cell, feedback, **options)
    return net, inputs(batch=4), some_state(net, batch=4), torch.tensor(LENGTHS)


@pytest.mark.parametrize(("cell", "feedback", "options"), NETWORKS)
def test_padding_never_shows(cell: str, feedback: str, options: dict[str, Any]) -> None:
    net, x, state, lengths = ragged(cell, feedback, options)
    padded = x.clone()
    for row, length in enumerate(LENGTHS):
        padded[row, length:] = torch.nan
    torch.manual_seed(7)
    clean = results(net, x, state, lengths)
    torch.manual_seed(7)
    poisoned = results(net, padded, state, lengths)
    for name, value in clean.items():
        assert torch.isfinite(value).all(), name
        assert_same_bits(poisoned[name], value)
    for row, length in enumerate(LENGTHS):
        assert not clean["y"][row, length:].any()
        assert not clean["grad x"][row, length:].any()


@pytest.mark.parametrize(("cell", "feedback", "options"), NETWORKS)
def test_a_row_alone_is_the_row_in_the_batch(
    cell: str, feedback: str, options: dict[str, Any]
) -> None:
    net, x, state, lengths = ragged(cell, feedback, options)
    net.eval()
    y, end = net(x, state, lengths)
    for row, length in enumerate(LENGTHS):
        own = tuple(tuple(part[row, None] for part in layer) for layer in state)
        alone, alone_end = net(x[row, None, :length], own)
        torch.testing.assert_close(y[row, None, :length], alone, rtol=1e-12, atol=1e-12)
        for part, wanted in zip(flat(end), flat(alone_end), strict=True):
            torch.testing.assert_close(part[row, None], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("cell", "feedback", "options"), NETWORKS)
def test_a_row_without_steps_keeps_its_state(
    cell: str, feedback: str, options: dict[str, Any]
) -> None:
    net, x, state, lengths = ragged(cell, feedback, options)
    for part, given in zip(flat(net(x, state, lengths)[1]), flat(state), strict=True):
        assert_same_bits(part[1], given[1])


@pytest.mark.parametrize(("cell", "feedback", "options"), NETWORKS)
def test_full_lengths_are_no_lengths(cell: str, feedback: str, options: dict[str, Any]) -> None:
    net, x, state, _ = ragged(cell, feedback, options)
    torch.manual_seed(7)
    without = results(net, x, state)
    torch.manual_seed(7)
    assert_close(results(net, x, state, torch.full((4,), 5)), without, 1e-13)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_lengths_of_any_integers(dtype: torch.dtype) -> None:
    net, x, state, lengths = ragged("lstm", "direct", {})
    assert_same_bits(net(x, state, lengths.to(dtype))[0], net(x, state, lengths)[0])
    assert_same_bits(net(x, state, LENGTHS)[0], net(x, state, lengths)[0])
