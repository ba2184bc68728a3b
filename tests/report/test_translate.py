from __future__ import annotations

from pathlib import Path

import pytest

from noria import Translator
from noria.report import write_report
from tests.report.reading import ParsedPage
from tests.report.test_report import HOSTILE
from tests.tasks.words import pairs, small_translator


def page_of(model: Translator, folder: Path) -> ParsedPage:
    model.save(folder / "m.noria")
    write_report(folder / "m.noria", folder / "m.html")
    return ParsedPage((folder / "m.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fitted() -> Translator:
    return small_translator().fit(*pairs(60))


def test_tells_every_score_with_its_signature(fitted: Translator, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    heading, *rows = page.tables[0]
    assert heading == ["model", "BLEU", "chrF", "sentences/s", "parameters", "seconds"]
    comparison = fitted.comparison_
    assert comparison is not None
    assert [row[0] for row in rows] == ["network", "fnn", "lexicon"]
    assert [row[1] for row in rows] == [f"{score.bleu:.2f}" for score in comparison.scores]
    for text in (*comparison.notes, comparison.verdict()):
        assert text in page.text


def test_draws_where_it_looked(fitted: Translator, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    maps = [table for table in page.tables if table[0][:1] == [""]]
    shown = [exhibit for exhibit in fitted.exhibits_ if exhibit["target"]]
    assert shown
    assert len(maps) == len(shown)
    styles = [a["style"] for tag, a in page.tags if tag == "td" and a.get("style")]
    weights = [w for exhibit in shown for row in exhibit["alignment"] for w in row]
    assert styles == [f"background:rgba(31,95,168,{0.9 * weight:.2f})" for weight in weights]
    for exhibit, (heading, *rows) in zip(shown, maps, strict=True):
        assert heading[1:] == exhibit["source"]
        assert [row[0] for row in rows] == exhibit["target"]


def test_shows_translations_as_training_went_on(fitted: Translator, tmp_path: Path) -> None:
    page = page_of(fitted, tmp_path)
    last = fitted.network_.history.samples[-1]
    assert " ".join(last.split()) in " ".join(page.text.split())
    (picture,) = page.pictures()
    assert len([d for d in picture["data"] if "marker" not in d]) == 2 * 2


def test_words_are_text(fitted: Translator, tmp_path: Path) -> None:
    exhibit = fitted.exhibits_[0]
    model = Translator.load(_saved(fitted, tmp_path))
    model.exhibits_ = [
        {**exhibit, "reference": HOSTILE, "source": [HOSTILE] * len(exhibit["source"])}
    ]
    page = page_of(model, tmp_path)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "alert(1)" not in "".join(page.scripts)
    assert HOSTILE in page.text


def _saved(model: Translator, folder: Path) -> Path:
    model.save(folder / "m.noria")
    return folder / "m.noria"
