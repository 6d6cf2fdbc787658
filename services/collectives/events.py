"""Events: making, editing, calling off and listing them; who coordinates them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Attendance, Collective, Member, now
from models.enums import CollectiveType, CreditPolicy, MemberRole
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import collectives, event_capacity
from services.collectives.event_capacity import PATH, REGISTERED
from services.core import slugs, user_text
from services.core.errors import Invalid, InvalidState
from services.core.pagination import Page, PageRequest, Sort, read
from services.messaging import event_notifications

CREDIT_POLICIES = tuple(CreditPolicy)
MAX_REASON = 2000
BY_START = Sort("starts", col(Collective.starts_at), col(Collective.id), descending=False)
_TOLD = ("starts_at", "ends_at", "timezone", "location")
"""What the registered hear of when it changes."""
_NEEDED = {
    "starts_at": "startsAt",
    "ends_at": "endsAt",
    "timezone": "timezone",
    "is_public": "isPublic",
    "credit_policy": "creditPolicy",
    "coordinator": "coordinator",
}
"""What can change but not be taken away, by the input field."""


async def create(
    session: AsyncSession,
    actor: Actor,
    *,
    parent: Ref,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    timezone: str | None = None,
    location: str | None = None,
    description: str | None = None,
    is_public: bool = True,
    capacity: int | None = None,
    credit_policy: str | None = None,
    coordinator: Ref | None = None,
) -> Collective:
    """Create an event of a collective; it inherits host and currency and holds members, not money.

    Its maker is its first ADMIN and, if nobody else is named, its coordinator, who hears of it by mail.

    Raises:
        Invalid: the parent's type, the times, the capacity, the policy, or a coordinator without the role.
    """
    wanted = {"parent": parent} | ({"coordinator": coordinator} if coordinator else {})
    parties = await resolve(session, actor, wanted)
    owner = named(parties["parent"])
    require(actor, Action.CREATE_EVENT, Subject(collective=owner))
    assert actor.user is not None
    require_open(owner, path=["input", "parent"])
    if owner.type in {CollectiveType.EVENT, CollectiveType.USER}:
        raise Invalid("An event belongs to an organization or community", path=["input", "parent"])
    event = Collective(
        type=CollectiveType.EVENT,
        name=user_text.required(name, path=["input", "name"]),
        slug="",
        parent_id=owner.id,
        currency=owner.currency,
        starts_at=starts_at,
        ends_at=ends_at,
        timezone=collectives.zone(timezone or owner.timezone or "UTC"),
        location=user_text.clean(location, path=["input", "location"]),
        is_public=is_public,
        description=user_text.clean(description, path=["input", "description"]),
        capacity=_capacity(capacity),
        credit_policy=_policy(credit_policy or CreditPolicy.FULL_EVENT),
        created_by_id=actor.user.id,
        coordinator_id=actor.user.id,
    )
    _require_order(starts_at, ends_at)
    if coordinator is not None:
        event.coordinator_id = await _coordinator(session, event, named(parties["coordinator"]))
    event.slug = slugs.suggest(event.name, suffix=event.id.hex[-6:])
    session.add(event)
    await session.flush()
    session.add(collectives.first_admin(event, actor.user))
    actor.gains(event.id, MemberRole.ADMIN)
    await session.flush()
    if event.coordinator_id != actor.user.id:
        await event_notifications.coordinator(session, event, by=actor.user)
    return event


def _require_order(starts_at: datetime | None, ends_at: datetime | None) -> None:
    assert starts_at is not None and ends_at is not None
    if ends_at <= starts_at:
        raise Invalid("An event ends after it starts", path=["input", "endsAt"])


def _capacity(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise Invalid("A capacity is at least 1", path=["input", "capacity"])
    return value


def _policy(value: str) -> str:
    if value not in CREDIT_POLICIES:
        raise Invalid("A credit policy is FULL_EVENT or ACTUAL", path=["input", "creditPolicy"])
    return value


async def _coordinator(session: AsyncSession, event: Collective, user: Collective) -> UUID:
    """Return the id of one who may coordinate: an ADMIN of the event or of its parent.

    Whoever makes the event is its ADMIN, though the row is not written yet.
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
        path = ["input", "coordinator"]
        raise Invalid("A coordinator is an ADMIN of the event or of its parent", path=path)
    return user.id


async def edit(session: AsyncSession, actor: Actor, *, event: Ref, changes: dict[str, Any]) -> Collective:
    """Change what `changes` names, before the event's end. Locks: the event.

    A change of time or place is mailed to all who are registered. A larger capacity, or none, moves
    people up from the waiting list.

    Raises:
        InvalidState: the event is over or cancelled.
        Invalid: a value that cannot be, or a capacity below the number of those registered.
    """
    chosen = changes.get("coordinator")
    parties = await resolve(session, actor, {"event": event} | ({"coordinator": chosen} if chosen else {}))
    row = named(parties["event"])
    event_capacity.require_event(row)
    require(actor, Action.UPDATE_EVENT, Subject(collective=row))
    row = await event_capacity.locked(session, row)
    event_capacity.require_takes_place(row)
    before = {name: getattr(row, name) for name in (*_TOLD, "capacity", "coordinator_id")}
    new = {name: _edited(name, value) for name, value in changes.items()}
    _require_order(new.get("starts_at", row.starts_at), new.get("ends_at", row.ends_at))
    if new.pop("coordinator", None) is not None:
        new["coordinator_id"] = await _coordinator(session, row, named(parties["coordinator"]))
    if new.get("capacity") is not None:
        await _require_room(session, row, new["capacity"])
    for name, value in new.items():
        setattr(row, name, value)
    row.updated_at = now()
    await session.flush()
    await _follow_up(session, actor, row, before)
    return row


def _edited(name: str, value: Any) -> Any:
    """Return the new value of a column, checked."""
    if value is None and name in _NEEDED:
        raise Invalid("This cannot be taken away", path=["input", _NEEDED[name]])
    match name:
        case "name":
            return user_text.required(value, path=["input", "name"])
        case "timezone":
            return collectives.zone(value)
        case "capacity":
            return _capacity(value)
        case "credit_policy":
            return _policy(value)
        case "location" | "description":
            return user_text.clean(value, path=["input", name])
        case _:
            return value


async def _require_room(session: AsyncSession, event: Collective, capacity: int) -> None:
    attending, _ = await event_capacity.count(session, event)
    if attending > capacity:
        path = ["input", "capacity"]
        raise Invalid(f"{attending} are registered: the capacity cannot be lower", path=path)


async def _follow_up(session: AsyncSession, actor: Actor, event: Collective, before: dict[str, Any]) -> None:
    assert actor.user is not None
    if any(getattr(event, name) != before[name] for name in _TOLD):
        await event_notifications.changed(session, event, by_id=actor.id)
    if event.coordinator_id not in {before["coordinator_id"], actor.id}:
        await event_notifications.coordinator(session, event, by=actor.user)
    if event.capacity != before["capacity"]:
        await event_capacity.move_up(session, event)


async def cancel(session: AsyncSession, actor: Actor, *, event: Ref, reason: str | None = None) -> Collective:
    """Call an event off: ends all registrations and mails those who had one. Locks: the event.

    Raises:
        InvalidState: it is over or cancelled already, or somebody was checked in.
    """
    row = named((await resolve(session, actor, {"event": event}))["event"])
    event_capacity.require_event(row)
    require(actor, Action.CANCEL_EVENT, Subject(collective=row))
    why = user_text.clean(reason, path=["input", "reason"], max_length=MAX_REASON)
    row = await event_capacity.locked(session, row)
    event_capacity.require_takes_place(row)
    attended = select(exists().where(col(Attendance.event_id) == row.id))
    if (await session.execute(attended)).scalar_one():
        raise InvalidState("Somebody was checked in already", path=PATH)
    row.cancelled_at = row.updated_at = now()
    await session.flush()
    ended = await session.execute(
        update(Member)
        .where(
            col(Member.collective_id) == row.id,
            col(Member.role).in_(REGISTERED),
            col(Member.until).is_(None),
        )
        .values(until=func.greatest(row.cancelled_at, col(Member.since)))
        .returning(col(Member.member_id))
        .execution_options(synchronize_session=False)
    )
    user_ids = list(ended.scalars())
    if user_ids:
        await event_notifications.cancelled(session, row, user_ids=user_ids, reason=why, by_id=actor.id)
    return row


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which events to list."""

    starts_from: datetime | None = None
    starts_until: datetime | None = None
    is_cancelled: bool | None = None


async def of_parent(
    session: AsyncSession, actor: Actor, *, parent_id: UUID, wanted: Filter, page: PageRequest
) -> Page[Collective]:
    """List a collective's events by their start."""
    statement = select(Collective).where(
        col(Collective.parent_id) == parent_id, visibility.of_collective(actor)
    )
    if wanted.starts_from is not None:
        statement = statement.where(col(Collective.starts_at) >= wanted.starts_from)
    if wanted.starts_until is not None:
        statement = statement.where(col(Collective.starts_at) < wanted.starts_until)
    if wanted.is_cancelled is not None:
        off = col(Collective.cancelled_at)
        statement = statement.where(off.is_not(None) if wanted.is_cancelled else off.is_(None))
    return await read(session, statement, sort=BY_START, page=page)


@dataclass(frozen=True)
class Counts:
    """How many are registered for an event, and how many wait."""

    registered: int = 0
    waiting: int = 0


async def counts(session: AsyncSession, *, event_ids: Sequence[UUID]) -> dict[UUID, Counts]:
    """Count the places of events; one statement for all. Events without any are left out."""
    statement = (
        select(col(Member.collective_id), *event_capacity.counted())
        .where(
            col(Member.collective_id).in_(event_ids),
            col(Member.role).in_(REGISTERED),
            col(Member.until).is_(None),
        )
        .group_by(col(Member.collective_id))
    )
    found = (await session.execute(statement)).all()
    return {event_id: Counts(attending, waiting) for event_id, attending, waiting in found}
