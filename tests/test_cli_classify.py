from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from noria import SequenceClassifier, TextClassifier
from noria.cli import main
from noria.cli.fit_classify import classify
from noria.runtime import read_model
from tests.commands import result, without
from tests.tasks.bumps import bumps, long_table, ts_text

FAST = [
    *("--hidden-size", "4", "--steps", "3", "--members", "2", "--channels", "4"),
    *("--baselines", "nearest_neighbour", "--output", "x.noria"),
]


def fit(data: str, *flags: str) -> list[str]:
    """A fit that takes no time; flags given replace those of `FAST`."""
    return ["fit", "classify", data, *without(FAST, flags), *flags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, good and bad, and a model."""
    path: Path = tmp_path_factory.mktemp("cli")
    cases = bumps(20)
    text = ts_text(*cases)
    lines = text.splitlines()
    (path / "good.ts").write_text(text)
    (path / "test.ts").write_text(ts_text(*bumps(10, seed=1)))
    table = long_table(*cases)
    table.write_csv(path / "good.csv")
    table.with_columns(
        label=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("x")).otherwise(pl.col("label"))
    ).write_csv(path / "changing.csv")
    (path / "text.ts").write_text("\n".join([*lines[:5], "1,much:rising", *lines[6:]]))
    (path / "label.ts").write_text("\n".join([*lines[:5], "1,2:level", *lines[6:]]))
    (path / "wide.ts").write_text("\n".join([*lines[:2], "1,2:3,4:rising"]))
    (path / "unlabelled.ts").write_text("@data\n1,2\n3,4\n")
    (path / "one.ts").write_text("@classLabel true\n@data\n1,2:a\n3,4:a\n5,6:a\n")
    (path / "few.ts").write_text("@classLabel true\n@data\n1,2:a\n3,4:b\n")
    (path / "other.ts").write_text("@classLabel true\n@data\n1,2:level\n")
    (path / "empty.ts").write_text("")
    (path / "table.xyz").write_text(text)
    where = Path.cwd()
    os.chdir(path)
    try:
        main(fit("good.ts", "--output", "m.noria"))
        main(fit("good.csv", "--output", "t.noria"))
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
    "missing file": (fit("no.ts"), 3, "no.ts: there is no such file"),
    "missing table": (fit("no.csv"), 3, "no.csv: there is no such file"),
    "empty file": (fit("empty.ts"), 3, "empty.ts: has no line @data; is it a .ts file?"),
    "unknown extension": (fit("table.xyz"), 3, "table.xyz: cannot tell what the file holds"),
    "text among numbers": (
        fit("text.ts"), 3,
        "text.ts, line 6, channel 0, value 1: 'much' is not a number; write ? for a",
    ),
    "unknown label": (fit("label.ts"), 3, "label.ts, line 6: the label 'level' is none"),
    "no labels": (fit("unlabelled.ts"), 3, "unlabelled.ts: has no labels: its header"),
    "one class": (fit("one.ts"), 3, "one.ts: all cases are of one class, 'a'"),
    "too few": (fit("few.ts"), 3, "few.ts: 2 cases are too few for 5 folds"),
    "changing label": (fit("changing.csv"), 3, "changing.csv, row 5, column 'label': the"),
    "unknown column": (
        fit("good.csv", "--label", "class"), 3, "good.csv: there is no column 'class'",
    ),
    "column twice": (fit("good.csv", "--label", "ds"), 2, "column 'ds' is named twice"),
    "a column of a .ts file": (
        fit("good.ts", "--group", "who"), 2,
        "group names a column, and the file good.ts has none: leave it out",
    ),
    "columns of a .ts file": (
        fit("good.ts", "--value", "x,y"), 2, "value names a column, and the file good.ts has",
    ),
    "text as channel": (
        fit("good.csv", "--value", "label", "--label", "value"), 3, "'rising' is not a number",
    ),
    "test with other labels": (
        fit("good.ts", "--test", "other.ts"), 3, "other.ts, case 0: the label 'level' was",
    ),
    "test with other channels": (
        fit("good.ts", "--test", "wide.ts"), 3, "wide.ts: has 2 channels, the model was",
    ),
    "over the data": (fit("good.ts", "--output", "good.ts"), 2, "good.ts is what is read"),
    "over the test": (
        fit("good.ts", "--test", "test.ts", "--output", "test.ts"), 2, "test.ts is what is read",
    ),
    "no members": (fit("good.ts", "--members", "0"), 2, "members is 0: it must be at least 1"),
    "unknown pooling": (fit("good.ts", "--pooling", "sum"), 2, "pooling is 'sum', expected one of"),
    "unknown baseline": (fit("good.ts", "--baselines", "svm"), 2, "baseline 'svm' is none of fnn"),
    "both ways and full": (
        fit("good.ts", "--feedback", "full", "--num-layers", "2"), 2, "bidirectional",
    ),
    "predict other channels": (["predict", "m.noria", "wide.ts"], 3, "wide.ts: has 2 channels"),
    "predict without columns": (
        ["predict", "t.noria", "test.csv"], 3, "test.csv: there is no such file",
    ),
    "a forecaster's flag": (
        ["predict", "m.noria", "good.ts", "--horizon", "3"], 2,
        "--horizon is of no use to a model for classify",
    ),
    "a forecaster's windows": (
        ["evaluate", "m.noria", "good.ts", "--windows", "3"], 2, "--windows is of no use",
    ),
    "evaluate without labels": (
        ["evaluate", "m.noria", "unlabelled.ts"], 3, "unlabelled.ts: has no labels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, expected, message = BAD[case]
    before = {file: file.stat().st_mtime_ns for file in here.iterdir()}
    code, out, err = result(capsys, arguments)
    assert (code, out) == (expected, "")
    assert err.startswith("noria: ")
    assert message in err
    assert err.count("\n") == 1
    assert {file: file.stat().st_mtime_ns for file in here.iterdir()} == before


def test_fit_says_how_it_compares(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = result(capsys, fit("good.ts", "--test", "test.ts"))
    assert (code, err) == (0, "")
    assert "10 held-out cases of 2 classes" in out
    assert "nearest_neighbour" in out
    assert "ccuracy" in out
    assert "emory" in out.splitlines()[-2]
    assert out.splitlines()[-1] == "Model: x.noria"
    assert [file.name for file in here.iterdir() if file.name.startswith("x.")] == ["x.noria"]


def test_fit_and_evaluate_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, fitted, _ = result(capsys, [*fit("good.ts", "--test", "test.ts"), "--json"])
    _, evaluated, _ = result(capsys, ["evaluate", "x.noria", "test.ts", "--json"])
    one, other = json.loads(fitted), json.loads(evaluated)
    assert one["metrics"].keys() == {"accuracy", "macro_f1", "log_loss"}
    assert one["metrics"] == other["metrics"]
    assert one["baselines"] == other["baselines"]
    assert one["baselines"].keys() == {"nearest_neighbour"}
    assert sum(map(sum, one["comparison"]["confusion"])) == one["comparison"]["cases"] == 10


def test_predict_in_every_form(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = SequenceClassifier.load("m.noria").predict_frame("test.ts")
    code, out, err = result(capsys, ["predict", "m.noria", "test.ts"])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "case,prediction,p_falling,p_rising"
    assert [line.split(",")[1] for line in out.splitlines()[1:]] == expected["prediction"].to_list()
    _, out, _ = result(capsys, ["predict", "m.noria", "test.ts", "--json"])
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 10
    assert rows[0]["p_rising"] == expected["p_rising"][0]
    main(["predict", "m.noria", "test.ts", "-o", "x.parquet"])
    assert pl.read_parquet("x.parquet").equals(expected)
    # a table has the columns that the model was trained on, and needs no labels
    pl.read_csv("good.csv").drop("label").write_csv("x.csv")
    _, out, _ = result(capsys, ["predict", "t.noria", "x.csv"])
    assert out.splitlines()[0] == "unique_id,prediction,p_falling,p_rising"
    assert len(out.splitlines()) == 21


def test_columns_by_other_names(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"unique_id": "who", "ds": "t", "value": "x", "label": "kind"}
    table = pl.read_csv("good.csv").rename(names).with_columns(y=-pl.col("x"))
    table.write_csv("renamed.csv")
    flags = ["--id", "who", "--time", "t", "--value", "x,y", "--label", "kind"]
    code, _, err = result(capsys, fit("renamed.csv", *flags))
    assert (code, err) == (0, "")
    document = read_model("x.noria").document
    assert document["columns"] == {
        "id": "who",
        "time": "t",
        "value": ["x", "y"],
        "label": "kind",
        "group": None,
    }
    assert result(capsys, ["evaluate", "x.noria", "renamed.csv"])[0] == 0


def test_only_training_needs_the_groups(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pl.read_csv("good.csv")
    table.with_columns(who=pl.col("unique_id").str.tail(1)).write_csv("grouped.csv")
    code, _, err = result(capsys, fit("grouped.csv", "--group", "who", "--test", "good.csv"))
    assert (code, err) == (0, "")
    for verb in ("evaluate", "predict"):
        code, _, err = result(capsys, [verb, "x.noria", "good.csv"])
        assert (code, err) == (0, "")


def test_columns_are_those_of_the_test_where_it_alone_is_a_table(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.read_csv("good.csv").rename({"label": "kind"}).write_csv("kinds.csv")
    code, _, err = result(capsys, fit("good.ts", "--test", "kinds.csv", "--label", "kind"))
    assert (code, err) == (0, "")


def test_info_and_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = result(capsys, ["info", "m.noria"])
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if "layer" not in line)
    assert (lines["task"], lines["cases"], lines["classes"]) == ("classify", "20", "2")
    assert result(capsys, ["report", "m.noria"]) == (0, "m.html\n", "")
    page = (here / "m.html").read_text()
    for words in ("Against what it must beat", "What is taken for what", "svg", "How it learned"):
        assert words in page


def test_every_setting_has_a_flag_that_leaves_it_as_it_is() -> None:
    flags = inspect.signature(classify).parameters
    for task in (SequenceClassifier, TextClassifier):
        names = [*inspect.signature(task).parameters, *inspect.signature(task.fit).parameters]
        for name in set(names) - {
            "self",
            "X",
            "y",
            "groups",
            "label",
            "resume",
            "checkpoint",
            "progress",
        }:
            assert flags[name].default is None, name


def test_a_flag_of_the_other_classifier_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = result(capsys, fit("good.ts", "--tokens", "word"))
    assert (code, err.count("\n")) == (2, 1)
    assert "--tokens is of no use to a classifier of series; --text COLUMN makes it" in err
    code, _, err = result(capsys, fit("good.csv", "--text", "label", "--word-dropout", "0.1"))
    assert code == 2
    assert "--channels is of no use to a classifier of texts" in err
