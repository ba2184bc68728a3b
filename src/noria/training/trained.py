"""A part of a model, trained: what a task's network and its feed-forward rival share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from noria.errors import ModelFileError
from noria.features.tokens import Tokenizer
from noria.runtime.files import replace_file
from noria.training.loop import History, Objective, TrainingConfig, train
from noria.training.progress import watching

__all__ = ["Trained", "TrainingRun", "checkpoint_of", "matching_size"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)
BatchT = TypeVar("BatchT")


@dataclasses.dataclass(frozen=True)
class Trained(Generic[ModuleT]):
    """A trained module.

    Attributes:
        module: In evaluation mode; its `plan` says what it is made of.
        history: The course of its training.
    """

    module: ModuleT
    history: History

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        plan: Any = self.module.plan
        return {"plan": plan.to_dict(), "history": dataclasses.asdict(self.history)}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights by name, as numpy arrays."""
        return {name: p.detach().numpy() for name, p in self.module.named_parameters()}

    @classmethod
    def read(
        cls, module: ModuleT, document: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
    ) -> Trained[ModuleT]:
        """Put what `document` and `weights` gave into a fresh module.

        Raises:
            KeyError, TypeError, ValueError: if they do not fit together.
        """
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                value = weights[name]
                if value.shape != tuple(parameter.shape):
                    raise ValueError(f"weight {name} has shape {value.shape}")
                parameter.copy_(torch.from_numpy(value))
        return cls(module.eval(), History(**document["history"]))


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """What the trainings of one `fit` have in common.

    Attributes:
        trained_on: Hash of the data; part of the checkpoints' identity.
        checkpoint: Where to keep the states of the trainings; None for none.
        resume: Go on from the checkpoints, if there are any.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
        tokenizer: Content of the file with the tokenizer, which is written with the first training.
    """

    trained_on: str = ""
    checkpoint: Path | None = None
    resume: bool = False
    log_dir: Path | None = None
    progress: bool = False
    tokenizer: bytes | None = None

    def tokenizing(
        self, texts: Iterable[str], kind: str, **settings: Any
    ) -> tuple[Tokenizer, TrainingRun]:
        """Learn a tokenizer, or take that of the run that goes on.

        Learned twice it may differ a little, and weights are of no use to other tokens.

        Args:
            texts: To learn from.
            kind: See `Tokenizer.train`.
            settings: See `Tokenizer.train`.

        Returns:
            The tokenizer, and a run whose checkpoints are for it alone.

        Raises:
            ModelFileError: if the file of the run that goes on is damaged, or was written for other
                data or settings.
        """
        path = self.checkpoint and checkpoint_of(self.checkpoint, "tokenizer")
        identity = _hash([self.trained_on, kind, settings])
        if path is not None and self.resume and path.exists():
            document = _read_tokenizer(path, identity)
        else:
            document = Tokenizer.train(texts, kind, **settings).to_dict()
        content = json.dumps({"fingerprint": identity, "tokenizer": document}).encode()
        both = _hash([self.trained_on, document])
        run = dataclasses.replace(self, trained_on=both, tokenizer=content)
        # read back in any case, as the library does not read all the digits of what it wrote
        return Tokenizer.from_dict(document), run

    def train(
        self,
        title: str,
        module: ModuleT,
        objective: Objective[BatchT],
        config: TrainingConfig,
        recipe: Any,
        sample: Callable[[], str] | None = None,
    ) -> Trained[ModuleT]:
        """Train a part.

        Args:
            title: For the progress bar and the checkpoint; part of its identity.
            module: With fresh weights.
            objective: Batches, loss and validation.
            config: For the loop.
            recipe: What else decides the outcome, as a dataclass; part of the identity.
            sample: What the module has to show after a validation.
        """
        if self.checkpoint is not None and self.tokenizer is not None:
            replace_file(checkpoint_of(self.checkpoint, "tokenizer"), self.tokenizer)
        plan: Any = module.plan
        settings = [dataclasses.asdict(config), dataclasses.asdict(recipe)]
        identity = _hash([title, self.trained_on, plan.to_dict(), settings])
        logs = self.log_dir and self.log_dir / title
        with watching(title, log_dir=logs, bar=self.progress) as on_update:
            history = train(
                module,
                objective,
                config,
                fingerprint=identity,
                checkpoint=self.checkpoint and checkpoint_of(self.checkpoint, title),
                resume=self.resume,
                on_update=on_update,
                sample=sample,
            )
        return Trained(module, history)


def _hash(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _read_tokenizer(path: Path, identity: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        fingerprint, document = content["fingerprint"], dict(content["tokenizer"])
        Tokenizer.from_dict(document)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{path} is damaged ({error}); delete it to train from the start"
        ) from error
    if fingerprint != identity:
        raise ModelFileError(
            f"{path} was written for other data or settings; use those again,"
            " or delete it to train from the start"
        )
    return document


def checkpoint_of(checkpoint: Path, title: str) -> Path:
    """Where a part's checkpoint is."""
    return checkpoint.with_name(f"{checkpoint.name}-{title}")


def matching_size(
    make: Callable[[int], nn.Module], parameters: int, largest: int, smallest: int = 1
) -> int:
    """The size for which a module has as near as possible so many weights.

    Args:
        make: Makes one of a size; more weights, the larger. It gets no memory for them.
        parameters: The number wanted.
        largest: Largest size to think of.
        smallest: Smallest size that can be made.
    """

    def excess(size: int) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in make(size).parameters()) - parameters

    low, high = smallest, largest
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if excess(middle) >= 0 else (middle + 1, high)
    if low > smallest and -excess(low - 1) < excess(low):
        low -= 1
    return low
