"""What a stream leaves behind, as bytes that name their model and prove themselves whole.

    magic, version   8 + 4 bytes
    model            32 bytes, the SHA-256 of the model that it belongs to
    size             8 bytes, of the content
    content
    checksum         32 bytes, the SHA-256 of all before it

Numbers are little-endian. Sizes are checked before anything is read; nothing in it is ever run.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Literal

from noria.errors import StateError

__all__ = ["seal", "unseal"]

Kind = Literal["state", "states"]

_MAGIC = {"state": b"noria\0st", "states": b"noria\0ss"}
_NAMES = {"state": "saved state of a stream", "states": "file of streams' states"}
_VERSION = 1
_HEADER = struct.Struct("<8sI32sQ")
_CHECKSUM = 32


def seal(kind: Kind, model: str, content: bytes) -> bytes:
    """Content with the hash of its model around it and a checksum.

    Args:
        kind: The state of one stream, or the states of many.
        model: SHA-256 of the model, in hexadecimal.
        content: Any bytes.
    """
    whole = _HEADER.pack(_MAGIC[kind], _VERSION, bytes.fromhex(model), len(content)) + content
    return whole + hashlib.sha256(whole).digest()


def unseal(kind: Kind, model: str, data: bytes) -> bytes:
    """The content that was sealed.

    Args:
        kind: What it must be.
        model: SHA-256 of the model that is to go on from it.
        data: The bytes.

    Raises:
        StateError: if the bytes are damaged, truncated, of another version or another model's.
    """
    name = _NAMES[kind]
    if len(data) < _HEADER.size + _CHECKSUM or not data.startswith(_MAGIC[kind]):
        raise StateError(f"this is no {name}, or its beginning is damaged")
    _, version, owner, size = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise StateError(f"the {name} has version {version}; this Noria reads version {_VERSION}")
    if len(data) != _HEADER.size + size + _CHECKSUM:
        raise StateError(
            f"the {name} has {len(data)} bytes, not {_HEADER.size + size + _CHECKSUM}: it was cut"
            " short or something was added"
        )
    if hashlib.sha256(memoryview(data)[:-_CHECKSUM]).digest() != data[-_CHECKSUM:]:
        raise StateError(f"the {name} is damaged: its content does not match its checksum")
    if owner.hex() != model:
        raise StateError(
            f"the {name} belongs to the model {owner.hex()[:12]}…, not to this one,"
            f" {model[:12]}…: open that model, or start afresh"
        )
    return data[_HEADER.size : -_CHECKSUM]
