"""Who may do what: tokens, and requests that only pretend to come from this machine."""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import ipaddress
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from noria.errors import UsageError
from noria.server.problems import Problem
from noria.server.stores import Key

__all__ = ["EVERYONE", "VERBS", "Access", "Token", "is_loopback", "read_tokens"]

VERBS = ("send", "read", "write", "delete", "metrics")
_SHORTEST = 32
_SETTINGS = {"secret", "streams", "verbs", "max_streams"}


@dataclass(frozen=True)
class Token:
    """What the bearer of a secret may do.

    Attributes:
        name: Goes into the log and the store; the secret never does.
        digest: SHA-256 of the secret.
        streams: Patterns such as "power/plant-7-*" that a stream's MODEL/STREAM must match one of.
        verbs: Some of `VERBS`.
        max_streams: How many streams it may begin; None for any number.
    """

    name: str
    digest: bytes
    streams: tuple[str, ...] = ("*",)
    verbs: tuple[str, ...] = VERBS
    max_streams: int | None = None

    def check(self, verb: str, key: Key | None = None) -> None:
        """Refuse what the token may not do.

        Raises:
            Problem: saying what.
        """
        if verb not in self.verbs:
            raise Problem("forbidden", f"the token {self.name!r} has no verb {verb!r}")
        if key is None or "*" in self.streams:
            return
        path = f"{key.model}/{key.stream}"
        if not any(fnmatch.fnmatchcase(path, pattern) for pattern in self.streams):
            raise Problem("forbidden", f"the token {self.name!r} has no stream {path}")


EVERYONE = Token("", b"")
"""Whoever reaches a server that needs no token."""


class Access:
    """Tells who asks.

    Args:
        tokens: Those that are known; None lets everyone in who comes over loopback.
    """

    def __init__(self, tokens: Sequence[Token] | None) -> None:
        self._tokens = tokens

    @property
    def open(self) -> bool:
        """Whether no token is needed."""
        return self._tokens is None

    def identify(self, secret: str | None) -> Token:
        """The token of a secret, found in a time that does not depend on the secret.

        Raises:
            Problem: if there is none.
        """
        if self._tokens is None:
            return EVERYONE
        digest = hashlib.sha256((secret or "").encode(errors="replace")).digest()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        if found is None:
            raise Problem("unauthorized", "send the header Authorization: Bearer SECRET")
        return found

    def check_origin(self, host: str | None, origin: str | None) -> None:
        """Refuse a page of another site that reaches for this server through a visitor's browser.

        Args:
            host: The header Host.
            origin: The header Origin; only browsers send one.

        Raises:
            Problem: if the page is of another origin, or a server without tokens is called by a
                name that is not loopback's.
        """
        if origin is not None and urlsplit(origin).netloc != host:
            raise Problem("forbidden", f"a page of {origin[:80]} may not use this server")
        if self.open:
            name = urlsplit(f"//{host or ''}").hostname or ""
            if not is_loopback(name):
                raise Problem("forbidden", f"a server without tokens is not called {name[:80]!r}")


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from its own machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_tokens(path: Path) -> list[Token]:
    """Read a token file.

        [plant-7]
        secret = "at least 32 characters"
        streams = ["power/plant-7-*"]
        verbs = ["send", "read"]
        max_streams = 100

    Raises:
        UsageError: if it cannot be read, others may read it, or an entry is not as it should be.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(f"--token-file {path}: others can read it; say chmod 600 {path}")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--token-file {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--token-file {path} is not TOML: {error}") from None
    if not table:
        raise UsageError(f"--token-file {path} has no token")
    tokens = [_read_token(f"--token-file {path}: [{name}]", name, table[name]) for name in table]
    if len({token.digest for token in tokens}) < len(tokens):
        raise UsageError(f"--token-file {path}: two tokens have the same secret")
    return tokens


def _read_token(where: str, name: str, entry: object) -> Token:
    if not isinstance(entry, dict) or not entry.keys() <= _SETTINGS:
        raise UsageError(f"{where} must be a table with {', '.join(sorted(_SETTINGS))} alone")
    secret = entry.get("secret")
    if not isinstance(secret, str) or len(secret) < _SHORTEST or not secret.isascii():
        raise UsageError(f"{where}: secret must be {_SHORTEST} ASCII characters or more")
    streams, verbs = entry.get("streams", ["*"]), entry.get("verbs", list(VERBS))
    if not isinstance(streams, list) or not all(isinstance(one, str) for one in streams):
        raise UsageError(f"{where}: streams must be a list of patterns such as MODEL/STREAM-*")
    if not isinstance(verbs, list) or not all(verb in VERBS for verb in verbs):
        raise UsageError(f"{where}: verbs must be a list of {', '.join(VERBS)}")
    most = entry.get("max_streams")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
        raise UsageError(f"{where}: max_streams must be a whole number")
    digest = hashlib.sha256(secret.encode()).digest()
    return Token(name, digest, tuple(streams), tuple(verbs), most)
