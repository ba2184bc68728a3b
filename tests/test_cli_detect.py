from __future__ import annotations

import inspect
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from noria import AnomalyDetector
from noria.cli import main
from noria.cli.fit_detect import detect
from tests.commands import result, without
from tests.tasks.readings import readings, values

FAST = [
    *("--time", "when", "--value", "load,heat", "--hidden-size", "4", "--steps", "4"),
    *("--context-length", "32", "--baselines", "moving_z_score", "--output", "x.noria"),
]


def fit(data: str, *flags: str) -> list[str]:
    """A fit that takes no time; flags given replace those of `FAST`."""
    return ["fit", "detect", data, *without(FAST, flags), *flags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, good and bad, and a model."""
    path: Path = tmp_path_factory.mktemp("cli")
    table = readings(values(300))
    table.write_csv(path / "good.csv")
    rows = values(200, seed=1)
    rows[150, 1] = 200
    bad = pl.int_range(200).is_between(148, 152).cast(pl.Int8)
    readings(rows).with_columns(bad=bad).write_csv(path / "test.csv")
    window = ["2024-01-07 04:00", "2024-01-07 08:00"]
    (path / "windows.json").write_text(json.dumps({"test.csv": [window]}))
    (path / "late.json").write_text(json.dumps([["2034-01-07", "2034-01-08"]]))
    table[:40].write_csv(path / "short.csv")
    table.with_columns(when=pl.int_range(300)).write_csv(path / "steps.csv")
    (path / "text.csv").write_text("when,load,heat\n2024-01-01,much,1\n")
    (path / "time.csv").write_text("when,load,heat\nsoon,1,1\n")
    where = Path.cwd()
    os.chdir(path)
    try:
        main(fit("good.csv", "--output", "m.noria"))
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
    "missing file": (fit("no.csv"), 3, "no.csv: there is no such file"),
    "too short": (fit("short.csv"), 3, "short.csv: holds 36 events to learn from; at least 64"),
    "unknown column": (fit("good.csv", "--value", "cold"), 3, "there is no column 'cold'"),
    "column twice": (fit("good.csv", "--value", "load,when"), 2, "column 'when' is named twice"),
    "text as channel": (fit("text.csv"), 3, "'much' is not a number"),
    "text as time": (fit("time.csv"), 3, "column 'when'"),
    "over the data": (fit("good.csv", "--output", "good.csv"), 2, "good.csv is what is read"),
    "rate of 1": (fit("good.csv", "--false-alarm-rate", "1"), 2, "false_alarm_rate is 1.0"),
    "unknown baseline": (fit("good.csv", "--baselines", "svm"), 2, "baseline 'svm' is none of"),
    "dates and steps": (
        ["predict", "m.noria", "steps.csv"], 3, "trained on dates, these are step numbers",
    ),
    "label and windows": (
        ["evaluate", "m.noria", "test.csv", "--label", "bad", "--windows", "windows.json"], 2,
        "give label or windows, not both",
    ),
    "no such windows": (
        ["evaluate", "m.noria", "test.csv", "--windows", "no.json"], 3, "no.json: cannot be read",
    ),
    "windows of another time": (
        ["evaluate", "m.noria", "test.csv", "--windows", "late.json"], 3, "no event of test.csv",
    ),
    "windows of another file": (
        ["evaluate", "m.noria", "good.csv", "--windows", "windows.json"], 3,
        "windows.json: names no file good.csv",
    ),
    "a label that is none": (
        ["evaluate", "m.noria", "test.csv", "--label", "load"], 2, "column 'load' is named twice",
    ),
    "a forecaster's flag": (
        ["predict", "m.noria", "test.csv", "--horizon", "3"], 2,
        "--horizon is of no use to a model for detect",
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
    code, out, err = result(capsys, fit("good.csv"))
    assert (code, err) == (0, "")
    for words in ("30 events", "false alarms in 1000", "moving_z_score", "emory"):
        assert words in out
    assert out.splitlines()[-1] == "Model: x.noria"
    assert [file.name for file in here.iterdir() if file.name.startswith("x.")] == ["x.noria"]


def test_predict_evaluate_and_stream_agree(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = result(capsys, ["predict", "m.noria", "test.csv", "--json"])
    assert (code, err) == (0, "")
    predicted = [json.loads(line) for line in out.splitlines()]
    assert list(predicted[0]) == ["when", "score", "alarm", "channel"]
    assert (predicted[150]["alarm"], predicted[150]["channel"]) == (True, "heat")
    _, out, _ = result(capsys, ["predict", "m.noria", "test.csv"])
    assert out.splitlines()[0] == "when,score,alarm,channel"
    for flags in (["--label", "bad"], ["--windows", "windows.json"]):
        code, out, err = result(capsys, ["evaluate", "m.noria", "test.csv", *flags, "--json"])
        assert (code, err) == (0, "")
        said = json.loads(out)
        assert said["metrics"]["recall"] == 1
        assert said["metrics"].keys() == {
            "nab", "precision", "recall", "f1", "false_alarm_rate", "mae",
        }  # fmt: skip
        assert said["baselines"].keys() == {"moving_z_score"}
    _, out, _ = result(capsys, ["evaluate", "m.noria", "test.csv", "--label", "bad"])
    assert "200 events with 1 anomalies" in out
    table = pl.read_csv("test.csv").drop("bad").to_dicts()
    lines = "".join(json.dumps(row) + "\n" for row in table).encode()
    read, write = os.pipe()
    os.write(write, lines)
    os.close(write)
    with os.fdopen(read) as source:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(
            buffer=io.BufferedReader(source.buffer.raw), fileno=source.fileno))  # fmt: skip
        code, out, err = result(capsys, ["stream", "m.noria"])
    assert (code, err) == (0, "")
    streamed = [json.loads(line) for line in out.splitlines()]
    assert streamed == [
        {name: row[name] for name in ("score", "alarm", "channel")} for row in predicted
    ]


def test_info_and_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = result(capsys, ["info", "m.noria"])
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if "layer" not in line)
    assert (lines["task"], lines["events"], lines["held_out"]) == ("detect", "300", "30")
    assert result(capsys, ["report", "m.noria"]) == (0, "m.html\n", "")
    page = (here / "m.html").read_text()
    for words in ("What is not normal in load, heat", "The last events", "How it learned"):
        assert words in page


def test_every_setting_has_a_flag_of_the_same_default() -> None:
    flags = inspect.signature(detect).parameters
    for name, parameter in inspect.signature(AnomalyDetector).parameters.items():
        if name != "baselines":
            assert flags[name].default == parameter.default, name
    for name, parameter in inspect.signature(AnomalyDetector.fit).parameters.items():
        if name not in ("self", "data", "value", "checkpoint", "progress"):
            assert flags[name].default == parameter.default, name
