"""The examples run from their file as it is, with a short training."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("energy", "The stream, after 1992 readings, says the same to the bit."),
        ("weather", "The year after:"),
        ("market", "naive forecast by"),
    ],
)
def test_an_example(name: str, says: str, tmp_path: Path) -> None:
    program = [sys.executable, str(FOLDER / f"{name}.py"), "--steps", "40"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    for rival in ("network", "fnn", "auto_ets"):
        assert rival in done.stdout
    assert not list(tmp_path.iterdir())
