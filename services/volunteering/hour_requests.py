"""Hour requests: volunteers log hours and ask a nonprofit to approve them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, now
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve
from services.collectives import platform_policy
from services.identity import authentication, email_addresses
from services.messaging import outbox
from services.orders.history import creation_step, insert_order
from services.volunteering.hours import mail_payload
from services.volunteering.hours_decision import HoursFacts, LoggedHours, choose_coordinator, decide_hours


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
    facts = await _load_facts(session, actor, nonprofit=nonprofit, volunteer=volunteer, event=event)
    hours = LoggedHours(starts_at=starts_at, ends_at=ends_at, description=description)
    order = decide_hours(actor, facts, hours, order_id=order_id, at=now())
    if coordinator_email is not None:
        order.addressed_to_id = await _find_or_create_coordinator(
            session, actor, facts, coordinator_email, is_trial=is_trial
        )
    await insert_order(session, order, [creation_step(order)])
    await _notify_approvers(session, actor, order, facts)
    return order


async def _load_facts(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: CollectiveKey,
    volunteer: CollectiveKey | None,
    event: CollectiveKey | None,
) -> HoursFacts:
    policy = await platform_policy.read_policy_ahead(session)
    refs = {"nonprofit": nonprofit, "volunteer": volunteer, "event": event}
    given = {name: ref for name, ref in refs.items() if ref is not None}
    parties = await resolve(session, actor, given, are_records=True)
    return HoursFacts(
        nonprofit=require_collective(parties["nonprofit"]),
        volunteer=require_collective(parties["volunteer"]) if volunteer else actor.user,
        event=require_collective(parties["event"]) if event else None,
        policy=await policy(),
    )


async def _find_or_create_coordinator(
    session: AsyncSession, actor: Actor, facts: HoursFacts, email: str, *, is_trial: bool
) -> UUID | None:
    """Return the id of the coordinator, if any; an unknown address becomes an unclaimed user."""
    field = "coordinatorEmail"
    address = email_addresses.require_email(email, field=field)
    if is_trial:
        return (await email_addresses.create_stand_in(session, address, field=field)).id
    coordinator = await email_addresses.find_user(session, address)
    if coordinator is None:
        coordinator, _ = await authentication.create_user(session, email=address, name="Invited coordinator")
    return choose_coordinator(actor, facts, coordinator)


async def _notify_approvers(session: AsyncSession, actor: Actor, order: Order, facts: HoursFacts) -> None:
    assert facts.volunteer is not None
    payload = mail_payload(order, nonprofit=facts.nonprofit, volunteer=facts.volunteer)
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
