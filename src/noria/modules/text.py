"""Words and their character n-grams, a recurrent network, pooling: the class of a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import make_cell
from noria.feedback import Feedback
from noria.modules.embedding import WordEmbedding, feed_forward_wiring, side_by_side
from noria.modules.pooling import PoolingHead, running_steps
from noria.network import Network
from noria.wiring import Wiring

__all__ = ["TextModule", "TextPlan"]


@dataclasses.dataclass(frozen=True)
class TextPlan:
    """What a text module is made of.

    Attributes:
        wiring: Of the recurrent network, without output layer.
        classes: C.
        vocabulary_size: V.
        embedding_size: E.
        buckets: Into which character n-grams are hashed; 0 for none.
        window: Words that each step sees, odd; more than 1 for a network that carries nothing.
        pooling: See `noria.modules.pooling`.
        multi_label: Whether a text may have several classes, or none.
    """

    wiring: Wiring
    classes: int
    vocabulary_size: int
    embedding_size: int
    buckets: int
    window: int = 1
    pooling: str = "mean_max"
    multi_label: bool = False

    @classmethod
    def build(
        cls,
        classes: int,
        vocabulary_size: int,
        embedding_size: int,
        buckets: int,
        cell: str,
        hidden_size: int,
        num_layers: int,
        feedback: Feedback,
        *,
        bidirectional: bool = False,
        pooling: str = "mean_max",
        multi_label: bool = False,
    ) -> TextPlan:
        """Wire the network for what its embeddings put out."""
        cells = [make_cell(cell, hidden_size)] * num_layers
        wiring = Wiring.build(embedding_size, cells, feedback, bidirectional=bidirectional)
        return cls(
            wiring,
            classes,
            vocabulary_size,
            embedding_size,
            buckets,
            pooling=pooling,
            multi_label=multi_label,
        )

    def feed_forward(self, hidden_size: int, window: int) -> TextPlan:
        """The same, with plain neurons that carry nothing and see so many words at once."""
        wiring = feed_forward_wiring(self.wiring, hidden_size, window)
        return dataclasses.replace(self, wiring=wiring, window=window, pooling="mean_max")

    def module(self, **dropouts: float) -> TextModule:
        """A module with fresh weights; see `TextModule`."""
        return TextModule(self, **dropouts)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "wiring": self.wiring.to_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TextPlan:
        """Read what `to_dict` wrote."""
        return cls(**{**document, "wiring": Wiring.from_dict(document["wiring"])})


class TextModule(nn.Module):
    """The class of a text, as unnormalised log-probabilities, or log-odds with multi_label.

    Args:
        plan: What it is made of.
        dropout: Between layers, and before the last linear layer.
        recurrent_dropout: On the recurrence.
        embedding_dropout: On the words' vectors.
        word_dropout: See `WordEmbedding`.
    """

    def __init__(
        self,
        plan: TextPlan,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout
        self.embedding = WordEmbedding(
            plan.vocabulary_size, plan.embedding_size, plan.buckets, word_dropout
        )
        self.network = Network.from_wiring(
            plan.wiring, dropout=dropout, recurrent_dropout=recurrent_dropout
        )
        self.pooling = PoolingHead(plan.pooling, plan.wiring.output_size)
        self.output = nn.Linear(self.pooling.output_size, plan.classes)

    @property
    def parameter_count(self) -> int:
        """Number of weights, embeddings and head included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Classify.

        Args:
            x: See `WordEmbedding`, shape (B, T, 1 + G).
            lengths: Words of each row, at least 1, shape (B,).

        Returns:
            Shape (B, C).
        """
        return self.classify(self.embedding(x), lengths)

    def classify(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Classify words that are vectors already.

        Args:
            embedded: Shape (B, T, E), zero past the lengths.
            lengths: Words of each row, at least 1, shape (B,).

        Returns:
            Shape (B, C).
        """
        hidden, state = self.scan(embedded, lengths)
        pooled = self.pooling(hidden, state, lengths)
        logits: Tensor = self.output(functional.dropout(pooled, self.dropout, self.training))
        return logits

    def scan(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Any]:
        """The network's output (B, T, H) and state, from vectors (B, T, E)."""
        embedded = functional.dropout(embedded, self.embedding_dropout, self.training)
        if self.plan.window > 1:
            embedded = side_by_side(embedded, self.plan.window)
        hidden, state = self.network(embedded, None, lengths)
        return hidden, state

    @torch.no_grad()
    def attention(self, x: Tensor, lengths: Tensor) -> Tensor:
        """How much each word counts in the pooling, shape (B, T), 0 past the lengths.

        Args:
            x: See `WordEmbedding`, shape (B, T, 1 + G).
            lengths: Words of each row, at least 1, shape (B,).

        Raises:
            UsageError: if the pooling is not "attention".
        """
        hidden, _ = self.scan(self.embedding(x), lengths)
        return self.pooling.attention(hidden, running_steps(lengths, x.shape[1]))[:, :, 0]
