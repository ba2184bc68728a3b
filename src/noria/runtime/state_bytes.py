"""A stream's state as bytes.

    magic, version   8 + 4 bytes
    model            32 bytes, the SHA-256 of the model that it belongs to
    size             8 bytes, of the two that follow
    network          the layers' states side by side, as many as the model says
    memory           what the task remembers besides
    checksum         32 bytes, the SHA-256 of all before it

Numbers are little-endian. Sizes are checked before anything is read; nothing in it is ever run.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import StateError

__all__ = ["read_state", "write_state"]

_MAGIC, _VERSION = b"noria\0st", 1
_HEADER = struct.Struct("<8sI32sQ")
_CHECKSUM = 32


def write_state(model: str, network: NDArray[Any], memory: bytes) -> bytes:
    """The bytes of a state.

    Args:
        model: SHA-256 of the model, in hexadecimal.
        network: Shape (S,).
        memory: The task's.
    """
    body = network.astype(network.dtype.newbyteorder("<")).tobytes() + memory
    whole = _HEADER.pack(_MAGIC, _VERSION, bytes.fromhex(model), len(body)) + body
    return whole + hashlib.sha256(whole).digest()


def read_state(model: str, like: NDArray[Any], data: bytes) -> tuple[NDArray[Any], bytes]:
    """Read what `write_state` wrote.

    Args:
        model: SHA-256 of the model that is to go on from it.
        like: A network state of this model, shape (S,), for size and dtype.
        data: The bytes.

    Returns:
        The network's state, like `like`, and the task's memory.

    Raises:
        StateError: if the bytes are damaged, truncated, of another version or another model's.
    """
    if len(data) < _HEADER.size + _CHECKSUM or not data.startswith(_MAGIC):
        raise StateError("this is no saved state of a stream, or its beginning is damaged")
    _, version, owner, size = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise StateError(
            f"the saved state has version {version}; this Noria reads version {_VERSION}"
        )
    if len(data) != _HEADER.size + size + _CHECKSUM:
        raise StateError(
            f"the saved state has {len(data)} bytes, not {_HEADER.size + size + _CHECKSUM}: it was"
            " cut short or something was added"
        )
    if hashlib.sha256(data[:-_CHECKSUM]).digest() != data[-_CHECKSUM:]:
        raise StateError("the saved state is damaged: its content does not match its checksum")
    if owner.hex() != model:
        raise StateError(
            f"the saved state belongs to the model {owner.hex()[:12]}…, not to this one,"
            f" {model[:12]}…: open that model, or start the stream afresh"
        )
    if size < like.nbytes:
        raise StateError("the saved state is damaged: it is too short for its model")
    first = _HEADER.size + like.nbytes
    stored = like.dtype.newbyteorder("<")
    network = np.frombuffer(data[_HEADER.size : first], stored).astype(like.dtype)
    if not np.isfinite(network).all():
        raise StateError("the saved state is damaged: the network's state is not finite")
    return network, data[first:-_CHECKSUM]
