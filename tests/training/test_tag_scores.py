from __future__ import annotations

import json

import numpy as np
import pytest

from noria.training.tag_scores import (
    Found,
    TagComparison,
    TagsFound,
    all_types,
    compared,
    judge,
    score_types,
    word_accuracy,
)


def tags(*sentences: str) -> list[list[str]]:
    return [sentence.split() for sentence in sentences]


# counted by hand: of 6 stretches 4 are found from end to end, beside 2 that are not there
ACTUAL = tags("B-NP I-NP B-VP O B-NP", "B-NP O B-PP B-NP")
FOUND = tags("B-NP I-NP B-VP B-PP I-NP", "B-NP I-NP O B-NP")


def test_stretches_are_counted_as_conlleval_counts() -> None:
    parts = score_types(ACTUAL, FOUND)
    assert parts == {
        "NP": Found(right=3, found=4, actual=4),
        "PP": Found(right=0, found=1, actual=1),
        "VP": Found(right=1, found=1, actual=1),
    }
    together = all_types(parts)
    assert together == Found(right=4, found=6, actual=6)
    assert together.precision == together.recall == together.f1 == pytest.approx(2 / 3)
    assert word_accuracy(ACTUAL, FOUND) == pytest.approx(5 / 9)
    assert judge(ACTUAL, FOUND, stretches=True) == pytest.approx(2 / 3)
    assert judge(ACTUAL, FOUND, stretches=False) == pytest.approx(5 / 9)


def test_precision_and_recall_are_not_the_same() -> None:
    part = all_types(score_types(tags("B-A B-A B-A B-A"), tags("B-A O O B-B")))
    assert (part.precision, part.recall) == (0.5, 0.25)
    assert part.f1 == pytest.approx(1 / 3)


def test_schemes_and_broken_tags_count_by_what_they_mark() -> None:
    assert judge(tags("B-A I-A O B-B"), tags("B-A E-A O S-B"), stretches=True) == 1
    assert judge(tags("B-A I-A O B-B"), tags("I-A I-A O I-B"), stretches=True) == 1


def test_nothing_to_find() -> None:
    assert Found(0, 0, 0).f1 == 1
    assert (Found(0, 0, 3).precision, Found(0, 2, 0).recall, Found(0, 2, 0).f1) == (0, 0, 0)


def test_models_side_by_side_survive_json() -> None:
    found = [TagsFound("network", FOUND, 10, 1.0), TagsFound("perfect", ACTUAL, None, 0.0)]
    comparison = compared(found, ACTUAL, stretches=True, notes=["so"])
    assert (comparison.sentences, comparison.words) == (2, 9)
    assert comparison.scores[0].metrics() == {
        "f1": pytest.approx(2 / 3), "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3), "accuracy": pytest.approx(5 / 9),
    }  # fmt: skip
    assert [(part.name, part.actual, part.f1) for part in comparison.types] == [
        ("NP", 4, 0.75), ("PP", 1, 0.0), ("VP", 1, 1.0),
    ]  # fmt: skip
    matrix = np.array(comparison.confusion)
    place = comparison.tags.index
    assert matrix.sum() == 9
    assert matrix[place("B-NP"), place("I-NP")] == 1
    assert matrix[place("O"), place("I-NP")] == 1
    assert comparison.verdict().startswith("Memory does not pay here: perfect did no worse")
    again = TagComparison.from_dict(json.loads(json.dumps(comparison.to_dict())))
    assert again == comparison


def test_plain_tags_have_accuracy_alone() -> None:
    comparison = compared(
        [TagsFound("network", tags("NN VB"), 1, 0.0), TagsFound("fnn", tags("NN NN"), 1, 0.0)],
        tags("NN VB"),
        stretches=False,
    )
    assert comparison.scores[0].metrics() == {"accuracy": 1.0}
    assert comparison.types == ()
    assert comparison.verdict() == "Memory pays here: network has the highest accuracy, 1."
