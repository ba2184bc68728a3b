"""Real servers, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WITH_LIMITS = """
from noria import cli, server
server.Limits = lambda: server.limits.Limits(**{limits})
cli.main()
"""


class ServerProcess:
    """A running `noria serve` on a port of loopback, a free one if it is 0.

    Args:
        arguments: Of the command.
        port: Where to listen.
        limits: Of the server, where they are not the default ones.
        environment: Variables besides those of the tests.

    Attributes:
        process: The process.
        url: Where it listens.
        log: What it has logged, a dictionary a line.
        errors: What else it has written.
    """

    def __init__(
        self,
        *arguments: str | Path,
        port: int = 0,
        limits: dict[str, float] | None = None,
        **environment: str,
    ) -> None:
        start = ["-c", _WITH_LIMITS.format(limits=limits)] if limits else ["-m", "noria"]
        command = [sys.executable, *start, "serve", "--port", str(port)]
        self.process = subprocess.Popen(
            command + [str(argument) for argument in arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        self.log: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(300):
            self.stop(signal.SIGKILL)
            raise AssertionError("the server did not start")
        if not self.log:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"the server ended: {self.errors}")
        self.url = str(self.log[0]["url"])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.errors.append(line)
            else:
                self._listening.set()
        self._listening.set()

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """End the process.

        Returns:
            Its exit code.
        """
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        code = self.process.wait(30)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextlib.contextmanager
def serving(*arguments: str | Path, **how: Any) -> Iterator[ServerProcess]:
    """A server that ends with the block."""
    server = ServerProcess(*arguments, **how)
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)
