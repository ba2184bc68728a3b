"""The examples, run from their files as they are, with a short training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def run(name: str, *options: str, cwd: Path) -> str:
    """What an example prints; it runs in a folder of its own."""
    done = subprocess.run(
        [sys.executable, FOLDER / name, *options],
        check=False,
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("energy.py", "The stream, after 1992 readings, says the same to the bit."),
        ("weather.py", "The year after:"),
        ("market.py", "naive forecast by"),
    ],
)
def test_a_series_is_forecast_beside_its_rivals(name: str, says: str, tmp_path: Path) -> None:
    printed = run(name, "--steps", "40", cwd=tmp_path)
    assert says in printed
    for rival in ("network", "fnn", "auto_ets"):
        assert rival in printed
    assert not list(tmp_path.iterdir())


def test_a_novel_is_learned_continued_and_reported(tmp_path: Path) -> None:
    printed = run("novel.py", "--quick", cwd=tmp_path)
    assert "bits a character" in printed
    assert "\nEn un lugar de la Mancha" in printed
    assert (tmp_path / "novel-output" / "novel.html").exists()
