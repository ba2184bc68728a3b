"""How much of everything a server takes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds, each with its unit in its name.

    Attributes:
        wait_s: How long an event may wait for others to be stepped with.
        batch_events: How many events go into one batch, or one message more.
        message_bytes: The longest message.
        message_events: The most events in one message.
        queue_bytes: Memory of the messages that wait to be stepped; more are refused.
        unanswered: Messages of one connection that wait; it is read no further until one is
            answered.
        unanswered_bytes: The same in bytes of memory.
        backlog_bytes: Answers that a connection has not read; with more it is cut.
        connections: WebSockets at once; as many connections again may be open for requests.
        request_s: How long a client may take to send a request.
        cache_bytes: States kept in memory, the rest is read from the store.
        keep_answers: Answers of a stream that can be had again; those of its latest message always.
        journal_above_bytes: A longer state is not written at every commit: its events are, and the
            state after every `snapshot_events` of them.
        snapshot_events: See `journal_above_bytes`.
        expire_after_s: A stream without events for so long is deleted; None: never.
        drain_s: How long a server that is told to stop finishes what it has taken.
    """

    wait_s: float = 0.002
    batch_events: int = 4096
    message_bytes: int = 1 << 20
    message_events: int = 1024
    queue_bytes: int = 16 << 20
    unanswered: int = 1024
    unanswered_bytes: int = 2 << 20
    backlog_bytes: int = 1 << 20
    connections: int = 4096
    request_s: float = 30.0
    cache_bytes: int = 256 << 20
    keep_answers: int = 256
    journal_above_bytes: int = 16 << 10
    snapshot_events: int = 64
    expire_after_s: float | None = None
    drain_s: float = 10.0
