"""The native kernel against the oracle, and what it says where it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from noria import kernels
from noria.cells import LSTM, make_cell
from noria.errors import KernelError, UsageError, WiringError
from noria.network import Network
from noria.wiring import Wiring
from tests.network.reference import (
    CELLS,
    FEEDBACKS,
    assert_close,
    assert_same_bits,
    inputs,
    network,
    results,
    some_state,
)

SHAPES = [(1, 1, 1, 1), (3, 7, 5, 63), (2, 4, 1, 130), (17, 1, 9, 8)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", ["direct+lateral", "direct", "lateral", "none"])
@pytest.mark.parametrize(("batch", "steps", "width", "hidden"), SHAPES)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_native_is_the_oracle(
    cell: str,
    feedback: str,
    batch: int,
    steps: int,
    width: int,
    hidden: int,
    ragged: bool,
    bidirectional: bool,
) -> None:
    torch.manual_seed(0)
    cells = [make_cell(cell, hidden)]
    net = Network(width, cells, feedback, 2, bidirectional=bidirectional).double()
    x, state = inputs(batch, steps, width), some_state(net, batch)
    lengths = torch.arange(batch) % (steps + 1) if ragged else None
    found = {}
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        found[backend] = results(net, x, state, lengths)
    assert_close(found["native"], found["oracle"], 1e-11)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_native_is_the_oracle_without_gradients(
    cell: str, feedback: str, dtype: torch.dtype
) -> None:
    net = network(cell, feedback).to(dtype)
    x, state = inputs().to(dtype), some_state(net)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    with torch.no_grad():
        wanted = net(x, state)
        net.backend = "native"
        torch.testing.assert_close(net(x, state), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("feedback", "wanted"),
    [
        ("direct", [["gru"], ["gru"]]),
        ("none", [["gru"], ["gru"]]),
        ("full", [["gru", "gru", "linear"]]),
    ],
)
def test_auto_takes_the_kernel(
    feedback: str, wanted: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(what: str | list[kernels.StackLayer], *a: Any, **k: Any) -> Any:
            calls.append([what] if isinstance(what, str) else [layer.cell for layer in what])
            return function(what, *a, **k)

        return call

    for name in ("scan", "scan_stack"):
        monkeypatch.setattr(kernels, name, counted(getattr(kernels, name)))
    network("gru", feedback, backend="auto")(inputs())
    assert calls == wanted
    calls.clear()
    network("gru", feedback, backend="oracle")(inputs())
    assert calls == []


@pytest.mark.parametrize(
    "view",
    [inputs().mT.contiguous().mT, inputs()[::2], inputs()[:, ::2], inputs()[:1].expand(3, 5, 4)],
)
def test_any_strides(view: Tensor) -> None:
    net = network("lstm", backend="native")
    assert_same_bits(net(view)[0], net(view.contiguous())[0])


def test_a_frozen_network_gives_only_the_input_a_gradient() -> None:
    net = network("gru", backend="native").requires_grad_(requires_grad=False)
    x = inputs().requires_grad_()
    net(x)[0].sum().backward()
    wanted = network("gru", backend="oracle")
    y = x.detach().clone().requires_grad_()
    wanted(y)[0].sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_native_says_why_it_cannot_run() -> None:
    net = network("lstm", backend="native").half()
    with pytest.raises(KernelError, match="float32 or float64, not float16"):
        net(inputs().half())
    net = network("lstm", "full", backend="native").to(torch.bfloat16)
    with pytest.raises(KernelError, match="float32 or float64, not bfloat16"):
        net(inputs().bfloat16())


def test_an_unknown_backend() -> None:
    with pytest.raises(UsageError, match="backend is 'fast'"):
        network(backend="fast")


@pytest.mark.parametrize(
    ("key", "value"), [("cell", "lsmt"), ("gates", ["i", "f", "g"]), ("states", ["h"])]
)
def test_a_wiring_with_cells_that_are_not_here(key: str, value: Any) -> None:
    document = Wiring.build(4, [LSTM(3)]).to_dict()
    document["layers"][0][key] = value
    with pytest.raises(WiringError):
        Network.from_wiring(Wiring.from_dict(document))
