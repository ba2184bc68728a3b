"""What commands share of their arguments: types, lists with commas, where a result may go."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from noria.errors import UsageError

__all__ = [
    "Baselines",
    "Flag",
    "Json",
    "Level",
    "MaybeOutput",
    "Names",
    "Output",
    "Season",
    "check_output",
    "integers",
    "split_list",
]

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Output = Annotated[Path, Parameter(name=["--output", "-o"])]
MaybeOutput = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Names = Annotated[list[str] | None, Parameter(negative="")]
Level = Annotated[list[str] | None, Parameter(negative="--no-level")]
Season = Annotated[list[str] | None, Parameter(negative="--no-season")]
Baselines = Annotated[list[str] | None, Parameter(negative="--no-baselines")]


def split_list(values: Iterable[str] | None) -> list[str]:
    """The parts of what was given with commas, or several times."""
    return [
        part.strip() for value in values or () for part in str(value).split(",") if part.strip()
    ]


def integers(name: str, values: Iterable[str]) -> list[int]:
    """Whole numbers with commas between them.

    Raises:
        UsageError: naming the flag.
    """
    try:
        return [int(value) for value in split_list(values)]
    except ValueError:
        raise UsageError(
            f"--{name} {','.join(values)}: expected whole numbers separated by commas"
        ) from None


def check_output(output: Path, *inputs: Path) -> None:
    """Fail before the work, not after it."""
    if not output.parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}")
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file")
    if output.exists() and not output.is_file():
        raise UsageError(f"{output} is no ordinary file; it would be replaced")
    if any(output.exists() and file.exists() and output.samefile(file) for file in inputs):
        raise UsageError(f"{output} is what is read; give --output another name")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"{output}: the folder {output.parent} cannot be written to")
