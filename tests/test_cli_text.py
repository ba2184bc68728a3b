"""Classifiers of texts and taggers from the command line."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from noria import SequenceTagger, TextClassifier
from noria.cli import main
from noria.cli.fit_tag import tag
from noria.runtime import read_model
from tests.commands import result
from tests.tasks.chunks import chunks, write_columns
from tests.tasks.reviews import reviews

CLASSIFY = [
    *("--text", "review", "--label", "mood", "--hidden-size", "4", "--steps", "3"),
    *("--members", "2", "--buckets", "50", "--baselines", "tfidf_logistic_regression"),
]
TAG = [
    *("--hidden-size", "4", "--steps", "3", "--members", "1", "--character-size", "3"),
    *("--baselines", "most_frequent_tag", "--features", "2"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, good and bad, and a model of each kind."""
    path: Path = tmp_path_factory.mktemp("cli")
    texts, labels = reviews(24)
    table = pl.DataFrame({"review": texts, "mood": labels})
    table.write_csv(path / "good.csv")
    pl.DataFrame({"review": texts[:4], "mood": labels[:4]}).write_csv(path / "test.csv")
    table.head(4).drop("mood").write_ndjson(path / "bare.jsonl")
    (path / "empty.csv").write_text("review,mood\ngood,up\n  ,down\n")
    (path / "missing.csv").write_text("review,mood\ngood,up\nbad,\n")
    (path / "one.csv").write_text("review,mood\n" + "good,up\n" * 12)
    (path / "other.csv").write_text("review,mood\ngood,sideways\n")
    (path / "latin.csv").write_bytes("review,mood\npeña,up\n".encode("latin-1"))
    (path / "half.jsonl").write_text('{"review": "\\ud83d", "mood": "up"}\n')
    (path / "table.xyz").write_text("review,mood\n")
    (path / "vectors.txt").write_text("zebra 1 2 3\n")
    sentences, tags = chunks(20)
    pos = [["P" if word[0] == "w" else "Q" for word in words] for words in sentences]
    write_columns(path / "good.txt", sentences, pos, tags)
    write_columns(path / "test.txt", sentences[:3], pos[:3], tags[:3])
    write_columns(path / "bare.txt", sentences[:3], pos[:3])
    write_columns(path / "narrow.txt", sentences[:3])
    (path / "broken.txt").write_text("a P B-X\nb P I-X\n\nc P O\nd P I-X\n")
    (path / "ragged.txt").write_text("a P O\nb P\n")
    where = Path.cwd()
    os.chdir(path)
    try:
        main(["fit", "classify", "good.csv", *CLASSIFY, "-o", "c.noria"])
        main(["fit", "tag", "good.txt", *TAG, "-o", "t.noria"])
    finally:
        os.chdir(where)
    return path


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path / file.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def classify(data: str, *flags: str) -> list[str]:
    return ["fit", "classify", data, *CLASSIFY, "-o", "x.noria", *flags]


def tagger(data: str, *flags: str) -> list[str]:
    return ["fit", "tag", data, *TAG, "-o", "x.noria", *flags]


BAD: dict[str, tuple[list[str], int, str]] = {
    "no file": (classify("no.csv"), 3, "no.csv: there is no such file"),
    "unknown extension": (classify("table.xyz"), 3, "table.xyz: cannot tell what the file holds"),
    "no column": (
        ["fit", "classify", "good.csv", "--text", "words", "-o", "x.noria"], 3,
        "good.csv: there is no column 'words'",
    ),
    "empty text": (
        classify("empty.csv"), 3, "empty.csv, row 3, column 'review': the text is empty",
    ),
    "missing label": (
        classify("missing.csv"), 3, "missing.csv, row 3, column 'mood': the label is missing",
    ),
    "nothing between labels": (
        classify("good.csv", "--label-separator", ""), 2, "label_separator is empty: say what",
    ),
    "half a character": (
        classify("half.jsonl"), 3, "half.jsonl, row 1, column 'review': holds half a surrogate",
    ),
    "one class": (classify("one.csv"), 3, "one.csv: all texts have the label 'up'"),
    "another encoding": (classify("latin.csv"), 3, "latin.csv, line 2: the byte 0xf1 is not utf-8"),
    "test with other labels": (
        classify("good.csv", "--test", "other.csv"), 3,
        "other.csv, row 2: the label 'sideways' was not trained; the classes are down, up",
    ),
    "vectors of other words": (
        classify("good.csv", "--vectors", "vectors.txt"), 3, "vectors.txt: has a vector for none",
    ),
    "no vectors": (
        classify("good.csv", "--vectors", "no.txt"), 3, "no.txt: there is no such file",
    ),
    "a series' flag": (
        classify("good.csv", "--augmentation", "0.1"), 2,
        "--augmentation is of no use to a classifier of texts",
    ),
    "over the data": (
        ["fit", "tag", "good.txt", "-o", "good.txt"], 2, "good.txt is what is read",
    ),
    "explain of another task": (
        ["predict", "t.noria", "bare.txt", "--explain"], 2, "--explain is of no use to a model for",
    ),
    "evaluate without labels": (
        ["evaluate", "c.noria", "bare.jsonl"], 3, "there is no column 'mood'",
    ),
    "broken tags": (
        tagger("broken.txt"), 3,
        "broken.txt, word 2 of the sentence that begins on line 4: the tag 'I-X' should be 'B-X'",
    ),
    "ragged columns": (tagger("ragged.txt"), 3, "ragged.txt, line 2: the number of columns is 2"),
    "no such tag column": (tagger("good.txt", "--tag", "5"), 3, "there is no column 5 for the"),
    "no such feature": (
        ["predict", "t.noria", "narrow.txt"], 3, "narrow.txt: there is no column 2 for a",
    ),
    "features that are no numbers": (
        ["fit", "tag", "good.txt", "--features", "pos", "-o", "x.noria"], 2,
        "--features pos: expected whole numbers",
    ),
    "unknown scheme": (tagger("good.txt", "--scheme", "bio"), 2, "scheme is 'bio', expected"),
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


def test_a_classifier_of_texts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = result(capsys, classify("good.csv", "--test", "test.csv"))
    assert (code, err) == (0, "")
    assert "4 held-out cases of 2 classes" in out
    assert "tfidf_logistic_regression" in out
    assert out.splitlines()[-1] == "Model: x.noria"
    expected = TextClassifier.load("c.noria").predict_frame("bare.jsonl", explain=True)
    _, out, _ = result(capsys, ["predict", "c.noria", "bare.jsonl", "--explain", "--json"])
    assert [json.loads(line) for line in out.splitlines()] == expected.to_dicts()
    _, out, _ = result(capsys, ["predict", "c.noria", "test.csv"])
    assert out.splitlines()[0] == "row,prediction,p_down,p_up"
    _, out, _ = result(capsys, ["evaluate", "c.noria", "test.csv", "--json"])
    found = json.loads(out)
    assert found["metrics"].keys() == {"accuracy", "macro_f1", "log_loss"}
    assert found["baselines"].keys() == {"tfidf_logistic_regression"}
    _, out, _ = result(capsys, ["info", "c.noria"])
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if "layer" not in line)
    assert (lines["task"], lines["texts"], lines["classes"]) == ("classify_text", "24", "2")
    assert result(capsys, ["report", "c.noria"]) == (0, "c.html\n", "")


def test_files_of_another_encoding(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model, name in (("c.noria", "test.csv"), ("t.noria", "test.txt")):
        text = (here / name).read_text().replace("w1", "ñ")
        for encoding in ("utf-8", "latin-1"):
            (here / f"{encoding}-{name}").write_text(text, encoding=encoding)
        for verb in ("predict", "evaluate"):
            one = result(capsys, [verb, model, f"utf-8-{name}", "--json"])
            flags = ["--encoding", "latin-1", "--json"]
            other = result(capsys, [verb, model, f"latin-1-{name}", *flags])
            assert one[0] == other[0] == 0
            if verb == "predict":
                assert one == other
    code, _, err = result(capsys, ["predict", "c.noria", "latin-1-test.csv"])
    assert (code, "is not utf-8; name the file's encoding" in err) == (3, True)


def test_several_labels(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = "".join(f"sport and w{i},a;b\nmoney w{i},b\nnothing w{i},\n" for i in range(8))
    (here / "several.csv").write_text("review,mood\n" + texts)
    code, out, _ = result(capsys, classify("several.csv", "--label-separator", ";"))
    assert code == 0
    _, out, _ = result(capsys, ["predict", "x.noria", "several.csv"])
    assert out.splitlines()[0] == "row,prediction,p_a,p_b"
    found = {line.split(",")[1] for line in out.splitlines()[1:]}
    assert found <= {'""', "a", "b", "a;b"}


def test_a_tagger(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = result(capsys, tagger("good.txt", "--test", "test.txt"))
    assert (code, err) == (0, "")
    assert "words of 3 held-out sentences" in out
    assert "F1 %" in out
    assert "most_frequent_tag" in out
    expected = SequenceTagger.load("t.noria").predict_frame("bare.txt")
    assert expected.columns == ["sentence", "word", "prediction", "probability"]
    _, out, _ = result(capsys, ["predict", "t.noria", "bare.txt", "--json"])
    assert [json.loads(line) for line in out.splitlines()] == expected.to_dicts()
    _, out, _ = result(capsys, ["evaluate", "t.noria", "test.txt", "--json"])
    found = json.loads(out)
    assert found["metrics"].keys() == {"f1", "precision", "recall", "accuracy"}
    assert found["baselines"].keys() == {"most_frequent_tag"}
    assert found["comparison"]["sentences"] == 3
    _, out, _ = result(capsys, ["info", "t.noria"])
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if "layer" not in line)
    assert (lines["task"], lines["sentences"], lines["tags"]) == ("tag", "20", "5")
    assert result(capsys, ["report", "t.noria"]) == (0, "t.html\n", "")
    assert read_model("t.noria").document["columns"]["features"] == [2]


def test_every_setting_of_a_tagger_has_a_flag_of_the_same_default() -> None:
    flags = inspect.signature(tag).parameters
    for name, parameter in inspect.signature(SequenceTagger).parameters.items():
        if name != "baselines":
            assert flags[name].default == parameter.default, name
    for name, parameter in inspect.signature(SequenceTagger.fit).parameters.items():
        if name not in ("self", "X", "y", "features", "checkpoint", "progress"):
            assert flags[name].default == parameter.default, name
