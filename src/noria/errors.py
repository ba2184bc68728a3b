"""Every error Noria raises on purpose.

    NoriaError
    ├── UsageError          a call or a command line that cannot be meant     exit 2
    │   ├── ShapeError      an array whose shape disagrees with the model
    │   ├── WiringError     a wiring that cannot be built
    │   ├── KernelError     a configuration the native core does not run
    │   ├── NotFittedError  an estimator asked before fit; scikit-learn's too, so it lives in tasks
    │   └── MissingExtraError   an optional library is not installed
    ├── DataError           the user's data is not what it should be          exit 3
    ├── ModelFileError      a model file or checkpoint is damaged or foreign  exit 3
    ├── StateError          a stream's saved state is damaged or another model's      exit 3
    ├── ResourceError       out of memory, disk or another resource           exit 4
    └── ServerError         a server refuses a request or cannot be reached   exit 4

A message says what was wrong, where, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "KernelError",
    "MissingExtraError",
    "ModelFileError",
    "NoriaError",
    "ResourceError",
    "ServerError",
    "ShapeError",
    "StateError",
    "UsageError",
    "WiringError",
]


_LONGEST = 1000


class NoriaError(Exception):
    """Base of all errors raised by Noria.

    As text it has at most 1000 characters: what it repeats may come from a damaged or hostile file.

    Attributes:
        exit_code: What the command line returns when this error ends it.

    >>> len(str(DataError("a cell holds " + "x" * 5000)))
    1000
    """

    exit_code = 1

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class UsageError(NoriaError, ValueError):
    """Arguments that contradict each other or cannot be meant."""

    exit_code = 2


class ShapeError(UsageError):
    """An array whose shape disagrees with what it is used for."""


class WiringError(UsageError):
    """A feedback, adjacency or stack of layers that cannot be built."""


class KernelError(UsageError):
    """A configuration that the native core does not run; says why."""


class MissingExtraError(UsageError):
    """An optional library is needed and not installed; names the extra to install."""


class DataError(NoriaError, ValueError):
    """The user's data is not what it should be; names row and column where it can."""

    exit_code = 3


class ModelFileError(NoriaError, ValueError):
    """A model file or checkpoint is damaged, truncated or foreign."""

    exit_code = 3


class StateError(NoriaError, ValueError):
    """A stream's saved state is damaged, truncated, or belongs to another model."""

    exit_code = 3


class ResourceError(NoriaError, RuntimeError):
    """Out of memory, disk space or another resource."""

    exit_code = 4


class ServerError(NoriaError, RuntimeError):
    """A server refuses a request or cannot be reached.

    Attributes:
        kind: Of problem, such as "sequence-gap"; empty if the server named none.
        status: The HTTP status; 0 if there was no answer.
    """

    exit_code = 4

    def __init__(self, message: str, *, kind: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
