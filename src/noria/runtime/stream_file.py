"""The states of many streams in one file, replaced as a whole.

The sealed content is the number of lines taken, then for each stream the sizes of its name and of
its state, the name and the state.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from noria.errors import ResourceError, StateError
from noria.runtime.files import replace_file
from noria.runtime.session import Session, StreamState
from noria.runtime.state_bytes import seal, unseal

__all__ = ["read_streams", "write_streams"]

_LINES = struct.Struct("<Q")
_SIZES = struct.Struct("<IQ")


def write_streams(
    path: Path, session: Session, lines: int, states: Mapping[str, StreamState]
) -> None:
    """Write the file, at once or not at all.

    Args:
        path: The file to make or replace.
        session: The model.
        lines: Lines of input that made these states.
        states: The streams by name.

    Raises:
        ResourceError: if the disk does not take it.
    """
    parts = [_LINES.pack(lines)]
    for name, state in states.items():
        encoded, data = name.encode(), session.state_to_bytes(state)
        parts += [_SIZES.pack(len(encoded), len(data)), encoded, data]
    replace_file(path, seal("states", session.sha256, b"".join(parts)))


def read_streams(path: Path, session: Session) -> tuple[int, dict[str, StreamState]]:
    """Read what `write_streams` wrote.

    Returns:
        Lines of input, and the streams by name.

    Raises:
        StateError: if the file is damaged, truncated, no file of states or another model's.
        ResourceError: if it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResourceError(f"{path} cannot be read: {error.strerror}") from error
    try:
        content = unseal("states", session.sha256, data)
        (lines,) = _LINES.unpack_from(content)
        place = _LINES.size
        states = {}
        while place < len(content):
            name_size, size = _SIZES.unpack_from(content, place)
            first = place + _SIZES.size + name_size
            place = first + size
            name = content[first - name_size : first].decode()
            states[name] = session.state_from_bytes(content[first:place])
    except StateError as error:
        raise StateError(f"{path}: {error}") from error
    except (struct.error, UnicodeDecodeError) as error:
        raise StateError(f"{path}: the file of streams' states is damaged: {error}") from error
    return lines, states
