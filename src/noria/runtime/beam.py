"""Beam search: the likeliest sequences that a step function leads to, for a batch at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hypothesis", "beam_search"]

Array = NDArray[Any]

Step = Callable[[Array, Any], tuple[Array, Array, Any]]
"""Tokens (R,) and a state to log-probabilities (R, V), attention (R, S) and the new state."""


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """One sequence that was found.

    Attributes:
        tokens: Without the marks of beginning and end.
        score: Log-probability, divided by length to the power of the length penalty.
        attention: For each token the weights of the source's, shape (T, S).
    """

    tokens: tuple[int, ...]
    score: float
    attention: Array


@dataclasses.dataclass
class _Beam:
    """The search for one source: what has been found, and what is still open."""

    row: int
    found: list[Hypothesis] = dataclasses.field(default_factory=list)
    tokens: list[tuple[int, ...]] = dataclasses.field(default_factory=lambda: [()])
    attention: list[tuple[Array, ...]] = dataclasses.field(default_factory=lambda: [()])
    scores: Array = dataclasses.field(default_factory=lambda: np.zeros(1))


def beam_search(
    step: Step,
    state: Any,
    take: Callable[[Any, Array], Any],
    lengths: Sequence[int],
    *,
    begin: int,
    end: int,
    beam_size: int = 1,
    length_penalty: float = 1.0,
    n_best: int = 1,
    forbidden: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Search the likeliest sequences, for B sources side by side.

    A source is done when nothing open can overtake its `n_best` found ones by their scores now, or
    its length is reached; done sources cost nothing.

    Args:
        step: The model.
        state: Its state before the first step, B rows.
        take: Picks rows of a state, by their numbers; one may be picked more than once.
        lengths: Tokens at the most, of each source.
        begin: The mark that stands before the first token.
        end: The mark that ends a sequence.
        beam_size: Sequences kept open; 1 is the greedy search.
        length_penalty: Power of the length that log-probabilities are divided by; 0 prefers short
            sequences.
        n_best: Sequences wanted of each source, at most `beam_size`.
        forbidden: Tokens that must not come.

    Returns:
        The best first, for each source.

    Source: Wu et al. 2016, with a plain power of the length.
    """
    done: list[list[Hypothesis]] = [[] for _ in lengths]
    beams = [_Beam(row) for row in range(len(lengths))]
    last = np.full(len(lengths), begin)
    for number in range(1, max(lengths, default=0) + 1):
        log_probabilities, attention, state = step(last, state)
        log_probabilities[:, list(forbidden)] = -np.inf
        size = log_probabilities.shape[1]
        wanted = min(2 * beam_size, size) if beam_size > 1 else 1
        best = _top(log_probabilities, wanted)
        values = np.take_along_axis(log_probabilities, best, axis=1)
        first = 0
        rows: list[int] = []
        chosen: list[int] = []
        open_beams: list[_Beam] = []
        for beam in beams:
            count = len(beam.scores)
            own = slice(first, first + count)
            candidates = best[own]
            scores = beam.scores[:, None] + values[own]
            kept_tokens: list[tuple[int, ...]] = []
            kept_attention: list[tuple[Array, ...]] = []
            kept_scores: list[float] = []
            for place in np.argsort(-scores, axis=None, kind="stable").tolist():
                source, token = place // wanted, int(candidates.flat[place])
                score = float(scores.flat[place])
                if score == -np.inf or len(kept_scores) == beam_size:
                    break
                if token == end or number == lengths[beam.row]:
                    tokens, seen = beam.tokens[source], beam.attention[source]
                    if token != end:
                        tokens, seen = (*tokens, token), (*seen, attention[first + source])
                    found = Hypothesis(
                        tokens,
                        score / number**length_penalty,
                        np.array(seen).reshape(len(seen), attention.shape[1]),
                    )
                    beam.found.append(found)
                    if beam_size == 1:
                        break
                    continue
                kept_tokens.append((*beam.tokens[source], token))
                kept_attention.append((*beam.attention[source], attention[first + source]))
                kept_scores.append(score)
                rows.append(first + source)
                chosen.append(token)
            first += count
            beam.found.sort(key=lambda hypothesis: -hypothesis.score)
            del beam.found[n_best:]
            reachable = max(kept_scores, default=-np.inf) / number**length_penalty
            if not kept_scores or (
                len(beam.found) >= n_best and beam.found[n_best - 1].score >= reachable
            ):
                done[beam.row] = beam.found
                if kept_scores:
                    del rows[-len(kept_scores) :], chosen[-len(kept_scores) :]
                continue
            beam.tokens, beam.attention = kept_tokens, kept_attention
            beam.scores = np.array(kept_scores)
            open_beams.append(beam)
        beams = open_beams
        if not beams:
            break
        last = np.array(chosen)
        state = take(state, np.array(rows))
    return done


def _top(values: Array, count: int) -> Array:
    """Indices of the largest of each row (R, V), from the largest down; the first of equals."""
    if count == 1:
        return np.asarray(values.argmax(axis=1)[:, None])
    some = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(some, order, axis=1))
