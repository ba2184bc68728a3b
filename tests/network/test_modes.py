"""The native kernel inside torch's modes and wrappers, for layers alone and for stacks."""

from __future__ import annotations

import pytest
import torch

from noria.errors import ShapeError, UsageError
from noria.network.compiled import write_plan
from noria.network.plan import StackLayer, flatten
from tests.network.reference import (
    assert_same_bits,
    flat,
    inputs,
    network,
    results,
    some_state,
)

WIRINGS = ["direct+lateral", "direct", "none", "full"]


@pytest.mark.parametrize("feedback", WIRINGS)
def test_second_derivatives_are_refused_with_a_reason(feedback: str) -> None:
    net = network("lstm", feedback, backend="native")
    x = inputs().requires_grad_()
    y, _ = net(x)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(UsageError, match=r"no second derivatives: use backend='oracle'"):
        first.sum().backward()


@pytest.mark.parametrize("feedback", WIRINGS)
def test_create_graph_leaves_first_derivatives_as_they_are(feedback: str) -> None:
    net = network("gru", feedback, backend="native")
    x = inputs().requires_grad_()
    (first,) = torch.autograd.grad(net(x)[0].sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(net(x)[0].sum(), x)
    assert_same_bits(first, again)


def test_the_oracle_has_second_derivatives() -> None:
    net = network("lstm", "full", backend="oracle")
    x = inputs().requires_grad_()
    (first,) = torch.autograd.grad(net(x)[0].square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert second.any()


@pytest.mark.parametrize("feedback", WIRINGS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(feedback: str, mode: type) -> None:
    net = network("lstm", feedback, backend="native", output_size=None)
    x, state = inputs(), some_state(net)
    wanted, wanted_end = net(x, state)
    with mode():
        y, end = net(x, state)
        stepped, _ = net.step(x[:, 0], state)
    assert not y.requires_grad
    assert_same_bits(y, wanted)
    assert_same_bits(stepped, wanted[:, 0])
    for part, other in zip(flat(end), flat(wanted_end), strict=True):
        assert_same_bits(part, other)


@pytest.mark.parametrize("feedback", WIRINGS)
@pytest.mark.parametrize(("batch", "steps"), [(0, 5), (1, 5), (3, 0), (0, 0)])
def test_hardly_anything_to_do(feedback: str, batch: int, steps: int) -> None:
    found = {}
    for backend in ("native", "oracle"):
        net = network("lstm", feedback, backend=backend)
        torch.manual_seed(0)
        found[backend] = results(net, inputs(batch, steps), some_state(net, batch))
    for name, value in found["oracle"].items():
        torch.testing.assert_close(found["native"][name], value, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("feedback", WIRINGS)
def test_inputs_and_states_that_are_views(feedback: str) -> None:
    net = network("lstm", feedback, backend="native")
    x = inputs(5, 3).transpose(0, 1)[:, ::2]
    state = tuple(
        tuple(part.repeat(1, 2)[:, ::2] for part in layer) for layer in some_state(net, 3)
    )
    assert not x.is_contiguous()
    found = results(net, x, state)
    dense = tuple(tuple(part.contiguous() for part in layer) for layer in state)
    for name, value in results(net, x.contiguous(), dense).items():
        assert_same_bits(found[name], value)


@pytest.mark.parametrize("feedback", ["direct+lateral", "full"])
@pytest.mark.parametrize("ragged", [False, True])
def test_under_torch_compile_without_a_break(feedback: str, ragged: bool) -> None:
    torch.compiler.reset()
    net = network("lstm", feedback, backend="native")
    x, state = inputs(), some_state(net)
    lengths = torch.tensor([5, 0, 2]) if ragged else None
    wanted = results(net, x, state, lengths)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for name, value in results(compiled, x, state, lengths).items():
        assert_same_bits(value, wanted[name.replace("_orig_mod.", "")])
    with torch.no_grad():
        assert_same_bits(compiled(x)[0], net(x)[0])


def test_under_torch_compile_in_both_directions() -> None:
    torch.compiler.reset()
    net = network("gru", "direct+lateral", backend="native", bidirectional=True, output_size=None)
    x = inputs()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for name, value in results(compiled, x, None).items():
        assert_same_bits(value, results(net, x, None)[name.replace("_orig_mod.", "")])


def test_under_torch_compile_lengths_are_checked() -> None:
    torch.compiler.reset()
    net = network("lstm", backend="native")
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with pytest.raises(ShapeError, match=r"lengths holds 1\.\.6, expected 0\.\.T=5"):
        compiled(inputs(), lengths=torch.tensor([1, 6, 2]))


def test_the_ops_hold_to_torchs_rules() -> None:
    net = network("lstm")
    weights = net.layers[0]
    layer = StackLayer(
        net.cells[0], weights.weight_ih, weights.bias_ih, weights.bias_hh, weights.recurrences()
    )
    plan, tensors = flatten([layer], inputs(), some_state(net)[:1])
    for reverse, save in ((False, False), (True, True)):
        torch.library.opcheck(
            torch.ops.noria.scan.default,
            (write_plan(plan), reverse, save, torch.tensor([5, 0, 2]), tensors),
            test_utils=("test_schema", "test_faketensor"),
        )
