"""Training the networks of a regressor of whole series; the mean of the members is the answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from noria.training.classifying import ClassifyRecipe
from noria.training.loop import TrainingConfig
from noria.training.members import MemberPlan, Members, train_members
from noria.training.sequences import NumberObjective, Sequences, outputs, windowed

__all__ = ["TrainedRegressor", "train_regressor"]

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class TrainedRegressor(Members):
    """Trained members.

    Attributes:
        window: Steps that a feed-forward network sees at once; 0 for a network that takes the
            sequences as they are.
    """

    window: int = 0

    def numbers(self, sequences: Sequences) -> Floats:
        """Mean over the members of the number of each sequence, shape (N,)."""
        inputs = windowed(sequences, self.window)
        mean: Floats = np.mean([outputs(module, inputs)[:, 0] for module in self.modules], axis=0)
        return mean

    def out_of_fold(self, member: int, sequences: Sequences) -> Floats:
        """What one member says of sequences that it did not learn from, shape (N,)."""
        return outputs(self.modules[member], windowed(sequences, self.window))[:, 0]

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        return {**super().document(), "window": self.window}


def train_regressor(
    plan: MemberPlan,
    sequences: Sequences,
    numbers: NDArray[np.float32],
    folds: NDArray[np.int64],
    recipe: ClassifyRecipe,
    *,
    title: str,
    window: int = 0,
    trained_on: str = "",
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
) -> TrainedRegressor:
    """Train the members one after another.

    Args:
        plan: What each is made of, with one output.
        sequences: N.
        numbers: In units of their deviation, shape (N,).
        folds: Fold of each, −1 for none, shape (N,); member m validates on fold m.
        recipe: How to train.
        title: For the progress bar and the checkpoints; part of their identity.
        window: Steps that a feed-forward network sees at once; 0 for one that takes the sequences
            as they are.
        trained_on: Hash of the data; part of the checkpoints' identity.
        checkpoint: Where to keep the state of the trainings; None for none.
        resume: Go on from the checkpoints, if there are any.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
    """

    def objective(member: int, module: nn.Module, config: TrainingConfig) -> NumberObjective:
        held = np.flatnonzero(folds == member).tolist()
        rest = np.flatnonzero(folds != member).tolist()
        return NumberObjective(
            module,
            [sequences[index] for index in rest],
            numbers[rest],
            ([sequences[index] for index in held], numbers[held]),
            batch_size=recipe.batch_size,
            class_weights=None,
            label_smoothing=0.0,
            augmentation=recipe.augmentation,
            window=window,
            seed=config.seed,
        )

    modules, histories = train_members(
        plan,
        recipe,
        objective,
        title=title,
        identity=["regress", window, trained_on],
        checkpoint=checkpoint,
        resume=resume,
        log_dir=log_dir,
        progress=progress,
    )
    return TrainedRegressor(plan, modules, histories, window)
