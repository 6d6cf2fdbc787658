"""What a check-in decides by, read under the event's lock in the round trip of the lock itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    DateTime,
    Select,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    exists,
    func,
    inspect,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Collective, Member, Order, PlatformPolicy, SlugRedirect
from models.enums import CollectiveType, CreditPolicy, MemberRole, OrderStatus, OrderType
from services.access import viewer_terms, visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, ref_key, require_collective, resolve
from services.collectives import platform_policy
from services.collectives.event_capacity import REGISTRATION_ROLES
from services.ledger.transaction_amounts import CURRENTS
from services.round_trips import effects
from services.round_trips.pipelines import Call, Statement, compile_statement
from services.round_trips.records import column_names, split_records
from services.volunteering.check_in_decision import SHORTEST, CheckInFacts, require_may_check_in

_TABLES = (Collective, Collective, Collective, PlatformPolicy, Attendance, Member)
# Built once at import: creating an alias copies every column, which cost more than the query.
_EVENT, _PERSON = aliased(Collective, name="event"), aliased(Collective, name="person")
_NONPROFIT, _OTHER_EVENT = aliased(Collective, name="nonprofit"), aliased(Collective, name="other_event")
_ATTENDEE, _OTHER_ATTENDANCE = aliased(Member, name="attendee"), aliased(Attendance, name="other_attendance")
_SOUGHT = aliased(Collective, name="sought")
_AT = bindparam("at", type_=DateTime(timezone=True))
_Key = UUID | str
"""The id of a collective, or its slug."""


def _find(name: str) -> Any:
    """Build the id of the collective of a key, whose parameters are named after it."""
    row_id, slug = bindparam(f"{name}_id", type_=Uuid), bindparam(f"{name}_slug", type_=Text)
    return func.coalesce(
        row_id,
        select(col(_SOUGHT.id)).where(col(_SOUGHT.slug) == slug).scalar_subquery(),
        select(col(SlugRedirect.collective_id)).where(col(SlugRedirect.slug) == slug).scalar_subquery(),
    )


_IS_OWN = any_(bindparam("admin_ids", type_=ARRAY(Uuid)))
_LOCK = compile_statement(
    select(col(Collective.id))
    .where(
        col(Collective.id) == _find("event"),
        col(Collective.type) == CollectiveType.EVENT,
        or_(col(Collective.id) == _IS_OWN, col(Collective.parent_id) == _IS_OWN),
    )
    .with_for_update(key_share=True)
)
"""Locks an event of the actor's own: nobody else makes its ADMINs wait."""
_STATEMENTS: dict[str, Statement] = {}


async def load_facts(
    session: AsyncSession,
    actor: Actor,
    *,
    event: CollectiveKey,
    user: CollectiveKey,
    order_id: UUID,
    at: datetime,
) -> CheckInFacts:
    """Lock an event, and load what the check-in of a user, credited by a new order, is decided by.

    Locks: the event.

    Raises:
        Invalid, NotFound: as `resolve`, or it is no event.
        AccessDenied: the actor may not check people in there.
    """
    keys = ref_key("event", event), ref_key("user", user)
    facts = await _try_load(session, actor, *keys, order_id=order_id, at=at)
    if facts is not None:
        return facts
    parties = await resolve(session, actor, {"event": event, "user": user}, are_records=True)
    row, person = require_collective(parties["event"]), require_collective(parties["user"])
    require_may_check_in(actor, row)
    # A slug led elsewhere between the two statements: ids do not.
    return await load_by_ids(session, actor, event_id=row.id, user_id=person.id, order_id=order_id, at=at)


async def load_by_ids(
    session: AsyncSession, actor: Actor, *, event_id: UUID, user_id: UUID, order_id: UUID, at: datetime
) -> CheckInFacts:
    """Load facts as `load_facts` does, of an event of the actor's own and of a user."""
    facts = await _try_load(session, actor, event_id, user_id, order_id=order_id, at=at)
    assert facts is not None
    return facts


async def _try_load(
    session: AsyncSession, actor: Actor, event: _Key, user: _Key, *, order_id: UUID, at: datetime
) -> CheckInFacts | None:
    """Load the facts in one round trip; None if the event was not locked, or one of the two not found."""
    statement = _select_statement(actor)
    values: dict[str, Any] = {
        name: viewer_terms.viewer_parameter(name, actor)
        for name in statement.names
        if name.startswith(viewer_terms.VIEWER_PREFIX)
    }
    values |= {"order_id": order_id, "at": at, "admin_ids": actor.collective_ids_with_role(MemberRole.ADMIN)}
    for name, key in (("event", event), ("user", user)):
        values[f"{name}_id"] = key if isinstance(key, UUID) else None
        values[f"{name}_slug"] = key if isinstance(key, str) else None
    # Not one statement: what it reads beside the row that it locks would be older than the lock.
    locked, rows = await effects.fetch(session, Call(_LOCK, values), Call(statement, values))
    facts = _to_facts(rows[0]) if rows else None
    return facts if facts is not None and locked and locked[0][0] == facts.event.id else None


def _to_facts(row: Sequence[Any]) -> CheckInFacts:
    event, person, nonprofit, policy, attendance, registration, *others = split_records(_TABLES, row)
    attending, has_ended_check_ins, starts_at, overlaps, single_limit = others
    return CheckInFacts(
        event=event,
        nonprofit=nonprofit,
        person=person,
        policy=policy,
        attendance=attendance,
        registration=registration,
        attending=attending,
        has_ended_check_ins=has_ended_check_ins,
        starts_at=starts_at,
        overlaps=overlaps,
        single_limit=single_limit,
    )


def _select_statement(actor: Actor) -> Statement:
    """Return the statement for actors of one kind, which differ in its parameters only."""
    if actor.kind not in _STATEMENTS:
        _STATEMENTS[actor.kind] = compile_statement(_select_facts(actor))
    return _STATEMENTS[actor.kind]


def _select_facts(actor: Actor) -> Select[Any]:
    """Select the facts of an event and a user, if the actor may see both."""
    policy = platform_policy.select_valid(_AT).lateral("policy")
    starts_at = _select_start()
    sides = (_EVENT, _PERSON, _NONPROFIT)
    return (
        select(
            *(getattr(side, name) for side in sides for name in column_names(Collective)),
            *policy.c,
            *inspect(Attendance).local_table.c,
            *inspect(Member).local_table.c,
            _count_attendees(),
            _has_ended_check_ins(),
            starts_at.c.starts_at,
            _has_other_hours(starts_at.c.starts_at),
            func.single_approval_limit(_new_order(starts_at.c.starts_at)),
        )
        .select_from(_EVENT)
        .join(_PERSON, col(_PERSON.id) == _find("user"))
        .join(_NONPROFIT, col(_NONPROFIT.id) == col(_EVENT.parent_id))
        .join(policy, true())
        .join(starts_at, true())
        .outerjoin(
            Attendance,
            (col(Attendance.event_id) == _EVENT.id) & (col(Attendance.user_id) == _PERSON.id),
        )
        .outerjoin(
            Member,
            (col(Member.collective_id) == _EVENT.id)
            & (col(Member.member_id) == _PERSON.id)
            & col(Member.role).in_(REGISTRATION_ROLES)
            & col(Member.until).is_(None),
        )
        .where(
            col(_EVENT.id) == _find("event"),
            visibility.collective_is_visible(actor, _EVENT),
            visibility.collective_is_visible(actor, _PERSON),
        )
    )


def _select_start() -> Any:
    """Select when the credited hours begin; see `CheckInFacts.starts_at`."""
    start = case(
        (
            col(_EVENT.credit_policy) == CreditPolicy.ACTUAL,
            func.least(_AT, col(_EVENT.ends_at) - SHORTEST),
        ),
        else_=col(_EVENT.starts_at),
    )
    return select(start.label("starts_at")).correlate(_EVENT).lateral("credited")


def _count_attendees() -> Any:
    return (
        select(func.count())
        .where(
            col(_EVENT.capacity).is_not(None),
            col(_ATTENDEE.collective_id) == _EVENT.id,
            col(_ATTENDEE.role) == MemberRole.ATTENDEE,
            col(_ATTENDEE.until).is_(None),
        )
        .correlate(_EVENT)
        .scalar_subquery()
    )


def _has_ended_check_ins() -> Any:
    return (
        exists()
        .where(
            *_are_hours_of_person(),
            col(Order.status) == OrderStatus.PENDING,
            col(_OTHER_ATTENDANCE.order_id) == col(Order.id),
            col(_OTHER_ATTENDANCE.checked_out_at).is_(None),
            col(_OTHER_ATTENDANCE.event_id) == _OTHER_EVENT.id,
            col(_OTHER_EVENT.ends_at) <= _AT,
        )
        .correlate(_PERSON)
    )


def _has_other_hours(starts_at: Any) -> Any:
    return (
        exists()
        .where(
            *_are_hours_of_person(),
            func.tstzrange(Order.starts_at, Order.ends_at).op("&&")(
                func.tstzrange(starts_at, _EVENT.ends_at)
            ),
        )
        .correlate_except(Order)
    )


def _are_hours_of_person() -> tuple[Any, ...]:
    """Build the conditions of the person's hours as their exclusion constraint has them, to use its index."""
    order, person = (func.uuid_span(row_id, row_id, "[]") for row_id in (Order.to_id, _PERSON.id))
    return (
        col(Order.to_id) == _PERSON.id,
        order.op("&&")(person),
        col(Order.type) == OrderType.HOURS,
        col(Order.status).in_([OrderStatus.PENDING, OrderStatus.APPROVED, OrderStatus.PAID]),
    )


def _new_order(starts_at: Any) -> Any:
    """Build the order that a check-in creates, as far as the limit of one person's approval depends on it."""
    columns = {
        "id": bindparam("order_id", type_=Uuid),
        "type": OrderType.HOURS.value,
        "from_id": col(_EVENT.parent_id),
        "to_id": col(_PERSON.id),
        "currency": CURRENTS,
        "starts_at": starts_at,
    }
    pairs = [part for pair in columns.items() for part in pair]
    return func.jsonb_populate_record(literal_column('NULL::"order"'), func.jsonb_build_object(*pairs))
