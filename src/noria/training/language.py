"""Training a language model and its feed-forward rival, and keeping what it takes to use them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from noria.modules.language import LanguageModule, LanguagePlan
from noria.training.loop import History, TrainingConfig, train
from noria.training.progress import watching
from noria.training.streams import Stream, StreamObjective

__all__ = [
    "LanguageRecipe",
    "TrainedLanguage",
    "checkpoint_of",
    "feed_forward_plan",
    "train_language",
]

_LARGEST_RIVAL = 8192


@dataclasses.dataclass(frozen=True)
class LanguageRecipe:
    """How a language model is trained.

    Attributes:
        training: For the loop.
        batch_size: Rows of the stream that are read side by side.
        stretch: Tokens of a row in a batch.
        dropout: See `LanguageModule`.
        embedding_dropout: See `LanguageModule`.
        recurrent_dropout: See `LanguageModule`.
        activation_penalty: See `StreamObjective`.
        temporal_penalty: See `StreamObjective`.
    """

    training: TrainingConfig
    batch_size: int
    stretch: int
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    activation_penalty: float = 0.0
    temporal_penalty: float = 0.0


@dataclasses.dataclass(frozen=True)
class TrainedLanguage:
    """A trained language model.

    Attributes:
        module: In evaluation mode.
        history: The course of its training.
    """

    module: LanguageModule
    history: History

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        return {
            "plan": self.module.plan.to_dict(),
            "history": dataclasses.asdict(self.history),
        }

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights by name, as numpy arrays."""
        return {name: p.detach().numpy() for name, p in self.module.named_parameters()}

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
    ) -> TrainedLanguage:
        """Read what `document` and `weights` gave.

        Raises:
            KeyError, TypeError, ValueError: if they do not fit together.
        """
        module = LanguageModule(LanguagePlan.from_dict(document["plan"]))
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                value = weights[name]
                if value.shape != tuple(parameter.shape):
                    raise ValueError(f"weight {name} has shape {value.shape}")
                parameter.copy_(torch.from_numpy(value))
        return cls(module.eval(), History(**document["history"]))


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

    def excess(hidden_size: int) -> int:
        with torch.device("meta"):
            return LanguageModule(build(hidden_size)).parameter_count - parameters

    low, high = 1, _LARGEST_RIVAL  # the number of weights grows with the size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if excess(middle) >= 0 else (middle + 1, high)
    if low > 1 and -excess(low - 1) < excess(low):
        low -= 1
    return build(low)


def checkpoint_of(checkpoint: Path, title: str) -> Path:
    """Where a part's checkpoint is."""
    return checkpoint.with_name(f"{checkpoint.name}-{title}")


def train_language(
    plan: LanguagePlan,
    training: Stream,
    validation: Stream,
    recipe: LanguageRecipe,
    *,
    title: str,
    trained_on: str = "",
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
    sample: Callable[[LanguageModule], str] | None = None,
) -> TrainedLanguage:
    """Train a language model.

    Args:
        plan: What it is made of.
        training: The stream to learn.
        validation: The stream to stop by.
        recipe: How to train.
        title: For the progress bar and the checkpoint; part of its identity.
        trained_on: Hash of the data; part of the checkpoint's identity.
        checkpoint: Where to keep the state of the training; None for none.
        resume: Go on from the checkpoint, if there is one.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
        sample: What the model has to show after a validation.
    """
    torch.manual_seed(recipe.training.seed)
    module = LanguageModule(
        plan,
        dropout=recipe.dropout,
        embedding_dropout=recipe.embedding_dropout,
        recurrent_dropout=recipe.recurrent_dropout,
    )
    objective = StreamObjective(
        module,
        training,
        validation,
        batch_size=recipe.batch_size,
        stretch=recipe.stretch,
        activation_penalty=recipe.activation_penalty,
        temporal_penalty=recipe.temporal_penalty,
        seed=recipe.training.seed,
    )
    identity = json.dumps([title, trained_on, plan.to_dict(), dataclasses.asdict(recipe)])
    logs = log_dir and log_dir / title
    with watching(title, log_dir=logs, bar=progress) as on_update:
        history = train(
            module,
            objective,
            recipe.training,
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
            checkpoint=checkpoint and checkpoint_of(checkpoint, title),
            resume=resume,
            on_update=on_update,
            sample=None if sample is None else (lambda: sample(module)),
        )
    return TrainedLanguage(module, history)
