"""Time cells written as equations against the built-in cells, after comparing their results.

    .venv/bin/python benchmarks/own_cells.py

An LSTM and a GRU are written as equations and run beside the built-in ones on the same weights and
inputs: inference by a packed scan, and a forward and backward pass through autograd, in turn, in
one run on one core. A line a point: median times and their ratio (equations over built-in); then
the geometric means and the largest ratio. Below it the shipped cells, and what compiling takes.
Writes JSON.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SHAPES = [(1, 100, 32, 32), (1, 100, 128, 128), (16, 100, 64, 64), (64, 100, 256, 256)]
GOAL = 1.5
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="spent on each side of a point")
    parser.add_argument("--output", type=Path, default=Path("own_cells.json"))
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])

    import torch

    import noria
    from noria import kernels
    from noria.network import Network
    from noria.runtime.stepper import NetworkStepper

    class OwnLSTM(noria.EquationCell):
        gates = ("i", "f", "g", "o")
        states = ("h", "c")
        equations = """
            c' = sigmoid(f)*c + sigmoid(i)*tanh(g)
            h' = sigmoid(o)*tanh(c')
        """

    class OwnGRU(noria.EquationCell):
        gates = ("r", "z", "n")
        equations = """
            update = sigmoid(z)
            new = tanh(x_n + sigmoid(r)*r_n)
            h' = (1 - update)*new + update*h
        """

    torch.set_num_threads(1)
    kernels.set_num_threads(1)
    print(f"torch {torch.__version__}, {kernels.instruction_set()}, one thread")
    pairs = [(noria.LSTM, OwnLSTM), (noria.GRU, OwnGRU)]

    def networks(cells: list, inputs: int, hidden: int) -> list[Network]:
        made = []
        for cell in cells:
            torch.manual_seed(0)
            made.append(Network(inputs, [cell(hidden)], backend="native"))
        return made

    def training(net: Network, x: torch.Tensor) -> Run:
        x = x.clone().requires_grad_()
        grad = torch.ones(*x.shape[:2], net.wiring.output_size)

        def run() -> torch.Tensor:
            net.zero_grad()
            y, _ = net(x)
            y.backward(grad)
            return y

        return run

    def inference(net: Network, x: torch.Tensor) -> Run:
        weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
        stepper = NetworkStepper(net.wiring, weights)
        state = stepper.zero_state(len(x))
        array = x.numpy()
        return lambda: stepper.scan(array, state)

    rows = []
    for built_in, own in pairs:
        for shape in SHAPES:
            batch, steps, inputs, hidden = shape
            both = networks([built_in, own], inputs, hidden)
            torch.manual_seed(1)
            x = torch.randn(batch, steps, inputs)
            compare(both, x)
            for name, way in (("training", training), ("inference", inference)):
                times = medians([way(net, x) for net in both], options.seconds)
                rows.append(
                    {
                        "cell": built_in.__name__,
                        "way": name,
                        "shape": shape,
                        "built_in_s": times[0],
                        "equations_s": times[1],
                        "ratio": times[1] / times[0],
                    }
                )
                print(
                    f"{built_in.__name__:5} {name:9} {shape!s:20} built-in {times[0] * 1e6:9.1f} µs"
                    f"  equations {times[1] * 1e6:9.1f} µs  ratio {rows[-1]['ratio']:.2f}"
                )
    for way in ("training", "inference"):
        ratios = [row["ratio"] for row in rows if row["way"] == way]
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"{way}: mean {mean:.2f}, largest {max(ratios):.2f}; goal at most {GOAL}")

    shipped = []
    x = torch.randn(16, 100, 64)
    for cell in (
        noria.PeepholeLSTM, noria.CoupledLSTM, noria.MGU, noria.LeakyRNN, noria.SLSTM
    ):  # fmt: skip
        (net,) = networks([cell], 64, 64)
        times = [
            medians([way(net, x)], options.seconds)[0] for way in (training, inference)
        ]  # fmt: skip
        shipped.append({"cell": cell.__name__, "training_s": times[0], "inference_s": times[1]})
        print(
            f"{cell.__name__:12} (16, 100, 64, 64) training {times[0] * 1e6:9.1f} µs"
            f"  inference {times[1] * 1e6:9.1f} µs"
        )
    compiling = time_compiling()
    print(f"compiling the LSTM's training code at first use: {compiling:.2f} s")
    document = {"rows": rows, "shipped": shipped, "compiling_s": compiling}
    options.output.write_text(json.dumps(document, indent=2))


def compare(both: list, x) -> None:
    """Outputs and gradients of the two agree."""
    import torch

    found = []
    for net in both:
        net.zero_grad()
        y, _ = net(x)
        y.square().sum().backward()
        found.append([y.detach(), *(p.grad for p in net.parameters())])
    for one, other in zip(*found, strict=True):
        scale = one.abs().max().item() + 1
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * scale)


def medians(runs: list[Run], seconds: float) -> list[float]:
    """The median times of several runs, in turn."""
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    ends = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < ends or len(times[0]) < 5:
        for run, own in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def time_compiling() -> float:
    from noria.equations import Equations
    from noria.kernels.compiling import compiled

    with tempfile.TemporaryDirectory() as folder:
        os.environ["NORIA_CACHE_DIR"] = folder
        text = "c' = sigmoid(f)*c + sigmoid(i)*tanh(g)\nh' = sigmoid(o)*tanh(c')"
        meaning = Equations("fresh", ("i", "f", "g", "o"), ("h", "c"), (), text)
        start = time.perf_counter()
        compiled(meaning, "float32", save=True)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
