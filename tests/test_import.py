from __future__ import annotations

import subprocess
import sys

import pytest

import noria


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def loaded_after(program: str) -> set[str]:
    done = run("-c", f"{program}\nimport sys; print(*sys.modules)")
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module",
    [
        "noria",
        "noria.cli",
        "noria.cells",
        "noria.errors",
        "noria.kernels",
        "noria.runtime",
        "noria.shapes",
        "noria.wiring",
    ],
)
def test_what_runs_a_model_does_not_import_torch(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert "noria" in loaded
    assert not loaded & {"torch", "sklearn", "pandas", "polars", "accelerate"}


def test_nothing_slow_is_imported_with_the_package() -> None:
    assert not loaded_after("import noria") & {"numpy", "rich", "cyclopts", "safetensors"}


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["fit", "forecast", "--help"]])
def test_help_imports_nothing_slow(command: list[str]) -> None:
    done = run("-X", "importtime", "-m", "noria", *command)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "noria.cli" in imported
    slow = {"torch", "numpy", "pandas", "polars", "sklearn", "safetensors", "pydantic"}
    assert not slow & imported


def test_every_public_name_can_be_had() -> None:
    for name in noria.__all__:
        assert getattr(noria, name) is not None
    assert dir(noria) == sorted(noria.__all__)
    assert noria.Network.__module__ == "noria.network.network"
    with pytest.raises(AttributeError, match="module 'noria' has no attribute 'Netwrok'"):
        noria.Netwrok  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    assert run("-m", "noria", "--version").stdout.strip() == noria.__version__
