"""The model file: one safetensors file, its metadata a versioned JSON document.

The document says what the weights mean:

    {"format": "noria", "version": 1, "task": "forecast", "wiring": {…}, …}

and whatever else the task needs. A hash of document and weights stands beside it. No pickle. The
header's sizes are checked before anything is allocated.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from noria.errors import ModelFileError, WiringError
from noria.runtime.files import content_hash, replace_file
from noria.wiring import Wiring

__all__ = ["ModelFile", "plain_value", "read_model", "write_model"]

VERSION = 1


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A trained model.

    Attributes:
        document: What the weights mean, as plain JSON values.
        weights: Arrays by name.
        sha256: Hash of both; a saved state names the model it belongs to by this.
    """

    document: dict[str, Any]
    weights: dict[str, NDArray[Any]]
    sha256: str

    @property
    def task(self) -> str:
        """The application it was trained for, such as "forecast"."""
        return str(self.document["task"])

    @property
    def wiring(self) -> Wiring:
        """The network's wiring."""
        return Wiring.from_dict(self.document["wiring"])

    def part(self, name: str) -> dict[str, NDArray[Any]]:
        """The weights whose names begin with `name.`, by the rest of their names."""
        start = f"{name}."
        return {
            key.removeprefix(start): array
            for key, array in self.weights.items()
            if key.startswith(start)
        }


def plain_value(value: Any) -> Any:
    """A setting as a plain JSON value; numpy's numbers and arrays are taken too.

    >>> plain_value((np.int64(3), [np.float64(0.5)], "lstm"))
    [3, [0.5], 'lstm']
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [plain_value(part) for part in value] if isinstance(value, list | tuple) else value


def write_model(path: Path, document: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Write a model file, at once or not at all.

    Args:
        path: The file to make or replace.
        document: What the weights mean, as plain JSON values; `format` and `version` are added.
        weights: numpy arrays by name.

    Raises:
        ResourceError: if the disk does not take it.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in weights.items()}
    whole = {"format": "noria", "version": VERSION, **document}
    text = json.dumps(whole, allow_nan=False)
    replace_file(path, save(arrays, {"noria": text, "sha256": content_hash(text, arrays)}))


def read_model(path: Path | str) -> ModelFile:
    """Read a model file.

    Raises:
        ModelFileError: if it is missing, damaged, truncated, of a newer version or not Noria's.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder; name a model file")
    if not path.is_file():
        raise ModelFileError(f"{path}: there is no such model file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "noria" not in metadata:
                raise ModelFileError(f"{path} is a safetensors file, but no model of Noria's")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata["noria"]
        document = json.loads(text)
    except (SafetensorError, OSError, ValueError, MemoryError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} is damaged or no model file: {error}") from error
    if not isinstance(document, dict) or document.get("format") != "noria":
        raise ModelFileError(f"{path} is damaged: its document is not one of Noria's")
    if document.get("version") != VERSION:
        raise ModelFileError(
            f"{path} has version {shown(document.get('version'))} of the model format;"
            f" this Noria reads version {VERSION}"
        )
    digest = content_hash(text, weights)
    if metadata.get("sha256") != digest:
        raise ModelFileError(f"{path} is damaged: its content does not match its hash")
    missing = {"task", "wiring"} - document.keys()
    if missing:
        raise ModelFileError(f"{path} is damaged: its document lacks {', '.join(sorted(missing))}")
    try:
        Wiring.from_dict(document["wiring"])
    except WiringError as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
    return ModelFile(document, weights, digest)
