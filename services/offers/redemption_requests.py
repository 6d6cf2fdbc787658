"""Redemption requests: a user asks a business to take currents for part of a price."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Offer, Order, PlatformPolicy, Receipt, Redemption, now
from models.enums import OrderStatus, OrderType
from services.access.actor import Actor
from services.access.collective_refs import require_open
from services.access.permissions import Action, require
from services.collectives import platform_policy
from services.core import public_ids, user_text
from services.core.errors import InvalidState, NotFound
from services.core.money import UncheckedAmount, to_minor
from services.database.insert_rows import insert_rows
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.offers.redemption_quote import (
    DOLLARS,
    RedemptionQuote,
    figures_call,
    limits_of,
    quote,
)
from services.offers.redemptions import balance_leg, mail_payload
from services.orders import receipts
from services.orders.base import DECISION_DAYS
from services.orders.history import creation_step, insert_order
from services.round_trips import effects
from services.round_trips.pipelines import Call, compile_statement
from services.round_trips.records import new_record, split_records

MAX_RECEIPT_LENGTH, MAX_PLACE_LENGTH = 8096, 256


async def redeem(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    offer_id: UUID,
    price: UncheckedAmount,
    receipt: str,
    place: str | None = None,
) -> Order:
    """Ask a business to take currents for its share of a price in dollars; hold them at once.

    `receipt` is the id of the user's own upload, or a text. Locks: the offer, then the user's currents.

    Raises:
        Invalid: the price or the receipt is not acceptable.
        NotFound: there is no such offer or upload.
        InvalidState: the offer has ended, the business is archived, or the user is unclaimed.
        LimitExceeded: the offer's monthly limit, or the weekly limit of master offers, is reached.
        InsufficientFunds: no currents are available.
        AmountTooSmall: the result is less than a minor unit of currents or dollars.
    """
    require(actor, Action.REDEEM_OFFER)
    user, platform_id = actor.user, actor.platform_id
    assert user is not None and platform_id is not None
    if user.claimed_at is None:
        raise InvalidState("Verify your email address before you spend currents.", field="offer")
    purchase = await _parse_purchase(session, actor, price, receipt, place)
    at = now()
    facts = await _lock_offer(session, offer_id, user_id=user.id, platform_id=platform_id, at=at)
    offer, business, policy = facts.offer, facts.business, facts.policy
    order = new_record(
        Order,
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
        receipts=purchase.files,
        created_at=at,
        expires_at=at + timedelta(days=DECISION_DAYS),
    )
    quoted = quote(
        purchase.price_minor,
        percent=offer.currents_share_percent,
        policy=policy,
        limits=limits_of(facts.figures, offer=offer, policy=policy),
        field="price",
    )
    order.amount = quoted.currents_minor
    row = _new_redemption(order, offer, purchase, quoted)
    await _store(session, order, row, platform_id)
    await outbox.mail_admins(
        session,
        collective_ids=[business.id],
        template="redemption_requested",
        order_id=order.id,
        payload=mail_payload(order, row, business) | {"by": user.name},
        except_id=user.id,
    )
    return order


@dataclass(frozen=True, kw_only=True)
class _Purchase:
    """A purchase as the user describes it, validated."""

    price_minor: int
    file: Receipt | None
    receipt_text: str | None
    place: str | None
    files: list[str]


async def _parse_purchase(
    session: AsyncSession, actor: Actor, price: UncheckedAmount, receipt: str, place: str | None
) -> _Purchase:
    """Validate the purchase as the user describes it."""
    price_minor = to_minor(price, field="price", currency=DOLLARS)
    is_file = receipt.startswith(f"{public_ids.PREFIXES['Receipt']}_")
    receipt_text = None
    if not is_file:
        receipt_text = user_text.require_text(receipt, field="receipt", max_length=MAX_RECEIPT_LENGTH)
    return _Purchase(
        price_minor=price_minor,
        file=await receipts.load_own_receipt(session, actor, public_id=receipt) if is_file else None,
        receipt_text=receipt_text,
        place=user_text.clean_text(place, field="place", max_length=MAX_PLACE_LENGTH) or None,
        files=[receipt] if is_file else [],
    )


def _new_redemption(order: Order, offer: Offer, purchase: _Purchase, quoted: RedemptionQuote) -> Redemption:
    return new_record(
        Redemption,
        order_id=order.id,
        price_minor=purchase.price_minor,
        currents_share_percent=offer.currents_share_percent,
        is_master=offer.is_master,
        usd_gross_minor=quoted.gross_minor,
        usd_fee_minor=quoted.fee_minor,
        caps=[*quoted.caps],
        place=purchase.place,
        receipt_text=purchase.receipt_text,
        receipt_id=purchase.file.id if purchase.file else None,
    )


async def _store(session: AsyncSession, order: Order, row: Redemption, platform_id: UUID) -> None:
    """Write the order, hold its currents, then write the redemption, which a trigger checks."""
    await insert_order(session, order, [creation_step(order)])
    await posting.place_hold(
        session,
        order_id=order.id,
        book_id=platform_id,
        owner_id=order.from_id,
        currency=CURRENTS,
        amount_minor=order.amount,
    )
    await insert_rows(session, [row])


@dataclass(frozen=True)
class _Facts:
    """What a redemption is computed from, read under the locks of the offer and of the user's currents."""

    offer: Offer
    business: Collective
    policy: PlatformPolicy
    figures: Sequence[Any]
    """What `limits_of` takes."""


_LOCK_OFFER = compile_statement(
    select(*inspect(Offer).local_table.c, *inspect(Collective).local_table.c)
    .select_from(Offer)
    .join(Collective, col(Offer.business_id) == Collective.id)
    .where(col(Offer.id) == bindparam("offer_id", type_=Uuid))
    .with_for_update(of=Offer, key_share=True)
)


async def _lock_offer(
    session: AsyncSession, offer_id: UUID, *, user_id: UUID, platform_id: UUID, at: datetime
) -> _Facts:
    """Return an active offer with its business and the user's limits, in one round trip.

    Locks: the offer, to enforce its limit, then the user's currents.
    """
    policy = await platform_policy.read_policy_ahead(session, at=at)
    offers, _, (figures,) = await effects.fetch(
        session,
        Call(_LOCK_OFFER, {"offer_id": offer_id}),
        posting.lock_call([balance_leg(platform_id, user_id, CURRENTS)]),
        figures_call(offer_id=offer_id, user_id=user_id, platform_id=platform_id, at=at),
    )
    if not offers:
        raise NotFound("There is no such offer.", field="offer")
    offer, business = split_records((Offer, Collective), offers[0])
    require_open(business, field="offer")
    if not offer.is_active:
        raise InvalidState("This offer is no longer active.", field="offer")
    return _Facts(offer, business, await policy(), figures)
