"""Encoder, attention and decoder as one module: one sequence of tokens into another."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import make_cell
from noria.feedback import Feedback
from noria.modules.attention import Attention
from noria.network import Network, NetworkState
from noria.wiring import Wiring

__all__ = ["Memory", "TranslateModule", "TranslatePlan"]


@dataclasses.dataclass(frozen=True)
class TranslatePlan:
    """What a translating module is made of.

    Attributes:
        encoder: Wiring of the network that reads the source.
        decoder: Wiring of the network that writes the target.
        vocabulary_size: V, of both languages together.
        embedding_size: E, numbers that stand for a token.
        attention: "multiplicative" or "additive".
        input_feeding: Whether what was attended to enters the decoder at the next step.
        tied: Whether the output layer's weights are the embedding's.
    """

    encoder: Wiring
    decoder: Wiring
    vocabulary_size: int
    embedding_size: int
    attention: str = "multiplicative"
    input_feeding: bool = True
    tied: bool = True

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
        attention: str = "multiplicative",
        input_feeding: bool = True,
        tied: bool = True,
    ) -> TranslatePlan:
        """Wire both networks; the encoder runs in both directions, each half as wide."""
        half = [make_cell(cell, max(1, hidden_size // 2))] * num_layers
        cells = [make_cell(cell, hidden_size)] * num_layers
        fed = embedding_size * (2 if input_feeding else 1)
        return cls(
            Wiring.build(embedding_size, half, feedback, bidirectional=True),
            Wiring.build(fed, cells, feedback),
            vocabulary_size,
            embedding_size,
            attention,
            input_feeding,
            tied,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        wirings = {"encoder": self.encoder.to_dict(), "decoder": self.decoder.to_dict()}
        return {**fields, **wirings}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> TranslatePlan:
        """Read what `to_dict` wrote."""
        wirings = {name: Wiring.from_dict(document[name]) for name in ("encoder", "decoder")}
        return cls(**{**document, **wirings})


@dataclasses.dataclass(frozen=True)
class Memory:
    """A source as the decoder sees it.

    Attributes:
        values: What the encoder made of each token, shape (B, S, K).
        keys: The same for the attention to compare with, shape (B, S, ·).
        present: Which tokens there are, shape (B, S).
    """

    values: Tensor
    keys: Tensor
    present: Tensor


class TranslateModule(nn.Module):
    """Reads one sequence and writes another, looking back at the first as it goes.

        memory = encoder(source)
        h(t) = decoder([token(t), a(t − 1)])
        a(t) = tanh(W [attention(h(t), memory), h(t)])
        token(t + 1) ~ softmax(V a(t) + b)

    The decoder begins with h = tanh(B [encoder's last states]). Without input feeding a(t − 1)
    stays out, and the decoder runs over the whole target at once.

    Args:
        plan: What it is made of.
        dropout: On embedded tokens, between layers, and on a; one mask a sequence.
        recurrent_dropout: On both recurrences.

    Source: Luong et al. 2015 (input feeding); Bahdanau et al. 2015; tied weights: Press & Wolf
    2017.
    """

    def __init__(
        self, plan: TranslatePlan, *, dropout: float = 0.0, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.plan = plan
        self.dropout = dropout
        size, hidden = plan.embedding_size, plan.decoder.output_size
        width = plan.encoder.output_size
        self.embedding = nn.Embedding(plan.vocabulary_size, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        options: dict[str, float] = {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
        self.encoder = Network.from_wiring(plan.encoder, **options)  # type: ignore[arg-type]
        self.decoder = Network.from_wiring(plan.decoder, **options)  # type: ignore[arg-type]
        self.bridge = nn.Linear(width, sum(l.hidden_size for l in plan.decoder.layers))
        self.attention = Attention(plan.attention, hidden, width, hidden)
        self.combine = nn.Linear(width + hidden, size, bias=False)
        self.output = nn.Linear(size, plan.vocabulary_size)
        nn.init.zeros_(self.output.bias)
        if plan.tied:
            self.output.weight = self.embedding.weight

    @property
    def parameter_count(self) -> int:
        """Number of weights, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Memory, NetworkState]:
        """Read sources.

        Args:
            source: Tokens, shape (B, S).
            lengths: Tokens of each row, at least 1, shape (B,).

        Returns:
            The memory, and the decoder's state before its first step.
        """
        values, state = self.encoder(self._drop(self.embedding(source)), None, lengths)
        present = torch.arange(source.shape[1]) < lengths[:, None]
        states = self.plan.encoder.layers[-1].states
        last = torch.cat([state[-1][0], state[-1][len(states)]], dim=1)
        begins = (
            self.bridge(last)
            .tanh()
            .split([layer.hidden_size for layer in self.plan.decoder.layers], dim=1)
        )
        first = tuple(
            (begin, *(torch.zeros_like(begin) for _ in layer.states[1:]))
            for begin, layer in zip(begins, self.plan.decoder.layers, strict=True)
        )
        return Memory(values, self.attention.keys(values), present), first

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Read sources and follow given targets.

        Args:
            source: Tokens, shape (B, S).
            lengths: Tokens of each source, at least 1, shape (B,).
            target: Tokens before those to be foretold, the mark of the beginning first, (B, T).

        Returns:
            a, shape (B, T, E), for `output`; and the attention's weights, shape (B, T, S).
        """
        memory, state = self.encode(source, lengths)
        embedded = self._drop(self.embedding(target))
        if not self.plan.input_feeding:
            hidden, _ = self.decoder(embedded, state)
            return self._attend(hidden, memory)
        fed = embedded.new_zeros(len(target), self.plan.embedding_size)
        attended, weights = [], []
        for x in embedded.unbind(dim=1):
            hidden, state = self.decoder.step(torch.cat([x, fed], dim=1), state)
            a, weight = self._attend(hidden[:, None], memory)
            fed = a[:, 0]
            attended.append(a)
            weights.append(weight)
        return torch.cat(attended, dim=1), torch.cat(weights, dim=1)

    def _attend(self, hidden: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        context, weights = self.attention(hidden, memory.keys, memory.values, memory.present)
        a = self.combine(torch.cat([context, hidden], dim=-1)).tanh()
        return functional.dropout(a, self.dropout, self.training), weights

    def _drop(self, x: Tensor) -> Tensor:
        """x (B, T, E) with one mask a sequence."""
        if not self.training or not self.dropout:
            return x
        return x * functional.dropout(x.new_ones(len(x), 1, x.shape[2]), self.dropout)
