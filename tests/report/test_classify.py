from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noria import SequenceClassifier
from noria.report import write_report
from tests.report.reading import ParsedPage
from tests.report.test_report import HOSTILE
from tests.tasks.bumps import bumps, small


def page_of(classifier: SequenceClassifier, folder: Path) -> ParsedPage:
    classifier.save(folder / "m.noria")
    write_report(folder / "m.noria", folder / "m.html")
    return ParsedPage((folder / "m.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    X, y = bumps(20)
    return small().fit(X, [HOSTILE if label == "rising" else "low" for label in y])


def test_tells_every_score_and_the_confusion(fitted: SequenceClassifier, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    heading, *rows = page.tables[0]
    assert heading == ["model", "accuracy %", "macro F1", "log loss", "parameters", "seconds"]
    scores = fitted.comparison_.scores
    assert [row[0] for row in rows] == [score.model for score in scores]
    assert [row[1] for row in rows] == [f"{100 * score.accuracy:.2f}" for score in scores]
    assert rows[2][3] == "–"
    _, *matrix = page.tables[1]
    assert [row[0] for row in matrix] == fitted.classes_.tolist()
    assert [[int(cell) for cell in row[1:]] for row in matrix] == [
        list(row) for row in fitted.comparison_.confusion
    ]
    assert fitted.comparison_.verdict() in page.text


def test_draws_the_learning_of_every_member(fitted: SequenceClassifier, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    (picture,) = page.pictures()
    lines: list[dict[str, Any]] = [d for d in picture["data"] if "marker" not in d]
    assert len(lines) == 2 * 2 * 2  # network and rival, two members, training and validation
    assert len(page.tables[2]) == 1 + 4
    assert any(tag == "svg" for tag, _ in page.tags)


def test_names_of_classes_are_text(fitted: SequenceClassifier, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "alert(1)" not in "".join(page.scripts)
    assert HOSTILE in page.text
