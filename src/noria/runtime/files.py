"""Files that are whole or not there."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import ResourceError

__all__ = ["content_hash", "replace_file"]


def content_hash(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 of a text and of arrays with their names, dtypes and shapes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        # the array's own memory: a copy of a large one would double what reading a file takes
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Put content at a path at once: after a crash it holds the old file or the new one.

    Args:
        path: The file to make or replace.
        content: All of it.

    Raises:
        ResourceError: if the folder is not there or the disk does not take it.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written: {error.strerror}") from error
