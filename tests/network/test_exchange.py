"""Weights in from torch.nn and out to it: the same values, gradients and final states."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from noria.cells import GRU, LSTM, RNN
from noria.errors import WiringError
from noria.network import Network, NetworkState, from_torch, to_torch
from tests.network.reference import assert_close, results, scatter

MODULES: dict[str, Any] = {
    "rnn_tanh": lambda **options: nn.RNN(4, 3, **options),
    "rnn_relu": lambda **options: nn.RNN(4, 3, nonlinearity="relu", **options),
    "lstm": lambda **options: nn.LSTM(4, 3, **options),
    "gru": lambda **options: nn.GRU(4, 3, **options),
}
SHAPES = list(itertools.product(MODULES, [1, 2], [False, True]))


class AsNetwork(nn.Module):
    """A torch module with the arguments, the states and the parameter names of a network."""

    def __init__(self, module: nn.RNN | nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, x: Tensor, state: NetworkState, lengths: Tensor | None
    ) -> tuple[Tensor, NetworkState]:
        parts = 2 if isinstance(self.module, nn.LSTM) else 1
        directions = 2 if self.module.bidirectional else 1
        rows = [part for layer in state for part in layer]
        # ours: one tuple a layer, all of a direction together; torch's: (L·directions, B, H) each
        given = [torch.stack(rows[part::parts]) for part in range(parts)]
        packed: Any = x
        if lengths is not None:
            packed = nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False
            )
        y, end = self.module(packed, tuple(given) if parts == 2 else given[0])
        if lengths is not None:
            y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        ends = end if parts == 2 else (end,)
        layers = range(0, len(ends[0]), directions)
        return y, tuple(
            tuple(part[l + d] for d in range(directions) for part in ends) for l in layers
        )

    def named_parameters(self, *_: Any, **__: Any) -> Any:
        for name, parameter in self.module.named_parameters():
            role, _, place = name.rpartition("_l")
            if place.endswith("_reverse"):
                role, place = f"reverse.{role}", place.removesuffix("_reverse")
            own = f".{place}" if "weight_hh" in role else ""
            yield f"layers.{place}.{role}{own}", parameter


@pytest.mark.parametrize(("cell", "num_layers", "bidirectional"), SHAPES)
@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
@pytest.mark.parametrize("way", ["from_torch", "to_torch"])
@pytest.mark.parametrize("backend", ["oracle", "native"])
def test_agrees_with_torch(
    cell: str,
    num_layers: int,
    bidirectional: bool,
    lengths: list[int] | None,
    way: str,
    backend: Any,
) -> None:
    torch.manual_seed(0)
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "batch_first": True}
    theirs = MODULES[cell](**options).double()
    scatter(theirs)
    ours = from_torch(theirs)
    if way == "to_torch":
        scatter(ours)
        theirs = to_torch(ours)
        assert theirs.batch_first
    ours.backend = backend
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    state = tuple(tuple(torch.randn_like(part) for part in layer) for layer in ours.zero_state(3))
    ragged = None if lengths is None else torch.tensor(lengths)
    wanted = results(AsNetwork(theirs), x, state, ragged)  # type: ignore[arg-type]
    found = results(ours, x, state, ragged)
    assert_close({name: found[name] for name in wanted}, wanted, 1e-12)
    assert len(found) == len(wanted)


def test_what_goes_out_comes_back() -> None:
    ours = Network(4, [GRU(3), GRU(3)], bidirectional=True, dropout=0.2).eval()
    back = from_torch(to_torch(ours))
    assert back.wiring == ours.wiring
    assert back.dropout == 0.2
    assert not back.training
    for (name, one), (_, other) in zip(
        back.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name


def test_the_weights_are_copies() -> None:
    theirs = nn.LSTM(2, 3)
    ours = from_torch(theirs)
    scatter(theirs)
    assert not torch.equal(ours.layers[0].weight_ih, theirs.weight_ih_l0)


@pytest.mark.parametrize(
    "module", [nn.LSTM(2, 3, proj_size=2), nn.GRU(2, 3, bias=False), nn.Linear(2, 3)]
)
def test_a_module_that_is_no_network(module: Any) -> None:
    with pytest.raises(WiringError, match="torch"):
        from_torch(module)


@pytest.mark.parametrize(
    "net",
    [
        Network(2, [LSTM(3)], output_size=1),
        Network(2, [LSTM(3)], "direct"),
        Network(2, [LSTM(3)], "lateral"),
        Network(2, [LSTM(3)], "none"),
        Network(2, [LSTM(3), LSTM(3)], "direct+lateral+indirect"),
        Network(2, [LSTM(3), GRU(3)]),
        Network(2, [LSTM(3), LSTM(2)]),
        Network(2, [RNN(3), RNN(3, "relu")]),
        Network(3, [RNN(3), RNN(3)], share_layers=True),
    ],
)
def test_a_network_that_torch_does_not_have(net: Network) -> None:
    with pytest.raises(WiringError, match=r"torch\.nn has only stacks"):
        to_torch(net)


def test_recurrent_dropout_has_no_counterpart_in_torch() -> None:
    with pytest.raises(WiringError, match="no dropout on the recurrence"):
        to_torch(Network(3, [LSTM(4)], recurrent_dropout=0.5))
