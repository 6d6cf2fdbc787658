"""The terms of a recurring gift: its payer changes them from the next charge on."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Instrument, Order, PaymentMethod, RecurringGift, Tier, now
from models.enums import CollectiveType, GiftInterval, GiftStatus, OrderStatus, OrderType, PaymentMethodKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Action
from services.core.errors import WHOLE_INPUT, Invalid, InvalidState
from services.core.money import Money, UncheckedAmount, to_minor
from services.orders import incognito, payment_methods, tier_choices, tips
from services.orders.base import charged_minor
from services.orders.confirmed_amounts import require_confirmed_above
from services.orders.contribution_decision import require_hosted
from services.orders.method_names import MethodName, split_name
from services.orders.tier_choices import MAX_QUANTITY, TierChoice
from services.recurring import periods, progress
from services.recurring.changes import GiftSides, lock_gift
from services.recurring.starting import SOLD_ONCE
from services.round_trips.records import new_record

LAST_DAY = 31


@dataclass(frozen=True, kw_only=True)
class TermChanges:
    """New terms of a gift; those that are None stay as they are."""

    amount: UncheckedAmount | None = None
    tip: UncheckedAmount | None = None
    """Another tip to the platform; zero is none."""
    quantity: int | None = None
    tier_id: UUID | None = None
    leaves_tier: bool = False
    payment_method: MethodName | str | None = None
    anchor_day: int | None = None
    is_incognito: bool | None = None


async def update(
    session: AsyncSession, actor: Actor, *, gift_id: UUID, changes: TermChanges
) -> RecurringGift:
    """Change what is given, how it is paid, on which day, and who sees the giver, from the next charge on.

    A refused charge keeps its terms, but is tried at once in the new way of paying. Locks: both sides if
    that changes, then the gift.

    Raises:
        Invalid: no change, or one that the payee, its tier or the calendar does not have.
        InvalidState: the gift has ended, or its day was moved in this period already.
        LimitExceeded: from the database, if the tier is sold out.
        ConfirmationRequired: more than the policy's amount, or that much from a balance from now on, in a
            session that was not confirmed lately.
    """
    if changes == TermChanges():
        raise Invalid("Choose what to change.", field=WHOLE_INPUT)
    sides = await lock_gift(
        session,
        actor,
        gift_id=gift_id,
        action=Action.UPDATE_SUBSCRIPTION,
        locks_sides=changes.payment_method is not None,  # the payee stays with the host of the method
    )
    gift, before_kind = sides.gift, sides.gift.payment_method_kind
    before_minor = charged_minor(_as_order(gift))
    await _change_amount(session, actor, sides, changes)
    _change_tip(sides, changes.tip)
    await _change_visibility(session, sides, changes.is_incognito)
    if changes.payment_method is not None:
        await _change_method(session, sides, changes.payment_method)
    if changes.anchor_day is not None:
        _move_day(gift, changes.anchor_day, is_charging=await _is_charging(session, gift))
    if gift.status == GiftStatus.ACTIVE:
        gift.due_at = progress.due_at(gift)
    gift.updated_at = now()
    await session.flush()
    # Who gives by bank transfer has been asked for no confirmation: the transfer itself is one.
    is_from_balance_now = gift.payment_method_kind == PaymentMethodKind.BALANCE != before_kind
    if charged_minor(_as_order(gift)) > before_minor or is_from_balance_now:
        await require_confirmed_above(session, actor, _as_order(gift))
    return gift


async def _change_amount(session: AsyncSession, actor: Actor, sides: GiftSides, changes: TermChanges) -> None:
    """Set tier, quantity and amount, which go together."""
    gift = sides.gift
    if changes.leaves_tier:
        gift.tier_id = gift.quantity = None
    choice = await _choose(session, actor, sides, changes)
    if choice is not None:
        gift.tier_id, gift.quantity = choice.tier.id, choice.quantity
    if changes.amount is None and choice is None:
        return
    given = changes.amount
    if given is None and choice is not None and choice.tier.pricing != "FIXED":
        money = Money(gift.amount_minor, gift.currency)
        given = UncheckedAmount(money.value, money.currency)
    amount = tier_choices.amount_of(choice, given)
    gift.amount_minor = to_minor(amount, field="amount", currency=gift.currency)


def _change_tip(sides: GiftSides, tip: UncheckedAmount | None) -> None:
    """Set the tip, which stays at most as large as the amount."""
    gift = sides.gift
    if tip is None:
        gift.tip_minor = tips.require_at_most(gift.tip_minor, gift.amount_minor)
        return
    order = _as_order(gift)
    order.tip = None
    tips.add(order, tip, (sides.payer, sides.payee))
    gift.tip_minor = order.tip


async def _change_visibility(session: AsyncSession, sides: GiftSides, is_incognito: bool | None) -> None:
    """Set whether further charges are incognito, and require that the gift with its present tier can be."""
    gift = sides.gift
    if is_incognito is not None:
        gift.is_incognito = is_incognito
    if gift.is_incognito:
        tier = await session.get_one(Tier, gift.tier_id) if gift.tier_id is not None else None
        incognito.require_allowed(require_collective(sides.payer), tier)


async def _choose(
    session: AsyncSession, actor: Actor, sides: GiftSides, changes: TermChanges
) -> TierChoice | None:
    """Return the gift's new tier, or its present one with the wanted quantity, if the terms touch it."""
    gift = sides.gift
    if changes.tier_id is not None and changes.tier_id != gift.tier_id:
        choice = await tier_choices.choose(
            session, actor, sides.payee, tier_id=changes.tier_id, quantity=changes.quantity
        )
        assert choice is not None
        _require_repeating(choice, GiftInterval(gift.interval))
        return choice
    if gift.tier_id is None:
        if changes.quantity is not None:
            raise Invalid("Choose a tier, or leave the quantity out.", field="quantity")
        return None
    if changes.amount is None and changes.quantity is None:
        return None
    quantity = changes.quantity if changes.quantity is not None else gift.quantity or 1
    if not 1 <= quantity <= MAX_QUANTITY:
        raise Invalid(f"Enter a quantity from 1 to {MAX_QUANTITY}.", field="quantity")
    tier = await session.get_one(Tier, gift.tier_id)
    return TierChoice(tier, await session.get_one(Collective, tier.collective_id), quantity)


def _require_repeating(choice: TierChoice, interval: GiftInterval) -> None:
    tier = choice.tier
    if tier.interval is None and (tier.type in SOLD_ONCE or choice.collective.type == CollectiveType.EVENT):
        raise Invalid("A gift in this tier is given once.", field="tier")
    if tier.interval not in {None, interval}:
        raise Invalid(f"A gift in this tier repeats every {str(tier.interval).lower()}.", field="tier")


async def _change_method(session: AsyncSession, sides: GiftSides, named_as: MethodName | str) -> None:
    gift = sides.gift
    kind, method = await payment_methods.resolve_payment_method(
        session, named_as=named_as, to_host=sides.payee.host
    )
    if kind == "BALANCE":
        require_hosted(sides.payer, "payWith", gift.currency)
    gift.instrument_id = None
    if kind == PaymentMethodKind.PROVIDER and method is not None:
        gift.instrument_id = await _find_card(session, gift, method, named_as)
    gift.payment_method_kind, gift.payment_method_id = kind, method.id if method else None
    if gift.status == GiftStatus.PAST_DUE:
        gift.due_at = max(now(), progress.due_at(gift))


async def _find_card(
    session: AsyncSession, gift: RecurringGift, method: PaymentMethod, named_as: MethodName | str
) -> UUID:
    """Return the newest card of the giver that the host of a payment method keeps.

    Raises:
        Invalid: it keeps none.
    """
    cards = (
        select(col(Instrument.id))
        .where(
            col(Instrument.owner_id) == gift.from_id,
            col(Instrument.provider_account_id) == method.provider_account_id,
            col(Instrument.archived_at).is_(None),
        )
        .order_by(col(Instrument.created_at).desc(), col(Instrument.id).desc())
        .limit(1)
    )
    found = (await session.execute(cards)).scalar_one_or_none()
    if found is None:
        _, field = split_name(named_as, field="paymentMethod")
        raise Invalid(
            "No card of the giver is kept for this host. Begin a new gift by card, and end this one.",
            field=field,
        )
    return found


async def _is_charging(session: AsyncSession, gift: RecurringGift) -> bool:
    """True if a payment provider is charging the present period."""
    waits = exists().where(
        col(Order.subscription_id) == gift.id,
        col(Order.period) == gift.next_charge_on,
        col(Order.status) == OrderStatus.PENDING,
    )
    return bool(await session.scalar(select(waits)))


def _move_day(gift: RecurringGift, anchor_day: int, *, is_charging: bool) -> None:
    """Move the day of the next charge, once a period; a day that is over counts from the next one on."""
    if not 1 <= anchor_day <= LAST_DAY:
        raise Invalid(f"Enter a day from 1 to {LAST_DAY}.", field="anchorDay")
    if anchor_day == gift.anchor_day:
        return
    if gift.is_anchor_changed:
        raise InvalidState("The day has been moved. Move it again after the next charge.", field="anchorDay")
    if gift.status == GiftStatus.PAST_DUE:
        raise InvalidState("A charge is being tried again. Move the day after it.", field="anchorDay")
    if is_charging:
        raise InvalidState("The card is being charged. Move the day after that.", field="anchorDay")
    today = periods.day_of(now(), gift.timezone)
    moved = periods.move_day(gift.next_charge_on, anchor_day, GiftInterval(gift.interval), after=today)
    if gift.ends_after is not None and moved > gift.ends_after:
        raise Invalid(
            f"The next charge would be after {gift.ends_after}, the gift's last day. Choose an earlier day.",
            field="anchorDay",
        )
    gift.next_charge_on = moved
    gift.anchor_day, gift.is_anchor_changed = anchor_day, True


def _as_order(gift: RecurringGift) -> Order:
    """Return the gift's next order, as far as its amount goes."""
    return new_record(
        Order,
        type=OrderType.DONATION,
        status=OrderStatus.PENDING,
        from_id=gift.from_id,
        to_id=gift.to_id,
        currency=gift.currency,
        amount=gift.amount_minor,
        tip=gift.tip_minor,
    )
