"""Commands run inside the test's process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from noria.cli import main


def result(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    capsys.readouterr()
    code = 0
    try:
        main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def without(settings: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Settings, each a flag and its value, without those whose flag is given anew."""
    return [
        part
        for flag, value in zip(settings[::2], settings[1::2], strict=True)
        if flag not in flags
        for part in (flag, value)
    ]
