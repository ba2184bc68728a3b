"""A language model as one module: embedding, recurrent network, and what comes next."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import make_cell
from noria.errors import UsageError
from noria.feedback import Feedback
from noria.network import Network, NetworkState
from noria.wiring import Wiring

__all__ = ["NARROWER", "LanguageModule", "LanguagePlan"]

NARROWER = 4
"""Each cluster of an adaptive softmax is so many times narrower than the one before."""


@dataclasses.dataclass(frozen=True)
class LanguagePlan:
    """What a language model is made of.

    Attributes:
        wiring: Of the recurrent network, without output layer.
        vocabulary_size: V.
        embedding_size: E, numbers that stand for a token.
        tied: Whether the last layer's weights are the embedding's.
        cutoffs: Where an adaptive softmax cuts the vocabulary, which is in order of frequency;
            none for a plain softmax.
        window: Tokens that a network without memory sees at once; 0 for one that remembers.
    """

    wiring: Wiring
    vocabulary_size: int
    embedding_size: int
    tied: bool = False
    cutoffs: tuple[int, ...] = ()
    window: int = 0

    @classmethod
    def build(
        cls,
        vocabulary_size: int,
        cell: str,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        feedback: Feedback,
        *,
        tied: bool = False,
        cutoffs: Sequence[int] = (),
        window: int = 0,
    ) -> LanguagePlan:
        """Wire the network; with tied weights its last layer is as wide as the embedding.

        Raises:
            UsageError: if the cutoffs cannot be meant.
        """
        if tied and cutoffs:
            raise UsageError("tied weights and an adaptive softmax exclude each other: drop one")
        ends = [*cutoffs, vocabulary_size]
        if cutoffs and (ends[0] < 1 or any(a >= b for a, b in itertools.pairwise(ends))):
            raise UsageError(
                f"cutoffs {', '.join(map(str, cutoffs))}: they must rise and stay below the"
                f" vocabulary's {vocabulary_size} tokens"
            )
        if hidden_size < NARROWER ** len(cutoffs):
            raise UsageError(
                f"{len(cutoffs)} cutoffs need a hidden_size of at least"
                f" {NARROWER ** len(cutoffs)}: each rarer cluster has a fourth of the width"
            )
        sizes = [hidden_size] * num_layers
        if tied:
            sizes[-1] = embedding_size
        wiring = Wiring.build(
            embedding_size * max(window, 1), [make_cell(cell, size) for size in sizes], feedback
        )
        return cls(wiring, vocabulary_size, embedding_size, tied, tuple(cutoffs), window)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "wiring": self.wiring.to_dict(), "cutoffs": list(self.cutoffs)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> LanguagePlan:
        """Read what `to_dict` wrote."""
        wiring = Wiring.from_dict(document["wiring"])
        return cls(**{**document, "wiring": wiring, "cutoffs": tuple(document["cutoffs"])})


class LanguageModule(nn.Module):
    """What comes next, from what came before.

    Args:
        plan: What it is made of.
        dropout: On the embedded tokens, between layers and on the last layer's output; one mask a
            sequence (variational dropout).
        embedding_dropout: Probability of dropping a token of the vocabulary altogether.
        recurrent_dropout: On the recurrence.
        weight_dropout: Probability of dropping a recurrent weight; one mask a call.

    Source: Merity et al. 2018 (AWD-LSTM); tied weights: Press & Wolf 2017, Inan et al. 2017;
    adaptive softmax: Grave et al. 2017; variational dropout: Gal & Ghahramani 2016.
    """

    def __init__(
        self,
        plan: LanguagePlan,
        *,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout
        self.embedding = nn.Embedding(plan.vocabulary_size, plan.embedding_size)
        if plan.tied:  # as the output's weights it had better begin small
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.network = Network.from_wiring(
            plan.wiring,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            weight_dropout=weight_dropout,
        )
        width = plan.wiring.output_size
        self.output: nn.Linear | None = None
        self.adaptive: nn.AdaptiveLogSoftmaxWithLoss | None = None
        if plan.cutoffs:
            self.adaptive = nn.AdaptiveLogSoftmaxWithLoss(
                width, plan.vocabulary_size, list(plan.cutoffs), div_value=NARROWER
            )
        else:
            self.output = nn.Linear(width, plan.vocabulary_size)
            nn.init.zeros_(self.output.bias)
            if plan.tied:
                self.output.weight = self.embedding.weight

    @property
    def parameter_count(self) -> int:
        """Number of weights, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self, tokens: Tensor, state: NetworkState | None = None
    ) -> tuple[Tensor, Tensor, NetworkState]:
        """Run over a stretch of text.

        Args:
            tokens: Integers, shape (B, T).
            state: State before it; None at the beginning of a text.

        Returns:
            The last layer's h, shape (B, T, H), the same with dropout, and the state after it.
            Without memory the state is the tokens that the next stretch still sees.
        """
        plan = self.plan
        if plan.window:
            batch, before = len(tokens), plan.window - 1
            seen = tokens.new_zeros(batch, before) if state is None else state[0][0]
            seen = torch.cat([seen, tokens], dim=1)
            state = ((seen[:, seen.shape[1] - before :],),)
            x = self._embed(seen).unfold(1, plan.window, 1).transpose(2, 3).flatten(2)
            hidden, _ = self.network(x)
        else:
            hidden, state = self.network(self._embed(tokens), state)
        assert state is not None
        return hidden, self._drop(hidden), state

    def losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """What it costs to be told the next token.

        Args:
            hidden: The last layer's h, shape (N, H).
            targets: The tokens that came next, shape (N,).

        Returns:
            Negative log-probabilities in nats, shape (N,).
        """
        if self.adaptive is not None:
            found: Tensor = -self.adaptive(hidden, targets).output
            return found
        assert self.output is not None
        return functional.cross_entropy(self.output(hidden), targets, reduction="none")

    def _embed(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        if self.training and self.embedding_dropout:
            kept = functional.dropout(x.new_ones(self.plan.vocabulary_size), self.embedding_dropout)
            x = x * kept[tokens][..., None]
        return self._drop(x)

    def _drop(self, x: Tensor) -> Tensor:
        """x (B, T, H) with one mask a sequence."""
        if not self.training or not self.dropout:
            return x
        return x * functional.dropout(x.new_ones(len(x), 1, x.shape[2]), self.dropout)
