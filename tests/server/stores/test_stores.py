"""What every store promises, asked of each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from noria.errors import UsageError
from noria.server.stores import Change, Key, Record, Store, store_from_url

KEY, OTHER = Key("m", "one"), Key("m", "two")
SHA = "ab" * 32

Body = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'streams.db'}"
    return request.getfixturevalue("postgres").new_database()


def use(url: str, body: Body) -> None:
    async def run() -> None:
        store = store_from_url(url)
        try:
            await store.open()
            await body(store)
        finally:
            await store.close()

    asyncio.run(run())


def change(key: Key = KEY, epoch: int | None = None, seq: int = 1, **others: Any) -> Change:
    fields: dict[str, Any] = {
        "sha256": SHA,
        "token": "t",
        "answers": b'[{"y": %d}]' % seq,
        "state": b"state %d" % seq,
        "events": None,
        "forget_to": None,
    }
    return Change(key=key, epoch=epoch, seq=seq, **(fields | others))


async def epoch_of(store: Store, key: Key = KEY) -> int:
    return (await store.load([key]))[key].epoch


def test_what_was_committed_is_there_after_reopening(url: str) -> None:
    async def write(store: Store) -> None:
        assert await store.load([KEY, OTHER]) == {}
        taken = await store.commit([change(), change(OTHER)])
        await store.commit([change(epoch=taken[KEY], seq=2)])

    async def read(store: Store) -> None:
        records = await store.load([OTHER, KEY, Key("m", "three"), Key("other", "one")])
        assert set(records) == {KEY, OTHER}
        record = records[KEY]
        assert (record.seq, record.state, record.sha256, record.token) == (2, b"state 2", SHA, "t")
        assert record.events == ()
        assert records[OTHER].seq == 1
        assert await store.answers(KEY, 1, 2) == {1: b'[{"y": 1}]', 2: b'[{"y": 2}]'}
        assert await store.count() == {"t": 2}

    use(url, write)
    use(url, read)


def test_journalled_events_come_after_the_older_state_in_their_order(url: str) -> None:
    async def body(store: Store) -> None:
        epoch = (await store.commit([change(seq=3)]))[KEY]
        await store.commit([change(epoch=epoch, seq=4, state=None, events=b"[4]")])
        await store.commit([change(epoch=epoch, seq=12, state=None, events=b"[5, 12]")])
        record = (await store.load([KEY]))[KEY]
        assert (record.seq, record.state) == (3, b"state 3")
        assert record.events == (b"[4]", b"[5, 12]")
        await store.commit([change(epoch=record.epoch, seq=13)])
        record = (await store.load([KEY]))[KEY]
        assert (record.seq, record.state, record.events) == (13, b"state 13", ())

    use(url, body)


def test_answers_are_found_by_range_until_they_are_forgotten(url: str) -> None:
    async def body(store: Store) -> None:
        epoch = (await store.commit([change(seq=2)]))[KEY]
        await store.commit([change(epoch=epoch, seq=5)])
        await store.commit([change(epoch=epoch, seq=6, forget_to=4)])
        assert sorted(await store.answers(KEY, 1, 2)) == [5]
        assert sorted(await store.answers(KEY, 3, 4)) == [5]
        assert sorted(await store.answers(KEY, 4, 6)) == [5, 6]
        assert sorted(await store.answers(KEY, 6, 6)) == [6]
        assert await store.answers(OTHER, 1, 9) == {}

    use(url, body)


def test_a_stream_that_is_forgotten_begins_anew_without_a_trace(url: str) -> None:
    async def body(store: Store) -> None:
        await store.commit([change(seq=7), change(OTHER)])
        assert await store.forget(KEY) == "t"
        assert await store.forget(KEY) is None
        assert set(await store.load([KEY, OTHER])) == {OTHER}
        assert await store.answers(KEY, 1, 9) == {}
        assert KEY in await store.commit([change(seq=1)])
        assert sorted(await store.answers(KEY, 1, 9)) == [1]

    use(url, body)


def test_replacing_a_stream_drops_its_answers(url: str) -> None:
    async def body(store: Store) -> None:
        await store.commit([change(seq=7)])
        for key in (KEY, OTHER):
            await store.replace(key, Record(0, "cd" * 32, "u", 40, b"imported"))
            record = (await store.load([key]))[key]
            assert (record.seq, record.state, record.sha256) == (40, b"imported", "cd" * 32)
            assert await store.answers(key, 1, 99) == {}
        assert await store.count() == {"u": 2}

    use(url, body)


def test_idle_streams_expire(url: str) -> None:
    async def body(store: Store) -> None:
        await store.commit([change(), change(OTHER)])
        assert await store.expire(1, 10) == {}
        assert len(await store.expire(2**40, 1)) == 1
        assert len(await store.expire(2**40, 10)) == 1
        assert await store.load([KEY, OTHER]) == {}
        assert await store.answers(KEY, 1, 9) == {}

    use(url, body)


def test_a_writable_store_passes_its_check(url: str) -> None:
    async def body(store: Store) -> None:
        await store.check()

    use(url, body)


@pytest.mark.parametrize("bad", ["sqlite:", "mysql://x", "streams.db", ""])
def test_an_unknown_scheme_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="expected sqlite:PATH or postgres://"):
        store_from_url(bad)
