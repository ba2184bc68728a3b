from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from noria.cells import GRU, LSTM, RNN
from noria.report.drawing import draw_wiring
from noria.wiring import Wiring

SVG = "{http://www.w3.org/2000/svg}"
STACK = [LSTM(6), GRU(5), RNN(4)]


def draw(*arguments: Any, **settings: Any) -> tuple[Wiring, ET.Element]:
    wiring = Wiring.build(*arguments, **settings)
    return wiring, ET.fromstring(draw_wiring(wiring))


def edges(svg: ET.Element) -> dict[str, ET.Element]:
    return {group.attrib["data-edge"]: group for group in svg.iter() if "data-edge" in group.attrib}


def heads(group: ET.Element) -> list[ET.Element]:
    return list(group.iter(f"{SVG}polygon"))


def words(svg: ET.Element) -> str:
    return " ".join(text.text or "" for text in svg.iter(f"{SVG}text"))


@pytest.mark.parametrize("output_size", [None, 2])
@pytest.mark.parametrize(
    "feedback",
    ["none", "direct", "lateral", "direct+lateral", "indirect", "direct+indirect", "full"],
)
def test_one_arrow_for_each_edge(feedback: str, output_size: int | None) -> None:
    wiring, svg = draw(8, STACK, feedback, output_size)
    drawn = edges(svg)
    assert drawn.keys() == {f"{edge.target}-{edge.source}" for edge in wiring.edges}
    for edge in wiring.edges:
        group = drawn[f"{edge.target}-{edge.source}"]
        assert group.attrib["data-kind"] == edge.kind
        assert len(heads(group)) == 1
    # and one upward for each layer, one to the output
    forward = sum(head not in [h for g in drawn.values() for h in heads(g)] for head in heads(svg))
    legend = 1 + sum(
        any(
            (edge.source > edge.target) == down and edge.source != edge.target
            for edge in wiring.edges
        )
        for down in (True, False)
    )
    assert forward == len(wiring.layers) + 1 + legend


def test_labels_in_words() -> None:
    drawn = edges(draw(8, STACK[:2], "direct+indirect", 1)[1])
    assert {name: group.attrib["data-label"] for name, group in drawn.items()} == {
        "0-0": "layer 1 to itself, one step later: each neuron to itself",
        "0-1": "layer 2 to layer 1, one step later: every neuron to every neuron",
        "0-2": "output layer to layer 1, one step later: every neuron to every neuron",
        "1-1": "layer 2 to itself, one step later: each neuron to itself",
        "1-2": "output layer to layer 2, one step later: every neuron to every neuron",
    }
    lateral = edges(draw(8, [LSTM(3)], "lateral")[1])["0-0"]
    assert "each neuron to the others" in lateral.attrib["data-label"]


def test_arrow_points_at_its_target() -> None:
    _, svg = draw(8, STACK, "full", 1)
    boxes = {}
    for group in svg.iter(f"{SVG}g"):
        if "data-layer" in group.attrib:
            frame = group.find(f"{SVG}rect")
            assert frame is not None
            top = float(frame.attrib["y"])
            boxes[group.attrib["data-layer"]] = (top, top + float(frame.attrib["height"]))
    assert len(boxes) == 4
    for name, group in edges(svg).items():
        target, source = name.split("-")
        tip = float(heads(group)[0].attrib["points"].split()[0].split(",")[1])
        assert boxes[target][0] < tip < boxes[target][1]
        line = group.findall(f"{SVG}path")[-1].attrib["d"]
        start = float(re.match(r"M[\d.]+ ([\d.]+)", line)[1])  # type: ignore[index]
        assert boxes[source][0] < start < boxes[source][1]


def test_no_two_ends_of_feedback_meet() -> None:
    _, svg = draw(8, [LSTM(4)] * 6, "full", 1)
    ends = []
    for group in edges(svg).values():
        line = group.findall(f"{SVG}path")[-1].attrib["d"]
        x, y = re.match(r"M([\d.]+) ([\d.]+)", line).groups()  # type: ignore[union-attr]
        tip_x, tip_y = heads(group)[0].attrib["points"].split()[0].split(",")
        ends += [(round(float(x)), float(y)), (round(float(tip_x)), float(tip_y))]
    for number, (x, y) in enumerate(ends):
        for other_x, other_y in ends[:number]:
            assert abs(x - other_x) > 2 or abs(y - other_y) >= 5


def test_masked_edges_tell_their_share() -> None:
    adjacency = np.zeros((4, 4), dtype=bool)
    adjacency[0, 1] = adjacency[2, 3] = adjacency[0, 2] = True
    drawn = edges(draw(8, [RNN(2), RNN(2)], adjacency)[1])
    assert drawn.keys() == {"0-0", "0-1", "1-1"}
    for group in drawn.values():
        assert group.attrib["data-kind"] == "masked"
        assert "1 of 4 connections (25.0%)" in group.attrib["data-label"]
        assert words(group) == "25%"


def test_picture_of_a_mask() -> None:
    group = edges(draw(8, [RNN(3)], np.eye(3, k=1, dtype=bool))[1])["0-0"]
    frame, *cells = group.findall(f"{SVG}rect")

    def tile(cell: ET.Element, axis: str, side: str) -> int:
        middle = float(cell.attrib[axis]) + float(cell.attrib[side]) / 2
        return int(3 * (middle - float(frame.attrib[axis])) / float(frame.attrib[side]))

    places = [(tile(cell, "y", "height"), tile(cell, "x", "width")) for cell in cells]
    assert places == [(0, 1), (1, 2)]  # (hears, speaks)


def test_a_layer_that_carries_no_state_says_so() -> None:
    text = words(draw(8, [LSTM(6), RNN(5, "relu")], "none", 1)[1])
    assert text.count("carries no state") == 2
    assert "feed-forward network" in text
    text = words(draw(8, [LSTM(6), LSTM(6)], ["direct", "none"])[1])
    assert text.count("carries no state") == 1
    assert text.count("keeps its state h, c") == 1


def test_sizes_and_cells() -> None:
    text = words(draw(8, [LSTM(64), GRU(1)], output_size=3)[1])
    for part in [
        "input x: 8 values a step", "Layer 1 · LSTM", "64 neurons", "Layer 2 · GRU", "1 neuron",
        "Output layer · linear", "output y: 3 values a step",
    ]:  # fmt: skip
        assert part in text


def test_bidirectional() -> None:
    _, svg = draw(8, [LSTM(4), LSTM(4)], output_size=2, bidirectional=True)
    text = words(svg)
    assert text.count("forward in time") == text.count("backward in time") == 2
    assert {name: len(heads(group)) for name, group in edges(svg).items()} == {"0-0": 2, "1-1": 2}
    assert "output y: 8 values a step" in words(draw(8, [LSTM(4)], bidirectional=True)[1])


def test_shared_layers_say_so() -> None:
    assert "share their weights" in words(draw(4, [LSTM(4), LSTM(4)], share_layers=True)[1])


def test_everything_is_inside_the_frame() -> None:
    for wiring, svg in [
        draw(8, STACK, "full", 1),
        draw(8, [LSTM(4)] * 6, "full", 1),
        draw(8, [LSTM(4)], np.random.default_rng(0).random((4, 4)) < 0.5, bidirectional=True),
    ]:
        *_, width, height = map(float, svg.attrib["viewBox"].split())
        for frame in svg.iter(f"{SVG}rect"):
            x, y, w, h = (float(frame.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= 0, wiring
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
        for path in svg.iter(f"{SVG}path"):
            xs = [float(x) for x in re.findall(r"[MHQ]([\d.-]+)", path.attrib["d"])]
            assert min(xs) >= 0
            assert max(xs) <= width


def test_refers_to_nothing_outside() -> None:
    text = draw_wiring(Wiring.build(8, STACK, "full", 1))
    assert "href" not in text
    assert "url(" not in text
    assert " id=" not in text  # two drawings may stand on one page
