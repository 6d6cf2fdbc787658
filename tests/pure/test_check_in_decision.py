"""Who is checked in, what that credits, and every refusal: the decision alone."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models import Collective, Member, Order, PlatformPolicy
from models.enums import CollectiveType, CreditPolicy, MemberRole, NamedBy, OrderStatus, OrderType
from services.access.actor import Actor
from services.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    InvalidState,
    LimitExceeded,
    Problem,
    SelfApproval,
    Unauthenticated,
)
from services.volunteering.check_in_decision import (
    SHORTEST,
    CheckInFacts,
    decide_check_in,
    decide_presence,
    require_attendable,
    require_check_in_open,
    require_may_check_in,
)
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective, order

HOUR = timedelta(hours=1)

NONPROFIT = collective(1, CollectiveType.NONPROFIT, issuer_approved_at=NOON)
EVENT_COLUMNS: dict[str, Any] = {
    "parent_id": NONPROFIT.id,
    "starts_at": NOON,
    "ends_at": NOON + 2 * HOUR,
    "credit_policy": CreditPolicy.FULL_EVENT,
}
EVENT = collective(2, CollectiveType.EVENT, **EVENT_COLUMNS)
ACTUAL = collective(2, CollectiveType.EVENT, **EVENT_COLUMNS | {"credit_policy": CreditPolicy.ACTUAL})
ANN, CHRIS = collective(3, CollectiveType.USER), collective(4, CollectiveType.USER)
ADMIN = admin_of(NONPROFIT, user=CHRIS)
POLICY = PlatformPolicy(check_in_minutes=60, max_event_hours_minor=72_000)
FACTS = CheckInFacts(
    event=EVENT,
    nonprofit=NONPROFIT,
    person=ANN,
    policy=POLICY,
    attendance=None,
    registration=None,
    attending=0,
    has_ended_check_ins=False,
    starts_at=NOON,
    overlaps=False,
    single_limit=None,
)


def event_with(**columns: Any) -> Collective:
    return collective(2, CollectiveType.EVENT, **EVENT_COLUMNS | columns)


def registration(role: MemberRole, named_by: NamedBy | None = None) -> Member:
    return Member(
        id=UUID(int=9), collective_id=EVENT.id, member_id=ANN.id, role=role, named_by=named_by, since=NOON
    )


@pytest.mark.parametrize(
    ("actor", "event", "problem"),
    [
        (ADMIN, EVENT, None),
        (replace(ADMIN, roles={EVENT.id: frozenset({MemberRole.ADMIN})}), EVENT, None),
        (replace(ADMIN, roles={NONPROFIT.id: frozenset({MemberRole.MEMBER})}), EVENT, Forbidden),
        (replace(ADMIN, scopes=frozenset()), EVENT, Forbidden),
        (Actor(), EVENT, Unauthenticated),
        (ADMIN, NONPROFIT, Invalid),
    ],
)
def test_who_may_check_people_in(actor: Actor, event: Collective, problem: type[Problem] | None) -> None:
    if problem is None:
        require_may_check_in(actor, event)
        return
    with pytest.raises(problem):
        require_may_check_in(actor, event)


@pytest.mark.parametrize("field", ["user", "email"])
@pytest.mark.parametrize(
    ("person", "problem"),
    [
        (ANN, None),
        (NONPROFIT, Invalid),
        (collective(3, CollectiveType.USER, archived_at=NOON), InvalidState),
        (CHRIS, SelfApproval),
    ],
)
def test_who_is_checked_in(person: Collective, problem: type[Problem] | None, field: str) -> None:
    if problem is None:
        require_attendable(ADMIN, person, field=field)
        return
    with pytest.raises(problem) as raised:
        require_attendable(ADMIN, person, field=field)
    assert raised.value.path == (field,)
    assert field == "user" or person.slug not in raised.value.message


@pytest.mark.parametrize(
    ("facts", "at"),
    [
        (replace(FACTS, event=event_with(archived_at=NOON)), NOON),
        (replace(FACTS, event=event_with(cancelled_at=NOON)), NOON),
        (replace(FACTS, nonprofit=collective(1, CollectiveType.BUSINESS)), NOON),
        (replace(FACTS, nonprofit=collective(1, CollectiveType.NONPROFIT)), NOON),
        (FACTS, NOON - HOUR - timedelta(seconds=1)),
        (FACTS, NOON + 2 * HOUR + timedelta(days=14, seconds=1)),
        (replace(FACTS, event=ACTUAL), NOON + 2 * HOUR),
    ],
    ids=["archived", "cancelled", "no nonprofit", "no issuer", "early", "late", "over"],
)
def test_when_check_in_is_closed(facts: CheckInFacts, at: datetime) -> None:
    with pytest.raises(InvalidState) as raised:
        require_check_in_open(facts, at=at)
    assert raised.value.path == ("event",)


@pytest.mark.parametrize("at", [NOON - HOUR, NOON, NOON + 2 * HOUR + timedelta(days=14)])
def test_when_check_in_is_open(at: datetime) -> None:
    require_check_in_open(FACTS, at=at)


@pytest.mark.parametrize(
    ("facts", "status", "amount_minor", "steps"),
    [
        (FACTS, OrderStatus.PAID, 2_000, 3),
        (replace(FACTS, single_limit=2_000), OrderStatus.PAID, 2_000, 3),
        (replace(FACTS, single_limit=1_999), OrderStatus.PENDING, 2_000, 1),
        (replace(FACTS, event=ACTUAL, starts_at=NOON + HOUR), OrderStatus.PENDING, 1_000, 1),
        (replace(FACTS, event=ACTUAL, starts_at=NOON - HOUR), OrderStatus.PENDING, 2_000, 1),
        (replace(FACTS, event=ACTUAL, starts_at=NOON + 2 * HOUR), OrderStatus.PENDING, 1, 1),
        (
            replace(FACTS, policy=PlatformPolicy(max_event_hours_minor=500)),
            OrderStatus.PAID,
            500,
            3,
        ),
    ],
)
def test_what_a_check_in_credits(
    facts: CheckInFacts, status: OrderStatus, amount_minor: int, steps: int
) -> None:
    plan = decide_check_in(ADMIN, facts, order_id=ORDER_ID, at=NOON)
    credit = plan.order
    assert (credit.id, credit.status, credit.amount, len(plan.steps)) == (
        ORDER_ID,
        status,
        amount_minor,
        steps,
    )
    assert credit.approved_amount == (amount_minor if status == OrderStatus.PAID else None)
    assert (credit.from_id, credit.to_id, credit.event_id) == (NONPROFIT.id, ANN.id, EVENT.id)
    assert (credit.starts_at, credit.ends_at) == (facts.starts_at, facts.event.ends_at)
    assert (plan.attendance.order_id, plan.attendance.checked_in_by_id) == (ORDER_ID, CHRIS.id)


@pytest.mark.parametrize(
    ("row", "is_new", "named_by"),
    [
        (None, True, NamedBy.REFERENCE),
        (registration(MemberRole.ATTENDEE), False, None),
        (registration(MemberRole.ATTENDEE, NamedBy.ADDRESS), False, NamedBy.REFERENCE),
        (registration(MemberRole.WAITING), True, None),
        (registration(MemberRole.WAITING, NamedBy.ADDRESS), True, NamedBy.REFERENCE),
    ],
)
def test_what_becomes_of_a_registration(row: Member | None, is_new: bool, named_by: NamedBy | None) -> None:
    plan = decide_check_in(ADMIN, replace(FACTS, registration=row), order_id=ORDER_ID, at=NOON + HOUR)
    attendee, changed = plan.attendee, plan.changed_registration
    assert (plan.is_new_attendee, attendee.role, attendee.named_by) == (is_new, MemberRole.ATTENDEE, named_by)
    assert attendee.until is None
    is_changed = row is not None and (is_new or row.named_by is not None)
    assert (changed is not None) == is_changed
    if changed is not None and is_new:
        assert (changed.id, changed.until) == (UUID(int=9), NOON + HOUR)


@pytest.mark.parametrize(
    ("facts", "problem", "field"),
    [
        (replace(FACTS, event=event_with(capacity=5), attending=5), LimitExceeded, "event"),
        (
            replace(
                FACTS,
                event=event_with(capacity=5),
                attending=5,
                registration=registration(MemberRole.WAITING),
            ),
            LimitExceeded,
            "event",
        ),
        (replace(FACTS, overlaps=True), Conflict, "user"),
    ],
    ids=["full", "full for those who wait", "other hours"],
)
def test_what_is_refused(facts: CheckInFacts, problem: type[Problem], field: str) -> None:
    with pytest.raises(problem) as raised:
        decide_check_in(ADMIN, facts, order_id=ORDER_ID, at=NOON)
    assert raised.value.path == (field,)


def test_a_full_event_has_a_place_for_its_attendees() -> None:
    facts = replace(
        FACTS, event=event_with(capacity=5), attending=5, registration=registration(MemberRole.ATTENDEE)
    )
    assert not decide_check_in(ADMIN, facts, order_id=ORDER_ID, at=NOON).is_new_attendee


def hours_of(event: Collective, starts_at: datetime) -> Order:
    return order(OrderType.HOURS, currency="CUR", starts_at=starts_at, ends_at=event.ends_at)


@pytest.mark.parametrize(
    ("event", "starts_at", "left_at", "amount_minor", "ends_at"),
    [
        (ACTUAL, NOON, NOON + HOUR, 1_000, NOON + HOUR),
        (ACTUAL, NOON, NOON + 3 * HOUR, 2_000, NOON + 2 * HOUR),
        (ACTUAL, NOON - HOUR, NOON + 2 * HOUR, 2_000, NOON + 2 * HOUR),
        (ACTUAL, NOON + HOUR, NOON + HOUR, 1, NOON + HOUR + SHORTEST),
        (ACTUAL, NOON + HOUR, NOON, 1, NOON + HOUR + SHORTEST),
        (EVENT, NOON, NOON + HOUR, 2_000, NOON + 2 * HOUR),
    ],
    ids=["some", "longer", "early bird", "no time", "clock", "whole event"],
)
def test_what_an_attendee_is_credited_who_leaves(
    event: Collective, starts_at: datetime, left_at: datetime, amount_minor: int, ends_at: datetime
) -> None:
    presence = decide_presence(event, hours_of(event, starts_at), POLICY, left_at=left_at)
    assert (presence.amount_minor, presence.ends_at) == (amount_minor, ends_at)


def test_a_credit_for_presence_is_bounded_and_given_once() -> None:
    little = PlatformPolicy(max_event_hours_minor=500)
    assert decide_presence(ACTUAL, hours_of(ACTUAL, NOON), little, left_at=NOON + HOUR).amount_minor == 500
    paid = order(OrderType.HOURS, OrderStatus.PAID, starts_at=NOON, ends_at=ACTUAL.ends_at)
    with pytest.raises(InvalidState):
        decide_presence(ACTUAL, paid, POLICY, left_at=NOON + HOUR)
