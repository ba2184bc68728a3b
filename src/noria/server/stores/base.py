"""What a store promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from noria.errors import ResourceError

__all__ = ["Change", "Key", "Record", "Store", "StoreError"]


class Key(NamedTuple):
    """Names a stream: the model it belongs to, and its own name."""

    model: str
    stream: str


class StoreError(ResourceError):
    """The store did not take or give something; nothing of that transaction is kept.

    Attributes:
        full: Whether the disk is full.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


@dataclass(frozen=True, slots=True)
class Record:
    """A stream as a store holds it.

    Attributes:
        epoch: Given anew to every owner; a change under an older one is refused.
        sha256: Hash of the model that the stream began with.
        token: Name of the token that began it; empty without tokens.
        seq: Events that went into `state`.
        state: The state after them.
        events: What came after `seq`, in order: JSON arrays of events, to be fed again.
    """

    epoch: int
    sha256: str
    token: str
    seq: int
    state: bytes
    events: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction does to one stream.

    Attributes:
        key: The stream.
        epoch: Of the record it goes on from; None if the stream is new.
        sha256: Hash of the model; read only of a new stream.
        token: Name of the token that began it; read only of a new stream.
        seq: The last event of the stream after this change.
        answers: The new answers, a JSON array that ends with the answer to `seq`.
        state: The state after `seq`; None to leave the older one, when `events` are kept.
        events: The new events, a JSON array, to be fed to the older state; None if `state` is here.
        forget_to: Answers up to this seq need not be kept any longer; None to keep all.
    """

    key: Key
    epoch: int | None
    sha256: str
    token: str
    seq: int
    answers: bytes
    state: bytes | None
    events: bytes | None
    forget_to: int | None


class Store(Protocol):
    """Keeps streams: their state, their seq, and their latest answers.

    What has been awaited is durable. Every method raises `StoreError` when the store fails; then
    nothing of the call is kept, unless the connection to the store broke during the call: in that
    case all of it is kept or nothing, which `load` tells.
    """

    exclusive: bool
    """Whether nobody else can change the streams while this store is open."""

    async def open(self) -> None:
        """Connect, and make the tables if there are none."""

    async def close(self) -> None:
        """Let go of everything."""

    async def load(self, keys: Sequence[Key], *, claim: bool = True) -> dict[Key, Record]:
        """The records of the streams that are there.

        Args:
            keys: The streams.
            claim: Become their owner: from now on a change of any earlier owner is refused.
        """

    async def commit(self, changes: Sequence[Change]) -> Mapping[Key, int]:
        """Make changes of different streams durable, in one transaction.

        Returns:
            The epoch of every stream whose change was taken. A stream that is not among them has
            another owner by now, or is gone, or was there already though it was to be new.
        """

    async def replace(self, key: Key, record: Record) -> None:
        """Put a record in the place of a stream, answers included; all owners lose it."""

    async def answers(self, key: Key, first: int, last: int) -> dict[int, bytes]:
        """Arrays of answers, each by the seq of its last answer, that meet `first` to `last`."""

    async def forget(self, key: Key) -> str | None:
        """Delete a stream and every trace of it.

        Returns:
            The name of the token that began it; None if there is no such stream.
        """

    async def expire(self, idle_since: int, limit: int) -> dict[Key, str]:
        """Delete at most `limit` streams that had no event since a time.

        Args:
            idle_since: Unix time in seconds.
            limit: How many at most.

        Returns:
            The token of every stream that was deleted.
        """

    async def count(self) -> dict[str, int]:
        """How many streams each token began."""

    async def check(self) -> None:
        """Fail unless the store can be written to."""
