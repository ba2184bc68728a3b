from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from noria import SequenceRegressor
from noria.cells import _CELLS
from noria.cli.fit_regress import regress
from tests.commands import result
from tests.tasks.test_regress import gaps


def write(path: Path, count: int, seed: int) -> None:
    X, y = gaps(count, seed)
    lines = [
        ",".join(f"{v:.4f}" for v in x[:, 0]) + f":{number}" for x, number in zip(X, y, strict=True)
    ]
    path.write_text("\n".join(["@targetLabel true", "@data", *lines, ""]))


def test_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("train.ts"), 20, 0)
    write(Path("test.ts"), 10, 1)
    fit = [
        *("fit", "regress", "train.ts", "--output", "m.noria", "--hidden-size", "4", "--steps"),
        *("3", "--members", "2", "--channels", "4", "--baselines", "mean,ridge_regression"),
    ]
    code, out, err = result(capsys, [*fit, "--test", "test.ts"])
    assert (code, err) == (0, "")
    for words in ("10 held-out cases", "RMSE", "ridge_regression", "emory"):
        assert words in out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.noria", "test.ts", "train.ts"]
    code, out, _ = result(capsys, ["evaluate", "m.noria", "test.ts", "--json"])
    assert code == 0
    assert json.loads(out)["metrics"].keys() == {"rmse", "mae", "r2"}
    code, out, _ = result(capsys, ["predict", "m.noria", "test.ts"])
    assert (code, out.splitlines()[0], len(out.splitlines())) == (0, "case,prediction", 11)
    assert result(capsys, ["report", "m.noria"]) == (0, "m.html\n", "")
    assert "Against what it must beat" in Path("m.html").read_text()
    Path("bad.ts").write_text("@classLabel true a b\n@data\n1,2:a\n3,4:b\n")
    code, out, err = result(capsys, ["fit", "regress", "bad.ts", "--output", "x.noria"])
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "bad.ts, case 0: 'a' is no finite number to regress" in err
    code, out, err = result(capsys, ["fit", "classify", "train.ts", "--output", "x.noria"])
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "train.ts: the cases have numbers to predict, not classes: fit regress" in err


@pytest.mark.parametrize(
    "task", ["classify", "detect", "forecast", "language", "regress", "tag", "translate"]
)
def test_help_names_every_cell(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = result(capsys, ["fit", task, "--help"])
    assert code == 0
    words = set(re.findall(r"\w+", out))
    assert words > set(_CELLS) - {"linear"}


def test_a_shipped_cell_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("train.ts"), 20, 0)
    fit = [
        *("fit", "regress", "train.ts", "--output", "m.noria", "--hidden-size", "4", "--steps"),
        *("3", "--members", "1", "--channels", "4", "--baselines", "mean", "--cell"),
    ]
    assert result(capsys, [*fit, "slstm"])[0] == 0
    assert result(capsys, ["predict", "m.noria", "train.ts"])[0] == 0
    code, _, err = result(capsys, [*fit, "xlstm"])
    assert (code, err.count("\n")) == (2, 1)
    assert "cell 'xlstm' is unknown, expected one of lstm, gru" in err


def test_every_setting_has_a_flag_of_the_same_default() -> None:
    flags = inspect.signature(regress).parameters
    for name, parameter in inspect.signature(SequenceRegressor).parameters.items():
        if name != "baselines":
            assert flags[name].default == parameter.default, name
    for name, parameter in inspect.signature(SequenceRegressor.fit).parameters.items():
        if name not in ("self", "X", "y", "groups", "value", "checkpoint", "progress"):
            assert flags[name].default == parameter.default, name
