"""Giving currents for part of a price: the server computes, the business approves, the platform pays."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Offer, Order, PlatformPolicy, Receipt, Redemption, new_id, now
from models.enums import LedgerAccountKind, OrderActionType, OrderStatus, OrderType, TransactionKind
from services.access.actor import Actor
from services.access.collective_refs import require_open
from services.access.permissions import Action, Subject, require
from services.collectives import platform_policy
from services.core import public_ids, user_text
from services.core.errors import Invalid, InvalidState, NotFound, SelfApproval
from services.core.money import AskedAmount, Money, to_minor
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS, Figures, Leg
from services.messaging import outbox
from services.offers.redemption_quote import DOLLARS, Worth, computed, limits_now, limits_of
from services.orders import receipts
from services.orders.base import PENDING_DAYS, Placed, action, add_actions, created, insert_order
from services.orders.transitions import change_status, wrong_status

MAX_RECEIPT, MAX_PLACE = 8096, 256
_RECEIPT = ["input", "receipt"]


async def redeem(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    offer_id: UUID,
    price: AskedAmount,
    receipt: str,
    place: str | None = None,
) -> Order:
    """Ask a business to take currents for its part of a price in dollars; they are held at once.

    `receipt` is the id of an own upload, or a text. Locks: the offer, then the user's currents.

    Raises:
        Invalid: the price or the receipt.
        NotFound: the offer, or the upload.
        InvalidState: the offer is ended, the business archived, or the user known by email alone.
        LimitExceeded: the offer's limit of the month, or the week's of master offers, is reached.
        InsufficientFunds: no currents are available.
        AmountTooSmall: the price is worth less than a minor unit.
    """
    require(actor, Action.REDEEM_OFFER)
    user, platform_id = actor.user, actor.platform_id
    assert user is not None and platform_id is not None
    if user.claimed_at is None:
        raise InvalidState("A user known by email alone spends nothing", path=["input", "offer"])
    asked = await _asked(session, actor, price, receipt, place)
    offer, business = await _locked(session, offer_id)
    policy = await platform_policy.policy(session)
    await posting.lock(session, [_balance(platform_id, user.id, CURRENTS)])
    order = Order(
        id=order_id,
        type=OrderType.REDEMPTION,
        status=OrderStatus.PENDING,
        created_by_id=user.id,
        from_id=user.id,
        to_id=business.id,
        currency=CURRENTS,
        amount=0,
        description=offer.item,
        offer_id=offer.id,
        policy_id=policy.id,
        has_public_side=False,
        receipts=asked.files,
        expires_at=now() + timedelta(days=PENDING_DAYS),
    )
    limits = await limits_now(session, order, offer=offer, policy=policy, platform_id=platform_id)
    worth = computed(
        asked.price_minor,
        percent=offer.currents_share_percent,
        policy=policy,
        limits=limits,
        path=["input", "price"],
    )
    order.amount = worth.currents
    row = _row_of(order, offer, asked, worth)
    await _store(session, order, row, platform_id)
    await outbox.to_admins(
        session,
        collective_ids=[business.id],
        template="redemption_requested",
        order_id=order.id,
        payload=_facts(order, row, business) | {"by": user.name},
        except_id=user.id,
    )
    return order


@dataclass(frozen=True, kw_only=True)
class _Asked:
    price_minor: int
    file: Receipt | None
    written: str | None
    place: str | None
    files: list[str]


async def _asked(
    session: AsyncSession, actor: Actor, price: AskedAmount, receipt: str, place: str | None
) -> _Asked:
    """Return what the user says of the purchase, checked."""
    price_minor = to_minor(price, path=["input", "price"], currency=DOLLARS)
    is_file = receipt.startswith(f"{public_ids.PREFIXES['Receipt']}_")
    return _Asked(
        price_minor=price_minor,
        file=await receipts.own(session, actor, public_id=receipt) if is_file else None,
        written=None if is_file else user_text.required(receipt, path=_RECEIPT, max_length=MAX_RECEIPT),
        place=user_text.clean(place, path=["input", "place"], max_length=MAX_PLACE) or None,
        files=[receipt] if is_file else [],
    )


def _row_of(order: Order, offer: Offer, asked: _Asked, worth: Worth) -> Redemption:
    return Redemption(
        order_id=order.id,
        price_minor=asked.price_minor,
        currents_share_percent=offer.currents_share_percent,
        is_master=offer.is_master,
        usd_gross_minor=worth.gross,
        usd_fee_minor=worth.fee,
        caps=[*worth.caps],
        place=asked.place,
        receipt_text=asked.written,
        receipt_id=asked.file.id if asked.file else None,
    )


async def _store(session: AsyncSession, order: Order, row: Redemption, platform_id: UUID) -> None:
    """Write the order and hold its currents; what the redemption says comes last, guarded by a trigger."""
    await insert_order(session, order, [created(order)])
    await posting.hold(
        session,
        order_id=order.id,
        book_id=platform_id,
        owner_id=order.from_id,
        currency=CURRENTS,
        amount=order.amount,
    )
    session.add(row)
    await session.flush()


async def _locked(session: AsyncSession, offer_id: UUID) -> tuple[Offer, Collective]:
    """Return an active offer with its business. Locks the offer: of many, one gets the last place."""
    statement = (
        select(Offer, Collective)
        .join(Collective, col(Offer.business_id) == Collective.id)
        .where(col(Offer.id) == offer_id)
        .with_for_update(of=Offer, key_share=True)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise NotFound("There is no such offer", path=["input", "offer"])
    offer, business = found
    require_open(business, path=["input", "offer"])
    if not offer.is_active:
        raise InvalidState("The offer is not active any more", path=["input", "offer"])
    return offer, business


def _balance(platform_id: UUID, owner_id: UUID, currency: str, amount: int = 0) -> Leg:
    return Leg(platform_id, owner_id, currency, LedgerAccountKind.BALANCE, amount)


async def approve(
    session: AsyncSession,
    actor: Actor,
    placed: Placed,
    subject: Subject,
    *,
    amount: AskedAmount | None,
    reason: str | None,
) -> Order:
    """Take the currents. `amount` is what the purchase cost in dollars: another price needs a reason.

    By another price all is computed anew, at the share and policy of the order, within the limits of now.
    Locks: the order, then the currents of both sides.

    Raises:
        SelfApproval: the actor redeems.
        InvalidState: the order does not wait.
        Invalid, AmountTooSmall, LimitExceeded, InsufficientFunds: the corrected price.
    """
    order, platform_id = placed.order, actor.platform_id
    require(actor, Action.APPROVE_REDEMPTION, subject)
    assert platform_id is not None
    if subject.created_by_actor or order.from_id == actor.id:
        raise SelfApproval(path=["input", "id"])
    if order.status != OrderStatus.PENDING:
        raise wrong_status(order, OrderStatus.PENDING)
    row = await _row(session, order)
    price = row.price_minor
    if amount is not None:
        price = to_minor(amount, path=["input", "amount"], currency=DOLLARS)
    changes: dict[str, Any] = {"approved_price_minor": price}
    minor = order.amount
    if price != row.price_minor:
        if not reason:
            raise Invalid("Another price needs a reason", path=["input", "reason"])
        worth = await _corrected(session, order, row, price, platform_id)
        minor = worth.currents
        changes |= {"usd_gross_minor": worth.gross, "usd_fee_minor": worth.fee, "caps": [*worth.caps]}
    await change_status(session, order, before=OrderStatus.PENDING, after=OrderStatus.APPROVED, approved_amount=minor)
    step = action(order, OrderActionType.APPROVE, actor, before=OrderStatus.PENDING, reason=reason)
    await add_actions(session, [step])
    for name, value in changes.items():
        setattr(row, name, value)
    await session.flush()
    await posting.post_currents(
        session, order=order, platform_id=platform_id, kind=TransactionKind.REDEMPTION, release=True
    )
    await outbox.to_admins(
        session,
        collective_ids=[order.from_id],
        template="redemption_approved",
        order_id=order.id,
        payload=_facts(order, row, subject.payee) | {"reason": reason or ""},
        except_id=actor.id,
    )
    return order


async def _row(session: AsyncSession, order: Order) -> Redemption:
    statement = select(Redemption).where(col(Redemption.order_id) == order.id)
    return (await session.execute(statement)).scalar_one()


async def _corrected(
    session: AsyncSession, order: Order, row: Redemption, price_minor: int, platform_id: UUID
) -> Worth:
    """Return what another price comes to. Locks: the order, then the currents of both sides."""
    locked = select(col(Order.status)).where(col(Order.id) == order.id).with_for_update()
    if (await session.execute(locked)).scalar_one() != OrderStatus.PENDING:
        raise InvalidState("The order is not in that state any more", path=["input", "id"])
    sides = [_balance(platform_id, owner_id, CURRENTS) for owner_id in (order.from_id, order.to_id)]
    await posting.lock(session, sides)
    policy = await session.get(PlatformPolicy, order.policy_id)
    assert policy is not None
    limits = await limits_of(session, order, platform_id=platform_id, is_master=row.is_master, policy=policy)
    return computed(
        price_minor,
        percent=row.currents_share_percent,
        policy=policy,
        limits=limits,
        path=["input", "amount"],
    )


async def pay(session: AsyncSession, actor: Actor, placed: Placed, subject: Subject) -> Order:
    """Pay the user the dollars of an approved redemption, out of the platform's own balance.

    Locks: the order, then the dollars of both.

    Raises:
        SelfApproval: the actor redeemed.
        InvalidState: it is not approved.
        InsufficientFunds: from the database, where the platform has not the gross; the order stays.
    """
    order, platform_id = placed.order, actor.platform_id
    require(actor, Action.PAY_REDEMPTION, subject)
    assert platform_id is not None
    if order.from_id == actor.id:
        raise SelfApproval(path=["input", "id"])
    if order.status != OrderStatus.APPROVED:
        raise wrong_status(order, OrderStatus.APPROVED)
    row = await _row(session, order)
    await change_status(session, order, before=OrderStatus.APPROVED, after=OrderStatus.PAID)
    await add_actions(session, [action(order, OrderActionType.PAY, actor, before=OrderStatus.APPROVED)])
    await _post_dollars(session, order, row, platform_id)
    await outbox.to_admins(
        session,
        collective_ids=[order.from_id],
        template="redemption_paid",
        order_id=order.id,
        payload=_facts(order, row, subject.payee),
        except_id=actor.id,
    )
    return order


async def _post_dollars(session: AsyncSession, order: Order, row: Redemption, platform_id: UUID) -> None:
    """Post three legs: the platform's fee is a line of its own and shows in its account."""
    gross, fee = row.usd_gross_minor, row.usd_fee_minor
    legs = [
        _balance(platform_id, platform_id, DOLLARS, -gross),
        _balance(platform_id, platform_id, DOLLARS, fee),
        _balance(platform_id, order.from_id, DOLLARS, gross - fee),
    ]
    columns = {
        "id": new_id(),
        "group_id": new_id(),
        "kind": TransactionKind.REDEMPTION_PAYOUT,
        "order_id": order.id,
        "from_collective_id": platform_id,
        "to_collective_id": order.from_id,
        "from_host_id": platform_id,
        "to_host_id": platform_id,
        "description": order.description,
        "has_public_side": False,
        **asdict(_payout(gross, fee)),
    }
    await posting.post(session, row=columns, legs=sorted(leg for leg in legs if leg.amount))


def _payout(gross: int, fee: int) -> Figures:
    net = gross - fee
    return Figures(
        currency=DOLLARS,
        amount=gross,
        host_currency=DOLLARS,
        fx_rate=Decimal(1),
        fx_rate_id=None,
        gross=gross,
        payment_processor_fee=0,
        platform_fee=fee,
        host_fee=0,
        to_host_amount=net,
        to_collective_amount=net,
        from_host_currency=DOLLARS,
        from_host_fx_rate=Decimal(1),
        from_host_amount=-gross,
        from_collective_currency=DOLLARS,
        from_collective_fx_rate=Decimal(1),
        from_collective_amount=-gross,
    )


def _facts(order: Order, row: Redemption, business: Collective | None) -> dict[str, str]:
    """Return what mails say of a redemption."""
    currents = Money(order.approved_amount or order.amount, CURRENTS)
    price = Money(row.approved_price_minor or row.price_minor, DOLLARS)
    payout = Money(row.usd_gross_minor - row.usd_fee_minor, DOLLARS)
    return {
        "item": order.description or "",
        "business": business.name if business else "",
        "price": f"{price.value} {DOLLARS}",
        "currents": f"{currents.value} {CURRENTS}",
        "payout": f"{payout.value} {DOLLARS}",
    }


async def of_orders(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, Redemption]:
    """Return what orders of REDEMPTION say beside their currents; of orders that the viewer may see."""
    statement = select(Redemption).where(col(Redemption.order_id).in_(order_ids))
    return {row.order_id: row for row in (await session.execute(statement)).scalars()}
