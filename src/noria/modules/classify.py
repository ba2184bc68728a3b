"""A front end, a recurrent network, a pooling head and a linear layer as one module."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import make_cell
from noria.feedback import Feedback
from noria.modules.convolution import ConvolutionFront
from noria.modules.pooling import PoolingHead, mean_and_maximum, running_steps
from noria.network import Network
from noria.wiring import Wiring

__all__ = ["ClassifyModule", "ClassifyPlan"]


@dataclasses.dataclass(frozen=True)
class ClassifyPlan:
    """What a classifying module is made of.

    Attributes:
        wiring: Of the recurrent network, without output layer.
        input_size: I of the data.
        classes: C.
        strides: Of the convolutions before it; none for no front end.
        channels: Width of the convolutions.
        kernel_size: Steps that one convolution sees.
        pooling: See `noria.modules.pooling`.
        multi_label: Whether a case may have several classes, or none.
    """

    wiring: Wiring
    input_size: int
    classes: int
    strides: tuple[int, ...] = ()
    channels: int = 64
    kernel_size: int = 7
    pooling: str = "mean_max"
    multi_label: bool = False

    @classmethod
    def build(
        cls,
        input_size: int,
        classes: int,
        cell: str,
        hidden_size: int,
        num_layers: int,
        feedback: Feedback,
        *,
        bidirectional: bool = False,
        strides: tuple[int, ...] = (),
        channels: int = 64,
        kernel_size: int = 7,
        pooling: str = "mean_max",
    ) -> ClassifyPlan:
        """Wire the network for what its front end puts out."""
        width = channels if strides else input_size
        cells = [make_cell(cell, hidden_size)] * num_layers
        wiring = Wiring.build(width, cells, feedback, bidirectional=bidirectional)
        return cls(wiring, input_size, classes, strides, channels, kernel_size, pooling)

    def module(self, **dropouts: float) -> ClassifyModule:
        """A module with fresh weights; see `ClassifyModule`."""
        return ClassifyModule(self, **dropouts)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "wiring": self.wiring.to_dict(), "strides": list(self.strides)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> ClassifyPlan:
        """Read what `to_dict` wrote."""
        wiring = Wiring.from_dict(document["wiring"])
        return cls(**{**document, "wiring": wiring, "strides": tuple(document["strides"])})


class ClassifyModule(nn.Module):
    """The class of a whole sequence, as unnormalised log-probabilities.

    What the front end found goes to the last layer, too, its mean and maximum over the steps beside
    what the recurrent network remembers: which patterns there were at all need not pass through its
    gates.

    Args:
        plan: What it is made of.
        dropout: After the front end, between layers, and before the last linear layer.
        recurrent_dropout: On the recurrence.
    """

    def __init__(
        self, plan: ClassifyPlan, *, dropout: float = 0.0, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.plan = plan
        self.dropout = dropout
        self.front = (
            ConvolutionFront(plan.input_size, plan.channels, plan.kernel_size, plan.strides)
            if plan.strides
            else None
        )
        self.network = Network.from_wiring(
            plan.wiring, dropout=dropout, recurrent_dropout=recurrent_dropout
        )
        self.pooling = PoolingHead(plan.pooling, plan.wiring.output_size)
        beside = 0 if self.front is None else 2 * plan.channels
        self.output = nn.Linear(self.pooling.output_size + beside, plan.classes)

    @property
    def parameter_count(self) -> int:
        """Number of weights, front end and head included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Classify.

        Args:
            x: Inputs, shape (B, T, I).
            lengths: Steps of each row, at least 1, shape (B,).

        Returns:
            Shape (B, C).
        """
        beside: tuple[Tensor, ...] = ()
        if self.front is not None:
            x = x.masked_fill(~running_steps(lengths, x.shape[1]), 0.0)
            x, lengths = self.front(x, lengths)
            beside = (mean_and_maximum(x, lengths),)
            x = functional.dropout(x, self.dropout, self.training)
        hidden, state = self.network(x, None, lengths)
        pooled = torch.cat([self.pooling(hidden, state, lengths), *beside], dim=1)
        logits: Tensor = self.output(functional.dropout(pooled, self.dropout, self.training))
        return logits
