"""The models a server serves, by name and version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from noria.errors import UsageError
from noria.runtime import Session
from noria.server.problems import Problem

__all__ = ["Models", "Served", "check_name"]

_NAME = re.compile(r"[A-Za-z0-9._:~-]{1,128}", re.ASCII)


def check_name(what: str, name: object) -> str:
    """The name of a model, a version or a stream.

    Raises:
        Problem: if it is none.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise Problem(
        "malformed", f"{what} must be a name of 1 to 128 letters, digits and characters of ._:~-"
    )


@dataclass(frozen=True)
class Served:
    """A version of a model, opened."""

    name: str
    version: str
    session: Session


class Models:
    """What is served: for each name one or more versions, the current one last.

    Args:
        served: At least one.

    Raises:
        UsageError: if two have the same name and version.
    """

    def __init__(self, served: Sequence[Served]) -> None:
        self._by_name: dict[str, dict[str, Served]] = {}
        for one in served:
            versions = self._by_name.setdefault(one.name, {})
            if one.version in versions:
                raise UsageError(
                    f"two models are called {one.name}@{one.version}; name them NAME@VERSION=PATH"
                )
            versions[one.version] = one

    @classmethod
    def open(cls, arguments: Sequence[str], *, int8: bool = False) -> Models:
        """Open model files.

        Args:
            arguments: Each PATH, NAME=PATH or NAME@VERSION=PATH; the name is that of the file
                if left out, and the version counts from 1.
            int8: See `noria.runtime.Session`.

        Raises:
            UsageError: if a name is none or is there twice, or a model cannot stream.
            ModelFileError: if a file is missing or damaged.
        """
        served: list[Served] = []
        for argument in arguments:
            label, separator, path = argument.rpartition("=")
            label = label if separator else Path(path).stem
            name, at, version = label.partition("@")
            count = sum(one.name == name for one in served)
            version = version if at else str(count + 1)
            try:
                check_name("the model's name", name)
                check_name("the model's version", version)
            except Problem as problem:
                raise UsageError(f"{argument}: {problem}; say NAME=PATH") from None
            served.append(Served(name, version, Session.open(path, int8=int8)))
        return cls(served)

    def __iter__(self):  # type: ignore[no-untyped-def]
        """All that is served."""
        return (one for versions in self._by_name.values() for one in versions.values())

    def find(self, label: str) -> tuple[Served, bool]:
        """What a URL means.

        Args:
            label: NAME, which is its current version, or NAME@VERSION.

        Returns:
            The model, and whether its version was asked for.

        Raises:
            Problem: if it is not served.
        """
        name, at, version = label.partition("@")
        versions = self._by_name.get(name, {})
        if at and version in versions:
            return versions[version], True
        if not at and versions:
            return list(versions.values())[-1], False
        known = ", ".join(f"{one.name}@{one.version}" for one in self)
        raise Problem("unknown-model", f"there is no model {label[:80]!r} here; there is {known}")

    def by_hash(self, name: str, sha256: str) -> Served:
        """The version of a model that a stream began with.

        Raises:
            Problem: if it is not served.
        """
        for one in self._by_name.get(name, {}).values():
            if one.session.sha256 == sha256:
                return one
        raise Problem(
            "other-model",
            f"the stream began with the model {sha256[:12]}…, which is not served here: serve that"
            f" file too, as {name}@VERSION=PATH, or delete the stream",
        )
