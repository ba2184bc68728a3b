"""What this machine can do, measured when the peers are: machine.cpp, compiled for it."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any


def measure() -> dict[str, Any] | None:
    """Peak rate of one core and its read bandwidth by size of memory; None without a compiler.

    Returns:
        "gflops" in float32, and "read_gb_per_s" by bytes.
    """
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "machine")
        source = str(Path(__file__).with_name("machine.cpp"))
        command = [compiler, "-std=c++20", "-O3", "-march=native", source, "-o", program]
        subprocess.run(command, check=True)
        found = json.loads(subprocess.run([program], check=True, capture_output=True).stdout)
    found["read_gb_per_s"] = {int(size): rate for size, rate in found["read_gb_per_s"].items()}
    return dict(found)


def bandwidth(machine: dict[str, Any], size: int) -> float:
    """GB/s of reading so many bytes again and again: of the next size that was measured."""
    rates: dict[int, float] = machine["read_gb_per_s"]
    return next(
        (rate for measured, rate in sorted(rates.items()) if measured >= size), min(rates.values())
    )


def describe(threads: int) -> dict[str, Any]:
    """Processor, cores and versions."""
    from noria import kernels

    model = platform.processor()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    versions = {}
    for name in ("noria", "torch", "onnxruntime", "jax", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "processor": model,
        "instruction_set": kernels.instruction_set(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": versions,
    }
