"""Which neurons feed which: the one description of a network that everything else reads.

At time t layer l receives

    a_l(t) = W_l · x_l(t) + Σ_k R_{l←k} · h_k(t−1) + b_l

A `Wiring` lists the layers and names the blocks R_{l←k} that exist. It holds no weights and
imports no torch. Its five readers are the network that trains it, the native kernel that runs
it, the session that streams it, the export that writes it out and the report that draws it;
their contract is in three things:

- `layers[l]`: the cell, its sizes, and whether it carries a state of its own;
- `edges_into(l)`: the feedback blocks, each with its kind and its mask;
- `parameters()`: the name and shape of every weight, `owner()` telling which names share one.

The output layer, if there is one, is the last layer: a cell "linear" without a state of its own.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from noria.equations import Equations
from noria.errors import WiringError
from noria.feedback import Feedback, read_feedback

__all__ = ["CellShape", "Edge", "EdgeKind", "Layer", "Wiring"]

EdgeKind = Literal["diagonal", "off_diagonal", "dense", "masked"]
_EDGE_KINDS: tuple[EdgeKind, ...] = get_args(EdgeKind)


class CellShape(Protocol):
    """What a wiring needs to know of a cell; the cells in `noria.cells` have it."""

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]]
    parameters: ClassVar[tuple[str, ...]]
    equations: ClassVar[str]

    @property
    def name(self) -> str:
        """Its name in `noria.cells`."""
        ...

    @property
    def normalised(self) -> tuple[str, ...]:
        """Names of the pre-activations that are normalised over the layer's neurons."""
        ...

    @property
    def hidden_size(self) -> int:
        """H, number of neurons."""
        ...


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of the stack.

    Attributes:
        cell: Name of the cell; "linear" for the output layer.
        input_size: I, the width of what it receives from below.
        hidden_size: H, the number of its neurons.
        gates: Names of the row blocks of its weights, in their order.
        states: Names of its states; the first is h.
        carries_state: False where the feedback is `none`: its own state is zero at every step.
        parameters: Names of what every neuron has for itself, beside its weights.
        equations: What the cell computes, where it is none of `noria.cells` but one of one's own.
        normalised: Names of the pre-activations that are normalised over the layer's neurons.
    """

    cell: str
    input_size: int
    hidden_size: int
    gates: tuple[str, ...]
    states: tuple[str, ...]
    carries_state: bool
    parameters: tuple[str, ...] = ()
    equations: str = ""
    normalised: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of its weight matrices, G · H."""
        return len(self.gates) * self.hidden_size

    @property
    def meaning(self) -> Equations | None:
        """The equations of a cell of one's own; None for one of `noria.cells`."""
        if not self.equations:
            return None
        return Equations(self.cell, self.gates, self.states, self.parameters, self.equations)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; what few layers have only where they have it."""
        document = dataclasses.asdict(self)
        if not self.equations:
            del document["parameters"], document["equations"]
        if not self.normalised:
            del document["normalised"]
        return document


@dataclasses.dataclass(frozen=True)
class Edge:
    """The feedback block R_{target←source}.

    Attributes:
        target: Index of the layer that receives.
        source: Index of the layer whose h(t−1) is sent.
        kind: "diagonal", "off_diagonal", "dense" or "masked".
        packed_mask: For "masked", the allowed connections, shape (H_target, H_source), as packed
            bits; `mask` unpacks them.
        shape: (H_target, H_source).
    """

    target: int
    source: int
    kind: EdgeKind
    shape: tuple[int, int]
    packed_mask: bytes = b""

    @classmethod
    def from_mask(cls, target: int, source: int, mask: NDArray[np.bool_]) -> Edge | None:
        """The block for a boolean mask of shape (H_target, H_source); None where it is empty."""
        shape = (mask.shape[0], mask.shape[1])
        if not mask.any():
            return None
        if mask.all():
            return cls(target, source, "dense", shape)
        if target == source:
            identity = np.eye(shape[0], dtype=bool)
            if np.array_equal(mask, identity):
                return cls(target, source, "diagonal", shape)
            if np.array_equal(mask, ~identity):
                return cls(target, source, "off_diagonal", shape)
        return cls(target, source, "masked", shape, np.packbits(mask).tobytes())

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The allowed connections, boolean, shape (H_target, H_source)."""
        if self.kind == "dense":
            return np.ones(self.shape, dtype=bool)
        if self.kind == "masked":
            bits = np.unpackbits(
                np.frombuffer(self.packed_mask, np.uint8), count=math.prod(self.shape)
            )
            return bits.astype(bool).reshape(self.shape)
        identity = np.eye(self.shape[0], dtype=bool)
        return identity if self.kind == "diagonal" else ~identity

    def parameter_shape(self, gates: int) -> tuple[int, ...]:
        """Shape of its weights: (G·H, K) when dense, else (G, connections), row by row.

        A connection that the wiring forbids has no parameter at all.
        """
        rows, columns = self.shape
        if self.kind == "dense":
            return (gates * rows, columns)
        # counted without the mask, which a damaged model file could make as large as it likes
        if self.kind == "diagonal":
            return (gates, rows)
        if self.kind == "off_diagonal":
            return (gates, rows * columns - rows)
        return (gates, int(self.mask.sum()))


class _Entry(NamedTuple):
    """One weight: its name, its shape, what it must have in common to be shared, its layer."""

    name: str
    shape: tuple[int, ...]
    key: object
    layer: int


@dataclasses.dataclass(frozen=True)
class Wiring:
    """Layers, cells and edges of a network; see the module's docstring.

    Build one with `Wiring.build`; read one from a model file with `Wiring.from_dict`.

    Attributes:
        input_size: I of the first layer.
        layers: The stack from below, the output layer last.
        edges: All feedback blocks.
        has_output: Whether the last layer is an output layer.
        share_layers: Whether layers of equal cell and size share their weights.
        bidirectional: Whether each hidden layer also runs backwards in time.
    """

    input_size: int
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    has_output: bool = False
    share_layers: bool = False
    bidirectional: bool = False

    @classmethod
    def build(
        cls,
        input_size: int,
        layers: Sequence[CellShape],
        feedback: Feedback = "direct+lateral",
        output_size: int | None = None,
        *,
        share_layers: bool = False,
        bidirectional: bool = False,
    ) -> Wiring:
        """Wire a stack of cells.

        Args:
            input_size: I, width of the input.
            layers: The cells from below, such as `[LSTM(64), GRU(32)]`.
            feedback: Words `none`, `direct`, `lateral`, `indirect`, `full`, or a sum of them with
                `+`; a list of such, one per layer (with or without one for the output layer); or
                a boolean adjacency [target, source] over layers or over neurons.
            output_size: Width of a linear output layer; None for none.
            share_layers: Share weights between layers where their sizes allow it.
            bidirectional: Run every hidden layer in both directions, outputs side by side.

        Raises:
            WiringError: if the parts contradict each other.
        """
        cells = list(layers)
        if not cells:
            raise WiringError("layers is empty: a network needs at least one layer")
        for cell in cells:
            if not hasattr(cell, "hidden_size"):
                raise WiringError(f"layers has {cell!r}: give cells such as LSTM(64)")
        input_size = _size("input_size", input_size)
        sizes = [_size(f"hidden_size of {cell!r}", cell.hidden_size) for cell in cells]
        if output_size is not None:
            output_size = _size("output_size", output_size)
            sizes.append(output_size)
        masks = read_feedback(feedback, sizes, hidden=len(cells))
        directions = 2 if bidirectional else 1
        stack = []
        width = input_size
        for index, cell in enumerate(cells):
            carries = index in masks.carrying
            stack.append(
                Layer(
                    cell=cell.name,
                    input_size=width,
                    hidden_size=sizes[index],
                    gates=cell.gates,
                    states=cell.states,
                    carries_state=carries,
                    parameters=cell.parameters,
                    equations=cell.equations,
                    normalised=cell.normalised,
                )
            )
            width = sizes[index] * directions
        if output_size is not None:
            stack.append(Layer("linear", width, output_size, ("a",), ("h",), carries_state=False))
        edges = (Edge.from_mask(l, k, mask) for (l, k), mask in sorted(masks.blocks.items()))
        wiring = cls(
            input_size=input_size,
            layers=tuple(stack),
            edges=tuple(edge for edge in edges if edge is not None),
            has_output=output_size is not None,
            share_layers=share_layers,
            bidirectional=bidirectional,
        )
        wiring._check()
        return wiring

    def _check(self) -> None:
        if self.bidirectional and not self.layered:
            raise WiringError(
                "bidirectional needs layers that feed only themselves: with indirect or full"
                " feedback a layer would need the later layers' future before it exists"
            )
        if self.share_layers and all(name == owner for name, owner in self._owners.items()):
            sizes = [(layer.cell, layer.input_size, layer.hidden_size) for layer in self.layers]
            raise WiringError(f"share_layers: no two layers of {sizes} have weights of equal shape")

    def _check_parts(self) -> None:
        """Raise WiringError where layers and edges are not such as `build` makes."""
        flags = [layer.carries_state for layer in self.layers]
        flags += [self.has_output, self.share_layers, self.bidirectional]
        if not all(isinstance(flag, bool) for flag in flags):
            raise WiringError(f"flags are {flags}, expected true or false")
        if len(self.layers) <= self.has_output:
            raise WiringError("there is no hidden layer")
        width = self.input_size
        _size("input_size", width)
        for index, layer in enumerate(self.layers):
            _size(f"hidden_size of layer {index}", layer.hidden_size)
            if layer.input_size != width:
                raise WiringError(f"layer {index} has input_size {layer.input_size}, not {width}")
            names = (layer.cell, *layer.gates, *layer.states, *layer.parameters, layer.equations)
            names += layer.normalised
            if not (layer.gates and layer.states and all(isinstance(name, str) for name in names)):
                raise WiringError(f"layer {index} has the names {names}")
            if layer.meaning is not None:
                _ = layer.meaning.program
            elif layer.parameters:
                raise WiringError(f"layer {index} has parameters and no equations")
            width = layer.hidden_size * len(self.directions(index))
        ends = [(edge.target, edge.source) for edge in self.edges]
        if ends != sorted(set(ends)):
            raise WiringError(f"edges {ends} are out of order")
        for edge in self.edges:
            if not {edge.target, edge.source} <= set(range(len(self.layers))):
                raise WiringError(f"edge {edge.target}←{edge.source} joins no two layers")
            receiver = self.layers[edge.target]
            if not (receiver.carries_state or receiver.cell == "linear"):
                raise WiringError(
                    f"edge {edge.target}←{edge.source} ends in a layer that carries no state"
                )
            wanted = (self.layers[edge.target].hidden_size, self.layers[edge.source].hidden_size)
            kinds = _EDGE_KINDS if edge.target == edge.source else ("dense", "masked")
            packed = (math.prod(wanted) + 7) // 8 if edge.kind == "masked" else 0
            if (
                edge.kind not in kinds
                or edge.shape != wanted
                or len(edge.packed_mask) != packed
                or (packed and Edge.from_mask(edge.target, edge.source, edge.mask) != edge)
            ):
                raise WiringError(f"edge {edge.target}←{edge.source} does not fit its layers")

    @property
    def output_size(self) -> int:
        """Width of what the network puts out, y."""
        last = self.layers[-1]
        both = self.bidirectional and not self.has_output
        return last.hidden_size * (2 if both else 1)

    @property
    def layered(self) -> bool:
        """Whether every layer feeds only itself, so that layers run one after the other."""
        return all(edge.target == edge.source for edge in self.edges)

    def edges_into(self, target: int) -> tuple[Edge, ...]:
        """The feedback blocks that layer `target` receives."""
        return tuple(edge for edge in self.edges if edge.target == target)

    def directions(self, layer: int) -> tuple[str, ...]:
        """Prefixes of the layer's parameter names: one a direction in time."""
        hidden = layer < len(self.layers) - self.has_output
        name = f"layers.{layer}."
        return (name, f"{name}reverse.") if self.bidirectional and hidden else (name,)

    def _entries(self) -> Iterator[_Entry]:
        """Every weight of every layer and direction, shared ones too."""
        for index, layer in enumerate(self.layers):
            for reverse, prefix in enumerate(self.directions(index)):
                shapes = {
                    "weight_ih": (layer.rows, layer.input_size),
                    "bias_ih": (layer.rows,),
                    "bias_hh": (layer.rows,),
                }
                if layer.cell == "linear":
                    del shapes["bias_hh"]
                if layer.parameters:
                    shapes["weight_cell"] = (len(layer.parameters), layer.hidden_size)
                if layer.normalised:
                    shapes["weight_norm"] = (len(layer.normalised), layer.hidden_size)
                cell = (layer.cell, layer.equations, layer.normalised)
                for role, shape in shapes.items():
                    yield _Entry(prefix + role, shape, (cell, reverse, role), index)
                for edge in self.edges_into(index):
                    shape = edge.parameter_shape(len(layer.gates))
                    own = edge.source == index
                    key = (cell, reverse, edge.kind, edge.packed_mask) if own else None
                    yield _Entry(f"{prefix}weight_hh.{edge.source}", shape, key, index)

    @functools.cached_property
    def _owners(self) -> dict[str, str]:
        """For every name, the name of the first weight that it shares its values with."""
        owners: dict[str, str] = {}
        first: dict[object, str] = {}
        hidden = len(self.layers) - self.has_output
        for entry in self._entries():
            owners[entry.name] = entry.name
            if self.share_layers and entry.key is not None and entry.layer < hidden:
                owners[entry.name] = first.setdefault((entry.key, entry.shape), entry.name)
        return owners

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, each once even where layers share it."""
        return {
            entry.name: entry.shape
            for entry in self._entries()
            if self._owners[entry.name] == entry.name
        }

    def owner(self, name: str) -> str:
        """The name under which a shared weight is kept; the name itself if it is not shared."""
        return self._owners[name]

    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in self.parameters().values())

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for the model file."""
        return {
            "input_size": self.input_size,
            "layers": [layer.to_dict() for layer in self.layers],
            "edges": [
                {
                    "target": edge.target,
                    "source": edge.source,
                    "kind": edge.kind,
                    "shape": list(edge.shape),
                    **(
                        {"mask": base64.b64encode(edge.packed_mask).decode()}
                        if edge.kind == "masked"
                        else {}
                    ),
                }
                for edge in self.edges
            ],
            "has_output": self.has_output,
            "share_layers": self.share_layers,
            "bidirectional": self.bidirectional,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Wiring:
        """Read what `to_dict` wrote.

        Raises:
            WiringError: if the document is not a consistent wiring.
        """
        try:
            layers = tuple(
                Layer(
                    **{
                        **layer,
                        "gates": tuple(layer["gates"]),
                        "states": tuple(layer["states"]),
                        "parameters": tuple(layer.get("parameters", ())),
                        "normalised": tuple(layer.get("normalised", ())),
                    }
                )
                for layer in document["layers"]
            )
            edges = tuple(
                Edge(
                    edge["target"],
                    edge["source"],
                    edge["kind"],
                    tuple(edge["shape"]),
                    base64.b64decode(edge.get("mask", ""), validate=True),
                )
                for edge in document["edges"]
            )
            wiring = cls(
                document["input_size"],
                layers,
                edges,
                document["has_output"],
                document["share_layers"],
                document["bidirectional"],
            )
            wiring._check_parts()
            wiring._check()
            if json.dumps(wiring.to_dict(), sort_keys=True) != json.dumps(document, sort_keys=True):
                raise WiringError("it says more than a wiring does")
        except (KeyError, TypeError, ValueError) as error:
            raise WiringError(f"not a wiring: {error}") from error
        return wiring


def _size(name: str, size: int) -> int:
    """The size as Python's own integer, whatever integer was given."""
    if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
        raise WiringError(f"{name} is {size!r}: it must be an integer of at least 1")
    return operator.index(size)
