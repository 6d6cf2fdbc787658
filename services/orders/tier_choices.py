"""What a donation in a tier pays for: its price, its places, and the registration for an event."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, Tier, now
from models.enums import CollectiveType, MemberRole, OrderStatus, TierType
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.collectives import event_capacity, members, tiers
from services.core.errors import Invalid
from services.core.money import Money, UncheckedAmount, to_minor
from services.core.party import Party

MAX_QUANTITY = 1000


@dataclass(frozen=True)
class TierChoice:
    """A tier that takes orders, with its collective, and how many of it are wanted."""

    tier: Tier
    collective: Collective
    quantity: int


async def choose(
    session: AsyncSession, actor: Actor, payee: Party, *, tier_id: UUID | None, quantity: int | None
) -> TierChoice | None:
    """Load the tier of a donation, if it has one.

    Raises:
        NotFound: there is no such tier, or the actor may not see it.
        Invalid: it is another collective's, or the quantity is not from 1 to 1,000.
        InvalidState: the tier is closed.
    """
    if tier_id is None:
        if quantity is not None:
            raise Invalid("Choose a tier, or leave the quantity out.", field="quantity")
        return None
    tier, collective = await tiers.require_visible(session, actor, tier_id=tier_id)
    return decide_choice(tier, collective, payee, quantity=quantity, at=now())


def decide_choice(
    tier: Tier, collective: Collective, payee: Party, *, quantity: int | None, at: datetime
) -> TierChoice:
    """Decide on the choice of a tier, with its collective, at a time.

    Raises:
        Invalid: it is another collective's, or the quantity is not from 1 to 1,000.
        InvalidState: the tier is closed.
    """
    owner_id = collective.parent_id if collective.type == CollectiveType.EVENT else collective.id
    if owner_id != require_collective(payee).id:
        raise Invalid("This tier belongs to another collective.", field="tier")
    tiers.require_open_tier(tier, collective, at=at)
    quantity = 1 if quantity is None else quantity
    if not 1 <= quantity <= MAX_QUANTITY:
        raise Invalid(f"Enter a quantity from 1 to {MAX_QUANTITY}.", field="quantity")
    return TierChoice(tier, collective, quantity)


def amount_of(choice: TierChoice | None, amount: UncheckedAmount | None) -> UncheckedAmount:
    """Return the amount of a donation: that of a fixed tier, else the one that the giver chose.

    Raises:
        Invalid: no amount, or not the tier's price, or less than its minimum.
    """
    price = tiers.price(choice.tier, choice.quantity) if choice else None
    if amount is None:
        if price is None:
            raise Invalid("Enter an amount.", field="amount")
        return UncheckedAmount(price.value, price.currency)
    if choice is None:
        return amount
    tier = choice.tier
    minor = to_minor(amount, field="amount", currency=tier.currency)
    if price is not None and minor != price.minor_units:
        raise Invalid(f"The price is {price.value} {price.currency}.", field="amount.value")
    least = Money((tier.minimum_minor or 0) * choice.quantity, tier.currency)
    if minor < least.minor_units:
        raise Invalid(f"Give at least {least.value} {least.currency}.", field="amount.value")
    return amount


def apply(order: Order, choice: TierChoice | None) -> None:
    """Note the tier, the quantity and the event on a new order."""
    if choice is None:
        return
    order.tier_id, order.quantity = choice.tier.id, choice.quantity
    if choice.collective.type == CollectiveType.EVENT:
        order.event_id = choice.collective.id


async def register_holder(session: AsyncSession, order: Order) -> None:
    """Register the user who paid for a ticket of an event; it takes a place there, too. Locks: the event.

    Raises:
        LimitExceeded: from the database, if the event is full.
    """
    event = await _lock_ticketed_event(session, order)
    if event is None:
        return
    registration = (await event_capacity.load_registrations(session, event, user_ids=[order.from_id])).get(
        order.from_id
    )
    if registration is not None and registration.role == MemberRole.ATTENDEE:
        return
    if registration is not None:
        registration.until = max(now(), registration.since)
        await session.flush()
    await members.add(session, event.id, order.from_id, MemberRole.ATTENDEE)


async def end_registration(session: AsyncSession, order: Order, holder: Party) -> None:
    """End the registration of a refunded ticket, unless its holder has another one or was checked in.

    Locks: the event.
    """
    event = await _lock_ticketed_event(session, order)
    if event is None or holder.collective is None:
        return
    other = select(col(Order.id)).where(
        col(Order.event_id) == event.id,
        col(Order.from_id).in_([order.from_id, holder.collective.id]),
        col(Order.id) != order.id,
        col(Order.tier_id).is_not(None),
        col(Order.status) == OrderStatus.PAID,
    )
    row = await members.load_open_member(session, event.id, holder.collective.id, MemberRole.ATTENDEE)
    if row is None or (await session.execute(other.limit(1))).first() is not None:
        return
    if await event_capacity.load_attendance(session, event.id, holder.collective.id) is None:
        await event_capacity.end_registration(session, event, row)


async def _lock_ticketed_event(session: AsyncSession, order: Order) -> Collective | None:
    """Lock the event of a user's ticket; None if the order is for something else."""
    if order.tier_id is None or order.event_id is None:
        return None
    tier = await session.get_one(Tier, order.tier_id)
    holder = await session.get_one(Collective, order.from_id)
    if tier.type != TierType.TICKET or holder.type != CollectiveType.USER:
        return None
    return await event_capacity.lock_event(session, await session.get_one(Collective, order.event_id))
