"""Training the networks of a classifier, and keeping what it takes to use them.

The mean probability of the members is the answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from noria.modules.classify import ClassifyPlan
from noria.training.loop import TrainingConfig
from noria.training.members import MemberPlan, MemberRecipe, Members, nearest_size, train_members
from noria.training.sequences import SequenceObjective, Sequences, class_probabilities, windowed

__all__ = ["ClassifyRecipe", "TrainedClassifier", "feed_forward_plan", "train_classifier"]


@dataclasses.dataclass(frozen=True)
class ClassifyRecipe(MemberRecipe):
    """How the members of a classifier are trained.

    Attributes:
        label_smoothing: See `SequenceObjective`.
        augmentation: See `SequenceObjective`.
        by_length: See `SequenceObjective`.
    """

    label_smoothing: float = 0.0
    augmentation: float = 0.0
    by_length: bool = False


@dataclasses.dataclass(frozen=True)
class TrainedClassifier(Members):
    """Trained members.

    Attributes:
        window: Steps that a feed-forward network sees at once; 0 for a network that takes the
            sequences as they are.
    """

    window: int = 0

    def probabilities(self, sequences: Sequences) -> NDArray[np.float64]:
        """Mean probability of each class over the members, shape (N, C)."""
        inputs = windowed(sequences, self.window)
        parts = [self._ask(module, inputs) for module in self.modules]
        mean: NDArray[np.float64] = np.mean(parts, axis=0)
        return mean

    def out_of_fold(self, sequences: Sequences, folds: NDArray[np.int64]) -> NDArray[np.float64]:
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
                result[held] = self._ask(module, inputs)
        return result

    def _ask(self, module: nn.Module, inputs: Sequences) -> NDArray[np.float64]:
        return class_probabilities(module, inputs, multi_label=self.plan.multi_label)

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        return {**super().document(), "window": self.window}


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

    return build(nearest_size(build, parameters))


def train_classifier(
    plan: MemberPlan,
    sequences: Sequences,
    labels: NDArray[Any],
    folds: NDArray[np.int64],
    recipe: ClassifyRecipe,
    *,
    title: str,
    window: int = 0,
    class_weights: NDArray[np.float64] | None = None,
    trained_on: str = "",
    prepare: Callable[[Any], None] = lambda module: None,
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
) -> TrainedClassifier:
    """Train the members one after another.

    Args:
        plan: What each is made of.
        sequences: N.
        labels: See `SequenceObjective`, N.
        folds: Fold of each, −1 for none, shape (N,); member m validates on fold m.
        recipe: How to train.
        title: For the progress bar and the checkpoints; part of their identity.
        window: Steps that a feed-forward network sees at once; 0 for one that takes the sequences
            as they are.
        class_weights: See `SequenceObjective`.
        trained_on: Hash of the data; part of the checkpoints' identity.
        prepare: Called with a fresh module.
        checkpoint: Where to keep the state of the trainings; None for none.
        resume: Go on from the checkpoints, if there are any.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
    """

    def objective(member: int, module: nn.Module, config: TrainingConfig) -> SequenceObjective:
        held = np.flatnonzero(folds == member).tolist()
        rest = np.flatnonzero(folds != member).tolist()
        return SequenceObjective(
            module,
            [sequences[index] for index in rest],
            labels[rest],
            ([sequences[index] for index in held], labels[held]),
            batch_size=recipe.batch_size,
            class_weights=class_weights,
            label_smoothing=recipe.label_smoothing,
            augmentation=recipe.augmentation,
            by_length=recipe.by_length,
            window=window,
            seed=config.seed,
        )

    modules, histories = train_members(
        plan,
        recipe,
        objective,
        title=title,
        identity=[window, trained_on, None if class_weights is None else class_weights.tolist()],
        prepare=prepare,
        checkpoint=checkpoint,
        resume=resume,
        log_dir=log_dir,
        progress=progress,
    )
    return TrainedClassifier(plan, modules, histories, window)
