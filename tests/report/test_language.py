from __future__ import annotations

from pathlib import Path

import pytest

from noria import LanguageModel
from noria.report import write_report
from tests.report.reading import ParsedPage
from tests.report.test_report import HOSTILE
from tests.tasks.words import cards, small_language, story


def page_of(model: LanguageModel, folder: Path) -> ParsedPage:
    model.save(folder / "m.noria")
    write_report(folder / "m.noria", folder / "m.html")
    return ParsedPage((folder / "m.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fitted() -> LanguageModel:
    return small_language().fit([story(300) + HOSTILE])


def test_tells_every_score(fitted: LanguageModel, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    heading, *rows = page.tables[0]
    assert heading == [
        "model", "nats a token", "perplexity", "bits a character", "parameters", "seconds",
    ]  # fmt: skip
    assert fitted.comparison_ is not None
    scores = fitted.comparison_.scores
    assert [row[0] for row in rows] == ["network", "fnn", "kneser_ney"]
    for row, score in zip(rows, scores, strict=True):
        assert float(row[1]) == pytest.approx(score.loss, rel=1e-3)
        assert float(row[3]) == pytest.approx(score.bits_per_character, rel=1e-3)
    best = min(range(3), key=lambda row: scores[row].loss)
    assert rows[best][1] in page.best
    assert fitted.comparison_.verdict() in page.text


def test_shows_what_it_wrote_as_training_went_on(fitted: LanguageModel, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    history = fitted.network_.history
    assert len(history.samples) == len(history.step)
    for sample in (history.samples[0], history.samples[-1]):
        assert " ".join(sample.split()) in " ".join(page.text.split())
    (picture,) = page.pictures()
    lines = [d for d in picture["data"] if "marker" not in d]
    assert len(lines) == 2 * 2  # network and rival, training and validation


def test_what_a_model_writes_is_text(tmp_path: Path) -> None:
    model = small_language(baselines=()).fit([story(300)])
    model.network_.history.samples[-1] = HOSTILE
    page = page_of(model, tmp_path)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "alert(1)" not in "".join(page.scripts)
    assert HOSTILE in page.text


def test_tells_of_the_columns_of_a_table(tmp_path: Path) -> None:
    model = small_language(baselines=(), test_size=0.0).fit(cards(60), condition="kind")
    page = page_of(model, tmp_path)
    assert "column: condition" in page.text
    assert "Against what it must beat" not in page.text  # nothing was held out
