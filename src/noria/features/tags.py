"""Tags that mark stretches of words: their schemes, what they mark, and one scheme into another.

| scheme | a stretch of one word | of three | beside another of its type |
|---|---|---|---|
| iob1 | I | I I I | B begins the second one |
| iob2 | B | B I I | B begins each |
| iobes | S | B I E | |
| bilou | U | B I L | |
| plain | | | a tag a word, no stretches: parts of speech |

O marks a word outside. A type follows after a hyphen, as in B-NP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SCHEMES",
    "Scheme",
    "Span",
    "detect_scheme",
    "first_fault",
    "legal_steps",
    "marks",
    "read_spans",
    "write_spans",
]

Scheme = Literal["iob1", "iob2", "iobes", "bilou", "plain"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

Span = tuple[int, int, str]
"""First word, one past the last word, type."""

_TAG = re.compile(r"O|[BIESLU](-.+)?")
_LETTERS = {  # of a stretch's first word, its last, and its only one
    "iob1": ("I", "I", "I"),
    "iob2": ("B", "I", "B"),
    "iobes": ("B", "E", "S"),
    "bilou": ("B", "L", "U"),
}
_ROLES = {"L": "E", "U": "S"}  # of bilou, by the names of iobes


def marks(tag: str) -> bool:
    """Whether a tag could be one of a scheme that marks stretches."""
    return _TAG.fullmatch(tag) is not None


def _parts(tag: str) -> tuple[str, str]:
    """Role, by the names of iobes, and type."""
    return _ROLES.get(tag[0], tag[0]), tag[2:]


def read_spans(tags: Sequence[str]) -> list[Span]:
    """The stretches that tags mark, in any scheme but plain.

    Tags that break their scheme's rules are read as the program conlleval reads them: a word
    belongs to the stretch before it unless its tag, the tag before or a change of type says that
    something ends or begins.

    Args:
        tags: Of one sentence.

    Source: Tjong Kim Sang & Buchholz 2000.

    >>> read_spans(["B-NP", "I-NP", "O", "I-VP", "B-VP"])
    [(0, 2, 'NP'), (3, 4, 'VP'), (4, 5, 'VP')]
    """
    spans: list[Span] = []
    begin, role, kind = 0, "O", ""
    for index, tag in enumerate([*tags, "O"]):
        new_role, new_kind = _parts(tag)
        changed = role != "O" and new_role != "O" and kind != new_kind
        ends = role in "ES" or new_role in "BSO" or changed
        if role != "O" and ends:
            spans.append((begin, index, kind))
        if new_role != "O" and (role == "O" or ends):
            begin = index
        role, kind = new_role, new_kind
    return spans


def write_spans(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """Tags that mark stretches.

    Args:
        spans: In their order, none over another.
        length: Words of the sentence.
        scheme: One of `SCHEMES` but plain.

    >>> write_spans([(0, 2, "NP"), (2, 3, "NP")], 4, "iobes")
    ['B-NP', 'E-NP', 'S-NP', 'O']
    >>> write_spans([(0, 2, "NP"), (2, 3, "NP")], 4, "iob1")
    ['I-NP', 'I-NP', 'B-NP', 'O']
    """
    first, last, single = _LETTERS[scheme]
    tags = ["O"] * length
    before: tuple[int, str] | None = None
    for begin, end, kind in spans:
        roles = ["I"] * (end - begin)
        roles[0], roles[-1] = first, last
        if len(roles) == 1:
            roles = [single]
        if scheme == "iob1" and before == (begin, kind):
            roles[0] = "B"
        suffix = f"-{kind}" if kind else ""
        tags[begin:end] = [role + suffix for role in roles]
        before = (end, kind)
    return tags


def first_fault(sentences: Sequence[Sequence[str]], scheme: str) -> tuple[int, int, str] | None:
    """The first tag that breaks its scheme's rules: sentence, word, and what it should be.

    Args:
        sentences: Tags of each sentence.
        scheme: One of `SCHEMES` but plain.
    """
    for number, tags in enumerate(sentences):
        expected = write_spans(read_spans(tags), len(tags), scheme)
        for word, (tag, should) in enumerate(zip(tags, expected, strict=True)):
            if tag != should:
                return number, word, should
    return None


def detect_scheme(tags: Iterable[str]) -> Scheme | None:
    """The scheme of a set of tags by the letters it uses; whether they obey it is another thing.

    Of iob1 and iob2, which have the same letters, iob2 is told.

    Returns:
        None where some tags mark stretches and others cannot.

    >>> detect_scheme(["B-NP", "O"]), detect_scheme(["U-NP", "O"]), detect_scheme(["NN", "VB"])
    ('iob2', 'bilou', 'plain')
    """
    known = set(tags)
    marking = {tag for tag in known if marks(tag)}
    if not any("-" in tag for tag in marking) and marking != known:
        return "plain"
    if marking != known:
        return None
    roles = {tag[0] for tag in known}
    if roles == {"O"}:
        return "plain"
    if roles & set("LU"):
        return None if roles & set("ES") else "bilou"
    return "iobes" if roles & set("ES") else "iob2"


def legal_steps(tags: Sequence[str]) -> NDArray[np.bool_]:
    """Which tag of the scheme iobes may follow which, shape (C + 1, C + 1).

    Args:
        tags: C.

    Returns:
        Row: the tag before, the last one for the sentence's beginning. Column: the tag, the last
        one for its end.
    """
    parts = [*map(_parts, tags), ("O", "")]
    legal = np.zeros((len(parts), len(parts)), dtype=bool)
    for row, (role, kind) in enumerate(parts):
        for column, (new_role, new_kind) in enumerate(parts):
            within = role in "BI"
            goes_on = new_role in "IE"
            legal[row, column] = within == goes_on and (not within or kind == new_kind)
    return legal
