"""Asking for currents: the hours that a volunteer gave.

The rules are openCurrents': a request is at most two weeks old and lies within one day of the nonprofit.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order, now
from models.enums import CollectiveType
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import platform_policy
from services.core.errors import Invalid
from services.identity import authentication, email_addresses
from services.messaging import outbox
from services.orders.base import created, insert_order
from services.volunteering.hours import new_order, require_issuer, summary

OLDEST = timedelta(days=14)
SHORTEST, LONGEST = timedelta(minutes=15), timedelta(hours=24)
PENDING_DAYS = 60


@dataclass(frozen=True)
class _Asked:
    """Who asks whom, resolved and checked."""

    nonprofit: Collective
    volunteer: Collective
    event: Collective | None


async def log(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    nonprofit: Ref,
    starts_at: datetime,
    ends_at: datetime,
    description: str | None = None,
    event: Ref | None = None,
    coordinator_email: str | None = None,
    volunteer: Ref | None = None,
) -> Order:
    """Ask a nonprofit to approve hours; of one coordinator, or of every ADMIN.

    Raises:
        Invalid: the times, the event, or the coordinator.
        InvalidState: the nonprofit may not issue currents.
        Conflict: from the database, where the hours overlap others of the volunteer.
    """
    asked = await _resolved(session, actor, nonprofit=nonprofit, volunteer=volunteer, event=event)
    check_times(starts_at, ends_at, zone=asked.nonprofit.timezone or "UTC")
    coordinator_id = await _coordinator(session, asked, coordinator_email)
    policy = await platform_policy.policy(session)
    order = new_order(
        actor,
        order_id=order_id,
        nonprofit=asked.nonprofit,
        user=asked.volunteer,
        starts_at=starts_at,
        ends_at=ends_at,
        event_id=asked.event.id if asked.event else None,
        description=description,
        policy=policy,
    )
    order.addressed_to_id = coordinator_id
    order.expires_at = now() + timedelta(days=PENDING_DAYS)
    await insert_order(session, order, [created(order)])
    await _tell_asked(session, actor, order, asked)
    return order


async def _resolved(
    session: AsyncSession, actor: Actor, *, nonprofit: Ref, volunteer: Ref | None, event: Ref | None
) -> _Asked:
    given = {"nonprofit": nonprofit, "volunteer": volunteer, "event": event}
    parties = await resolve(session, actor, {name: ref for name, ref in given.items() if ref is not None})
    issuer = named(parties["nonprofit"])
    person = named(parties["volunteer"]) if volunteer else actor.user
    require(actor, Action.LOG_HOURS, Subject(payer=issuer, payee=person))
    assert person is not None
    require_issuer(issuer, path=["input", "nonprofit"])
    if person.type != CollectiveType.USER:
        raise Invalid("Only people volunteer", path=["input", "volunteer"])
    require_open(person, path=["input", "volunteer"])
    found = named(parties["event"]) if event else None
    if found is not None and found.parent_id != issuer.id:
        raise Invalid("This is no event of the nonprofit", path=["input", "event"])
    return _Asked(issuer, person, found)


def check_times(starts_at: datetime, ends_at: datetime, *, zone: str) -> None:
    """Let through hours that can be asked for.

    Raises:
        Invalid: they end before they start, lie in the future, are older than two weeks, shorter than 15
            minutes or longer than 24 hours, or span two days in the zone.
    """
    moment = now()
    if ends_at <= starts_at:
        raise Invalid("The hours end before they start", path=["input", "endsAt"])
    if ends_at > moment:
        raise Invalid("The hours lie in the future", path=["input", "endsAt"])
    if starts_at < moment - OLDEST:
        raise Invalid(f"Hours are logged within {OLDEST.days} days", path=["input", "startsAt"])
    if ends_at - starts_at < SHORTEST:
        raise Invalid("The least is 15 minutes", path=["input", "endsAt"])
    if ends_at - starts_at > LONGEST:
        raise Invalid("The most is 24 hours", path=["input", "endsAt"])
    local = ZoneInfo(zone)
    last = ends_at - timedelta(microseconds=1)  # midnight belongs to the day that it ends
    if starts_at.astimezone(local).date() != last.astimezone(local).date():
        raise Invalid(f"The hours lie within one day of {zone}", path=["input", "endsAt"])


async def _coordinator(session: AsyncSession, asked: _Asked, email: str | None) -> UUID | None:
    """Return whom the request is addressed to; an unknown address becomes an unclaimed user."""
    if email is None:
        return None
    path = ["input", "coordinatorEmail"]
    address = email_addresses.checked_email(email, path=path)
    known = await email_addresses.user_of_email(session, address)
    if known is None:
        known, _ = await authentication.create_user(session, email=address, name="Invited coordinator")
    if known.id == asked.volunteer.id:
        raise Invalid("Nobody coordinates their own hours", path=path)
    return known.id


async def _tell_asked(session: AsyncSession, actor: Actor, order: Order, asked: _Asked) -> None:
    payload = summary(order, nonprofit=asked.nonprofit, volunteer=asked.volunteer)
    if order.addressed_to_id is not None:
        await outbox.to_users(
            session,
            user_ids=[order.addressed_to_id],
            template="hours_for_coordinator",
            payload=payload,
            order_id=order.id,
            except_id=actor.id,
        )
    await outbox.to_admins(
        session,
        collective_ids=[order.from_id],
        template="hours_requested",
        payload=payload,
        order_id=order.id,
        except_id=order.addressed_to_id or actor.id,
    )
