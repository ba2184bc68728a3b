"""Tagging: a tag for every word of a sentence, such as its part of speech or the name it is in.

Features: words, further columns such as the part of speech, and characters. Network: embeddings, a
small network that reads each word's characters, any recurrent wiring above them. Output: a
conditional random field over the chain of tags. Members: networks that each leave another fold of
the training sentences out; the mean of their scores is the answer. Metric: F1 of the stretches of
words that were marked, as conlleval counts. Rivals: a feed-forward network of as many weights that
sees five words at a time, with the same output; logistic regression on five words; the commonest
tag of a word.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from noria.errors import DataError
from noria.features.frames import frame_like
from noria.features.sentences import SentenceEncoder
from noria.features.tagged import TagColumns, TaggedWords, check_tags, read_tagged, scheme_of
from noria.features.vectors import read_vectors
from noria.feedback import Feedback, remembers
from noria.modules.tag import TagPlan
from noria.tasks.estimator import (
    check_at_least_one,
    check_at_least_zero,
    check_baselines,
    check_fitted,
    check_shares,
    check_training,
    reading,
    settings,
    write_parts,
)
from noria.training.members import MemberRecipe, member_checkpoints, nearest_size, repeated
from noria.training.sequences import split_folds
from noria.training.tag_baselines import PlainTaggers
from noria.training.tag_rivals import TAG_BASELINES, TagModels, TagNames
from noria.training.tag_scores import TagComparison, judge
from noria.training.tagging import TrainedTagger, train_tagger

__all__ = ["SequenceTagger"]

_DROPOUTS = ("dropout", "recurrent_dropout", "embedding_dropout", "word_dropout")
_FOLDS = 10
_FEWEST_STEPS, _EPOCHS = 300, 9
_WINDOW = 5
_EXHIBITS, _LOOKED_AT, _LONGEST_SHOWN = 8, 200, 40


class SequenceTagger(BaseEstimator):  # type: ignore[misc]
    """Tags the words of sentences with recurrent networks.

    Args:
        scheme: How tags mark stretches of words: "iob1", "iob2", "iobes", "bilou", or "plain" for
            a tag a word. None finds it out, and refuses tags that break its rules.
        vocabulary_size: Different words at the most.
        min_count: How often one must occur to be known.
        embedding_size: Numbers that stand for a word.
        vectors: File of word vectors to begin with, which set `embedding_size`; see
            `noria.features.vectors.read_vectors`.
        feature_size: Numbers that stand for a value of a further column.
        character_size: Neurons, in each direction, that read a word's characters; 0 for none.
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or another of `noria.cells`, as "slstm".
        hidden_size: Neurons of a layer, in each direction.
        num_layers: Layers.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        bidirectional: Read in both directions; for layers that feed only themselves.
        dropout: Probability of dropping a neuron's output on its way up.
        recurrent_dropout: Probability of dropping it on its way back.
        embedding_dropout: Probability of dropping a number of what stands for a word.
        word_dropout: Probability of taking a word for an unknown one; its characters stay.
        members: Networks whose mean is the answer; each leaves another fold out, 10 or more.
        batch_size: Sentences in a batch.
        steps: Training steps of a member at the most; None takes 9 rounds through the data, or 300
            if that is more.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations, 25 in all, without a better one before a member stops.
        baselines: What to compare with: "fnn", "most_frequent_tag", "logistic_regression".
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        tags_: The tags, sorted.
        scheme_: Their scheme.
        encoder_: Sentences to numbers.
        network_: The trained members.
        fnn_: The feed-forward rivals, or None.
        comparison_: The table on the test sentences, or else by cross-validation.
        columns_: Which column was what.

    >>> SequenceTagger(cell="gru").get_params()["cell"]
    'gru'
    """

    def __init__(
        self,
        *,
        scheme: str | None = None,
        vocabulary_size: int = 50_000,
        min_count: int = 1,
        embedding_size: int = 100,
        vectors: Path | str | None = None,
        feature_size: int = 32,
        character_size: int = 32,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        feedback: Feedback = "direct+lateral",
        bidirectional: bool = True,
        dropout: float = 0.5,
        recurrent_dropout: float = 0.0,
        embedding_dropout: float = 0.3,
        word_dropout: float = 0.1,
        members: int = 2,
        batch_size: int = 32,
        steps: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        patience: int = 8,
        baselines: Sequence[str] = TAG_BASELINES,
        checkpoint_every: int = 200,
        seed: int = 0,
    ) -> None:
        self.scheme = scheme
        self.vocabulary_size = vocabulary_size
        self.min_count = min_count
        self.embedding_size = embedding_size
        self.vectors = vectors
        self.feature_size = feature_size
        self.character_size = character_size
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.feedback = feedback
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.embedding_dropout = embedding_dropout
        self.word_dropout = word_dropout
        self.members = members
        self.batch_size = batch_size
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.baselines = baselines
        self.checkpoint_every = checkpoint_every
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        test: Any = None,
        word: int = 1,
        tag: int = -1,
        features: Sequence[int] = (),
        encoding: str = "utf-8",
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Train on tagged sentences, and compare with the rivals.

        Args:
            X: The path of a file in CoNLL's columns: a line a word, an empty line after each
                sentence. Or a list of sentences, each a list of words, or of tuples of a word and
                its features.
            y: Tags of a list, a list a sentence.
            test: Sentences to compare on, none of which is trained on: as X, or a pair (X, y). None
                compares by cross-validation.
            word: Column of the words, counted from 1, or from the end: −1 is the last.
            tag: Column of the tags.
            features: Further columns that help, such as the part of speech. Of a list, as many
                numbers as a tuple has features.
            encoding: Of files.
            checkpoint: Where to keep the states of the trainings, a file each whose name begins
                like this; None for none. They are left for the caller to delete.
            resume: Go on from the checkpoints, if there are any.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This tagger, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        self._check_arguments()
        self.columns_ = TagColumns(word, tag, tuple(features), encoding)
        data = read_tagged(X, y, self.columns_)
        assert data.tags is not None
        self.names_ = TagNames.of(scheme_of(data, self.scheme), data.tags)
        if len(self.tags_) < 2:
            raise DataError(f"{data.name}: all words have the tag {self.tags_[0]!r}")
        held_apart = None if test is None else self._read_test(test)
        self.encoder_ = SentenceEncoder.train(
            data, vocabulary_size=self.vocabulary_size, min_count=self.min_count
        )
        sequences = self.encoder_.encode(data)
        labels = self.names_.label_numbers(data.tags)
        vocabulary = ["", "", *self.encoder_.words.names]
        vectors = None if self.vectors is None else read_vectors(self.vectors, vocabulary)
        size = self.embedding_size if vectors is None else vectors[0].shape[1]
        count = max(_FOLDS, self.members)
        if len(data) < count:
            raise DataError(f"{data.name}: {len(data)} sentences are too few for {count} folds")
        folds = split_folds(np.zeros(len(data), np.int64), count, self.seed)
        self.trained_on_: dict[str, Any] = {
            "sentences": len(data),
            "words": sum(map(len, sequences)),
            "tags": len(self.tags_),
            "vocabulary": len(self.encoder_.words),
            "data_sha256": data.sha256(),
        }
        recipe = MemberRecipe.of(settings(self) | {"steps": self._steps(len(data))}, *_DROPOUTS)
        plan = self._plan(size)
        begins_with = vectors and hashlib.sha256(vectors[0].tobytes()).hexdigest()
        given = [self.trained_on_["data_sha256"], self.encoder_.to_dict(), begins_with]
        tags = data.tags

        def judged(found: Any, places: list[int]) -> float:
            right = [tags[place] for place in places]
            return judge(right, self.names_.of_labels(found), stretches=self.names_.stretches)

        def train(plan: TagPlan, title: str) -> TrainedTagger:
            return train_tagger(
                plan,
                sequences,
                labels,
                folds,
                recipe,
                judged,
                title=title,
                trained_on=repr(given),
                prepare=lambda m: None if vectors is None else m.embedding.begin_with(*vectors),
                checkpoint=checkpoint,
                resume=resume,
                log_dir=log_dir,
                progress=progress,
            )

        self.network_ = train(plan, "network")
        self.fnn_ = None
        if "fnn" in self.baselines:
            parameters = self.network_.modules[0].parameter_count
            size = nearest_size(lambda h: plan.feed_forward(h, _WINDOW), parameters)
            self.fnn_ = train(plan.feed_forward(size, _WINDOW), "fnn")
        numbers = self.names_.tag_numbers(tags)
        self.plain_ = PlainTaggers.fit(self.baselines, sequences, numbers, len(self.tags_))
        models = self._models()
        if held_apart is None:
            self.comparison_ = models.compare_out_of_fold(sequences, tags, folds)
            shown = [index for index in range(len(data)) if folds[index] == 0]
            self.exhibits_ = self._exhibits(data, shown)
        else:
            assert held_apart.tags is not None
            encoded = self.encoder_.encode(held_apart)
            self.comparison_ = models.compare(encoded, held_apart.tags)
            self.exhibits_ = self._exhibits(held_apart, range(len(held_apart)))
        others = None if held_apart is None else _whole(held_apart)
        notes = repeated(_whole(data), folds, self.members, others)
        self.comparison_ = self.comparison_.noted(notes)
        return self

    @property
    def tags_(self) -> tuple[str, ...]:
        """The tags, sorted."""
        return self.names_.tags

    @property
    def scheme_(self) -> str:
        """The scheme of the tags."""
        return self.names_.scheme

    def predict(self, X: Any) -> list[list[str]]:
        """The tag of every word, a list a sentence.

        Args:
            X: As in `fit`; tags in it are not looked at.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        return self.names_.of_labels(self.network_.tag(self.encoder_.encode(self._read(X))))

    def predict_frame(self, data: Any, *, encoding: str | None = None) -> Any:
        """The tag of every word, as a dataframe.

        Args:
            data: As in `fit`; tags in it are not looked at.
            encoding: Of a file; None takes that of the training's.

        Returns:
            Columns: `sentence`, counted from 1, `word`, `prediction`, and its `probability`, that
            of the word alone, over all chains of tags.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        read = self._read(data, encoding)
        tags, sure = self._tag(read)
        columns = {
            "sentence": [number for number, words in enumerate(read.words, 1) for _ in words],
            "word": [word for words in read.words for word in words],
            "prediction": [tag for sentence in tags for tag in sentence],
            "probability": np.concatenate(sure),
        }
        return frame_like(data, columns)

    def evaluate(self, X: Any, y: Any = None, *, encoding: str | None = None) -> TagComparison:
        """Compare with the rivals on tagged sentences; nothing is trained.

        Args:
            X: As in `fit`.
            y: Tags; None where X has them.
            encoding: Of a file; None takes that of the training's.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        data = self._read_test(X if y is None else (X, y), encoding)
        assert data.tags is not None
        return self._models().compare(self.encoder_.encode(data), data.tags)

    def checkpoints(self, checkpoint: Path) -> list[Path]:
        """The files that `fit` may have made for a checkpoint."""
        return member_checkpoints(checkpoint, self.members)

    def save(self, path: Path | str) -> None:
        """Write the model file.

        Raises:
            ResourceError: if the disk does not take it.
        """
        check_fitted(self)
        document = {
            "task": "tag",
            "wiring": self.network_.plan.wiring.to_dict(),
            "settings": settings(self) | {"vectors": self.vectors and str(self.vectors)},
            "columns": dataclasses.asdict(self.columns_),
            "names": dataclasses.asdict(self.names_),
            "encoder": self.encoder_.to_dict(),
            "trained_on": self.trained_on_,
            "comparison": self.comparison_.to_dict(),
            "exhibits": self.exhibits_,
        }
        plain = {f"plain.{name}": array for name, array in self.plain_.arrays.items()}
        write_parts(path, document, {"network": self.network_, "fnn": self.fnn_}, plain)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file that `save` wrote.

        Raises:
            ModelFileError: if it is missing, damaged, or of another task.
        """
        with reading(path, "tag") as file:
            document = file.document
            self = cls(**document["settings"])
            columns = document["columns"]
            self.columns_ = TagColumns(**{**columns, "features": tuple(columns["features"])})
            names = document["names"]
            self.names_ = TagNames(names["scheme"], tuple(names["tags"]), tuple(names["labels"]))
            self.encoder_ = SentenceEncoder.from_dict(document["encoder"])
            self.trained_on_ = document["trained_on"]
            self.comparison_ = TagComparison.from_dict(document["comparison"])
            self.exhibits_ = document["exhibits"]
            parts = {
                name: TrainedTagger.from_document(
                    TagPlan.from_dict(part["plan"]), part, file.part(name)
                )
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            self.plain_ = PlainTaggers(len(self.tags_), file.part("plain"))
        return self

    def _check_arguments(self) -> None:
        check_at_least_one(
            self,
            *("embedding_size", "feature_size", "hidden_size", "num_layers", "members"),
            *("vocabulary_size", "min_count"),
            *("batch_size", "steps", "patience", "checkpoint_every"),
        )
        check_training(self)
        check_baselines(self.baselines, TAG_BASELINES)
        check_shares(self, "embedding_dropout", "word_dropout")
        check_at_least_zero(self, "character_size")

    def _steps(self, sentences: int) -> int:
        return self.steps or max(_FEWEST_STEPS, _EPOCHS * -(-sentences // self.batch_size))

    def _plan(self, embedding_size: int) -> TagPlan:
        return TagPlan.build(
            self.names_.labels,
            len(self.encoder_.words),
            embedding_size,
            tuple(map(len, self.encoder_.features)),
            self.feature_size,
            len(self.encoder_.characters),
            self.character_size,
            self.cell,
            self.hidden_size,
            self.num_layers,
            self.feedback,
            stretches=self.names_.stretches,
            bidirectional=self.bidirectional,
        )

    def _models(self) -> TagModels:
        return TagModels(
            self.network_, self.fnn_, self.plain_, self.names_, remembers(self.feedback)
        )

    def _tag(self, data: TaggedWords) -> tuple[list[list[str]], list[NDArray[Any]]]:
        """The user's tags, and how likely each is."""
        numbers, sure = self.network_.tag_and_tell(self.encoder_.encode(data))
        return self.names_.of_labels(numbers), sure

    def _read(self, X: Any, encoding: str | None = None) -> TaggedWords:
        return read_tagged(X, None, self.columns_.encoded(encoding), tagged=False)

    def _read_test(self, test: Any, encoding: str | None = None) -> TaggedWords:
        X, y = test if isinstance(test, tuple) else (test, None)
        data = read_tagged(X, y, self.columns_.encoded(encoding))
        check_tags(data, self.scheme_)
        return data

    def _exhibits(self, data: TaggedWords, among: Sequence[int]) -> list[dict[str, Any]]:
        """A few of some held-out sentences for the report, with and without faults."""
        assert data.tags is not None
        read = data.take(among[:_LOOKED_AT])
        found, sure = self._tag(read)
        shown: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for words, tags, own, shares in zip(read.words, read.tags or (), found, sure, strict=True):
            exhibit = {"words": words, "actual": tags, "found": own, "probability": shares.tolist()}
            if len(words) <= _LONGEST_SHOWN:
                shown[tags == own].append(exhibit)
        return [*shown[False][: _EXHIBITS // 2], *shown[True][: _EXHIBITS // 2]]


def _whole(data: TaggedWords) -> list[tuple[str, ...]]:
    """The sentences, for telling which are alike."""
    return [tuple(words) for words in data.words]
