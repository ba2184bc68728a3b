"""Training the networks of a classifier, and keeping what it takes to use them.

A classifier is a few members that learned from different folds: each one trains on all cases but
its fold and stops by that fold. Their mean probability is the answer. So every case is learned
from, and for every case there is a member that did not learn from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noria.modules.classify import ClassifyModule, ClassifyPlan
from noria.training.loop import History, TrainingConfig, random_generator, train
from noria.training.progress import watching
from noria.training.sequences import SequenceObjective, class_probabilities, windowed

__all__ = [
    "ClassifyRecipe",
    "TrainedClassifier",
    "checkpoint_of",
    "feed_forward_plan",
    "train_classifier",
]

_LARGEST_RIVAL = 4096
_VALIDATIONS = 25


@dataclasses.dataclass(frozen=True)
class ClassifyRecipe:
    """How the members of a classifier are trained.

    Attributes:
        members: Networks; at most as many as there are folds.
        batch_size: Sequences in a batch.
        steps: Updates of one member at the most.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations without a better one before a member stops.
        checkpoint_every: Steps between two checkpoints.
        dropout: See `ClassifyModule`.
        recurrent_dropout: On the recurrence.
        label_smoothing: See `SequenceObjective`.
        augmentation: See `SequenceObjective`.
        seed: Of everything random.
    """

    members: int
    batch_size: int
    steps: int
    learning_rate: float
    weight_decay: float
    patience: int
    checkpoint_every: int
    dropout: float
    recurrent_dropout: float
    label_smoothing: float
    augmentation: float
    seed: int

    def training(self, member: int) -> TrainingConfig:
        """For the loop."""
        return TrainingConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            validate_every=max(1, self.steps // _VALIDATIONS),
            patience=self.patience,
            checkpoint_every=self.checkpoint_every,
            seed=int(random_generator(self.seed, member).integers(2**31)),
        )


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """Trained members.

    Attributes:
        plan: What each one is made of.
        modules: The members, in evaluation mode.
        histories: The course of each one's training.
        window: Steps that a feed-forward network sees at once; 0 for one that remembers.
    """

    plan: ClassifyPlan
    modules: tuple[ClassifyModule, ...]
    histories: tuple[History, ...]
    window: int

    @property
    def parameter_count(self) -> int:
        """Number of weights, all members together."""
        return sum(module.parameter_count for module in self.modules)

    @property
    def seconds(self) -> float:
        """Time spent in training."""
        return sum(history.seconds for history in self.histories)

    def probabilities(self, sequences: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Mean probability of each class over the members, shape (N, C)."""
        inputs = windowed(sequences, self.window)
        parts = [class_probabilities(module, inputs) for module in self.modules]
        mean: NDArray[np.float64] = np.mean(parts, axis=0)
        return mean

    def out_of_fold(
        self, sequences: Sequence[NDArray[np.float32]], folds: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What the member that did not learn from a case says of it, shape (N, C).

        Args:
            sequences: Those of training, N.
            folds: The fold of each, shape (N,). A case of a fold that no member left out is NaN.
        """
        result = np.full((len(sequences), self.plan.classes), np.nan)
        for member, module in enumerate(self.modules):
            held = np.flatnonzero(folds == member).tolist()
            if len(held):
                inputs = windowed([sequences[index] for index in held], self.window)
                result[held] = class_probabilities(module, inputs)
        return result

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        histories = [dataclasses.asdict(history) for history in self.histories]
        return {"plan": self.plan.to_dict(), "window": self.window, "histories": histories}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights by "member.name", as numpy arrays."""
        return {
            f"{member}.{name}": parameter.detach().numpy()
            for member, module in enumerate(self.modules)
            for name, parameter in module.named_parameters()
        }

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
    ) -> TrainedClassifier:
        """Read what `document` and `weights` gave.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if they do not fit together.
        """
        plan = ClassifyPlan.from_dict(document["plan"])
        modules = []
        for member in range(len(document["histories"])):
            module = ClassifyModule(plan)
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    value = weights[f"{member}.{name}"]
                    if value.shape != tuple(parameter.shape):
                        raise ValueError(f"weight {member}.{name} has shape {value.shape}")
                    parameter.copy_(torch.from_numpy(value))
            modules.append(module.eval())
        histories = tuple(History(**history) for history in document["histories"])
        return cls(plan, tuple(modules), histories, document["window"])


def feed_forward_plan(inputs: int, classes: int, num_layers: int, parameters: int) -> ClassifyPlan:
    """A feed-forward network with as near as possible so many weights.

    It takes a whole series, brought to a fixed length, as one step. Its layers are plain ReLU
    neurons: gates without a memory to guard would only spend its share of the weights.

    Args:
        inputs: Values of a series of that length.
        classes: C.
        num_layers: Layers.
        parameters: Weights of one recurrent module.
    """

    def build(hidden_size: int) -> ClassifyPlan:
        return ClassifyPlan.build(
            inputs, classes, "rnn_relu", hidden_size, num_layers, "none", pooling="last"
        )

    def excess(hidden_size: int) -> int:
        with torch.device("meta"):
            return ClassifyModule(build(hidden_size)).parameter_count - parameters

    low, high = 1, _LARGEST_RIVAL  # the number of weights grows with the size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if excess(middle) >= 0 else (middle + 1, high)
    if low > 1 and -excess(low - 1) < excess(low):
        low -= 1
    return build(low)


def checkpoint_of(checkpoint: Path, title: str, member: int) -> Path:
    """Where a member's checkpoint is."""
    return checkpoint.with_name(f"{checkpoint.name}-{title}-{member}")


def train_classifier(
    plan: ClassifyPlan,
    sequences: Sequence[NDArray[np.float32]],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    recipe: ClassifyRecipe,
    *,
    title: str,
    window: int = 0,
    class_weights: NDArray[np.float64] | None = None,
    trained_on: str = "",
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
) -> TrainedClassifier:
    """Train the members one after another.

    Args:
        plan: What each is made of.
        sequences: Scaled, N.
        labels: Number of each one's class, shape (N,).
        folds: Fold of each, −1 for none, shape (N,); member m validates on fold m.
        recipe: How to train.
        title: For the progress bar and the checkpoints; part of their identity.
        window: Steps that a feed-forward network sees at once; 0 for one that remembers.
        class_weights: See `SequenceObjective`.
        trained_on: Hash of the data; part of the checkpoints' identity.
        checkpoint: Where to keep the state of the trainings; None for none.
        resume: Go on from the checkpoints, if there are any.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
    """
    modules, histories = [], []
    weights = None if class_weights is None else class_weights.tolist()
    for member in range(recipe.members):
        config = recipe.training(member)
        held = np.flatnonzero(folds == member).tolist()
        rest = np.flatnonzero(folds != member).tolist()
        torch.manual_seed(config.seed)
        module = ClassifyModule(
            plan, dropout=recipe.dropout, recurrent_dropout=recipe.recurrent_dropout
        )
        objective = SequenceObjective(
            module,
            [sequences[index] for index in rest],
            labels[rest],
            ([sequences[index] for index in held], labels[held]),
            batch_size=recipe.batch_size,
            class_weights=class_weights,
            label_smoothing=recipe.label_smoothing,
            augmentation=recipe.augmentation,
            window=window,
            seed=config.seed,
        )
        identity = json.dumps(
            [title, member, window, trained_on, plan.to_dict(), weights, dataclasses.asdict(recipe)]
        )
        name = f"{title} {member + 1}/{recipe.members}"
        logs = log_dir and log_dir / f"{title}-{member}"
        with watching(name, log_dir=logs, bar=progress) as on_update:
            history = train(
                module,
                objective,
                config,
                fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
                checkpoint=checkpoint and checkpoint_of(checkpoint, title, member),
                resume=resume,
                on_update=on_update,
            )
        modules.append(module)
        histories.append(history)
    return TrainedClassifier(plan, tuple(modules), tuple(histories), window)
