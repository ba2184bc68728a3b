"""A network drawn from its wiring, as SVG that needs nothing else.

The input stands at the bottom, the layers above it, the output on top. Feedback goes to the left
where it runs down to an earlier layer, to the right where it runs up to a later one; a layer's
feedback to itself is a loop with a small picture of which connections exist.
"""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from noria.wiring import Edge, Layer, Wiring

__all__ = ["draw_wiring"]

_INK, _MUTED, _LINE = "#1b2733", "#52606d", "#7b8794"
_SELF, _DOWN, _UP = "#0b7a5b", "#1f5fa8", "#8a3fa0"
_BOX_FILL, _OUTPUT_FILL, _END_FILL = "#eef4fb", "#f3f4f6", "#ffffff"

_GAP = 46  # between two boxes
_LANE = 15  # between two vertical lines of feedback
_PORT = 11  # between two ends of feedback at the side of a box
_MATRIX = 26  # side of the small picture of a mask
_LOOP = 27  # half the height of a loop
_LINE_HEIGHT = 16
_SMALLEST = 0.7  # text is drawn no smaller than this; what is wider scrolls

_CELLS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "rnn_tanh": "plain RNN (tanh)",
    "rnn_relu": "plain RNN (ReLU)",
    "linear": "linear",
}


def draw_wiring(wiring: Wiring) -> str:
    """Draw a network.

    Every feedback block is one group with `data-edge="target-source"`, layers counted from 0, its
    `data-kind` and, in words, its `data-label`.

    Args:
        wiring: What to draw.

    Returns:
        One `<svg>` element that refers to nothing outside itself.
    """
    plan = _Plan(wiring)
    legend, legend_height = _legend(wiring, plan.width, plan.height + 20)
    body = [*_ends(plan), *_upward(plan), *_cross_edges(plan), *_boxes(plan), *_loops(plan)]
    width, height = plan.width, plan.height + 20 + legend_height
    summary = escape(_summary(wiring))
    return (
        f'<svg class="wiring" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label="{summary}"'
        f' style="width:100%;max-width:{width}px;min-width:{round(_SMALLEST * width)}px"'
        f' font-family="system-ui, sans-serif" font-size="13" fill="{_INK}">'
        + "".join([*body, *legend])
        + "</svg>"
    )


@dataclasses.dataclass(frozen=True)
class _Box:
    """A rectangle; `middle` is its height at half, `centre` its width at half."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def centre(self) -> float:
        return self.left + self.width / 2

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


class _Plan:
    """Where everything goes.

    Attributes:
        wiring: What is drawn.
        layers: Box of each layer.
        input, output: Boxes of what goes in and what comes out.
        lanes: Number of the vertical line of each edge between two layers, counted from the boxes.
        ports: Height at which an edge leaves its source and reaches its target.
        lanes_left, lanes_right: Where the line nearest to the boxes stands, on either side.
        width, height: Of it all.
    """

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        down = [edge for edge in wiring.edges if edge.source > edge.target]
        up = [edge for edge in wiring.edges if edge.source < edge.target]
        loops = [edge for edge in wiring.edges if edge.source == edge.target]
        self.lanes = {**_lanes(down), **_lanes(up)}
        beside = 0.0
        if loops:
            beside = 24 + _MATRIX + (38 if any(e.kind == "masked" for e in loops) else 8)
        lanes_down = 1 + max((self.lanes[edge] for edge in down), default=-1)
        lanes_up = 1 + max((self.lanes[edge] for edge in up), default=-1)
        left = beside if wiring.bidirectional else 0.0
        left += lanes_down * _LANE + (14 if lanes_down else 0)
        right = beside + lanes_up * _LANE + (14 if lanes_up else 0)
        box_width = 296.0 if wiring.bidirectional else 208.0
        inside = max(left, 6.0) + box_width + max(right, 6.0)
        self.width = round(max(inside, 400.0))
        left = max(left, 6.0) + (self.width - inside) / 2
        self.lanes_left, self.lanes_right = left - 18, left + box_width + beside + 12

        top = 2.0
        self.output = _Box(left, top, box_width, 34)
        top = self.output.bottom + _GAP
        boxes: dict[int, _Box] = {}
        for index in reversed(range(len(wiring.layers))):
            boxes[index] = _Box(left, top, box_width, self._box_height(index, down, up))
            top = boxes[index].bottom + _GAP
        self.layers = [boxes[index] for index in range(len(wiring.layers))]
        self.input = _Box(left, top, box_width, 34)
        self.height = round(self.input.bottom)
        self.ports = self._ports(down, up)

    def _box_height(self, index: int, down: Sequence[Edge], up: Sequence[Edge]) -> float:
        sides = [sum(index in (edge.source, edge.target) for edge in edges) for edges in (down, up)]
        beside_loop = max(
            sum(index == edge.source for edge in up), sum(index == edge.target for edge in up)
        )
        text = 88.0 if self.wiring.bidirectional else 74.0
        around = 2 * (beside_loop * _PORT + _LOOP + 6) if beside_loop else 0.0
        return max(text, (sides[0] + 1) * _PORT, around)

    def _ports(self, down: Sequence[Edge], up: Sequence[Edge]) -> dict[Edge, tuple[float, float]]:
        """Ends of the edges, in the order in which their lines do not cross at a box."""
        leaves: dict[Edge, float] = {}
        reaches: dict[Edge, float] = {}
        for index, box in enumerate(self.layers):
            into = sorted((e for e in down if e.target == index), key=_span)
            out = sorted((e for e in down if e.source == index), key=_span, reverse=True)
            pitch = box.height / (len(into) + len(out) + 1)
            for number, edge in enumerate([*into, *out], 1):
                (reaches if edge.target == index else leaves)[edge] = box.top + number * pitch
            for number, edge in enumerate(sorted((e for e in up if e.source == index), key=_span)):
                leaves[edge] = box.top + 8 + number * _PORT
            for number, edge in enumerate(sorted((e for e in up if e.target == index), key=_span)):
                reaches[edge] = box.bottom - 8 - number * _PORT
        return {edge: (leaves[edge], reaches[edge]) for edge in [*down, *up]}


def _span(edge: Edge) -> int:
    return abs(edge.source - edge.target)


def _lanes(edges: Sequence[Edge]) -> dict[Edge, int]:
    """A vertical line for each edge, longer ones outside of the shorter ones they pass."""
    lanes: dict[Edge, int] = {}
    for edge in sorted(edges, key=lambda e: (_span(e), e.target)):
        low, high = sorted((edge.source, edge.target))
        passed = [
            lane
            for other, lane in lanes.items()
            if max(low, min(other.source, other.target))
            < min(high, max(other.source, other.target))
        ]
        lanes[edge] = max(passed, default=-1) + 1
    return lanes


def _ends(plan: _Plan) -> Iterator[str]:
    wiring = plan.wiring
    for box, name, size in [
        (plan.output, "output y", wiring.output_size),
        (plan.input, "input x", wiring.input_size),
    ]:
        yield _rectangle(box, _END_FILL, dashed=True, radius=17)
        text = f"{name}: {_count(size, 'value')} a step"
        yield _text(box.centre, box.middle + 4.5, text, anchor="middle")


def _upward(plan: _Plan) -> Iterator[str]:
    """The arrows within one step: from the input through the layers to the output."""
    stack = [plan.input, *plan.layers, plan.output]
    for below, above in itertools.pairwise(stack):
        yield _path(f"M{below.centre:g} {below.top:g}V{above.bottom + 7:g}", _LINE)
        yield _head(above.centre, above.bottom + 1, "up", _LINE)


def _boxes(plan: _Plan) -> Iterator[str]:
    wiring = plan.wiring
    for index, (layer, box) in enumerate(zip(wiring.layers, plan.layers, strict=True)):
        output = wiring.has_output and index == len(wiring.layers) - 1
        lines = _box_lines(layer, index, output=output)
        yield f'<g data-layer="{index}">'
        yield _rectangle(box, _OUTPUT_FILL if output else _BOX_FILL)
        if wiring.bidirectional and not output:
            first = box.middle - 25
            yield _text(box.centre, first, lines[0], anchor="middle", bold=True)
            for x, words in [
                (box.left + box.width / 4, "forward in time →"),
                (box.left + 3 * box.width / 4, "← backward in time"),
            ]:
                yield _text(x, first + 21, words, anchor="middle")
                yield _text(x, first + 39, lines[1], anchor="middle")
            yield _path(f"M{box.centre:g} {first + 9:g}V{first + 43:g}", "#b8c6d6", width=1)
            yield _text(box.centre, first + 59, lines[2], anchor="middle", color=_MUTED)
        else:
            first = box.middle - 15
            yield _text(box.centre, first, lines[0], anchor="middle", bold=True)
            yield _text(box.centre, first + 20, lines[1], anchor="middle")
            yield _text(box.centre, first + 39, lines[2], anchor="middle", color=_MUTED)
        yield "</g>"


def _box_lines(layer: Layer, index: int, *, output: bool) -> tuple[str, str, str]:
    """Name, size and state of a layer."""
    cell = _CELLS.get(layer.cell, layer.cell[:18])
    name = f"Output layer · {cell}" if output else f"Layer {index + 1} · {cell}"
    if output:
        state = "no state of its own"
    elif layer.carries_state:
        state = f"keeps its state {', '.join(layer.states)}"
    else:
        state = "carries no state: begins anew"
    size = _count(layer.hidden_size, "neuron") + (", normalised" if layer.normalised else "")
    return name, size, state


def _cross_edges(plan: _Plan) -> Iterator[str]:
    """Feedback between two layers: a line beside the boxes, the longest drawn first."""
    crossing = [edge for edge in plan.wiring.edges if edge.source != edge.target]
    for edge in sorted(crossing, key=_span, reverse=True):
        down = edge.source > edge.target
        leaves, reaches = plan.ports[edge]
        lane = plan.lanes[edge] * _LANE
        source, target = plan.layers[edge.source], plan.layers[edge.target]
        if down:
            x, start, turn, color = plan.lanes_left - lane, source.left, 6, _DOWN
            end, tip, label_y = target.left - 7, target.left - 1, source.bottom + _GAP / 2
        else:
            x, start, turn, color = plan.lanes_right + lane, source.right, -6, _UP
            end, tip, label_y = target.right + 7, target.right + 1, source.top - _GAP / 2
        bend = 6 if down else -6
        line = (
            f"M{start:g} {leaves:g}H{x + turn:g}Q{x:g} {leaves:g} {x:g} {leaves + bend:g}"
            f"V{reaches - bend:g}Q{x:g} {reaches:g} {x + turn:g} {reaches:g}H{end:g}"
        )
        yield _open_edge(plan.wiring, edge)
        yield _path(line, "#ffffff", width=5)
        yield _path(line, color, dashed=not down)
        yield _head(tip, reaches, "right" if down else "left", color)
        if edge.kind == "masked":
            yield (
                f'<text transform="translate({x + 3.5:g} {label_y:g}) rotate(-90)"'
                f' text-anchor="middle" font-size="10.5" fill="{color}" stroke="#fff"'
                f' stroke-width="4" paint-order="stroke">{escape(_share(edge))}</text>'
            )
        yield "</g>"


def _loops(plan: _Plan) -> Iterator[str]:
    """Feedback of a layer to itself: a loop through the picture of its connections."""
    for edge in plan.wiring.edges:
        if edge.source != edge.target:
            continue
        box = plan.layers[edge.target]
        hidden = edge.target < len(plan.layers) - plan.wiring.has_output
        both = plan.wiring.bidirectional and hidden
        yield _open_edge(plan.wiring, edge)
        for side in (-1, 1) if both else (1,):
            wall = box.right if side > 0 else box.left
            x, y = wall + side * (24 + _MATRIX / 2 - 6), box.middle
            out, back = y - _LOOP + 5, y + _LOOP - 5
            line = (
                f"M{wall:g} {out:g}H{x - side * 5:g}Q{x:g} {out:g} {x:g} {out + 5:g}"
                f"V{back - 5:g}Q{x:g} {back:g} {x - side * 5:g} {back:g}H{wall + side * 7:g}"
            )
            yield _path(line, _SELF)
            yield _head(wall + side, back, "left" if side > 0 else "right", _SELF)
            yield _matrix(edge, x - _MATRIX / 2, y - _MATRIX / 2)
            if edge.kind == "masked":
                anchor = "start" if side > 0 else "end"
                place = x + side * (_MATRIX / 2 + 4)
                yield _text(place, y + 4, _share(edge), anchor=anchor, color=_SELF, size=11)
        yield "</g>"


def _matrix(edge: Edge, x: float, y: float, size: float = _MATRIX) -> str:
    """Which connections of a block exist: rows hear, columns speak; darker where more of them."""
    if edge.kind == "dense":
        density = np.ones((1, 1))
    elif edge.kind == "masked":
        density = _shrink(edge.mask, 13)
    else:
        density = Edge(0, 0, edge.kind, (6, 6)).mask.astype(float)
    rows, columns = density.shape
    high, wide = (size - 4) / rows, (size - 4) / columns
    cells = "".join(
        f'<rect x="{x + 2 + column * wide:.2f}" y="{y + 2 + row * high:.2f}" width="{wide:.2f}"'
        f' height="{high:.2f}" fill="{_SELF}" fill-opacity="{density[row, column]:.2f}"/>'
        for row, column in np.argwhere(density).tolist()
    )
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{size:g}" height="{size:g}" fill="#fff"'
        f' stroke="{_SELF}" stroke-width="1.3" rx="2"/>{cells}'
    )


def _shrink(mask: NDArray[np.bool_], most: int) -> NDArray[np.float64]:
    """Shares of a mask by tile, at most so many tiles a side."""
    rows, columns = (list(np.array_split(np.arange(size), min(size, most))) for size in mask.shape)
    return np.array([[mask[np.ix_(row, column)].mean() for column in columns] for row in rows])


def _share(edge: Edge) -> str:
    share = 100 * edge.mask.mean()
    return "<1%" if share < 0.5 else ">99%" if share > 99.5 else f"{share:.0f}%"


def _open_edge(wiring: Wiring, edge: Edge) -> str:
    label = _edge_label(wiring, edge)
    return (
        f'<g data-edge="{edge.target}-{edge.source}" data-kind="{edge.kind}"'
        f' data-label="{escape(label)}"><title>{escape(label)}</title>'
    )


def _edge_label(wiring: Wiring, edge: Edge) -> str:
    """An edge in words, layers counted from 1."""
    names = [f"layer {index + 1}" for index in range(len(wiring.layers))]
    if wiring.has_output:
        names[-1] = "output layer"
    target = "itself" if edge.source == edge.target else names[edge.target]
    allowed = f"{int(edge.mask.sum()):,} of {edge.mask.size:,}"
    what = {
        "diagonal": "each neuron to itself",
        "off_diagonal": "each neuron to the others",
        "dense": "every neuron to every neuron",
        "masked": f"{allowed} connections ({edge.mask.mean():.1%})",
    }[edge.kind]
    return f"{names[edge.source]} to {target}, one step later: {what}"


def _summary(wiring: Wiring) -> str:
    hidden = len(wiring.layers) - wiring.has_output
    layers = [
        ", ".join(_box_lines(layer, index, output=index >= hidden))
        for index, layer in enumerate(wiring.layers)
    ]
    edges = [_edge_label(wiring, edge) for edge in wiring.edges]
    return f"{'; '.join(layers)}. Feedback: {'; '.join(edges) or 'none'}."


def _legend(wiring: Wiring, width: float, top: float) -> tuple[list[str], int]:
    """What the signs mean, those that occur; and how high that is."""
    parts: list[str] = []
    y = top
    for sign, words in _legend_entries(wiring):
        lines = textwrap.wrap(words, max(30, int((width - 44) / 6.15)))
        middle = y + _LINE_HEIGHT / 2
        if isinstance(sign, Edge) and sign.source == sign.target:
            parts.append(_matrix(sign, 6, middle - 9, 18))
        elif sign is not None:
            down = isinstance(sign, Edge) and sign.source > sign.target
            color = _LINE if sign == "up" else _DOWN if down else _UP
            dashed = isinstance(sign, Edge) and not down
            parts.append(_path(f"M0 {middle:g}H24", color, dashed=dashed))
            parts.append(_head(31, middle, "right", color))
        for number, line in enumerate(lines):
            parts.append(_text(44, y + 12 + number * _LINE_HEIGHT, line, size=12, color=_MUTED))
        y += len(lines) * _LINE_HEIGHT + 8
    return parts, round(y - top)


def _legend_entries(wiring: Wiring) -> Iterator[tuple[Edge | str | None, str]]:
    yield "up", "Within a step: from the input up through the layers, every neuron to every neuron."
    own = [edge for edge in wiring.edges if edge.source == edge.target]
    loops = {edge.kind: edge for edge in sorted(own, key=lambda edge: edge.shape)}
    meaning = {
        "dense": "A layer hears itself one step later, every neuron all of them"
        " (direct and lateral feedback).",
        "diagonal": "A layer hears itself one step later, each neuron only itself"
        " (direct feedback).",
        "off_diagonal": "A layer hears itself one step later, each neuron the others but not"
        " itself (lateral feedback).",
        "masked": "A layer hears itself one step later by some connections only: their share"
        " beside, and a dark spot where the neuron of the column is heard by that of the row.",
    }
    for kind, words in meaning.items():
        if kind in loops:
            yield loops[kind], words
    down = [edge for edge in wiring.edges if edge.source > edge.target]
    up = [edge for edge in wiring.edges if edge.source < edge.target]
    if down:
        yield down[0], "An earlier layer hears a later one, one step later (indirect feedback)."
    if up:
        yield up[0], "A later layer hears an earlier one once more, one step later (full feedback)."
    if any(edge.kind == "masked" for edge in [*down, *up]):
        yield None, "A percentage on a line: the share of its connections that exist."
    if wiring.bidirectional:
        yield (
            None,
            (
                "Every layer runs twice, from the first step on and from the last step back; the"
                " next one receives both results. “One step later” is one step earlier for the"
                " second."
            ),
        )
    if wiring.share_layers:
        yield None, "Layers of equal cell and size share their weights."
    carrying = [layer for layer in wiring.layers if layer.carries_state]
    if any(len(layer.states) > 1 for layer in carrying):
        yield (
            None,
            (
                "State: what a layer keeps from one step to the next; h is what it puts out, c"
                " stays inside the cell."
            ),
        )
    elif carrying:
        yield None, "State: what a layer keeps from one step to the next; h is what it puts out."
    if not carrying and not wiring.edges:
        yield (
            None,
            "No feedback: nothing is carried from one step to the next (a feed-forward network).",
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _rectangle(box: _Box, fill: str, *, dashed: bool = False, radius: float = 8) -> str:
    dash = ' stroke-dasharray="2 3"' if dashed else ""
    return (
        f'<rect x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}"'
        f' rx="{radius:g}" fill="{fill}" stroke="#9fb3c8" stroke-width="1.2"{dash}/>'
    )


def _path(line: str, color: str, *, width: float = 1.7, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="6 3"' if dashed else ""
    return f'<path d="{line}" fill="none" stroke="{color}" stroke-width="{width:g}"{dash}/>'


def _head(x: float, y: float, direction: str, color: str) -> str:
    """An arrow's head with its tip at a point."""
    along, across = {"up": (0, 1), "right": (-1, 0), "left": (1, 0)}[direction]
    corners = [
        (x, y),
        (x + 8 * along + 4.2 * across, y + 8 * across + 4.2 * along),
        (x + 8 * along - 4.2 * across, y + 8 * across - 4.2 * along),
    ]
    points = " ".join(f"{a:g},{b:g}" for a, b in corners)
    return f'<polygon class="head" points="{points}" fill="{color}"/>'


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    bold: bool = False,
    color: str = _INK,
    size: float = 13,
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}" fill="{color}"'
        f"{weight}>{escape(words)}</text>"
    )
