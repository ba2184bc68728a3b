"""The OpenAPI document of the HTTP routes."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from noria.server.limits import Limits
from noria.server.models import Models
from noria.server.protocol import LAST_SEQ

__all__ = ["openapi"]


def openapi(limits: Limits, models: Models) -> dict[str, Any]:
    """The document, OpenAPI 3.1.

    Args:
        limits: Of the server.
        models: What it serves.
    """
    stream = "/v1/models/{model}/streams/{stream}"
    event = {"$ref": "#/components/schemas/Event"}
    answer = {"$ref": "#/components/schemas/Answer"}
    parameters = _parameters(models)
    paths: dict[str, Any] = {
        "/healthz": {
            "get": _operation(
                "Whether the process answers", _json(_object(status=_TEXT)), secured=False
            )
        },
        "/readyz": {
            "get": _operation(
                "Whether events are taken", _json(_object(status=_TEXT)), secured=False
            )
        },
        "/metrics": {"get": _operation("Counters for Prometheus", {"text/plain": {"schema": {}}})},
        "/openapi.json": {
            "get": _operation("This document", _json({"type": "object"}), secured=False)
        },
        "/v1/models": {
            "get": _operation("What is served", _json({"type": "array", "items": _MODEL}))
        },
        stream: {
            "parameters": parameters,
            "get": _operation("Where a stream stands", _json(_STREAM)),
            "delete": _operation("Forget a stream", None),
        },
        f"{stream}/events": {
            "parameters": parameters,
            "post": _operation(
                "Take an event or a list of events; the answer means that they are durable",
                _json(_one_or_list(answer, limits)),
                body=_one_or_list(event, limits),
            ),
        },
        f"{stream}/state": {
            "parameters": parameters,
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
            "parameters": parameters,
            "get": _operation("What the network remembers of a stream", _json(_HIDDEN)),
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Noria", "version": version("noria")},
        "paths": paths,
        "components": {
            "schemas": _schemas(models),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_TEXT: dict[str, Any] = {"type": "string"}
_SEQ: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": LAST_SEQ}
_LAST_SEQ = {**_SEQ, "minimum": 0}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_MODEL = _object(
    name=_TEXT,
    version=_TEXT,
    sha256=_TEXT,
    task=_TEXT,
    stream={"type": "array", "items": _TEXT},
    event={"type": "object", "description": "JSON schema of an event, without seq"},
    answer={"type": "object", "description": "JSON schema of an answer, without seq"},
)
_STREAM = _object(stream=_TEXT, model=_TEXT, version=_TEXT, sha256=_TEXT, seq=_LAST_SEQ)
_HIDDEN = _object(
    seq=_LAST_SEQ,
    hidden={
        "type": "object",
        "description": "By layer and state, such as layers.0.h",
        "additionalProperties": {"type": "array", "items": {"type": "number"}},
    },
)


def _parameters(models: Models) -> list[dict[str, Any]]:
    labels = dict.fromkeys(
        name for one in models for name in (one.name, f"{one.name}@{one.version}")
    )
    return [
        {
            "name": "model",
            "in": "path",
            "required": True,
            "description": "NAME for its current version, or NAME@VERSION",
            "schema": {"type": "string", "enum": list(labels)},
        },
        {
            "name": "stream",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:~-]{1,128}$"},
        },
    ]


def _schemas(models: Models) -> dict[str, Any]:
    about = {one.session.sha256: one.session.describe() for one in models}.values()
    text = _TEXT
    return {
        "Event": {"anyOf": [_with_seq(one["event"]) for one in about]},
        "Answer": {"anyOf": [_with_seq(one["answer"]) for one in about]},
        "State": {
            "type": "object",
            "required": ["seq", "state"],
            "properties": {
                "seq": _LAST_SEQ,
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


def _with_seq(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        **schema,
        "required": ["seq", *schema.get("required", ())],
        "properties": {"seq": _SEQ, **schema.get("properties", {})},
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
