from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from noria.features.tags import legal_steps
from noria.modules.crf import (
    ConditionalRandomField,
    best_chains,
    chain_scores,
    log_partition,
    marginals,
)

TAGS = 3


def made(steps: int, lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    emissions = torch.randn(len(lengths), steps, TAGS) * 2
    for row, length in enumerate(lengths):
        emissions[row, length:] = torch.nan  # what is past the end must never show
    return emissions, torch.randn(TAGS + 1, TAGS + 1), torch.tensor(lengths)


def every_chain(
    emissions: Tensor, transitions: Tensor, length: int
) -> tuple[list[tuple[int, ...]], Tensor]:
    """All chains of one row, and their scores, summed one by one."""
    emissions, transitions = emissions.double(), transitions.double()
    chains = list(itertools.product(range(TAGS), repeat=length))
    scores = []
    for chain in chains:
        score = transitions[TAGS, chain[0]] + transitions[chain[-1], TAGS]
        score = score + sum(emissions[t, tag] for t, tag in enumerate(chain))
        scores.append(score + sum(transitions[a, b] for a, b in itertools.pairwise(chain)))
    return chains, torch.stack(scores)


@pytest.mark.parametrize(("steps", "lengths"), [(1, [1]), (5, [5, 1, 3]), (4, [2, 4])])
def test_is_what_counting_every_chain_gives(steps: int, lengths: list[int]) -> None:
    emissions, transitions, ends = made(steps, lengths)
    clean = emissions.nan_to_num()
    whole = log_partition(emissions, transitions, ends)
    best = best_chains(emissions, transitions, ends)
    shares = marginals(emissions, transitions, ends)
    for row, length in enumerate(lengths):
        chains, scores = every_chain(clean[row], transitions, length)
        torch.testing.assert_close(whole[row], scores.logsumexp(0))
        highest = chains[int(scores.argmax())]
        assert best[row].tolist() == [*highest, *[0] * (steps - length)]
        own = torch.tensor([[*highest, *[0] * (steps - length)]])
        scored = chain_scores(clean[row : row + 1], transitions, own, ends[row : row + 1])
        torch.testing.assert_close(scored[0], scores.max())
        probabilities = scores.softmax(0)
        for step in range(length):
            for tag in range(TAGS):
                within = torch.tensor([chain[step] == tag for chain in chains])
                torch.testing.assert_close(shares[row, step, tag], probabilities[within].sum())
        assert not shares[row, length:].any()


def test_gradients_are_those_of_the_sum_over_every_chain() -> None:
    emissions, transitions, _ = made(4, [4], seed=1)
    leaves = [part.clone().requires_grad_() for part in (emissions, transitions)]
    log_partition(leaves[0], leaves[1], torch.tensor([4])).sum().backward()
    others = [part.clone().requires_grad_() for part in (emissions, transitions)]
    every_chain(others[0][0], others[1], 4)[1].logsumexp(0).backward()
    for one, other in zip(leaves, others, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_scores_far_apart_are_summed_exactly() -> None:
    emissions = torch.tensor([[[0.0, -300.0, 200.0], [500.0, 0.0, -100.0], [0.0, 1.0, -400.0]]])
    transitions = torch.tensor([[0.0, 30, 5, 1], [9, 0, -90, 0], [-200, 7, 3, 50], [0, 1, 2, 0]])
    _, scores = every_chain(emissions[0], transitions, 3)
    whole = log_partition(emissions, transitions, torch.tensor([3]))
    torch.testing.assert_close(whole[0], scores.logsumexp(0))


def test_the_likelihood_of_all_chains_is_one_and_no_illegal_one_is_found() -> None:
    labels = ["B-A", "E-A", "O"]
    chain = ConditionalRandomField(legal_steps(labels))
    torch.nn.init.normal_(chain.learned)
    emissions, _, _ = made(4, [4], seed=2)
    total = 0.0
    for tags in itertools.product(range(3), repeat=4):
        nll = chain(emissions, torch.tensor([tags]), torch.tensor([4])).item()
        text = "".join(labels[tag][0] for tag in tags)
        if set(text.replace("BE", "")) <= {"O"}:
            total += np.exp(-nll)
        else:
            assert nll > 1000
    assert total == pytest.approx(1)
    emissions[0, :, 1] = 1e3  # E-A everywhere is what the words say
    found = best_chains(emissions, chain.transitions(), torch.tensor([4]))[0].tolist()
    assert [labels[tag] for tag in found] == ["B-A", "E-A", "B-A", "E-A"]


def test_padding_and_company_change_nothing() -> None:
    emissions, transitions, lengths = made(6, [6, 2, 4], seed=3)
    whole = log_partition(emissions, transitions, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = emissions[row : row + 1, :length]
        own = log_partition(alone, transitions, lengths[row : row + 1])
        torch.testing.assert_close(whole[row : row + 1], own)
