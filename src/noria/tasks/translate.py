"""Translation: a text into another language.

Features: pieces of words, one vocabulary for both languages. Network: an encoder that reads in both
directions, and a decoder that looks back at it by attention. Loss: nats a token with smoothed
labels. Search: a beam with length normalisation. Metrics: BLEU and chrF as sacreBLEU counts them.
Rivals: a feed-forward network of as many weights with the same attention, and a lexicon that
translates word by word.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from noria.errors import DataError, UsageError
from noria.features.frames import frame_like
from noria.features.text import read_lines, read_parallel
from noria.features.tokens import Tokenizer
from noria.feedback import Feedback, remembers
from noria.modules.translate import TranslateModule, TranslatePlan
from noria.runtime.text_translator import TextTranslator, Translation
from noria.runtime.translation import TranslationStepper
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
from noria.training.lexicon import Lexicon
from noria.training.loop import TrainingConfig
from noria.training.trained import Trained, TrainingRun, checkpoint_of
from noria.training.translation import (
    TranslateRecipe,
    TranslationComparison,
    TranslationScore,
    feed_forward_plan,
    score_translations,
    train_translator,
)

__all__ = ["TRANSLATE_BASELINES", "Translator"]

TRANSLATE_BASELINES = ("fnn", "lexicon")

Pairs = list[tuple[str, str]]

_ROUNDS, _FEWEST_STEPS, _VALIDATIONS = 10, 400, 20
_EXHIBITS = 4


class Translator(BaseEstimator):  # type: ignore[misc]
    """Translates texts with recurrent networks and attention.

    Args:
        tokens: "bpe", "unigram", "word", "space", "character" or "byte"; see
            `noria.features.tokens.Tokenizer`.
        vocabulary_size: Tokens at the most, of both languages together.
        min_count: How often a token must occur to be taken.
        lower_case: Take capitals for small letters.
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or another of `noria.cells`, as "slstm".
        embedding_size: Numbers that stand for a token.
        hidden_size: Neurons of a layer of the decoder, and of the encoder's two directions
            together.
        num_layers: Layers of each.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        attention: "multiplicative" or "additive".
        input_feeding: Let what was attended to enter the decoder at the next step.
        tied: Use the embedding as the output layer's weights.
        dropout: Probability of dropping a number on its way up; one mask a sequence.
        recurrent_dropout: Probability of dropping a neuron's output on its way back.
        label_smoothing: Share of the target's probability that all tokens get alike.
        batch_size: Pairs in a batch.
        steps: Training steps at the most; None takes 10 rounds through the pairs, or 400 if that
            is more.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        clip_norm: Largest norm of the gradient.
        average_after: Validations without a better one before the weights are averaged; None for
            never.
        patience: Validations, 20 in all, without a better one before training stops.
        beam_size: Translations kept open; 1 is the greedy search.
        length_penalty: Power of the length that log-probabilities are divided by.
        validation_size: Share of the pairs to validate on, where `fit` is given none.
        test_size: Share to compare on, where `fit` is given none; 0 for no comparison.
        baselines: What to compare with: "fnn", "lexicon".
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        tokenizer_: The vocabulary.
        network_: The trained model.
        fnn_: The feed-forward rival, or None.
        comparison_: The table on the pairs held out, or None where there were none.

    >>> Translator(attention="additive").get_params()["attention"]
    'additive'
    """

    def __init__(
        self,
        *,
        tokens: str = "bpe",
        vocabulary_size: int = 5000,
        min_count: int = 1,
        lower_case: bool = False,
        cell: str = "gru",
        embedding_size: int = 256,
        hidden_size: int = 384,
        num_layers: int = 1,
        feedback: Feedback = "direct+lateral",
        attention: str = "multiplicative",
        input_feeding: bool = True,
        tied: bool = True,
        dropout: float = 0.3,
        recurrent_dropout: float = 0.0,
        label_smoothing: float = 0.1,
        batch_size: int = 64,
        steps: int | None = None,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        clip_norm: float = 1.0,
        average_after: int | None = None,
        patience: int = 5,
        beam_size: int = 5,
        length_penalty: float = 1.0,
        validation_size: float = 0.05,
        test_size: float = 0.05,
        baselines: Sequence[str] = TRANSLATE_BASELINES,
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
        self.attention = attention
        self.input_feeding = input_feeding
        self.tied = tied
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.label_smoothing = label_smoothing
        self.batch_size = batch_size
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.average_after = average_after
        self.patience = patience
        self.beam_size = beam_size
        self.length_penalty = length_penalty
        self.validation_size = validation_size
        self.test_size = test_size
        self.baselines = baselines
        self.checkpoint_every = checkpoint_every
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        encoding: str = "utf-8",
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Learn to translate, and compare with the rivals on pairs that were held out.

        Args:
            X: The path of a text with a sentence a line; or a list of sentences.
            y: Their translations, in the same form; None where X is the path of a text with both,
                a tab between them.
            validation: Pairs to stop by: (X, y) or one path; None holds some of X out.
            test: Pairs to compare on, likewise.
            encoding: Of the files, by Python's names.
            checkpoint: Where to keep the states of the trainings, a file each whose name begins
                like this; None for none. They are left for the caller to delete.
            resume: Go on from the checkpoints, if there are any.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This translator, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        self._check_arguments()
        pairs = _read_pairs((X, y), encoding)
        order = np.random.default_rng(self.seed).permutation(len(pairs)).tolist()
        parts = []
        for given, share in [(test, self.test_size), (validation, self.validation_size)]:
            if given is not None:
                parts.append(_read_pairs(given, encoding))
            else:
                count = max(1, round(share * len(pairs))) if share else 0
                held, order = order[:count], order[count:]
                parts.append([pairs[index] for index in held])
        held_out, validated = parts
        learned = [pairs[index] for index in sorted(order)]
        if not learned or not validated:
            raise DataError(f"{len(pairs)} pairs are too few to learn from and to hold some out")
        data_sha256 = hashlib.sha256(repr(learned).encode()).hexdigest()
        run = TrainingRun(data_sha256, checkpoint, resume, log_dir, progress)
        self.tokenizer_, run = run.tokenizing(
            [text for pair in learned for text in pair],
            self.tokens,
            vocabulary_size=self.vocabulary_size,
            min_count=self.min_count,
            lower_case=self.lower_case,
        )
        training, checked = self._encode(learned), self._encode(validated)
        if not training or not checked:
            raise DataError("the pairs are empty in the tokens chosen")
        self.trained_on_: dict[str, Any] = {
            "pairs": len(learned),
            "validation_pairs": len(validated),
            "source_tokens": sum(len(source) for source, _ in training),
            "target_tokens": sum(len(target) for _, target in training),
            "longest_target": max(len(target) for _, target in training),
            "vocabulary": len(self.tokenizer_),
            "data_sha256": data_sha256,
        }
        recipe, config = self._recipe(), self._training(len(training))
        plan = TranslatePlan.build(
            len(self.tokenizer_),
            self.cell,
            self.embedding_size,
            self.hidden_size,
            self.num_layers,
            self.feedback,
            attention=self.attention,
            input_feeding=self.input_feeding,
            tied=self.tied,
        )
        shown = [source for source, _ in validated[:_EXHIBITS]]
        self.network_ = train_translator(
            plan,
            training,
            checked,
            recipe,
            config,
            run,
            title="network",
            sample=lambda module: "\n".join(
                best[0].text for best in self._translator(module).translate(shown)
            ),
        )
        self.fnn_ = None
        if "fnn" in self.baselines:
            rival = feed_forward_plan(plan, self.network_.module.parameter_count)
            self.fnn_ = train_translator(rival, training, checked, recipe, config, run, title="fnn")
        self.lexicon_ = None
        if "lexicon" in self.baselines:
            self.lexicon_ = Lexicon.fit(training, len(self.tokenizer_))
        self.exhibits_ = [
            {
                "source": list(best.source),
                "target": list(best.target),
                "reference": reference,
                "alignment": best.alignment.tolist(),
            }
            for (_, reference), (best, *_) in zip(
                validated[:_EXHIBITS], self.translate_n_best(shown), strict=True
            )
        ]
        self.comparison_ = self._compare(held_out) if held_out else None
        return self

    def predict(self, X: Any, *, encoding: str = "utf-8") -> list[str]:
        """Translate sentences.

        Args:
            X: The path of a text with a sentence a line; or a list of sentences.
            encoding: Of the file.

        Raises:
            DataError: if the file cannot be read.
        """
        return [best.text for best, *_ in self.translate_n_best(_read_sources(X, encoding))]

    def predict_frame(self, X: Any, *, n_best: int = 1, encoding: str = "utf-8") -> Any:
        """Translate sentences, as a dataframe.

        Args:
            X: The path of a text with a sentence a line; or a list of sentences.
            n_best: Translations of each, at most `beam_size`.
            encoding: Of the file.

        Returns:
            Columns: `line` from 1, `rank` from 1, `source`, `translation`, `score`, and
            `alignment`: pairs such as 0-1 of a source's token and of the translation's that looked
            at it most.

        Raises:
            DataError: if the file cannot be read.
            UsageError: if `n_best` is more than `beam_size`.
        """
        sources = _read_sources(X, encoding)
        rows = [
            (line, rank, source, each)
            for line, (source, found) in enumerate(
                zip(sources, self.translate_n_best(sources, n_best), strict=True), 1
            )
            for rank, each in enumerate(found, 1)
        ]
        return frame_like(
            X,
            {
                "line": [line for line, *_ in rows],
                "rank": [rank for _, rank, *_ in rows],
                "source": [source for *_, source, _ in rows],
                "translation": [each.text for *_, each in rows],
                "score": [each.score for *_, each in rows],
                "alignment": [each.links() for *_, each in rows],
            },
        )

    def translate_n_best(self, texts: Sequence[str], n_best: int = 1) -> list[list[Translation]]:
        """The best few translations of each text, with scores and alignments.

        Args:
            texts: N texts.
            n_best: Translations of each, at most `beam_size`.

        Raises:
            UsageError: if `n_best` is more than `beam_size`.
        """
        check_fitted(self)
        return self._translator(self.network_.module).translate(
            texts, beam_size=self.beam_size, length_penalty=self.length_penalty, n_best=n_best
        )

    def evaluate(
        self, X: Any, reference: Any = None, *, encoding: str = "utf-8"
    ) -> TranslationComparison:
        """Compare with the rivals on pairs; nothing is trained.

        Args:
            X: As in `fit`.
            reference: Its translations, as `y` of `fit`.
            encoding: Of the files.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        return self._compare(_read_pairs((X, reference), encoding))

    def checkpoints(self, checkpoint: Path) -> list[Path]:
        """The files that `fit` may have made for a checkpoint."""
        return [checkpoint_of(checkpoint, title) for title in ("network", "fnn", "tokenizer")]

    def save(self, path: Path | str) -> None:
        """Write the model file.

        Raises:
            ResourceError: if the disk does not take it.
        """
        check_fitted(self)
        document = {
            "task": "translate",
            "wiring": self.network_.module.plan.decoder.to_dict(),
            "settings": settings(self),
            "tokenizer": self.tokenizer_.to_dict(),
            "lexicon": self.lexicon_ is not None,
            "trained_on": self.trained_on_,
            "exhibits": self.exhibits_,
            "comparison": self.comparison_ and self.comparison_.to_dict(),
        }
        arrays = {} if self.lexicon_ is None else self.lexicon_.arrays
        kept = {f"lexicon.{name}": array for name, array in arrays.items()}
        write_parts(path, document, {"network": self.network_, "fnn": self.fnn_}, kept)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file that `save` wrote.

        Raises:
            ModelFileError: if it is missing, damaged, or of another task.
        """
        with reading(path, "translate") as file:
            document = file.document
            self = cls(**document["settings"])
            self.tokenizer_ = Tokenizer.from_dict(document["tokenizer"])
            parts = {
                name: Trained.read(
                    TranslateModule(TranslatePlan.from_dict(part["plan"])), part, file.part(name)
                )
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            self.lexicon_ = Lexicon(file.part("lexicon")) if document["lexicon"] else None
            self.trained_on_ = document["trained_on"]
            self.exhibits_ = document["exhibits"]
            comparison = document["comparison"]
            self.comparison_ = comparison and TranslationComparison.from_dict(comparison)
        return self

    def _compare(self, pairs: Pairs) -> TranslationComparison:
        sources, references = [source for source, _ in pairs], [target for _, target in pairs]
        scores: list[TranslationScore] = []
        signatures: tuple[str, ...] = ()

        def add(
            name: str, parameters: int, trained_s: float, translate: Callable[[], list[str]]
        ) -> None:
            nonlocal signatures
            started = time.monotonic()
            translations = translate()
            seconds = time.monotonic() - started
            bleu, chrf, signatures = score_translations(translations, references)
            speed = len(pairs) / max(seconds, 1e-9)
            scores.append(
                TranslationScore(name, bleu, chrf, parameters, trained_s + seconds, speed)
            )

        for name, part in [("network", self.network_), ("fnn", self.fnn_)]:
            if part is not None:
                searched = self._translator(part.module)
                add(
                    name,
                    part.module.parameter_count,
                    part.history.seconds,
                    lambda searched=searched: [  # type: ignore[misc]
                        best.text
                        for best, *_ in searched.translate(
                            sources, beam_size=self.beam_size, length_penalty=self.length_penalty
                        )
                    ],
                )
        lexicon = self.lexicon_
        if lexicon is not None:
            add(
                "lexicon",
                lexicon.parameter_count,
                0.0,
                lambda: [
                    self.tokenizer_.decode(lexicon.translate(tokens))
                    for tokens in self.tokenizer_.encode_batch(sources)
                ],
            )
        return TranslationComparison(
            tuple(scores), len(pairs), signatures, remembers=remembers(self.feedback)
        )

    def _encode(self, pairs: Pairs) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Tokens of the pairs; pairs with an empty side are left out."""
        sources, targets = (self.tokenizer_.encode_batch(side) for side in zip(*pairs, strict=True))
        return [pair for pair in zip(sources, targets, strict=True) if all(map(len, pair))]

    def _translator(self, module: TranslateModule) -> TextTranslator:
        weights = {name: p.detach().numpy() for name, p in module.named_parameters()}
        stepper = TranslationStepper(module.plan.to_dict(), weights)
        return TextTranslator(self.tokenizer_, stepper, self.trained_on_.get("longest_target"))

    def _check_arguments(self) -> None:
        check_at_least_one(
            self,
            *("embedding_size", "hidden_size", "num_layers", "batch_size", "beam_size", "steps"),
        )
        check_training(self)
        check_shares(self, "label_smoothing", "validation_size", "test_size")
        check_baselines(self.baselines, TRANSLATE_BASELINES)
        if not self.length_penalty >= 0:
            raise UsageError(f"length_penalty is {self.length_penalty}: it must be 0 or more")
        self._training(1)

    def _recipe(self) -> TranslateRecipe:
        values = settings(self)
        names = [field.name for field in dataclasses.fields(TranslateRecipe)]
        return TranslateRecipe(**{name: values[name] for name in names})

    def _training(self, pairs: int) -> TrainingConfig:
        steps = self.steps
        if steps is None:
            steps = max(_FEWEST_STEPS, _ROUNDS * -(-pairs // self.batch_size))
        return TrainingConfig(
            steps=steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            validate_every=max(1, steps // _VALIDATIONS),
            patience=self.patience,
            checkpoint_every=self.checkpoint_every,
            seed=self.seed,
            average_after=self.average_after,
        )


def _read_pairs(given: Any, encoding: str) -> Pairs:
    """Pairs from two files, one file, or two lists of sentences."""
    X, y = (*given, None)[:2] if isinstance(given, tuple) else (given, None)
    if isinstance(X, str | os.PathLike):
        return read_parallel(Path(X), None if y is None else Path(y), encoding)
    if y is None or len(X) != len(y):
        raise UsageError("sentences need as many translations")
    return list(zip(X, y, strict=True))


def _read_sources(X: Any, encoding: str) -> list[str]:
    return read_lines(Path(X), encoding) if isinstance(X, str | os.PathLike) else list(X)
