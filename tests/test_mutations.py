"""A short run of `tests.mutations`; a long one is in make test-all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from noria.cells import GRU
from noria.runtime import write_model
from noria.wiring import Wiring
from tests.mutations import Target, run


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("mutations"))


@pytest.mark.parametrize("count", [1500, pytest.param(60_000, marks=pytest.mark.long)])
def test_damage_is_refused_or_harmless(target: Target, count: int) -> None:
    kinds = {"model": target.model, "state": target.state, "message": target.message}
    found = run(target, kinds, first=0, count=count)
    assert sum(found.values()) == count
    for what in ("model opened", "model refused: ModelFileError", "state read", "state refused"):
        assert found[what] > count // 100, found


_READ = """
import sys
from pathlib import Path
from noria.errors import ModelFileError
from noria.runtime import read_model

def status(field):
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) * 1024

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
try:
    read_model(sys.argv[1])
except ModelFileError as error:
    assert "does not match its hash" in str(error), error
    print(status("VmHWM") - before)
"""


def test_a_large_damaged_model_takes_no_more_than_twice_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.noria"
    wiring = Wiring.build(1, [GRU(1)], output_size=1).to_dict()
    weights = {"w": np.arange(12_000_000, dtype=np.float32)}
    write_model(path, {"task": "network", "wiring": wiring}, weights)
    size = path.stat().st_size
    assert size > 40e6
    with path.open("r+b") as file:
        file.seek(-5, 2)
        file.write(b"\x55")
    ended = subprocess.run(
        [sys.executable, "-c", _READ, str(path)], capture_output=True, text=True, check=True
    )
    assert np.float64(ended.stdout) < 2 * size + 4e6
