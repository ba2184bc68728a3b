"""The examples, in their quick settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_novel_is_learned_continued_and_reported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "novel.py", "--quick"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "bits a character" in done.stdout
    assert "\nEn un lugar de la Mancha" in done.stdout
    assert (tmp_path / "novel-output" / "novel.html").exists()
