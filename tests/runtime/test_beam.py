from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noria.runtime.beam import Hypothesis, beam_search

BEGIN, END, SIZE, LONGEST = 0, 1, 4, 4
Array = NDArray[Any]


class Toy:
    """What comes next hangs on all that was written; each source has its own table."""

    def __init__(self, sources: int, seed: int = 0, sharp: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        self.tables = [
            {
                prefix: _log_softmax(sharp * random.normal(size=SIZE))
                for length in range(LONGEST + 1)
                for prefix in itertools.product(range(SIZE), repeat=length)
            }
            for _ in range(sources)
        ]
        self.rows = 0

    def start(self) -> list[tuple[int, tuple[int, ...]]]:
        return [(row, ()) for row in range(len(self.tables))]

    def step(self, tokens: Array, state: Any) -> tuple[Array, Array, Any]:
        self.rows += len(state)
        state = [
            (row, prefix if token == BEGIN and not prefix else (*prefix, int(token)))
            for token, (row, prefix) in zip(tokens.tolist(), state, strict=True)
        ]
        logs = np.stack([self.tables[row][prefix] for row, prefix in state])
        attention = np.array([[float(row), float(len(prefix))] for row, prefix in state])
        return logs, attention, state

    @staticmethod
    def take(state: Any, rows: Array) -> Any:
        return [state[row] for row in rows.tolist()]

    def best(self, row: int, length: int, penalty: float) -> list[tuple[float, tuple[int, ...]]]:
        """All sequences by their score: those that end, and those cut off at the length."""
        found = []
        for count in range(length + 1):
            for tokens in itertools.product(range(2, SIZE), repeat=count):
                whole = tokens if count == length else (*tokens, END)
                score = sum(self.tables[row][whole[:i]][token] for i, token in enumerate(whole))
                found.append((score / len(whole) ** penalty, tokens))
        return sorted(found, reverse=True)


def _log_softmax(x: Array) -> Array:
    return np.asarray(x - np.log(np.exp(x).sum()))


def search(toy: Toy, lengths: list[int], **options: Any) -> list[list[Hypothesis]]:
    return beam_search(
        toy.step, toy.start(), toy.take, lengths, begin=BEGIN, end=END, forbidden=[BEGIN], **options
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
def test_a_beam_that_loses_nothing_finds_what_trying_all_finds(seed: int, penalty: float) -> None:
    toy, lengths = Toy(3, seed), [4, 2, 3]
    wide = SIZE**LONGEST
    found = search(toy, lengths, beam_size=wide, n_best=wide, length_penalty=penalty)
    for row, (length, own) in enumerate(zip(lengths, found, strict=True)):
        expected = toy.best(row, length, penalty)
        assert [hypothesis.tokens for hypothesis in own] == [tokens for _, tokens in expected]
        np.testing.assert_allclose([h.score for h in own], [s for s, _ in expected])


@pytest.mark.parametrize("seed", range(8))
def test_without_a_length_penalty_stopping_early_loses_nothing(seed: int) -> None:
    toy = Toy(2, seed, sharp=2.0)
    for row, own in enumerate(search(toy, [4, 4], beam_size=50, length_penalty=0.0, n_best=3)):
        assert [h.tokens for h in own] == [t for _, t in toy.best(row, 4, 0.0)[:3]]


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_the_greedy_search(seed: int) -> None:
    toy = Toy(4, seed)
    for row, (own,) in enumerate(search(toy, [4, 4, 1, 3])):
        tokens: tuple[int, ...] = ()
        score, length = 0.0, [4, 4, 1, 3][row]
        while len(tokens) < length:
            logs = toy.tables[row][tokens].copy()
            logs[BEGIN] = -np.inf
            score += logs.max()
            if logs.argmax() == END:
                break
            tokens = (*tokens, int(logs.argmax()))
        steps = len(tokens) + (len(tokens) < length)
        assert own.tokens == tokens
        assert own.score == pytest.approx(score / steps)


@pytest.mark.parametrize("beam_size", [1, 2, 3])
def test_a_source_is_searched_alike_alone_and_beside_others(beam_size: int) -> None:
    toy = Toy(5, 3)
    together = search(toy, [4, 1, 3, 2, 4], beam_size=beam_size, n_best=beam_size)
    for row, length in enumerate([4, 1, 3, 2, 4]):
        alone = Toy(5, 3)
        alone.tables = [alone.tables[row]]
        (found,) = search(alone, [length], beam_size=beam_size, n_best=beam_size)
        assert [(h.tokens, h.score) for h in found] == [(h.tokens, h.score) for h in together[row]]


def test_attention_goes_with_the_tokens() -> None:
    toy = Toy(3, 1)
    for row, own in enumerate(search(toy, [4, 4, 3], beam_size=3, n_best=3)):
        for hypothesis in own:
            count = len(hypothesis.tokens)
            assert hypothesis.attention.tolist() == [[row, t] for t in range(count)]


def test_a_wider_beam_is_no_worse_in_the_mean_and_ends_early() -> None:
    scores, rows = [], []
    for beam_size in (1, 2, 4, 16):
        toy = Toy(40, 2, sharp=2.0)
        found = search(toy, [4] * 40, beam_size=beam_size, length_penalty=0.0)
        scores.append(np.mean([own[0].score for own in found]))
        rows.append(toy.rows)
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]
    assert rows[0] < 4 * 40  # sources that are done cost nothing


def test_nothing_to_search() -> None:
    assert search(Toy(0), []) == []
