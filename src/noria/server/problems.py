"""What the server refuses, as RFC 9457 problem documents."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from noria.errors import DataError, StateError
from noria.server.stores import StoreError

__all__ = ["HEADERS", "Problem", "problem_from_error", "problem_response"]

HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
"""Of every response."""

_STATUS = {
    "malformed": (400, "The message is not one of the protocol"),
    "unauthorized": (401, "A token is needed"),
    "forbidden": (403, "The token may not do this"),
    "not-found": (404, "There is no such page"),
    "unknown-model": (404, "There is no such model here"),
    "unknown-stream": (404, "There is no such stream"),
    "method-not-allowed": (405, "The page has no such method"),
    "timeout": (408, "The message did not come in time"),
    "sequence-gap": (409, "Events are missing in between"),
    "other-model": (409, "The stream belongs to another version of the model"),
    "stream-moved": (409, "Another server owns the stream"),
    "answer-forgotten": (410, "The answer is no longer kept"),
    "too-large": (413, "The message is too large"),
    "refused-event": (422, "The model does not take the event"),
    "refused-state": (422, "The model does not take the state"),
    "overloaded": (429, "Too much is waiting already"),
    "too-many-streams": (429, "The token has as many streams as it may have"),
    "internal": (500, "The server failed"),
    "draining": (503, "The server is going down"),
    "store-failed": (503, "The store failed"),
    "too-many-connections": (503, "The server has as many connections as it may have"),
    "disk-full": (507, "The disk is full"),
}

_RETRY = {"stream-moved", "overloaded", "draining", "store-failed", "disk-full"}
"""What may go well when it is sent again as it is."""


class Problem(Exception):  # noqa: N818 the word of RFC 9457
    """A request that is refused, and why.

    Args:
        kind: The last part of the problem's type, such as "sequence-gap".
        detail: What was wrong, where, and what to do.
        members: Further members of the document.
    """

    def __init__(self, kind: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = _STATUS[kind]
        self.detail = detail
        self.members = members

    @property
    def retry(self) -> bool:
        """Whether the same request may go well later."""
        return self.kind in _RETRY

    def document(self) -> dict[str, Any]:
        """The problem document, as plain JSON values."""
        return {
            "type": f"urn:noria:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }


def problem_from_error(error: Exception) -> Problem:
    """What a client is told of an error; of one that nobody foresaw, only that it happened."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, DataError):
        return Problem("refused-event", str(error))
    if isinstance(error, StateError):
        return Problem("refused-state", str(error))
    if isinstance(error, StoreError):
        detail = "nothing was taken; send it again"
        return Problem("disk-full" if error.full else "store-failed", detail)
    return Problem("internal", "nothing was taken; the server's log tells more")


def problem_response(problem: Problem) -> Response:
    """A problem as an HTTP response."""
    headers = dict(HEADERS)
    if problem.retry:
        headers["retry-after"] = "1"
    if problem.kind == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    return Response(
        orjson.dumps(problem.document()),
        problem.status,
        headers,
        media_type="application/problem+json",
    )
