"""Mails about events. Each is one statement for any number of recipients, unless stated."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member
from models.enums import MemberRole
from services.messaging import calendar_files, outbox
from services.messaging.rendering import WAITING_NOTE


def describe_times(event: Collective) -> dict[str, str]:
    """Return an event's times and time zone as mails take them; each reader gets them in their language."""
    assert event.starts_at is not None and event.ends_at is not None
    zone = event.timezone or "UTC"
    return {"at": event.starts_at.isoformat(), "until": event.ends_at.isoformat(), "zone": zone}


def query_attendees(event: Collective) -> Select[UUID]:
    """Select the user ids of an event's attendees, as a subquery."""
    return select(col(Member.member_id)).where(
        col(Member.collective_id) == event.id,
        col(Member.role) == MemberRole.ATTENDEE,
        col(Member.until).is_(None),
    )


def contact_ids(event: Collective) -> list[UUID]:
    """Return the user ids of an event's contact: its coordinator, or else its creator."""
    user_id = event.coordinator_id or event.created_by_id
    return [user_id] if user_id else []


def _calendar(event: Collective, *, role: str = MemberRole.ATTENDEE) -> dict[str, Any]:
    """Return what the mail's calendar file says."""
    status = calendar_files.TENTATIVE if role == MemberRole.WAITING else calendar_files.CONFIRMED
    return calendar_files.to_payload(calendar_files.describe(event, status=status))


def _waiting_note(role: str) -> str:
    return WAITING_NOTE if role == MemberRole.WAITING else ""


async def notify_coordinator(session: AsyncSession, event: Collective, *, by: Collective) -> None:
    """Notify a new coordinator, unless they appointed themselves."""
    await outbox.mail_users(
        session,
        user_ids=contact_ids(event),
        template="change_event_coordinator",
        except_id=by.id,
        payload={
            "event": event.name,
            "by": by.name,
            "when": describe_times(event),
            "location": event.location or "",
        },
    )


async def notify_change(session: AsyncSession, event: Collective, *, by_id: UUID | None) -> None:
    """Notify all attendees of the event's new time or location."""
    await outbox.mail_users(
        session,
        user_ids=query_attendees(event),
        template="edit_event",
        except_id=by_id,
        payload={
            "event": event.name,
            "when": describe_times(event),
            "location": event.location or "",
            "calendar": _calendar(event),
        },
    )


async def notify_cancellation(
    session: AsyncSession,
    event: Collective,
    *,
    user_ids: Sequence[UUID],
    reason: str | None,
    by_id: UUID | None,
) -> None:
    """Notify attendees and the waiting list that the event is cancelled."""
    await outbox.mail_users(
        session,
        user_ids=user_ids,
        template="event_cancelled",
        except_id=by_id,
        payload={
            "event": event.name,
            "when": describe_times(event),
            "reason": reason or "",
            "calendar": _calendar(event),
        },
    )


async def notify_registration(
    session: AsyncSession, event: Collective, *, user: Collective, role: str, message: str | None
) -> None:
    """Notify the coordinator of a registration and confirm it to the user; two statements."""
    await outbox.mail_users(
        session,
        user_ids=contact_ids(event),
        template="volunteer_registered",
        except_id=user.id,
        payload={
            "event": event.name,
            "name": user.name,
            "when": describe_times(event),
            "message": message or "",
        },
    )
    await outbox.mail_users(
        session,
        user_ids=[user.id],
        template="volunteer_confirmation",
        payload={
            "event": event.name,
            "name": user.name,
            "when": describe_times(event),
            "location": event.location or "",
            "note": _waiting_note(role),
            "calendar": _calendar(event, role=role),
        },
    )


async def notify_promotion(session: AsyncSession, event: Collective, *, user_ids: Sequence[UUID]) -> None:
    """Notify users from the waiting list that they have a place."""
    await outbox.mail_users(
        session,
        user_ids=user_ids,
        template="event_place_free",
        payload={
            "event": event.name,
            "when": describe_times(event),
            "location": event.location or "",
            "calendar": _calendar(event),
        },
    )


async def notify_guests(
    session: AsyncSession,
    event: Collective,
    *,
    by: Collective,
    guests: Sequence[tuple[Collective, str]],
    message: str | None,
) -> None:
    """Notify users that somebody registered them; unclaimed users are invited to sign up.

    At most four statements: with and without an account, with a place and waiting.
    """
    for role in (MemberRole.ATTENDEE, MemberRole.WAITING):
        invitees = [user for user, guest_role in guests if guest_role == role]
        claimed_ids = [user.id for user in invitees if user.claimed_at is not None]
        unclaimed_ids = [user.id for user in invitees if user.claimed_at is None]
        if claimed_ids:
            await outbox.mail_users(
                session,
                user_ids=claimed_ids,
                template="invite_volunteer_event_existing",
                except_id=by.id,
                payload={
                    "event": event.name,
                    "by": by.name,
                    "when": describe_times(event),
                    "location": event.location or "",
                    "note": _waiting_note(role),
                    "calendar": _calendar(event, role=role),
                    "message": message or "",
                },
            )
        if unclaimed_ids:
            await outbox.mail_users(
                session,
                user_ids=unclaimed_ids,
                template="invite_volunteer_event_new",
                except_id=by.id,
                payload={
                    "event": event.name,
                    "by": by.name,
                    "when": describe_times(event),
                    "location": event.location or "",
                    "note": _waiting_note(role),
                    "calendar": _calendar(event, role=role),
                    "message": message or "",
                },
            )


async def message_attendees(
    session: AsyncSession, event: Collective, *, by: Collective, message: str
) -> None:
    """Mail a message from the coordinator or an ADMIN to all attendees."""
    await outbox.mail_users(
        session,
        user_ids=query_attendees(event),
        template="coordinator_messaged",
        except_id=by.id,
        payload={"event": event.name, "by": by.name, "message": message},
    )


async def message_coordinator(
    session: AsyncSession, event: Collective, *, by: Collective, message: str
) -> None:
    """Mail a message from an attendee to the coordinator."""
    await outbox.mail_users(
        session,
        user_ids=contact_ids(event),
        template="volunteer_messaged",
        except_id=by.id,
        payload={"event": event.name, "by": by.name, "message": message},
    )
