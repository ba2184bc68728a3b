"""A network without torch: weights packed once, then one native call a step or a chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria import kernels
from noria.errors import ModelFileError, UsageError
from noria.kernels.scan import STATES, slots_of
from noria.shapes import expect_shape
from noria.wiring import Edge, Layer, Wiring

__all__ = ["EnsembleStepper", "NetworkState", "NetworkStepper", "check_weights"]

Array = NDArray[Any]

NetworkState = tuple[tuple[Array, ...], ...]
"""States of all layers from below, the output layer's last: one tuple a layer, each (B, H)."""


class NetworkStepper:
    """Steps and scans a network on numpy arrays, to the bits of `noria.Network`.

    Args:
        wiring: Of the network; in one direction of time.
        weights: Arrays under the names of `Wiring.parameters`, all float32 or all float64.
        int8: Round the weights to eight bits; see `noria.kernels.pack_stack`.

    Attributes:
        wiring: The wiring.
        dtype: Of weights, inputs, states and outputs.

    Raises:
        UsageError: if the wiring is bidirectional.
        ModelFileError: if the weights are not those of the wiring.
        KernelError: if the native core does not run a cell or dtype.
    """

    def __init__(self, wiring: Wiring, weights: Mapping[str, Array], *, int8: bool = False) -> None:
        if wiring.bidirectional:
            raise UsageError(
                "a bidirectional network cannot step: it needs the whole sequence; train one with"
                " bidirectional=False to stream it"
            )
        check_weights(wiring, weights)
        self.wiring = wiring
        self.dtype: np.dtype[Any] = weights["layers.0.weight_ih"].dtype
        self._packed = kernels.pack_stack(_stack_layers(wiring, weights), int8=int8)

    @property
    def layers(self) -> Sequence[Layer]:
        """All layers, in the order of their states."""
        return self.wiring.layers

    def zero_state(self, batch_size: int) -> NetworkState:
        """The state before the first step, all zeros.

        Args:
            batch_size: B.
        """
        return tuple(
            tuple(np.zeros((batch_size, layer.hidden_size), self.dtype) for _ in layer.states)
            for layer in self.wiring.layers
        )

    def step(self, x: Array, state: NetworkState) -> tuple[Array, NetworkState]:
        """Advance by one time step.

        Args:
            x: Input, shape (B, I).
            state: State before it; it is not changed.

        Returns:
            y, shape (B, O), and the new state.

        Raises:
            ShapeError: if an array disagrees with the network's sizes.
            KernelError: if an array's dtype is not the weights'.
        """
        expect_shape("x", x, "BI", I=self.wiring.input_size)
        y, state = self.scan(x[:, None], state)
        return y[:, 0], state

    def running(self, batch_size: int) -> kernels.Stepper:
        """B streams whose state stands inside: a step that costs least, to the same bits.

        Args:
            batch_size: B.
        """
        return kernels.Stepper(self._packed, batch_size)

    def scan(
        self, x: Array, state: NetworkState, lengths: ArrayLike | None = None
    ) -> tuple[Array, NetworkState]:
        """Scan a chunk; the bits are those of stepping through it.

        Args:
            x: Input, shape (B, T, I).
            state: State before the first step; it is not changed.
            lengths: Steps of each row, shape (B,), each 0..T; None: T.

        Returns:
            y, shape (B, T, O), zero past a row's length; and the state after each row's last step.

        Raises:
            ShapeError: if an array disagrees with the network's sizes.
            KernelError: if an array's dtype is not the weights'.
        """
        result = kernels.scan_stack_packed(self._packed, x, state, lengths)
        return result.y, result.state


class EnsembleStepper:
    """Networks of one wiring side by side on the same input.

    Their states stand one after the other, their outputs too.

    Args:
        members: M of them.
    """

    def __init__(self, members: Sequence[NetworkStepper]) -> None:
        self.members = tuple(members)
        self.wiring = self.members[0].wiring
        self.dtype = self.members[0].dtype

    @property
    def layers(self) -> Sequence[Layer]:
        """Those of all members, in the order of their states."""
        return self.wiring.layers * len(self.members)

    def zero_state(self, batch_size: int) -> NetworkState:
        """The state before the first step, all zeros.

        Args:
            batch_size: B.
        """
        return sum((member.zero_state(batch_size) for member in self.members), ())

    def scan(
        self, x: Array, state: NetworkState, lengths: ArrayLike | None = None
    ) -> tuple[Array, NetworkState]:
        """Scan a chunk; see `NetworkStepper.scan`. The output is (B, T, M · O)."""
        depth = len(self.wiring.layers)
        found = [
            member.scan(x, state[depth * number : depth * (number + 1)], lengths)
            for number, member in enumerate(self.members)
        ]
        outputs, states = zip(*found, strict=True)
        return np.concatenate(outputs, axis=2), sum(states, ())


def check_weights(wiring: Wiring, weights: Mapping[str, Array]) -> None:
    """Check that weights are those of a wiring.

    Raises:
        ModelFileError: naming the first that is not.
    """
    expected = wiring.parameters()
    if weights.keys() != expected.keys():
        name = sorted(weights.keys() ^ expected.keys())[0]
        says = "lacks the weight" if name in expected else "has a weight of no layer,"
        raise ModelFileError(f"the network {says} {name!r}")
    dtypes = {str(array.dtype) for array in weights.values()}
    if len(dtypes) > 1:
        raise ModelFileError(f"the network's weights are of several types: {sorted(dtypes)}")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise ModelFileError(
                f"the weight {name!r} has shape {weights[name].shape}, expected {shape}"
            )


def _stack_layers(wiring: Wiring, weights: Mapping[str, Array]) -> Sequence[kernels.StackLayer]:
    def weight(name: str) -> Array:
        return weights[wiring.owner(name)]

    layers = []
    for index, layer in enumerate(wiring.layers):
        (prefix,) = wiring.directions(index)
        if layer.states != STATES.get(layer.cell, layer.states):
            raise ModelFileError(
                f"layer {index}, {layer.cell}, cannot have the states {layer.states}"
            )
        if layer.normalised and layer.normalised != slots_of(layer.meaning or layer.cell):
            raise ModelFileError(
                f"layer {index}, {layer.cell}, cannot normalise {layer.normalised}"
            )
        layers.append(
            kernels.StackLayer(
                cell=layer.meaning or layer.cell,
                weight_ih=weight(f"{prefix}weight_ih"),
                bias_ih=weight(f"{prefix}bias_ih"),
                bias_hh=None if layer.cell == "linear" else weight(f"{prefix}bias_hh"),
                weight_hh={
                    edge.source: _recurrence(
                        edge, weight(f"{prefix}weight_hh.{edge.source}"), len(layer.gates)
                    )
                    for edge in wiring.edges_into(index)
                },
                carries_state=layer.carries_state,
                weight_cell=weight(f"{prefix}weight_cell") if layer.parameters else None,
                weight_norm=weight(f"{prefix}weight_norm") if layer.normalised else None,
            )
        )
    return layers


def _recurrence(edge: Edge, weight: Array, gates: int) -> Array:
    """The block R as a kernel takes it: (G·H,) for a diagonal, else (G·H, K)."""
    if edge.kind == "dense":
        return weight
    if edge.kind == "diagonal":
        return weight.reshape(-1)
    rows, columns = edge.shape
    matrix = np.zeros((gates, rows, columns), weight.dtype)
    matrix[:, edge.mask] = weight
    return matrix.reshape(gates * rows, columns)
