"""Hour requests: volunteers log hours and ask a nonprofit to approve them.

The rules are openCurrents': hours are logged within two weeks and lie within one day of the nonprofit.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order, now
from models.enums import CollectiveType
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import platform_policy
from services.core.errors import Invalid
from services.identity import authentication, email_addresses
from services.messaging import outbox
from services.orders.base import DECISION_DAYS
from services.orders.history import creation_step, insert_order
from services.volunteering.hours import build_order, mail_payload
from services.volunteering.issuers import require_issuer

MAX_AGE = timedelta(days=14)
MIN_DURATION, MAX_DURATION = timedelta(minutes=15), timedelta(hours=24)


@dataclass(frozen=True)
class _HourRequest:
    """The parties of a request, resolved and validated."""

    nonprofit: Collective
    volunteer: Collective
    event: Collective | None


async def log_hours(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    nonprofit: CollectiveKey,
    starts_at: datetime,
    ends_at: datetime,
    description: str | None = None,
    event: CollectiveKey | None = None,
    coordinator_email: str | None = None,
    volunteer: CollectiveKey | None = None,
    is_trial: bool = False,
) -> Order:
    """Log hours and ask a nonprofit to approve them; a named coordinator is asked first.

    A dry run (`is_trial`) takes the coordinator's address for unknown: it must not tell whose it is.

    Raises:
        Invalid: the times, the event or the coordinator.
        InvalidState: the nonprofit may not issue currents.
        Conflict: raised by the database if the hours overlap others of the volunteer.
    """
    policy = await platform_policy.read_policy_ahead(session)
    request = await _resolve_request(session, actor, nonprofit=nonprofit, volunteer=volunteer, event=event)
    require_loggable_times(starts_at, ends_at, zone=request.nonprofit.timezone or "UTC")
    coordinator_id = await _find_or_create_coordinator(
        session, actor, request, coordinator_email, is_trial=is_trial
    )
    order = build_order(
        actor,
        order_id=order_id,
        nonprofit_id=request.nonprofit.id,
        user=request.volunteer,
        starts_at=starts_at,
        ends_at=ends_at,
        event_id=request.event.id if request.event else None,
        description=description,
        policy=await policy(),
    )
    order.addressed_to_id = coordinator_id
    order.expires_at = now() + timedelta(days=DECISION_DAYS)
    await insert_order(session, order, [creation_step(order)])
    await _notify_approvers(session, actor, order, request)
    return order


async def _resolve_request(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: CollectiveKey,
    volunteer: CollectiveKey | None,
    event: CollectiveKey | None,
) -> _HourRequest:
    refs = {"nonprofit": nonprofit, "volunteer": volunteer, "event": event}
    given = {name: ref for name, ref in refs.items() if ref is not None}
    parties = await resolve(session, actor, given, are_records=True)
    issuer = require_collective(parties["nonprofit"])
    person = require_collective(parties["volunteer"]) if volunteer else actor.user
    require(actor, Action.LOG_HOURS, Subject(payer=issuer, payee=person))
    assert person is not None
    require_issuer(issuer, field="nonprofit")
    if person.type != CollectiveType.USER:
        raise Invalid("Only users can volunteer.", field="volunteer")
    require_open(person, field="volunteer")
    occasion = require_collective(parties["event"]) if event else None
    if occasion is not None and occasion.parent_id != issuer.id:
        raise Invalid("Choose an event of the nonprofit.", field="event")
    return _HourRequest(issuer, person, occasion)


def require_loggable_times(starts_at: datetime, ends_at: datetime, *, zone: str) -> None:
    """Require that hours can be logged.

    Raises:
        Invalid: they do not end after they start, lie in the future, began over two weeks ago, are shorter
            than 15 minutes or longer than 24 hours, or span two days in the zone.
    """
    current_time = now()
    if ends_at <= starts_at:
        raise Invalid("The hours must end after they start.", field="endsAt")
    if ends_at > current_time:
        raise Invalid("You cannot log hours in the future.", field="endsAt")
    if starts_at < current_time - MAX_AGE:
        raise Invalid(f"Log hours within {MAX_AGE.days} days.", field="startsAt")
    if ends_at - starts_at < MIN_DURATION:
        raise Invalid("Log at least 15 minutes.", field="endsAt")
    if ends_at - starts_at > MAX_DURATION:
        raise Invalid("Log at most 24 hours.", field="endsAt")
    local = ZoneInfo(zone)
    last = ends_at - timedelta(microseconds=1)  # midnight counts as part of the day that it ends
    if starts_at.astimezone(local).date() != last.astimezone(local).date():
        raise Invalid(f"Log each day separately. Days begin at midnight in {zone}.", field="endsAt")


async def _find_or_create_coordinator(
    session: AsyncSession, actor: Actor, request: _HourRequest, email: str | None, *, is_trial: bool
) -> UUID | None:
    """Return the id of the coordinator, if any; an unknown address becomes an unclaimed user."""
    if email is None:
        return None
    field = "coordinatorEmail"
    address = email_addresses.require_email(email, field=field)
    if is_trial:
        return (await email_addresses.create_stand_in(session, address, field=field)).id
    coordinator = await email_addresses.find_user(session, address)
    if coordinator is None:
        coordinator, _ = await authentication.create_user(session, email=address, name="Invited coordinator")
    if coordinator.id != request.volunteer.id:
        return coordinator.id
    if request.volunteer.id != actor.id:
        return None  # an error would tell an ADMIN whose address it is
    raise Invalid("Choose a coordinator other than the volunteer.", field=field)


async def _notify_approvers(session: AsyncSession, actor: Actor, order: Order, request: _HourRequest) -> None:
    payload = mail_payload(order, nonprofit=request.nonprofit, volunteer=request.volunteer)
    if order.addressed_to_id is not None:
        await outbox.mail_users(
            session,
            user_ids=[order.addressed_to_id],
            template="hours_for_coordinator",
            payload=payload,
            order_id=order.id,
            except_id=actor.id,
        )
    await outbox.mail_admins(
        session,
        collective_ids=[order.from_id],
        template="hours_requested",
        payload=payload,
        order_id=order.id,
        except_id=order.addressed_to_id or actor.id,
    )
