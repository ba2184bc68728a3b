"""Compiled cells: their functions against the core's and exact ones, and what is kept on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noria import kernels
from noria.equations import Equations
from noria.kernels import StackLayer, _native
from noria.kernels.compiling import compiled as compiled_cell
from tests.kernels.reference import Array

module = sys.modules["noria.kernels.compiling.compiled"]
DTYPES = ["float32", "float64"]


def on_numbers(function: str, x: Array) -> Array:
    """The compiled function of each number: a cell that puts it out."""
    cell = Equations(function, ("a",), ("h",), (), f"h' = {function}(x_a) + 0*r_a")
    identity, zero = np.ones((1, 1), x.dtype), np.zeros(1, x.dtype)
    layer = StackLayer(cell, identity, zero)
    return kernels.scan_stack([layer], x.reshape(-1, 1, 1), [[np.zeros((x.size, 1), x.dtype)]]).y[
        :, 0, 0
    ]


def some_numbers(lowest: float, highest: float, dtype: str) -> Array:
    random = np.random.default_rng(0)
    near = random.standard_normal(4000) * 10.0 ** random.uniform(-20, 1, 4000)
    x = np.concatenate([np.linspace(lowest, highest, 4001), np.clip(near, lowest, highest)])
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_the_bits_of_the_cores_own_functions(function: str, dtype: str) -> None:
    x = some_numbers(-95, 95, dtype)
    core = getattr(_native, f"{function}_{dtype}")(x)
    # the sum with zero turns −0 into 0
    assert np.array_equal(on_numbers(function, x), core)


EXACT: dict[str, tuple[Callable[[Array], Array], float, float]] = {
    "exp": (np.exp, -80, 80),
    "log": (np.log, 1e-30, 1e4),
    "sqrt": (np.sqrt, 0, 1e4),
    "softplus": (lambda x: np.logaddexp(x, 0), -30, 90),
    "abs": (np.abs, -5, 5),
    "relu": (lambda x: np.maximum(x, 0), -5, 5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", EXACT)
def test_close_to_exact(function: str, dtype: str) -> None:
    exact, lowest, highest = EXACT[function]
    x = some_numbers(lowest, highest, dtype)
    wanted = exact(x.astype(np.longdouble))
    places = 4 * np.finfo(dtype).eps
    absolute = places if function in ("log", "softplus") else 0
    np.testing.assert_allclose(on_numbers(function, x), wanted, rtol=places, atol=absolute)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_at_the_ends(dtype: str) -> None:
    x = np.array([0, -1, np.inf, np.nan, 1, -0.0], dtype)
    wanted = np.array([-np.inf, np.nan, np.inf, np.nan, 0, -np.inf], dtype)
    np.testing.assert_array_equal(on_numbers("log", x), wanted)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing compiled yet in this process."""
    monkeypatch.setenv("NORIA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "_compiled", module._compiled.__wrapped__)
    return tmp_path / "cells"


MEANING = Equations("kept", ("a",), ("h",), (), "h' = tanh(a)*0.5 + h*0.25")


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def refuse(*arguments: Any) -> Any:
    raise AssertionError("it was compiled again")


def test_what_is_compiled_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled_cell(MEANING, "float32", save=True)
    (file,) = files(folder)
    assert file.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(module, "_compile", refuse)
    again = compiled_cell(MEANING, "float32", save=True)
    assert again[:5] == first[:5]
    with pytest.raises(AssertionError, match="compiled again"):
        compiled_cell(MEANING, "float64", save=True)
    with pytest.raises(AssertionError, match="compiled again"):
        compiled_cell(
            Equations("kept", ("a",), ("h",), (), "h' = tanh(a)*0.5 + h*0.5"), "float32", save=True
        )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_waits_for_whoever_compiles() -> None:
    held = threading.Event()

    def hold() -> None:
        with module._lock:
            held.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if not child:
        os._exit(0 if module._lock.acquire(timeout=5) else 1)
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 2000])
def test_a_damaged_file_is_made_again(folder: Path, damage: bytes) -> None:
    compiled_cell(MEANING, "float32", save=False)
    (file,) = files(folder)
    whole = file.read_bytes()
    file.write_bytes(damage)
    compiled_cell(MEANING, "float32", save=False)
    assert file.read_bytes() == whole


def test_a_folder_that_others_may_write_is_not_used(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    assert compiled_cell(MEANING, "float32", save=False)[:4] == (1, 1, 0, 1)
    assert files(folder) == []


def test_a_failed_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_to_replace(self: Path, target: Path) -> None:
        raise OSError("no space is left")

    monkeypatch.setattr(Path, "replace", refuse_to_replace)
    assert compiled_cell(MEANING, "float32", save=False)[:4] == (1, 1, 0, 1)
    assert files(folder) == []


def test_a_folder_that_cannot_be_made_is_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder.parent / "file"
    file.write_text("")
    monkeypatch.setenv("NORIA_CACHE_DIR", str(file))
    assert compiled_cell(MEANING, "float32", save=False)[:4] == (1, 1, 0, 1)


def test_the_code_does_not_depend_on_the_order_of_hashes() -> None:
    script = (
        "import hashlib\n"
        "from noria.cells import SLSTM\n"
        "from noria.kernels.compiling.derive import derive\n"
        "from noria.kernels.compiling.functions import write_module\n"
        "from tests.kernels.stacks import EVERYTHING\n"
        "for cell in (SLSTM.meaning, EVERYTHING):\n"
        "    text = write_module(cell, derive(cell), 'float32', 8, fuses=True)\n"
        "    print(hashlib.sha256(text.encode()).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
