"""Time the native scans against torch, forward and backward, after comparing their results.

    .venv/bin/python benchmarks/kernels.py --threads 1

The peer of a single layer is torch.nn's; that of a stack whose layers feed each other (two layers
under feedback="full"), which torch.nn does not have, is the same network run step by step on plain
torch operations: backend="oracle". Both sides run through autograd on the same weights and inputs,
in turn, in one run pinned to as many cores as threads. A line a grid point: median times, their
ratio (torch's over Noria's) and the arithmetic rate of Noria's; then geometric means. Writes JSON.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

GRID = [
    (1, 100, 32, 32),
    (1, 100, 128, 128),
    (1, 100, 512, 512),
    (16, 100, 64, 64),
    (32, 100, 128, 128),
    (64, 100, 256, 256),
    (32, 100, 512, 512),
    (256, 28, 28, 128),
]
STACK_GRID = [
    (1, 100, 32, 32),
    (16, 100, 64, 64),
    (32, 100, 128, 128),
    (64, 100, 256, 256),
]
CELLS = {"lstm": 4, "gru": 3, "rnn": 1}
Shape = tuple[int, int, int, int]
Sides = tuple[Callable[[], None], Callable[[], None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument(
        "--groups", nargs="+", choices=["layer", "stack"], default=["layer", "stack"]
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="spent on each side of a point")
    parser.add_argument("--output", type=Path, default=Path("kernels.json"))
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])

    import torch

    from noria import kernels
    from noria.cells import GRU, LSTM, RNN
    from noria.network import Network, from_torch

    torch.set_num_threads(options.threads)
    kernels.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {kernels.instruction_set()}, {options.threads} thread(s)")

    def layer(cell: str, shape: Shape) -> Sides:
        _, _, inputs, hidden = shape
        torch.manual_seed(0)
        kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
        theirs = kind(inputs, hidden, batch_first=True)
        ours = from_torch(theirs)
        ours.backend = "native"
        names = ("weight_hh_l0", "layers.0.weight_hh.0")
        return both(f"{cell} {shape}", shape, (theirs, ours), names)

    def stack(cell: str, shape: Shape) -> Sides:
        _, _, inputs, hidden = shape
        torch.manual_seed(0)
        kind = {"lstm": LSTM, "gru": GRU, "rnn": RNN}[cell]
        theirs, ours = (
            Network(inputs, [kind(hidden), kind(hidden)], "full", backend=backend)
            for backend in ("oracle", "native")
        )
        ours.load_state_dict(theirs.state_dict())
        names = ("layers.0.weight_hh.1",) * 2
        return both(f"stack of {cell} {shape}", shape, (theirs, ours), names)

    def both(
        title: str,
        shape: Shape,
        modules: tuple[torch.nn.Module, torch.nn.Module],
        names: tuple[str, str],
    ) -> Sides:
        batch, steps, inputs, hidden = shape
        x = torch.randn(batch, steps, inputs, requires_grad=True)
        grad = torch.randn(batch, steps, hidden)
        found = []
        for module, recurrent in zip(modules, names, strict=True):
            x.grad = None
            y = module(x)[0]
            y.backward(grad)
            found.append((y.detach(), x.grad, module.get_parameter(recurrent).grad))
        for theirs_part, ours_part in zip(*found, strict=True):
            worst = float((ours_part - theirs_part).abs().max() / theirs_part.abs().max())
            assert worst < 1e-3, f"{title}: results differ by {worst:.1e} of their size"

        def run(module: torch.nn.Module) -> Callable[[], None]:
            def once() -> None:
                x.grad = None
                module.zero_grad(set_to_none=True)
                module(x)[0].backward(grad)

            return once

        return run(modules[0]), run(modules[1])

    groups = [
        ("layer", GRID, layer, lambda inputs, hidden: inputs + hidden),
        # W and R of the first layer, W and R of the second: both hear both
        ("stack", STACK_GRID, stack, lambda inputs, hidden: inputs + 5 * hidden),
    ]
    results = []
    for (group, grid, sides_of, width), cell in itertools.product(groups, options.cells):
        if group not in options.groups:
            continue
        ratios = []
        for shape in grid:
            sides = sides_of(cell, shape)
            times: tuple[list[float], list[float]] = ([], [])
            end = time.perf_counter() + 2 * options.seconds
            while time.perf_counter() < end or len(times[0]) < 5:
                for side, spent in zip(sides, times, strict=True):
                    started = time.perf_counter()
                    side()
                    spent.append(time.perf_counter() - started)
            theirs_s, ours_s = map(statistics.median, times)
            batch, steps, inputs, hidden = shape
            flops = 3 * 2 * batch * steps * CELLS[cell] * hidden * width(inputs, hidden)
            ratios.append(theirs_s / ours_s)
            result = {
                "group": group,
                "cell": cell,
                "shape": shape,
                "threads": options.threads,
                "torch_ms": 1e3 * theirs_s,
                "noria_ms": 1e3 * ours_s,
                "ratio": theirs_s / ours_s,
                "noria_gflops": flops / ours_s / 1e9,
            }
            results.append(result)
            print(
                f"{group} {cell:5} {shape!s:22} torch {1e3 * theirs_s:8.2f} ms"
                f"  noria {1e3 * ours_s:8.2f} ms  ratio {ratios[-1]:6.2f}"
                f"  {result['noria_gflops']:6.1f} GFLOP/s",
                flush=True,
            )
        mean = statistics.geometric_mean(ratios)
        print(f"{group} {cell:5} geometric mean of the ratios {mean:.2f}", flush=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
