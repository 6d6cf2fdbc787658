"""Live events: none is lost and none comes twice, whatever commits when."""

import asyncio
import random
import struct
from base64 import b32encode
from collections.abc import AsyncIterator
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models import new_id
from services.core.errors import Invalid, InvalidState
from services.live import broadcaster, event_log
from services.live.broadcaster import Follower, Hub
from services.live.event_log import NOTHING, Event, Position, Seen, Start, Topic
from tests.conftest import Database
from tests.donation_world import Scene
from tests.factories import World
from tests.subscription_client import SECONDS

WRITE = "INSERT INTO live_event (kind, node_id, collective_ids) VALUES ('ORDER', %s, ARRAY[%s]::uuid[])"
Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
async def hub(sessions: Sessions) -> AsyncIterator[Hub]:
    hub = Hub(sessions, pause_ms=10)
    yield hub
    await hub.stop()


async def taken(follower: Follower, count: int) -> list[Event]:
    """Return the next events, which must come."""
    found: list[Event] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            found += await follower.take()
    return found


async def quiet(follower: Follower) -> bool:
    """Tell whether nothing comes."""
    try:
        async with asyncio.timeout(0.2):
            return not await follower.take()
    except TimeoutError:
        return True


async def read(sessions: Sessions, after: Start | Position) -> tuple[list[Event], Position]:
    """Read what is new; without what had been seen at a start."""
    start = after if isinstance(after, Start) else Start(after)
    async with sessions() as session:
        events, position = await event_log.news(session, after=start.position, count=1_000)
    return [event for event in events if not start.seen.includes(event.position)], position


async def settled(sessions: Sessions) -> None:
    """Wait until what is written now is not held back by others who use the same server."""
    async with sessions() as session:
        next_xid = await session.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))
        wanted: int = next_xid.scalar_one()
    async with asyncio.timeout(SECONDS):
        while (await mark(sessions)).position.xid < wanted:
            await asyncio.sleep(0.05)


async def mark(sessions: Sessions) -> Start:
    async with sessions() as session:
        return await event_log.mark(session)


async def test_an_event_is_read_only_once_no_earlier_one_can_come(
    database: Database, sessions: Sessions
) -> None:
    start = await mark(sessions)
    first, second, third = new_id(), new_id(), new_id()
    with ExitStack() as stack:
        slow, quick = [stack.enter_context(psycopg.connect(database.owner_url)) for _ in range(2)]
        slow.execute(WRITE, [first, first])
        quick.execute(WRITE, [second, second])
        quick.commit()
        events, position = await read(sessions, start)
        assert events == [], "the slow one is not done"
        quick.execute(WRITE, [third, third])
        quick.rollback()
        slow.commit()
    await settled(sessions)
    events, position = await read(sessions, position)
    assert [event.node_id for event in events] == [first, second]
    assert (await read(sessions, position))[0] == []


async def test_many_writers_at_once_lose_nothing_and_repeat_nothing(database: Database, hub: Hub) -> None:
    about = new_id()
    follower = await hub.follow(Topic(event_log.BALANCE, about), after=None, token=None)
    written = []

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(database.owner_url) as connection:
            for _ in range(40):
                made = [new_id() for _ in range(random.randint(1, 3))]
                for node_id in made:
                    await connection.execute(WRITE, [node_id, about])
                    await asyncio.sleep(random.uniform(0, 0.003))
                if random.random() < 0.2:
                    await connection.rollback()
                else:
                    await connection.commit()
                    written.extend(made)

    writing = [asyncio.create_task(write()) for _ in range(6)]
    found: list[Event] = []
    while not all(task.done() for task in writing):
        try:
            async with asyncio.timeout(0.05):
                found += await follower.take()
        except TimeoutError:
            continue
    await asyncio.gather(*writing)
    found += await taken(follower, len(written) - len(found)) if len(found) < len(written) else []
    assert sorted(event.node_id for event in found) == sorted(written)
    assert [event.position for event in found] == sorted({event.position for event in found})
    assert await quiet(follower)


async def test_who_falls_behind_gets_all_of_it_from_the_database(database: Database, hub: Hub) -> None:
    about, count = new_id(), broadcaster.MAX_WAITING * 3
    topic = Topic(event_log.BALANCE, about)
    slow, quick = [await hub.follow(topic, after=None, token=None) for _ in range(2)]
    assert await quiet(slow)
    written = [new_id() for _ in range(count)]
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for part in range(0, count, 50):
            owner.execute("BEGIN")
            for node_id in written[part : part + 50]:
                owner.execute(WRITE, [node_id, about])
            owner.execute("COMMIT")
            assert len(await taken(quick, 50)) == 50
        assert len(slow._waiting) <= broadcaster.MAX_WAITING
        late = new_id()
        owner.execute(WRITE, [late, about])
    assert [event.node_id for event in await taken(slow, count + 1)] == [*written, late]
    assert await quiet(slow)


async def test_followers_from_every_position_get_what_is_left(database: Database, hub: Hub) -> None:
    about = new_id()
    topic = Topic(event_log.BALANCE, about)
    first = await hub.follow(topic, after=None, token=None)
    written = [new_id() for _ in range(60)]
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for node_id in written[:40]:
            owner.execute(WRITE, [node_id, about])
        found = await taken(first, 40)
        later = [await hub.follow(topic, after=event.start, token=None) for event in found]
        for node_id in written[40:]:
            owner.execute(WRITE, [node_id, about])
    for number, follower in enumerate(later):
        rest = await taken(follower, 59 - number)
        assert [event.node_id for event in rest] == written[number + 1 :]
        assert await quiet(follower) if number % 10 == 0 else True


async def test_lost_connections_lose_no_event(database: Database, hub: Hub) -> None:
    about = new_id()
    follower = await hub.follow(Topic(event_log.BALANCE, about), after=None, token=None)
    written = [new_id() for _ in range(20)]
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for node_id in written:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            owner.execute(WRITE, [node_id, about])
            await asyncio.sleep(0.02)
    assert [event.node_id for event in await taken(follower, 20)] == written


async def test_nobody_follows_nothing_is_asked(database: Database, hub: Hub) -> None:
    follower = await hub.follow(Topic(event_log.ORDER, new_id()), after=None, token=None)
    assert hub._reader is not None
    follower.close()
    async with asyncio.timeout(SECONDS):
        while hub._reader is not None:
            await asyncio.sleep(0.01)
    assert len(hub) == 0
    again = await hub.follow(Topic(event_log.ORDER, about := new_id()), after=None, token=None)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(WRITE, [about, about])
    assert [event.node_id for event in await taken(again, 1)] == [about]


async def test_what_is_old_is_pruned_and_a_position_before_it_is_refused(
    database: Database, sessions: Sessions, hub: Hub
) -> None:
    start, about = await mark(sessions), new_id()
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for _ in range(5):
            owner.execute(WRITE, [about, about])
        owner.execute("ALTER TABLE live_event DISABLE TRIGGER append_only")
        owner.execute("UPDATE live_event SET at = now() - interval '25 hours'")
        owner.execute(WRITE, [about, about])
    await settled(sessions)
    events, _ = await read(sessions, start)
    topic = Topic(event_log.ORDER, about)
    follower = await hub.follow(topic, after=start, token=None)
    assert len(await taken(follower, 6)) == 6
    for _ in range(2):
        async with sessions() as session, session.begin():
            await event_log.prune(session, hours=24)
        async with sessions() as session:
            kept = (await session.execute(text("SELECT count(*) FROM live_event"))).scalar_one()
        assert kept == 2, "the mark, and what is new"
    for after in (start, events[3].start):
        with pytest.raises(InvalidState):
            await hub.follow(topic, after=after, token=None)
    follower = await hub.follow(topic, after=events[4].start, token=None)
    assert [event.position for event in await taken(follower, 1)] == [events[5].position]
    with pytest.raises(Invalid):
        await hub.follow(topic, after=Start(Position(2**62, 0)), token=None)


async def test_events_of_another_servers_dump_are_never_told(database: Database, sessions: Sessions) -> None:
    start, ours = await mark(sessions), new_id()
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO live_event (xid, kind, node_id, collective_ids) VALUES (%s, 'ORDER', %s, '{}')",
            [2**40, new_id()],
        )
        owner.execute(WRITE, [ours, ours])
    async with sessions() as session, session.begin():
        await event_log.prune(session, hours=24)
    await settled(sessions)
    assert [event.node_id for event in (await read(sessions, start))[0]] == [ours]
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
def test_the_application_can_neither_forge_nor_hide_an_event(database: Database, statement: str) -> None:
    with psycopg.connect(database.app_url) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement)


async def test_what_is_undone_is_not_told_and_a_dry_run_neither(world: World) -> None:
    scene = await Scene.create(world)
    start = await mark(world.sessions)
    assert (await scene.donate("1.00", dryRun=True))["errors"] == []
    assert (await scene.donate("999.00"))["errors"] != []
    assert (await read(world.sessions, start))[0] == []
    assert (await scene.donate("1.00"))["errors"] == []
    await settled(world.sessions)
    events, _ = await read(world.sessions, start)
    assert sorted({event.kind for event in events}) == ["ORDER", "TRANSACTION"]
    told = next(event for event in events if event.kind == "TRANSACTION")
    assert told.collective_ids[:2] == (scene.webpack.id, scene.babel.id)
    assert {topic.of_id for topic in told.topics if topic.name == event_log.TRANSACTIONS} == {
        scene.webpack.id,
        scene.babel.id,
    }


async def test_who_begins_now_is_told_nothing_that_was_to_be_seen(
    database: Database, sessions: Sessions, hub: Hub
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
        start = await mark(sessions)
        follower = await hub.follow(topic, after=None, token=None)
        resumed = await hub.follow(topic, after=event_log.decode(event_log.encode(start)), token=None)
        other.execute(WRITE, [after, about])
        assert await quiet(follower)
        slow.execute(WRITE, [slow_after, about])
        slow.execute("COMMIT")
        wanted = [slow_before, slow_after, after]
        found = await taken(follower, 3)
        assert [event.node_id for event in found] == wanted
        assert [event.node_id for event in await taken(resumed, 3)] == wanted
        for number, event in enumerate(found, start=1):
            again = await hub.follow(topic, after=event_log.decode(event_log.encode(event.start)), token=None)
            assert [e.node_id for e in await taken(again, 3 - number)] == wanted[number:]
            assert await quiet(again)


def test_a_position_is_what_it_was() -> None:
    for position in (Position(0, 0), Position(7, 3), Position(2**63 - 1, 2**63 - 1)):
        assert event_log.decode(event_log.encode(Start(position))) == Start(position)
    start = Start(Position(7, 0), Seen(12, frozenset({7, 9})))
    assert event_log.decode(event_log.encode(start)) == start
    later = start._replace(position=Position(8, 1))
    assert event_log.decode(event_log.encode(later)) == Start(Position(8, 1), Seen(12, frozenset({9}))), (
        "what is past is left out"
    )
    assert event_log.decode(event_log.encode(start._replace(position=Position(12, 1)))).seen == NOTHING
    crowded = Start(Position(1, 0), Seen(10**6, frozenset(range(1, event_log.MAX_XIDS + 1))))
    assert event_log.decode(event_log.encode(crowded)) == Start(Position(1, 0))
    too_long = "pos_" + b32encode(struct.pack(">1004Q", *range(1004))).decode().rstrip("=").lower()
    for bad in (
        "",
        "pos_",
        "pos_a",
        "col_" + "a" * 26,
        "pos_" + "7" * 26,
        "pos_\udcff",
        "x" * 1000,
        event_log.encode(start)[:-1],
        event_log.encode(start) + "aaaa",
        too_long,
    ):
        with pytest.raises(Invalid):
            event_log.decode(bad)
