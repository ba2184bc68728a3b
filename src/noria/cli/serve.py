"""The verb `serve`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from noria.cli.arguments import Flag
from noria.errors import UsageError

__all__ = ["serve"]

_UNITS = {"m": 60, "h": 3600, "d": 86400}


def serve(
    *models: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    store: str = "sqlite:streams.db",
    token_file: Path | None = None,
    batch_wait_ms: float = 2.0,
    keep_answers: int = 256,
    expire_after: str | None = None,
    int8: Flag = False,
) -> None:
    """Serve models: events of many streams over HTTP and WebSocket, durable when answered.

    Parameters
    ----------
    models
        Model files: PATH, NAME=PATH or NAME@VERSION=PATH.
    host
        Address to listen at; one that others can reach needs --token-file.
    port
        Port to listen at; 0 for a free one.
    store
        Where streams are kept: sqlite:PATH, or postgres://USER@HOST/DATABASE for several servers.
    token_file
        TOML file of the tokens and what they may do.
    batch_wait_ms
        How long an event may wait for others to be stepped with.
    keep_answers
        Answers of a stream that can be had again.
    expire_after
        Delete streams without events for so long, such as 30m, 12h or 90d; never if left out.
    int8
        Round the networks' weights to eight bits: faster where they are large, a little off.
    """
    if not models:
        raise UsageError("name a model file: noria serve MODEL")
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: expected 0 to 65535")
    if not 0 <= batch_wait_ms <= 1000:
        raise UsageError(f"--batch-wait-ms {batch_wait_ms:g}: expected 0 to 1000")
    if keep_answers < 1:
        raise UsageError(f"--keep-answers {keep_answers}: expected 1 or more")
    expire_after_s = None if expire_after is None else _seconds(expire_after)
    from noria import server

    limits = dataclasses.replace(
        server.Limits(),
        wait_s=batch_wait_ms / 1000,
        keep_answers=keep_answers,
        expire_after_s=expire_after_s,
    )
    tokens = None if token_file is None else server.read_tokens(token_file)
    server.serve(
        server.Models.open(models, int8=int8),
        server.store_from_url(store),
        host=host,
        port=port,
        tokens=tokens,
        limits=limits,
    )


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhd])", text)
    if match is None:
        raise UsageError(f"--expire-after {text}: expected a number and m, h or d, such as 90d")
    return float(int(match[1]) * _UNITS[match[2]])
