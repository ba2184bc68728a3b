"""The network: a wiring as a torch module."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria.cells import Cell, State, make_cell
from noria.errors import ModelFileError, ShapeError, UsageError, WiringError
from noria.feedback import Feedback
from noria.network.scan import Backend, StackLayer, linear, scan, scan_stack
from noria.network.weights import LayerWeights
from noria.runtime import read_model, write_model
from noria.runtime.stepper import check_weights
from noria.shapes import expect_shape
from noria.wiring import CellShape, Wiring

__all__ = ["Network", "NetworkState"]

NetworkState = tuple[State, ...]
"""States of all layers from below, the output layer's last: one tuple a layer, each (B, H). A
bidirectional layer has its forward states first, then its backward ones."""


class Network(nn.Module):
    """A stack of recurrent layers with any feedback between them.

    Args:
        input_size: I, width of the input.
        layers: The cells from below, such as `[noria.LSTM(64), noria.GRU(32)]`.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        output_size: Width of a linear output layer; None for none.
        share_layers: Share weights between layers where their sizes allow it.
        bidirectional: Run every hidden layer in both directions of time.
        dropout: Probability of dropping a neuron's output on its way to the layer above; one mask
            per sequence.
        recurrent_dropout: Probability of dropping it on its way back; one mask per sequence.
        weight_dropout: Probability of dropping a recurrent weight itself; one mask per call, for
            all rows and steps of it (DropConnect, as in AWD-LSTM).
        backend: "auto" runs the native kernel where it can, and the oracle, with a warning, where
            it cannot; "native" raises there; "oracle" is plain torch operations.

    Attributes:
        wiring: The description that all readers share.

    Raises:
        WiringError: if the parts contradict each other.
        UsageError: if a probability is outside [0, 1).

    >>> import noria, torch
    >>> net = noria.Network(
    ...     input_size=8,
    ...     layers=[noria.LSTM(64), noria.GRU(32)],
    ...     feedback="direct+lateral+indirect",
    ...     output_size=1,
    ... )
    >>> y, state = net(torch.zeros(2, 5, 8))
    >>> y.shape
    torch.Size([2, 5, 1])
    """

    def __init__(
        self,
        input_size: int,
        layers: Sequence[CellShape],
        feedback: Feedback = "direct+lateral",
        output_size: int | None = None,
        *,
        share_layers: bool = False,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        backend: Backend = "auto",
    ) -> None:
        wiring = Wiring.build(
            input_size,
            layers,
            feedback,
            output_size,
            share_layers=share_layers,
            bidirectional=bidirectional,
        )
        self._build(wiring, (dropout, recurrent_dropout, weight_dropout), backend)

    @classmethod
    def from_wiring(
        cls,
        wiring: Wiring,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        backend: Backend = "auto",
    ) -> Self:
        """A network with fresh weights for a wiring, such as one read from a model file."""
        network = cls.__new__(cls)
        network._build(wiring, (dropout, recurrent_dropout, weight_dropout), backend)
        return network

    def save(self, path: Path | str) -> None:
        """Write a model file of the task "network", which `noria stream` and a session open.

        Wiring and weights are kept; dropout and backend, which only training minds, are not.

        Raises:
            ResourceError: if the disk does not take it.
        """
        weights = {name: p.detach().cpu().numpy() for name, p in self.named_parameters()}
        write_model(Path(path), {"task": "network", "wiring": self.wiring.to_dict()}, weights)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file that `save` wrote; the network is in evaluation mode.

        Raises:
            ModelFileError: if it is missing, damaged, or of another task.
        """
        file = read_model(path)
        if file.task != "network":
            raise ModelFileError(f"{path} is a model for {file.task}, not a plain network")
        check_weights(file.wiring, file.weights)
        network = cls.from_wiring(file.wiring)
        network.to(torch.from_numpy(file.weights["layers.0.weight_ih"]).dtype)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(torch.from_numpy(file.weights[name]))
        return network.eval()

    def _build(
        self, wiring: Wiring, dropouts: tuple[float, float, float], backend: Backend
    ) -> None:
        super().__init__()
        names = ("dropout", "recurrent_dropout", "weight_dropout")
        for name, p in zip(names, dropouts, strict=True):
            if not 0 <= p < 1:
                raise UsageError(f"{name} is {p}: a probability from 0 up to, not including, 1")
        if backend not in ("auto", "native", "oracle"):
            raise UsageError(f"backend is {backend!r}, expected 'auto', 'native' or 'oracle'")
        self.wiring = wiring
        self.dropout, self.recurrent_dropout, self.weight_dropout = dropouts
        self.backend: Backend = backend
        self.cells: list[Cell] = [
            make_cell(l.cell, l.hidden_size, l.meaning, layer_norm=bool(l.normalised))
            for l in wiring.layers
        ]
        for cell, layer in zip(self.cells, wiring.layers, strict=True):
            if (cell.gates, cell.states) != (layer.gates, layer.states):
                raise WiringError(f"{layer} has other gates or states than {cell}")
            if cell.normalised != layer.normalised:
                raise WiringError(f"{layer} has other slots to normalise than {cell}")
        self.layers = nn.ModuleList(
            LayerWeights(
                layer, wiring.edges_into(index), bidirectional=len(wiring.directions(index)) == 2
            )
            for index, layer in enumerate(wiring.layers)
        )
        self._share()

    def _share(self) -> None:
        """Let every shared name stand for its owner's parameter."""
        for name in dict(self.named_parameters(remove_duplicate=False)):
            owner = self.wiring.owner(name)
            if owner != name:
                module, _, leaf = name.rpartition(".")
                setattr(self.get_submodule(module), leaf, self.get_parameter(owner))

    @property
    def parameter_count(self) -> int:
        """Number of weights, a shared one counted once."""
        return self.wiring.parameter_count()

    def zero_state(self, batch_size: int) -> NetworkState:
        """The state before the first step, all zeros.

        Args:
            batch_size: B.
        """
        # an iterator over the parameters costs more than a small step
        first: Any = self.layers[0]
        like: Tensor = first.weight_ih
        return tuple(
            tuple(
                like.new_zeros(batch_size, layer.hidden_size)
                for _ in self.wiring.directions(index)
                for _ in layer.states
            )
            for index, layer in enumerate(self.wiring.layers)
        )

    def forward(
        self, x: Tensor, state: NetworkState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Scan a whole sequence.

        Args:
            x: Input, shape (B, T, I).
            state: State before the first step; None for zeros.
            lengths: Steps of each row, integers of shape (B,), from 0 to T; None for T everywhere.

        Returns:
            y, shape (B, T, O): the output layer's values, or the last layer's h without one; zero
            past a row's length. And the state after each row's last step.

        Raises:
            ShapeError: if an array disagrees with the network's sizes.
            UsageError: if x has another dtype than the weights.
        """
        expect_shape("x", x, "BTI", I=self.wiring.input_size)
        wanted = self.layers[0].weight_ih.dtype
        if x.dtype != wanted:
            raise UsageError(f"x is {x.dtype}, the network {wanted}: convert one of them")
        state = self._checked_state(state, x)
        lengths = self._checked_lengths(lengths, x)
        recurrent_masks = [
            self._mask(x, layer.hidden_size * len(self.wiring.directions(index)), "recurrent")
            for index, layer in enumerate(self.wiring.layers)
        ]
        handed_up = [
            self._mask(x, layer.input_size, "up") if index else None
            for index, layer in enumerate(self.wiring.layers)
        ]
        run = self._scan_layers if self.wiring.layered else self._scan_stack
        y, state = run(x, state, lengths, recurrent_masks, handed_up)
        return y, state

    def step(self, x: Tensor, state: NetworkState | None = None) -> tuple[Tensor, NetworkState]:
        """Advance by one time step.

        A step is a sequence of its own to dropout: in training mode each draws new masks.

        Args:
            x: Input at this step, shape (B, I).
            state: State before it; None for zeros.

        Returns:
            y, shape (B, O), and the new state.

        Raises:
            ShapeError: if an array disagrees with the network's sizes.
            UsageError: if the network is bidirectional.
        """
        if self.wiring.bidirectional:
            raise UsageError("a bidirectional network cannot step: it needs the whole sequence")
        expect_shape("x", x, "BI", I=self.wiring.input_size)
        y, state = self(x[:, None], state)
        return y[:, 0], state

    def rollout(
        self,
        x: Tensor,
        state: NetworkState | None = None,
        *,
        steps: int,
        feed: Callable[[Tensor, int], Tensor] | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Run ahead: the output of each step is the input of the next.

        Args:
            x: The first input, shape (B, I).
            state: State before it; None for zeros.
            steps: How many steps to take.
            feed: Turns the output of step t, shape (B, O), and t into the input of step t+1,
                shape (B, I); None where the output itself is the input, which needs O = I.

        Returns:
            The outputs, shape (B, steps, O), and the state after the last.

        Raises:
            ShapeError: if O differs from I and no `feed` bridges them.
            UsageError: if steps is below 1.
        """
        if steps < 1:
            raise UsageError(f"steps is {steps}: a rollout takes at least one")
        if feed is None and self.wiring.output_size != self.wiring.input_size:
            raise ShapeError(
                f"the output's width O={self.wiring.output_size} is not the input's"
                f" I={self.wiring.input_size}: pass feed to turn one into the other"
            )
        outputs = []
        for t in range(steps):
            y, state = self.step(x, state)
            outputs.append(y)
            if t + 1 < steps:
                x = y if feed is None else feed(y, t)
        assert state is not None
        return torch.stack(outputs, dim=1), state

    def _scan_layers(
        self,
        x: Tensor,
        state: NetworkState,
        lengths: Tensor | None,
        recurrent_masks: list[Tensor | None],
        handed_up: list[Tensor | None],
    ) -> tuple[Tensor, NetworkState]:
        """Layer by layer, each over the whole sequence."""
        new_state: list[State] = []
        for index, (layer, cell) in enumerate(zip(self.wiring.layers, self.cells, strict=True)):
            mask = handed_up[index]
            x = x if mask is None else x * mask[:, None]
            weights = self.layers[index]
            assert isinstance(weights, LayerWeights)
            one_way = weights.reverse is None
            if layer.cell == "linear" and not weights.edges and not layer.normalised and one_way:
                x = _until(linear(x, weights.weight_ih, weights.bias_ih, self.backend), lengths)
                new_state.append((_last(x, lengths, state[index][0]),))
                continue
            outputs: list[Tensor] = []
            states: State = ()
            count = len(layer.states)
            recurrent = _split(recurrent_masks[index], len(weights.directions))
            for direction, part in enumerate(weights.directions):
                own = state[index][direction * count : (direction + 1) * count]
                y, own = self._scan_direction(
                    cell, x, part, own, lengths, recurrent[direction], reverse=direction == 1
                )
                outputs.append(y)
                states += own
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
            new_state.append(states)
        return x, tuple(new_state)

    def _scan_direction(
        self,
        cell: Cell,
        x: Tensor,
        weights: LayerWeights,
        state: State,
        lengths: Tensor | None,
        recurrent_mask: Tensor | None,
        *,
        reverse: bool,
    ) -> tuple[Tensor, State]:
        recurrence = weights.own_recurrence(self._weight_dropout)
        layer = StackLayer(
            cell=cell,
            weight_ih=weights.weight_ih,
            bias_ih=weights.bias_ih,
            bias_hh=weights.bias_hh,
            weight_hh={} if recurrence is None else {0: recurrence},
            weight_cell=weights.weight_cell,
            weight_norm=weights.weight_norm,
            recurrent_mask=recurrent_mask,
        )
        if weights.layer.carries_state or cell.name == "linear":
            return scan(layer, x, state, lengths, reverse=reverse, backend=self.backend)
        # nothing is carried: every step is a sequence of its own, of one step, from zeros
        batch, steps, width = x.shape
        hidden = cell.hidden_size
        zeros = tuple(part.new_zeros(batch * steps, hidden) for part in state)
        y, each = scan(
            dataclasses.replace(layer, recurrent_mask=None),
            _until(x, lengths).reshape(batch * steps, 1, width),
            zeros,
            None,
            backend=self.backend,
        )
        y = _until(y.reshape(batch, steps, hidden), lengths)
        last = tuple(
            _last(part.reshape(batch, steps, hidden), lengths, old, reverse=reverse)
            for part, old in zip(each, state, strict=True)
        )
        return y, last

    def _scan_stack(
        self,
        x: Tensor,
        state: NetworkState,
        lengths: Tensor | None,
        recurrent_masks: list[Tensor | None],
        handed_up: list[Tensor | None],
    ) -> tuple[Tensor, NetworkState]:
        """The whole stack together: later layers feed earlier ones."""
        layers = [
            StackLayer(
                cell=cell,
                weight_ih=weights.weight_ih,
                bias_ih=weights.bias_ih,
                bias_hh=weights.bias_hh,
                weight_hh=weights.recurrences(self._weight_dropout),
                weight_cell=weights.weight_cell,
                weight_norm=weights.weight_norm,
                carries_state=weights.layer.carries_state,
                recurrent_mask=recurrent_mask,
                input_mask=input_mask,
            )
            for cell, weights, recurrent_mask, input_mask in zip(
                self.cells, self.layers, recurrent_masks, handed_up, strict=True
            )
            if isinstance(weights, LayerWeights)
        ]
        return scan_stack(layers, x, state, lengths, backend=self.backend)

    @property
    def _weight_dropout(self) -> float:
        return self.weight_dropout if self.training else 0.0

    def _mask(self, x: Tensor, width: int, path: str) -> Tensor | None:
        """A dropout mask (B, width) for a whole sequence, None where nothing is dropped."""
        p = self.recurrent_dropout if path == "recurrent" else self.dropout
        if not self.training or p == 0:
            return None
        return functional.dropout(x.new_ones(len(x), width), p)

    def _checked_state(self, state: NetworkState | None, x: Tensor) -> NetworkState:
        zeros = self.zero_state(len(x))
        if state is None:
            return zeros
        if [len(part) for part in state] != [len(part) for part in zeros]:
            raise ShapeError(
                f"state has {[len(part) for part in state]} arrays a layer,"
                f" expected {[len(part) for part in zeros]}"
            )
        for index, (given, zero) in enumerate(zip(state, zeros, strict=True)):
            for number, (part, wanted) in enumerate(zip(given, zero, strict=True)):
                name = f"state[{index}][{number}]"
                expect_shape(name, part, "BH", B=len(x), H=wanted.shape[1])
        return state

    def _checked_lengths(self, lengths: Tensor | None, x: Tensor) -> Tensor | None:
        if lengths is None:
            return None
        lengths = torch.as_tensor(lengths, device=x.device)
        expect_shape("lengths", lengths, "B", B=len(x))
        if lengths.dtype.is_floating_point or lengths.dtype == torch.bool:
            raise ShapeError(f"lengths has dtype {lengths.dtype}, expected integers")
        # torch.compile would break the graph to look at the values, which the kernel checks itself
        if torch.compiler.is_compiling() and self.backend != "oracle":
            return lengths.long()
        if len(lengths) and (lengths.min() < 0 or lengths.max() > x.shape[1]):
            raise ShapeError(
                f"lengths go from {int(lengths.min())} to {int(lengths.max())},"
                f" expected 0 to T={x.shape[1]}"
            )
        return lengths.long()


def _split(mask: Tensor | None, parts: int) -> Sequence[Tensor | None]:
    return [None] * parts if mask is None else mask.chunk(parts, dim=-1)


def _until(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x (B, T, H) with zeros past each row's length."""
    if lengths is None:
        return x
    running = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return x.masked_fill(~running[:, :, None], 0.0)


def _last(x: Tensor, lengths: Tensor | None, before: Tensor, *, reverse: bool = False) -> Tensor:
    """x (B, T, H) at the step each row takes last; `before` (B, H) for a row without steps."""
    steps = x.shape[1]
    if not steps:
        return before
    if lengths is None:
        return x[:, 0 if reverse else -1]
    last = torch.zeros_like(lengths) if reverse else (lengths - 1).clamp(min=0)
    taken = x[torch.arange(len(x), device=x.device), last]
    return torch.where(lengths[:, None] > 0, taken, before)
