"""The feedback argument: words, lists of words or an adjacency, read as block masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from noria.errors import WiringError

__all__ = ["FEEDBACKS", "Feedback", "Masks", "read_feedback", "remembers"]

FEEDBACKS = ("none", "direct", "lateral", "indirect", "full")

Feedback = str | Sequence[str] | NDArray[np.bool_] | Sequence[Sequence[bool]]
"""A word or a sum of words ("direct+indirect"), one such per layer, or a boolean adjacency
[target, source] over layers, shape (L, L), or over neurons, shape (N, N)."""


@dataclasses.dataclass(frozen=True)
class Masks:
    """What a feedback argument means: masks by (target, source), and who carries a state."""

    blocks: dict[tuple[int, int], NDArray[np.bool_]]
    carrying: frozenset[int]


def read_feedback(feedback: Feedback, sizes: list[int], hidden: int) -> Masks:
    """Turn any form of the feedback argument into block masks.

    Args:
        feedback: See `Wiring.build`.
        sizes: H of every layer, the output layer's last if there is one.
        hidden: Number of hidden layers; `sizes` has one more with an output layer.
    """
    if isinstance(feedback, str):
        return _masks_from_words([feedback] * hidden, sizes, hidden, spread_full=True)
    if isinstance(feedback, Sequence) and all(isinstance(word, str) for word in feedback):
        words = cast("list[str]", list(feedback))
        if len(words) not in (hidden, len(sizes)):
            raise WiringError(
                f"feedback has {len(words)} entries, expected one for each of {hidden} layers"
                + (" or one more for the output layer" if len(sizes) > hidden else "")
            )
        return _masks_from_words(words, sizes, hidden, spread_full=False)
    return _masks_from_adjacency(feedback, sizes, hidden)


def remembers(feedback: Feedback) -> bool:
    """Whether a network with such feedback carries anything from step to step.

    >>> remembers("direct+lateral"), remembers(["none", "none"]), remembers([[False]])
    (True, False, False)
    """
    if isinstance(feedback, str):
        return bool(_parse(feedback))
    if isinstance(feedback, Sequence) and all(isinstance(word, str) for word in feedback):
        return any(_parse(word) for word in cast("Sequence[str]", feedback))
    return bool(np.any(feedback))


def _masks_from_words(
    words: list[str], sizes: list[int], hidden: int, *, spread_full: bool
) -> Masks:
    """Masks of words, one entry a layer.

    The output layer receives feedback where an entry of its own says so, or under one `full` for
    the whole network; direct and lateral for the whole network leave it the linear read-out that
    everybody has.
    """
    blocks: dict[tuple[int, int], NDArray[np.bool_]] = {}
    carrying = set()
    for target, entry in enumerate(words):
        parts = _parse(entry)
        if parts:
            carrying.add(target)
        for source in range(len(sizes)):
            mask = _mask_of(parts, target, source, sizes)
            if mask.any():
                blocks[target, source] = mask
    if spread_full and len(sizes) > hidden and "full" in _parse(words[0]):
        output = len(sizes) - 1
        for source, size in enumerate(sizes):
            blocks[output, source] = np.ones((sizes[output], size), dtype=bool)
    return Masks(blocks, frozenset(carrying))


def _parse(entry: str) -> frozenset[str]:
    """The words of a sum; the empty set for `none`."""
    words = [word.strip() for word in entry.split("+")]
    unknown = [word for word in words if word not in FEEDBACKS]
    if unknown:
        raise WiringError(
            f"feedback {entry!r}: {unknown[0]!r} is none of {', '.join(FEEDBACKS)}"
            " (sums are written with +)"
        )
    if "none" in words and len(words) > 1:
        raise WiringError(f"feedback {entry!r}: none cannot be added to another feedback")
    return frozenset(words) - {"none"}


def _mask_of(
    words: frozenset[str], target: int, source: int, sizes: list[int]
) -> NDArray[np.bool_]:
    mask = np.zeros((sizes[target], sizes[source]), dtype=bool)
    if "full" in words or ("indirect" in words and source > target):
        mask[:] = True
    elif source == target:
        identity = np.eye(sizes[target], dtype=bool)
        if "direct" in words:
            mask |= identity
        if "lateral" in words:
            mask |= ~identity
    return mask


def _masks_from_adjacency(
    feedback: NDArray[np.bool_] | Sequence[Any], sizes: list[int], hidden: int
) -> Masks:
    try:
        adjacency = np.asarray(feedback)
    except ValueError as error:
        raise WiringError("feedback: the adjacency's rows differ in length") from error
    if adjacency.dtype != bool and not np.isin(adjacency, (0, 1)).all():
        raise WiringError("feedback: an adjacency is boolean (or 0 and 1), [target, source]")
    adjacency = adjacency.astype(bool)
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise WiringError(f"feedback: the adjacency has shape {adjacency.shape}, expected a square")
    # either form may leave the output layer out, which then neither sends nor receives
    over_layers = [np.ones(len(sizes), dtype=int), np.ones(hidden, dtype=int)]
    over_neurons = [np.array(sizes), np.array(sizes[:hidden])]
    meanings = [
        _split(adjacency, spans, sizes)
        for spans in over_layers + over_neurons
        if spans.sum() == len(adjacency)
    ]
    if not meanings:
        raise WiringError(
            f"feedback: the adjacency has shape {adjacency.shape}, expected one row and column"
            f" for each of {len(sizes)} layers or each of {sum(sizes)} neurons"
        )
    blocks = meanings[0]
    if any(not _equal(blocks, other) for other in meanings[1:]):
        raise WiringError(
            f"feedback: an adjacency of shape {adjacency.shape} could be over layers or over"
            f" neurons here; give it over all {sum(sizes)} neurons, the output's included"
        )
    carrying = frozenset(target for target, _ in blocks if target < hidden)
    return Masks(blocks, carrying)


def _split(
    adjacency: NDArray[np.bool_], spans: NDArray[np.int_], sizes: list[int]
) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """Cut an adjacency into blocks (H_target, H_source); `spans` are its rows a layer."""
    bounds = np.cumsum([0, *spans])
    blocks = {}
    for target in range(len(spans)):
        for source in range(len(spans)):
            block = adjacency[
                bounds[target] : bounds[target + 1], bounds[source] : bounds[source + 1]
            ]
            if block.any():
                shape = (sizes[target], sizes[source])
                blocks[target, source] = np.broadcast_to(block, shape).copy()
    return blocks


def _equal(
    one: dict[tuple[int, int], NDArray[np.bool_]], other: dict[tuple[int, int], NDArray[np.bool_]]
) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
