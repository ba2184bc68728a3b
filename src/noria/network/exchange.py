"""Weights in from, and out to, torch.nn's RNN, LSTM and GRU."""

from __future__ import annotations

import torch
from torch import nn

from noria.cells import GRU, LSTM, RNN, Cell
from noria.errors import WiringError
from noria.network.network import Network

__all__ = ["from_torch", "to_torch"]


def from_torch(module: nn.RNN | nn.LSTM | nn.GRU) -> Network:
    """A network with the cells, sizes and weights of a torch module.

    Args:
        module: One of torch's recurrent modules, with biases and without projections. A module
            with batch_first=False is taken as well; the network is always batch first.

    Returns:
        A network that gives the module's results to float rounding.

    Raises:
        WiringError: if the module has projections, no biases, or is of another type.

    >>> y, _ = from_torch(torch.nn.GRU(3, 4, num_layers=2))(torch.zeros(1, 5, 3))
    >>> y.shape
    torch.Size([1, 5, 4])
    """
    cell: Cell
    if isinstance(module, nn.LSTM):
        cell = LSTM(module.hidden_size)
    elif isinstance(module, nn.GRU):
        cell = GRU(module.hidden_size)
    elif isinstance(module, nn.RNN):
        cell = RNN(module.hidden_size, module.nonlinearity)
    else:
        raise WiringError(f"{type(module).__name__} is not torch's RNN, LSTM or GRU")
    if not module.bias or module.proj_size:
        raise WiringError("a torch module without biases or with proj_size has no counterpart here")
    network = Network(
        module.input_size,
        [cell] * module.num_layers,
        bidirectional=module.bidirectional,
        dropout=module.dropout,
    )
    weight = next(module.parameters())
    network.to(device=weight.device, dtype=weight.dtype)
    _copy(network, module, inward=True)
    return network.train(module.training)


def to_torch(network: Network) -> nn.RNN | nn.LSTM | nn.GRU:
    """The torch module, batch first, that gives this network's results to float rounding.

    Args:
        network: Layers of one cell and size, wired "direct+lateral", without output layer.

    Raises:
        WiringError: if torch has no such module.
    """
    wiring = network.wiring
    layers = wiring.layers
    if any(l.normalised for l in layers):
        raise WiringError("torch.nn has no layer normalisation inside the recurrence")
    alike = all((l.cell, l.hidden_size) == (layers[0].cell, layers[0].hidden_size) for l in layers)
    classical = [(edge.target, edge.source, edge.kind) for edge in wiring.edges] == [
        (index, index, "dense") for index in range(len(layers))
    ]
    if wiring.has_output or wiring.share_layers or not alike or not classical:
        raise WiringError(
            "torch.nn has only stacks of one cell and size, wired direct+lateral, without an"
            " output layer and without shared layers"
        )
    if network.recurrent_dropout or network.weight_dropout:
        raise WiringError(
            "torch.nn has no dropout on the recurrence: set recurrent_dropout and weight_dropout"
            " to 0"
        )
    sizes = {"input_size": wiring.input_size, "hidden_size": layers[0].hidden_size}
    options = {
        "num_layers": len(layers),
        "batch_first": True,
        "bidirectional": wiring.bidirectional,
        "dropout": network.dropout if len(layers) > 1 else 0.0,
    }
    cell = network.cells[0]
    module: nn.RNN | nn.LSTM | nn.GRU
    if isinstance(cell, RNN):
        module = nn.RNN(**sizes, **options, nonlinearity=cell.nonlinearity)
    else:
        kind = nn.LSTM if isinstance(cell, LSTM) else nn.GRU
        module = kind(**sizes, **options)
    weight = next(network.parameters())
    module.to(device=weight.device, dtype=weight.dtype)
    _copy(network, module, inward=False)
    return module.train(network.training)


@torch.no_grad()
def _copy(network: Network, module: nn.Module, *, inward: bool) -> None:
    """Copy every weight, torch's into ours (inward) or ours into torch's."""
    for index in range(len(network.wiring.layers)):
        for prefix in network.wiring.directions(index):
            suffix = "_reverse" if "reverse" in prefix else ""
            for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                name = f"{prefix}{role}" + (f".{index}" if role == "weight_hh" else "")
                ours = network.get_parameter(name)
                theirs = module.get_parameter(f"{role}_l{index}{suffix}")
                if inward:
                    ours.copy_(theirs)
                else:
                    theirs.copy_(ours)
