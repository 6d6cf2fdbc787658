"""Events: creating, editing, cancelling and listing them, and choosing their coordinator."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Attendance, Collective, Member, now
from models.enums import CollectiveType, CreditPolicy, MemberRole
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import collectives, event_capacity, event_times
from services.collectives.event_capacity import EVENT_FIELD, REGISTRATION_ROLES
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.pagination import Page, PageRequest, Sort, list_page
from services.identity import free_slugs
from services.messaging import event_notifications

CREDIT_POLICIES = tuple(CreditPolicy)
MAX_REASON_LENGTH = 2000
BY_START = Sort("starts", col(Collective.starts_at), col(Collective.id), descending=False)
_ANNOUNCED_COLUMNS = ("starts_at", "ends_at", "timezone", "location")
"""Columns whose changes are mailed to attendees."""
_REQUIRED_FIELDS = {
    "starts_at": "startsAt",
    "ends_at": "endsAt",
    "timezone": "timezone",
    "is_public": "isPublic",
    "credit_policy": "creditPolicy",
    "coordinator": "coordinator",
}
"""Input fields, by name of the change, that can be changed but not removed."""


async def create(
    session: AsyncSession,
    actor: Actor,
    *,
    parent: CollectiveKey,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    timezone: str | None = None,
    location: str | None = None,
    description: str | None = None,
    is_public: bool = True,
    capacity: int | None = None,
    credit_policy: str | None = None,
    coordinator: CollectiveKey | None = None,
) -> Collective:
    """Create an event of a collective, with the parent's currency; it has members but no money.

    Its creator is its first ADMIN and, unless another is named, its coordinator; another one gets a mail.

    Raises:
        Invalid: the parent's type, the times, the capacity, the policy, or a coordinator who is no ADMIN.
        InvalidState: the parent is archived.
    """
    refs = {"parent": parent} | ({"coordinator": coordinator} if coordinator else {})
    parties = await resolve(session, actor, refs)
    owner = require_collective(parties["parent"])
    require(actor, Action.CREATE_EVENT, Subject(collective=owner))
    assert actor.user is not None
    require_open(owner, field="parent")
    if owner.type in {CollectiveType.EVENT, CollectiveType.USER}:
        raise Invalid("Choose an organization or community as the parent.", field="parent")
    event = Collective(
        type=CollectiveType.EVENT,
        name=user_text.require_name(name, field="name"),
        slug="",
        parent_id=owner.id,
        currency=owner.currency,
        starts_at=starts_at,
        ends_at=ends_at,
        timezone=collectives.require_timezone(timezone or owner.timezone or "UTC"),
        location=user_text.clean_text(location, field="location"),
        is_public=is_public,
        description=user_text.clean_text(description, field="description"),
        capacity=_validate_capacity(capacity),
        credit_policy=_validate_credit_policy(credit_policy or CreditPolicy.FULL_EVENT),
        created_by_id=actor.user.id,
        coordinator_id=actor.user.id,
    )
    event_times.require_times(starts_at, ends_at)
    if coordinator is not None:
        event.coordinator_id = await _require_coordinator(
            session, event, require_collective(parties["coordinator"])
        )
    event.slug = await free_slugs.choose(session, name=event.name)
    session.add(event)
    await session.flush()
    session.add(collectives.build_first_admin(event, actor.user))
    actor.grant(event.id, MemberRole.ADMIN)
    await session.flush()
    if event.coordinator_id != actor.user.id:
        await event_notifications.notify_coordinator(session, event, by=actor.user)
    return event


def _validate_capacity(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise Invalid("Enter a capacity of at least 1, or leave it out for no limit.", field="capacity")
    return value


def _validate_credit_policy(value: str) -> str:
    if value not in CREDIT_POLICIES:
        raise Invalid("Choose the credit policy FULL_EVENT or ACTUAL.", field="creditPolicy")
    return value


async def _require_coordinator(session: AsyncSession, event: Collective, user: Collective) -> UUID:
    """Require that a user is an ADMIN of the event or of its parent, and return the user's id.

    The event's creator counts as its ADMIN: their member row is not written yet.
    """
    statement = select(
        exists().where(
            col(Member.collective_id).in_([event.id, event.parent_id]),
            col(Member.member_id) == user.id,
            col(Member.role) == MemberRole.ADMIN,
            col(Member.until).is_(None),
        )
    )
    is_admin = user.id == event.created_by_id or (await session.execute(statement)).scalar_one()
    if user.type != CollectiveType.USER or not is_admin:
        field = "coordinator"
        raise Invalid("Choose an ADMIN of the event or of its parent as coordinator.", field=field)
    return user.id


async def edit(
    session: AsyncSession, actor: Actor, *, event: CollectiveKey, changes: dict[str, Any]
) -> Collective:
    """Update the columns in `changes`, before the event's end. Locks: the event.

    A new time or location is mailed to all attendees. A larger capacity, or none, moves users up from the
    waiting list.

    Raises:
        InvalidState: the event is over, cancelled or archived.
        Invalid: a value that is not acceptable, or a capacity below the number of attendees.
        Forbidden: once check-in has opened, an ADMIN of the event alone changes what attendance credits.
    """
    coordinator = changes.get("coordinator")
    refs = {"event": event} | ({"coordinator": coordinator} if coordinator else {})
    parties = await resolve(session, actor, refs)
    row = require_collective(parties["event"])
    event_capacity.require_event(row)
    require(actor, Action.UPDATE_EVENT, Subject(collective=row))
    row = await event_capacity.lock_event(session, row)
    event_capacity.require_active(row)
    before = {name: getattr(row, name) for name in (*_ANNOUNCED_COLUMNS, "capacity", "coordinator_id")}
    new = {name: _validate_change(name, value) for name, value in changes.items()}
    await event_times.require_may_reschedule(session, actor, row, new)
    if new.pop("coordinator", None) is not None:
        new["coordinator_id"] = await _require_coordinator(
            session, row, require_collective(parties["coordinator"])
        )
    if new.get("capacity") is not None:
        await _require_capacity(session, row, new["capacity"])
    for name, value in new.items():
        setattr(row, name, value)
    row.updated_at = now()
    await session.flush()
    await _announce_changes(session, actor, row, before)
    return row


def _validate_change(name: str, value: Any) -> Any:
    """Return a column's new value, cleaned and validated."""
    if value is None and name in _REQUIRED_FIELDS:
        raise Invalid("This field cannot be removed.", field=_REQUIRED_FIELDS[name])
    match name:
        case "name":
            return user_text.require_name(value, field="name")
        case "timezone":
            return collectives.require_timezone(value)
        case "capacity":
            return _validate_capacity(value)
        case "credit_policy":
            return _validate_credit_policy(value)
        case "location" | "description":
            return user_text.clean_text(value, field=name)
        case _:
            return value


async def _require_capacity(session: AsyncSession, event: Collective, capacity: int) -> None:
    attending, _ = await event_capacity.count_registrations(session, event)
    if attending > capacity:
        field = "capacity"
        raise Invalid(f"{attending} attendees are registered. The capacity cannot be lower.", field=field)


async def _announce_changes(
    session: AsyncSession, actor: Actor, event: Collective, before: dict[str, Any]
) -> None:
    assert actor.user is not None
    if any(getattr(event, name) != before[name] for name in _ANNOUNCED_COLUMNS):
        await event_notifications.notify_change(session, event, by_id=actor.id)
    if event.coordinator_id not in {before["coordinator_id"], actor.id}:
        await event_notifications.notify_coordinator(session, event, by=actor.user)
    if event.capacity != before["capacity"]:
        await event_capacity.promote_waiting(session, event)


async def cancel(
    session: AsyncSession, actor: Actor, *, event: CollectiveKey, reason: str | None = None
) -> Collective:
    """Cancel an event, end all registrations and notify their users. Locks: the event.

    Raises:
        InvalidState: it is over, cancelled or archived, or somebody has been checked in.
    """
    row = require_collective((await resolve(session, actor, {"event": event}))["event"])
    event_capacity.require_event(row)
    require(actor, Action.CANCEL_EVENT, Subject(collective=row))
    reason = user_text.clean_text(reason, field="reason", max_length=MAX_REASON_LENGTH)
    row = await event_capacity.lock_event(session, row)
    event_capacity.require_active(row)
    has_attendance = select(exists().where(col(Attendance.event_id) == row.id))
    if (await session.execute(has_attendance)).scalar_one():
        raise InvalidState(
            "Attendees have been checked in. The event cannot be cancelled.", field=EVENT_FIELD
        )
    row.cancelled_at = row.updated_at = now()
    await session.flush()
    ended = await session.execute(
        update(Member)
        .where(
            col(Member.collective_id) == row.id,
            col(Member.role).in_(REGISTRATION_ROLES),
            col(Member.until).is_(None),
        )
        .values(until=func.greatest(row.cancelled_at, col(Member.since)))
        .returning(col(Member.member_id))
        .execution_options(synchronize_session=False)
    )
    user_ids = list(ended.scalars())
    if user_ids:
        await event_notifications.notify_cancellation(
            session, row, user_ids=user_ids, reason=reason, by_id=actor.id
        )
    return row


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Conditions for listing events; all must hold."""

    starts_from: datetime | None = None
    starts_until: datetime | None = None
    is_cancelled: bool | None = None


def select_events(actor: Actor, *, where: EventFilter, owner: Any) -> tuple[Select[Collective]]:
    """Select what `list_events` lists; values may be expressions."""
    statement = select(Collective).where(
        col(Collective.parent_id) == owner,
        col(Collective.archived_at).is_(None),
        visibility.collective_is_visible(actor),
    )
    if where.starts_from is not None:
        statement = statement.where(col(Collective.starts_at) >= where.starts_from)
    if where.starts_until is not None:
        statement = statement.where(col(Collective.starts_at) < where.starts_until)
    if where.is_cancelled is not None:
        cancelled_at = col(Collective.cancelled_at)
        statement = statement.where(
            cancelled_at.is_not(None) if where.is_cancelled else cancelled_at.is_(None)
        )
    return (statement,)


async def list_events(
    session: AsyncSession, actor: Actor, *, parent_id: UUID, filters: EventFilter, page: PageRequest
) -> Page[Collective]:
    """List a page of a collective's events that the actor may see, by start; archived ones are left out."""
    (statement,) = select_events(actor, where=filters, owner=parent_id)
    return await list_page(session, statement, sort=BY_START, page=page)
