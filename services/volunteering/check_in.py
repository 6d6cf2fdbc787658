"""Being at an event: check-in credits the hours, once; check-out says how long it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, column, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Collective, Member, Order, now
from models.enums import CollectiveType, CreditPolicy, MemberRole, OrderStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity, platform_policy
from services.collectives.event_capacity import PATH
from services.core import pagination
from services.core.errors import Invalid, InvalidState, LimitExceeded, SelfApproval
from services.core.pagination import Page, PageRequest, Sort
from services.core.party import Party
from services.identity import email_addresses
from services.volunteering import hours


@dataclass(frozen=True)
class CheckedIn:
    """The order that credits an attendee, and their row ATTENDEE."""

    order: Order
    member: Member | None


async def check_in(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    event: Ref,
    user: Ref | None = None,
    email: str | None = None,
) -> CheckedIn:
    """Note that somebody is at an event, and credit the hours from the event's parent, once.

    Whoever calls it how often, and under whichever key: one order. By FULL_EVENT it is PAID at once over
    the whole event; by ACTUAL it is PENDING until check-out. An unknown address is a walk-in, who becomes
    an unclaimed user. Locks: the event, then what crediting locks.

    Raises:
        SelfApproval: the actor checks themselves in.
        InvalidState: too early, cancelled, or the parent may not issue currents.
        LimitExceeded: the event is full; or, from the database, a cap of issuance.
        Conflict: from the database, where the user has other hours at that time.
    """
    if (user is None) == (email is None):
        raise Invalid("Name a user or an email address", path=["input", "user"])
    parties = await resolve(session, actor, {"event": event} | ({"user": user} if user else {}))
    row = named(parties["event"])
    event_capacity.require_event(row)
    require(actor, Action.CHECK_IN, Subject(collective=row))
    row = await event_capacity.locked(session, row)
    person = await _person(session, actor, known=parties.get("user"), email=email)
    earlier = await event_capacity.attendance(session, row.id, person.id)
    if earlier is not None:
        rows = await event_capacity.rows_of(session, row, user_ids=[person.id])
        return CheckedIn(await session.get_one(Order, earlier.order_id), rows.get(person.id))
    nonprofit = await _opened(session, row)
    member = await _attendee(session, actor, row, person)
    order = await _credit(session, actor, row, person, nonprofit=nonprofit, order_id=order_id)
    assert actor.id is not None
    moment = now()
    session.add(
        Attendance(
            event_id=row.id,
            user_id=person.id,
            order_id=order.id,
            checked_in_by_id=actor.id,
            checked_in_at=moment,
        )
    )
    await session.flush()
    return CheckedIn(order, member)


async def _person(
    session: AsyncSession, actor: Actor, *, known: Party | None, email: str | None
) -> Collective:
    """Return who is to be checked in; an unknown address becomes an unclaimed user."""
    path = ["input", "user" if known else "email"]
    person = (
        named(known) if known else await email_addresses.known_or_new_user(session, email or "", path=path)
    )
    if person.type != CollectiveType.USER:
        raise Invalid("Only people come to events", path=path)
    require_open(person, path=path)
    if person.id == actor.id:
        raise SelfApproval("Somebody else checks you in and out", path=path)
    return person


async def _opened(session: AsyncSession, event: Collective) -> Collective:
    """Return the nonprofit that credits, if check-in is open: from some time before the start, for ever.

    Raises:
        InvalidState: it is not.
    """
    event_capacity.require_takes_place(event, over_allowed=True)
    assert event.parent_id is not None and event.starts_at is not None
    nonprofit = await session.get_one(Collective, event.parent_id)
    if nonprofit.type != CollectiveType.NONPROFIT:
        raise InvalidState("Only a nonprofit's event credits hours", path=PATH)
    hours.require_issuer(nonprofit, path=PATH)
    policy = await platform_policy.policy(session)
    if now() < event.starts_at - timedelta(minutes=policy.check_in_minutes):
        text = f"Check-in opens {policy.check_in_minutes} minutes before the start"
        raise InvalidState(text, path=PATH)
    return nonprofit


async def _attendee(session: AsyncSession, actor: Actor, event: Collective, person: Collective) -> Member:
    """Return the row ATTENDEE, written where it is missing; who waited waits no more."""
    row = (await event_capacity.rows_of(session, event, user_ids=[person.id])).get(person.id)
    if row is not None and row.role == MemberRole.ATTENDEE:
        return row
    attending, _ = await event_capacity.count(session, event)
    if event.capacity is not None and attending >= event.capacity:
        raise LimitExceeded("The event is full", path=PATH)
    if row is not None:
        row.until = max(now(), row.since)
    member = Member(
        collective_id=event.id, member_id=person.id, role=MemberRole.ATTENDEE, created_by_id=actor.id
    )
    session.add(member)
    await session.flush()
    return member


async def _credit(
    session: AsyncSession,
    actor: Actor,
    event: Collective,
    person: Collective,
    *,
    nonprofit: Collective,
    order_id: UUID,
) -> Order:
    assert event.starts_at is not None and event.ends_at is not None
    starts_at, ends_at = event.starts_at, event.ends_at
    by_time = event.credit_policy == CreditPolicy.ACTUAL
    if by_time:
        starts_at, ends_at = now(), max(ends_at, now() + (ends_at - starts_at))
    return await hours.credit(
        session,
        actor,
        order_id=order_id,
        nonprofit=nonprofit,
        user=person,
        starts_at=starts_at,
        ends_at=ends_at,
        event_id=event.id,
        description=event.name,
        pending=by_time,
    )


async def check_out(session: AsyncSession, actor: Actor, *, event: Ref, user: Ref) -> Order:
    """Note when an attendee left, once, and return the order that credits them.

    Hours that wait for it are PAID now: from check-in to now, at most as long as the event. Locks: the
    event, then what crediting locks.

    Raises:
        InvalidState: the user was not checked in.
        SelfApproval: the actor checks themselves out.
    """
    parties = await resolve(session, actor, {"event": event, "user": user})
    row, person = named(parties["event"]), named(parties["user"])
    event_capacity.require_event(row)
    require(actor, Action.CHECK_OUT, Subject(collective=row))
    path = ["input", "user"]
    if person.id == actor.id:
        raise SelfApproval("Somebody else checks you in and out", path=path)
    row = await event_capacity.locked(session, row)
    attended = await event_capacity.attendance(session, row.id, person.id)
    if attended is None:
        raise InvalidState(f"{person.slug} was not checked in", path=path)
    order = await session.get_one(Order, attended.order_id)
    if attended.checked_out_at is not None:
        return order
    attended.checked_out_at = max(now(), attended.checked_in_at)
    await session.flush()
    if order.status != OrderStatus.PENDING:
        return order
    return await _settle(session, actor, row, order, until=attended.checked_out_at)


async def _settle(
    session: AsyncSession, actor: Actor, event: Collective, order: Order, *, until: datetime
) -> Order:
    """Pay the time that somebody was there, at most the event's."""
    assert event.starts_at is not None and event.ends_at is not None
    assert order.starts_at is not None
    spent = min(until - order.starts_at, event.ends_at - event.starts_at)
    minor = max(1, hours.currents_of(spent))
    return await hours.settle_actual(session, actor, order_id=order.id, amount_minor=minor, ends_at=until)


async def of_users(
    session: AsyncSession, actor: Actor, *, user_ids: Sequence[UUID], event_id: UUID
) -> dict[UUID, Attendance]:
    """Return who of the users came to an event, by user; none where the actor does not run it."""
    found = await session.execute(
        select(Attendance).where(
            col(Attendance.event_id) == event_id,
            col(Attendance.user_id).in_(user_ids),
            visibility.of_attendance(actor),
        )
    )
    return {row.user_id: row for row in found.scalars()}


class _ByArrival(Sort):
    """Attendances by check-in, then by user: they have no id of their own."""

    def values(self, row: Attendance) -> tuple[datetime, UUID]:
        """Return where the row stands in this order."""
        return row.checked_in_at, row.user_id


FIRST_COME = _ByArrival("arrival", col(Attendance.checked_in_at), col(Attendance.user_id), descending=False)


async def pages_of(
    session: AsyncSession, actor: Actor, *, event_ids: Sequence[UUID], page: PageRequest
) -> dict[UUID, Page[Attendance]]:
    """Return a page of those who came to each event, by arrival; one statement for all.

    Empty where the actor does not run the event.
    """
    event = (
        func.unnest(literal(list(event_ids), ARRAY(Uuid)))
        .table_valued(column("id", Uuid))
        .render_derived(name="event")
    )

    def rows_of(event_id: object) -> Select[Attendance]:
        return select(Attendance).where(col(Attendance.event_id) == event_id, visibility.of_attendance(actor))

    inner = pagination.narrow(rows_of(event.c.id), sort=FIRST_COME, page=page).lateral("page")
    row = aliased(Attendance, inner)
    statement = (
        select(row)
        .select_from(event)
        .join(inner, onclause=true())
        .order_by(col(row.checked_in_at), col(row.user_id))
    )
    found: dict[UUID, list[Attendance]] = {event_id: [] for event_id in event_ids}
    for came in (await session.execute(statement)).scalars():
        found[came.event_id].append(came)
    return {
        event_id: pagination.build(rows, partial(rows_of, event_id), sort=FIRST_COME, page=page)
        for event_id, rows in found.items()
    }
