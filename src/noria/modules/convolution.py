"""A convolutional front end: short patterns and fewer steps for the recurrent layers above it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.modules.pooling import running_steps

__all__ = ["BatchNorm", "ConvolutionFront", "front_kernel", "front_strides"]

_FEWEST_STEPS = 32
_LAYERS, _KERNEL = 3, 7
_LAYERS_SHORT, _KERNEL_SHORT = 2, 3  # where there is nothing to halve
_MOMENTUM, _SMALLEST = 0.1, 1e-5


def front_strides(layers: int | None, length: int) -> tuple[int, ...]:
    """Strides that halve the steps while enough of them are left.

    Args:
        layers: Number of convolutions; None takes 3, or 2 where there is nothing to halve.
        length: Usual number of steps, T.

    >>> front_strides(None, 150), front_strides(None, 20), front_strides(0, 20)
    ((2, 2, 1), (1, 1), ())
    """
    if layers is None:
        layers = _LAYERS if length // 2 >= _FEWEST_STEPS else _LAYERS_SHORT
    strides = []
    for _ in range(layers):
        strides.append(2 if length // 2 >= _FEWEST_STEPS else 1)
        length //= strides[-1]
    return tuple(strides)


def front_kernel(kernel_size: int | None, length: int) -> int:
    """Steps that one convolution sees.

    Args:
        kernel_size: Odd; None takes 7, or 3 where there is nothing to halve.
        length: Usual number of steps, T.

    >>> front_kernel(None, 150), front_kernel(None, 20), front_kernel(5, 20)
    (7, 3, 5)
    """
    if kernel_size is None:
        return _KERNEL if length // 2 >= _FEWEST_STEPS else _KERNEL_SHORT
    return kernel_size


class BatchNorm(nn.Module):
    """Each channel in units of its deviation over the steps of a batch, padding left out.

    Its running mean and variance, which take the place of the batch's once it is trained, are
    parameters that no gradient moves: so best weights, checkpoints and model files hold them.

    Args:
        channels: C.

    Source: Ioffe & Szegedy 2015.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.variance = nn.Parameter(torch.ones(channels), requires_grad=False)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Normalise x, shape (B, T, C), zero past the lengths (B,)."""
        mean: Tensor = self.mean
        variance: Tensor = self.variance
        if self.training:
            steps = lengths.sum()
            mean = x.sum(dim=(0, 1)) / steps
            apart = (x - mean).masked_fill(~running_steps(lengths, x.shape[1]), 0.0)
            variance = (apart**2).sum(dim=(0, 1)) / steps
            with torch.no_grad():
                self.mean.lerp_(mean, _MOMENTUM)
                self.variance.lerp_(variance, _MOMENTUM)
        return (x - mean) * (self.weight * (variance + _SMALLEST).rsqrt()) + self.bias


class ConvolutionFront(nn.Module):
    """Convolutions over time, each with a norm and a ReLU.

    Args:
        input_size: I.
        channels: C, width of the output.
        kernel_size: Steps that one convolution sees, odd.
        strides: Of each convolution; their product divides the number of steps.
    """

    def __init__(
        self, input_size: int, channels: int, kernel_size: int, strides: Sequence[int]
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, channels, kernel_size, stride=stride, padding=kernel_size // 2)
            for width, stride in zip(
                [input_size, *[channels] * len(strides)], strides, strict=False
            )
        )
        self.norms = nn.ModuleList(BatchNorm(channels) for _ in strides)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve.

        Args:
            x: Shape (B, T, I), zero past the lengths.
            lengths: Steps of each row, shape (B,).

        Returns:
            Shape (B, T', C), zero past a row's new length, and the new lengths (B,).
        """
        for convolution, norm, stride in zip(
            self.convolutions, self.norms, self.strides, strict=True
        ):
            x = convolution(x.transpose(1, 2)).transpose(1, 2)
            lengths = (lengths + stride - 1) // stride
            padding = ~running_steps(lengths, x.shape[1])
            x = functional.relu(norm(x.masked_fill(padding, 0.0), lengths))
            x = x.masked_fill(padding, 0.0)
        return x, lengths
