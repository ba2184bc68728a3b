from __future__ import annotations

import errno
import inspect
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from noria import Forecaster, cli
from noria.cli import main
from noria.runtime import ModelFile, read_model
from tests.commands import result, without
from tests.tasks.series import SEASON, hourly

FAST = [
    *("--horizon", "6", "--hidden-size", "4", "--steps", "3", "--season", str(SEASON)),
    *("--baselines", "seasonal_naive", "--output", "x.noria"),
]


def fit(data: str, *flags: str) -> list[str]:
    """A fit that takes no time; flags given replace those of `FAST`."""
    return ["fit", "forecast", data, *without(FAST, flags), *flags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, good and bad, and a model."""
    path: Path = tmp_path_factory.mktemp("cli")
    frame = hourly(120).drop("unique_id")
    frame.write_csv(path / "good.csv")
    lines = (path / "good.csv").read_text().splitlines()

    def write(name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        (path / name).write_bytes(data)

    def spoil(name: str, line: str) -> None:
        """Replace the data's eighth line, 2024-01-01T06:00."""
        write(name, "\n".join([*lines[:7], line, *lines[8:]]) + "\n")

    spoil("text.csv", "2024-01-01T06:00:00.000000,much")
    spoil("twice.csv", lines[6])
    spoil("between.csv", "2024-01-01T06:13:00.000000,1")
    spoil("unreadable.csv", "yesterday,1")
    spoil("timeless.csv", ",1")
    spoil("infinite.csv", "2024-01-01T06:00:00.000000,inf")
    write("header.csv", lines[0] + "\n")
    write("empty.csv", "")
    write("binary.csv", bytes(range(256)) * 9)
    write("table.xyz", "\n".join(lines))
    write("short.csv", "\n".join(lines[:20]))
    write("missing.csv", "\n".join([lines[0], *(line.split(",")[0] + "," for line in lines[1:])]))
    statics = (f"{line},{number // 60}" for number, line in enumerate(lines[1:]))
    write("static.csv", "\n".join([lines[0] + ",size", *statics]))
    write("days.csv", "day,y\n2024-01-01,1\n2024-01-02,2\n")
    write("numbers.csv", "ds,y\n1,1\n2,2\n3,3\n")
    write("key.toml", "[fit.forecast]\nhiden_size = 3\n")
    write("type.toml", "[fit.forecast]\nbatch_size = 'many'\n")
    write("half.toml", "[fit.forecast]\nbatch_size = 2.5\n")
    write("table.toml", "[fit.forcast]\nbatch_size = 3\n")
    write("top.toml", "batch_size = 3\n")
    write("not.toml", "batch size: 3\n")
    (path / "folder").mkdir()
    where = Path.cwd()
    os.chdir(path)
    try:
        main(fit("good.csv", "--output", "m.noria"))
    finally:
        os.chdir(where)
    model = (path / "m.noria").read_bytes()
    write("cut.noria", model[: len(model) // 2])
    write("damaged.noria", model[:-5] + b"wrong")
    save_file({"a": np.zeros(3)}, path / "foreign.safetensors")
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
    "folder as data": (fit("folder"), 3, "folder: is a directory; give a file that ends in"),
    "empty file": (fit("empty.csv"), 3, "empty.csv: the file is empty"),
    "header only": (fit("header.csv"), 3, "header.csv: holds no rows"),
    "binary file": (fit("binary.csv"), 3, "binary.csv: is not UTF-8 text; save it as CSV"),
    "unknown extension": (fit("table.xyz"), 3, "table.xyz: cannot tell what the file holds"),
    "unknown target": (
        fit("good.csv", "--target", "yy"), 3,
        "good.csv: there is no column 'yy' (did you mean 'y'?); the columns are ds, y",
    ),
    "unknown time": (fit("good.csv", "--time", "date"), 3, "no column 'date'; the columns are"),
    "text in the target": (
        fit("text.csv"), 3,
        "text.csv, row 8, column 'y': 'much' is not a number; correct it or leave it empty",
    ),
    "duplicate timestamps": (fit("twice.csv"), 3, "twice.csv, rows 7 and 8, column 'ds': both are"),
    "irregular timestamps": (fit("between.csv"), 3, "between.csv, row 8, column 'ds': 2024-01-01T"),
    "unreadable timestamp": (fit("unreadable.csv"), 3, "row 8, column 'ds': 'yesterday' is not a"),
    "missing timestamp": (fit("timeless.csv"), 3, "row 8, column 'ds': the timestamp is missing"),
    "infinite value": (fit("infinite.csv"), 3, "row 8, column 'y': the number is infinite"),
    "too short": (
        fit("short.csv"), 3,
        "series 'y' has 19 time steps; a horizon of 6 with 1 windows for validation and 1 for the",
    ),
    "no target at all": (fit("missing.csv"), 3, "series 'y' has no observed target; fill it in"),
    "same column twice": (fit("good.csv", "--past", "y"), 2, "column 'y' is named twice: as targ"),
    "static that changes": (fit("static.csv", "--static", "size"), 3, "row 62, column 'size': the"),
    "unknown cell": (fit("good.csv", "--cell", "lstmm"), 2, "'lstmm' is unknown, expected one of"),
    "unknown feedback": (
        fit("good.csv", "--feedback", "up"), 2,
        "feedback 'up': 'up' is none of none, direct, lateral, indirect, full",
    ),
    "level 150": (fit("good.csv", "--level", "80,150"), 2, "level 150: levels are whole percent"),
    "level in words": (fit("good.csv", "--level", "most"), 2, "--level most: expected whole numb"),
    "horizon 0": (fit("good.csv", "--horizon", "0"), 2, "horizon is 0: it must be at least 1"),
    "horizon too long": (fit("good.csv", "--horizon", "99"), 3, "needs at least 309: give more"),
    "negative steps": (fit("good.csv", "--steps", "-5"), 2, "steps is -5: it must be at least 1"),
    "steps in words": (fit("good.csv", "--steps", "many"), 2, 'unable to convert "many" into int'),
    "half a step": (fit("good.csv", "--horizon", "2.5"), 2, "for --horizon: unable to conv"),
    "a whole step": (fit("good.csv", "--patience", "2.0"), 2, 'unable to convert "2.0" into int'),
    "half a step to predict": (
        ["predict", "m.noria", "good.csv", "--horizon=2.5"], 2, 'unable to convert "2.5" into int',
    ),
    "half a seed": (["fit", "detect", "good.csv", "-o", "x", "--seed", ".5"], 2, "--seed: unable"),
    "season 1": (fit("good.csv", "--season", "1"), 2, "season 1: a season has at least 2 steps"),
    "season in words": (fit("good.csv", "--season", "week"), 2, "--season week: expected whole"),
    "dropout 1.5": (fit("good.csv", "--dropout", "1.5"), 2, "dropout is 1.5: a probability from"),
    "weight decay -1": (fit("good.csv", "--weight-decay", "-1"), 2, "weight_decay is -1.0: it mus"),
    "learning rate 0": (fit("good.csv", "--learning-rate", "0"), 2, "learning_rate"),
    "enormous seed": (fit("good.csv", "--seed", "9" * 30), 2, "seed is 999"),
    "frequency in words": (fit("good.csv", "--freq", "hourly"), 2, "the frequency 'hourly' is not"),
    "no folder for output": (fit("good.csv", "--output", "no/x.noria"), 2, "is no folder no"),
    "output is a folder": (fit("good.csv", "--output", "folder"), 2, "folder is a folder; name a"),
    "output is the data": (fit("good.csv", "--output", "./good.csv"), 2, "good.csv is what is rea"),
    "output is a device": (fit("good.csv", "--output", "/dev/null"), 2, "/dev/null is no ordinary"),
    "log folder is a file": (fit("good.csv", "--log-dir", "m.noria"), 4, "m.noria/network: Not"),
    "unknown flag": (fit("good.csv", "--hiden-size", "3"), 2, "size. Did you mean --hidden-size?"),
    "no data": (["fit", "forecast", "-o", "x.noria"], 2, "parameter DATA requires an argument"),
    "no output": (["fit", "forecast", "good.csv"], 2, "--output requires an argument"),
    "one thing too many": (fit("good.csv", "more.csv"), 2, "more.csv"),
    "no such command": (["fitt"], 2, 'Unknown command "fitt". Did you mean "fit"?'),
    "no such task": (["fit", "forcast"], 2, 'Unknown command "forcast". Did you mean "forecast"?'),
    "no config": (fit("good.csv", "--config", "no.toml"), 2, "--config: there is no file no.toml"),
    "key in config": (fit("good.csv", "--config", "key.toml"), 2, "key.toml. Did you mean --hidd"),
    "type in config": (fit("good.csv", "--config", "type.toml"), 2, 'unable to convert "many" int'),
    "half in config": (fit("good.csv", "--config", "half.toml"), 2, 'unable to convert "2.5" int'),
    "table in config": (
        fit("good.csv", "--config", "table.toml"), 2,
        "--config: table.toml has fit.'forcast'; there can be [fit.forecast]",
    ),
    "no table in config": (
        fit("good.csv", "--config", "top.toml"), 2,
        "--config: top.toml has 'batch_size'; there can be [fit], ",
    ),
    "not TOML": (fit("good.csv", "--config", "not.toml"), 2, "--config: not.toml is not TOML: Exp"),
    "binary config": (fit("good.csv", "--config", "binary.csv"), 2, "binary.csv is not TOML: 'utf"),
    "unknown baseline": (
        fit("good.csv", "--baselines", "fnn,arima"), 2,
        "baseline 'arima' is none of fnn, seasonal_naive, auto_ets",
    ),
    "no model": (["predict", "no.noria", "good.csv"], 3, "no.noria: there is no such model file"),
    "folder as model": (["predict", "folder", "good.csv"], 3, "folder is a folder; name a mod"),
    "damaged model": (["predict", "damaged.noria", "good.csv"], 3, "damaged.noria is damaged: its"),
    "truncated model": (["predict", "cut.noria", "good.csv"], 3, "cut.noria is damaged or no mod"),
    "empty model": (["info", "empty.csv"], 3, "empty.csv is damaged or no model file"),
    "data as model": (["report", "good.csv"], 3, "good.csv is damaged or no model file"),
    "foreign model": (
        ["predict", "foreign.safetensors", "good.csv"], 3,
        "foreign.safetensors is a safetensors file, but no model of Noria's",
    ),
    "other columns": (["predict", "m.noria", "days.csv"], 3, "days.csv: there is no column 'ds'"),
    "other time": (["predict", "m.noria", "numbers.csv"], 2, "'ds', which holds step numbers"),
    "untrained level": (
        ["predict", "m.noria", "good.csv", "--level", "42"], 2,
        "level 42 was not trained; this model has 50, 80, 95",
    ),
    "predict nothing": (["predict", "m.noria", "good.csv", "--horizon", "0"], 2, "horizon is 0"),
    "predict into text": (
        ["predict", "m.noria", "good.csv", "-o", "x.txt"], 2,
        "--output x.txt: the name must end in .csv or .parquet",
    ),
    "predict over the data": (
        ["predict", "m.noria", "good.csv", "-o", "good.csv"], 2,
        "good.csv is what is read; give --output another name",
    ),
    "evaluate two numbers of windows": (
        ["evaluate", "m.noria", "good.csv", "--windows", "3,4"], 2,
        "--windows 3,4: expected one number of horizons",
    ),
    "evaluate nothing": (["evaluate", "m.noria", "good.csv", "--windows", "0"], 2, "windows is 0"),
    "evaluate too much": (
        ["evaluate", "m.noria", "good.csv", "--windows", "50"], 3,
        "series 'y' has 120 time steps; 50 windows of 6 need at least 302",
    ),
    "report over the model": (["report", "m.noria", "-o", "m.noria"], 2, "m.noria is what is read"),
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
    assert err.endswith("\n")
    assert {file: file.stat().st_mtime_ns for file in here.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "before", "file"),
    [
        (fit("good.csv"), 0, "x.noria.checkpoint-network"),
        (fit("good.csv"), 1, "x.noria"),
        (["predict", "m.noria", "good.csv", "-o", "x.csv"], 0, "x.csv"),
        (["report", "m.noria", "-o", "x.html"], 0, "x.html"),
    ],
)
def test_a_disk_that_is_full_after_so_many_files(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    before: int,
    file: str,
) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 2 * before:  # the file and its folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    there = set(here.iterdir())
    monkeypatch.setattr("noria.runtime.files.os.fsync", fsync)
    message = f"noria: {file} cannot be written: No space left on device\n"
    assert result(capsys, arguments) == (4, "", message)
    # the training is not lost
    left = {here / "x.noria.checkpoint-network"} if before else set()
    assert set(here.iterdir()) - there == left


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_out_of_memory(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("noria.training.trained.train", train)
    code, out, err = result(capsys, fit("good.csv"))
    assert (code, out) == (4, "")
    assert err == "noria: out of memory: take a smaller batch, network or file\n"


def test_an_error_of_our_own_is_told_in_one_line_too(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("noria.training.trained.train", train)
    code, out, err = result(capsys, fit("good.csv"))
    assert (code, out) == (1, "")
    assert err == (
        "noria: internal error: ZeroDivisionError: two lines"
        " (NORIA_DEBUG=1 shows where; please report it)\n"
    )
    monkeypatch.setenv("NORIA_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(fit("good.csv"))


def test_fit_says_how_it_compares(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = result(capsys, fit("good.csv"))
    assert (code, err) == (0, "")
    assert "held-out windows of 6 steps, 1 series" in out
    assert "network" in out
    assert "seasonal_naive" in out
    assert "MASE" in out
    *_, verdict, last = out.splitlines()
    assert "Memory" in verdict
    assert last == "Model: x.noria"
    assert [file.name for file in here.iterdir() if file.name.startswith("x.")] == ["x.noria"]
    code, out, err = result(capsys, fit("good.csv", "--test-windows", "0"))
    assert out == "Nothing was held out, so there is no comparison.\nModel: x.noria\n"


def test_fit_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = result(capsys, [*fit("good.csv"), "--json"])
    document = json.loads(out)
    assert out.count("\n") == 1
    assert document["model"] == "x.noria"
    check_metrics(document)
    _, out, _ = result(capsys, [*fit("good.csv", "--test-windows", "0"), "--json"])
    assert json.loads(out)["metrics"] == {}


def check_metrics(document: dict[str, Any]) -> None:
    names = {"mae", "mase", "smape", "crps", "coverage_50", "coverage_80", "coverage_95"}
    assert document["metrics"].keys() == names
    assert document["baselines"].keys() == {"seasonal_naive"}
    assert document["baselines"]["seasonal_naive"].keys() == names
    assert document["comparison"]["horizon"] == 6


def test_evaluate(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = result(capsys, ["evaluate", "m.noria", "good.csv", "--windows", "2", "--json"])
    document = json.loads(out)
    check_metrics(document)
    assert document["comparison"]["windows"] == 2
    expected = Forecaster.load("m.noria").evaluate("good.csv", windows=2)
    assert document["metrics"] == expected.scores[0].metrics()
    code, out, err = result(capsys, ["evaluate", "m.noria", "good.csv"])
    assert (code, err) == (0, "")
    assert out.startswith("1 held-out windows of 6 steps, 1 series")


def test_predict_in_every_form(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = Forecaster.load("m.noria").predict("good.csv")
    command = ["predict", "m.noria", "good.csv"]
    code, out, err = result(capsys, command)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "unique_id,ds,forecast,lo-80,hi-80,lo-95,hi-95"
    assert pl.read_csv(out.encode(), try_parse_dates=True).equals(expected)
    _, out, _ = result(capsys, [*command, "--json"])
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["forecast"] for row in rows] == expected["forecast"].to_list()
    assert list(rows[0]) == expected.columns
    assert result(capsys, [*command, "-o", "x.csv"]) == (0, "", "")
    assert pl.read_csv("x.csv", try_parse_dates=True).equals(expected)
    assert result(capsys, [*command, "-o", "x.parquet"]) == (0, "", "")
    assert pl.read_parquet("x.parquet").equals(expected)


def test_predict_with_another_horizon_and_other_levels(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--horizon", "8", "--level", "95, 50"]
    _, out, _ = result(capsys, ["predict", "m.noria", "good.csv", *flags])
    expected = Forecaster.load("m.noria").predict("good.csv", horizon=8, levels=(50, 95))
    assert pl.read_csv(out.encode(), try_parse_dates=True).equals(expected)
    _, out, _ = result(capsys, ["predict", "m.noria", "good.csv", "--no-level"])
    assert out.splitlines()[0] == "unique_id,ds,forecast"


def test_info(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = read_model("m.noria")
    code, out, err = result(capsys, ["info", "m.noria"])
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if "layer" not in line)
    assert lines["task"] == "forecast"
    assert lines["rows"] == "120"
    assert int(lines["weights"]) == sum(array.size for array in file.weights.values())
    assert file.sha256 in out
    assert "lstm" in out
    _, out, _ = result(capsys, ["info", "m.noria", "--json"])
    document = json.loads(out)
    assert document["sha256"] == file.sha256
    assert document["settings"]["horizon"] == 6


def test_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert result(capsys, ["report", "m.noria"]) == (0, "m.html\n", "")
    assert "<html" in (here / "m.html").read_text()
    assert result(capsys, ["report", "m.noria", "-o", "x.html"]) == (0, "x.html\n", "")
    assert (here / "x.html").read_text() == (here / "m.html").read_text()


def without_seconds(value: Any) -> Any:
    """A document without the times it took."""
    if isinstance(value, dict):
        return {k: without_seconds(part) for k, part in value.items() if k != "seconds"}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def same_model(one: Path, other: Path) -> bool:
    """Equal but for the seconds, the weights bit for bit."""

    def parts(file: ModelFile) -> Any:
        weights = {name: (w.dtype, w.shape, w.tobytes()) for name, w in file.weights.items()}
        return without_seconds(file.document), weights

    return bool(parts(read_model(one)) == parts(read_model(other)))


CONFIG = """
[fit.forecast]
output = "x.noria"
horizon = 6
hidden_size = 4
steps = 3
season = [12]
level = [70, 90]
baselines = ["seasonal_naive", "fnn"]
cell = "gru"
feedback = "direct"
learning_rate = 0.01
test_windows = 1

[predict]
level = [90]
json = true
"""


def test_a_config_file_is_the_same_as_flags(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "c.toml").write_text(CONFIG)
    flags = fit(
        "good.csv", "--level", "70,90", "--baselines", "seasonal_naive,fnn", "--cell", "gru",
        "--feedback", "direct", "--learning-rate", "0.01", "--test-windows", "1",
        "--output", "flags.noria",
    )  # fmt: skip
    main(flags)
    main(["fit", "forecast", "good.csv", "--config", "c.toml"])
    assert same_model(here / "x.noria", here / "flags.noria")
    main(["--config", "c.toml", "fit", "forecast", "good.csv", "-o", "first.noria"])
    assert same_model(here / "first.noria", here / "flags.noria")
    _, out, _ = result(capsys, ["predict", "x.noria", "good.csv", "--config", "c.toml"])
    row = json.loads(out.splitlines()[0])
    assert list(row) == ["unique_id", "ds", "forecast", "lo-90", "hi-90"]


def test_flags_come_before_the_config_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "c.toml").write_text(CONFIG)
    command = ["fit", "forecast", "good.csv", "--config", "c.toml", "--cell", "lstm"]
    main([*command, "--level", "60", "--no-baselines"])
    settings = read_model(here / "x.noria").document["settings"]
    assert settings["cell"] == "lstm"
    assert settings["levels"] == [60]
    assert settings["baselines"] == []
    assert settings["hidden_size"] == 4
    # a config file is for its command alone
    code, out, _ = result(capsys, ["predict", "x.noria", "good.csv"])
    assert (code, out.splitlines()[0]) == (0, "unique_id,ds,forecast,lo-60,hi-60")


@pytest.mark.parametrize("level", [["80,95"], ["80", "--level", "95"], ["80, 95"]])
def test_lists_with_commas_or_said_again(here: Path, level: list[str]) -> None:
    main([*fit("good.csv"), "--level", *level])
    assert read_model(here / "x.noria").document["settings"]["levels"] == [80, 95]


def test_the_command_lines_defaults_are_those_of_the_library(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Forecaster] = []

    class Recorder(Forecaster):
        def __init__(self, **settings: Any) -> None:
            made.append(Forecaster(**settings))
            raise KeyboardInterrupt

    monkeypatch.setattr("noria.cli.fit_forecast.task_class", lambda name: Recorder)
    with pytest.raises(SystemExit):
        main(["fit", "forecast", "good.csv", "-o", "x.noria"])
    assert made[0].get_params() == Forecaster().get_params()


def test_every_setting_has_a_flag_whose_help_tells_the_default() -> None:
    """A flag is None if left out: with --from it must not be taken for one that was given."""
    flags = inspect.signature(cli.forecast).parameters
    text = inspect.getdoc(cli.forecast)
    assert text is not None
    helps = dict(re.findall(r"^(\w+)\n((?:    .+\n?)+)", text, flags=re.MULTILINE))
    renamed = {"levels": "level", "seasons": "season"}
    settings = inspect.signature(Forecaster).parameters
    arguments = dict(inspect.signature(Forecaster.fit).parameters)
    for name in ("self", "data", "checkpoint", "progress", "resume"):
        del arguments[name]
    for name, parameter in {**settings, **arguments}.items():
        flag = renamed.get(name, name)
        assert flags[flag].default is None
        if isinstance(parameter.default, str | int | float):
            assert helps[flag].rstrip().endswith(f"; {parameter.default}."), name


GO_ON = ["fit", "forecast", "good.csv", "--from", "m.noria", "-o", "x.noria"]


def test_training_on_from_a_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a flag is what the default is, and the model's setting is not: --patience."""
    Forecaster.load(here / "m.noria").set_params(patience=3).save(here / "p.noria")
    go_on = [part.replace("m.noria", "p.noria") for part in GO_ON]
    flags = ["--steps", "2", "--seed", "5", "--patience", "8"]
    code, out, err = result(capsys, [*go_on, *flags, "--json"])
    assert (code, err) == (0, "")
    old, new = (Forecaster.load(here / name) for name in ("p.noria", "x.noria"))
    assert new.get_params() == old.get_params() | {"steps": 2, "seed": 5, "patience": 8}
    assert new.network_.wiring == old.network_.wiring
    assert json.loads(out)["baselines"].keys() == {"seasonal_naive"}
    apart = [
        np.abs(value - old.network_.weights()[name]).max()
        for name, value in new.network_.weights().items()
    ]
    assert 0 < max(apart) < 0.02
    assert not list(here.glob("*.checkpoint*"))


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--horizon", "24"], 2, "--horizon: with --from it stays as in m.noria; leave it out"),
        (["--target", "y"], 2, "--target: with --from it stays as in m.noria; leave it out"),
        (["--level", "80,95"], 2, "--level: with --from it stays as in m.noria; leave it out"),
        (["--hidden-size", "9"], 2, "--hidden-size: with --from it stays as in m.noria; leave it"),
        (["--target", "load"], 2, "--target: with --from it stays as in m.noria; leave it out"),
        (["--level", "50"], 2, "--level: with --from it stays as in m.noria; leave it out"),
        (["--search", "3"], 2, "--search: with --from it stays as in m.noria; leave it out"),
        (["--from", "no.noria"], 3, "no.noria"),
        (["--from", "cut.noria"], 3, "cut.noria"),
    ],
)
def test_training_on_goes_wrong_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, message: str
) -> None:
    base = [part for part in GO_ON if "--from" not in flags or part not in ("--from", "m.noria")]
    found, _, err = result(capsys, [*base, *flags])
    assert found == code
    assert message in err
    assert err.count("\n") == 1
    assert not (here / "x.noria").exists()


def test_settings_of_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--segment-length", "4", "--context-length", "16", "--ensemble", "2", "--search", "1"]
    code, _, err = result(capsys, fit("good.csv", *flags, "--distribution", "student_t"))
    assert (code, err) == (0, "")
    made = Forecaster.load(here / "x.noria")
    assert len(made.network_.modules) == 2
    assert made.distribution == "student_t"
    assert made.search == 1
    code, _, _ = result(capsys, ["info", "x.noria"])
    assert code == 0
    code, _, _ = result(capsys, ["report", "x.noria", "-o", "r.html"])
    assert code == 0


@pytest.mark.parametrize("command", [[], ["fit"], ["fit", "forecast"], ["predict"], ["evaluate"],
                                     ["info"], ["report"]])  # fmt: skip
def test_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    code, out, err = result(capsys, [*command, "--help"])
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: {' '.join(['noria', *command])}")
    assert "--config" in out


def noria(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    program = [sys.executable, "-m", "noria", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, env=environment, **{**pipes, **options})


@pytest.mark.parametrize("steps", ["6", "3000"])
def test_a_reader_that_has_had_enough(here: Path, steps: str) -> None:
    process = noria("predict", "m.noria", "good.csv", "--horizon", steps)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        told = errors.read()
    assert (process.wait(), told) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_standard_output_that_is_full(here: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = noria("predict", "m.noria", "good.csv", stdout=full)
        _, err = process.communicate()
    assert (process.returncode, err) == (4, "noria: standard output: No space left on device\n")


LONG = [
    *("--horizon", "6", "--hidden-size", "4", "--steps", "300", "--season", str(SEASON)),
    *("--batch-size", "4", "--patience", "99", "--checkpoint-every", "7", "--context-length", "30"),
    *("--truncation-length", "10", "--baselines", "fnn,seasonal_naive", "--json"),
]


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Path:
    """The model of a training that nothing came in the way of."""
    process = noria("fit", "forecast", "good.csv", *LONG, "-o", "whole.noria", cwd=folder)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    return folder / "whole.noria"


def stop(process: subprocess.Popen[str], checkpoint: Path, how: int, after_s: float) -> bool:
    """Signal a training some time after it wrote a checkpoint; whether it was still running."""
    old = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while process.poll() is None:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != old:
            time.sleep(after_s)
            process.send_signal(how)
            break
        time.sleep(0.005)
    process.wait()
    return process.returncode != 0


def resumes(folder: Path, whole: Path, kills: int, pause: Callable[[], float]) -> None:
    """Kill a training so often, then let it end: it is as if nothing had happened."""
    checkpoint, model = folder / "y.noria.checkpoint-network", folder / "y.noria"
    command = ["fit", "forecast", "good.csv", *LONG, "-o", "y.noria"]
    killed = 0
    while killed < kills:
        model.unlink(missing_ok=True)
        process = noria(*command, *(["--resume"] if checkpoint.exists() else []), cwd=folder)
        killed += stop(process, checkpoint, signal.SIGKILL, pause())
        process.communicate()
        if model.exists():  # it ended before it was killed, or while it was tidying up
            assert same_model(model, whole)
    process = noria(*command, *(["--resume"] if checkpoint.exists() else []), cwd=folder)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert same_model(model, whole)
    assert json.loads(out)["metrics"]
    assert not list(folder.glob("y.noria.*"))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    here: Path, undisturbed: Path
) -> None:
    random_pause = random.Random(time.time_ns())
    resumes(here, undisturbed, 2, lambda: random_pause.uniform(0, 0.3))


@pytest.mark.long
def test_a_training_killed_ten_times(here: Path, undisturbed: Path) -> None:
    random_pause = random.Random(time.time_ns())
    resumes(here, undisturbed, 10, lambda: random_pause.uniform(0, 0.3))


def test_an_interrupted_training_can_be_resumed(here: Path, undisturbed: Path) -> None:
    command = ["fit", "forecast", "good.csv", *LONG, "-o", "y.noria"]
    process = noria(*command, cwd=here)
    assert stop(process, here / "y.noria.checkpoint-network", signal.SIGINT, 0.1)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "noria: interrupted; the same command with --resume goes on"
    assert not (here / "y.noria").exists()
    process = noria(*command, "--resume", cwd=here)
    assert process.communicate()[1] == ""
    assert same_model(here / "y.noria", undisturbed)


def test_a_checkpoint_of_another_training_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = noria("fit", "forecast", "good.csv", *LONG, "-o", "y.noria", cwd=here)
    stop(process, here / "y.noria.checkpoint-network", signal.SIGKILL, 0)
    process.communicate()
    for change in (["--seed", "1"], ["--cell", "gru"], ["--dropout", "0.1"], ["--target", "z"]):
        if change[0] == "--target":
            pl.read_csv("good.csv").with_columns(z=pl.col("y") + 1).write_csv("z.csv")
        data = "z.csv" if change[0] == "--target" else "good.csv"
        command = ["fit", "forecast", data, *LONG, "-o", "y.noria", "--resume", *change]
        code, out, err = result(capsys, command)
        assert (code, out) == (3, "")
        assert (
            "y.noria.checkpoint-network was written for other data or settings; use those again"
            in err
        )
        assert (here / "y.noria.checkpoint-network").exists()


def test_logs_for_tensorboard(here: Path) -> None:
    main([*fit("good.csv"), "--log-dir", "logs"])
    assert list((here / "logs" / "network").glob("events.out.tfevents*"))


def test_the_real_air_of_beijing(
    here: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(shared_data / "series" / "beijing-pm25.csv")
    command = [
        *("fit", "forecast", data, "--time", "year,month,day,hour", "--target", "pm2.5"),
        *("--past", "DEWP,TEMP,PRES,cbwd,Iws,Is,Ir", "--steps", "10", "--hidden-size", "8"),
        *("--baselines", "seasonal_naive", "-o", "x.noria", "--json"),
    ]
    code, out, err = result(capsys, command)
    assert (code, err) == (0, "")
    assert json.loads(out)["metrics"]["mae"] < 200
    _, out, _ = result(capsys, ["predict", "x.noria", data])
    rows = out.splitlines()
    assert rows[0].startswith("unique_id,ds,forecast")
    assert len(rows) == 25
    assert rows[1].startswith("pm2.5,2015-01-01T00:00:00")
