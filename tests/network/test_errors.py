"""What the network refuses, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from noria.cells import LSTM
from noria.errors import ShapeError, UsageError
from noria.network import Network
from tests.network.reference import inputs, network

H, C = torch.zeros(3, 3), torch.zeros(3, 3)


def net() -> Network:
    made: Network = Network(4, network().cells[:1], output_size=2).double()
    return made


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (inputs(width=5), r"x has shape \(3, 5, 5\), expected \(B, T, I=4\)"),
        (inputs()[0], r"x has shape \(5, 4\), expected \(B, T, I=4\)"),
    ],
)
def test_x(x: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        net()(x)


@pytest.mark.parametrize("x", [inputs(), inputs(width=5)[:, 0], inputs()[0, 0]])
def test_x_of_a_step(x: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"x has shape .*, expected \(B, I=4\)"):
        net().step(x)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((), r"state has \[\] arrays a layer, expected \[2, 1\]"),
        (((H, C),), r"state has \[2\] arrays a layer, expected \[2, 1\]"),
        (((H,), (H[:, :2],)), r"state has \[1, 1\] arrays a layer, expected \[2, 1\]"),
        (((H, C[:2]), (H[:, :2],)), r"state\[0\]\[1\] has shape \(2, 3\), expected \(B=3, H=3\)"),
        (((H, C), (H,)), r"state\[1\]\[0\] has shape \(3, 3\), expected \(B=3, H=2\)"),
        (((H[0], C), (H,)), r"state\[0\]\[0\] has shape \(3,\), expected \(B=3, H=3\)"),
    ],
)
def test_state(state: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        net()(inputs(), state)
    with pytest.raises(ShapeError, match=message):
        net().step(inputs()[:, 0], state)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([1, 2]), r"lengths has shape \(2,\), expected \(B=3\)"),
        (torch.tensor(2), r"lengths has shape \(\), expected \(B=3\)"),
        (torch.tensor([1.0, 2.0, 3.0]), "lengths has dtype torch.float32, expected integers"),
        (torch.tensor([True, False, True]), "lengths has dtype torch.bool, expected integers"),
        (torch.tensor([1, 6, 2]), "lengths go from 1 to 6, expected 0 to T=5"),
        (torch.tensor([1, -1, 2]), "lengths go from -1 to 2, expected 0 to T=5"),
    ],
)
@pytest.mark.parametrize("feedback", ["direct", "full"])
def test_lengths(lengths: Tensor, message: str, feedback: str) -> None:
    with pytest.raises(ShapeError, match=message):
        network(feedback=feedback)(inputs(), None, lengths)


def test_a_bidirectional_network_cannot_step() -> None:
    both = network(bidirectional=True)
    with pytest.raises(UsageError, match="bidirectional network cannot step"):
        both.step(inputs()[:, 0])
    with pytest.raises(ShapeError, match=r"state has \[2, 2, 1\] arrays a layer, expected \[4, 4"):
        both(inputs(), network().zero_state(3))


def test_input_of_another_dtype() -> None:
    net = Network(3, [LSTM(4)])
    with pytest.raises(UsageError, match=r"x is torch.float64, the network torch.float32"):
        net(torch.zeros(2, 5, 3, dtype=torch.float64))
