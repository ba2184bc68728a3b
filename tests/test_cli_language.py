from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noria import LanguageModel
from noria.cli import main
from noria.cli.fit_language import language
from noria.runtime import read_model
from tests.commands import result, without
from tests.tasks.words import cards, story

FAST = [
    *("--hidden-size", "8", "--embedding-size", "4", "--steps", "4", "--batch-size", "4"),
    *("--stretch", "16", "--baselines", "kneser_ney", "--output", "x.noria"),
]


def fit(data: str, *flags: str) -> list[str]:
    """A fit that takes no time; flags given replace those of `FAST`."""
    return ["fit", "language", data, *without(FAST, flags), *flags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, good and bad, and models of a text and of cards."""
    path: Path = tmp_path_factory.mktemp("cli")
    (path / "text.txt").write_text(story(300), encoding="utf-8")
    (path / "more.txt").write_text(story(60, seed=1), encoding="utf-8")
    (path / "latin.txt").write_bytes(story(300).encode("latin-1"))
    (path / "short.txt").write_text("eins", encoding="utf-8")
    (path / "empty.txt").write_text(" \n", encoding="utf-8")
    cards(60).write_csv(path / "cards.csv")
    where = Path.cwd()
    os.chdir(path)
    try:
        main(fit("text.txt", "--output", "m.noria"))
        main(fit("cards.csv", "--condition", "kind", "--output", "c.noria"))
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
    "missing file": (fit("no.txt"), 3, "no.txt: there is no such file"),
    "empty file": (fit("empty.txt"), 3, "empty.txt: the file is empty"),
    "too short": (fit("short.txt"), 3, "short.txt: the text is too short"),
    "another encoding": (
        fit("latin.txt"), 3, "latin.txt, line 1: the byte 0xfc is not utf-8; name the file's",
    ),
    "no such encoding": (fit("text.txt", "--encoding", "klingon"), 2, "encoding is 'klingon'"),
    "no such column": (fit("cards.csv", "--text", "words"), 3, "there is no column 'words'"),
    "condition of a text": (
        fit("text.txt", "--condition", "kind"), 2, "text.txt: plain text has no column 'kind'",
    ),
    "cutoffs of no number": (fit("text.txt", "--cutoffs", "4,x"), 2, "--cutoffs"),
    "cutoffs and tied": (fit("text.txt", "--cutoffs", "4", "--tied"), 2, "exclude each other"),
    "unknown cell": (fit("text.txt", "--cell", "lstmm"), 2, "lstmm"),
    "over the data": (fit("text.txt", "--output", "text.txt"), 2, "text.txt is what is read"),
    "test of another kind": (
        fit("text.txt", "--test", "cards.csv"), 3, "cards.csv: is many texts; the model was",
    ),
    "predict": (["predict", "m.noria", "more.txt"], 2, "does not predict: noria generate writes"),
    "stream": (["stream", "c.noria"], 2, "a language model with conditions does not stream"),
    "a condition too much": (
        ["generate", "m.noria", "--condition", "high"], 2, "was trained without conditions",
    ),
    "a condition too few": (["generate", "c.noria"], 2, "what a condition calls up: give one"),
    "a temperature below zero": (
        ["generate", "m.noria", "--temperature", "-1"], 2, "temperature is -1.0: it must be 0",
    ),
    "texts without end": (
        ["generate", "m.noria", "--length", "none", "--samples", "2"], 2, "have no end",
    ),
    "JSON without end": (
        ["generate", "m.noria", "--length", "none", "--json"], 2, "give --length",
    ),
    "a search for words": (
        ["evaluate", "m.noria", "more.txt", "--beam-size", "2"], 2,
        "--beam-size is of no use to a model for language",
    ),
    "no length": (["generate", "m.noria", "--length", "0"], 2, "they must be at least 1"),
    "a translator's flag": (
        ["evaluate", "m.noria", "more.txt", "--reference", "text.txt"], 2,
        "--reference is of no use to a model for language",
    ),
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


def test_an_output_that_lacks_a_letter_is_told_in_one_line(here: Path) -> None:
    command: list[Any] = [sys.executable, *("-m", "noria", "generate", "m.noria", "--length", "3")]
    ended = subprocess.run(
        [*command, "--prompt", "ü"],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
    )
    assert ended.returncode == 2
    assert ended.stderr.decode().count("\n") == 1
    assert "standard output is in ascii, which lacks '\\xfc'" in ended.stderr.decode()
    ended = subprocess.run([*command, "--prompt", b"\xff"], capture_output=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.decode().startswith("noria: --prompt '\\udcff' is no text")


def test_fit_and_evaluate_say_how_it_compares(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = result(capsys, fit("text.txt", "--test", "more.txt"))
    assert (code, err) == (0, "")
    for words in ("bits a character", "perplexity", "kneser_ney", "emory"):
        assert words in out
    assert out.splitlines()[-1] == "Model: x.noria"
    assert [file.name for file in here.iterdir() if file.name.startswith("x.")] == ["x.noria"]
    _, evaluated, _ = result(capsys, ["evaluate", "x.noria", "more.txt", "--json", "--adapt"])
    found = json.loads(evaluated)
    assert found["metrics"].keys() == {"loss", "perplexity", "bits_per_character"}
    assert found["baselines"].keys() == {"kneser_ney", "network, adapting"}
    expected = LanguageModel.load("x.noria").comparison_
    assert expected is not None
    assert found["metrics"] == expected.scores[0].metrics()


def test_generate_writes_the_prompt_and_goes_on(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--prompt", "eins ", "--length", "40", "--top-p", "0.9", "--top-k", "8"]
    flags += ["--repetition-penalty", "1.2", "--temperature", "0.8", "--seed", "5"]
    code, out, err = result(capsys, ["generate", "m.noria", *flags])
    assert (code, err) == (0, "")
    assert out.startswith("eins ")
    model = LanguageModel.load("m.noria")
    written = model.generate(
        "eins ", length=40, top_p=0.9, top_k=8, repetition_penalty=1.2, temperature=0.8, seed=5
    )
    assert out == f"eins {written[0]}\n"
    assert len(out) == 5 + 40 + 1
    _, three, _ = result(capsys, ["generate", "m.noria", *flags, "--samples", "3", "--json"])
    rows = [json.loads(line) for line in three.splitlines()]
    assert len(rows) == 3
    assert rows[0] == {"prompt": "eins ", "text": written[0]}
    _, rounded, _ = result(capsys, ["generate", "m.noria", *flags, "--int8"])
    written = model.generate(
        "eins ",
        length=40,
        top_p=0.9,
        top_k=8,
        repetition_penalty=1.2,
        temperature=0.8,
        seed=5,
        int8=True,
    )
    assert rounded == f"eins {written[0]}\n"


def test_generate_needs_no_torch(here: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from noria.cli import main; main(['generate', 'm.noria', '--length', '5']);"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_generate_answers_a_condition(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--condition", "high", "--length", "20", "--seed", "2"]
    code, out, _ = result(capsys, ["generate", "c.noria", *flags])
    expected = LanguageModel.load("c.noria").generate(condition="high", length=20, seed=2)
    assert (code, out) == (0, f"{expected[0]}\n")
    assert read_model("c.noria").document["columns"] == {"text": "text", "condition": "kind"}


def test_resume_without_a_checkpoint_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = result(capsys, [*fit("text.txt"), "--resume"])
    assert code == 0
    assert "no checkpoint" in err
    assert "training from the start" in err


def test_info_and_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = result(capsys, ["info", "m.noria"])
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if "layer" not in line)
    assert (lines["task"], lines["texts"]) == ("language", "1")
    assert result(capsys, ["report", "m.noria"]) == (0, "m.html\n", "")
    page = (here / "m.html").read_text(encoding="utf-8")
    for words in ("Against what it must beat", "perplexity", "svg", "How it learned"):
        assert words in page


def test_every_setting_has_a_flag_of_the_same_default() -> None:
    flags = inspect.signature(language).parameters
    for name, parameter in inspect.signature(LanguageModel).parameters.items():
        if name not in ("baselines", "cutoffs"):
            assert flags[name].default == parameter.default, name
    for name, parameter in inspect.signature(LanguageModel.fit).parameters.items():
        if name not in ("self", "X", "y", "checkpoint", "progress"):
            assert flags[name].default == parameter.default, name
