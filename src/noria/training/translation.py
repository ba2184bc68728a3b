"""Training a translator and its feed-forward rival, and scoring translations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from noria.modules.translate import TranslateModule, TranslatePlan
from noria.training.loop import TrainingConfig
from noria.training.pairs import PairObjective, TokenPair
from noria.training.trained import Trained, TrainingRun, matching_size
from noria.training.verdict import verdict

__all__ = [
    "TranslateRecipe",
    "TranslationComparison",
    "TranslationScore",
    "feed_forward_plan",
    "score_translations",
    "train_translator",
]

_LARGEST_RIVAL = 4096


@dataclasses.dataclass(frozen=True)
class TranslateRecipe:
    """How a translator is trained.

    Attributes:
        batch_size: Pairs in a batch.
        label_smoothing: See `PairObjective`.
        dropout: See `TranslateModule`.
        recurrent_dropout: See `TranslateModule`.
    """

    batch_size: int
    label_smoothing: float
    dropout: float
    recurrent_dropout: float


@dataclasses.dataclass(frozen=True)
class TranslationScore:
    """One line of the table.

    Attributes:
        model: Name.
        bleu: BLEU, 0 to 100.
        chrf: chrF, 0 to 100.
        parameters: Number of weights or entries.
        seconds: Time to train and to translate.
        sentences_per_second: Translated in that time.
    """

    model: str
    bleu: float
    chrf: float
    parameters: int
    seconds: float
    sentences_per_second: float

    def metrics(self) -> dict[str, float]:
        """The figures alone, by lower-case name."""
        return {"bleu": self.bleu, "chrf": self.chrf}


@dataclasses.dataclass(frozen=True)
class TranslationComparison:
    """Several models on the same sentences; the first is the one in question.

    Attributes:
        scores: One a model.
        sentences: Number of sentences.
        notes: What a reader must know of how a line came about: sacreBLEU's signatures.
        remembers: Whether the one in question carries anything from step to step.
    """

    scores: tuple[TranslationScore, ...]
    sentences: int
    notes: tuple[str, ...]
    remembers: bool = True

    def verdict(self) -> str:
        """In one sentence, whether memory pays on these sentences, by BLEU."""
        values = {score.model: score.bleu for score in self.scores}
        return verdict("BLEU", values, lower_is_better=False, remembers=self.remembers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        document = dataclasses.asdict(self)
        return {**document, "scores": list(document["scores"]), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> TranslationComparison:
        """Read what `to_dict` wrote."""
        scores = tuple(TranslationScore(**score) for score in document["scores"])
        return cls(**{**document, "scores": scores, "notes": tuple(document["notes"])})


def score_translations(
    translations: Sequence[str], references: Sequence[str]
) -> tuple[float, float, tuple[str, ...]]:
    """BLEU and chrF of whole texts by sacreBLEU, and its signatures.

    Args:
        translations: N texts.
        references: What they should be, N texts.

    Source: Papineni et al. 2002; Popović 2015; Post 2018.
    """
    metrics = {"BLEU": BLEU(), "chrF": CHRF()}
    scores = [
        metric.corpus_score(list(translations), [list(references)]).score
        for metric in metrics.values()
    ]
    signatures = tuple(f"{name}: {m.get_signature()}" for name, m in metrics.items())
    return scores[0], scores[1], signatures


def feed_forward_plan(plan: TranslatePlan, parameters: int) -> TranslatePlan:
    """The same without memory, with as near as possible so many weights.

    It sees each source token by itself, and of what it has written only the last token; attention
    stays. Its layers are plain ReLU neurons.

    Args:
        plan: Of the recurrent model.
        parameters: Its weights.
    """

    def build(hidden_size: int) -> TranslatePlan:
        return TranslatePlan.build(
            plan.vocabulary_size,
            "rnn_relu",
            plan.embedding_size,
            hidden_size,
            len(plan.decoder.layers),
            "none",
            attention=plan.attention,
            input_feeding=False,
            tied=plan.tied,
        )

    size = matching_size(lambda size: TranslateModule(build(size)), parameters, _LARGEST_RIVAL)
    return build(size)


def train_translator(
    plan: TranslatePlan,
    training: Sequence[TokenPair],
    validation: Sequence[TokenPair],
    recipe: TranslateRecipe,
    config: TrainingConfig,
    run: TrainingRun,
    *,
    title: str,
    sample: Callable[[TranslateModule], str] | None = None,
) -> Trained[TranslateModule]:
    """Train a translator.

    Args:
        plan: What it is made of.
        training: Pairs to learn from.
        validation: Pairs to stop by.
        recipe: How to train.
        config: For the loop.
        run: What all trainings of a fit have in common.
        title: See `TrainingRun.train`.
        sample: What the module has to show after a validation.
    """
    torch.manual_seed(config.seed)
    module = TranslateModule(
        plan, dropout=recipe.dropout, recurrent_dropout=recipe.recurrent_dropout
    )
    objective = PairObjective(
        module,
        training,
        validation,
        batch_size=recipe.batch_size,
        label_smoothing=recipe.label_smoothing,
        seed=config.seed,
    )
    show = None if sample is None else (lambda: sample(module))
    return run.train(title, module, objective, config, recipe, show)
