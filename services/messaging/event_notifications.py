"""The mails about events: who hears what. Each is one statement, however many get it."""

from collections.abc import Sequence
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member
from models.enums import MemberRole
from services.messaging import outbox

WAITING_NOTE = "All places are taken: you are on the waiting list, and hear from us when you move up."


def when(event: Collective) -> str:
    """Return an event's times in its own time zone, as mails write them."""
    assert event.starts_at is not None and event.ends_at is not None
    zone = event.timezone or "UTC"
    starts, ends = (moment.astimezone(ZoneInfo(zone)) for moment in (event.starts_at, event.ends_at))
    until = f"{ends:%H:%M}" if starts.date() == ends.date() else f"{ends:%Y-%m-%d %H:%M}"
    return f"{starts:%Y-%m-%d %H:%M} to {until} ({zone})"


def attendees(event: Collective) -> Select[UUID]:
    """Return the ids of those who are registered, as a subquery."""
    return select(col(Member.member_id)).where(
        col(Member.collective_id) == event.id,
        col(Member.role) == MemberRole.ATTENDEE,
        col(Member.until).is_(None),
    )


def contact(event: Collective) -> list[UUID]:
    """Return whom attendees turn to: the coordinator, or else who made the event."""
    known = event.coordinator_id or event.created_by_id
    return [known] if known else []


def _note(role: str) -> str:
    return WAITING_NOTE if role == MemberRole.WAITING else ""


async def coordinator(session: AsyncSession, event: Collective, *, by: Collective) -> None:
    """Tell the coordinator that they are, unless they said so themselves."""
    await outbox.to_users(
        session,
        user_ids=contact(event),
        template="change_event_coordinator",
        except_id=by.id,
        payload={"event": event.name, "by": by.name, "when": when(event), "location": event.location or ""},
    )


async def changed(session: AsyncSession, event: Collective, *, by_id: UUID | None) -> None:
    """Tell all who are registered when and where the event is now."""
    await outbox.to_users(
        session,
        user_ids=attendees(event),
        template="edit_event",
        except_id=by_id,
        payload={"event": event.name, "when": when(event), "location": event.location or ""},
    )


async def cancelled(
    session: AsyncSession,
    event: Collective,
    *,
    user_ids: Sequence[UUID],
    reason: str | None,
    by_id: UUID | None,
) -> None:
    """Tell those who were registered or waiting that the event is called off."""
    await outbox.to_users(
        session,
        user_ids=user_ids,
        template="event_cancelled",
        except_id=by_id,
        payload={"event": event.name, "when": when(event), "reason": reason or ""},
    )


async def registered(
    session: AsyncSession, event: Collective, *, user: Collective, role: str, message: str | None
) -> None:
    """Tell the coordinator, with the registrant's message, and confirm to the registrant."""
    await outbox.to_users(
        session,
        user_ids=contact(event),
        template="volunteer_registered",
        except_id=user.id,
        payload={"event": event.name, "name": user.name, "when": when(event), "message": message or ""},
    )
    await outbox.to_users(
        session,
        user_ids=[user.id],
        template="volunteer_confirmation",
        payload={
            "event": event.name,
            "name": user.name,
            "when": when(event),
            "location": event.location or "",
            "note": _note(role),
        },
    )


async def moved_up(session: AsyncSession, event: Collective, *, user_ids: Sequence[UUID]) -> None:
    """Tell those who waited that they have a place."""
    await outbox.to_users(
        session,
        user_ids=user_ids,
        template="event_place_free",
        payload={"event": event.name, "when": when(event), "location": event.location or ""},
    )


async def invited(
    session: AsyncSession,
    event: Collective,
    *,
    by: Collective,
    guests: Sequence[tuple[Collective, str]],
    message: str | None,
) -> None:
    """Tell people that somebody registered them; who has no account yet is told how to get one.

    At most four statements: with and without an account, with a place and waiting.
    """
    for role in (MemberRole.ATTENDEE, MemberRole.WAITING):
        here = [user for user, given in guests if given == role]
        known = [user.id for user in here if user.claimed_at is not None]
        new = [user.id for user in here if user.claimed_at is None]
        if known:
            await outbox.to_users(
                session,
                user_ids=known,
                template="invite_volunteer_event_existing",
                except_id=by.id,
                payload={
                    "event": event.name,
                    "by": by.name,
                    "when": when(event),
                    "location": event.location or "",
                    "note": _note(role),
                    "message": message or "",
                },
            )
        if new:
            await outbox.to_users(
                session,
                user_ids=new,
                template="invite_volunteer_event_new",
                except_id=by.id,
                payload={
                    "event": event.name,
                    "by": by.name,
                    "when": when(event),
                    "location": event.location or "",
                    "note": _note(role),
                    "message": message or "",
                },
            )


async def to_attendees(session: AsyncSession, event: Collective, *, by: Collective, message: str) -> None:
    """Carry a message of the coordinator or an ADMIN to all who are registered."""
    await outbox.to_users(
        session,
        user_ids=attendees(event),
        template="coordinator_messaged",
        except_id=by.id,
        payload={"event": event.name, "by": by.name, "message": message},
    )


async def to_coordinator(session: AsyncSession, event: Collective, *, by: Collective, message: str) -> None:
    """Carry a message of somebody registered to the coordinator."""
    await outbox.to_users(
        session,
        user_ids=contact(event),
        template="volunteer_messaged",
        except_id=by.id,
        payload={"event": event.name, "by": by.name, "message": message},
    )
