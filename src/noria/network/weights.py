"""The weights of one layer, and their initial values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.wiring import Edge, Layer

__all__ = ["LayerWeights"]


class LayerWeights(nn.Module):
    """W, R and b of one layer, under the names that `Wiring.parameters` gives them.

    A layer that also runs backwards in time has a second set under `reverse`. A diagonal or
    masked block keeps only the weights that the wiring allows, (G, connections); what is
    forbidden has no parameter, so no optimizer can move it from zero.

    Initial values: W by Glorot's rule, each gate for itself; R orthogonal, scaled so that the sum
    of several blocks keeps the length of a vector; a diagonal R uniform in (0, 1) as in IndRNN;
    biases zero but those of a gate f, which is one; a cell's own parameters zero; gains of a
    normalisation one.

    Source: Glorot & Bengio 2010; Saxe et al. 2014; Jozefowicz et al. 2015; Li et al. 2018.
    """

    weight_ih: nn.Parameter
    bias_ih: nn.Parameter
    bias_hh: nn.Parameter | None
    weight_cell: nn.Parameter | None
    weight_norm: nn.Parameter | None
    reverse: LayerWeights | None

    def __init__(self, layer: Layer, edges: Sequence[Edge], *, bidirectional: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.edges = tuple(edges)
        self.weight_ih = nn.Parameter(torch.empty(layer.rows, layer.input_size))
        self.bias_ih = nn.Parameter(torch.empty(layer.rows))
        self.bias_hh = None if layer.cell == "linear" else nn.Parameter(torch.empty(layer.rows))
        self.weight_cell = None
        if layer.parameters:
            self.weight_cell = nn.Parameter(torch.empty(len(layer.parameters), layer.hidden_size))
        self.weight_norm = None
        if layer.normalised:
            self.weight_norm = nn.Parameter(torch.empty(len(layer.normalised), layer.hidden_size))
        self.weight_hh = nn.ParameterDict()
        for edge in self.edges:
            shape = edge.parameter_shape(len(layer.gates))
            self.weight_hh[str(edge.source)] = nn.Parameter(torch.empty(shape))
            if edge.kind in ("off_diagonal", "masked"):
                allowed = torch.from_numpy(edge.mask.reshape(-1).nonzero()[0])
                self.register_buffer(f"allowed_{edge.source}", allowed, persistent=False)
        self.reset_parameters()
        self.reverse = LayerWeights(layer, edges) if bidirectional else None

    @property
    def directions(self) -> tuple[LayerWeights, ...]:
        """The weights forwards in time, then those backwards if there are any."""
        return (self,) if self.reverse is None else (self, self.reverse)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial weights from torch's global random generator."""
        layer = self.layer
        for block in self.weight_ih.chunk(len(layer.gates)):
            nn.init.xavier_uniform_(block)
        self.bias_ih.zero_()
        if self.bias_hh is not None:
            self.bias_hh.zero_()
        if self.weight_cell is not None:
            self.weight_cell.zero_()
        if self.weight_norm is not None:
            self.weight_norm.fill_(1.0)
        if "f" in layer.gates:
            forget = layer.gates.index("f") * layer.hidden_size
            self.bias_ih[forget : forget + layer.hidden_size] = 1.0
        for edge in self.edges:
            weight = self.weight_hh[str(edge.source)]
            if edge.kind == "diagonal":
                weight.uniform_(0.0, 1.0)
                continue
            mask = torch.from_numpy(edge.mask)
            blocks = []
            for _ in layer.gates:
                block = torch.empty(edge.shape)
                nn.init.orthogonal_(block, gain=1 / math.sqrt(len(self.edges)))
                blocks.append(block if edge.kind == "dense" else block[mask])
            joined = torch.cat(blocks) if edge.kind == "dense" else torch.stack(blocks)
            weight.copy_(joined)

    def recurrent(self, source: int, dropout: float = 0.0) -> Tensor:
        """The block R from layer `source` as a matrix, zeros where the wiring forbids.

        Args:
            source: Index of the layer that sends.
            dropout: Probability of dropping each weight, the others grown to make up for it.

        Returns:
            Shape (G·H, K); differentiable.
        """
        edge = next(edge for edge in self.edges if edge.source == source)
        weight: Tensor = self.weight_hh[str(source)]
        if dropout:
            weight = functional.dropout(weight, dropout)
        rows, columns = edge.shape
        gates = len(self.layer.gates)
        if edge.kind == "dense":
            return weight
        if edge.kind == "diagonal":
            return weight.diag_embed().reshape(gates * rows, columns)
        allowed = self.get_buffer(f"allowed_{source}")
        zeros = weight.new_zeros(gates, rows * columns)
        return zeros.index_copy(1, allowed, weight).reshape(gates * rows, columns)

    def recurrences(self, dropout: float = 0.0) -> dict[int, Tensor]:
        """Every block R as a scan takes it, by its source.

        Args:
            dropout: See `recurrent`.

        Returns:
            (G·H, K) each, or (G·H,) for a diagonal.
        """
        return {edge.source: self._recurrence(edge, dropout) for edge in self.edges}

    def own_recurrence(self, dropout: float = 0.0) -> Tensor | None:
        """R from the layer to itself as a scan takes it; None where it does not feed itself."""
        for edge in self.edges:
            if edge.source == edge.target:
                return self._recurrence(edge, dropout)
        return None

    def _recurrence(self, edge: Edge, dropout: float) -> Tensor:
        if edge.kind != "diagonal":
            return self.recurrent(edge.source, dropout)
        weight: Tensor = self.weight_hh[str(edge.source)].reshape(-1)
        return functional.dropout(weight, dropout) if dropout else weight
