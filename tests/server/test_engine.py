from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import noria
from noria.errors import StateError
from noria.runtime import Session
from noria.server.access import EVERYONE, Token
from noria.server.limits import Limits
from noria.server.problems import Problem
from noria.server.protocol import Target
from noria.server.stores import Key, StoreError
from noria.server.stores.sqlite import SqliteStore
from tests.server.databases import Postgres
from tests.server.engines import Requester, WatchedStore, run, running
from tests.server.nets import events, uninterrupted, write_model


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'streams.db'}"


def expected(session: Session, stream: str, first: int, last: int) -> list[dict[str, object]]:
    return list(itertools.islice(uninterrupted(session, stream), first - 1, last))


def test_events_that_arrive_together_are_stepped_and_committed_together(
    model_path: Path, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    feed_batch = Session.feed_batch

    def counted(self, states, chunks):  # type: ignore[no-untyped-def]
        calls.append(len(states))
        return feed_batch(self, states, chunks)

    monkeypatch.setattr(Session, "feed_batch", counted)

    async def body() -> None:
        store = WatchedStore(SqliteStore(tmp_path / "streams.db"))
        async with running(model_path, store) as requester:
            names = [f"s{n}" for n in range(64)]
            results = await asyncio.gather(*(requester.send(name, 1, 1) for name in names))
        assert calls == [64]
        assert [len(changes) for changes in store.commits] == [64]
        for name, answers in zip(names, results, strict=True):
            assert answers == expected(session, name, 1, 1)

    run(body)


def test_the_bits_are_those_of_one_uninterrupted_stream(
    model_path: Path, session: Session, url: str
) -> None:
    async def body() -> None:
        got = []
        for first, last in ((1, 3), (4, 4), (5, 40)):
            async with running(model_path, url) as requester:  # a new server every time
                got += await requester.send("a", first, last)
        assert got == expected(session, "a", 1, 40)

    run(body)


def test_requests_of_one_stream_may_wait_together(
    model_path: Path, session: Session, url: str
) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            parts = [requester.send("a", first, first + 1) for first in range(1, 21, 2)]
            got = await asyncio.gather(*parts)
        assert list(itertools.chain(*got)) == expected(session, "a", 1, 20)

    run(body)


def test_a_repeated_seq_gives_the_stored_answer_and_changes_nothing(
    model_path: Path, session: Session, url: str
) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            first = await requester.send("a", 1, 5)
            assert await requester.send("a", 1, 5) == first
            assert await requester.send("a", 3, 4) == first[2:4]
            together = await asyncio.gather(
                requester.send("a", 4, 7), requester.send("a", 6, 6), requester.send("a", 6, 8)
            )
            assert together == [expected(session, "a", *span) for span in ((4, 7), (6, 6), (6, 8))]
            long_ago, new = await asyncio.gather(
                requester.send("a", 2, 3), requester.send("a", 9, 14)
            )
            assert (long_ago, new) == (first[1:3], expected(session, "a", 9, 14))
        async with running(model_path, url) as requester:
            assert await requester.send("a", 2, 15) == expected(session, "a", 2, 15)
            assert (await requester.engine.look(Key("gru", "a"))).seq == 15

    run(body)


def test_a_repeated_seq_does_not_take_another_event(model_path: Path, url: str) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            first = await requester.send("a", 1, 1)
            again = await requester.begin("a", 1, [{"x": [9.0, 9.0, 9.0]}])
            assert again == first

    run(body)


def test_a_gap_is_refused_and_names_what_is_missing(
    model_path: Path, session: Session, url: str
) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            with pytest.raises(Problem, match="seq 2 came before seq 1") as raised:
                await requester.send("a", 2, 2)
            assert raised.value.document()["status"] == 409
            assert raised.value.document()["expected"] == 1
            await requester.send("a", 1, 3)
            with pytest.raises(Problem, match="seq 5 came before seq 4"):
                await requester.send("a", 5, 6)
            assert await requester.send("a", 4, 4) == expected(session, "a", 4, 4)

    run(body)


def overflowing(path: Path) -> Path:
    """A network that leaves the range of float32 on large inputs, though they are finite."""
    torch.manual_seed(0)
    net = noria.Network(3, [noria.RNN(8, nonlinearity="relu")], output_size=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
            parameter.mul_(10)
    net.save(path)
    return path


@pytest.mark.parametrize("bad", [[1e39, 0, 0], [3e38, 3e38, 3e38], [1, 2], "x", [None, 1, 2]])
def test_one_bad_event_among_64_leaves_the_others_as_they_were(
    tmp_path: Path, url: str, bad: object
) -> None:
    path = overflowing(tmp_path / "relu.noria")
    alone = Session.open(path)

    async def body() -> None:
        async with running([f"gru={path}"], url) as requester:
            names = [f"s{n}" for n in range(64)]
            pending = [
                requester.begin(
                    name, 1, [{"x": bad}] if number == 31 else [{"x": [number, 0.5, -number]}]
                )
                for number, name in enumerate(names)
            ]
            results = await asyncio.gather(*pending)
            for number, result in enumerate(results):
                if number == 31:
                    assert isinstance(result, Problem)
                    assert result.kind == "refused-event"
                    with pytest.raises(Problem, match="has no stream s31"):
                        await requester.engine.look(Key("gru", "s31"))
                    continue
                state, answer = alone.step(alone.start(), {"x": [number, 0.5, -number]})
                assert result == [answer]
                kept = (await requester.engine.look(Key("gru", names[number]))).state
                assert kept.network.tobytes() == state.network.tobytes()
            retried = await requester.begin("s31", 1, [{"x": [1, 2, 3]}])
            assert retried == [alone.step(alone.start(), {"x": [1, 2, 3]})[1]]

    run(body)


def test_a_list_is_taken_whole_or_not_at_all(model_path: Path, session: Session, url: str) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            good = requester.begin("a", 1, events("a", 1, 2))
            bad = requester.begin("a", 3, [*events("a", 3, 4), {"x": [1e39, 0, 0]}])
            behind = requester.begin("a", 6, events("a", 6, 6))
            results = await asyncio.gather(good, bad, behind)
            assert results[0] == expected(session, "a", 1, 2)
            assert isinstance(results[1], Problem)
            assert results[1].kind == "refused-event"
            assert isinstance(results[2], Problem)
            assert results[2].kind == "sequence-gap"
            assert await requester.send("a", 3, 6) == expected(session, "a", 3, 6)

    run(body)


def test_what_repeats_a_refused_event_takes_its_place(
    model_path: Path, session: Session, url: str
) -> None:
    """All in one batch: nobody is answered with what was refused, and nobody is left out."""

    async def body() -> None:
        async with running(model_path, url) as requester:
            bad = [{"x": [1e39, 0, 0]}]
            results = await asyncio.gather(
                requester.begin("a", 1, [*events("a", 1, 2), *bad]),
                requester.begin("a", 2, events("a", 2, 2)),
                requester.begin("a", 1, events("a", 1, 1)),
                requester.begin("a", 1, events("a", 1, 1)),
                requester.begin("a", 2, bad),
                requester.begin("a", 1, events("a", 1, 2)),
                requester.begin("a", 2, bad),
            )
        kinds = [one.kind if isinstance(one, Problem) else len(one) for one in results]
        assert kinds == ["refused-event", "sequence-gap", 1, 1, "refused-event", 2, 1]
        assert results[5] == expected(session, "a", 1, 2)
        assert results[6] == expected(session, "a", 2, 2)

    run(body)


def test_answers_are_kept_as_long_as_was_promised(
    model_path: Path, session: Session, url: str
) -> None:
    limits = Limits(keep_answers=8)

    async def body() -> None:
        async with running(model_path, url, limits) as requester:
            for seq in range(1, 51):
                await requester.send("a", seq, seq)
            assert await requester.send("a", 43, 50) == expected(session, "a", 43, 50)
            with pytest.raises(Problem, match="seq 20 was taken, but its answer") as raised:
                await requester.send("a", 20, 20)
            assert raised.value.status == 410
            await requester.send("a", 51, 90)
            assert await requester.send("a", 51, 90) == expected(session, "a", 51, 90)

    run(body)


@pytest.mark.parametrize("snapshot_events", [1, 7, 64])
def test_a_large_state_is_journalled_and_replayed_exactly(
    tmp_path: Path, url: str, snapshot_events: int
) -> None:
    path = write_model(tmp_path / "large.noria", hidden_size=600)
    alone = Session.open(path)
    limits = Limits(journal_above_bytes=1024, snapshot_events=snapshot_events)

    async def body() -> None:
        got = []
        written = 0
        for first in range(1, 40, 3):  # a new server every three events
            store = WatchedStore(SqliteStore(Path(url.partition(":")[2])))
            async with running([f"gru={path}"], store, limits) as requester:
                got += await requester.send("a", first, first)
                got += await requester.send("a", first + 1, first + 2)
            written += sum(change.state is not None for [change] in store.commits)
        assert got == expected(alone, "a", 1, 39)
        assert written == {1: 26, 7: 6, 64: 1}[snapshot_events]

    run(body)


def test_streams_that_leave_memory_come_back_with_the_same_bits(
    model_path: Path, session: Session, url: str
) -> None:
    async def body() -> None:
        async with running(model_path, url, Limits(cache_bytes=4000)) as requester:
            names = [f"s{n}" for n in range(10)]
            got: dict[str, list[dict[str, object]]] = {name: [] for name in names}
            for seq in range(1, 6):
                for name in names:
                    got[name] += await requester.send(name, seq, seq)
                assert requester.engine.cached < 5
        for name in names:
            assert got[name] == expected(session, name, 1, 5)

    run(body)


def test_a_commit_that_fails_acknowledges_nothing_and_the_next_one_goes_on(
    model_path: Path, session: Session, tmp_path: Path
) -> None:
    async def body() -> None:
        store = WatchedStore(SqliteStore(tmp_path / "streams.db"))
        async with running(model_path, store) as requester:
            await requester.send("a", 1, 2)
            store.failure = StoreError("it burns", full=True)
            both = asyncio.gather(
                requester.send("a", 3, 3), requester.send("b", 1, 1), return_exceptions=True
            )
            for problem in await both:
                assert isinstance(problem, Problem)
                assert (problem.kind, problem.status) == ("disk-full", 507)
            store.failure = RuntimeError("nobody foresaw this")
            with pytest.raises(Problem) as raised:
                await requester.send("a", 3, 3)
            assert raised.value.kind == "internal"
            assert "foresaw" not in str(raised.value.document())
            assert await requester.send("a", 3, 3) == expected(session, "a", 3, 3)
            assert await requester.send("b", 1, 1) == expected(session, "b", 1, 1)

    run(body)


def test_what_does_not_fit_into_the_queue_is_refused(model_path: Path, url: str) -> None:
    async def body() -> None:
        limits = Limits(queue_bytes=250, wait_s=0.2)
        async with running(model_path, url, limits) as requester:
            waiting = [requester.begin(f"s{n}", 1, events("a", 1, 1)) for n in range(2)]
            with pytest.raises(Problem) as raised:
                requester.begin("s2", 1, events("a", 1, 1))
            assert raised.value.document()["status"] == 429
            await asyncio.gather(*waiting)
            await requester.send("s2", 1, 1)

    run(body)


def test_draining_answers_what_was_taken_and_takes_no_more(model_path: Path, url: str) -> None:
    async def body() -> None:
        async with running(model_path, url, Limits(wait_s=0.05)) as requester:
            taken = requester.begin("a", 1, events("a", 1, 1))
            await requester.engine.drain()
            assert taken.done()
            with pytest.raises(Problem, match="about to stop"):
                requester.begin("a", 2, events("a", 2, 2))

    run(body)


def test_a_token_begins_no_more_streams_than_it_may(model_path: Path, url: str) -> None:
    token = Token("t", b"", max_streams=2)

    async def body() -> None:
        async with running(model_path, url) as requester:
            results = await asyncio.gather(
                *(requester.send(f"s{n}", 1, 1, token=token) for n in range(3)),
                return_exceptions=True,
            )
            assert [isinstance(result, Problem) for result in results] == [False, False, True]
        async with running(model_path, url) as requester:
            await requester.send("s0", 2, 2, token=token)
            with pytest.raises(Problem, match="may begin 2 streams"):
                await requester.send("s2", 1, 1, token=token)
            await requester.engine.forget(Key("gru", "s1"))
            await requester.send("s2", 1, 1, token=token)

    run(body)


def test_streams_expire(model_path: Path, url: str) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            await requester.send("a", 1, 3)
        async with running(model_path, url, Limits(expire_after_s=-10)) as requester:
            await asyncio.sleep(0.1)
            with pytest.raises(Problem, match="has no stream a"):
                await requester.engine.look(Key("gru", "a"))

    run(body)


def test_a_stream_stays_with_the_version_it_began_with(
    model_path: Path, session: Session, tmp_path: Path, url: str
) -> None:
    newer = write_model(tmp_path / "newer.noria", seed=1)
    both = [f"gru@1={model_path}", f"gru@2={newer}"]

    async def body() -> None:
        async with running(model_path, url) as requester:
            await requester.send("old", 1, 2)
        async with running(both, url) as requester:
            assert await requester.send("old", 3, 3) == expected(session, "old", 3, 3)
            new = await requester.send("new", 1, 1)
            assert new == expected(Session.open(newer), "new", 1, 1)
            assert await requester.send("pinned", 1, 1, label="gru@1") == expected(
                session, "pinned", 1, 1
            )
            with pytest.raises(Problem, match="began with gru@1") as raised:
                await requester.send("old", 4, 4, label="gru@2")
            assert raised.value.kind == "other-model"
        async with running([f"gru@2={newer}"], url) as requester:
            with pytest.raises(Problem, match="which is not served here"):
                await requester.send("old", 4, 4)

    run(body)


def test_a_state_moves_from_stream_to_stream(
    model_path: Path, session: Session, tmp_path: Path, url: str
) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            engine = requester.engine
            await requester.send("a", 1, 10)
            stream = await engine.look(Key("gru", "a"))
            data = session.state_to_bytes(stream.state)
            where = Target(engine.models.find("gru")[0], False, EVERYONE)
            for name in ("b", "a"):
                await engine.replace(where, Key("gru", name), 10, data)
                result = await requester.begin(name, 11, events("a", 11, 12))
                assert result == expected(session, "a", 11, 12)
            with pytest.raises(StateError):
                await engine.replace(where, Key("gru", "b"), 10, data[:-1])
            assert (await engine.look(Key("gru", "b"))).seq == 12

    run(body)


def test_two_servers_hand_a_stream_to_and_fro(
    model_path: Path, session: Session, postgres: Postgres
) -> None:
    url = postgres.new_database()

    async def insist(requester: Requester, first: int, last: int) -> list[dict[str, object]]:
        """As a client does: what a stale owner refuses is sent again."""
        try:
            return await requester.send("a", first, last)
        except Problem as problem:
            if problem.kind != "stream-moved":
                raise
            return await requester.send("a", first, last)

    async def body() -> None:
        async with running(model_path, url) as one, running(model_path, url) as two:
            got = await one.send("a", 1, 2)
            got += await two.send("a", 3, 4)
            with pytest.raises(Problem, match="send it again") as raised:
                await one.send("a", 3, 3)  # it thinks that seq 3 is new
            assert raised.value.retry
            assert await one.send("a", 3, 3) == got[2:3]
            for seq in range(5, 15):
                got += await insist(two if seq % 2 else one, seq, seq)
            assert got == expected(session, "a", 1, 14)
            assert (await one.engine.look(Key("gru", "a"))).seq == 14
            assert (await two.engine.look(Key("gru", "a"))).seq == 14

    run(body)


def test_the_state_in_memory_is_the_one_in_the_store(
    model_path: Path, session: Session, url: str
) -> None:
    async def body() -> None:
        async with running(model_path, url) as requester:
            await requester.send("a", 1, 9)
            stream = await requester.engine.look(Key("gru", "a"))
            record = (await requester.engine.store.load([Key("gru", "a")]))[Key("gru", "a")]
            stored = session.state_from_bytes(record.state)
            assert np.array_equal(stored.network, stream.state.network)

    run(body)
