"""Layer normalisation inside the recurrence: values, every gradient, bits, files, streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from noria import kernels
from noria.cells import GRU, LSTM, MGU, RNN, SLSTM, Cell, EquationCell, Linear, make_cell
from noria.errors import ModelFileError, UsageError, WiringError
from noria.kernels.scan import SLOTS
from noria.network import Network, to_torch
from noria.runtime import Session, write_model
from noria.runtime.stepper import NetworkStepper
from noria.wiring import Wiring
from tests.commands import result
from tests.instruction_sets import fused_digests, run_on
from tests.network.reference import (
    FEEDBACKS,
    assert_close,
    assert_same_bits,
    flat,
    inputs,
    results,
    scatter,
    some_state,
)


class Threefold(EquationCell):
    """Three states, a gate in parts and one whole, a parameter."""

    gates = ("a", "b")
    states = ("h", "c", "d")
    parameters = ("p",)
    equations = """
        c' = c*sigmoid(a) + p*tanh(x_b)
        d' = max(d, c') - d*c/4
        h' = tanh(d' + r_b*sigmoid(a))
    """


CELLS: dict[str, Cell] = {
    "lstm": LSTM(5, layer_norm=True),
    "gru": GRU(5, layer_norm=True),
    "rnn_tanh": RNN(5, layer_norm=True),
    "rnn_relu": RNN(5, "relu", layer_norm=True),
    "threefold": Threefold(5, layer_norm=True),
}

WIRINGS: dict[str, Any] = {
    name: value for name, value in FEEDBACKS.items() if isinstance(value, str)
}
# over the neurons of layers of 5 and 2 and an output layer of 2, some without any connection
WIRINGS["sparse"] = np.random.default_rng(3).random((9, 9)) < 0.3
WIRINGS["sparse"][2] = WIRINGS["sparse"][:, 4] = False


def a_network(cells: Any, feedback: Any = "direct+lateral", **options: Any) -> Network:
    torch.manual_seed(1)
    net = Network(4, cells, feedback, **{"output_size": 2} | options).double()
    scatter(net)
    return net


def both(net: Network, x: Tensor, lengths: Tensor | None = None) -> None:
    """Native and oracle agree in outputs, states and every gradient."""
    state, found = some_state(net, len(x)), {}
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        found[backend] = results(net, x, state, lengths)
    assert any(name.endswith("weight_norm") for name in found["native"])
    assert_close(found["native"], found["oracle"], 1e-10)


def test_the_equation() -> None:
    """An LSTM and a GRU by hand, neuron by neuron, from the weights' names."""
    h, c, x = (np.random.default_rng(0).standard_normal(size) for size in (5, 5, 4))
    for cell in (LSTM(5, layer_norm=True), GRU(5, layer_norm=True)):
        net = a_network([cell], output_size=None, backend="oracle")
        w = {name: p.detach().numpy() for name, p in net.named_parameters()}
        gain = w["layers.0.weight_norm"]
        below = np.split(w["layers.0.weight_ih"] @ x, len(cell.gates))
        back = np.split(w["layers.0.weight_hh.0"] @ h, len(cell.gates))
        b_ih = np.split(w["layers.0.bias_ih"], len(cell.gates))
        b_hh = np.split(w["layers.0.bias_hh"], len(cell.gates))

        def normal(a: np.ndarray, slot: int, gain: np.ndarray = gain) -> np.ndarray:
            mean = sum(a) / len(a)
            variance = sum((value - mean) ** 2 for value in a) / len(a)
            return np.array([g * (v - mean) for g, v in zip(gain[slot], a, strict=True)]) / (
                (variance + 1e-5) ** 0.5
            )

        def sigmoid(a: np.ndarray) -> np.ndarray:
            return 1 / (1 + np.exp(-a))

        if isinstance(cell, LSTM):
            i, f, g, o = (normal(below[k] + back[k], k) + b_ih[k] + b_hh[k] for k in range(4))
            new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            wanted = sigmoid(o) * np.tanh(new_c)
        else:
            r, z = (normal(below[k] + back[k], k + 1) + b_ih[k] + b_hh[k] for k in range(2))
            x_n, r_n = normal(below[2], 0) + b_ih[2], normal(back[2], 3) + b_hh[2]
            n = np.tanh(x_n + sigmoid(r) * r_n)
            wanted = (1 - sigmoid(z)) * n + sigmoid(z) * h
        state = (tuple(torch.from_numpy(part)[None] for part in (h, c)[: len(cell.states)]),)
        for backend in ("oracle", "native"):
            net.backend = backend  # type: ignore[assignment]
            y, _ = net.step(torch.from_numpy(x)[None], state)
            np.testing.assert_allclose(y[0].detach().numpy(), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", WIRINGS)
@pytest.mark.parametrize("ragged", [False, True])
def test_native_is_the_oracle(cell: str, feedback: str, ragged: bool) -> None:
    lengths = torch.tensor([5, 0, 2]) if ragged else None
    both(a_network([CELLS[cell], GRU(2)], WIRINGS[feedback]), inputs(), lengths)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", ["direct+lateral", "direct", "none"])
def test_both_directions(cell: str, feedback: str) -> None:
    net = a_network([CELLS[cell]] * 2, feedback, bidirectional=True)
    both(net, inputs(), torch.tensor([5, 0, 2]))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 63), (1, 4, 130), (17, 1, 8), (0, 3, 5)])
@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_odd_shapes(shape: tuple[int, int, int], feedback: str) -> None:
    batch, steps, hidden = shape
    cells = [LSTM(hidden, layer_norm=True), GRU(hidden, layer_norm=True)]
    both(a_network(cells, feedback), inputs(batch, steps))


def test_a_linear_layer() -> None:
    both(a_network([Linear(5, layer_norm=True), LSTM(3)]), inputs())
    both(a_network([LSTM(3), Linear(5, layer_norm=True)], "full"), inputs())


@pytest.mark.parametrize("cell", ["lstm", "gru", "threefold"])
@pytest.mark.parametrize("feedback", ["direct+lateral", "direct", "full"])
def test_with_every_dropout(cell: str, feedback: str) -> None:
    net = a_network(
        [CELLS[cell]] * 2, feedback, dropout=0.3, recurrent_dropout=0.3, weight_dropout=0.3
    )
    found = []
    for backend in ("native", "oracle"):
        net.backend = backend  # type: ignore[assignment]
        torch.manual_seed(3)
        found.append(results(net, inputs(), None, torch.tensor([5, 0, 2])))
    assert_close(*found, 1e-10)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_gradients_by_differences(cell: str, feedback: str) -> None:
    net = a_network([CELLS[cell], RNN(3, layer_norm=True)], feedback, backend="native")
    x, lengths = inputs(3, 3).requires_grad_(), torch.tensor([3, 1, 0])
    start, weights = some_state(net), dict(net.named_parameters())

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        own = dict(zip(weights, rest, strict=False))
        parts = list(rest[len(weights) :])
        given = tuple(tuple(parts.pop(0) for _ in layer) for layer in start)
        y, end = functional_call(net, own, (x, given, lengths))
        return (y, *flat(end))

    arguments = (x, *weights.values(), *(part.requires_grad_() for part in flat(start)))
    assert torch.autograd.gradcheck(run, arguments, fast_mode=True)


def test_cells_and_kernels_name_the_same_slots() -> None:
    for name, slots in SLOTS.items():
        assert make_cell(name, 3).slots == slots
        assert make_cell(name, 3, layer_norm=True).normalised == slots
        assert make_cell(name, 3).normalised == ()
    assert Threefold(3, layer_norm=True).normalised == ("x_b", "a", "r_b")


def test_info_tells_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Network(3, [LSTM(4, layer_norm=True), LSTM(4)]).save(tmp_path / "net.noria")
    _, out, _ = result(capsys, ["info", str(tmp_path / "net.noria")])
    assert "lstm, normalised, 3 → 4; dense" in out
    assert "lstm 4 → 4; dense" in out


def test_scale_and_shift_of_all_weights_do_not_matter() -> None:
    net = a_network([LSTM(9, layer_norm=True)], output_size=None, backend="native")
    x, state = inputs(3, 6), some_state(net)
    y, _ = net(x, state)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh.0"):
            weight = net.get_parameter(f"layers.0.{name}")
            shift = torch.randn(4, 1, weight.shape[1], dtype=weight.dtype)
            weight.copy_((1e3 * (weight.view(4, 9, -1) + shift)).view_as(weight))
    torch.testing.assert_close(net(x, state)[0], y, rtol=1e-4, atol=1e-4)  # ε counts for less


def test_starts_as_without_and_with_gains_of_one() -> None:
    made = []
    for layer_norm in (False, True):
        torch.manual_seed(0)
        made.append(Network(3, [GRU(4, layer_norm=layer_norm)]))
    plain, net = (dict(net.named_parameters()) for net in made)
    gain = net.pop("layers.0.weight_norm")
    assert gain.shape == (4, 4)  # x_n, r, z, r_n
    assert (gain == 1).all()
    assert plain.keys() == net.keys()
    assert all(torch.equal(net[name], plain[name]) for name in net)
    assert made[1].parameter_count == made[0].parameter_count + 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_the_same_bits_however_it_runs(dtype: torch.dtype, feedback: str) -> None:
    cells = [LSTM(21, layer_norm=True), Threefold(19, layer_norm=True), GRU(7, layer_norm=True)]
    net = a_network(cells, feedback, output_size=None, backend="native").to(dtype)
    x, state = inputs(5, 11).to(dtype), net.zero_state(5)
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


@pytest.mark.parametrize("batch", [1, 2, 9])  # of one and two, threads share neurons
@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_training_gives_the_same_bits_on_any_number_of_threads(batch: int, feedback: str) -> None:
    cells = [LSTM(330, layer_norm=True), Threefold(310, layer_norm=True)]
    net = a_network(cells, feedback, backend="native").float()
    x, state = inputs(batch, 7).float(), some_state(net, batch)
    lengths = torch.arange(batch) % 5 + 3
    threads, found = kernels.get_num_threads(), []
    try:
        for count in (1, 2, 3, 1):
            kernels.set_num_threads(count)
            found.append(results(net, x, state, lengths))
    finally:
        kernels.set_num_threads(threads)
    for other in found[1:]:
        for name, value in other.items():
            assert_same_bits(value, found[0][name])


def test_nan_in_a_row_stays_in_it() -> None:
    cells = [Threefold(9, layer_norm=True), LSTM(17, layer_norm=True)]
    net = a_network(cells, "full", backend="native")
    x, others = inputs(5, 4), [0, 1, 3, 4]
    wanted = results(net, x, None)
    for bad in (float("nan"), float("inf")):
        x[2, 1] = bad
        found = results(net, x, None)
        assert found["y"][2, 1:].isnan().all()
        for name in ("y", "grad x"):
            assert_same_bits(found[name][others], wanted[name][others])


def test_auto_takes_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = kernels.scan_stack

    def counted(layers: Any, *a: Any, **k: Any) -> Any:
        calls.append([layer.weight_norm is not None for layer in layers])
        return run(layers, *a, **k)

    monkeypatch.setattr(kernels, "scan_stack", counted)
    a_network([LSTM(3, layer_norm=True), GRU(2, layer_norm=True)])(inputs())
    assert calls == [[True], [True]]
    assert kernels.explain("lstm", hidden_size=3, dtype="float64") is None


@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_under_torch_compile_without_a_break(feedback: str) -> None:
    torch.compiler.reset()
    net = a_network([LSTM(3, layer_norm=True), MGU(4, layer_norm=True)], feedback, backend="native")
    x, state, lengths = inputs(), some_state(net), torch.tensor([5, 0, 2])
    wanted = results(net, x, state, lengths)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for name, value in results(compiled, x, state, lengths).items():
        assert_same_bits(value, wanted[name.replace("_orig_mod.", "")])


def test_second_derivatives() -> None:
    net = a_network([LSTM(3, layer_norm=True)], backend="native")
    x = inputs().requires_grad_()
    (first,) = torch.autograd.grad(net(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(UsageError, match=r"no second derivatives: use backend='oracle'"):
        first.sum().backward()
    net.backend = "oracle"
    (first,) = torch.autograd.grad(net(x)[0].square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert second.any()


def test_layers_share_gains_with_their_like() -> None:
    cells = [LSTM(4, layer_norm=True), LSTM(4, layer_norm=True), LSTM(4)]
    net = a_network(cells, share_layers=True)
    assert net.layers[0].weight_norm is net.layers[1].weight_norm
    assert net.layers[1].weight_ih is not net.layers[2].weight_ih
    both(net, inputs(2, 3))


@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
def test_a_model_is_saved_opened_and_streamed(feedback: str, tmp_path: Path) -> None:
    cells = [LSTM(9, layer_norm=True), Threefold(7, layer_norm=True), GRU(5)]
    net = a_network(cells, feedback, backend="native").float().eval()
    path = tmp_path / "normalised.noria"
    net.save(path)
    x = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")
    with torch.no_grad():
        wanted = net(torch.from_numpy(x)[None])[0][0].tolist()
    again = Network.load(path)
    assert again.wiring == net.wiring
    assert again.cells == net.cells
    with torch.no_grad():
        assert again(torch.from_numpy(x)[None])[0][0].tolist() == wanted
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from noria.runtime import Session\n"
        f"session = Session.open({str(path)!r})\n"
        "state = session.start()\n"
        f"for row in {x.tolist()}:\n"
        "    state = session.state_from_bytes(session.state_to_bytes(state))\n"
        "    state, answer = session.step(state, {'x': row})\n"
        "    print(answer['y'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(row) for row in wanted]


def test_eight_bit_weights() -> None:
    net = a_network([LSTM(65, layer_norm=True), SLSTM(33, layer_norm=True)], backend="native")
    weights = {name: p.detach().float().numpy() for name, p in net.named_parameters()}
    x = inputs(2, 6).float().numpy()
    exact, rounded = (NetworkStepper(net.wiring, weights, int8=int8) for int8 in (False, True))
    wanted, found = (stepper.scan(x, stepper.zero_state(2))[0] for stepper in (exact, rounded))
    assert not np.array_equal(found, wanted)
    np.testing.assert_allclose(found, wanted, atol=0.1)
    for stepper, whole in ((exact, wanted), (rounded, found)):
        running = stepper.running(2)
        for t in range(6):
            y = running.step(np.ascontiguousarray(x[:, t]))
            assert y.tobytes() == whole[:, t].tobytes()


@pytest.mark.parametrize(
    "value", [["i", "f"], ["i", "f", "g", "o", "i"], [1, 2, 3, 4], "ifgo", [], ["x_n", "r", "z"]]
)
def test_a_file_that_normalises_what_is_not_there(value: Any, tmp_path: Path) -> None:
    net = a_network([LSTM(3, layer_norm=True)])
    document = {"task": "network", "wiring": net.wiring.to_dict()}
    document["wiring"]["layers"][0]["normalised"] = value
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    weights["layers.0.weight_norm"] = np.ones((len(value), 3))
    path = tmp_path / "bad.noria"
    write_model(path, document, weights)
    with pytest.raises(ModelFileError):
        Session.open(path)
    with pytest.raises((ModelFileError, WiringError)):
        Network.load(path)


def test_wirings_without_it_are_written_as_before() -> None:
    layers = Wiring.build(3, [LSTM(2), RNN(2, layer_norm=True)], output_size=1).to_dict()["layers"]
    assert [layer.get("normalised") for layer in layers] == [None, ("a",), None]


def test_torch_has_no_counterpart() -> None:
    with pytest.raises(WiringError, match="no layer normalisation inside the recurrence"):
        to_torch(Network(3, [LSTM(4, layer_norm=True)]))


FINGERPRINT = """
import hashlib, torch
from noria import kernels
from tests.network.test_layer_norm import *
digest = hashlib.sha256()
for dtype in (torch.float32, torch.float64):
    cells = [LSTM(37, layer_norm=True), Threefold(19, layer_norm=True), GRU(5, layer_norm=True)]
    net = a_network(cells, "full", backend="native").to(dtype)
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
        "from tests.network.test_layer_norm import *\n"
        "assert kernels.instruction_set() == 'baseline'\n"
        "both(a_network([CELLS['threefold'], LSTM(17, layer_norm=True)], 'full'), inputs())\n"
    )
    run_on("baseline", script)
