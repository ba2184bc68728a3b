from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss
from torch import nn

from noria.training.class_baselines import PlainBaselines, summaries
from noria.training.class_scores import ClassForecasts, compared, score
from noria.training.loop import random_generator
from noria.training.sequences import (
    SequenceObjective,
    distorted,
    pad,
    split_folds,
    split_groups,
    windowed,
)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(2, 6))
def test_folds_are_even_in_every_class(labels: list[int], folds: int) -> None:
    fold = split_folds(np.array(labels), folds, seed=0)
    for label in set(labels):
        own = fold[np.array(labels) == label]
        if len(own) == 1:
            assert own.tolist() == [-1]
            continue
        counts = np.bincount(own, minlength=folds)
        assert counts.max() - counts.min() <= 1
    whole = np.bincount(fold[fold >= 0], minlength=folds)
    assert whole.max() - whole.min() <= 1


def test_a_distortion_stays_near_the_sequence() -> None:
    x = np.stack([np.arange(50.0), -np.arange(50.0)], axis=1).astype(np.float32)
    np.testing.assert_array_equal(distorted(x, 0.0, random_generator(0)), x)
    lengths = set()
    for seed in range(50):
        y = distorted(x, 0.1, random_generator(seed))
        lengths.add(len(y))
        assert y.shape[1] == 2
        assert 45 <= len(y) <= 55
        assert np.corrcoef(y[:, 0], np.arange(len(y)))[0, 1] > 0.99
    assert len(lengths) > 5
    assert distorted(x[:1], 0.3, random_generator(0)).shape == (1, 2)


def test_padding_and_windows() -> None:
    parts = [np.float32([[1], [3]]), np.float32([[5], [6], [7], [8]])]
    x, lengths = pad(parts)
    assert x[..., 0].tolist() == [[1, 3, 0, 0], [5, 6, 7, 8]]
    assert lengths.tolist() == [2, 4]
    assert [w.tolist() for w in windowed(parts, 3)] == [[[1, 2, 3]], [[5, 6.5, 8]]]
    assert windowed(parts, 0)[1] is parts[1]


class Constant(nn.Module):
    """Says the same of every case."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


def objective(labels: list[int], weights: list[float] | None = None) -> SequenceObjective:
    sequences = [np.full((3, 1), number, np.float32) for number in range(len(labels))]
    return SequenceObjective(
        Constant([0.0, 1.0]), sequences, np.array(labels), (sequences, np.array(labels)),
        batch_size=4, class_weights=None if weights is None else np.array(weights),
        label_smoothing=0.0, augmentation=0.0, window=0, seed=0,
    )  # fmt: skip


def test_every_case_comes_once_an_epoch() -> None:
    made = objective([0, 1] * 5)
    assert made.batches == 3
    orders = []
    for epoch in range(2):
        batches = [made.batch(3 * epoch + number) for number in range(3)]
        assert not any(goes_on for _, goes_on in batches)
        seen = [int(v) for ((x, _), _), _ in batches for v in x[:, 0, 0]]
        assert sorted(seen) == list(range(10))
        orders.append(seen)
    assert orders[0] != orders[1]
    assert made.batch(1)[0][1].tolist() == made.batch(1)[0][1].tolist()


def test_losses_are_cross_entropies() -> None:
    nothing, one = -np.log(1 / (1 + np.e)), -np.log(np.e / (1 + np.e))
    made = objective([0, 0, 0, 1])
    assert made.validate() == pytest.approx((3 * nothing + one) / 4)
    assert made.loss(made.batch(0)[0], None)[0].item() == pytest.approx((3 * nothing + one) / 4)
    weighted = objective([0, 0, 0, 1], [2 / 3, 2.0])
    loss = weighted.loss(weighted.batch(0)[0], None)[0].item()
    assert loss == pytest.approx((nothing + one) / 2)
    assert weighted.validate() == pytest.approx((nothing + one) / 2)


def test_scores_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1, 1, 1], 50)
    actual = random.integers(0, 3, 50)
    made = score(ClassForecasts("m", probabilities, False, None, 0.0), actual)
    found = probabilities.argmax(1)
    assert made.accuracy == np.mean(found == actual)
    assert made.macro_f1 == pytest.approx(f1_score(actual, found, average="macro"))
    assert made.log_loss == pytest.approx(log_loss(actual, probabilities))
    table = compared([ClassForecasts("m", probabilities, True, None, 0.0)], actual, "abc")
    assert table.confusion[2][0] == int(((actual == 2) & (found == 0)).sum())
    assert np.isnan(table.scores[0].log_loss)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_is_scikit_learns(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    sequences = [random.standard_normal((6, 2)).astype(np.float32) + n % classes for n in range(30)]
    labels = np.arange(30) % classes
    plain = PlainBaselines.fit(["logistic_regression"], sequences, labels, 6, classes)
    assert plain.names == ["logistic_regression"]
    x = summaries(sequences)
    spread = np.where(x.std(0) > 1e-9, x.std(0), 1)
    model = LogisticRegression(max_iter=2000).fit((x - x.mean(0)) / spread, labels)
    expected = model.predict_proba((x - x.mean(0)) / spread)
    np.testing.assert_allclose(
        plain.probabilities("logistic_regression", sequences), expected, atol=1e-9
    )


@pytest.mark.parametrize("name", ["logistic_regression", "nearest_neighbour", "minirocket"])
def test_who_learned_one_class_says_that_class(name: str) -> None:
    """As in a fold whose other part lacks a class."""
    sequences = [np.float32([[number], [1]]) for number in range(4)]
    plain = PlainBaselines.fit([name], sequences, np.array([1, 1, 1, 1]), 2, 3)
    np.testing.assert_allclose(plain.probabilities(name, sequences), [[0, 1, 0]] * 4, atol=1e-12)


def test_the_neighbour_is_the_nearest_at_one_length() -> None:
    sequences = [np.float32([[0], [1]]), np.float32([[1], [1], [0]])]
    plain = PlainBaselines.fit(["nearest_neighbour"], sequences, np.array([0, 1]), 3, 3)
    asked = [np.float32([[0], [0], [0], [1]]), np.float32([[1], [0]])]
    assert plain.probabilities("nearest_neighbour", asked).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_groups_are_dealt_out_whole_and_the_classes_evenly() -> None:
    labels = np.arange(60) % 3
    groups = np.repeat(np.arange(10), 6)
    folds = split_groups(labels, groups, 5, seed=0)
    assert np.bincount(folds).tolist() == [12] * 5
    for group in range(10):
        assert len(set(folds[groups == group].tolist())) == 1
    assert split_groups(labels, groups, 5, seed=0).tolist() == folds.tolist()
    assert split_groups(labels, groups, 5, seed=1).tolist() != folds.tolist()
