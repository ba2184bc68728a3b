"""Words as vectors: their own, those of their character n-grams, and their neighbours'."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import make_cell
from noria.wiring import Wiring

__all__ = ["WordEmbedding", "feed_forward_wiring", "side_by_side"]

_WORD_DEVIATION, _GRAM_DEVIATION = 0.1, 0.03  # of fresh embeddings
_UNKNOWN = 1  # of every numbering of words


class WordEmbedding(nn.Module):
    """A vector for each word: its own plus those of its n-grams, over the root of their number.

    Args:
        vocabulary_size: V.
        embedding_size: E.
        buckets: Of the n-grams; 0 for none.
        word_dropout: Probability of taking a word for an unknown one without n-grams.

    Source: the n-grams of fastText, Bojanowski et al. 2017.
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, buckets: int, word_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.words = nn.Embedding(vocabulary_size, embedding_size, padding_idx=0)
        nn.init.normal_(self.words.weight, 0.0, _WORD_DEVIATION)
        self.grams = (
            nn.EmbeddingBag(buckets + 1, embedding_size, mode="sum", padding_idx=0)
            if buckets
            else None
        )
        with torch.no_grad():
            self.words.weight[0] = 0.0
            if self.grams is not None:
                nn.init.normal_(self.grams.weight, 0.0, _GRAM_DEVIATION)
                self.grams.weight[0] = 0.0

    def begin_with(self, vectors: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
        """Take vectors that were learned elsewhere; see `noria.features.vectors.read_vectors`.

        Args:
            vectors: Shape (V, E).
            known: Which words have one, shape (V,).
        """
        chosen = torch.from_numpy(known)
        with torch.no_grad():
            self.words.weight[chosen] = torch.from_numpy(vectors)[chosen]

    def forward(self, x: Tensor) -> Tensor:
        """Embed.

        Args:
            x: Ids of the words, each followed by the buckets of its n-grams plus 1, 0 for none,
                shape (B, T, 1 + G).

        Returns:
            Shape (B, T, E).
        """
        words, grams = x[:, :, 0], x[:, :, 1:]
        dropped: Tensor | None = None
        if self.training and self.word_dropout:
            dropped = torch.rand(words.shape, device=words.device) < self.word_dropout
            words = words.masked_fill(dropped & (words > 0), _UNKNOWN)
        embedded: Tensor = self.words(words)
        if self.grams is None:
            return embedded
        sums = self.grams(grams.flatten(0, 1)).view(embedded.shape)
        sums = sums / (grams > 0).sum(dim=2, keepdim=True).clamp(min=1).sqrt()
        if dropped is not None:
            sums = sums.masked_fill(dropped[:, :, None], 0.0)
        summed: Tensor = embedded + sums
        return summed


def feed_forward_wiring(wiring: Wiring, hidden_size: int, window: int) -> Wiring:
    """As many layers of plain ReLU neurons that carry nothing from step to step.

    Args:
        wiring: Of a recurrent network.
        hidden_size: Neurons of a layer.
        window: Steps that each step sees, side by side.
    """
    cells = [make_cell("rnn_relu", hidden_size)] * len(wiring.layers)
    return Wiring.build(window * wiring.input_size, cells, "none")


def side_by_side(x: Tensor, window: int) -> Tensor:
    """Each step with its neighbours, (B, T, window · E), from (B, T, E); zeros past the ends."""
    half = window // 2
    padded = functional.pad(x, (0, 0, half, half))
    return torch.cat([padded[:, k : k + x.shape[1]] for k in range(window)], dim=2)
