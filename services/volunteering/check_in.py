"""Check-in at events credits an attendee's hours, once; check-out ends them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, bindparam, column, func, inspect, literal, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Member, Order, now
from models.enums import NamedBy, OrderStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity
from services.core import pagination
from services.core.errors import Invalid, InvalidState, SelfApproval
from services.core.pagination import Page, PageRequest, Sort
from services.database.insert_rows import insert_rows
from services.identity import email_addresses
from services.orders.history import insert_order
from services.round_trips import effects
from services.round_trips.pipelines import compile_statement
from services.volunteering import check_in_closing, check_in_facts, hours, vouched_hours
from services.volunteering.check_in_decision import (
    CheckInFacts,
    CheckInPlan,
    decide_check_in,
    require_attendable,
    require_check_in_open,
    require_may_check_in,
)

_MEMBERS: Any = inspect(Member).local_table
_CHANGE_REGISTRATION = compile_statement(
    update(_MEMBERS)
    .where(_MEMBERS.c.id == bindparam("member_id"))
    .values(until=bindparam("until"), named_by=bindparam("named_by"))
)


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
        Conflict: the user has other hours at that time; also raised by the database if calls race.
    """
    at = now()
    if user is not None and email is None:
        facts = await check_in_facts.load_facts(
            session, actor, event=event, user=user, order_id=order_id, at=at
        )
        require_may_check_in(actor, facts.event)
        require_attendable(actor, facts.person, field="user")
    elif email is not None and user is None:
        facts = await _load_walk_in(
            session, actor, event=event, email=email, order_id=order_id, is_trial=is_trial
        )
    else:
        raise Invalid("Enter either a user or an email address.", field="user")
    if facts.attendance is not None:
        earlier = await session.get_one(Order, facts.attendance.order_id)
        return CheckInResult(earlier, facts.registration)
    require_check_in_open(facts, at=now())
    if facts.has_ended_check_ins:
        await check_in_closing.close_ended(session, user_id=facts.person.id)
        facts = await check_in_facts.load_by_ids(
            session, actor, event_id=facts.event.id, user_id=facts.person.id, order_id=order_id, at=at
        )
    plan = decide_check_in(actor, facts, order_id=order_id, at=now())
    await _write(session, actor, facts, plan)
    return CheckInResult(plan.order, plan.attendee)


async def _load_walk_in(
    session: AsyncSession, actor: Actor, *, event: CollectiveKey, email: str, order_id: UUID, is_trial: bool
) -> CheckInFacts:
    """Load the facts of a person known by address; a new one is created under the event's lock."""
    row = require_collective((await resolve(session, actor, {"event": event}, are_records=True))["event"])
    require_may_check_in(actor, row)
    await event_capacity.lock_event(session, row)
    field = "email"
    if is_trial:
        person = await email_addresses.create_stand_in(session, email, field=field)
    else:
        person = await email_addresses.find_or_create_user(session, email, field=field)
    require_attendable(actor, person, field=field)
    return await check_in_facts.load_by_ids(
        session, actor, event_id=row.id, user_id=person.id, order_id=order_id, at=now()
    )


async def _write(session: AsyncSession, actor: Actor, facts: CheckInFacts, plan: CheckInPlan) -> None:
    """Write a check-in, and issue its currents if it is paid at once."""
    order, changed = plan.order, plan.changed_registration
    if changed is not None:
        values = {"member_id": changed.id, "until": changed.until, "named_by": changed.named_by}
        await effects.write(session, _CHANGE_REGISTRATION, values)
    if plan.is_new_attendee:
        await insert_rows(session, [plan.attendee])
    await insert_order(session, order, plan.steps)
    if order.status == OrderStatus.PAID:
        await hours.issue_currents(session, actor, order)
        await hours.add_volunteer(
            session,
            order,
            nonprofit=facts.nonprofit,
            user=facts.person,
            named_by=None if plan.attendee.named_by is None else NamedBy.REFERENCE,
        )
    await insert_rows(session, [plan.attendance])


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
    return await vouched_hours.pay_actual_hours(
        session, actor, order=order, event=row, left_at=attendance.checked_out_at
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
