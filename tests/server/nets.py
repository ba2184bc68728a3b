"""Small models to serve, and what an uninterrupted stream of events gives with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import noria
from noria.runtime import Session

INPUTS = 3


def write_model(path: Path, hidden_size: int = 16, seed: int = 0) -> Path:
    """Write a GRU with a linear output."""
    torch.manual_seed(seed)
    noria.Network(INPUTS, [noria.GRU(hidden_size)], output_size=2).save(path)
    return path


def event(stream: str, seq: int) -> dict[str, Any]:
    """The event of a stream at a seq."""
    first = sum(stream.encode()) % 17
    return {"x": [((first + 31 * seq + 7 * k) % 97) / 48.5 - 1 for k in range(INPUTS)]}


def events(stream: str, first: int, last: int) -> list[dict[str, Any]]:
    """The events of a stream from a seq to another."""
    return [event(stream, seq) for seq in range(first, last + 1)]


def uninterrupted(session: Session, stream: str) -> Iterator[dict[str, Any]]:
    """The answers to a stream's events, one after the other, forever."""
    state, seq = session.start(), 0
    while True:
        seq += 1
        state, answer = session.step(state, event(stream, seq))
        yield answer
