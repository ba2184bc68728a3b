"""Training a language model and its feed-forward rival."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from noria.modules.language import NARROWER, LanguageModule, LanguagePlan
from noria.training.loop import TrainingConfig
from noria.training.streams import Stream, StreamObjective
from noria.training.trained import Trained, TrainingRun, matching_size

__all__ = ["LanguageRecipe", "feed_forward_plan", "train_language"]

_LARGEST_RIVAL = 8192


@dataclasses.dataclass(frozen=True)
class LanguageRecipe:
    """How a language model is trained.

    Attributes:
        batch_size: Rows of the stream that are read side by side.
        stretch: Tokens of a row in a batch.
        dropout: See `LanguageModule`.
        embedding_dropout: See `LanguageModule`.
        recurrent_dropout: See `LanguageModule`.
        weight_dropout: See `LanguageModule`.
        activation_penalty: See `StreamObjective`.
        temporal_penalty: See `StreamObjective`.
    """

    batch_size: int
    stretch: int
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    weight_dropout: float = 0.0
    activation_penalty: float = 0.0
    temporal_penalty: float = 0.0


def feed_forward_plan(plan: LanguagePlan, window: int, parameters: int) -> LanguagePlan:
    """A feed-forward network on a window, with as near as possible so many weights.

    Its layers are plain ReLU neurons: gates without a memory to guard would only spend its share
    of the weights.

    Args:
        plan: Of the recurrent model, for embedding and layers.
        window: Tokens that it sees at once.
        parameters: Weights of the recurrent model.

    Source: Bengio et al. 2003.
    """

    def build(hidden_size: int) -> LanguagePlan:
        return LanguagePlan.build(
            plan.vocabulary_size,
            "rnn_relu",
            plan.embedding_size,
            hidden_size,
            len(plan.wiring.layers),
            "none",
            cutoffs=plan.cutoffs,
            window=window,
        )

    size = matching_size(
        lambda size: LanguageModule(build(size)),
        parameters,
        _LARGEST_RIVAL,
        smallest=NARROWER ** len(plan.cutoffs),
    )
    return build(size)


def train_language(
    plan: LanguagePlan,
    training: Stream,
    validation: Stream,
    recipe: LanguageRecipe,
    config: TrainingConfig,
    run: TrainingRun,
    *,
    title: str,
    sample: Callable[[LanguageModule], str] | None = None,
) -> Trained[LanguageModule]:
    """Train a language model.

    Args:
        plan: What it is made of.
        training: The stream to learn.
        validation: The stream to stop by.
        recipe: How to train.
        config: For the loop.
        run: What all trainings of a fit have in common.
        title: See `TrainingRun.train`.
        sample: What the model has to show after a validation.
    """
    torch.manual_seed(config.seed)
    module = LanguageModule(
        plan,
        dropout=recipe.dropout,
        embedding_dropout=recipe.embedding_dropout,
        recurrent_dropout=recipe.recurrent_dropout,
        weight_dropout=recipe.weight_dropout,
    )
    objective = StreamObjective(
        module,
        training,
        validation,
        batch_size=recipe.batch_size,
        stretch=recipe.stretch,
        activation_penalty=recipe.activation_penalty,
        temporal_penalty=recipe.temporal_penalty,
        seed=config.seed,
    )
    show = None if sample is None else (lambda: sample(module))
    return run.train(title, module, objective, config, recipe, show)
