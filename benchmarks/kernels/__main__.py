"""Time the native core against torch, ONNX Runtime and JAX, after comparing their results.

    .venv/bin/python benchmarks/kernels --groups training --threads 1

Groups: training and inference of one layer of each cell over a grid of shapes (B, T, I, H);
stacks, LSTM layers with indirect and full feedback, trained; normalised, layers with layer
normalisation beside those without and a loop in torch; stepping, one stream, one step a call.
Each group runs in a process of its own, pinned to as many cores as threads, which first measures
the core's peak rate and read bandwidth. Times are medians, all sides in turn. Peers that are not
installed are skipped by name. Writes JSON and, from it, the tables in Markdown.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from grid import CELLS
from timing import pin

GROUPS = ["training", "inference", "stacks", "normalised", "stepping"]
PEERS = ["onnxruntime", "jax"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="beside torch")
    parser.add_argument("--seconds", type=float, default=0.5, help="spent on a side of a point")
    parser.add_argument("--output", type=Path, default=Path("kernels.json"))
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    options = parser.parse_args()

    runs = [
        (group, threads)
        for group in options.groups
        for threads in options.threads
        if threads == 1 or group in ("training", "inference")
    ]
    if len(runs) == 1:
        results = [run(*runs[0], options)]
    else:
        results = [run_alone(group, threads, options) for group, threads in runs]
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    if options.markdown:
        from tables import tables

        options.markdown.write_text(tables(results))


def run_alone(group: str, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """One group in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent), "--groups", group]
    command += ["--threads", str(threads), "--cells", *options.cells, "--peers", *options.peers]
    command += ["--seconds", str(options.seconds), "--output", str(options.output)]
    subprocess.run(command, check=True)
    found: list[dict[str, Any]] = json.loads(options.output.read_text())
    return found[0]


def run(group: str, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """One group in this process."""
    pin(threads)
    import machine
    import torch

    from noria import kernels

    torch.set_num_threads(threads)
    kernels.set_num_threads(threads)
    limits = machine.measure()
    peers = {name for name in options.peers if importlib.util.find_spec(name)}
    for name in options.peers:
        if name not in peers:
            print(f"skipped: {name} is not installed")
    if "onnxruntime" in peers and not importlib.util.find_spec("onnx"):
        print("skipped: onnxruntime, since onnx is not installed")
        peers.discard("onnxruntime")
    peak = f"peak {limits['gflops']:.0f} GFLOP/s" if limits else "peak unknown: no C++ compiler"
    print(f"{group}, {threads} thread(s), {kernels.instruction_set()}, {peak} a core", flush=True)

    import groups

    lines = []
    for line in groups.GROUPS[group](peers, options.cells, options.seconds, threads, limits):
        if limits:
            line["share_of_peak"] = line["gflops"] / limits["gflops"] / threads
        times = "".join(f"  {name} {spent:9.3f} ms" for name, spent in line["ms"].items())
        ratios = "".join(f"  {name} x{ratio:.2f}" for name, ratio in line["ratio"].items())
        print(f"{line['point']:36}{times} {ratios}  {line['gflops']:.1f} GFLOP/s", flush=True)
        lines.append(line)
    about = machine.describe(threads)
    return {"group": group, "threads": threads, "machine": about, "limits": limits, "lines": lines}


if __name__ == "__main__":
    main()
