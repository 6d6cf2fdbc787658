"""Which hours can be logged, by whom, for whom and of which nonprofit: the decision alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models import PlatformPolicy
from models.enums import CollectiveType, OrderStatus
from services.access.actor import Actor
from services.core.errors import Forbidden, Invalid, InvalidState, Problem, Unauthenticated
from services.volunteering.hours_decision import HoursFacts, LoggedHours, choose_coordinator, decide_hours
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective

HOUR = timedelta(hours=1)
NONPROFIT = collective(1, CollectiveType.NONPROFIT, issuer_approved_at=NOON)
EVENT = collective(2, CollectiveType.EVENT, parent_id=NONPROFIT.id)
ANN, CHRIS, CLUB = collective(3), collective(4), collective(5, CollectiveType.COMMUNITY)
VOLUNTEER, ADMIN = admin_of(user=ANN), admin_of(NONPROFIT, CLUB, user=CHRIS)
FACTS = HoursFacts(nonprofit=NONPROFIT, volunteer=ANN, event=None, policy=PlatformPolicy())
HOURS = LoggedHours(starts_at=NOON - 3 * HOUR, ends_at=NOON - HOUR, description=" Weeding ")


@pytest.mark.parametrize(
    ("actor", "facts"), [(VOLUNTEER, FACTS), (ADMIN, FACTS), (VOLUNTEER, replace(FACTS, event=EVENT))]
)
def test_what_is_asked_for(actor: Actor, facts: HoursFacts) -> None:
    order = decide_hours(actor, facts, HOURS, order_id=ORDER_ID, at=NOON)
    assert (order.id, order.status, order.amount, order.currency) == (
        ORDER_ID,
        OrderStatus.PENDING,
        2_000,
        "CUR",
    )
    assert (order.from_id, order.to_id, order.created_by_id) == (NONPROFIT.id, ANN.id, actor.id)
    assert order.event_id == (facts.event.id if facts.event else None)
    assert (order.description, order.expires_at) == ("Weeding", NOON + timedelta(days=60))


@pytest.mark.parametrize(
    ("actor", "change", "problem", "field"),
    [
        (Actor(), {"volunteer": None}, Unauthenticated, None),
        (admin_of(user=CHRIS), {}, Forbidden, None),
        (replace(VOLUNTEER, scopes=frozenset()), {}, Forbidden, None),
        (VOLUNTEER, {"nonprofit": CLUB}, Invalid, "nonprofit"),
        (VOLUNTEER, {"nonprofit": collective(1, CollectiveType.NONPROFIT)}, InvalidState, "nonprofit"),
        (
            VOLUNTEER,
            {"nonprofit": collective(1, CollectiveType.NONPROFIT, archived_at=NOON)},
            InvalidState,
            "nonprofit",
        ),
        (ADMIN, {"volunteer": CLUB}, Invalid, "volunteer"),
        (ADMIN, {"volunteer": collective(3, archived_at=NOON)}, InvalidState, "volunteer"),
        (
            VOLUNTEER,
            {"event": collective(2, CollectiveType.EVENT, parent_id=CLUB.id)},
            Invalid,
            "event",
        ),
    ],
)
def test_who_is_refused(
    actor: Actor, change: dict[str, Any], problem: type[Problem], field: str | None
) -> None:
    with pytest.raises(problem) as raised:
        decide_hours(actor, replace(FACTS, **change), HOURS, order_id=ORDER_ID, at=NOON)
    assert raised.value.path == (None if field is None else (field,))


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "field"),
    [
        (NOON - HOUR, NOON - HOUR, "endsAt"),
        (NOON - HOUR, NOON + timedelta(seconds=1), "endsAt"),
        (NOON - timedelta(days=14, seconds=1), NOON - timedelta(days=14) + HOUR, "startsAt"),
        (NOON - timedelta(minutes=14, seconds=59), NOON, "endsAt"),
        (NOON - timedelta(days=2), NOON - timedelta(days=1) + HOUR, "endsAt"),
        (NOON - 13 * HOUR, NOON - 11 * HOUR, "endsAt"),
    ],
    ids=["not after", "in the future", "too old", "too short", "too long", "two days"],
)
def test_times_that_are_refused(starts_at: datetime, ends_at: datetime, field: str) -> None:
    hours = replace(HOURS, starts_at=starts_at, ends_at=ends_at)
    with pytest.raises(Invalid) as raised:
        decide_hours(VOLUNTEER, FACTS, hours, order_id=ORDER_ID, at=NOON)
    assert raised.value.path == (field,)


@pytest.mark.parametrize(
    ("starts_at", "ends_at"),
    [
        (NOON - timedelta(minutes=15), NOON),
        (NOON - timedelta(days=14), NOON - timedelta(days=14) + HOUR),
        (NOON - 14 * HOUR, NOON - 12 * HOUR),  # midnight ends a day
    ],
)
def test_times_at_the_bounds(starts_at: datetime, ends_at: datetime) -> None:
    hours = replace(HOURS, starts_at=starts_at, ends_at=ends_at)
    assert decide_hours(VOLUNTEER, FACTS, hours, order_id=ORDER_ID, at=NOON).amount > 0


def test_at_most_24_hours_are_logged_on_a_day_of_25_hours() -> None:
    midnight = datetime(2026, 10, 25, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    nonprofit = collective(1, CollectiveType.NONPROFIT, issuer_approved_at=NOON, timezone="Europe/Berlin")
    facts, at = replace(FACTS, nonprofit=nonprofit), midnight + timedelta(days=2)

    def log(hours: int) -> int:
        logged = replace(HOURS, starts_at=midnight, ends_at=midnight + hours * HOUR)
        return decide_hours(VOLUNTEER, facts, logged, order_id=ORDER_ID, at=at).amount

    assert log(24) == 24_000
    with pytest.raises(Invalid, match="24 hours"):
        log(25)


def test_a_coordinator_is_somebody_else() -> None:
    assert choose_coordinator(VOLUNTEER, FACTS, CHRIS) == CHRIS.id
    assert choose_coordinator(ADMIN, FACTS, ANN) is None  # does not tell whose address it is
    with pytest.raises(Invalid) as raised:
        choose_coordinator(VOLUNTEER, FACTS, ANN)
    assert raised.value.path == ("coordinatorEmail",)
