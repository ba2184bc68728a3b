"""Classification of texts: sentiment, topic, language, any class that a text can have.

Features: words and their character n-grams. Network: embeddings, any recurrent wiring above them,
pooled over the words. Loss: cross entropy, or one for each class where a text may have several.
Members: a few networks, each validated on a fold of the training texts that it does not learn from.
Rivals: a feed-forward network of as many weights that sees three words at a time, and tf-idf of
words and pairs with logistic regression.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from noria.errors import DataError, UsageError
from noria.features.frames import frame_like
from noria.features.labelled_text import (
    LabelledTexts,
    TextColumns,
    classes_of,
    indicator,
    read_texts,
)
from noria.features.tokens import TOKENS
from noria.features.vectors import read_vectors
from noria.features.words import TextEncoder
from noria.feedback import Feedback, remembers
from noria.modules.pooling import POOLINGS
from noria.modules.text import TextPlan
from noria.tasks.estimator import (
    check_at_least_one,
    check_at_least_zero,
    check_baselines,
    check_choice,
    check_class_weight,
    check_fitted,
    check_shares,
    check_training,
    reading,
    settings,
    write_parts,
)
from noria.training.class_rivals import ClassModels
from noria.training.class_scores import ClassComparison, decided
from noria.training.classifying import ClassifyRecipe, TrainedClassifier, train_classifier
from noria.training.explaining import chosen_exhibits, deciding_words, explained
from noria.training.members import member_checkpoints, nearest_size, repeated
from noria.training.sequences import class_weights, split_folds
from noria.training.text_baselines import BagOfWords

__all__ = ["TextClassifier"]

_BASELINES = ("fnn", "tfidf_logistic_regression")
_DROPOUTS = ("dropout", "recurrent_dropout", "embedding_dropout", "word_dropout")
_FOLDS = 10
_FEWEST_STEPS, _EPOCHS = 300, 6
_WINDOW = 3
_EXHIBITS = 6


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classes texts with recurrent networks.

    Args:
        tokens: What the network reads one after another: "word", "space" for text whose words
            already stand between blanks, "bpe", "unigram", "character" or "byte".
        vocabulary_size: Different ones at the most.
        min_count: How often one must occur to be known.
        lower_case: Take capitals for small letters.
        buckets: Into which the character n-grams of words are hashed; 0 for none.
        max_length: Words of a text at the most; what comes after is not looked at.
        embedding_size: Numbers that stand for a word.
        vectors: File of word vectors to begin with, which set `embedding_size`; see
            `noria.features.vectors.read_vectors`.
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or another of `noria.cells`, as "slstm".
        hidden_size: Neurons of a layer, in each direction.
        num_layers: Layers.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        bidirectional: Read in both directions; for layers that feed only themselves.
        pooling: "last" state, "mean_max" over the words, or "attention".
        dropout: Probability of dropping a neuron's output on its way up.
        recurrent_dropout: Probability of dropping it on its way back.
        embedding_dropout: Probability of dropping a number of a word's vector.
        word_dropout: Probability of taking a word for an unknown one.
        label_smoothing: Share of the target's probability that all classes get alike.
        class_weight: "balanced" makes rare classes count as much as common ones; None counts texts.
        members: Networks whose mean is the answer; each leaves another fold out, 10 or more.
        batch_size: Texts in a batch.
        steps: Training steps of a member at the most; None takes 6 rounds through the data, or 300
            if that is more.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations, 25 in all, without a better one before a member stops.
        baselines: What to compare with: "fnn", "tfidf_logistic_regression".
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        classes_: The classes, sorted, shape (C,).
        multi_label_: Whether a text may have several classes, or none.
        encoder_: Words to numbers.
        network_: The trained members.
        fnn_: The feed-forward rivals, or None.
        comparison_: The table on the test texts, or else by cross-validation.
        columns_: Which column was what; for tables.

    >>> TextClassifier(cell="lstm").get_params()["cell"]
    'lstm'
    """

    def __init__(
        self,
        *,
        tokens: str = "word",
        vocabulary_size: int = 30_000,
        min_count: int = 1,
        lower_case: bool = True,
        buckets: int = 20_000,
        max_length: int = 400,
        embedding_size: int = 100,
        vectors: Path | str | None = None,
        cell: str = "gru",
        hidden_size: int = 64,
        num_layers: int = 1,
        feedback: Feedback = "direct+lateral",
        bidirectional: bool = True,
        pooling: str = "mean_max",
        dropout: float = 0.5,
        recurrent_dropout: float = 0.0,
        embedding_dropout: float = 0.2,
        word_dropout: float = 0.05,
        label_smoothing: float = 0.0,
        class_weight: str | None = None,
        members: int = 3,
        batch_size: int = 50,
        steps: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        patience: int = 8,
        baselines: Sequence[str] = _BASELINES,
        checkpoint_every: int = 200,
        seed: int = 0,
    ) -> None:
        self.tokens = tokens
        self.vocabulary_size = vocabulary_size
        self.min_count = min_count
        self.lower_case = lower_case
        self.buckets = buckets
        self.max_length = max_length
        self.embedding_size = embedding_size
        self.vectors = vectors
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.feedback = feedback
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.embedding_dropout = embedding_dropout
        self.word_dropout = word_dropout
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
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
        text: str = "text",
        label: str = "label",
        label_separator: str | None = None,
        encoding: str = "utf-8",
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Train on labelled texts, and compare with the rivals.

        Args:
            X: A list of texts; or the path of a .csv, .tsv, .jsonl or .parquet file, or a
                dataframe, a text in each row.
            y: Labels, N; or a collection of labels for each text, where it may have several or
                none. None where X has them.
            test: Texts to compare on, none of which is trained on: as X, or a pair (X, y). None
                compares by cross-validation.
            text: A table's column of texts.
            label: Its column of labels.
            label_separator: What stands between several labels of a text; None where each has one.
            encoding: Of files of text.
            checkpoint: Where to keep the states of the trainings, a file each whose name begins
                like this; None for none. They are left for the caller to delete.
            resume: Go on from the checkpoints, if there are any.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This classifier, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        self._check_arguments()
        self.columns_ = TextColumns(text, label, label_separator, encoding)
        data = read_texts(X, y, self.columns_)
        self.multi_label_ = not isinstance(data.labels, np.ndarray)
        self.classes_ = classes_of(data)
        labels = indicator(data, self.classes_.tolist())
        held_apart = None if test is None else self._read_test(test)
        self.encoder_ = TextEncoder.train(
            data.texts,
            self.tokens,
            vocabulary_size=self.vocabulary_size,
            min_count=self.min_count,
            lower_case=self.lower_case,
            buckets=self.buckets,
            max_length=self.max_length,
        )
        sequences = self.encoder_.encode(data.texts)
        vocabulary = self.encoder_.tokenizer.vocabulary
        vectors = None if self.vectors is None else read_vectors(self.vectors, vocabulary)
        count = max(_FOLDS, self.members)
        folds = split_folds(labels, count, self.seed)
        if not all((folds == fold).any() for fold in range(self.members)):
            raise DataError(f"{data.name}: {len(data)} texts are too few for {count} folds")
        self.trained_on_: dict[str, Any] = {
            "texts": len(data),
            "classes": len(self.classes_),
            "words": sum(map(len, sequences)),
            "vocabulary": len(vocabulary),
            "data_sha256": data.sha256(),
        }
        plan = TextPlan.build(
            len(self.classes_),
            len(vocabulary),
            self.embedding_size if vectors is None else vectors[0].shape[1],
            self.encoder_.buckets,
            self.cell,
            self.hidden_size,
            self.num_layers,
            self.feedback,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            multi_label=self.multi_label_,
        )
        steps = self.steps or max(_FEWEST_STEPS, _EPOCHS * -(-len(data) // self.batch_size))
        recipe = ClassifyRecipe.of(settings(self) | {"steps": steps, "by_length": True}, *_DROPOUTS)
        weights = class_weights(labels) if self.class_weight == "balanced" else None
        begins_with = vectors and hashlib.sha256(vectors[0].tobytes()).hexdigest()
        given = [self.trained_on_["data_sha256"], self.encoder_.to_dict(), begins_with]

        def train(plan: TextPlan, title: str) -> TrainedClassifier:
            return train_classifier(
                plan,
                sequences,
                labels,
                folds,
                recipe,
                title=title,
                class_weights=weights,
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
        self.plain_ = (
            BagOfWords.fit(sequences, labels, len(self.classes_))
            if "tfidf_logistic_regression" in self.baselines
            else BagOfWords(self.multi_label_, {})
        )
        models = self._models()
        if held_apart is None:
            self.comparison_ = models.compare_out_of_fold(
                sequences, labels, folds, self._class_names()
            )
            shown = [index for index in range(len(data)) if folds[index] == 0]
            self.exhibits_ = self._exhibits([data.texts[i] for i in shown], labels[shown])
        else:
            texts, actual = held_apart
            encoded = self.encoder_.encode(texts.texts)
            self.comparison_ = models.compare(encoded, actual, self._class_names())
            self.exhibits_ = self._exhibits(texts.texts, actual)
        others = None if held_apart is None else _plainly(held_apart[0])
        notes = repeated(_plainly(data), folds, self.members, others)
        self.comparison_ = self.comparison_.noted(notes)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each text, shape (N,); or which classes it has, boolean, (N, C).

        Args:
            X: As in `fit`; labels in it are not looked at.

        Raises:
            DataError: if the data is not what it should be.
        """
        found = decided(self.predict_proba(X), multi_label=self.multi_label_)
        return found if self.multi_label_ else np.asarray(self.classes_[found])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each of `classes_`, shape (N, C).

        Args:
            X: As in `fit`; labels in it are not looked at.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        return self.network_.probabilities(self.encoder_.encode(self._read(X).texts))

    def predict_frame(
        self, data: Any, *, explain: bool = False, encoding: str | None = None
    ) -> Any:
        """Class and probabilities of each text, as a dataframe of the kind given.

        Args:
            data: As in `fit`; labels in it are not looked at.
            explain: Add what decided.
            encoding: Of a file of text; None takes that of the training's.

        Returns:
            Columns: `row`, as the user counts, `prediction`, `p_` with the name of each class, and
            `because`, the five words that spoke loudest for or against the likeliest class, with
            what each added to its log-odds, see `explain`.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        texts = self._read(data, encoding)
        sequences = self.encoder_.encode(texts.texts)
        probabilities = self.network_.probabilities(sequences)
        names = self._class_names()
        columns: dict[str, Any] = {
            "row": texts.rows,
            "prediction": [self._called(row) for row in probabilities],
        }
        columns |= {f"p_{name}": probabilities[:, i] for i, name in enumerate(names)}
        if explain:
            because = []
            for part in self.explain(texts.texts):
                loudest = sorted(part, key=lambda pair: -abs(pair[1]))[:5]
                because.append("; ".join(f"{word} {weight:+.2f}" for word, weight in loudest))
            columns["because"] = because
        return frame_like(data, columns)

    def explain(self, X: Any) -> list[list[tuple[str, float]]]:
        """Which words decided, by integrated gradients.

        Args:
            X: As in `fit`; labels in it are not looked at.

        Returns:
            For each text its words with what each adds to the log-odds of the likeliest class;
            below 0 it speaks against it. They add up to the mean of the members' log-odds of the
            text, less that of as many words that say nothing; not to the log-odds of the mean
            probability that `predict_proba` tells.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        texts = self._read(X)
        sequences = self.encoder_.encode(texts.texts)
        likeliest = self.network_.probabilities(sequences).argmax(axis=1).tolist()
        parts = []
        for text, sequence, label in zip(texts.texts, sequences, likeliest, strict=True):
            weights = deciding_words(self.network_.modules, sequence, label).tolist()
            parts.append(list(zip(self.encoder_.words(text), weights, strict=True)))
        return parts

    def evaluate(self, X: Any, y: Any = None, *, encoding: str | None = None) -> ClassComparison:
        """Compare with the rivals on labelled texts; nothing is trained.

        Args:
            X: As in `fit`.
            y: Labels; None where X has them.
            encoding: Of a file of text; None takes that of the training's.

        Raises:
            DataError: if the data is not what it should be, or has a label that was not trained.
        """
        check_fitted(self)
        texts, labels = self._read_test(X if y is None else (X, y), encoding)
        return self._models().compare(
            self.encoder_.encode(texts.texts), labels, self._class_names()
        )

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
            "task": "classify_text",
            "wiring": self.network_.plan.wiring.to_dict(),
            "settings": settings(self) | {"vectors": self.vectors and str(self.vectors)},
            "columns": dataclasses.asdict(self.columns_),
            "classes": self.classes_.tolist(),
            "multi_label": self.multi_label_,
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
        with reading(path, "classify_text") as file:
            document = file.document
            self = cls(**document["settings"])
            self.columns_ = TextColumns(**document["columns"])
            self.classes_ = np.array(document["classes"])
            self.multi_label_ = document["multi_label"]
            self.encoder_ = TextEncoder.from_dict(document["encoder"])
            self.trained_on_ = document["trained_on"]
            self.comparison_ = ClassComparison.from_dict(document["comparison"])
            self.exhibits_ = document["exhibits"]
            parts = {
                name: TrainedClassifier.from_document(
                    TextPlan.from_dict(part["plan"]), part, file.part(name)
                )
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            self.plain_ = BagOfWords(self.multi_label_, file.part("plain"))
        return self

    def _check_arguments(self) -> None:
        check_at_least_one(
            self,
            *("max_length", "embedding_size", "hidden_size", "num_layers", "members"),
            *("batch_size", "steps", "patience", "checkpoint_every"),
        )
        check_training(self)
        check_baselines(self.baselines, _BASELINES)
        check_choice("tokens", self.tokens, TOKENS)
        check_choice("pooling", self.pooling, POOLINGS)
        check_at_least_zero(self, "buckets")
        check_shares(self, "embedding_dropout", "word_dropout", "label_smoothing")
        check_class_weight(self.class_weight)

    def _class_names(self) -> list[str]:
        return [str(name) for name in self.classes_.tolist()]

    def _called(self, probabilities: NDArray[np.float64], separator: str | None = None) -> str:
        """What a text is found to be: a class, or several."""
        names = self._class_names()
        if not self.multi_label_:
            return names[int(probabilities.argmax())]
        separator = separator or self.columns_.separator or ","
        return separator.join(n for n, p in zip(names, probabilities, strict=True) if p > 0.5)

    def _models(self) -> ClassModels:
        return ClassModels(self.network_, self.fnn_, self.plain_, remembers(self.feedback))

    def _read(self, X: Any, encoding: str | None = None) -> LabelledTexts:
        return read_texts(X, None, self.columns_.encoded(encoding), labelled=False)

    def _read_test(
        self, test: Any, encoding: str | None = None
    ) -> tuple[LabelledTexts, NDArray[Any]]:
        X, y = test if isinstance(test, tuple) else (test, None)
        texts = read_texts(X, y, self.columns_.encoded(encoding))
        if isinstance(texts.labels, np.ndarray) == self.multi_label_:
            raise UsageError("the test's texts have several labels each, or the training's have")
        return texts, indicator(texts, self.classes_.tolist())

    def _exhibits(self, texts: Sequence[str], actual: NDArray[Any]) -> list[dict[str, Any]]:
        """A few held-out texts for the report: words, what each did, attention where there is."""
        sequences = self.encoder_.encode(texts)
        probabilities = self.network_.probabilities(sequences)
        names = self._class_names()
        exhibits = []
        for index in chosen_exhibits(probabilities, actual, _EXHIBITS):
            shares = probabilities[index]
            label = int(shares.argmax())
            has = actual[index] if self.multi_label_ else np.arange(len(names)) == actual[index]
            exhibits.append(
                {
                    "words": self.encoder_.words(texts[index]),
                    "found": self._called(shares, ", "),  # as the report writes what is true
                    "likeliest": names[label],
                    "probability": float(shares[label]),
                    "actual": [name for name, own in zip(names, has.tolist(), strict=True) if own],
                    **explained(self.network_.modules, sequences[index], label),
                }
            )
        return exhibits


def _plainly(data: LabelledTexts) -> list[str]:
    """The texts with single blanks between words."""
    return [" ".join(text.split()) for text in data.texts]
