"""A tagger and its rivals on the same sentences."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from noria.features.tags import read_spans, write_spans
from noria.training.class_rivals import CROSS_VALIDATED
from noria.training.members import held_out
from noria.training.sequences import Sequences
from noria.training.tag_baselines import PLAIN_TAGGERS, PlainTaggers
from noria.training.tag_scores import TagComparison, TagsFound, compared
from noria.training.tagging import Labels, TrainedTagger

__all__ = ["TAG_BASELINES", "TagModels", "TagNames"]

TAG_BASELINES = ("fnn", *PLAIN_TAGGERS)


@dataclasses.dataclass(frozen=True)
class TagNames:
    """The tags that a user has, and those that networks learn: iobes where tags mark stretches.

    Attributes:
        scheme: Of the user's tags; see `noria.features.tags`.
        tags: The user's, sorted.
        labels: Those that networks learn, sorted: all four of a type, also those that no sentence
            has. Without them a stretch of another length than those seen could not be told, and a
            sentence of one word might have no chain that makes sense.
    """

    scheme: str
    tags: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, scheme: str, sentences: Sequence[Sequence[str]]) -> TagNames:
        """Of the tags of some sentences."""
        names = cls(scheme, tuple(sorted({tag for tags in sentences for tag in tags})), ())
        labels = {label for tags in sentences for label in names.to_labels(tags)}
        if names.stretches:
            kinds = {label[1:] for label in labels - {"O"}}
            labels |= {role + kind for role in "BIES" for kind in kinds}
        return cls(scheme, names.tags, tuple(sorted(labels)))

    @property
    def stretches(self) -> bool:
        """Whether tags mark stretches of words."""
        return self.scheme != "plain"

    def to_labels(self, tags: Sequence[str]) -> list[str]:
        """What networks learn of a sentence's tags."""
        return write_spans(read_spans(tags), len(tags), "iobes") if self.stretches else list(tags)

    def label_numbers(self, sentences: Sequence[Sequence[str]]) -> list[NDArray[np.int64]]:
        """The same as places in `labels`."""
        return [_numbers(self.labels, self.to_labels(tags)) for tags in sentences]

    def tag_numbers(self, sentences: Sequence[Sequence[str]]) -> list[NDArray[np.int64]]:
        """The user's tags as places in `tags`."""
        return [_numbers(self.tags, tags) for tags in sentences]

    def of_labels(self, sentences: Sequence[NDArray[np.int64]]) -> list[list[str]]:
        """The user's tags for places in `labels`."""
        found = [[self.labels[number] for number in numbers.tolist()] for numbers in sentences]
        if not self.stretches:
            return found
        return [write_spans(read_spans(tags), len(tags), self.scheme) for tags in found]

    def of_tags(self, sentences: Sequence[NDArray[np.int64]]) -> list[list[str]]:
        """The user's tags for places in `tags`."""
        return [[self.tags[number] for number in numbers.tolist()] for numbers in sentences]


def _numbers(names: Sequence[str], chosen: Sequence[str]) -> NDArray[np.int64]:
    places = {name: number for number, name in enumerate(names)}
    return np.array([places[name] for name in chosen], np.int64)


@dataclasses.dataclass(frozen=True)
class TagModels:
    """Everything that was fitted on the same training sentences.

    Attributes:
        network: The networks in question.
        fnn: The feed-forward rivals, or None.
        plain: The plain baselines.
        names: The tags.
        remembers: Whether the networks in question carry anything from step to step.
    """

    network: TrainedTagger
    fnn: TrainedTagger | None
    plain: PlainTaggers
    names: TagNames
    remembers: bool = True

    def compare(self, sequences: Sequences, tags: Sequence[Sequence[str]]) -> TagComparison:
        """Score all of them on sentences that none has seen.

        Args:
            sequences: As the networks take them, N.
            tags: The right ones, as the user has them.
        """
        found = self._found(
            lambda model: model.tag(sequences), lambda name: self.plain.tag(name, sequences)
        )
        judged = compared(found, tags, stretches=self.names.stretches)
        return dataclasses.replace(judged, remembers=self.remembers)

    def compare_out_of_fold(
        self, sequences: Sequences, tags: Sequence[Sequence[str]], folds: NDArray[np.int64]
    ) -> TagComparison:
        """Score all of them by cross-validation on the training sentences themselves.

        Args:
            sequences: Those of training, N.
            tags: The right ones, as the user has them.
            folds: Fold of each, shape (N,).
        """
        members = len(self.network.modules)
        labels = self.names.tag_numbers(tags)

        def by_network(model: TrainedTagger) -> Labels:
            return held_out(folds, members, lambda m, own: model.out_of_fold(sequences, m, own))

        def by_baseline(name: str) -> Labels:
            def ask(fold: int, own: list[int]) -> Labels:
                rest = np.flatnonzero(folds != fold).tolist()
                known = [sequences[i] for i in rest], [labels[i] for i in rest]
                fitted = PlainTaggers.fit([name], *known, len(self.names.tags))
                return fitted.tag(name, [sequences[i] for i in own])

            return held_out(folds, members, ask)

        right = [tags[i] for i in np.flatnonzero((folds >= 0) & (folds < members)).tolist()]
        found = self._found(by_network, by_baseline)
        judged = compared(found, right, stretches=self.names.stretches, notes=[CROSS_VALIDATED])
        return dataclasses.replace(judged, remembers=self.remembers)

    def _found(
        self, by_network: Callable[[TrainedTagger], Labels], by_baseline: Callable[[str], Labels]
    ) -> list[TagsFound]:
        """What each model says, and how long it takes."""
        found = []
        for name, model in [("network", self.network), ("fnn", self.fnn)]:
            if model is not None:
                started = time.monotonic()
                tags = self.names.of_labels(by_network(model))
                seconds = model.seconds + time.monotonic() - started
                found.append(TagsFound(name, tags, model.parameter_count, seconds))
        for name in self.plain.names:
            started = time.monotonic()
            tags = self.names.of_tags(by_baseline(name))
            found.append(TagsFound(name, tags, None, time.monotonic() - started))
        return found
