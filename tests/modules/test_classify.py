from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.errors import UsageError
from noria.modules.classify import ClassifyModule, ClassifyPlan
from noria.modules.convolution import BatchNorm
from noria.modules.pooling import POOLINGS, PoolingHead


def module(pooling: str, strides: tuple[int, ...], cell: str = "gru") -> ClassifyModule:
    torch.manual_seed(0)
    plan = ClassifyPlan.build(
        2, 3, cell, 4, 2, "direct+lateral",
        bidirectional=True, strides=strides, channels=5, kernel_size=5, pooling=pooling,
    )  # fmt: skip
    assert ClassifyPlan.from_dict(plan.to_dict()) == plan
    return ClassifyModule(plan).eval()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("strides", [(), (1,), (2, 2, 1)])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_padding_never_shows(pooling: str, strides: tuple[int, ...], data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 11), min_size=1, max_size=4))
    longer = data.draw(st.integers(0, 6))
    net = module(pooling, strides)
    random = torch.Generator().manual_seed(1)
    rows = [torch.randn(length, 2, generator=random) for length in lengths]
    x = torch.full((len(rows), max(lengths) + longer, 2), torch.nan)
    for padded, row in zip(x, rows, strict=True):
        padded[: len(row)] = row
    together = net(x, torch.tensor(lengths))
    assert together.isfinite().all()
    for number, row in enumerate(rows):
        alone = net(row[None], torch.tensor([len(row)]))
        torch.testing.assert_close(together[number], alone[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strides", [(), (2, 1)])
def test_gradients_do_not_come_from_the_padding(strides: tuple[int, ...]) -> None:
    net = module("mean_max", strides)
    x = torch.randn(2, 9, 2, requires_grad=True)
    net(x, torch.tensor([9, 4])).sum().backward()
    assert x.grad is not None
    assert (x.grad[1, 4:] == 0).all()
    assert (x.grad[1, :4] != 0).any()


def test_what_each_pooling_takes() -> None:
    hidden = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    lengths = torch.tensor([2])
    last = (torch.tensor([[3.0]]), torch.tensor([[7.0]]), torch.tensor([[-4.0]]), torch.zeros(1, 1))
    pooled = PoolingHead("mean_max", 2)(hidden, (last,), lengths)
    assert pooled.tolist() == [[2.0, -3.0, 3.0, -2.0]]
    # h forwards, c forwards, h backwards, c backwards
    assert PoolingHead("last", 2)(hidden, (last,), lengths).tolist() == [[3.0, -4.0]]
    attention = PoolingHead("attention", 2)
    assert attention.score is not None
    with torch.no_grad():
        attention.score.weight.copy_(torch.tensor([[50.0, 0.0]]))
    torch.testing.assert_close(attention(hidden, (last,), lengths), torch.tensor([[3.0, -2.0]]))
    with pytest.raises(UsageError, match="pooling is 'sum', expected one of last, mean_max"):
        PoolingHead("sum", 2)


def test_the_front_end_keeps_level_and_size() -> None:
    net = module("mean_max", (1, 1))
    x, lengths = torch.randn(1, 12, 2), torch.tensor([12])
    assert not torch.allclose(net(x, lengths), net(x + 3, lengths), atol=1e-2)
    assert not torch.allclose(net(x, lengths), net(x * 3, lengths), atol=1e-2)


def test_what_the_front_end_found_passes_the_recurrent_network_by() -> None:
    net = module("mean_max", (2, 1))
    with torch.no_grad():
        for parameter in net.network.parameters():
            parameter.zero_()
    x, lengths = torch.randn(2, 12, 2), torch.tensor([12, 7])
    assert net.front is not None
    found, shorter = net.front(x.masked_fill(torch.arange(12)[:, None] > 6, 0.0)[1:], lengths[1:])
    assert shorter.tolist() == [4]
    pooled = torch.cat([torch.zeros(16), found[0, :4].mean(0), found[0, :4].amax(0)])
    torch.testing.assert_close(net(x, lengths)[1], net.output(pooled))


def test_the_norm_is_that_of_torch_where_nothing_is_padded() -> None:
    own, peer = BatchNorm(3), torch.nn.BatchNorm1d(3)
    for _ in range(3):
        x = 2 * torch.randn(4, 9, 3) + 1
        gradients = []
        for norm in (lambda x: own(x, torch.full((4,), 9)), lambda x: peer(x.mT).mT):
            leaf = x.clone().requires_grad_()
            y = norm(leaf)
            (y**3).sum().backward()
            gradients.append((y.detach(), leaf.grad))
        torch.testing.assert_close(*gradients)
    torch.testing.assert_close(own.mean.data, peer.running_mean)
    unbiased = (own.variance.data - 0.9**3) * 36 / 35 + 0.9**3
    torch.testing.assert_close(unbiased, peer.running_var)
    one, other = own.eval()(x, torch.full((4,), 9)), own(x[:1], torch.tensor([9]))
    torch.testing.assert_close(one[:1], other)
    with torch.no_grad():
        peer.running_var.copy_(own.variance)
    torch.testing.assert_close(one, peer.eval()(x.mT).mT)


def test_padding_does_not_show_in_the_norm_of_a_batch() -> None:
    x = torch.randn(2, 6, 3)
    x[1, 4:] = 0
    own, long = BatchNorm(3), BatchNorm(3)
    y = own(x, torch.tensor([6, 4]))
    rows = torch.cat([x[0], x[1, :4]])
    wanted = (rows - rows.mean(0)) / (rows.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(torch.cat([y[0], y[1, :4]]), wanted)
    long(torch.nn.functional.pad(x, (0, 0, 0, 5)), torch.tensor([6, 4]))
    torch.testing.assert_close(long.variance, own.variance)
    assert [name for name, p in own.named_parameters() if not p.requires_grad] == [
        "mean", "variance",
    ]  # fmt: skip
