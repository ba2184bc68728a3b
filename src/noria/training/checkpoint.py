"""Checkpoints: one safetensors file, replaced as a whole: a kill leaves the last good one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from noria.errors import ModelFileError
from noria.runtime.files import content_hash, replace_file

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]

_FORMAT = "noria-checkpoint-1"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training run.

    Attributes:
        fingerprint: Identifies the data and settings of the run.
        progress: Plain JSON values: counters and history.
        tensors: Weights, optimizer moments and carried state, by dotted name.
    """

    fingerprint: str
    progress: dict[str, Any]
    tensors: dict[str, Tensor]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with `prefix` and a dot, that part taken off."""
        start = prefix + "."
        return {
            name.removeprefix(start): value
            for name, value in self.tensors.items()
            if name.startswith(start)
        }


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint over the one before, at once or not at all.

    Raises:
        ResourceError: if the disk does not take it.
    """
    tensors = {name: value.cpu().contiguous() for name, value in checkpoint.tensors.items()}
    run = json.dumps({"fingerprint": checkpoint.fingerprint, "progress": checkpoint.progress})
    metadata = {"format": _FORMAT, "run": run, "sha256": _hash(run, tensors)}
    replace_file(path, save(tensors, metadata))


def read_checkpoint(path: Path, fingerprint: str) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The file.
        fingerprint: What the checkpoint must have been written for.

    Raises:
        ModelFileError: if it is damaged, or was written for other data or settings.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ModelFileError(f"{path} is not a checkpoint of this version of Noria")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _hash(metadata["run"], tensors) != metadata["sha256"]:
            raise ValueError("its content does not match its hash")
        run = json.loads(metadata["run"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{path} is damaged ({error}); delete it to train from the start"
        ) from error
    if run["fingerprint"] != fingerprint:
        raise ModelFileError(
            f"{path} was written for other data or settings; use those again,"
            " or delete it to train from the start"
        )
    return Checkpoint(fingerprint, run["progress"], tensors)


def _hash(run: str, tensors: Mapping[str, Tensor]) -> str:
    arrays = {  # as bytes, for numpy has no bfloat16
        f"{name} {value.dtype} {tuple(value.shape)}": value.reshape(-1).view(torch.uint8).numpy()
        for name, value in tensors.items()
    }
    return content_hash(run, arrays)
