"""Calendar feeds: a collective's public events, and the events that a person is registered for."""

from datetime import timedelta

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member, now
from models.enums import CollectiveType, MemberRole
from services.access import visibility
from services.access.actor import ANONYMOUS, Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve_one
from services.access.permissions import Action, require
from services.collectives.event_capacity import REGISTRATION_ROLES
from services.core.errors import NotFound, Unauthenticated
from services.messaging import calendar_files
from services.messaging.calendar_files import CONFIRMED, TENTATIVE, Entry

PAST = timedelta(days=90)
"""Age up to which past events stay in a feed."""
MAX_EVENTS = 1000


async def load_public_feed(session: AsyncSession, *, slug: str) -> tuple[Collective, list[Entry]]:
    """Load a collective and its public events by start, or a public event alone.

    Cancelled events stay, so that calendars show them as such; archived ones are left out.

    Raises:
        NotFound: there is no such collective, or not everybody may see it, or it is an archived event.
    """
    key = CollectiveKey(slug=slug)
    row = require_collective(await resolve_one(session, ANONYMOUS, key, name="slug"))
    if row.type == CollectiveType.EVENT:
        if row.archived_at is not None:
            raise NotFound("This event is archived.", field="slug")
        return row, [calendar_files.describe(row)]
    statement = (
        select(Collective)
        .where(
            col(Collective.parent_id) == row.id,
            col(Collective.archived_at).is_(None),
            col(Collective.ends_at) > now() - PAST,
            visibility.collective_is_visible(ANONYMOUS),
        )
        .order_by(col(Collective.starts_at), col(Collective.id))
        .limit(MAX_EVENTS)
    )
    return row, [calendar_files.describe(event) for event in (await session.execute(statement)).scalars()]


async def load_own_feed(session: AsyncSession, actor: Actor) -> list[Entry]:
    """Load the events that the actor is registered for, or was until they were cancelled; by start.

    Raises:
        Unauthenticated: the token is no access token.
        Forbidden: it lacks the scope CALENDAR.
    """
    if actor.user is None or actor.scopes is None:
        raise Unauthenticated  # a session's token does not belong in an address
    require(actor, Action.READ_CALENDAR)
    statement = (
        select(Collective, col(Member.role))
        .join(Member, col(Member.collective_id) == Collective.id)
        .where(
            col(Member.member_id) == actor.id,
            col(Member.role).in_(REGISTRATION_ROLES),
            or_(col(Member.until).is_(None), col(Member.until) >= col(Collective.cancelled_at)),
            col(Collective.archived_at).is_(None),
            col(Collective.ends_at) > now() - PAST,
        )
        .order_by(col(Collective.starts_at), col(Collective.id))
        .limit(MAX_EVENTS)
    )
    entries: dict[str, Entry] = {}
    for event, role in (await session.execute(statement)).all():
        status = CONFIRMED if role == MemberRole.ATTENDEE else TENTATIVE
        entry = calendar_files.describe(event, status=status)
        entries[entry.uid] = entry  # who waited and moved up has two rows of a cancelled event
    return list(entries.values())
