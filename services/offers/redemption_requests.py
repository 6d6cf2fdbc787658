"""Redemption requests: a user asks a business to take currents for part of a price."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, bindparam, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Offer, Order, Redemption, now
from services.access.actor import Actor
from services.collectives import platform_policy
from services.core.errors import NotFound
from services.core.money import UncheckedAmount
from services.database.insert_rows import insert_rows
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.offers.redemption_decision import (
    Purchase,
    RedemptionFacts,
    decide_redemption,
    parse_purchase,
    require_may_redeem,
)
from services.offers.redemption_quote import figures_call
from services.offers.redemptions import balance_leg, mail_payload
from services.orders import receipts
from services.orders.history import creation_step, insert_order
from services.round_trips import effects
from services.round_trips.pipelines import Call, compile_statement
from services.round_trips.records import split_records


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
    user, platform_id = require_may_redeem(actor), actor.platform_id
    assert platform_id is not None
    purchase = await _find_receipt(session, actor, parse_purchase(price, receipt, place))
    at = now()
    facts = await _lock_offer(session, offer_id, user_id=user.id, platform_id=platform_id, at=at)
    plan = decide_redemption(user, facts, purchase, order_id=order_id, at=at)
    order, row = plan.order, plan.redemption
    await _store(session, order, row, platform_id)
    await outbox.mail_admins(
        session,
        collective_ids=[order.to_id],
        template="redemption_requested",
        order_id=order.id,
        payload=mail_payload(order, row, facts.business) | {"by": user.name},
        except_id=user.id,
    )
    return order


async def _find_receipt(session: AsyncSession, actor: Actor, purchase: Purchase) -> Purchase:
    """Return the purchase with the id of the user's upload, if its receipt is one."""
    if not purchase.files:
        return purchase
    file = await receipts.load_own_receipt(session, actor, public_id=purchase.files[0])
    return replace(purchase, receipt_id=file.id)


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


_LOCK_OFFER = compile_statement(
    select(*inspect(Offer).local_table.c, *inspect(Collective).local_table.c)
    .select_from(Offer)
    .join(Collective, col(Offer.business_id) == Collective.id)
    .where(col(Offer.id) == bindparam("offer_id", type_=Uuid))
    .with_for_update(of=Offer, key_share=True)
)


async def _lock_offer(
    session: AsyncSession, offer_id: UUID, *, user_id: UUID, platform_id: UUID, at: datetime
) -> RedemptionFacts:
    """Return an offer with its business and the user's limits, in one round trip.

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
    return RedemptionFacts(offer=offer, business=business, policy=await policy(), figures=figures)
