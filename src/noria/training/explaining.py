"""Which words decided: integrated gradients through the recurrent network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.modules.text import TextModule
from noria.training.class_scores import decided

__all__ = ["chosen_exhibits", "deciding_words", "explained", "log_odds"]

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

    They add up to the mean of the members' log-odds of the text, less that of as many words that
    say nothing. The log-odds of the members' mean probability are other ones.

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


def explained(
    modules: Sequence[TextModule], sequence: NDArray[Any], label: int
) -> dict[str, list[float]]:
    """What each word did, for the report.

    Args:
        modules: The members, in evaluation mode.
        sequence: The text, shape (T, 1 + G).
        label: Number of the class that is explained.

    Returns:
        "weights", see `deciding_words`; and where the pooling is attention, "attention", how much
        each word counts in it, mean over the members.
    """
    found = {"weights": deciding_words(modules, sequence, label).tolist()}
    if modules[0].plan.pooling == "attention":
        x, lengths = torch.from_numpy(sequence)[None], torch.tensor([len(sequence)])
        parts = [module.attention(x, lengths)[0].double().numpy() for module in modules]
        found["attention"] = np.mean(parts, axis=0).tolist()
    return found


def chosen_exhibits(
    probabilities: NDArray[np.float64], actual: NDArray[Any], count: int
) -> list[int]:
    """The first cases that were classed rightly and the first that were not, half of each.

    Args:
        probabilities: Of each class, shape (N, C).
        actual: Number of each case's class, shape (N,); or which classes it has, (N, C).
        count: Cases at the most.
    """
    multi_label = actual.ndim == 2
    found = decided(probabilities, multi_label=multi_label)
    right = (found == actual).all(axis=1) if multi_label else found == actual
    half = count // 2
    return [*np.flatnonzero(right)[:half].tolist(), *np.flatnonzero(~right)[:half].tolist()]
