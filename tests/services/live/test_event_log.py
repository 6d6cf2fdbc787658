"""Live events: none is lost or repeated, in any order of commits."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy import text

from models import new_id
from services.core.errors import Invalid, InvalidState
from services.live import broadcaster, event_log
from services.live.broadcaster import Broadcaster, Subscriber
from services.live.event_log import Event, Position, Topic
from tests.conftest import Database
from tests.live_events import Sessions, current_position, events_after, wait_until_visible
from tests.subscription_client import WAIT_SECONDS

WRITE = "INSERT INTO live_event (kind, node_id, collective_ids) VALUES ('ORDER', %s, ARRAY[%s]::uuid[])"


@pytest.fixture
async def hub(sessions: Sessions) -> AsyncIterator[Broadcaster]:
    hub = Broadcaster(sessions, pause_ms=10)
    yield hub
    await hub.stop()


async def next_events(follower: Subscriber, count: int) -> list[Event]:
    """Wait for the next events and return them."""
    results: list[Event] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while len(results) < count:
            results += await follower.next_batch()
    return results


async def is_quiet(follower: Subscriber) -> bool:
    """Return True if no event arrives for a while."""
    try:
        async with asyncio.timeout(0.2):
            return not await follower.next_batch()
    except TimeoutError:
        return True


async def test_an_event_is_read_only_once_no_earlier_one_can_come(
    database: Database, sessions: Sessions
) -> None:
    start = await current_position(sessions)
    first, second, third = new_id(), new_id(), new_id()
    with ExitStack() as stack:
        slow, quick = [stack.enter_context(psycopg.connect(database.owner_url)) for _ in range(2)]
        slow.execute(WRITE, [first, first])
        quick.execute(WRITE, [second, second])
        quick.commit()
        events, position = await events_after(sessions, start)
        assert events == [], "the slow one is not done"
        quick.execute(WRITE, [third, third])
        quick.rollback()
        slow.commit()
    await wait_until_visible(sessions)
    events, position = await events_after(sessions, position)
    assert [event.node_id for event in events] == [first, second]
    assert (await events_after(sessions, position))[0] == []


async def test_many_writers_at_once_lose_nothing_and_repeat_nothing(
    database: Database, hub: Broadcaster
) -> None:
    about = new_id()
    follower = await hub.subscribe(Topic(event_log.BALANCE, about), after=None, token=None)
    written_ids = []

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(database.owner_url) as connection:
            for _ in range(40):
                ids = [new_id() for _ in range(random.randint(1, 3))]
                for node_id in ids:
                    await connection.execute(WRITE, [node_id, about])
                    await asyncio.sleep(random.uniform(0, 0.003))
                if random.random() < 0.2:
                    await connection.rollback()
                else:
                    await connection.commit()
                    written_ids.extend(ids)

    writing = [asyncio.create_task(write()) for _ in range(6)]
    results: list[Event] = []
    while not all(task.done() for task in writing):
        try:
            async with asyncio.timeout(0.05):
                results += await follower.next_batch()
        except TimeoutError:
            continue
    await asyncio.gather(*writing)
    results += (
        await next_events(follower, len(written_ids) - len(results))
        if len(results) < len(written_ids)
        else []
    )
    assert sorted(event.node_id for event in results) == sorted(written_ids)
    assert [event.position for event in results] == sorted({event.position for event in results})
    assert await is_quiet(follower)


async def test_who_falls_behind_gets_all_of_it_from_the_database(
    database: Database, hub: Broadcaster
) -> None:
    about, count = new_id(), broadcaster.MAX_WAITING * 3
    topic = Topic(event_log.BALANCE, about)
    slow, quick = [await hub.subscribe(topic, after=None, token=None) for _ in range(2)]
    assert await is_quiet(slow)
    written_ids = [new_id() for _ in range(count)]
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for part in range(0, count, 50):
            owner.execute("BEGIN")
            for node_id in written_ids[part : part + 50]:
                owner.execute(WRITE, [node_id, about])
            owner.execute("COMMIT")
            assert len(await next_events(quick, 50)) == 50
        assert len(slow._queue) <= broadcaster.MAX_WAITING
        late = new_id()
        owner.execute(WRITE, [late, about])
    assert [event.node_id for event in await next_events(slow, count + 1)] == [*written_ids, late]
    assert await is_quiet(slow)


async def test_followers_from_every_position_get_what_is_left(database: Database, hub: Broadcaster) -> None:
    about = new_id()
    topic = Topic(event_log.BALANCE, about)
    first = await hub.subscribe(topic, after=None, token=None)
    written_ids = [new_id() for _ in range(60)]
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for node_id in written_ids[:40]:
            owner.execute(WRITE, [node_id, about])
        result = await next_events(first, 40)
        later = [await hub.subscribe(topic, after=event.resume_point, token=None) for event in result]
        for node_id in written_ids[40:]:
            owner.execute(WRITE, [node_id, about])
    for number, follower in enumerate(later):
        rest = await next_events(follower, 59 - number)
        assert [event.node_id for event in rest] == written_ids[number + 1 :]
        assert await is_quiet(follower) if number % 10 == 0 else True


async def test_lost_connections_lose_no_event(database: Database, hub: Broadcaster) -> None:
    about = new_id()
    follower = await hub.subscribe(Topic(event_log.BALANCE, about), after=None, token=None)
    written_ids = [new_id() for _ in range(20)]
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for node_id in written_ids:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            owner.execute(WRITE, [node_id, about])
            await asyncio.sleep(0.02)
    assert [event.node_id for event in await next_events(follower, 20)] == written_ids


async def test_nobody_follows_nothing_is_asked(database: Database, hub: Broadcaster) -> None:
    follower = await hub.subscribe(Topic(event_log.ORDER, new_id()), after=None, token=None)
    assert hub._reader_task is not None
    follower.close()
    async with asyncio.timeout(WAIT_SECONDS):
        while hub._reader_task is not None:
            await asyncio.sleep(0.01)
    assert len(hub) == 0
    again = await hub.subscribe(Topic(event_log.ORDER, about := new_id()), after=None, token=None)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(WRITE, [about, about])
    assert [event.node_id for event in await next_events(again, 1)] == [about]


async def test_what_is_old_is_pruned_and_a_position_before_it_is_refused(
    database: Database, sessions: Sessions, hub: Broadcaster
) -> None:
    start, about = await current_position(sessions), new_id()
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for _ in range(5):
            owner.execute(WRITE, [about, about])
        owner.execute("ALTER TABLE live_event DISABLE TRIGGER append_only")
        owner.execute("UPDATE live_event SET at = now() - interval '25 hours'")
        owner.execute(WRITE, [about, about])
    await wait_until_visible(sessions)
    events, _ = await events_after(sessions, start)
    topic = Topic(event_log.ORDER, about)
    follower = await hub.subscribe(topic, after=start, token=None)
    assert len(await next_events(follower, 6)) == 6
    for _ in range(2):
        async with sessions() as session, session.begin():
            await event_log.delete_old_events(session, hours=24)
        async with sessions() as session:
            kept = (await session.execute(text("SELECT count(*) FROM live_event"))).scalar_one()
        assert kept == 2, "the mark, and what is new"
    for after in (start, events[3].resume_point):
        with pytest.raises(InvalidState):
            await hub.subscribe(topic, after=after, token=None)
    follower = await hub.subscribe(topic, after=events[4].resume_point, token=None)
    assert [event.position for event in await next_events(follower, 1)] == [events[5].position]
    with pytest.raises(Invalid):
        await hub.subscribe(topic, after=start._replace(position=Position(2**62, 0)), token=None)
    with pytest.raises(InvalidState, match="failover or a restore"):
        await hub.subscribe(topic, after=events[4].resume_point._replace(epoch=1), token=None)


async def test_events_of_another_servers_dump_are_never_told(database: Database, sessions: Sessions) -> None:
    start, ours = await current_position(sessions), new_id()
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO live_event (xid, kind, node_id, collective_ids) VALUES (%s, 'ORDER', %s, '{}')",
            [2**40, new_id()],
        )
        owner.execute(WRITE, [ours, ours])
    async with sessions() as session, session.begin():
        await event_log.delete_old_events(session, hours=24)
    await wait_until_visible(sessions)
    assert [event.node_id for event in (await events_after(sessions, start))[0]] == [ours]
    async with sessions() as session:
        highest = await session.execute(text("SELECT max(xid) FROM live_event"))
        assert highest.scalar_one() < 2**40


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO live_event (kind, node_id, collective_ids) VALUES ('ORDER', gen_random_uuid(), '{}')",
        "UPDATE live_event SET kind = 'ORDER'",
        "DELETE FROM live_event",
        "TRUNCATE live_event",
    ],
    ids=lambda statement: statement.split()[0],
)
def test_the_application_cannot_forge_or_hide_events(database: Database, statement: str) -> None:
    with psycopg.connect(database.app_url) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement)


async def test_a_new_subscriber_gets_no_event_that_was_visible_at_its_start(
    database: Database, sessions: Sessions, hub: Broadcaster
) -> None:
    about = new_id()
    topic = Topic(event_log.BALANCE, about)
    slow_before, slow_after, before, after = (new_id() for _ in range(4))
    with ExitStack() as stack:
        slow, quick, other = [
            stack.enter_context(psycopg.connect(database.owner_url, autocommit=True)) for _ in range(3)
        ]
        slow.execute("BEGIN")
        slow.execute(WRITE, [slow_before, about])
        for _ in range(3):
            quick.execute(WRITE, [before, about])
        start = await current_position(sessions)
        follower = await hub.subscribe(topic, after=None, token=None)
        resumed = await hub.subscribe(
            topic, after=event_log.decode_position(event_log.encode_position(start)), token=None
        )
        other.execute(WRITE, [after, about])
        assert await is_quiet(follower)
        slow.execute(WRITE, [slow_after, about])
        slow.execute("COMMIT")
        results = [slow_before, slow_after, after]
        result = await next_events(follower, 3)
        assert [event.node_id for event in result] == results
        assert [event.node_id for event in await next_events(resumed, 3)] == results
        for number, event in enumerate(result, start=1):
            again = await hub.subscribe(
                topic,
                after=event_log.decode_position(event_log.encode_position(event.resume_point)),
                token=None,
            )
            assert [e.node_id for e in await next_events(again, 3 - number)] == results[number:]
            assert await is_quiet(again)
