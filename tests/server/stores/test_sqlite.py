from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import apsw
import pytest

from noria.errors import DataError, MissingExtraError, ResourceError
from noria.server.stores import Store, StoreError
from noria.server.stores.sqlite import SqliteStore
from tests.server.stores.test_stores import KEY, OTHER, change, use

SECRET = b"the meaning of life"


def test_a_library_that_can_corrupt_its_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(MissingExtraError, match=r"SQLite 3\.51\.2 can damage its file"):
        SqliteStore(tmp_path / "streams.db")


def test_the_settings_that_durability_rests_on(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        connection = store._connection  # type: ignore[attr-defined]
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("secure_delete") == 1
        assert connection.pragma("locking_mode") == "exclusive"

    use(f"sqlite:{tmp_path / 'streams.db'}", body)
    assert stat.S_IMODE((tmp_path / "streams.db").stat().st_mode) == 0o600


def test_a_second_server_is_kept_out(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        second = SqliteStore(tmp_path / "streams.db")
        with pytest.raises(StoreError, match="open in another server"):
            await second.open()
        await second.close()

    use(f"sqlite:{tmp_path / 'streams.db'}", body)


@pytest.mark.parametrize("content", [b"not a database, but longer than a header of one" * 9, None])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "streams.db"
    if content is None:
        apsw.Connection(str(path)).execute("CREATE TABLE mine(a)")
        content = path.read_bytes()[:100]
    else:
        path.write_bytes(content)

    async def run() -> None:
        store = SqliteStore(path)
        try:
            with pytest.raises(DataError, match="no store of streams"):
                await store.open()
        finally:
            await store.close()

    asyncio.run(run())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "no" / "streams.db")
    with pytest.raises(ResourceError, match=r"no/streams\.db cannot be opened"):
        asyncio.run(store.open())
    asyncio.run(store.close())


@pytest.mark.parametrize("way", ["forget", "expire", "replace"])
def test_not_a_byte_of_a_deleted_stream_is_left(tmp_path: Path, way: str) -> None:
    def bytes_on_disk() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir())

    async def body(store: Store) -> None:
        await store.commit([change(state=SECRET * 500, answers=SECRET, events=SECRET)])
        await store.commit([change(OTHER)])
        assert SECRET in bytes_on_disk()
        if way == "forget":
            await store.forget(KEY)
        elif way == "expire":
            await store.expire(2**40, 10)
        else:
            record = (await store.load([OTHER]))[OTHER]
            await store.replace(KEY, record)
            await store.forget(OTHER)
        assert SECRET not in bytes_on_disk()

    use(f"sqlite:{tmp_path / 'streams.db'}", body)
    assert [path.name for path in tmp_path.iterdir()] == ["streams.db"]
    assert SECRET not in bytes_on_disk()
