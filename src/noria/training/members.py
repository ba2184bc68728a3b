"""A few networks that learned from different folds of the same data.

Each member trains on everything but its fold and stops by that fold. So everything is learned from,
and for every case there is a member that did not learn from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from noria.training.loop import History, Objective, TrainingConfig, random_generator, train
from noria.training.progress import watching
from noria.training.trained import checkpoint_of

__all__ = [
    "MemberPlan",
    "MemberRecipe",
    "Members",
    "held_out",
    "member_checkpoints",
    "nearest_size",
    "repeated",
    "train_members",
]

_LARGEST_RIVAL = 4096
_VALIDATIONS = 25


class MemberPlan(Protocol):
    """What a member is made of."""

    def module(self, **dropouts: float) -> Any:
        """A module with fresh weights and a `parameter_count`."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""


@dataclasses.dataclass(frozen=True)
class MemberRecipe:
    """How members are trained.

    Attributes:
        members: Networks; at most as many as there are folds.
        batch_size: Sequences in a batch.
        steps: Updates of one member at the most.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations without a better one before a member stops; None keeps its last
            weights.
        checkpoint_every: Steps between two checkpoints.
        dropouts: Probabilities by name, for the plan's `module`.
        seed: Of everything random.
    """

    members: int
    batch_size: int
    steps: int
    learning_rate: float
    weight_decay: float
    patience: int | None
    checkpoint_every: int
    dropouts: Mapping[str, float]
    seed: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], *dropouts: str) -> Self:
        """Those of an estimator's settings that are for training.

        Args:
            settings: By name, more than are needed.
            *dropouts: Which of them are probabilities for the plan's `module`.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        own = {name: value for name, value in settings.items() if name in names}
        return cls(**own, dropouts={name: settings[name] for name in dropouts})

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
class Members:
    """Trained members.

    Attributes:
        plan: What each one is made of.
        modules: The members, in evaluation mode.
        histories: The course of each one's training.
    """

    plan: Any
    modules: tuple[Any, ...]
    histories: tuple[History, ...]

    @property
    def parameter_count(self) -> int:
        """Number of weights, all members together."""
        return sum(module.parameter_count for module in self.modules)

    @property
    def seconds(self) -> float:
        """Time spent in training."""
        return sum(history.seconds for history in self.histories)

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        histories = [dataclasses.asdict(history) for history in self.histories]
        return {"plan": self.plan.to_dict(), "histories": histories}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights by "member.name", as numpy arrays."""
        return {
            f"{member}.{name}": parameter.detach().numpy()
            for member, module in enumerate(self.modules)
            for name, parameter in module.named_parameters()
        }

    @classmethod
    def from_document(
        cls,
        plan: MemberPlan,
        document: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        **more: Any,
    ) -> Self:
        """Read what `document` and `weights` gave.

        Args:
            plan: That of the document.
            document: What `document` gave.
            weights: What `weights` gave.
            **more: Further attributes of the class.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if they do not fit together.
        """
        modules = []
        for member in range(len(document["histories"])):
            module = plan.module()
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    value = weights[f"{member}.{name}"]
                    if value.shape != tuple(parameter.shape):
                        raise ValueError(f"weight {member}.{name} has shape {value.shape}")
                    parameter.copy_(torch.from_numpy(value))
            modules.append(module.eval())
        histories = tuple(History(**history) for history in document["histories"])
        return cls(plan, tuple(modules), histories, **more)


def nearest_size(build: Callable[[int], MemberPlan], parameters: int) -> int:
    """The hidden size whose module has as near as possible so many weights.

    Args:
        build: The plan of a hidden size; the larger, the more weights.
        parameters: Number of weights to come near to.
    """

    def excess(hidden_size: int) -> int:
        with torch.device("meta"):
            count: int = build(hidden_size).module().parameter_count
        return count - parameters

    low, high = 1, _LARGEST_RIVAL
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if excess(middle) >= 0 else (middle + 1, high)
    return low - 1 if low > 1 and -excess(low - 1) < excess(low) else low


def member_checkpoints(checkpoint: Path, members: int) -> list[Path]:
    """The files that training a network and its feed-forward rival may have made."""
    return [
        checkpoint_of(checkpoint, f"{title}-{member}")
        for title in ("network", "fnn")
        for member in range(members)
    ]


def held_out(
    folds: NDArray[np.int64], members: int, ask: Callable[[int, list[int]], Sequence[Any]]
) -> list[Any]:
    """What is said of the cases of the members' folds, in the cases' order.

    Args:
        folds: Fold of each case, shape (N,).
        members: Folds to ask of, from 0 on.
        ask: What is said, in their order, of the cases of a fold by who did not learn from it.
    """
    said: dict[int, Any] = {}
    for fold in range(members):
        own = np.flatnonzero(folds == fold).tolist()
        if own:
            said |= zip(own, ask(fold, own), strict=True)
    return [said[case] for case in sorted(said)]


def repeated(
    cases: Sequence[Hashable],
    folds: NDArray[np.int64],
    members: int,
    test: Sequence[Hashable] | None = None,
) -> list[str]:
    """A note of the held-out cases that stand among those learned from too; none if there are none.

    Args:
        cases: Of training.
        folds: Fold of each, shape (N,).
        members: Folds that are held out, from 0 on.
        test: Cases held apart; None for cross-validation.
    """
    if test is not None:
        folds, members = np.repeat([-1, 0], [len(cases), len(test)]), 1
        cases = [*cases, *test]
    found_in: dict[Hashable, set[int]] = {}
    for case, fold in zip(cases, folds.tolist(), strict=True):
        found_in.setdefault(case, set()).add(fold)
    held = [case for case, fold in zip(cases, folds.tolist(), strict=True) if 0 <= fold < members]
    # who is asked of a fold learned from all the others
    count = sum(len(found_in[case]) > 1 for case in held)
    note = (
        f"{count} of the {len(held)} held-out cases stand word for word among those learned from:"
        " they tell of memory, not of what is new"
    )
    return [note] if count else []


def train_members(
    plan: MemberPlan,
    recipe: MemberRecipe,
    objective: Callable[[int, nn.Module, TrainingConfig], Objective[Any]],
    *,
    title: str,
    identity: Any,
    prepare: Callable[[Any], None] = lambda module: None,
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
) -> tuple[tuple[Any, ...], tuple[History, ...]]:
    """Train the members one after another.

    Args:
        plan: What each is made of.
        recipe: How to train.
        objective: That of a member's number, its module and its way of training.
        title: For the progress bar and the checkpoints; part of their identity.
        identity: What else the checkpoints belong to, as plain JSON values.
        prepare: Called with a fresh module.
        checkpoint: Where to keep the state of the trainings; None for none.
        resume: Go on from the checkpoints, if there are any.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.

    Returns:
        The modules, in evaluation mode, and the course of each one's training.
    """
    modules, histories = [], []
    for member in range(recipe.members):
        config = recipe.training(member)
        torch.manual_seed(config.seed)
        module = plan.module(**recipe.dropouts)
        prepare(module)
        whole = json.dumps([title, member, identity, plan.to_dict(), dataclasses.asdict(recipe)])
        name = f"{title} {member + 1}/{recipe.members}"
        logs = log_dir and log_dir / f"{title}-{member}"
        with watching(name, log_dir=logs, bar=progress) as on_update:
            history = train(
                module,
                objective(member, module, config),
                config,
                fingerprint=hashlib.sha256(whole.encode()).hexdigest(),
                checkpoint=checkpoint and checkpoint_of(checkpoint, f"{title}-{member}"),
                resume=resume,
                on_update=on_update,
            )
        modules.append(module)
        histories.append(history)
    return tuple(modules), tuple(histories)
