"""Beam search: the likeliest sequences that a step function leads to, for a batch at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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


class _Written(NamedTuple):
    """A token, with what it looked at, behind all that was written before: many may share that."""

    before: _Written | None
    token: int
    attention: Array


@dataclasses.dataclass
class _Beam:
    """The search for one source: what has been found, with its score, and what is still open."""

    row: int
    found: list[tuple[float, _Written | None]] = dataclasses.field(default_factory=list)
    written: list[_Written | None] = dataclasses.field(default_factory=lambda: [None])
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
            kept: list[_Written | None] = []
            kept_scores: list[float] = []
            for place in np.argsort(-scores, axis=None, kind="stable").tolist():
                source, token = place // wanted, int(candidates.flat[place])
                score = float(scores.flat[place])
                if score == -np.inf or len(kept_scores) == beam_size:
                    break
                written = beam.written[source]
                if token != end:
                    written = _Written(written, token, attention[first + source].copy())
                if token == end or number == lengths[beam.row]:
                    beam.found.append((score / number**length_penalty, written))
                    if beam_size == 1:
                        break
                    continue
                kept.append(written)
                kept_scores.append(score)
                rows.append(first + source)
                chosen.append(token)
            first += count
            beam.found.sort(key=lambda found: -found[0])
            del beam.found[n_best:]
            reachable = max(kept_scores, default=-np.inf) / number**length_penalty
            if not kept_scores or (
                len(beam.found) >= n_best and beam.found[n_best - 1][0] >= reachable
            ):
                done[beam.row] = [
                    _hypothesis(score, written, attention.shape[1]) for score, written in beam.found
                ]
                if kept_scores:
                    del rows[-len(kept_scores) :], chosen[-len(kept_scores) :]
                continue
            beam.written, beam.scores = kept, np.array(kept_scores)
            open_beams.append(beam)
        beams = open_beams
        if not beams:
            break
        last = np.array(chosen)
        state = take(state, np.array(rows))
    return done


def _hypothesis(score: float, written: _Written | None, width: int) -> Hypothesis:
    tokens, attention = [], []
    while written is not None:
        tokens.append(written.token)
        attention.append(written.attention)
        written = written.before
    seen = np.array(attention[::-1]).reshape(len(attention), width)
    return Hypothesis(tuple(tokens[::-1]), score, seen)


def _top(values: Array, count: int) -> Array:
    """Indices of the largest of each row (R, V), from the largest down; the first of equals."""
    if count == 1:
        return np.asarray(values.argmax(axis=1)[:, None])
    some = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(some, order, axis=1))
