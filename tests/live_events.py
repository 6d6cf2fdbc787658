"""Read the log of live events as a subscriber does."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.live import event_log
from services.live.event_log import Event, Position, ResumePoint
from tests.subscription_client import WAIT_SECONDS

Sessions = async_sessionmaker[AsyncSession]


async def events_after(sessions: Sessions, after: ResumePoint | Position) -> tuple[list[Event], Position]:
    """Return the events after a position, and the new position; events seen at a start are left out."""
    start = after if isinstance(after, ResumePoint) else ResumePoint(after)
    epoch = (await current_position(sessions)).epoch
    async with sessions() as session:
        events, position = await event_log.events_after(
            session, after=start.position, epoch=epoch, count=1_000
        )
    return [event for event in events if not start.snapshot.includes(event.position)], position


async def wait_until_visible(sessions: Sessions) -> None:
    """Wait until no other transaction on the server holds back the events committed so far."""
    async with sessions() as session:
        next_xid = await session.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))
        expected: int = next_xid.scalar_one()
    async with asyncio.timeout(WAIT_SECONDS):
        while (await current_position(sessions)).position.xid < expected:
            await asyncio.sleep(0.05)


async def current_position(sessions: Sessions) -> ResumePoint:
    """Return the position from which a new subscriber starts."""
    async with sessions() as session:
        return await event_log.current_position(session)
