"""The decision on a check-in: from the facts to what is written, without a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from models import Attendance, Collective, Member, Order, OrderAction, PlatformPolicy
from models.enums import CollectiveType, CreditPolicy, MemberRole, NamedBy, OrderStatus
from services.access.actor import Actor
from services.access.collective_refs import require_open
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity
from services.collectives.event_capacity import EVENT_FIELD
from services.core.errors import Conflict, Invalid, InvalidState, LimitExceeded, SelfApproval
from services.orders.history import creation_step
from services.orders.transitions import require_status
from services.round_trips.records import new_record, read_values
from services.volunteering import hours, issuers

MAX_LATENESS = timedelta(days=14)
SHORTEST = timedelta(milliseconds=1)
"""The least time that an order of hours takes."""


@dataclass(frozen=True, kw_only=True)
class CheckInFacts:
    """An event, somebody who is to be checked in there, and what is known of both."""

    event: Collective
    nonprofit: Collective
    """The event's parent, of whatever type."""
    person: Collective
    policy: PlatformPolicy
    attendance: Attendance | None
    registration: Member | None
    """The person's open ATTENDEE or WAITING row."""
    attending: int
    """The number of attendees, counted only where the event has a capacity."""
    has_ended_check_ins: bool
    """True if the person was not checked out of an event that has ended."""
    starts_at: datetime
    """When the credited hours begin: now with ACTUAL, but before the event's end, and else with the event."""
    overlaps: bool
    """True if the person has other hours at that time."""
    single_limit: int | None
    """The largest amount that one person may approve; None for no limit. Units: minor, of CUR."""


@dataclass(frozen=True, kw_only=True)
class CheckInPlan:
    """What a check-in writes."""

    order: Order
    steps: Sequence[OrderAction]
    attendance: Attendance
    attendee: Member
    """The ATTENDEE row, as it is afterwards."""
    is_new_attendee: bool
    changed_registration: Member | None
    """The earlier registration, if it changes: one that waited ends, and whoever checks people in sees who
    they are."""


def require_may_check_in(actor: Actor, event: Collective) -> None:
    """Require an event, and that the actor may check people in there.

    Raises:
        Invalid: it is another type of collective.
        AccessDenied: the actor is no ADMIN of the event or of its parent.
    """
    event_capacity.require_event(event)
    require(actor, Action.CHECK_IN, Subject(collective=event))


def require_attendable(actor: Actor, person: Collective, *, field: str) -> None:
    """Require an active user other than the actor; `field` names the input that refers to the person.

    Raises:
        Invalid: it is no user.
        InvalidState: the user is archived.
        SelfApproval: the actor checks themselves in.
    """
    if person.type != CollectiveType.USER:
        raise Invalid("Only users can attend events.", field=field)
    if field == "user":
        require_open(person, field=field)
    elif person.archived_at is not None:  # an address does not tell whose it is
        raise InvalidState("Nobody can be checked in by this address.", field=field)
    if person.id == actor.id:
        raise SelfApproval("You cannot check yourself in or out. Ask another ADMIN.", field=field)


def require_check_in_open(facts: CheckInFacts, *, at: datetime) -> None:
    """Require that check-in is open at a time, and that the event's parent credits hours.

    Raises:
        InvalidState: check-in has not opened or has closed, or the event or its parent credits no hours.
    """
    event, nonprofit, opens_minutes_before = facts.event, facts.nonprofit, facts.policy.check_in_minutes
    event_capacity.require_active(event, may_be_over=True)
    assert event.starts_at is not None and event.ends_at is not None
    if nonprofit.type != CollectiveType.NONPROFIT:
        raise InvalidState("Only events of nonprofits credit hours.", field=EVENT_FIELD)
    issuers.require_issuer(nonprofit, field=EVENT_FIELD)
    if at < event.starts_at - timedelta(minutes=opens_minutes_before):
        message = f"Check-in opens {opens_minutes_before} minutes before the event starts."
        raise InvalidState(message, field=EVENT_FIELD)
    if at > event.ends_at + MAX_LATENESS:
        message = f"Check people in at most {MAX_LATENESS.days} days after the event."
        raise InvalidState(message, field=EVENT_FIELD)
    if event.credit_policy == CreditPolicy.ACTUAL and event_capacity.is_over(event, at=at):
        message = "The event is over. It credits the time from check-in to check-out."
        raise InvalidState(message, field=EVENT_FIELD)


def decide_check_in(actor: Actor, facts: CheckInFacts, *, order_id: UUID, at: datetime) -> CheckInPlan:
    """Decide on the check-in of somebody who was not checked in yet, while check-in is open.

    The order is PAID at once for the whole event, or PENDING with ACTUAL, or where one person may not approve
    it alone.

    Raises:
        LimitExceeded: the event is full.
        Conflict: the user has other hours at that time.
    """
    registration = facts.registration
    is_attendee = registration is not None and registration.role == MemberRole.ATTENDEE
    capacity = facts.event.capacity
    if not is_attendee and capacity is not None and facts.attending >= capacity:
        raise LimitExceeded("The event is full.", field=EVENT_FIELD)
    if facts.overlaps:
        raise Conflict("The user already has hours at that time.", field="user")
    order = _build_order(actor, facts, order_id=order_id)
    steps: list[OrderAction] = [creation_step(order)]
    is_above_limit = facts.single_limit is not None and order.amount > facts.single_limit
    if facts.event.credit_policy != CreditPolicy.ACTUAL and not is_above_limit:
        order.status, order.approved_amount = OrderStatus.PAID, order.amount
        steps += hours.approval_steps(actor, order, reason=None)
    changed = _change_registration(registration, at=at)
    attendee = (changed or registration) if is_attendee else _new_attendee(actor, facts)
    assert actor.id is not None and attendee is not None
    return CheckInPlan(
        order=order,
        steps=steps,
        attendance=new_record(
            Attendance,
            event_id=facts.event.id,
            user_id=facts.person.id,
            order_id=order_id,
            checked_in_by_id=actor.id,
            checked_in_at=at,
        ),
        attendee=attendee,
        is_new_attendee=not is_attendee,
        changed_registration=changed,
    )


@dataclass(frozen=True, kw_only=True)
class Presence:
    """What an attendee's hours become once it is known how long they stayed."""

    amount_minor: int
    """At least one minor unit of CUR, and at most what the order's policy credits for an event."""
    ends_at: datetime
    """When the order ends from now on, but no later than recorded."""


def decide_presence(
    event: Collective, order: Order, policy: PlatformPolicy, *, left_at: datetime
) -> Presence:
    """Decide what an attendee is credited who left at a time: at most the event's duration.

    FULL_EVENT credits all of it, whenever somebody leaves.

    Raises:
        InvalidState: the order is no longer pending.
    """
    require_status(order, OrderStatus.PENDING)
    assert event.starts_at is not None and event.ends_at is not None
    assert order.starts_at is not None and order.ends_at is not None
    is_whole = event.credit_policy == CreditPolicy.FULL_EVENT
    until = event.ends_at if is_whole else min(left_at, event.ends_at)
    duration = max(min(until - order.starts_at, event.ends_at - event.starts_at), timedelta())
    return Presence(
        amount_minor=max(1, min(hours.to_currents_minor(duration), policy.max_event_hours_minor)),
        ends_at=min(order.ends_at, max(until, order.starts_at + SHORTEST)),
    )


def _build_order(actor: Actor, facts: CheckInFacts, *, order_id: UUID) -> Order:
    """Build the order that credits a person: at most the event's time and the policy's maximum."""
    event = facts.event
    assert event.parent_id is not None and event.starts_at is not None and event.ends_at is not None
    order = hours.build_order(
        actor,
        order_id=order_id,
        nonprofit_id=event.parent_id,
        user=facts.person,
        starts_at=facts.starts_at,
        ends_at=event.ends_at,
        event_id=event.id,
        description=event.name,
        policy=facts.policy,
    )
    event_minor = hours.to_currents_minor(event.ends_at - event.starts_at)
    order.amount = max(1, min(order.amount, event_minor, facts.policy.max_event_hours_minor))
    return order


def _change_registration(row: Member | None, *, at: datetime) -> Member | None:
    """Return the earlier registration as it changes, or None if it stays."""
    if row is None or (row.role == MemberRole.ATTENDEE and row.named_by is None):
        return None
    if row.role == MemberRole.ATTENDEE:
        return new_record(Member, **{**read_values(row), "named_by": NamedBy.REFERENCE})
    return new_record(Member, **{**read_values(row), "until": max(at, row.since)})


def _new_attendee(actor: Actor, facts: CheckInFacts) -> Member:
    has_agreed = facts.registration is not None and facts.registration.named_by is None
    return new_record(
        Member,
        collective_id=facts.event.id,
        member_id=facts.person.id,
        role=MemberRole.ATTENDEE,
        created_by_id=actor.id,
        named_by=None if has_agreed else NamedBy.REFERENCE,
    )
