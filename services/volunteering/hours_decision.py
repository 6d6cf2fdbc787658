"""The decision on logged hours: from the facts to the order, without a database.

The rules are openCurrents': hours are logged within two weeks and lie within one day of the nonprofit.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from models import Collective, Order, PlatformPolicy
from models.enums import CollectiveType
from services.access.actor import Actor
from services.access.collective_refs import require_open
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid
from services.orders.base import DECISION_DAYS
from services.volunteering.hours import build_order
from services.volunteering.issuers import require_issuer

MAX_AGE = timedelta(days=14)
MIN_DURATION, MAX_DURATION = timedelta(minutes=15), timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class HoursFacts:
    """Who asks whom to approve hours."""

    nonprofit: Collective
    volunteer: Collective | None
    """The person who worked; None if nobody is named or signed in."""
    event: Collective | None
    policy: PlatformPolicy


@dataclass(frozen=True, kw_only=True)
class LoggedHours:
    """Hours as they are logged, unchecked."""

    starts_at: datetime
    ends_at: datetime
    description: str | None


def decide_hours(
    actor: Actor, facts: HoursFacts, hours: LoggedHours, *, order_id: UUID, at: datetime
) -> Order:
    """Decide on hours that are logged at a time: return the order that asks for their approval.

    Raises:
        AccessDenied: the actor may not log hours for the volunteer.
        Invalid: the nonprofit, the volunteer, the event, the times or the description.
        InvalidState: the nonprofit may not issue currents, or the volunteer is archived.
    """
    nonprofit, volunteer, event = facts.nonprofit, facts.volunteer, facts.event
    require(actor, Action.LOG_HOURS, Subject(payer=nonprofit, payee=volunteer))
    assert volunteer is not None
    require_issuer(nonprofit, field="nonprofit")
    if volunteer.type != CollectiveType.USER:
        raise Invalid("Only users can volunteer.", field="volunteer")
    require_open(volunteer, field="volunteer")
    if event is not None and event.parent_id != nonprofit.id:
        raise Invalid("Choose an event of the nonprofit.", field="event")
    _require_loggable_times(hours.starts_at, hours.ends_at, zone=nonprofit.timezone or "UTC", at=at)
    order = build_order(
        actor,
        order_id=order_id,
        nonprofit_id=nonprofit.id,
        user=volunteer,
        starts_at=hours.starts_at,
        ends_at=hours.ends_at,
        event_id=event.id if event else None,
        description=hours.description,
        policy=facts.policy,
    )
    order.expires_at = at + timedelta(days=DECISION_DAYS)
    return order


def _require_loggable_times(starts_at: datetime, ends_at: datetime, *, zone: str, at: datetime) -> None:
    """Require that hours can be logged at a time.

    Raises:
        Invalid: they do not end after they start, lie in the future, began over two weeks ago, are shorter
            than 15 minutes or longer than 24 hours, or span two days in the zone.
    """
    if ends_at <= starts_at:
        raise Invalid("The hours must end after they start.", field="endsAt")
    if ends_at > at:
        raise Invalid("You cannot log hours in the future.", field="endsAt")
    if starts_at < at - MAX_AGE:
        raise Invalid(f"Log hours within {MAX_AGE.days} days.", field="startsAt")
    if ends_at - starts_at < MIN_DURATION:
        raise Invalid("Log at least 15 minutes.", field="endsAt")
    if ends_at - starts_at > MAX_DURATION:
        raise Invalid("Log at most 24 hours.", field="endsAt")
    local = ZoneInfo(zone)
    last = ends_at - timedelta(microseconds=1)  # midnight counts as part of the day that it ends
    if starts_at.astimezone(local).date() != last.astimezone(local).date():
        raise Invalid(f"Log each day separately. Days begin at midnight in {zone}.", field="endsAt")


def choose_coordinator(actor: Actor, facts: HoursFacts, coordinator: Collective) -> UUID | None:
    """Return the id of the coordinator whom an address belongs to, or None for the volunteer's own.

    Raises:
        Invalid: volunteers name themselves.
    """
    assert facts.volunteer is not None
    if coordinator.id != facts.volunteer.id:
        return coordinator.id
    if facts.volunteer.id != actor.id:
        return None  # an error would tell an ADMIN whose address it is
    raise Invalid("Choose a coordinator other than the volunteer.", field="coordinatorEmail")
