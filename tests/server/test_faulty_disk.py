"""A disk that is full or fails: nothing acknowledged, and on it goes when there is room again."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from noria.client import Client
from noria.errors import ServerError
from noria.runtime import Session
from noria.server.problems import Problem
from noria.server.stores.sqlite import SqliteStore
from tests.server.engines import run, running
from tests.server.nets import event, uninterrupted
from tests.server.processes import serving


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyDisk, name: Any, flags: list[int]) -> None:
        self.vfs = vfs
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 SQLite's name
        self.vfs.fail("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.vfs.fail("sync")
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """A VFS that fails when it is told to.

    Attributes:
        faults: The error of each operation that fails, and after how many that do not.
    """

    def __init__(self, name: str) -> None:
        self.faults: dict[str, tuple[int, type[Exception]]] = {}
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> FaultyFile:  # noqa: N802
        return FaultyFile(self, name, flags)

    def fail(self, operation: str) -> None:
        if operation in self.faults:
            left, error = self.faults[operation]
            if left == 0:
                raise error(f"this {operation} fails")
            self.faults[operation] = (left - 1, error)


@pytest.mark.parametrize("operation", ["write", "sync"])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize(
    ("error", "kind"), [(apsw.FullError, "disk-full"), (apsw.IOError, "store-failed")]
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_failing_disk_loses_and_doubles_nothing(
    model_path: Path,
    session: Session,
    tmp_path: Path,
    operation: str,
    after: int,
    error: type[Exception],
    kind: str,
) -> None:
    name = f"faulty-{operation}-{after}-{kind}"
    disk = FaultyDisk(name)
    path = tmp_path / "streams.db"
    expected = uninterrupted(session, "a")

    async def body() -> None:
        failures = 0
        store = SqliteStore(path, vfs=name)
        async with running(model_path, store) as requester:
            seq = 1
            while seq <= 12:
                disk.faults = {operation: (after, error)} if seq % 3 == 0 and failures < 4 else {}
                try:
                    (answer,) = await requester.send("a", seq, seq)
                except Problem as problem:
                    if problem.kind != kind:
                        raise
                    failures += 1
                    continue
                assert answer == next(expected)
                seq += 1
            disk.faults = {}
        assert failures > 0 or after > 0
        async with running(model_path, f"sqlite:{path}") as requester:
            assert (await requester.send("a", 13, 13)) == [next(expected)]

    run(body)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_is_told_and_survived(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    expected = uninterrupted(session, "a")
    with small_disk(tmp_path / "disk", "600k") as disk:
        filler = disk / "filler"
        with serving(model_path, "--store", f"sqlite:{disk / 'streams.db'}") as server:
            with Client(server.url, timeout_s=0.2) as client:
                stream = client.stream("gru", "a")
                for seq in range(1, 6):
                    assert stream.send(event("a", seq)) == {"seq": seq, **next(expected)}
                with contextlib.suppress(OSError):
                    filler.write_bytes(bytes(10**6))

                def fill() -> None:
                    for seq in range(6, 100):
                        assert stream.send(event("a", seq)) == {"seq": seq, **next(expected)}

                with pytest.raises(ServerError, match="The disk is full") as raised:
                    fill()
                assert raised.value.status == 507
                assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 507
                assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
                filler.unlink()
                assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200
                last = stream.seq
                assert stream.send(event("a", last + 1)) == {"seq": last + 1, **next(expected)}
            assert server.stop() == 0
