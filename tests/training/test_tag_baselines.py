from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noria.features.sentences import SentenceEncoder
from noria.features.tagged import read_tagged
from noria.training.tag_baselines import PLAIN_TAGGERS, PlainTaggers


def encoded(encoder: SentenceEncoder, *sentences: str) -> list[NDArray[np.int32]]:
    words = [sentence.split() for sentence in sentences]
    return encoder.encode(read_tagged(words, tagged=False))


def test_the_commonest_tag_of_a_word_and_of_all() -> None:
    words = ["a b a", "a c c"]
    data = read_tagged([s.split() for s in words], tagged=False)
    encoder = SentenceEncoder.train(data, vocabulary_size=99, min_count=1)
    labels = [np.array([0, 2, 0]), np.array([1, 1, 1])]
    plain = PlainTaggers.fit(["most_frequent_tag"], encoder.encode(data), labels, 3)
    assert plain.names == ["most_frequent_tag"]
    (tags,) = plain.tag("most_frequent_tag", encoded(encoder, "b c a zebra"))
    assert tags.tolist() == [2, 1, 0, 1]  # a word never seen: the commonest of all


def test_regression_sees_neighbours_and_endings_but_no_tags() -> None:
    """Tag 1 after "go" and, else, where a word ends in -ing."""
    random = np.random.default_rng(0)
    words, labels = [], []
    for _ in range(200):
        chosen = random.choice(["go", "x", "y", "z", "running", "walking"], 6)
        own = [
            int(word.endswith("ing") or (i > 0 and chosen[i - 1] == "go"))
            for i, word in enumerate(chosen)
        ]
        words.append(chosen.tolist())
        labels.append(np.array(own))
    data = read_tagged(words, tagged=False)
    encoder = SentenceEncoder.train(data, vocabulary_size=99, min_count=1)
    plain = PlainTaggers.fit(PLAIN_TAGGERS, encoder.encode(data), labels, 2)
    assert plain.names == list(PLAIN_TAGGERS)
    sequences = encoded(encoder, "x go y singing z", "z")
    found = [tags.tolist() for tags in plain.tag("logistic_regression", sequences)]
    assert found == [[0, 0, 1, 1, 0], [0]]
    frequent = plain.tag("most_frequent_tag", sequences)
    assert frequent[0].tolist() != found[0]


def test_a_tag_that_all_words_have_is_found_without_a_regression() -> None:
    data = read_tagged([["a", "b"]], tagged=False)
    encoder = SentenceEncoder.train(data, vocabulary_size=99, min_count=1)
    plain = PlainTaggers.fit(["logistic_regression"], encoder.encode(data), [np.array([1, 1])], 2)
    assert plain.tag("logistic_regression", encoder.encode(data))[0].tolist() == [1, 1]
