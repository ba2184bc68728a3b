"""Training the networks of a tagger, and keeping what it takes to use them.

The members' scores of tags, and of one tag after another, are averaged: the normalised product of
random fields over a chain, each to the power of 1 / members, is again a random field over a chain.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.modules.crf import best_chains, marginals
from noria.modules.tag import TagModule, TagPlan
from noria.training.loop import TrainingConfig
from noria.training.members import MemberRecipe, Members, train_members
from noria.training.sequences import Padded, Sequences, chosen_of_step, pad

__all__ = ["Labels", "TagObjective", "TrainedTagger", "train_tagger"]

_INFERENCE_BATCH = 128

Labels = Sequence[NDArray[np.int64]]
"""Numbers of the tags of each sentence, (T_i,)."""

Judge = Callable[[Labels, list[int]], float]
"""How good labels are for some of the training sentences; higher is better, 1 the best."""


@dataclasses.dataclass(frozen=True)
class TrainedTagger(Members):
    """Trained members."""

    def tag(self, sequences: Sequences) -> list[NDArray[np.int64]]:
        """The likeliest chain of tags of each sentence, as numbers, each (T_i,)."""
        return tag_with(self.modules, sequences)[0]

    def tag_and_tell(
        self, sequences: Sequences
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
        """The same, and how likely each tag is, over all chains, each (T_i,)."""
        return tag_with(self.modules, sequences, likely=True)

    def out_of_fold(
        self, sequences: Sequences, fold: int, own: Sequence[int]
    ) -> list[NDArray[np.int64]]:
        """The tags that the member which left a fold out gives to some sentences."""
        return tag_with([self.modules[fold]], [sequences[index] for index in own])[0]


@torch.no_grad()
def tag_with(
    modules: Sequence[TagModule], sequences: Sequences, *, likely: bool = False
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
    """The likeliest tags of each sentence by the mean of some modules' scores.

    Args:
        modules: In evaluation mode.
        sequences: Each (T_i, I).
        likely: Whether to tell how likely each tag is.

    Returns:
        Numbers of tags, and their marginal probabilities, NaN if they are not asked for.
    """
    transitions = torch.stack([module.chain.transitions() for module in modules]).mean(dim=0)
    tags = [np.empty(len(sequence), np.int64) for sequence in sequences]
    shares = [np.full(len(sequence), np.nan) for sequence in sequences]
    order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
    for start in range(0, len(sequences), _INFERENCE_BATCH):
        chosen = order[start : start + _INFERENCE_BATCH].tolist()
        x, lengths = pad([sequences[index] for index in chosen])
        emissions = torch.stack([module(x, lengths) for module in modules]).mean(dim=0)
        best = best_chains(emissions, transitions, lengths)
        for row, index in enumerate(chosen):
            tags[index][:] = best[row, : len(tags[index])].numpy()
        if likely:
            all_tags = marginals(emissions, transitions, lengths)
            own = all_tags.gather(2, best[:, :, None])[:, :, 0].clamp(0, 1)
            for row, index in enumerate(chosen):
                shares[index][:] = own[row, : len(tags[index])].numpy()
    return tags, shares


class TagObjective:
    """−log of the probability of the right chains, a word, every sentence once an epoch.

    Args:
        module: The module.
        sequences: For training.
        labels: Numbers of their tags.
        validate: Share of what the module gets wrong in the validation part.
        batch_size: Sentences at the most.
        seed: Of the order.
    """

    def __init__(
        self,
        module: TagModule,
        sequences: Sequences,
        labels: Labels,
        validate: Callable[[], float],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.module = module
        self.sequences = sequences
        self.labels = labels
        self.lengths = np.array([len(sequence) for sequence in sequences])
        self.validate = validate
        self.batches = math.ceil(len(sequences) / batch_size)
        self.seed = seed

    def batch(self, step: int) -> tuple[tuple[Padded, Tensor], bool]:
        """The batch of a step."""
        chosen = chosen_of_step(step, len(self.sequences), self.batches, self.seed, self.lengths)
        tags, _ = pad([self.labels[index][:, np.newaxis] for index in chosen])
        return (pad([self.sequences[index] for index in chosen]), tags[:, :, 0]), False

    def loss(self, batch: tuple[Padded, Tensor], state: Any) -> tuple[Tensor, None]:
        """Nats a word."""
        (x, lengths), tags = batch
        losses = self.module.chain(self.module(x, lengths), tags, lengths)
        return losses.sum() / lengths.sum(), None


def train_tagger(
    plan: TagPlan,
    sequences: Sequences,
    labels: Labels,
    folds: NDArray[np.int64],
    recipe: MemberRecipe,
    judge: Judge,
    *,
    title: str,
    trained_on: str,
    prepare: Callable[[Any], None] = lambda module: None,
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
) -> TrainedTagger:
    """Train the members one after another.

    Args:
        plan: What each is made of.
        sequences: N.
        labels: Numbers of their tags, N.
        folds: Fold of each, shape (N,); member m validates on fold m.
        recipe: How to train.
        judge: How good a member's tags are; the best weights are kept.
        title: For the progress bar and the checkpoints; part of their identity.
        trained_on: Hash of the data; part of the checkpoints' identity.
        prepare: Called with a fresh module.
        checkpoint: Where to keep the state of the trainings; None for none.
        resume: Go on from the checkpoints, if there are any.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
    """

    def objective(member: int, module: Any, config: TrainingConfig) -> TagObjective:
        held = np.flatnonzero(folds == member).tolist()
        rest = np.flatnonzero(folds != member).tolist()
        own = [sequences[index] for index in held]
        return TagObjective(
            module,
            [sequences[index] for index in rest],
            [labels[index] for index in rest],
            lambda: 1 - judge(tag_with([module], own)[0], held),
            batch_size=recipe.batch_size,
            seed=config.seed,
        )

    modules, histories = train_members(
        plan,
        recipe,
        objective,
        title=title,
        identity=[trained_on],
        prepare=prepare,
        checkpoint=checkpoint,
        resume=resume,
        log_dir=log_dir,
        progress=progress,
    )
    return TrainedTagger(plan, modules, histories)
