"""The training loop.

One step is one batch and one update. Everything random in a step is drawn from (seed, step), so a
run that was killed and resumed takes the same steps, and ends with the same weights, as one that
was not.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from noria.errors import ModelFileError, UsageError
from noria.network import NetworkState
from noria.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

__all__ = ["History", "Objective", "TrainingConfig", "Update", "random_generator", "train"]

BatchT = TypeVar("BatchT")

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: Updates at the most.
        learning_rate: At the top of the schedule.
        weight_decay: Of the optimizer.
        clip_norm: Largest norm of the gradient; it is scaled down to this.
        validate_every: Steps between two validations.
        patience: Validations without a better one before training stops, and the best weights are
            kept; None trains to the end and keeps the last.
        checkpoint_every: Steps between two checkpoints.
        seed: Of the initial weights, the batches and the dropout.
        optimizer: "adamw" or plain "sgd".
        schedule: "cosine": a linear rise of the learning rate over the first twentieth of the
            steps, then half a cosine down to a hundredth; or "constant".
        average_after: Validations without a better one before the mean of the weights from then
            on takes their place where it is validated and kept; None for never. With "sgd" and
            "constant" this is NT-ASGD (Merity et al. 2018).
    """

    steps: int = 2000
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    validate_every: int = 100
    patience: int | None = 8
    checkpoint_every: int = 200
    seed: int = 0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"
    average_after: int | None = None

    def __post_init__(self) -> None:
        counts = ("steps", "validate_every", "patience", "checkpoint_every", "average_after")
        for name in counts:
            count = getattr(self, name)
            if count is not None and count < 1:
                raise UsageError(f"{name} is {count}: it must be at least 1")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}: it must be at least 0")
        if not self.learning_rate > 0 or not self.clip_norm > 0:
            raise UsageError("learning_rate and clip_norm must be above 0")
        for name, choices in [("optimizer", _OPTIMIZERS), ("schedule", ("cosine", "constant"))]:
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} is {getattr(self, name)!r}: {' or '.join(choices)}")

    def learning_rate_at(self, step: int) -> float:
        """The schedule: the learning rate of step 0, 1, … steps − 1."""
        if self.schedule == "constant":
            return self.learning_rate
        rise = max(1, self.steps // 20)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class Objective(Protocol[BatchT]):
    """What a task trains: its batches, its loss, its validation."""

    def batch(self, step: int) -> tuple[BatchT, bool]:
        """The batch of a step, a function of the step alone.

        Returns:
            The batch, and whether it goes on where the step before stopped: then the loss gets
            the state that step ended with, cut off from its gradients (truncated
            back-propagation through time).
        """
        ...

    def loss(self, batch: BatchT, state: NetworkState | None) -> tuple[Tensor, NetworkState | None]:
        """The loss to go down on, and the state at the batch's end."""
        ...

    def validate(self) -> float:
        """The loss on the validation data; lower is better."""
        ...


@dataclasses.dataclass
class History:
    """What happened in training, for the report.

    Attributes:
        step: Steps at which the network was validated.
        training: Mean loss of the steps since the validation before.
        validation: Loss on the validation data.
        best_step: The step whose weights were kept.
        stopped_early: Whether patience ran out before the steps did.
        seconds: Time spent, all runs of a resumed training together.
        samples: What the model had to show at each validation.
    """

    step: list[int] = dataclasses.field(default_factory=list)
    training: list[float] = dataclasses.field(default_factory=list)
    validation: list[float] = dataclasses.field(default_factory=list)
    best_step: int = 0
    stopped_early: bool = False
    seconds: float = 0.0
    samples: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Update:
    """What the loop tells its caller after every step.

    Attributes:
        step: Steps done so far.
        steps: Steps at the most.
        loss: Loss of this step.
        validation: Latest validation loss; NaN before the first.
        learning_rate: Learning rate of this step.
        validated: Whether this step was validated.
    """

    step: int
    steps: int
    loss: float
    validation: float
    learning_rate: float
    validated: bool


def random_generator(*key: int) -> np.random.Generator:
    """The random numbers that belong to a key such as (seed, step)."""
    return np.random.default_rng(key)


def train(
    model: nn.Module,
    objective: Objective[BatchT],
    config: TrainingConfig,
    *,
    fingerprint: str = "",
    checkpoint: Path | None = None,
    resume: bool = False,
    on_update: Callable[[Update], None] | None = None,
    sample: Callable[[], str] | None = None,
) -> History:
    """Train a model in place and leave it with the best weights by validation, or the last.

    Args:
        model: The module whose parameters are trained.
        objective: Batches, loss and validation.
        config: How to train.
        fingerprint: Identifies data and settings; a checkpoint of another one is refused.
        checkpoint: Where to keep the checkpoint; None for none. It is deleted by the caller once
            the model is safe.
        resume: Go on from the checkpoint if there is one.
        on_update: Called after every step.
        sample: Shows what the model has learned, after every validation; for the report.

    Returns:
        The course of the training.

    Raises:
        UsageError: if a loss stops being a number.
        ModelFileError: if the checkpoint is damaged or belongs to other data or settings.
        ResourceError: if the disk does not take the checkpoint.
    """
    accelerator = Accelerator(cpu=True)
    optimizer = _OPTIMIZERS[config.optimizer](
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    run = _Run(model, optimizer)
    if resume and checkpoint is not None and checkpoint.exists():
        run.restore(read_checkpoint(checkpoint, fingerprint))
    prepared, stepper = accelerator.prepare(model, optimizer)
    started = time.monotonic() - run.history.seconds
    while run.step < config.steps and not run.history.stopped_early:
        rate = config.learning_rate_at(run.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(int(random_generator(config.seed, run.step).integers(2**62)))
        batch, continues = objective.batch(run.step)
        prepared.train()
        loss, state = objective.loss(batch, run.state if continues else None)
        _expect_finite("loss", float(loss.detach()), run.step + 1)
        stepper.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(prepared.parameters(), config.clip_norm)
        stepper.step()
        run.state = _detach(state)
        run.step += 1
        run.average()
        run.losses.append(float(loss.detach()))
        validated = run.step % config.validate_every == 0 or run.step == config.steps
        if validated:
            prepared.eval()
            with torch.no_grad(), run.averaged():
                validation = objective.validate()
                _expect_finite("validation loss", validation, run.step)
                run.judge(validation, config)
                if _diverges(run.history) and not _diverges(run.history, before=1):
                    warnings.warn(
                        f"the training diverges: at step {run.step} its loss is"
                        f" {run.history.training[-1]:.3g} and was"
                        f" {min(run.history.training):.3g}; lower learning_rate or clip_norm",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                if sample is not None:
                    run.history.samples.append(sample())
        run.history.seconds = time.monotonic() - started
        if on_update is not None:
            latest = run.history.validation[-1] if run.history.validation else math.nan
            on_update(Update(run.step, config.steps, float(loss.detach()), latest, rate, validated))
        finished = run.step == config.steps or run.history.stopped_early
        if checkpoint is not None and (finished or run.step % config.checkpoint_every == 0):
            write_checkpoint(checkpoint, run.checkpoint(fingerprint))
    run.keep_best()
    model.eval()
    return run.history


def _expect_finite(name: str, loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise UsageError(
            f"the {name} is {loss} at step {step}:"
            " lower learning_rate or look for extreme values in the data"
        )


def _diverges(history: History, before: int = 0) -> bool:
    """Whether the losses have left what was reached, by a fourth of the way and a tenth of it.

    Training and validation both, at two validations running: neither chance nor overfitting.

    Args:
        history: Of the training.
        before: Without so many of the latest validations.
    """
    end = len(history.step) - before
    for losses in (history.training[:end], history.validation[:end]):
        if len(losses) < 3:
            return False
        best = min(losses)
        bound = best + max((losses[0] - best) / 4, abs(best) / 10)
        if min(losses[-2:]) <= bound:
            return False
    return True


def _detach(state: NetworkState | None) -> NetworkState | None:
    if state is None:
        return None
    return tuple(tuple(part.detach() for part in layer) for layer in state)


class _Run:
    """All that a resumed run needs to go on."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer
        self.step = 0
        self.losses: list[float] = []
        self.since_best = 0
        self.history = History()
        self.state: NetworkState | None = None
        self.best: dict[str, Tensor] = {}
        self.mean: dict[str, Tensor] = {}
        self.mean_of = 0

    @torch.no_grad()
    def average(self) -> None:
        """Take the weights after a step into their mean, once there is one."""
        if self.mean:
            self.mean_of += 1
            for name, parameter in self.model.named_parameters():
                self.mean[name] += (parameter - self.mean[name]) / self.mean_of

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with the mean of its weights, once there is one."""
        own = {name: p.detach().clone() for name, p in self.model.named_parameters() if self.mean}
        self._put(self.mean)
        yield
        self._put(own)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])

    def judge(self, validation: float, config: TrainingConfig) -> None:
        """Note a validation; remember the weights if they are to be kept so far."""
        history = self.history
        best = min(history.validation, default=math.inf)
        history.step.append(self.step)
        history.training.append(float(np.mean(self.losses)))
        history.validation.append(validation)
        self.losses.clear()
        better = validation < best or not self.best
        if better or config.patience is None:
            self.best = {name: p.detach().clone() for name, p in self.model.named_parameters()}
            history.best_step = self.step
        if better:
            self.since_best = 0
        else:
            self.since_best += 1
            if self.since_best == config.average_after and not self.mean:
                self.mean = {n: torch.zeros_like(p) for n, p in self.model.named_parameters()}
                self.since_best = 0
            if config.patience is not None:
                history.stopped_early = self.since_best >= config.patience

    def keep_best(self) -> None:
        self._put(self.best)

    def checkpoint(self, fingerprint: str) -> Checkpoint:
        tensors = {f"model.{name}": p.detach() for name, p in self.model.named_parameters()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"mean.{name}": value for name, value in self.mean.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        for layer, parts in enumerate(self.state or ()):
            tensors |= {f"state.{layer}.{number}": part for number, part in enumerate(parts)}
        progress = {
            "step": self.step,
            "losses": self.losses,
            "since_best": self.since_best,
            "mean_of": self.mean_of,
            "history": dataclasses.asdict(self.history),
        }
        return Checkpoint(fingerprint, progress, tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        progress = checkpoint.progress
        weights = checkpoint.under("model")
        shapes = {name: value.shape for name, value in weights.items()}
        if shapes != {name: value.shape for name, value in self.model.named_parameters()}:
            raise ModelFileError(
                "the checkpoint is of a model with other weights; delete it to train from the start"
            )
        self.step = progress["step"]
        self.losses = progress["losses"]
        self.since_best = progress["since_best"]
        self.mean_of = progress["mean_of"]
        self.history = History(**progress["history"])
        self._put(weights)
        self.best = checkpoint.under("best")
        self.mean = checkpoint.under("mean")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in checkpoint.under("optimizer").items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = value
        self.optimizer.load_state_dict(
            {"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]}
        )
        layers: dict[int, list[Tensor]] = {}
        for name, value in sorted(checkpoint.under("state").items()):
            layers.setdefault(int(name.partition(".")[0]), []).append(value)
        self.state = tuple(tuple(parts) for _, parts in sorted(layers.items())) or None
