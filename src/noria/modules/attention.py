"""Attention: which steps of a memory matter for a query."""

from __future__ import annotations

from torch import Tensor, nn

from noria.errors import UsageError

__all__ = ["ATTENTIONS", "Attention"]

ATTENTIONS = ("multiplicative", "additive")


class Attention(nn.Module):
    """Weighs the steps of a memory for each query.

        multiplicative   score = q · W k
        additive         score = v · tanh(W k + U q + b)
        weights = softmax(score over the steps that there are);  context = Σ weight · step

    Args:
        kind: "multiplicative" or "additive".
        query_size: Q, width of a query.
        memory_size: K, width of a step of the memory.
        attention_size: A, width of the additive one's sum; the multiplicative one has Q.

    Raises:
        UsageError: if there is no such kind.

    Source: additive: Bahdanau et al. 2015; multiplicative: Luong et al. 2015 ("general").
    """

    def __init__(self, kind: str, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()
        if kind not in ATTENTIONS:
            raise UsageError(f"attention is {kind!r}, expected one of {', '.join(ATTENTIONS)}")
        additive = kind == "additive"
        self.key = nn.Linear(memory_size, attention_size if additive else query_size, bias=False)
        self.query = nn.Linear(query_size, attention_size) if additive else None
        self.score = nn.Linear(attention_size, 1, bias=False) if additive else None

    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with, made once for a memory (B, S, K)."""
        keys: Tensor = self.key(memory)
        return keys

    def forward(
        self, query: Tensor, keys: Tensor, memory: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Look a memory up.

        Args:
            query: Shape (B, T, Q).
            keys: From `keys`, shape (B, S, ·).
            memory: Shape (B, S, K).
            present: Which steps there are, boolean, shape (B, S).

        Returns:
            The contexts, shape (B, T, K), and the weights, shape (B, T, S).
        """
        if self.query is None or self.score is None:
            scores = query @ keys.transpose(1, 2)
        else:
            mixed = (keys[:, None] + self.query(query)[:, :, None]).tanh()
            scores = self.score(mixed)[..., 0]
        weights = scores.masked_fill(~present[:, None], float("-inf")).softmax(dim=-1)
        return weights @ memory, weights
