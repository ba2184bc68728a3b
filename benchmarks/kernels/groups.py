"""What is timed: each group compares the results of all sides, then yields a line a point."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from grid import CELLS, GRID, STACK_GRID, STEP_SIZES, layer_operations, stack_operations
from machine import bandwidth
from timing import check_same, medians

from noria import GRU, LSTM, Network, kernels
from noria.network import from_torch
from noria.runtime.stepper import NetworkStepper

Lines = Iterator[dict[str, Any]]
KINDS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}


def _sides(cell: str, shape: tuple[int, ...]) -> tuple[Any, Network]:
    torch.manual_seed(0)
    theirs = KINDS[cell](shape[2], shape[3], batch_first=True)
    ours = from_torch(theirs)
    ours.backend = "native"
    return theirs, ours


def _training_step(
    module: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor
) -> Callable[[], torch.Tensor]:
    def once() -> torch.Tensor:
        x.grad = None
        module.zero_grad(set_to_none=True)
        y: torch.Tensor = module(x)[0]
        y.backward(grad)
        return y

    return once


def _line(title: str, operations: int, times: dict[str, float], **more: Any) -> dict[str, Any]:
    ours = times["noria"]
    return {
        "point": title,
        **more,
        "ms": {name: 1e3 * spent for name, spent in times.items()},
        "ratio": {name: spent / ours for name, spent in times.items() if name != "noria"},
        "gflops": operations / ours / 1e9,
    }


def training(peers: set[str], cells: list[str], seconds: float, threads: int, _: Any) -> Lines:
    """Forward and backward through autograd against torch.nn and JAX."""
    for cell in cells:
        for shape in GRID:
            theirs, ours = _sides(cell, shape)
            x = torch.randn(shape[:3], requires_grad=True)
            grad = torch.randn(*shape[:2], shape[3])
            found, sides = {}, {}
            for name, module, recurrent in (
                ("torch", theirs, "weight_hh_l0"),
                ("noria", ours, "layers.0.weight_hh.0"),
            ):
                sides[name] = _training_step(module, x, grad)
                y = sides[name]().detach()
                found[name] = [y, x.grad, module.get_parameter(recurrent).grad]
            if "jax" in peers:
                import peer_jax

                sides["jax"] = peer_jax.training(
                    cell, peer_jax.layer_weights(theirs), x.detach().numpy(), grad.numpy()
                )
                y, d_x, d_weights = sides["jax"]()
                found["jax"] = [y, d_x, d_weights[0]["R"][0]]
            check_same(f"training {cell} {shape}", found)
            times = medians(sides, seconds)
            yield _line(f"{cell} {shape}", 3 * layer_operations(cell, shape), times, cell=cell)


@torch.no_grad()
def inference(peers: set[str], cells: list[str], seconds: float, threads: int, _: Any) -> Lines:
    """Whole sequences from packed weights, against torch.nn, ONNX Runtime and JAX."""
    for cell in cells:
        for shape in GRID:
            theirs, ours = _sides(cell, shape)
            x = torch.randn(shape[:3])
            array, layer = x.numpy(), ours.layers[0]
            packed = kernels.pack(
                {"rnn": "rnn_tanh"}.get(cell, cell),
                *(
                    tensor.detach().numpy()
                    for tensor in (layer.weight_ih, layer.own_recurrence(), layer.bias_ih)
                ),
                layer.bias_hh.detach().numpy(),
            )
            state = [np.zeros((shape[0], shape[3]), "float32")] * (2 if cell == "lstm" else 1)
            sides: dict[str, Callable[[], Any]] = {
                "torch": lambda module=theirs, x=x: module(x)[0],
                "noria": lambda p=packed, x=array, s=state: kernels.scan_packed(p, x, s).y,
            }
            found = {name: [side()] for name, side in sides.items()}
            if "onnxruntime" in peers:
                import peer_onnx

                sides["onnxruntime"] = peer_onnx.scan(cell, theirs, array, threads)
                found["onnxruntime"] = [sides["onnxruntime"]()[:, 0].swapaxes(0, 1)]
            if "jax" in peers:
                import peer_jax

                sides["jax"] = peer_jax.forward(cell, peer_jax.layer_weights(theirs), array)
                found["jax"] = [sides["jax"]()]
            check_same(f"inference {cell} {shape}", found)
            times = medians(sides, seconds)
            yield _line(f"{cell} {shape}", layer_operations(cell, shape), times, cell=cell)


def stacks(peers: set[str], cells: list[str], seconds: float, threads: int, _: Any) -> Lines:
    """Training of LSTM layers that feed each other, against an eager torch loop and JAX."""
    for feedback in ("indirect", "full"):
        for layers in (2, 3):
            for shape in STACK_GRID:
                torch.manual_seed(0)
                hidden = shape[3]
                theirs, ours = (
                    Network(shape[2], [LSTM(hidden)] * layers, feedback, backend=backend)
                    for backend in ("oracle", "native")
                )
                ours.load_state_dict(theirs.state_dict())
                x = torch.randn(shape[:3], requires_grad=True)
                grad = torch.randn(*shape[:2], hidden)
                found, sides = {}, {}
                for name, module in (("torch", theirs), ("noria", ours)):
                    sides[name] = _training_step(module, x, grad)
                    y = sides[name]().detach()
                    recurrent = module.get_parameter("layers.0.weight_hh.1").grad
                    found[name] = [y, x.grad, recurrent]
                if "jax" in peers:
                    import peer_jax

                    sides["jax"] = peer_jax.training(
                        "lstm", peer_jax.stack_weights(theirs), x.detach().numpy(), grad.numpy()
                    )
                    y, d_x, d_weights = sides["jax"]()
                    found["jax"] = [y, d_x, d_weights[0]["R"][1]]
                title = f"{layers} layers, {feedback} {shape}"
                check_same(f"stacks {title}", found)
                times = medians(sides, seconds)
                operations = 3 * stack_operations(feedback, layers, shape)
                yield _line(title, operations, times, feedback=feedback, layers=layers)


@torch.no_grad()
def stepping(
    peers: set[str], cells: list[str], seconds: float, threads: int, machine: dict[str, Any] | None
) -> Lines:
    """One LSTM step of one stream a call, against torch.nn.LSTMCell and ONNX Runtime."""
    for hidden in STEP_SIZES:
        theirs, _ = _sides("lstm", (1, 1, hidden, hidden))
        x = torch.randn(1, hidden)
        array = x.numpy()
        weights = [parameter.detach().numpy() for parameter in theirs.parameters()]
        w, r, b_ih, b_hh = weights
        layer = kernels.StackLayer("lstm", w, b_ih, b_hh, {0: r})
        cell = torch.nn.LSTMCell(hidden, hidden)
        for mine, given in zip(cell.parameters(), theirs.parameters(), strict=True):
            mine.copy_(given)
        state = [(torch.zeros(1, hidden),) * 2]

        def torch_step(cell: Any = cell, x: Any = x, state: Any = state) -> Any:
            state[0] = cell(x, state[0])
            return state[0][0]

        out = {name: np.empty((1, hidden), "float32") for name in ("noria", "noria int8")}
        sides: dict[str, Callable[[], Any]] = {"torch": torch_step}
        for name, y in out.items():
            stepper = kernels.Stepper(kernels.pack_stack([layer], int8="int8" in name))
            sides[name] = lambda stepper=stepper, y=y, x=array: stepper.step(x, y)
        if "onnxruntime" in peers:
            import peer_onnx

            sides["onnxruntime"] = peer_onnx.step(theirs, array)
        found = {name: [np.array(side()).reshape(1, hidden)] for name, side in sides.items()}
        check_same(f"stepping {hidden}", {"int8": found.pop("noria int8"), **found}, 0.05)
        check_same(f"stepping {hidden}", found)
        many = {name: _repeated(side) for name, side in sides.items()}
        times = {name: spent / REPEATS for name, spent in medians(many, seconds).items()}
        line = _line(f"lstm {hidden}", layer_operations("lstm", (1, 1, hidden, hidden)), times)
        size = 4 * hidden * 2 * hidden * 4
        line["read_gb_per_s"] = size / times["noria"] / 1e9
        if machine is not None:
            line["share_of_bandwidth"] = line["read_gb_per_s"] / bandwidth(machine, size)
        yield line


def normalised(peers: set[str], cells: list[str], seconds: float, threads: int, _: Any) -> Lines:
    """Layers with layer normalisation, against those without and against a loop in torch."""
    from peer_loop import NormalisedLoop

    for cell, kind in (("lstm", LSTM), ("gru", GRU)):
        for shape in STACK_GRID if cell in cells else ():
            torch.manual_seed(0)
            without, ours = (
                Network(shape[2], [kind(shape[3], layer_norm=norm)], backend="native")
                for norm in (False, True)
            )
            modules = {"torch": NormalisedLoop(ours), "noria": ours, "noria without": without}
            x = torch.randn(shape[:3], requires_grad=True)
            grad = torch.randn(*shape[:2], shape[3])
            sides = {name: _training_step(module, x, grad) for name, module in modules.items()}
            found = {}
            for name, gain in (("torch", "gain"), ("noria", "layers.0.weight_norm")):
                y = sides[name]().detach()
                found[name] = [y, x.grad, modules[name].get_parameter(gain).grad]
            check_same(f"normalised {cell} {shape}", found)
            times = medians(sides, seconds)
            title, operations = f"{cell} training {shape}", layer_operations(cell, shape)
            yield _line(title, 3 * operations, times, cell=f"{cell} training")

            array = x.detach().numpy()
            for name, net in (("noria", ours), ("noria without", without)):
                weights = {key: value.detach().numpy() for key, value in net.named_parameters()}
                stepper = NetworkStepper(net.wiring, weights)
                state = stepper.zero_state(shape[0])
                sides[name] = lambda n=stepper, x=array, s=state: n.scan(x, s)[0]
            sides["torch"] = torch.no_grad()(lambda m=modules["torch"], x=x: m(x)[0])
            check_same(title, {name: [sides[name]()] for name in ("torch", "noria")})
            times = medians(sides, seconds)
            title = f"{cell} inference {shape}"
            yield _line(title, operations, times, cell=f"{cell} inference")


REPEATS = 20  # a step is too short to time alone


def _repeated(side: Callable[[], Any]) -> Callable[[], None]:
    def once() -> None:
        for _ in range(REPEATS):
            side()

    return once


GROUPS = {
    "training": training,
    "inference": inference,
    "stacks": stacks,
    "normalised": normalised,
    "stepping": stepping,
}
assert set(CELLS) == set(KINDS)
