from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from noria import Translator
from noria.cli import main
from noria.cli.fit_translate import translate
from tests.commands import result, without
from tests.tasks.words import pairs

FAST = [
    *("--tokens", "word", "--hidden-size", "8", "--embedding-size", "4", "--steps", "3"),
    *("--batch-size", "8", "--baselines", "lexicon", "--output", "x.noria"),
]


def fit(*data_and_flags: str) -> list[str]:
    """A fit that takes no time; flags given replace those of `FAST`."""
    return ["fit", "translate", *data_and_flags, *without(FAST, data_and_flags)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, good and bad, and a model."""
    path: Path = tmp_path_factory.mktemp("cli")
    for name, (X, y) in [("train", pairs(60)), ("test", pairs(8, seed=1))]:
        (path / f"{name}.de").write_text("\n".join(X) + "\n", encoding="utf-8")
        (path / f"{name}.en").write_text("\n".join(y) + "\n", encoding="utf-8")
        both = "".join(f"{one}\t{other}\n" for one, other in zip(X, y, strict=True))
        (path / f"{name}.tsv").write_text(both, encoding="utf-8")
    (path / "gap.tsv").write_text("eins\tone\nzwei\t\n", encoding="utf-8")
    (path / "one.txt").write_text("eins\nzwei\n", encoding="utf-8")
    (path / "two.tsv").write_text("eins\tone\nzwei\ttwo\n", encoding="utf-8")
    where = Path.cwd()
    os.chdir(path)
    try:
        main(fit("train.de", "train.en", "--output", "m.noria"))
    finally:
        os.chdir(where)
    return path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(folder)
    before = set(folder.iterdir())
    yield folder
    for new in set(folder.iterdir()) - before:
        shutil.rmtree(new) if new.is_dir() else new.unlink()


BAD: dict[str, tuple[list[str], int, str]] = {
    "missing file": (fit("no.tsv"), 3, "no.tsv: there is no such file"),
    "no tab": (fit("one.txt"), 3, "one.txt, line 1: has no tab between two texts"),
    "a side missing": (fit("gap.tsv"), 3, "gap.tsv, line 2: the second text of the pair is"),
    "other lengths": (fit("train.de", "test.en"), 3, "they belong together line by line"),
    "too few": (fit("two.tsv"), 3, "2 pairs are too few to learn from"),
    "three files": (
        fit("train.tsv", "--test", "a,b,c"), 2, "--test has 3 files: give one, or two with a comma",
    ),
    "over the test": (
        fit("train.tsv", "--test", "test.tsv", "--output", "test.tsv"), 2,
        "test.tsv is what is read",
    ),
    "unknown attention": (
        fit("train.tsv", "--attention", "dot"), 2, "attention is 'dot', expected one of",
    ),
    "more than the beam": (
        ["predict", "m.noria", "test.de", "--n-best", "9"], 2, "n_best is 9 and beam_size 5",
    ),
    "a forecaster's flag": (
        ["predict", "m.noria", "test.de", "--horizon", "3"], 2,
        "--horizon is of no use to a model for translate",
    ),
    "no beam": (
        ["predict", "m.noria", "test.de", "--beam-size", "0"], 2, "n_best is 1 and beam_size 0",
    ),
    "a length that is none": (
        ["predict", "m.noria", "test.de", "--length-penalty", "-1"], 2, "length_penalty is -1.0",
    ),
    "a missing source": (["predict", "m.noria", "no.de"], 3, "no.de: there is no such file"),
    "no references": (["evaluate", "m.noria", "test.de"], 3, "test.de, line 1: has no tab"),
    "generate": (["generate", "m.noria"], 3, "m.noria is a model for translate"),
    "stream": (["stream", "m.noria"], 2, "a model for translate does not stream"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, expected, message = BAD[case]
    before = {file: file.stat().st_mtime_ns for file in here.iterdir()}
    code, out, err = result(capsys, arguments)
    assert message in err
    assert (code, out) == (expected, "")
    assert err.startswith("noria: ")
    assert err.count("\n") == 1
    assert {file: file.stat().st_mtime_ns for file in here.iterdir()} == before


def test_fit_and_evaluate_say_how_it_compares(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--test", "test.de,test.en", "--validation", "test.tsv"]
    code, out, err = result(capsys, fit("train.tsv", *flags))
    assert (code, err) == (0, "")
    for words in ("BLEU", "chrF", "lexicon", "8 held-out sentences", "nrefs:1|case:mixed", "emory"):
        assert words in out
    assert out.splitlines()[-1] == "Model: x.noria"
    assert [file.name for file in here.iterdir() if file.name.startswith("x.")] == ["x.noria"]
    expected = Translator.load("x.noria").comparison_
    assert expected is not None
    for data in (["test.tsv"], ["test.de", "--reference", "test.en"]):
        _, evaluated, _ = result(capsys, ["evaluate", "x.noria", *data, "--json"])
        found = json.loads(evaluated)
        assert found["metrics"] == expected.scores[0].metrics()
        assert found["baselines"]["lexicon"] == expected.scores[1].metrics()


def test_another_search_and_encoding(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Translator.load("m.noria").set_params(beam_size=1, length_penalty=0.5)
    flags = ["--beam-size", "1", "--length-penalty", "0.5", "--encoding", "utf-16", "--json"]
    for name in ("test.de", "test.tsv"):
        Path(f"{name}16").write_text(Path(name).read_text(encoding="utf-8"), encoding="utf-16")
    code, out, err = result(capsys, ["predict", "m.noria", "test.de16", *flags])
    assert (code, err) == (0, "")
    found = [json.loads(line)["score"] for line in out.splitlines()]
    assert found == model.predict_frame("test.de")["score"].to_list()
    assert found != Translator.load("m.noria").predict_frame("test.de")["score"].to_list()
    code, out, err = result(capsys, ["evaluate", "m.noria", "test.tsv16", *flags])
    assert (code, err) == (0, "")
    assert json.loads(out)["metrics"] == model.evaluate("test.tsv").scores[0].metrics()


def test_predict_in_every_form(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = Translator.load("m.noria").predict_frame("test.de", n_best=2)
    code, out, err = result(capsys, ["predict", "m.noria", "test.de", "--n-best", "2", "--json"])
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 16
    assert [row["translation"] for row in rows] == expected["translation"].to_list()
    assert rows[1].keys() == {"line", "rank", "source", "translation", "score", "alignment"}
    _, out, _ = result(capsys, ["predict", "m.noria", "test.de"])
    assert out.splitlines()[0] == "line,rank,source,translation,score,alignment"
    assert len(out.splitlines()) == 1 + 8
    main(["predict", "m.noria", "test.de", "--n-best", "2", "-o", "x.parquet"])
    assert pl.read_parquet("x.parquet").equals(expected)


def test_flags_that_are_on_can_be_put_off(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = result(capsys, fit("train.tsv", "--no-input-feeding", "--untied"))
    assert (code, err) == (0, "")
    plan = Translator.load("x.noria").network_.module.plan
    assert (plan.input_feeding, plan.tied) == (False, False)


def test_info_and_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = result(capsys, ["info", "m.noria"])
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if "layer" not in line)
    assert (lines["task"], lines["pairs"]) == ("translate", "54")
    assert result(capsys, ["report", "m.noria"]) == (0, "m.html\n", "")
    page = (here / "m.html").read_text(encoding="utf-8")
    for words in ("Against what it must beat", "What it looked at", "svg", "How it learned"):
        assert words in page


def test_every_setting_has_a_flag_of_the_same_default() -> None:
    flags = inspect.signature(translate).parameters
    for name, parameter in inspect.signature(Translator).parameters.items():
        if name != "baselines":
            assert flags[name].default == parameter.default, name
    for name, parameter in inspect.signature(Translator.fit).parameters.items():
        if name not in ("self", "X", "y", "checkpoint", "progress"):
            assert flags[name].default == parameter.default, name
