"""Check-in at events credits an attendee's hours, once; check-out ends them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, column, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Collective, Member, Order, PlatformPolicy, now
from models.enums import CollectiveType, CreditPolicy, MemberRole, NamedBy, OrderStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity, platform_policy
from services.collectives.event_capacity import EVENT_FIELD
from services.core import pagination
from services.core.errors import Invalid, InvalidState, LimitExceeded, SelfApproval
from services.core.pagination import Page, PageRequest, Sort
from services.core.party import Party
from services.database.insert_rows import insert_rows
from services.identity import email_addresses
from services.round_trips.records import new_record
from services.volunteering import check_in_closing, check_in_facts, issuers, vouched_hours
from services.volunteering.check_in_facts import CheckInFacts

MAX_LATENESS = timedelta(days=14)


@dataclass(frozen=True)
class CheckInResult:
    """The order that credits an attendee, and their ATTENDEE row."""

    order: Order
    member: Member | None


async def check_in(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    event: CollectiveKey,
    user: CollectiveKey | None = None,
    email: str | None = None,
    is_trial: bool = False,
) -> CheckInResult:
    """Check a user in at an event and credit their hours from the event's parent, once.

    There is one order per attendee, regardless of how often, by whom and with which key this is called.
    With FULL_EVENT the order is PAID at once for the whole event; with ACTUAL it is PENDING until check-out,
    at the latest until the event ends. Neither credits more than the policy's `max_event_hours_minor`. The
    user's check-ins at events that have ended are closed first.
    An unknown address is a walk-in and becomes an unclaimed user. A dry run (`is_trial`) takes every address
    for unknown: it must not tell whose it is. Locks: the event, then those of crediting.

    Raises:
        SelfApproval: the actor checks themselves in.
        InvalidState: too early, too late, cancelled, or the parent may not issue currents.
        LimitExceeded: the event is full; or, raised by the database, an issuance cap is reached.
        Conflict: the user has other hours at that time.
    """
    if (user is None) == (email is None):
        raise Invalid("Enter either a user or an email address.", field="user")
    policy = await platform_policy.read_policy_ahead(session)
    refs = {"event": event} | ({"user": user} if user else {})
    parties = await resolve(session, actor, refs, are_records=True)
    row = require_collective(parties["event"])
    event_capacity.require_event(row)
    require(actor, Action.CHECK_IN, Subject(collective=row))
    if email:  # a new person is created under the lock, as for every registration
        row = await event_capacity.lock_event(session, row)
    person = await _resolve_person(session, actor, user=parties.get("user"), email=email, is_trial=is_trial)
    order = _build_order(actor, row, person, order_id=order_id, policy=await policy())
    facts = await check_in_facts.load_facts(session, event=row, user=person, order=order)
    if facts.attendance is not None:
        earlier = await session.get_one(Order, facts.attendance.order_id)
        return CheckInResult(earlier, facts.registration)
    _require_check_in_open(facts, policy=await policy())
    limits = facts.limits
    if facts.has_ended_check_ins:
        await check_in_closing.close_ended(session, user_id=person.id)
    if facts.has_ended_check_ins or not check_in_facts.is_same(row, facts.event):
        order = _build_order(actor, facts.event, person, order_id=order_id, policy=await policy())
        limits = await vouched_hours.load_limits(session, order)
    member = await _ensure_attendee(session, actor, facts, person)
    await vouched_hours.record_vouched(
        session,
        actor,
        order,
        limits,
        nonprofit=facts.nonprofit,
        user=person,
        pending=facts.event.credit_policy == CreditPolicy.ACTUAL,
        is_agreed=member.named_by is None,
    )
    assert actor.id is not None
    attendance = check_in_facts.to_attendance(row.id, person.id, order_id=order.id, by_id=actor.id)
    await insert_rows(session, [attendance])
    return CheckInResult(order, member)


async def _resolve_person(
    session: AsyncSession, actor: Actor, *, user: Party | None, email: str | None, is_trial: bool
) -> Collective:
    """Return the user to check in; an unknown address becomes an unclaimed user."""
    field = "user" if user else "email"
    if user:
        person = require_collective(user)
    elif is_trial:
        person = await email_addresses.create_stand_in(session, email or "", field=field)
    else:
        person = await email_addresses.find_or_create_user(session, email or "", field=field)
    if person.type != CollectiveType.USER:
        raise Invalid("Only users can attend events.", field=field)
    if user:
        require_open(person, field=field)
    elif person.archived_at is not None:
        raise InvalidState("Nobody can be checked in by this address.", field=field)
    if person.id == actor.id:
        raise SelfApproval("You cannot check yourself in or out. Ask another ADMIN.", field=field)
    return person


def _require_check_in_open(facts: CheckInFacts, *, policy: PlatformPolicy) -> None:
    """Require that check-in is open, and that the event's parent credits hours.

    Raises:
        InvalidState: check-in has not opened or has closed, or the event or its parent credits no hours.
    """
    event, nonprofit = facts.event, facts.nonprofit
    event_capacity.require_active(event, may_be_over=True)
    assert event.starts_at is not None and event.ends_at is not None
    if nonprofit.type != CollectiveType.NONPROFIT:
        raise InvalidState("Only events of nonprofits credit hours.", field=EVENT_FIELD)
    issuers.require_issuer(nonprofit, field=EVENT_FIELD)
    if now() < event.starts_at - timedelta(minutes=policy.check_in_minutes):
        message = f"Check-in opens {policy.check_in_minutes} minutes before the event starts."
        raise InvalidState(message, field=EVENT_FIELD)
    if now() > event.ends_at + MAX_LATENESS:
        message = f"Check people in at most {MAX_LATENESS.days} days after the event."
        raise InvalidState(message, field=EVENT_FIELD)
    if event.credit_policy == CreditPolicy.ACTUAL and event_capacity.is_over(event):
        message = "The event is over. It credits the time from check-in to check-out."
        raise InvalidState(message, field=EVENT_FIELD)


async def _ensure_attendee(
    session: AsyncSession, actor: Actor, facts: CheckInFacts, person: Collective
) -> Member:
    """Return the user's ATTENDEE row, adding it if missing; it ends a WAITING row."""
    event, row = facts.event, facts.registration
    if row is not None and row.role == MemberRole.ATTENDEE:
        if row.named_by is not None:
            row.named_by = NamedBy.REFERENCE  # who lets people in sees who they are
            await session.flush()
        return row
    if event.capacity is not None and facts.attending >= event.capacity:
        raise LimitExceeded("The event is full.", field=EVENT_FIELD)
    if row is not None:
        row.until = max(now(), row.since)
        await session.flush()
    has_agreed = row is not None and row.named_by is None
    member = new_record(
        Member,
        collective_id=event.id,
        member_id=person.id,
        role=MemberRole.ATTENDEE,
        created_by_id=actor.id,
        named_by=None if has_agreed else NamedBy.REFERENCE,
    )
    await insert_rows(session, [member])
    return member


def _build_order(
    actor: Actor, event: Collective, person: Collective, *, order_id: UUID, policy: PlatformPolicy
) -> Order:
    """Build the order that credits a person: from now on with ACTUAL, else for the whole event."""
    assert event.parent_id is not None and event.starts_at is not None and event.ends_at is not None
    starts_at = event.starts_at
    if event.credit_policy == CreditPolicy.ACTUAL:
        starts_at = min(now(), event.ends_at - timedelta(milliseconds=1))
    return vouched_hours.build_vouched(
        actor,
        order_id=order_id,
        nonprofit_id=event.parent_id,
        user=person,
        starts_at=starts_at,
        ends_at=event.ends_at,
        event_id=event.id,
        description=event.name,
        max_duration=event.ends_at - event.starts_at,
        policy=policy,
    )


async def check_out(
    session: AsyncSession, actor: Actor, *, event: CollectiveKey, user: CollectiveKey
) -> Order:
    """Check an attendee out, once, and return the order that credits them.

    A PENDING order is PAID now, for the time since check-in until the event's end at most, or with FULL_EVENT
    for the whole event; it stays PENDING while a second ADMIN is missing. Locks: the event, then crediting's.

    Raises:
        InvalidState: the user has not been checked in.
        SelfApproval: the actor checks themselves out.
    """
    parties = await resolve(session, actor, {"event": event, "user": user}, are_records=True)
    row, person = require_collective(parties["event"]), require_collective(parties["user"])
    event_capacity.require_event(row)
    require(actor, Action.CHECK_OUT, Subject(collective=row))
    field = "user"
    if person.id == actor.id:
        raise SelfApproval("You cannot check yourself in or out. Ask another ADMIN.", field=field)
    row = await event_capacity.lock_event(session, row)
    attendance = await event_capacity.load_attendance(session, row.id, person.id)
    if attendance is None:
        raise InvalidState(f"{person.slug} has not been checked in.", field=field)
    order = await session.get_one(Order, attendance.order_id)
    if attendance.checked_out_at is not None:
        return order
    attendance.checked_out_at = max(now(), attendance.checked_in_at)
    await session.flush()
    if order.status != OrderStatus.PENDING:
        return order
    return await _pay_time_present(session, actor, row, order, until=attendance.checked_out_at)


async def _pay_time_present(
    session: AsyncSession, actor: Actor, event: Collective, order: Order, *, until: datetime
) -> Order:
    """Pay the time that an attendee was present, at most the event's duration; FULL_EVENT pays all of it."""
    assert event.starts_at is not None and event.ends_at is not None and order.starts_at is not None
    until = event.ends_at if event.credit_policy == CreditPolicy.FULL_EVENT else min(until, event.ends_at)
    duration = min(until - order.starts_at, event.ends_at - event.starts_at)
    return await vouched_hours.pay_actual_hours(
        session, actor, order_id=order.id, duration=duration, ends_at=until
    )


async def load_attendances(
    session: AsyncSession, actor: Actor, *, user_ids: Sequence[UUID], event_id: UUID
) -> dict[UUID, Attendance]:
    """Load users' attendances of an event, by user; none unless the actor may see them."""
    result = await session.execute(
        select(Attendance).where(
            col(Attendance.event_id) == event_id,
            col(Attendance.user_id).in_(user_ids),
            visibility.attendance_is_visible(actor),
        )
    )
    return {row.user_id: row for row in result.scalars()}


class _ByArrival(Sort):
    """Attendances by check-in, then by user, because they have no id of their own."""

    def keyset_values(self, row: Attendance) -> tuple[datetime, UUID]:
        """Return the row's sort values."""
        return row.checked_in_at, row.user_id


BY_ARRIVAL = _ByArrival("arrival", col(Attendance.checked_in_at), col(Attendance.user_id), descending=False)


def select_attendances(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Attendance]]:
    """Select the attendances at an event that the actor may see."""
    del where  # has no conditions
    of_event = col(Attendance.event_id) == owner
    return (select(Attendance).where(of_event, visibility.attendance_is_visible(actor)),)


async def list_attendance_pages(
    session: AsyncSession, actor: Actor, *, event_ids: Sequence[UUID], page: PageRequest
) -> dict[UUID, Page[Attendance]]:
    """List a page of attendances for each event, by check-in; one statement.

    A page is empty unless the actor may see the event's attendances.
    """
    event = (
        func.unnest(literal(list(event_ids), ARRAY(Uuid)))
        .table_valued(column("id", Uuid))
        .render_derived(name="event")
    )

    def rows_of(event_id: object) -> Select[Attendance]:
        return select_attendances(actor, owner=event_id)[0]

    inner = pagination.apply_keyset(rows_of(event.c.id), sort=BY_ARRIVAL, page=page).lateral("page")
    row = aliased(Attendance, inner)
    statement = (
        select(row)
        .select_from(event)
        .join(inner, onclause=true())
        .order_by(col(row.checked_in_at), col(row.user_id))
    )
    attendances: dict[UUID, list[Attendance]] = {event_id: [] for event_id in event_ids}
    for attendance in (await session.execute(statement)).scalars():
        attendances[attendance.event_id].append(attendance)
    return {
        event_id: pagination.to_page(rows, partial(rows_of, event_id), sort=BY_ARRIVAL, page=page)
        for event_id, rows in attendances.items()
    }
