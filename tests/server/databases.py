"""A Postgres server of the tests' own: a temporary folder, a Unix socket, an unprivileged user."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg


class UnavailableError(Exception):
    """Postgres is not installed here, or may not run here."""


class Postgres:
    """A running server.

    Attributes:
        process: Of the server.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._folder = folder
        self._count = itertools.count()

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgres://noria@/{database}?host={self._folder}"

    def execute(self, command: str, database: str = "postgres") -> str:
        """Run a command in a database."""

        async def run() -> str:
            connection = await asyncpg.connect(self.url(database))
            try:
                return str(await connection.execute(command))
            finally:
                await connection.close()

        return asyncio.run(run())

    def new_database(self) -> str:
        """Make an empty database.

        Returns:
            Its URL.
        """
        name = f"test{next(self._count)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that ends with the block.

    Raises:
        UnavailableError: if there is none to start.
    """
    programs = _programs()
    user = None
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in ("postgres", "nobody") if name in names), None)
        if user is None:
            raise UnavailableError("Postgres does not run as root, and there is no other user")
    folder = Path(tempfile.mkdtemp(prefix="noria-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        made = subprocess.run(
            [
                *(programs / "initdb", "--pgdata", data, "--username=noria", "--auth=trust"),
                *("--no-locale", "--encoding=UTF8", "--no-sync"),
            ],
            check=False,
            user=user,
            cwd=folder,
            capture_output=True,
        )
        if made.returncode:
            raise UnavailableError(f"initdb failed: {made.stderr.decode()[-300:]}")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
                user=user,
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        try:
            postgres = Postgres(folder, process)
            _wait_for(postgres, folder)
            yield postgres
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing is kept
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    candidates += [Path(found).parent] if found else []
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise UnavailableError("Postgres is not installed: apt-get install postgresql")


def _wait_for(postgres: Postgres, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            postgres.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError) as error:
            if postgres.process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "log").read_text(errors="replace")[-500:]
                raise UnavailableError(f"Postgres did not start: {error}; {log}") from error
            time.sleep(0.05)
        else:
            return
