"""Which words decided: integrated gradients through the recurrent network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.modules.text import TextModule

__all__ = ["attention", "deciding_words", "log_odds"]

_POINTS = 32


def log_odds(logits: Tensor, label: int, *, multi_label: bool) -> Tensor:
    """Log of p / (1 − p) of a class, shape (B,).

    Args:
        logits: What a module puts out, shape (B, C).
        label: Number of the class.
        multi_label: Whether a text may have several classes.
    """
    if multi_label:
        return logits[:, label]
    others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
    return logits[:, label] - others.logsumexp(dim=1)


def deciding_words(
    modules: Sequence[TextModule], sequence: NDArray[Any], label: int
) -> NDArray[np.float64]:
    """What each word adds to the log-odds of a class, shape (T,); below 0 it speaks against it.

    They add up to the log-odds of the text less those of as many words that say nothing.

    Args:
        modules: The members, in evaluation mode; the mean over them is told.
        sequence: The text, shape (T, 1 + G).
        label: Number of the class.

    Source: Sundararajan et al. 2017, by the midpoint rule at 32 points.
    """
    x = torch.from_numpy(sequence)[None]
    lengths = torch.full((_POINTS,), len(sequence))
    shares = (torch.arange(_POINTS) + 0.5) / _POINTS
    parts = []
    for module in modules:
        with torch.no_grad():
            embedded = module.embedding(x)
        path = (shares[:, None, None] * embedded).requires_grad_()
        logits = module.classify(path, lengths)
        target = log_odds(logits, label, multi_label=module.plan.multi_label).sum()
        (gradient,) = torch.autograd.grad(target, path)
        parts.append((gradient.mean(dim=0) * embedded[0]).sum(dim=1).double().numpy())
    mean: NDArray[np.float64] = np.mean(parts, axis=0)
    return mean


def attention(modules: Sequence[TextModule], sequence: NDArray[Any]) -> NDArray[np.float64]:
    """How much each word counts in the pooling, mean over the members, shape (T,).

    Args:
        modules: The members, pooled by attention.
        sequence: The text, shape (T, 1 + G).
    """
    x, lengths = torch.from_numpy(sequence)[None], torch.tensor([len(sequence)])
    mean: NDArray[np.float64] = np.mean(
        [module.attention(x, lengths)[0].double().numpy() for module in modules], axis=0
    )
    return mean
