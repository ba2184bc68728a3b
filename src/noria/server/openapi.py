"""The OpenAPI document of the HTTP routes."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from noria.server.limits import Limits
from noria.server.protocol import LAST_SEQ

__all__ = ["openapi"]

_PARAMETERS = [
    {
        "name": "model",
        "in": "path",
        "required": True,
        "description": "NAME for its current version, or NAME@VERSION",
        "schema": {"type": "string"},
    },
    {
        "name": "stream",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:~-]{1,128}$"},
    },
]


def openapi(limits: Limits) -> dict[str, Any]:
    """The document, OpenAPI 3.1.

    Args:
        limits: Of the server.
    """
    stream = "/v1/models/{model}/streams/{stream}"
    event = {"$ref": "#/components/schemas/Event"}
    answer = {"$ref": "#/components/schemas/Answer"}
    paths: dict[str, Any] = {
        "/healthz": {"get": _operation("Whether the process answers", _json({}), secured=False)},
        "/readyz": {"get": _operation("Whether events are taken", _json({}), secured=False)},
        "/metrics": {"get": _operation("Counters for Prometheus", {"text/plain": {"schema": {}}})},
        "/openapi.json": {"get": _operation("This document", _json({}), secured=False)},
        "/v1/models": {"get": _operation("What is served", _json({"type": "array"}))},
        stream: {
            "parameters": _PARAMETERS,
            "get": _operation("Where a stream stands", _json({"type": "object"})),
            "delete": _operation("Forget a stream", None),
        },
        f"{stream}/events": {
            "parameters": _PARAMETERS,
            "post": _operation(
                "Take an event or a list of events; the answer means that they are durable",
                _json(_one_or_list(answer, limits)),
                body=_one_or_list(event, limits),
            ),
        },
        f"{stream}/state": {
            "parameters": _PARAMETERS,
            "get": _operation(
                "Export a stream's state", _json({"$ref": "#/components/schemas/State"})
            ),
            "put": _operation(
                "Import a state in the place of the stream's",
                None,
                body={"$ref": "#/components/schemas/State"},
            ),
        },
        f"{stream}/hidden": {
            "parameters": _PARAMETERS,
            "get": _operation("What the network remembers of a stream", _json({"type": "object"})),
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Noria", "version": version("noria")},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas() -> dict[str, Any]:
    seq = {"type": "integer", "minimum": 1, "maximum": LAST_SEQ}
    text = {"type": "string"}
    return {
        "Event": {
            "type": "object",
            "description": "seq, and what /v1/models tells of the model's event",
            "required": ["seq"],
            "properties": {"seq": seq},
        },
        "Answer": {
            "type": "object",
            "description": "seq, and what /v1/models tells of the model's answer",
            "required": ["seq"],
            "properties": {"seq": seq},
        },
        "State": {
            "type": "object",
            "required": ["seq", "state"],
            "properties": {
                "seq": {**seq, "minimum": 0},
                "sha256": text,
                "state": {"type": "string", "contentEncoding": "base64"},
            },
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": text,
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
            },
        },
    }


def _operation(
    summary: str,
    content: dict[str, Any] | None,
    *,
    body: dict[str, Any] | None = None,
    secured: bool = True,
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    done = {"description": summary, **({} if content is None else {"content": content})}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "204" if content is None else "200": done,
            "default": {"description": "Why it was refused", "content": problem},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    if secured:
        operation["security"] = [{"token": []}, {}]
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _one_or_list(item: dict[str, Any], limits: Limits) -> dict[str, Any]:
    most = limits.message_events
    return {"oneOf": [item, {"type": "array", "items": item, "minItems": 1, "maxItems": most}]}
