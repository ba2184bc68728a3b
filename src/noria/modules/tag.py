"""Words, their features and their characters, a recurrent network, a chain of tags."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import make_cell
from noria.features.tags import legal_steps
from noria.feedback import Feedback
from noria.modules.crf import ConditionalRandomField
from noria.modules.embedding import WordEmbedding, feed_forward_wiring, side_by_side
from noria.network import Network
from noria.wiring import Wiring

__all__ = ["TagModule", "TagPlan"]


@dataclasses.dataclass(frozen=True)
class TagPlan:
    """What a tagging module is made of.

    Attributes:
        wiring: Of the recurrent network, without output layer.
        labels: C tags, of the scheme iobes, or plain ones.
        stretches: Whether the tags mark stretches of words, which not every chain of them can.
        vocabulary_size: V.
        embedding_size: E.
        feature_sizes: Different values of each of the P further columns.
        feature_size: Numbers that stand for one of them.
        alphabet_size: Different characters.
        characters: Wiring of the network that reads a word's characters; None for none.
        window: Words that each step sees, odd; more than 1 for a network that carries nothing.
    """

    wiring: Wiring
    labels: tuple[str, ...]
    stretches: bool
    vocabulary_size: int
    embedding_size: int
    feature_sizes: tuple[int, ...]
    feature_size: int
    alphabet_size: int
    characters: Wiring | None
    window: int = 1

    @classmethod
    def build(
        cls,
        labels: tuple[str, ...],
        vocabulary_size: int,
        embedding_size: int,
        feature_sizes: tuple[int, ...],
        feature_size: int,
        alphabet_size: int,
        character_size: int,
        cell: str,
        hidden_size: int,
        num_layers: int,
        feedback: Feedback,
        *,
        stretches: bool,
        bidirectional: bool = False,
    ) -> TagPlan:
        """Wire the networks for what their embeddings put out."""
        characters = None
        if character_size:
            characters = Wiring.build(
                character_size, [make_cell("lstm", character_size)], bidirectional=True
            )
        width = embedding_size + len(feature_sizes) * feature_size + 2 * character_size
        wiring = Wiring.build(
            width,
            [make_cell(cell, hidden_size)] * num_layers,
            feedback,
            bidirectional=bidirectional,
        )
        return cls(
            wiring,
            labels,
            stretches,
            vocabulary_size,
            embedding_size,
            feature_sizes,
            feature_size,
            alphabet_size,
            characters,
        )

    def feed_forward(self, hidden_size: int, window: int) -> TagPlan:
        """The same, with plain neurons that carry nothing and see so many words at once."""
        return dataclasses.replace(
            self, wiring=feed_forward_wiring(self.wiring, hidden_size, window), window=window
        )

    def module(self, **dropouts: float) -> TagModule:
        """A module with fresh weights; see `TagModule`."""
        return TagModule(self, **dropouts)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "wiring": self.wiring.to_dict(),
            "characters": self.characters and self.characters.to_dict(),
            "labels": list(self.labels),
            "feature_sizes": list(self.feature_sizes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TagPlan:
        """Read what `to_dict` wrote."""
        characters = document["characters"]
        read = {
            "wiring": Wiring.from_dict(document["wiring"]),
            "characters": None if characters is None else Wiring.from_dict(characters),
            "labels": tuple(document["labels"]),
            "feature_sizes": tuple(document["feature_sizes"]),
        }
        return cls(**{**document, **read})


class CharacterReader(nn.Module):
    """A vector for each word from its characters, read in both directions: the two last states.

    Args:
        alphabet_size: Different characters.
        wiring: Of the network that reads them.

    Source: Ling et al. 2015; Lample et al. 2016.
    """

    def __init__(self, alphabet_size: int, wiring: Wiring) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet_size, wiring.input_size)
        self.network = Network.from_wiring(wiring)

    def forward(self, characters: Tensor) -> Tensor:
        """Read.

        Args:
            characters: Of each word, 0 where there are no more, shape (B, T, K).

        Returns:
            Shape (B, T, `output_size`), zero for words without characters.
        """
        words, places = torch.unique(characters.flatten(0, 1), dim=0, return_inverse=True)
        lengths = (words > 0).sum(dim=1)
        read = words[:, : max(1, int(lengths.max()))]
        _, state = self.network(self.embedding(read), None, lengths)
        parts = state[-1]
        last = torch.cat([parts[0], parts[len(parts) // 2]], dim=1)
        return last[places].view(*characters.shape[:2], -1)


class TagModule(nn.Module):
    """The scores of a sentence's tags.

    Args:
        plan: What it is made of.
        dropout: Between layers, and before the last linear layer.
        recurrent_dropout: On the recurrence.
        embedding_dropout: On all that stands for a word.
        word_dropout: Probability of taking a word for an unknown one; its characters stay.
    """

    def __init__(
        self,
        plan: TagPlan,
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
        self.embedding = WordEmbedding(plan.vocabulary_size, plan.embedding_size, 0, word_dropout)
        self.features = nn.ModuleList(
            nn.Embedding(size, plan.feature_size) for size in plan.feature_sizes
        )
        self.characters = (
            None
            if plan.characters is None
            else CharacterReader(plan.alphabet_size, plan.characters)
        )
        self.network = Network.from_wiring(
            plan.wiring, dropout=dropout, recurrent_dropout=recurrent_dropout
        )
        self.output = nn.Linear(plan.wiring.output_size, len(plan.labels))
        count = len(plan.labels)
        self.chain = ConditionalRandomField(
            legal_steps(plan.labels)
            if plan.stretches
            else np.ones((count + 1, count + 1), dtype=bool)
        )

    @property
    def parameter_count(self) -> int:
        """Number of weights, embeddings and chain included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Score each tag at each word.

        Args:
            x: See `noria.features.sentences.SentenceEncoder`, shape (B, T, 1 + P + K).
            lengths: Words of each row, at least 1, shape (B,).

        Returns:
            Shape (B, T, C).
        """
        count = len(self.features)
        parts = [self.embedding(x[:, :, :1])]
        parts += [embed(x[:, :, 1 + number]) for number, embed in enumerate(self.features)]
        if self.characters is not None:
            parts.append(self.characters(x[:, :, 1 + count :]))
        embedded = functional.dropout(
            torch.cat(parts, dim=2), self.embedding_dropout, self.training
        )
        running = torch.arange(x.shape[1]) < lengths[:, None]
        embedded = embedded * running[:, :, None]
        if self.plan.window > 1:
            embedded = side_by_side(embedded, self.plan.window)
        hidden, _ = self.network(embedded, None, lengths)
        emissions: Tensor = self.output(functional.dropout(hidden, self.dropout, self.training))
        return emissions
