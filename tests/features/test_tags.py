from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.features.tags import (
    Span,
    detect_scheme,
    first_fault,
    legal_steps,
    read_spans,
    write_spans,
)

SCHEMES = ["iob1", "iob2", "iobes", "bilou"]


@st.composite
def marked(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """A sentence's length, and stretches in it."""
    spans, end = [], 0
    for gap, width, kind in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["X", "Y-Z"])))
    ):
        spans.append((end + gap, end + gap + width, kind))
        end += gap + width
    return end + draw(st.integers(1, 3)), spans


@given(marked(), st.sampled_from(SCHEMES))
def test_what_is_written_is_read_again(sentence: tuple[int, list[Span]], scheme: str) -> None:
    length, spans = sentence
    tags = write_spans(spans, length, scheme)
    assert len(tags) == length
    assert read_spans(tags) == spans
    assert first_fault([tags], scheme) is None


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("iob1", "I-X I-X B-X I-X O I-Y"),
        ("iob2", "B-X I-X B-X I-X O B-Y"),
        ("iobes", "B-X E-X B-X E-X O S-Y"),
        ("bilou", "B-X L-X B-X L-X O U-Y"),
    ],
)
def test_one_sentence_in_every_scheme(scheme: str, tags: str) -> None:
    assert write_spans([(0, 2, "X"), (2, 4, "X"), (5, 6, "Y")], 6, scheme) == tags.split()


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        # broken tags, as conlleval reads them
        ("O I-X I-X", [(1, 3, "X")]),
        ("B-X I-Y I-Y", [(0, 1, "X"), (1, 3, "Y")]),
        ("I-X B-X I-X", [(0, 1, "X"), (1, 3, "X")]),
        ("E-X E-X", [(0, 1, "X"), (1, 2, "X")]),
        ("S-X I-X O", [(0, 1, "X"), (1, 2, "X")]),
        ("B-X E-X I-X", [(0, 2, "X"), (2, 3, "X")]),
        ("B-X B-X O", [(0, 1, "X"), (1, 2, "X")]),
        ("B I O B", [(0, 2, ""), (3, 4, "")]),
    ],
)
def test_broken_tags_are_read_as_conlleval_reads_them(tags: str, spans: list[Span]) -> None:
    assert read_spans(tags.split()) == spans


def test_the_first_fault_is_told_with_what_it_should_be() -> None:
    good, bad = ["B-X", "I-X", "O"], ["O", "I-X", "I-X"]
    assert first_fault([good, bad], "iob2") == (1, 1, "B-X")
    assert first_fault([bad], "iob1") is None
    assert first_fault([["B-X", "O"]], "iobes") == (0, 0, "S-X")


def test_a_scheme_is_known_by_its_letters() -> None:
    assert detect_scheme(["B-X", "I-X", "O"]) == "iob2"
    assert detect_scheme(["S-X", "O"]) == "iobes"
    assert detect_scheme(["U-X", "L-X", "B-X"]) == "bilou"
    assert detect_scheme(["B", "I", "O"]) == "iob2"
    assert detect_scheme(["NN", "VB", "O"]) == "plain"
    assert detect_scheme(["B-X", "NP"]) is None
    assert detect_scheme(["U-X", "S-X"]) is None


def test_steps_are_legal_exactly_where_the_scheme_says() -> None:
    tags = ["B-X", "E-X", "I-X", "S-X", "B-Y", "E-Y", "O"]
    legal = legal_steps(tags)
    after = {
        name: {end for end, may in zip([*tags, "end"], row, strict=True) if may}
        for name, row in zip([*tags, "begin"], legal, strict=True)
    }
    outside = {"B-X", "S-X", "B-Y", "O"}
    assert after["begin"] == after["O"] - {"end"} | {"end"} == outside | {"end"}
    assert after["B-X"] == after["I-X"] == {"I-X", "E-X"}
    assert after["B-Y"] == {"E-Y"}
    assert after["E-X"] == after["S-X"] == after["E-Y"] == outside | {"end"}
    assert legal.dtype == np.bool_
