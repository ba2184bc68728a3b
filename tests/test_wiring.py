from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from noria.cells import GRU, LSTM, RNN, Cell
from noria.errors import WiringError
from noria.feedback import Feedback
from noria.network import Network
from noria.wiring import Edge, Wiring

Kinds = dict[tuple[int, int], str]

LSTM_AND_GRU = [LSTM(3), GRU(2)]


def kinds(feedback: Feedback, output_size: int | None = None) -> Kinds:
    wiring = Wiring.build(4, LSTM_AND_GRU, feedback, output_size)
    return {(edge.target, edge.source): edge.kind for edge in wiring.edges}


def carrying(feedback: Feedback, output_size: int | None = None) -> list[bool]:
    wiring = Wiring.build(4, LSTM_AND_GRU, feedback, output_size)
    return [layer.carries_state for layer in wiring.layers]


ALL_PAIRS: Kinds = {(l, k): "dense" for l in range(2) for k in range(2)}

WORDS: dict[str, Kinds] = {
    "none": {},
    "direct": {(0, 0): "diagonal", (1, 1): "diagonal"},
    "lateral": {(0, 0): "off_diagonal", (1, 1): "off_diagonal"},
    "direct+lateral": {(0, 0): "dense", (1, 1): "dense"},
    "lateral + direct": {(0, 0): "dense", (1, 1): "dense"},
    "indirect": {(0, 1): "dense"},
    "direct+indirect": {(0, 0): "diagonal", (0, 1): "dense", (1, 1): "diagonal"},
    "direct+lateral+indirect": {(0, 0): "dense", (0, 1): "dense", (1, 1): "dense"},
    "full": ALL_PAIRS,
    "full+direct": ALL_PAIRS,
}


@pytest.mark.parametrize("feedback", WORDS)
def test_words(feedback: str) -> None:
    assert kinds(feedback) == WORDS[feedback]


@pytest.mark.parametrize("feedback", WORDS)
def test_words_with_an_output_layer(feedback: str) -> None:
    wanted = dict(WORDS[feedback])
    if "indirect" in feedback or "full" in feedback:
        wanted |= {(0, 2): "dense", (1, 2): "dense"}
    if "full" in feedback:
        wanted |= {(2, 0): "dense", (2, 1): "dense", (2, 2): "dense"}
    assert kinds(feedback, output_size=3) == wanted


def test_the_default_is_direct_and_lateral() -> None:
    assert Wiring.build(4, [LSTM(3)]) == Wiring.build(4, [LSTM(3)], "direct+lateral")


@pytest.mark.parametrize("feedback", WORDS)
def test_only_none_carries_no_state(feedback: str) -> None:
    assert carrying(feedback) == [feedback != "none"] * 2
    # the output layer has no state of its own to carry
    assert carrying(feedback, output_size=1) == [*[feedback != "none"] * 2, False]


@pytest.mark.parametrize(
    ("feedback", "wanted"),
    [
        (["direct", "lateral"], {(0, 0): "diagonal", (1, 1): "off_diagonal"}),
        (["none", "direct+lateral"], {(1, 1): "dense"}),
        (["indirect", "direct"], {(0, 1): "dense", (0, 2): "dense", (1, 1): "diagonal"}),
        (["full", "none"], {(0, 0): "dense", (0, 1): "dense", (0, 2): "dense"}),
        (["none", "none", "full"], {(2, 0): "dense", (2, 1): "dense", (2, 2): "dense"}),
        (["none", "none", "direct"], {(2, 2): "diagonal"}),
        (("none", "none", "direct+lateral"), {(2, 2): "dense"}),
    ],
)
def test_one_entry_a_layer(feedback: list[str], wanted: Kinds) -> None:
    assert kinds(feedback, output_size=3) == wanted


def test_carrying_follows_the_entry_of_the_layer() -> None:
    assert carrying(["none", "direct"]) == [False, True]


BLOCKS = {(0, 1): [[1, 0], [1, 1], [0, 0]], (1, 1): [[1, 0], [0, 1]]}
LAYER_0 = slice(0, 3)
LAYER_1 = slice(3, 5)


def neurons(size: int) -> NDArray[np.bool_]:
    adjacency = np.zeros((size, size), dtype=bool)
    adjacency[LAYER_0, LAYER_1] = BLOCKS[0, 1]
    adjacency[LAYER_1, LAYER_1] = BLOCKS[1, 1]
    return adjacency


@pytest.mark.parametrize("output_size", [None, 1])
def test_adjacency_over_neurons(output_size: int | None) -> None:
    wiring = Wiring.build(4, LSTM_AND_GRU, neurons(5), output_size)
    first, second = wiring.edges
    assert (first.target, first.source, first.kind) == (0, 1, "masked")
    assert (second.target, second.source, second.kind) == (1, 1, "diagonal")
    assert np.array_equal(first.mask, BLOCKS[0, 1])
    assert np.array_equal(second.mask, BLOCKS[1, 1])


def test_adjacency_over_neurons_with_those_of_the_output_layer() -> None:
    adjacency = neurons(6)
    adjacency[0, 5] = True  # [target, source]: the output feeds the first neuron
    wiring = Wiring.build(4, LSTM_AND_GRU, adjacency, output_size=1)
    assert np.array_equal(wiring.edges_into(0)[1].mask, [[1], [0], [0]])
    assert [edge.source for edge in wiring.edges_into(2)] == []


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("output_size", [None, 3])
def test_adjacency_over_layers(output_size: int | None, as_list: bool) -> None:
    adjacency = np.array([[False, True], [False, True]])
    feedback = adjacency.tolist() if as_list else adjacency
    assert kinds(feedback, output_size) == {(0, 1): "dense", (1, 1): "dense"}


def test_adjacency_over_layers_with_the_output_layer() -> None:
    adjacency = [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert kinds(adjacency, output_size=3) == {(0, 2): "dense", (2, 0): "dense"}
    assert carrying(adjacency, output_size=3) == [True, False, False]


def test_an_adjacency_without_connections_is_none() -> None:
    nothing = np.zeros((5, 5), dtype=bool)
    assert Wiring.build(4, LSTM_AND_GRU, nothing) == Wiring.build(4, LSTM_AND_GRU, "none")


def test_words_and_adjacencies_of_the_same_meaning_are_equal() -> None:
    everything = np.ones((6, 6), dtype=bool)
    for adjacency in (everything, np.ones((3, 3), dtype=bool)):
        assert Wiring.build(4, LSTM_AND_GRU, adjacency, 1) == Wiring.build(
            4, LSTM_AND_GRU, "full", 1
        )


def test_an_adjacency_that_means_the_same_over_layers_and_neurons_is_not_ambiguous() -> None:
    wiring = Wiring.build(1, [RNN(1), RNN(1)], np.eye(2, dtype=bool))
    assert [(edge.target, edge.source) for edge in wiring.edges] == [(0, 0), (1, 1)]


def test_a_layer_of_one_neuron_has_no_lateral_feedback() -> None:
    wiring = Wiring.build(1, [RNN(1)], "lateral")
    assert wiring.edges == ()
    assert wiring.layers[0].carries_state


@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.data())
def test_a_mask_survives_its_packing(
    rows: int, columns: int, same: bool, data: st.DataObject
) -> None:
    columns = rows if same else columns
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    mask = np.array(bits).reshape(rows, columns)
    edge = Edge.from_mask(0, 0 if same else 1, mask)
    if edge is None:
        assert not mask.any()
    else:
        assert np.array_equal(edge.mask, mask)


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown word": ({"feedback": "directs"}, "'directs' is none of none, direct, lateral"),
    "unknown word in a sum": ({"feedback": "direct+"}, "'' is none of"),
    "unknown word of a layer": ({"feedback": ["direct", "x"]}, "'x' is none of"),
    "none and another": ({"feedback": "none+direct"}, "none cannot be added"),
    "too few entries": ({"feedback": ["direct"]}, "1 entries, expected one for each of 2 layers$"),
    "no entries": ({"feedback": []}, "0 entries"),
    "too many entries": (
        {"feedback": ["direct"] * 4, "output_size": 1},
        "4 entries, expected one for each of 2 layers or one more for the output layer",
    ),
    "no feedback": ({"feedback": None}, "an adjacency is boolean"),
    "numbers": ({"feedback": np.full((2, 2), 0.5)}, "an adjacency is boolean"),
    "rows of words": ({"feedback": [["direct"], ["lateral"]]}, "an adjacency is boolean"),
    "not square": ({"feedback": np.ones((2, 3), bool)}, r"shape \(2, 3\), expected a square"),
    "one axis": ({"feedback": np.ones(5, bool)}, r"shape \(5,\), expected a square"),
    "uneven rows": ({"feedback": [[True, False], [True]]}, "rows differ in length"),
    "size of nothing": (
        {"feedback": np.ones((4, 4), bool)},
        r"shape \(4, 4\), expected one row and column for each of 2 layers or each of 5 neurons",
    ),
    "ambiguous": (
        {"layers": [LSTM(2), LSTM(1)], "feedback": np.eye(3, dtype=bool), "output_size": 1},
        "could be over layers or over neurons here; give it over all 4 neurons",
    ),
    "no layers": ({"layers": []}, "at least one layer"),
    "input_size": ({"input_size": 0}, "input_size is 0"),
    "fractional input_size": ({"input_size": 2.0}, "input_size is 2.0"),
    "hidden_size": (
        {"layers": [LSTM(3), GRU(0)]},
        r"hidden_size of GRU\(hidden_size=0, layer_norm=False\) is 0",
    ),
    "fractional hidden_size": ({"layers": [GRU(1.5)]}, "is 1.5: it must be an integer"),  # type: ignore[arg-type]
    "output_size": ({"output_size": 0}, "output_size is 0"),
    "nothing to share": ({"layers": [LSTM(3), GRU(3)], "share_layers": True}, "share_layers"),
    "one layer to share": ({"layers": [LSTM(3)], "share_layers": True}, "share_layers"),
    "bidirectional, indirect": ({"feedback": "indirect", "bidirectional": True}, "bidirectional"),
    "bidirectional, full": (
        {"layers": [RNN(3)], "feedback": "full", "output_size": 1, "bidirectional": True},
        "bidirectional",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_built(name: str) -> None:
    changes, message = ERRORS[name]
    arguments: dict[str, Any] = {"input_size": 4, "layers": LSTM_AND_GRU} | changes
    with pytest.raises(WiringError, match=message):
        Wiring.build(**arguments)


def test_an_unknown_nonlinearity() -> None:
    with pytest.raises(WiringError, match="nonlinearity is 'sigmoid'"):
        RNN(3, "sigmoid")  # type: ignore[arg-type]


def test_any_integer_is_a_size() -> None:
    wiring = Wiring.build(np.int64(4), [LSTM(np.int64(3))], "full", np.int64(2))  # type: ignore[arg-type]
    assert Wiring.from_dict(json.loads(json.dumps(wiring.to_dict()))) == wiring


STACKS: list[list[Cell]] = [
    [LSTM(3)],
    [GRU(2), GRU(2), GRU(2)],
    [LSTM(3), RNN(2, "relu"), GRU(1)],
]
FEEDBACKS = ["none", "direct", "lateral", "direct+lateral", "indirect", "direct+indirect", "full"]


@st.composite
def wirings(draw: st.DrawFn) -> Wiring:
    cells = draw(st.sampled_from(STACKS))
    output_size = draw(st.sampled_from([None, 1, 3]))
    neurons = sum(cell.hidden_size for cell in cells) + (output_size or 0)
    words = st.sampled_from(FEEDBACKS)
    bits = st.lists(st.booleans(), min_size=neurons**2, max_size=neurons**2)
    adjacency = bits.map(lambda drawn: np.array(drawn).reshape(neurons, neurons))
    a_word_each = st.lists(words, min_size=len(cells), max_size=len(cells))
    feedback = draw(st.one_of(words, a_word_each, adjacency))
    flags = {"share_layers": draw(st.booleans()), "bidirectional": draw(st.booleans())}
    try:
        return Wiring.build(2, cells, feedback, output_size, **flags)
    except WiringError:  # these flags do not go with this feedback
        return Wiring.build(2, cells, feedback, output_size)


@given(wirings())
@settings(max_examples=60, deadline=None)
def test_parameters_are_those_of_the_module(wiring: Wiring) -> None:
    network = Network.from_wiring(wiring)
    found = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert found == wiring.parameters()
    assert list(found) == list(wiring.parameters())
    assert network.parameter_count == sum(p.numel() for p in network.parameters())
    for name, parameter in network.named_parameters(remove_duplicate=False):
        assert parameter is network.get_parameter(wiring.owner(name))


@given(wirings())
def test_to_dict_and_from_dict(wiring: Wiring) -> None:
    text = json.dumps(wiring.to_dict())
    read = Wiring.from_dict(json.loads(text))
    assert read == wiring
    assert json.dumps(read.to_dict()) == text


def test_a_shared_weight_is_counted_once() -> None:
    shared = Wiring.build(3, [RNN(3)] * 3, share_layers=True)
    assert shared.parameters() == Wiring.build(3, [RNN(3)]).parameters()
    assert shared.parameter_count() == 9 + 9 + 3 + 3
    assert shared.owner("layers.2.weight_hh.2") == "layers.0.weight_hh.0"


def test_only_weights_of_equal_shape_and_cell_are_shared() -> None:
    shared = Wiring.build(5, [RNN(3), RNN(3), GRU(3)], share_layers=True, output_size=3)
    assert shared.owner("layers.1.weight_hh.1") == "layers.0.weight_hh.0"
    assert shared.owner("layers.1.weight_ih") == "layers.1.weight_ih"
    assert shared.owner("layers.2.weight_hh.2") == "layers.2.weight_hh.2"


def test_only_recurrences_with_the_same_mask_are_shared() -> None:
    adjacency = np.zeros((6, 6), dtype=bool)
    adjacency[:3, :3] = [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    adjacency[3:, 3:] = np.eye(3)  # as many connections
    wiring = Wiring.build(3, [RNN(3), RNN(3)], adjacency, share_layers=True)
    assert wiring.owner("layers.1.weight_hh.1") == "layers.1.weight_hh.1"
    adjacency[3:, 3:] = adjacency[:3, :3].T
    wiring = Wiring.build(3, [RNN(3), RNN(3)], adjacency, share_layers=True)
    assert wiring.owner("layers.1.weight_hh.1") == "layers.1.weight_hh.1"
    adjacency[3:, 3:] = adjacency[:3, :3]
    wiring = Wiring.build(3, [RNN(3), RNN(3)], adjacency, share_layers=True)
    assert wiring.owner("layers.1.weight_hh.1") == "layers.0.weight_hh.0"


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside plain JSON values."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            inside += [(value, key), *places(value[key])]
    return inside


RUBBISH = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.floats(), st.text(max_size=4),
    st.just([]), st.just({}), st.lists(st.integers(0, 3), max_size=3), st.just(10**12),
)  # fmt: skip


@given(wirings(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_dict_is_refused(wiring: Wiring, data: st.DataObject) -> None:
    document = json.loads(json.dumps(wiring.to_dict()))
    container, key = data.draw(st.sampled_from(places(document)))
    if data.draw(st.booleans()):
        container[key] = data.draw(RUBBISH)
    else:
        del container[key]
    try:
        read = Wiring.from_dict(copy.deepcopy(document))
    except WiringError:
        return
    # by chance it may still be a wiring: then it is the one that the document says
    assert json.loads(json.dumps(read.to_dict())) == document
    assert read.parameter_count() > 0


@pytest.mark.parametrize("document", [None, [], {}, "wiring", 3, {"layers": 3}])
def test_what_is_no_dict_of_a_wiring_is_refused(document: Any) -> None:
    with pytest.raises(WiringError, match="not a wiring"):
        Wiring.from_dict(document)


DAMAGES: dict[str, tuple[list[Any], Any]] = {
    "a layer's width does not follow": (["layers", 1, "input_size"], 7),
    "a layer out of range": (["edges", 0, "target"], 3),
    "a layer counted from the end": (["edges", 0, "source"], -2),
    "an unknown kind": (["edges", 1, "kind"], "sparse"),
    "a diagonal between layers": (
        ["edges", 0],
        {"target": 0, "source": 1, "kind": "diagonal", "shape": [3, 2]},
    ),
    "a block of another shape": (["edges", 0, "shape"], [2, 3]),
    "a mask too short": (["edges", 0, "mask"], ""),
    "a mask with nothing in it": (["edges", 0, "mask"], "AA=="),
    "a mask with bits past its end": (["edges", 0, "mask"], "/w=="),
    "no base64": (["edges", 0, "mask"], "*"),
    "a flag that is none": (["bidirectional"], 1),
    "feedback into a layer without memory": (["layers", 0, "carries_state"], False),
    "an output layer that is none": (["has_output"], "no"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damages(name: str) -> None:
    path, value = DAMAGES[name]
    document = json.loads(json.dumps(Wiring.build(4, LSTM_AND_GRU, neurons(5)).to_dict()))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(WiringError, match="not a wiring"):
        Wiring.from_dict(document)


def test_an_edge_named_twice_is_refused() -> None:
    document = Wiring.build(4, LSTM_AND_GRU).to_dict()
    document["edges"].append(document["edges"][0])
    with pytest.raises(WiringError, match="out of order"):
        Wiring.from_dict(document)


def test_a_layer_that_is_no_cell_is_refused() -> None:
    with pytest.raises(WiringError, match=r"layers has 8: give cells such as LSTM\(64\)"):
        Wiring.build(3, [8])  # type: ignore[list-item]
