from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from noria.errors import ResourceError
from noria.server.stores import Key, Store, StoreError
from noria.server.stores.postgres import PostgresStore
from tests.server.databases import Postgres
from tests.server.stores.test_stores import KEY, OTHER, change, use


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


def use_two(url: str, body: Callable[[Store, Store], Awaitable[None]]) -> None:
    async def run() -> None:
        stores = PostgresStore(url), PostgresStore(url)
        try:
            await asyncio.gather(*(store.open() for store in stores))
            await body(*stores)
        finally:
            await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(run())


def test_a_stale_owner_is_refused_and_the_rest_of_its_commit_is_not(url: str) -> None:
    async def body(first: Store, second: Store) -> None:
        epochs = await first.commit([change(), change(OTHER)])
        new = (await second.load([KEY]))[KEY]
        assert new.epoch > epochs[KEY]
        taken = await first.commit(
            [change(epoch=epochs[KEY], seq=2), change(OTHER, epochs[OTHER], seq=2)]
        )
        assert set(taken) == {OTHER}
        assert (await second.load([KEY]))[KEY].seq == 1
        assert await second.answers(KEY, 1, 9) == {1: b'[{"y": 1}]'}
        assert (await second.load([OTHER]))[OTHER].seq == 2

    use_two(url, body)


def test_reading_without_claiming_leaves_the_owner_alone(url: str) -> None:
    async def body(first: Store, second: Store) -> None:
        epochs = await first.commit([change()])
        record = (await second.load([KEY], claim=False))[KEY]
        assert record.epoch == epochs[KEY]
        assert KEY in await first.commit([change(epoch=epochs[KEY], seq=2)])

    use_two(url, body)


def test_only_one_of_two_servers_begins_a_stream(url: str) -> None:
    async def body(first: Store, second: Store) -> None:
        keys = [Key("m", f"{number:03}") for number in range(50)]
        taken = await asyncio.gather(
            first.commit([change(key) for key in keys]),
            second.commit([change(key) for key in reversed(keys)]),
        )
        assert sorted([*taken[0], *taken[1]]) == keys

    use_two(url, body)


def test_an_owner_does_not_survive_deletion_or_import(url: str) -> None:
    async def body(first: Store, second: Store) -> None:
        old = (await first.commit([change()]))[KEY]
        await second.forget(KEY)
        assert await first.commit([change(epoch=old, seq=2)]) == {}
        new = (await second.commit([change()]))[KEY]
        assert await first.commit([change(epoch=old, seq=2)]) == {}
        await second.replace(KEY, (await second.load([KEY]))[KEY])
        assert await second.commit([change(epoch=new, seq=2)]) == {}

    use_two(url, body)


def test_servers_that_claim_and_commit_the_same_streams_never_wait_for_each_other(url: str) -> None:
    keys = [Key("m", f"{number:02}") for number in range(20)]

    async def take_turns(store: Store, order: list[Key]) -> int:
        commits = 0
        for _ in range(20):
            records = await store.load(order)
            changes = [change(key, records[key].epoch, records[key].seq + 1) for key in order]
            commits += len(await store.commit(changes))
        return commits

    async def body(first: Store, second: Store) -> None:
        await first.commit([change(key) for key in keys])
        taken = await asyncio.gather(take_turns(first, keys), take_turns(second, keys[::-1]))
        total = sum(record.seq - 1 for record in (await first.load(keys)).values())
        assert total == sum(taken) > 0

    use_two(url, body)


def test_a_connection_lost_in_a_commit_is_an_error_and_the_next_call_connects_again(
    url: str,
) -> None:
    async def body(store: Store) -> None:
        epoch = (await store.commit([change()]))[KEY]
        other = await asyncpg.connect(url)
        async with other.transaction():
            await other.execute("SELECT 1 FROM noria_streams FOR UPDATE")
            commit = asyncio.create_task(store.commit([change(epoch=epoch, seq=2)]))
            kill = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            while not await other.fetch(kill):
                await asyncio.sleep(0.01)
            with pytest.raises(StoreError, match=r"the Postgres store: .*closed"):
                await commit
        await other.close()
        assert (await store.load([KEY], claim=False))[KEY].seq == 1
        assert KEY in await store.commit([change(epoch=epoch, seq=2)])

    use(url, body)


def test_a_database_that_cannot_be_reached_is_an_error() -> None:
    store = PostgresStore("postgres://nobody@/none?host=/nonexistent")
    with pytest.raises(ResourceError, match="cannot connect to the Postgres store"):
        asyncio.run(store.open())


def test_a_database_that_forgets_is_refused(postgres: Postgres) -> None:
    async def body(store: Store) -> None:
        pass

    postgres.execute("ALTER SYSTEM SET fsync = off")
    postgres.execute("SELECT pg_reload_conf()")
    try:
        with pytest.raises(ResourceError, match="fsync=off"):
            use(postgres.new_database(), body)
    finally:
        postgres.execute("ALTER SYSTEM RESET fsync")
        postgres.execute("SELECT pg_reload_conf()")
