"""Messages: what clients send, and what they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from noria.server.access import Token
from noria.server.models import Served, check_name
from noria.server.problems import Problem
from noria.server.stores import Key

__all__ = ["EVENT_BYTES", "LAST_SEQ", "Request", "Target", "group_events", "parse_json", "take_seq"]

LAST_SEQ = 2**53 - 1
"""The greatest whole number that every reader of JSON tells from its neighbours."""

EVENT_BYTES = 512
"""About what an event takes in memory besides the bytes of its message."""


@dataclass(frozen=True)
class Target:
    """Where a message goes, and on whose behalf.

    Attributes:
        served: The model version that new streams begin with.
        pinned: Whether that version was asked for by name.
        token: Who sends.
    """

    served: Served
    pinned: bool
    token: Token


@dataclass(slots=True)
class Request:
    """Events of one stream with consecutive seqs, which are taken together or not at all.

    Attributes:
        key: The stream.
        target: Where it goes.
        first: The seq of the first event.
        events: The events, as the model takes them.
        size: About how many bytes of memory it takes while it waits.
        done: Called once with an answer to each event, or with the problem.
        arrived_s: When, on the monotonic clock.
    """

    key: Key
    target: Target
    first: int
    events: list[dict[str, Any]]
    size: int
    done: Callable[[list[dict[str, Any]] | Problem], None]
    arrived_s: float = field(default_factory=time.monotonic)

    @property
    def last(self) -> int:
        """The seq of the last event."""
        return self.first + len(self.events) - 1


def parse_json(data: bytes | str) -> Any:
    """JSON, strictly: no NaN, no infinity, no surrogates, not nested without end.

    Raises:
        Problem: if it is none.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Problem("malformed", f"the message is not JSON: {error}") from None


def take_seq(event: object) -> int:
    """Take the seq out of an event.

    Raises:
        Problem: if the event is no object with a whole number from 1 under "seq".
    """
    if not isinstance(event, dict):
        raise Problem("malformed", 'an event is an object such as {"seq": 1, "x": …}')
    seq = event.pop("seq", None)
    if isinstance(seq, int) and not isinstance(seq, bool) and 1 <= seq <= LAST_SEQ:
        return seq
    raise Problem("malformed", "seq must be a whole number from 1, one more for every event")


def group_events(
    events: list[Any], most: int, stream: str | None = None
) -> Mapping[str, tuple[int, list[dict[str, Any]]]]:
    """The events of a message by stream, each with the seq of its first.

    Args:
        events: As parsed; seq and stream are taken out of them.
        most: How many there may be.
        stream: The stream of all of them; None if each names its own.

    Raises:
        Problem: if one is not as it should be, or the seqs of a stream do not follow each other.
    """
    if not 1 <= len(events) <= most:
        raise Problem("too-large" if events else "malformed", f"a list holds 1 to {most} events")
    groups: dict[str, tuple[int, list[dict[str, Any]]]] = {}
    for event in events:
        seq = take_seq(event)
        name = check_name("stream", event.pop("stream", None)) if stream is None else stream
        if name not in groups:
            groups[name] = (seq, [event])
            continue
        first, before = groups[name]
        if seq != first + len(before):
            raise Problem(
                "malformed",
                f"the events of a stream in one list follow each other: seq {seq} comes after"
                f" {first + len(before) - 1}",
            )
        before.append(event)
    return groups
