"""Language: what comes next in a text, and texts that go on from a prompt.

Features: tokens of the user's own text. Network: an embedding, any recurrent wiring, a softmax over
the vocabulary. Loss: nats a token, by truncated back-propagation along one stream whose state is
carried on. Metrics: perplexity and bits a character. Rivals: a feed-forward network of as many
weights on a window of tokens, and counts of n-grams smoothed by Kneser and Ney's rule.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from sklearn.base import BaseEstimator

from noria.errors import DataError, UsageError
from noria.features.corpus import Corpus, read_corpus
from noria.features.tokens import Tokenizer
from noria.feedback import Feedback, remembers
from noria.modules.language import LanguageModule, LanguagePlan
from noria.runtime.language import LanguageStepper, Sampling
from noria.runtime.text_generator import TextGenerator
from noria.tasks.estimator import (
    check_at_least_one,
    check_baselines,
    check_fitted,
    check_shares,
    check_training,
    reading,
    settings,
    write_parts,
)
from noria.training.language import LanguageRecipe, feed_forward_plan, train_language
from noria.training.language_scores import LanguageComparison, LanguageScore
from noria.training.loop import TrainingConfig
from noria.training.ngram import KneserNey
from noria.training.streams import StreamObjective, adapting_loss, stream_loss
from noria.training.trained import Trained, TrainingRun, checkpoint_of

__all__ = ["LANGUAGE_BASELINES", "LanguageModel"]

LANGUAGE_BASELINES = ("fnn", "kneser_ney")

_ROUNDS, _FEWEST_STEPS, _VALIDATIONS = 10, 400, 20
_SAMPLE_TOKENS = 200
_WINDOWS = {"character": 16, "byte": 16}
_ORDERS = {"character": 6, "byte": 6, "word": 3, "space": 3}
_BY_FREQUENCY = ("word", "space", "character")
_ADAPTING_RATE, _ADAPTING_DECAY = 1e-4, 1e-3


class LanguageModel(BaseEstimator):  # type: ignore[misc]
    """A model of text that foretells and writes it.

    Args:
        tokens: "character", "byte", "word", "space", "bpe" or "unigram"; see
            `noria.features.tokens.Tokenizer`.
        vocabulary_size: Tokens at the most.
        min_count: How often a token must occur to be taken.
        lower_case: Take capitals for small letters.
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or another of `noria.cells`, as "slstm".
        embedding_size: Numbers that stand for a token.
        hidden_size: Neurons of a layer.
        num_layers: Layers.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        tied: Use the embedding as the last layer's weights; the layer below it is then as wide as
            the embedding.
        cutoffs: Cut the vocabulary here, in order of frequency, for an adaptive softmax.
        dropout: Probability of dropping a number on its way up; one mask a sequence.
        embedding_dropout: Probability of dropping a token of the vocabulary altogether.
        recurrent_dropout: Probability of dropping a neuron's output on its way back.
        weight_dropout: Probability of dropping a recurrent weight, for a whole stretch.
        activation_penalty: Weight of the last layer's mean square (AR).
        temporal_penalty: Weight of its mean squared change from step to step (TAR).
        batch_size: Rows of the stream that are read side by side.
        stretch: Tokens of a row in a batch, as far as the gradient reaches.
        steps: Training steps at the most; None takes 10 rounds through the text, or 400 if that
            is more.
        learning_rate: Top of the schedule.
        weight_decay: Of the optimizer.
        clip_norm: Largest norm of the gradient.
        optimizer: "adamw" or "sgd".
        schedule: "cosine" or "constant".
        average_after: Validations without a better one before the weights are averaged; None for
            never. With "sgd" and "constant" it is AWD-LSTM's averaged gradient descent.
        patience: Validations, 20 in all, without a better one before training stops.
        validation_size: Share of the text to validate on: the end of one text, some of many.
        test_size: Share to compare on, cut off before that; 0 where `fit` is given a test.
        baselines: What to compare with: "fnn", "kneser_ney".
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        tokenizer_: The vocabulary.
        network_: The trained model.
        fnn_: The feed-forward rival, or None.
        comparison_: The table on the text held out, or None where there was none.

    >>> LanguageModel(cell="gru").get_params()["cell"]
    'gru'
    """

    def __init__(
        self,
        *,
        tokens: str = "character",
        vocabulary_size: int = 10_000,
        min_count: int = 1,
        lower_case: bool = False,
        cell: str = "lstm",
        embedding_size: int = 64,
        hidden_size: int = 256,
        num_layers: int = 1,
        feedback: Feedback = "direct+lateral",
        tied: bool = False,
        cutoffs: Sequence[int] = (),
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0,
        batch_size: int = 32,
        stretch: int = 64,
        steps: int | None = None,
        learning_rate: float = 8e-3,
        weight_decay: float = 1e-4,
        clip_norm: float = 1.0,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        schedule: Literal["cosine", "constant"] = "cosine",
        average_after: int | None = None,
        patience: int = 8,
        validation_size: float = 0.05,
        test_size: float = 0.1,
        baselines: Sequence[str] = LANGUAGE_BASELINES,
        checkpoint_every: int = 200,
        seed: int = 0,
    ) -> None:
        self.tokens = tokens
        self.vocabulary_size = vocabulary_size
        self.min_count = min_count
        self.lower_case = lower_case
        self.cell = cell
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.feedback = feedback
        self.tied = tied
        self.cutoffs = cutoffs
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout
        self.recurrent_dropout = recurrent_dropout
        self.weight_dropout = weight_dropout
        self.activation_penalty = activation_penalty
        self.temporal_penalty = temporal_penalty
        self.batch_size = batch_size
        self.stretch = stretch
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.optimizer = optimizer
        self.schedule = schedule
        self.average_after = average_after
        self.patience = patience
        self.validation_size = validation_size
        self.test_size = test_size
        self.baselines = baselines
        self.checkpoint_every = checkpoint_every
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: None = None,
        *,
        test: Any = None,
        text: str = "text",
        condition: str | None = None,
        encoding: str = "utf-8",
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Learn a language, and compare with the rivals on text that was held out.

        Args:
            X: Path of a plain text, which is one long stream; or of a .csv, .tsv, .jsonl, .ndjson
                or .parquet file, or a dataframe, with a text in each row; or a list of texts.
            y: Not used; for scikit-learn's sake.
            test: Text to compare on, as X; None holds `test_size` of X out.
            text: A table's column of texts.
            condition: Its column of what calls each text up, a class or a few words; the model
                then writes texts that answer to one. None for none.
            encoding: Of a file of text, by Python's names.
            checkpoint: Where to keep the states of the trainings, a file each whose name begins
                like this; None for none. They are left for the caller to delete.
            resume: Go on from the checkpoints, if there are any.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This model, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        self._check_arguments()
        self.columns_ = {"text": text, "condition": condition}
        corpus = read_corpus(X, text, condition, encoding)
        self.whole_ = corpus.whole
        held_out: Corpus | None = None
        if test is not None:
            held_out = read_corpus(test, text, condition, encoding, whole=corpus.whole)
        elif self.test_size:
            corpus, held_out = corpus.split(self.test_size, self.seed)
        learned, validated = corpus.split(self.validation_size, self.seed)
        data_sha256 = learned.sha256()
        run = TrainingRun(data_sha256, checkpoint, resume, log_dir, progress)
        self.tokenizer_, run = run.tokenizing(
            [*learned.texts, *(learned.conditions or ())],
            self.tokens,
            vocabulary_size=self.vocabulary_size,
            min_count=self.min_count,
            lower_case=self.lower_case,
        )
        training, validation = (part.encode(self.tokenizer_) for part in (learned, validated))
        for stream, what in [(training, "learn from"), (validation, "validate on")]:
            if len(stream[0]) < 2 or not stream[1][1:].any():
                raise DataError(f"{corpus.name}: there is too little text to {what}")
        self.trained_on_: dict[str, Any] = {
            "texts": len(learned.texts),
            "characters": learned.characters,
            "tokens": len(training[0]),
            "vocabulary": len(self.tokenizer_),
            "data_sha256": data_sha256,
        }
        recipe = self._recipe()
        config = self._training(len(training[0]))
        plan = LanguagePlan.build(
            len(self.tokenizer_),
            self.cell,
            self.embedding_size,
            self.hidden_size,
            self.num_layers,
            self.feedback,
            tied=self.tied,
            cutoffs=self.cutoffs,
        )
        called_up = None if validated.conditions is None else validated.conditions[0]
        self.network_ = train_language(
            plan,
            training,
            validation,
            recipe,
            config,
            run,
            title="network",
            sample=lambda module: self._sample(module, called_up),
        )
        self.fnn_ = None
        if "fnn" in self.baselines:
            window = _WINDOWS.get(self.tokens, 5)
            rival = feed_forward_plan(plan, window, self.network_.module.parameter_count)
            self.fnn_ = train_language(
                rival, training, validation, recipe, config, run, title="fnn"
            )
        self.kneser_ney_ = None
        if "kneser_ney" in self.baselines:
            order = _ORDERS.get(self.tokens, 4)
            self.kneser_ney_ = KneserNey(len(self.tokenizer_), order).fit(training[0])
        self.comparison_ = None if held_out is None else self._compare(held_out)
        return self

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = 200,
        condition: str | None = None,
        samples: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        int8: bool = False,
    ) -> list[str]:
        """Write texts that go on from a prompt.

        Args:
            prompt: What they begin with; it is not given back.
            length: Tokens at the most.
            condition: What they are called up by, where the model was trained so.
            samples: How many.
            temperature: Below 1 likelier tokens are preferred; 0 takes the likeliest.
            top_k: Draw from this many of the likeliest.
            top_p: Draw from the likeliest that together reach this probability.
            repetition_penalty: Above 1, the last 64 tokens come less often.
            seed: Of the draws.
            int8: Round the weights to eight bits: faster where the network is large, a little off.

        Raises:
            UsageError: if the arguments cannot be meant.
        """
        check_fitted(self)
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, seed)
        pieces = self._generator(self.network_.module, int8=int8).stream(
            prompt, sampling, length=length, condition=condition, samples=samples
        )
        return ["".join(parts) for parts in zip(*pieces, strict=True)]

    def evaluate(
        self, X: Any, *, encoding: str = "utf-8", adapt: bool = False
    ) -> LanguageComparison:
        """Compare with the rivals on a text; nothing of it is kept.

        Args:
            X: As in `fit`.
            encoding: Of a file of text, by Python's names.
            adapt: Also score the network while it goes on learning as it reads (dynamic
                evaluation).

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        columns = self.columns_
        corpus = read_corpus(
            X, str(columns["text"]), columns["condition"], encoding, whole=self.whole_
        )
        return self._compare(corpus, adapt=adapt)

    def checkpoints(self, checkpoint: Path) -> list[Path]:
        """The files that `fit` may have made for a checkpoint."""
        return [checkpoint_of(checkpoint, title) for title in ("network", "fnn", "tokenizer")]

    def save(self, path: Path | str) -> None:
        """Write the model file.

        Raises:
            ResourceError: if the disk does not take it.
        """
        check_fitted(self)
        counts = self.kneser_ney_
        document = {
            "task": "language",
            "wiring": self.network_.module.plan.wiring.to_dict(),
            "settings": settings(self),
            "columns": self.columns_,
            "whole": self.whole_,
            "tokenizer": self.tokenizer_.to_dict(),
            "order": None if counts is None else counts.order,
            "trained_on": self.trained_on_,
            "comparison": self.comparison_ and self.comparison_.to_dict(),
        }
        arrays = {} if counts is None else counts.arrays
        kept = {f"kneser_ney.{name}": array for name, array in arrays.items()}
        write_parts(path, document, {"network": self.network_, "fnn": self.fnn_}, kept)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file that `save` wrote.

        Raises:
            ModelFileError: if it is missing, damaged, or of another task.
        """
        with reading(path, "language") as file:
            document = file.document
            self = cls(**document["settings"])
            self.columns_ = document["columns"]
            self.whole_ = document["whole"]
            self.tokenizer_ = Tokenizer.from_dict(document["tokenizer"])
            parts = {
                name: Trained.read(
                    LanguageModule(LanguagePlan.from_dict(part["plan"])), part, file.part(name)
                )
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            order = document["order"]
            self.kneser_ney_ = order and KneserNey(
                len(self.tokenizer_), order, file.part("kneser_ney")
            )
            self.trained_on_ = document["trained_on"]
            comparison = document["comparison"]
            self.comparison_ = comparison and LanguageComparison.from_dict(comparison)
        return self

    def _compare(self, corpus: Corpus, *, adapt: bool = False) -> LanguageComparison:
        stream = corpus.encode(self.tokenizer_)
        tokens = int(stream[1][1:].sum())
        if not tokens:
            raise DataError(f"{corpus.name}: there is too little text to compare on")
        common = {"tokens": tokens, "characters": corpus.characters}
        scores = []
        for name, part in [("network", self.network_), ("fnn", self.fnn_)]:
            if part is not None:
                started = time.monotonic() - part.history.seconds
                loss = stream_loss(part.module, stream)
                scores.append(self._score(name, loss, common, part.module.parameter_count, started))
        if self.kneser_ney_ is not None:
            started = time.monotonic()
            losses = self.kneser_ney_.losses(stream[0])[stream[1][1:]]
            count = self.kneser_ney_.parameter_count
            scores.append(self._score("kneser_ney", float(losses.mean()), common, count, started))
        if adapt:
            started = time.monotonic()
            module = self.network_.module
            loss = adapting_loss(
                module, stream, learning_rate=_ADAPTING_RATE, decay=_ADAPTING_DECAY
            )
            scores.append(
                self._score("network, adapting", loss, common, module.parameter_count, started)
            )
        notes = []
        unknown = float((stream[0] == self.tokenizer_.UNKNOWN).mean())
        if unknown:
            notes.append(
                f"{100 * unknown:.2g} % of the tokens are not in the vocabulary; to foretell one of"
                " these means to say that it is unknown"
            )
        return LanguageComparison(
            tuple(scores), **common, notes=tuple(notes), remembers=remembers(self.feedback)
        )

    def _score(
        self, name: str, loss: float, common: dict[str, int], parameters: int, started: float
    ) -> LanguageScore:
        seconds = time.monotonic() - started
        return LanguageScore.of(name, loss, **common, parameters=parameters, seconds=seconds)

    def _generator(self, module: LanguageModule, *, int8: bool = False) -> TextGenerator:
        weights = {name: p.detach().numpy() for name, p in module.named_parameters()}
        return TextGenerator(
            self.tokenizer_,
            LanguageStepper(module.plan.to_dict(), weights, int8=int8),
            whole=self.whole_,
            conditioned=self.columns_["condition"] is not None,
        )

    def _sample(self, module: LanguageModule, condition: str | None) -> str:
        pieces = self._generator(module).stream(
            "", Sampling(seed=self.seed), length=_SAMPLE_TOKENS, condition=condition
        )
        return "".join(text for (text,) in pieces)

    def _check_arguments(self) -> None:
        check_at_least_one(
            self,
            *("embedding_size", "hidden_size", "num_layers", "batch_size", "stretch", "steps"),
        )
        check_training(self)
        shares = ("embedding_dropout", "weight_dropout", "validation_size", "test_size")
        check_shares(self, *shares)
        check_baselines(self.baselines, LANGUAGE_BASELINES)
        if self.cutoffs and self.tokens not in _BY_FREQUENCY:
            raise UsageError(
                f"cutoffs need tokens in the order of their frequency, which {self.tokens!r} are"
                f" not: take {', '.join(_BY_FREQUENCY[:-1])} or {_BY_FREQUENCY[-1]}"
            )
        for name in ("activation_penalty", "temporal_penalty"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}: it must be 0 or more")
        self._training(1)

    def _recipe(self) -> LanguageRecipe:
        values = settings(self)
        names = [field.name for field in dataclasses.fields(LanguageRecipe)]
        return LanguageRecipe(**{name: values[name] for name in names})

    def _training(self, tokens: int) -> TrainingConfig:
        steps = self.steps
        if steps is None:
            round_ = StreamObjective.steps_a_round(tokens, self.batch_size, self.stretch)
            steps = max(_FEWEST_STEPS, _ROUNDS * round_)
        return TrainingConfig(
            steps=steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            validate_every=max(1, steps // _VALIDATIONS),
            patience=self.patience,
            checkpoint_every=self.checkpoint_every,
            seed=self.seed,
            optimizer=self.optimizer,
            schedule=self.schedule,
            average_after=self.average_after,
        )
