"""Every result beside what it must beat: tags of several models, by the stretches they mark."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from noria.features.tags import read_spans
from noria.training.class_scores import confusion
from noria.training.verdict import verdict

__all__ = [
    "Found",
    "TagComparison",
    "TagScore",
    "TagsFound",
    "TypeScore",
    "compared",
    "judge",
    "score_types",
    "word_accuracy",
]

Tags = Sequence[Sequence[str]]
"""Of each sentence a tag a word."""


@dataclasses.dataclass(frozen=True)
class Found:
    """How many stretches were right, of how many.

    Attributes:
        right: Found where one is, from its first word to its last, and of its type.
        found: Found in all.
        actual: There are.
    """

    right: int
    found: int
    actual: int

    @property
    def precision(self) -> float:
        """Share of what was found that is right; 0 if nothing was found."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of what there is that was found; 0 if there is nothing."""
        return self.right / self.actual if self.actual else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 1 where there is nothing and nothing was found."""
        together = self.found + self.actual
        return 2 * self.right / together if together else 1.0


@dataclasses.dataclass(frozen=True)
class TypeScore:
    """One type of stretches.

    Attributes:
        name: Of the type; "" where stretches have none.
        actual: Stretches of it that there are.
        precision: As of `Found`.
        recall: As of `Found`.
        f1: As of `Found`.
    """

    name: str
    actual: int
    precision: float
    recall: float
    f1: float


@dataclasses.dataclass(frozen=True)
class TagsFound:
    """What one model says of the sentences.

    Attributes:
        model: Its name in the table.
        tags: What it says.
        parameters: Number of fitted weights; None where that says nothing.
        seconds: Time to fit and predict.
    """

    model: str
    tags: Tags
    parameters: int | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class TagScore:
    """One line of the table.

    Attributes:
        model: Name.
        f1: Of the stretches, all types together, 0 to 1; None where tags mark none.
        precision: Likewise.
        recall: Likewise.
        accuracy: Share of the words whose tag is right, 0 to 1.
        parameters: Number of fitted weights, or None.
        seconds: Time to fit and predict.
    """

    model: str
    f1: float | None
    precision: float | None
    recall: float | None
    accuracy: float
    parameters: int | None
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The figures alone, by lower-case name; those that do not apply are left out."""
        names = ("f1", "precision", "recall", "accuracy")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class TagComparison:
    """Several models on the same sentences; the first is the one in question.

    Attributes:
        scores: One a model.
        sentences: Number of them.
        words: Number of them.
        types: How the first model does at each type of stretches; none where tags mark none.
        tags: The C tags.
        confusion: Words of each true tag (row) that the first model gave each tag, (C, C).
        notes: What a reader must know of how the table came about.
        remembers: Whether the one in question carries anything from step to step.
    """

    scores: tuple[TagScore, ...]
    sentences: int
    words: int
    types: tuple[TypeScore, ...]
    tags: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()
    remembers: bool = True

    def verdict(self) -> str:
        """In one sentence, whether memory pays on this data, by F1, or accuracy without it."""
        name = "accuracy" if self.scores[0].f1 is None else "f1"
        values = {score.model: float(getattr(score, name)) for score in self.scores}
        metric = "F1" if name == "f1" else name
        return verdict(metric, values, lower_is_better=False, remembers=self.remembers)

    def noted(self, notes: Sequence[str]) -> TagComparison:
        """The same with further notes."""
        return dataclasses.replace(self, notes=(*self.notes, *notes))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        document = dataclasses.asdict(self)
        return {
            **document,
            "scores": list(document["scores"]),
            "types": list(document["types"]),
            "tags": list(self.tags),
            "confusion": [list(row) for row in self.confusion],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TagComparison:
        """Read what `to_dict` wrote."""
        lists = {
            "scores": tuple(TagScore(**line) for line in document["scores"]),
            "types": tuple(TypeScore(**line) for line in document["types"]),
            "tags": tuple(document["tags"]),
            "confusion": tuple(tuple(row) for row in document["confusion"]),
            "notes": tuple(document["notes"]),
        }
        return cls(**{**document, **lists})


def score_types(actual: Tags, found: Tags) -> dict[str, Found]:
    """How many stretches of each type were found, as conlleval counts.

    Args:
        actual: The right tags.
        found: What was found.

    Source: the program conlleval of the shared task of CoNLL-2000.

    >>> score_types([["B-NP", "I-NP", "O"]], [["B-NP", "O", "B-VP"]])
    {'NP': Found(right=0, found=1, actual=1), 'VP': Found(right=0, found=1, actual=0)}
    """
    counts: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    for one, other in zip(actual, found, strict=True):
        there, said = set(read_spans(one)), set(read_spans(other))
        for counter, spans in zip(counts, (there & said, said, there), strict=True):
            counter.update(kind for _, _, kind in spans)
    right, said_of, actual_of = counts
    return {
        kind: Found(right[kind], said_of[kind], actual_of[kind])
        for kind in sorted({*said_of, *actual_of})
    }


def word_accuracy(actual: Tags, found: Tags) -> float:
    """Share of the words whose tag is right.

    >>> word_accuracy([["NN", "VB"]], [["NN", "NN"]])
    0.5
    """
    words = sum(map(len, actual))
    pairs = zip(actual, found, strict=True)
    return sum(a == b for one, other in pairs for a, b in zip(one, other, strict=True)) / words


def all_types(parts: Mapping[str, Found]) -> Found:
    """All types together."""
    return Found(
        *(sum(getattr(p, n) for p in parts.values()) for n in ("right", "found", "actual"))
    )


def judge(actual: Tags, found: Tags, *, stretches: bool) -> float:
    """F1, or accuracy where tags mark no stretches."""
    return all_types(score_types(actual, found)).f1 if stretches else word_accuracy(actual, found)


def compared(
    found: Sequence[TagsFound], actual: Tags, *, stretches: bool, notes: Sequence[str] = ()
) -> TagComparison:
    """Score several models on the same sentences, the one in question first.

    Args:
        found: What each says.
        actual: The right tags.
        stretches: Whether tags mark stretches of words.
        notes: What a reader must know.
    """
    scores = []
    for part in found:
        figures: tuple[float | None, float | None, float | None] = (None, None, None)
        if stretches:
            together = all_types(score_types(actual, part.tags))
            figures = (together.f1, together.precision, together.recall)
        scores.append(
            TagScore(
                part.model,
                *figures,
                word_accuracy(actual, part.tags),
                part.parameters,
                part.seconds,
            )
        )
    first = found[0].tags
    parts = score_types(actual, first) if stretches else {}
    tags = sorted({tag for sentences in (actual, first) for tags in sentences for tag in tags})
    numbers = {tag: number for number, tag in enumerate(tags)}
    one, other = (
        np.array([numbers[tag] for tags in sentences for tag in tags])
        for sentences in (actual, first)
    )
    return TagComparison(
        tuple(scores),
        len(actual),
        len(one),
        tuple(
            TypeScore(kind, part.actual, part.precision, part.recall, part.f1)
            for kind, part in parts.items()
        ),
        tuple(tags),
        tuple(tuple(row) for row in confusion(one, other, len(tags)).tolist()),
        tuple(notes),
    )
