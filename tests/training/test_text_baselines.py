from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from noria.training.class_scores import confusion, decided, macro_f1
from noria.training.sequences import class_weights, log_loss, split_folds
from noria.training.text_baselines import BagOfWords


def words(*texts: str) -> list[NDArray[np.int32]]:
    """Each letter as its number, with a column that must not matter."""
    return [np.array([[ord(c), 7] for c in text.replace(" ", "")], np.int32) for text in texts]


TEXTS = ["a b c", "a c d", "b b a", "d c a", "c c b", "a d d", "b a c", "d a b"]
LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 1])


def test_is_what_sklearn_makes_of_words_and_pairs() -> None:
    bag = BagOfWords.fit(words(*TEXTS), LABELS, 2)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w")
    model = LogisticRegression(C=10, max_iter=2000).fit(vectorizer.fit_transform(TEXTS), LABELS)
    new = ["a b d", "c a", "d d d"]
    expected = model.predict_proba(vectorizer.transform(new))
    found = bag.probabilities("tfidf_logistic_regression", words(*new))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_words_never_seen_leave_what_is_common() -> None:
    bag = BagOfWords.fit(words(*TEXTS), LABELS, 2)
    (found,) = bag.probabilities("tfidf_logistic_regression", words("x y"))
    assert found.sum() == pytest.approx(1)
    assert abs(found[0] - 0.5) < 0.3


def test_several_labels_are_judged_one_by_one() -> None:
    has = np.stack([LABELS == 1, np.ones(8, bool), np.zeros(8, bool)], axis=1)
    bag = BagOfWords.fit(words(*TEXTS), has, 3)
    found = bag.probabilities("tfidf_logistic_regression", words("d d", "b b"))
    assert found[0, 0] > 0.5 > found[1, 0]
    assert (found[:, 1] > 0.99).all()
    assert (found[:, 2] < 0.01).all()


def test_scores_of_several_labels_a_case() -> None:
    actual = np.array([[True, True], [False, True], [False, False]])
    found = np.array([[True, False], [False, True], [True, False]])
    assert decided(np.array([[0.6, 0.2]]), multi_label=True).tolist() == [[True, False]]
    # by hand: F1 of the first class 2/3, of the second 2/3
    assert macro_f1(actual, found, 2) == pytest.approx(2 / 3)
    assert confusion(actual, found, 2).tolist() == [[1, 0], [1, 1]]
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    assert log_loss(probabilities, actual) == pytest.approx(np.log(2))
    assert class_weights(actual).tolist() == [3 / 2, 3 / 4]


def test_sets_of_labels_are_dealt_out_evenly() -> None:
    labels = np.array([[True, False], [True, True], [False, False]] * 10)
    folds = split_folds(labels, 5, seed=0)
    for fold in range(5):
        held = labels[folds == fold]
        assert len(held) == 6
        assert np.unique(held, axis=0, return_counts=True)[1].tolist() == [2, 2, 2]
