"""The reports on classifiers of texts and on taggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noria import SequenceTagger, TextClassifier
from noria.report import write_report
from tests.report.reading import ParsedPage
from tests.report.test_report import HOSTILE
from tests.tasks.chunks import chunks
from tests.tasks.chunks import small as small_tagger
from tests.tasks.reviews import reviews, small


def page_of(model: Any, folder: Path) -> ParsedPage:
    model.save(folder / "m.noria")
    write_report(folder / "m.noria", folder / "m.html")
    return ParsedPage((folder / "m.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    texts, labels = reviews(24)
    hostile = [f"{text} {HOSTILE}" for text in texts]
    return small(pooling="attention").fit(hostile, [f"{HOSTILE}{label}" for label in labels])


@pytest.fixture(scope="module")
def tagger() -> SequenceTagger:
    X, y = chunks(24)
    return small_tagger(steps=30, learning_rate=0.03).fit(
        [[*words, HOSTILE] for words in X], [[*tags, "O"] for tags in y]
    )


def test_shows_what_each_word_did(classifier: TextClassifier, tmp_path: Path) -> None:
    page = page_of(classifier, tmp_path)
    heading, *rows = page.tables[0]
    assert heading == ["model", "accuracy %", "macro F1", "log loss", "parameters", "seconds"]
    assert [row[0] for row in rows] == ["network", "fnn", "tfidf_logistic_regression"]
    assert [[int(cell) for cell in row[1:]] for row in page.tables[1][1:]] == [
        list(row) for row in classifier.comparison_.confusion
    ]
    titles = [attrs["title"] for tag, attrs in page.tags if tag == "span" and "title" in attrs]
    expected = []
    for exhibit in classifier.exhibits_:
        expected += [f"{weight:+.3f}" for weight in exhibit["weights"]]
        expected += [f"{share:.3f}" for share in exhibit["attention"]]
    assert titles == expected
    for name in ("Which words decided", "How it learned", "svg"):
        assert name in page.text or any(tag == name for tag, _ in page.tags)
    (picture,) = page.pictures()
    assert len([d for d in picture["data"] if "marker" not in d]) == 2 * 2 * 2


def test_shows_tags_types_and_transitions(tagger: SequenceTagger, tmp_path: Path) -> None:
    page = page_of(tagger, tmp_path)
    scores, types, confusion, transitions, *_ = page.tables
    assert scores[0] == [
        "model", "F1 %", "precision %", "recall %", "accuracy %", "parameters", "seconds",
    ]  # fmt: skip
    assert [row[4] for row in scores[1:]] == [
        f"{100 * score.accuracy:.2f}" for score in tagger.comparison_.scores
    ]
    assert {row[0]: row[4] for row in types[1:]} == {
        part.name: f"{100 * part.f1:.2f}" for part in tagger.comparison_.types
    }
    assert [row[0] for row in confusion[1:]] == list(tagger.comparison_.tags)
    labels = tagger.names_.labels
    assert transitions[0] == ["", *labels, "end"]
    assert [row[0] for row in transitions[1:]] == [*labels, "begin"]
    forbidden = [attrs for tag, attrs in page.tags if attrs.get("class") == "never"]
    legal = tagger.network_.modules[0].chain.legal
    assert len(forbidden) == int((~legal).sum())
    for words in (exhibit["words"] for exhibit in tagger.exhibits_):
        assert words[0] in page.text


def test_plain_tags_have_no_types(tmp_path: Path) -> None:
    X = [["a", "b"]] * 12
    page = page_of(small_tagger(baselines=()).fit(X, [["N", "V"]] * 12), tmp_path)
    assert page.tables[0][0][:2] == ["model", "accuracy %"]
    assert "Type by type" not in page.text


@pytest.mark.parametrize("kind", ["classifier", "tagger"])
def test_what_users_wrote_is_text(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    page = page_of(request.getfixturevalue(kind), tmp_path)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "alert(1)" not in "".join(page.scripts)
