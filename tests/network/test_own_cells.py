"""Cells of one's own in networks: every gradient, every wiring, bits, files, and streams."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noria import kernels
from noria.cells import (
    GRU,
    LSTM,
    MGU,
    RNN,
    SLSTM,
    CoupledLSTM,
    EquationCell,
    LeakyRNN,
    PeepholeLSTM,
)
from noria.errors import KernelError, ModelFileError, WiringError
from noria.network import Network
from noria.runtime import Session, write_model
from noria.runtime.stepper import NetworkStepper
from noria.wiring import Wiring
from tests.instruction_sets import fused_digests, run_on
from tests.network.reference import (
    assert_close,
    assert_same_bits,
    flat,
    inputs,
    results,
    scatter,
    some_state,
)

SHIPPED: list[type[EquationCell]] = [PeepholeLSTM, CoupledLSTM, MGU, LeakyRNN, SLSTM]


class Threefold(EquationCell):
    """Three states, a gate in parts, a parameter: what a built-in cell does not have together."""

    gates = ("a", "b")
    states = ("h", "c", "d")
    parameters = ("p",)
    equations = """
        c' = c*sigmoid(a) + p*tanh(x_b)
        d' = max(d, c') - d*c/4
        h' = tanh(d' + r_b*sigmoid(a))
    """


def a_network(cells: list[Any], feedback: Any = "direct+lateral", **options: Any) -> Network:
    torch.manual_seed(1)
    net = Network(4, cells, feedback, **{"output_size": 2} | options).double()
    scatter(net)
    return net


def both(
    net: Network, x: torch.Tensor, lengths: torch.Tensor | None = None, tolerance: float = 1e-11
) -> None:
    """Native and oracle agree in outputs, states and every gradient."""
    state, found = some_state(net, len(x)), {}
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        found[backend] = results(net, x, state, lengths)
    assert_close(found["native"], found["oracle"], tolerance)


@pytest.mark.parametrize("kind", [*SHIPPED, Threefold])
@pytest.mark.parametrize("feedback", ["direct+lateral", "direct", "none", "full"])
def test_native_is_the_oracle(kind: type[EquationCell], feedback: str) -> None:
    both(a_network([kind(9), GRU(3), kind(2)], feedback), inputs(3, 5), torch.tensor([5, 0, 2]))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 63), (1, 4, 130), (0, 3, 5), (2, 0, 5)])
def test_odd_shapes(shape: tuple[int, int, int]) -> None:
    batch, steps, hidden = shape
    both(a_network([Threefold(hidden)]), inputs(batch, steps))
    both(a_network([PeepholeLSTM(hidden)], "lateral"), inputs(batch, steps))


def test_both_directions() -> None:
    net = a_network([SLSTM(5), Threefold(3)], bidirectional=True)
    both(net, inputs(3, 5), torch.tensor([5, 0, 2]))


def test_more_steps_than_a_block_holds() -> None:
    # three hundred steps of chaotic cells grow the last place
    both(a_network([Threefold(20), LeakyRNN(3)], "indirect"), inputs(3, 300), tolerance=1e-7)


def test_dropout_on_the_native_path() -> None:
    net = a_network([Threefold(6), MGU(5)], "full", dropout=0.4, recurrent_dropout=0.4)
    found = []
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        torch.manual_seed(3)
        found.append(net(inputs(2, 4))[0])
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "formula",
    [
        "sqrt(relu(a))",
        "sqrt(max(a, 0))",
        "-sqrt(max(0, a))",
        "sqrt(-min(a, 0))/2",
        "sqrt(where(a > 0, a, 0))",
        "tanh(log(relu(a)))",
        "tanh(1/relu(a))",
        "where(a > 0, sqrt(relu(a)), 0)*where(a > 0, h, 1)",
    ],
)
def test_what_was_not_chosen_has_no_say_in_the_gradient(formula: str) -> None:
    kind = type("Sharp", (EquationCell,), {"gates": ("a",), "equations": f"h' = h/2 + {formula}"})
    net, x = a_network([kind(8)]), inputs(3, 1)
    state, found = some_state(net, 3), {}
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        found[backend] = results(net, x, state)
    assert all(value.isfinite().all() for value in found["oracle"].values())
    assert_close(found["native"], found["oracle"], 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exponentials_overflow_and_vanish_as_the_oracles_do(dtype: torch.dtype) -> None:
    kind = type("Exp", (EquationCell,), {"gates": ("a",), "equations": "h' = exp(x_a) + 0*r_a"})
    net = Network(1, [kind(1)], output_size=None).to(dtype)
    ends = torch.tensor([-87.3, -86.9, -86.1, 87.9, 88.1, 88.7, 88.8, 90.0], dtype=dtype)
    if dtype == torch.float64:
        ends = torch.tensor([-708.3, -707.5, -706.9, 708.9, 709.1, 709.7, 709.8, 720], dtype=dtype)
    infinite = torch.tensor([-float("inf"), float("inf")], dtype=dtype)
    found = {}
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.fill_(1.0 if name.endswith("weight_ih") else 0.0)
        for backend in ("native", "oracle"):
            net.backend = backend  # type: ignore[assignment]
            found[backend] = net(torch.cat([ends, infinite])[:, None, None])[0].flatten()
    precision = torch.finfo(dtype).eps
    torch.testing.assert_close(*found.values(), rtol=8 * precision, atol=0)


@pytest.mark.parametrize("kind", [Threefold, SLSTM])
def test_gradients_by_differences(kind: type[EquationCell]) -> None:
    net = a_network([kind(3)], output_size=None, backend="native")
    x = inputs(2, 3).requires_grad_()
    state = [part.requires_grad_() for part in flat(some_state(net, 2))]
    if kind is SLSTM:  # n is a sum of exponentials
        state[2] = state[2].detach().abs().requires_grad_()
    names, weights = zip(*net.named_parameters(), strict=True)

    def run(x: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, rest[len(state) :], strict=True))
        y, end = torch.func.functional_call(net, given, (x, (tuple(rest[: len(state)]),)))
        return (y, *flat(end))

    assert torch.autograd.gradcheck(run, (x, *state, *weights))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_the_same_bits_however_it_runs(dtype: torch.dtype, feedback: str) -> None:
    cells = [Threefold(19), SLSTM(7)]
    net = a_network(cells, feedback, output_size=None, backend="native").to(dtype)
    x, state = inputs(5, 11).to(dtype), net.zero_state(5)
    threads = kernels.get_num_threads()
    y, end = net(x, state)
    with torch.no_grad():
        assert_same_bits(net(x, state)[0], y)  # saving changes nothing
        for row in range(5):
            assert_same_bits(net(x[row : row + 1])[0], y[row : row + 1])
        parts, chunked, stepped = [], state, state
        for chunk in x.split([1, 4, 0, 6], dim=1):
            part, chunked = net(chunk, chunked)
            parts.append(part)
        assert_same_bits(torch.cat(parts, dim=1), y)
        for t in range(11):
            out, stepped = net.step(x[:, t], stepped)
            assert_same_bits(out, y[:, t])
        for one, two, whole in zip(flat(chunked), flat(stepped), flat(end), strict=True):
            assert_same_bits(one, whole)
            assert_same_bits(two, whole)
        try:
            kernels.set_num_threads(3)
            assert_same_bits(net(x, state)[0], y)
        finally:
            kernels.set_num_threads(threads)


def test_training_gives_the_same_bits_on_any_number_of_threads() -> None:
    net = a_network([Threefold(70), PeepholeLSTM(40)], "full", backend="native")
    x, state = inputs(9, 40), some_state(net, 9)
    threads, found = kernels.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            kernels.set_num_threads(count)
            found.append(results(net, x, state, torch.arange(9) * 5))
    finally:
        kernels.set_num_threads(threads)
    for other in found[1:]:
        for name, value in other.items():
            assert_same_bits(value, found[0][name])


def test_nan_in_a_row_stays_in_it() -> None:
    net = a_network([Threefold(9), SLSTM(7)], "full", backend="native")
    x = inputs(5, 4)
    wanted = net(x)[0]
    x[2, 1] = float("nan")
    found = net(x)[0]
    assert found[2, 1:].isnan().all()
    others = [0, 1, 3, 4]
    assert_same_bits(found[others], wanted[others])


def test_layers_share_a_cells_parameters() -> None:
    net = a_network([PeepholeLSTM(4)] * 3, share_layers=True)
    assert net.layers[1].weight_cell is net.layers[2].weight_cell
    assert net.wiring.parameter_count() == sum(p.numel() for p in net.parameters())
    assert net.wiring.parameters()["layers.0.weight_cell"] == (3, 4)
    both(net, inputs(2, 3))


def test_two_cells_of_one_name() -> None:
    def leaky(rate: float) -> type[EquationCell]:
        text = f"h' = {1 - rate}*h + {rate}*tanh(a)"
        return type("Leaky", (EquationCell,), {"gates": ("a",), "equations": text})

    cells = [leaky(0.1)(4), leaky(0.9)(4), leaky(0.9)(4)]
    net = a_network(cells, share_layers=True)
    assert net.layers[0].weight_ih is not net.layers[1].weight_ih
    assert net.layers[1].weight_ih is net.layers[2].weight_ih
    both(net, inputs(2, 3))


def streamed(path: Path, x: np.ndarray) -> list[Any]:
    session, answers = Session.open(path), []
    state = session.start()
    for row in x:
        state, answer = session.step(state, {"x": row.tolist()})
        answers.append(answer["y"])
    return answers


def test_a_model_is_opened_and_streamed_elsewhere(tmp_path: Path) -> None:
    net = a_network([Threefold(9), SLSTM(7)], "full", backend="native").float().eval()
    path = tmp_path / "own.noria"
    net.save(path)
    x = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")
    with torch.no_grad():
        wanted = net(torch.from_numpy(x)[None])[0][0].tolist()
    assert streamed(path, x) == wanted
    again = Network.load(path)
    assert again.wiring == net.wiring
    with torch.no_grad():
        assert again(torch.from_numpy(x)[None])[0][0].tolist() == wanted
    script = (
        "import sys; sys.modules['torch'] = sys.modules['sympy'] = None\n"
        "from noria.runtime import Session\n"
        f"session = Session.open({str(path)!r})\n"
        "state = session.start()\n"
        f"for row in {x.tolist()}:\n"
        "    state, answer = session.step(state, {'x': row})\n"
        "    print(answer['y'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [str(row) for row in wanted]


def test_eight_bit_weights(tmp_path: Path) -> None:
    net = a_network([Threefold(33)], backend="native").float().eval()
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    x = inputs(2, 6).float().numpy()
    exact, rounded = (NetworkStepper(net.wiring, weights, int8=int8) for int8 in (False, True))
    wanted, found = (stepper.scan(x, stepper.zero_state(2))[0] for stepper in (exact, rounded))
    assert not np.array_equal(found, wanted)
    np.testing.assert_allclose(found, wanted, atol=0.1)
    running = rounded.running(2)
    for t in range(6):
        assert running.step(np.ascontiguousarray(x[:, t])).tobytes() == found[:, t].tobytes()


def test_a_loaded_network_can_be_pickled(tmp_path: Path) -> None:
    net = a_network([Threefold(5), SLSTM(3)]).eval()
    net.save(tmp_path / "own.noria")
    x = inputs(2, 3)
    for one in (net, Network.load(tmp_path / "own.noria")):
        again = pickle.loads(pickle.dumps(one))
        assert again.wiring == net.wiring
        assert_same_bits(again(x)[0], net(x)[0])


def test_eighty_factors_and_numbers_beyond_all_bounds() -> None:
    factors = "*".join(f"(a + {number})" for number in range(2, 82))
    kind = type(
        "Long", (EquationCell,), {"gates": ("a",), "equations": f"h' = tanh(1e-9*{factors}*1e-29)"}
    )
    both(a_network([kind(3)]), inputs(2, 3))
    huge = "*".join(["1e29"] * 11)
    kind = type("Huge", (EquationCell,), {"gates": ("a",), "equations": f"h' = tanh({huge}*a)"})
    net = a_network([kind(3)], backend="native")
    for dtype in (torch.float32, torch.float64):
        assert set(net.to(dtype)(inputs(1, 1).to(dtype))[1][0][0].flatten().tolist()) <= {-1, 1}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("equations", "h' = q"),
        ("equations", "import os"),
        ("equations", 7),
        ("parameters", ["p", "q"]),
        ("parameters", []),
        ("states", ["h", "c"]),
        ("gates", ["a"]),
        ("cell", "lstm"),
    ],
)
def test_equations_of_a_file_that_mean_nothing(key: str, value: Any, tmp_path: Path) -> None:
    net = a_network([Threefold(3)])
    document = {"task": "network", "wiring": net.wiring.to_dict()}
    document["wiring"]["layers"][0][key] = value
    with pytest.raises(WiringError):
        Wiring.from_dict(document["wiring"])
    path = tmp_path / "bad.noria"
    write_model(path, document, {name: p.detach().numpy() for name, p in net.named_parameters()})
    with pytest.raises(ModelFileError):
        Session.open(path)


def test_without_the_libraries_the_oracle_runs_and_explain_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = sys.modules["noria.kernels.scan"]
    monkeypatch.setattr(door, "missing_library", lambda *, save: "llvmlite")
    reason = kernels.explain(Threefold.meaning, hidden_size=3, dtype="float32")
    assert reason is not None
    assert reason.startswith("The native core compiles the equations of threefold with llvmlite")
    net = a_network([Threefold(3)], backend="auto")
    wanted = a_network([Threefold(3)], backend="oracle")
    x = inputs(2, 3)
    sys.modules["noria.network.scan"]._told.clear()
    with pytest.warns(RuntimeWarning, match="step by step, by torch: The native core compiles"):
        found = net(x)[0]
    assert_same_bits(found, wanted(x)[0])
    assert_same_bits(net(x)[0], found)  # once is enough
    net.backend = "native"
    with pytest.raises(KernelError, match="llvmlite, which is not installed: pip install"):
        net(x)


def test_wirings_without_own_cells_are_written_as_before() -> None:
    layers = Wiring.build(3, [LSTM(2), RNN(2)]).to_dict()["layers"]
    assert all("equations" not in layer and "parameters" not in layer for layer in layers)


FINGERPRINT = """
import hashlib, torch
from noria import kernels
from tests.network.test_own_cells import Threefold, PeepholeLSTM, SLSTM, a_network, inputs, results
digest = hashlib.sha256()
for dtype in (torch.float32, torch.float64):
    net = a_network([Threefold(19), SLSTM(7), PeepholeLSTM(5)], "full", backend="native").to(dtype)
    for value in results(net, inputs(5, 11).to(dtype), net.zero_state(5)).values():
        digest.update(value.numpy().tobytes())
print(kernels.instruction_set(), digest.hexdigest())
"""


def test_the_same_on_every_instruction_set_with_fused_multiply_add() -> None:
    if kernels.instruction_set() != "avx512":
        pytest.skip("this machine or NORIA_ISA leaves one instruction set only")
    found = fused_digests(FINGERPRINT)
    assert len(found) == 2
    assert len(set(found.values())) == 1


def test_baseline_agrees_closely() -> None:
    script = (
        "from noria import kernels\n"
        "from tests.network.test_own_cells import *\n"
        "assert kernels.instruction_set() == 'baseline'\n"
        "both(a_network([Threefold(9), SLSTM(7)], 'full'), inputs(3, 5))\n"
    )
    run_on("baseline", script)
