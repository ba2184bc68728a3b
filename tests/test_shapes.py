from __future__ import annotations

import numpy as np
import pytest
import torch

from noria.errors import ShapeError
from noria.shapes import expect_shape


@pytest.mark.parametrize("sizes", [{}, {"I": 3}, {"B": 2, "T": 5, "I": 3}])
def test_a_fitting_shape_passes(sizes: dict[str, int]) -> None:
    expect_shape("x", np.zeros((2, 5, 3)), "BTI", **sizes)
    expect_shape("x", torch.zeros(2, 5, 3), "BTI", **sizes)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((), r"x has shape \(\), expected \(B, T, I=3\)"),
        ((2, 5), r"x has shape \(2, 5\), expected \(B, T, I=3\)"),
        ((2, 5, 4), r"x has shape \(2, 5, 4\), expected \(B, T, I=3\)"),
        ((2, 5, 3, 1), r"x has shape \(2, 5, 3, 1\), expected \(B, T, I=3\)"),
    ],
)
def test_another_shape_is_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        expect_shape("x", np.zeros(shape), "BTI", I=3)
