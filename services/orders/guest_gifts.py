"""Gifts of guests: by an email address alone, which shows nobody until its owner has claimed the gift."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order
from models.enums import GiverStatus, OrderType
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, resolve_one
from services.collectives import platform_policy
from services.core import user_text
from services.core.errors import Invalid
from services.core.money import UncheckedAmount
from services.core.party import OUTSIDE, Party
from services.identity import email_addresses
from services.ledger.transaction_amounts import CURRENTS
from services.orders import idempotency, incognito, payment_methods, tier_choices, tips
from services.orders.contribution_decision import build_order, hide_origin, require_hosted
from services.orders.donations import WaitingTerms, wait_for_payment
from services.orders.method_names import MethodName
from services.orders.sides import FROM_OUTSIDE, order_sides


@dataclass(frozen=True)
class GuestKey:
    """The idempotency key of a guest's gift, which belongs to the address, and the input it stands for."""

    key: str
    payload: Mapping[str, Any]


async def donate(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    email: str,
    name: str,
    to: CollectiveKey,
    amount: UncheckedAmount,
    payment_method: MethodName | str | None,
    terms: WaitingTerms,
    tier_id: UUID | None = None,
    quantity: int | None = None,
    tip: UncheckedAmount | None = None,
    description: str | None = None,
    is_incognito: bool = False,
    key: GuestKey | None = None,
) -> Order:
    """Donate without an account, by bank transfer or through a payment provider.

    Nothing of the answer depends on whether the address is known: the order is from the host until whoever
    owns the address claims it. An incognito one shows its giver to few after that, too.

    Raises:
        Invalid and others: as `donations.donate`, and for a balance, which a guest does not have.
    """
    payee = await resolve_one(session, actor, to, name="to")
    user = await _find_guest(session, email, is_rehearsal=terms.is_rehearsal)
    if key is not None and (earlier := await _find_earlier(session, user, key, order_id)) is not None:
        return earlier
    choice = await tier_choices.choose(session, actor, payee, tier_id=tier_id, quantity=quantity)
    amount = tier_choices.amount_of(choice, amount)
    kind, method = await payment_methods.resolve_payment_method(
        session, named_as=payment_method, to_host=payee.host
    )
    if kind not in FROM_OUTSIDE or amount.currency == CURRENTS:
        raise Invalid("Give by bank transfer or by a payment method of the host.", field="payWith")
    require_hosted(payee, "to")
    policy = await platform_policy.load_policy(session)
    server = replace(
        actor,
        user=None,
        platform_id=await platform_policy.load_platform_id(session),
        platform_fee_bps=policy.platform_fee_bps,
    )
    order = build_order(
        server,
        OrderType.ADDED_FUNDS,  # the host may be both sides
        Party(payee.host),
        payee,
        amount,
        order_id=order_id,
        description=description,
        private_message=user_text.require_name(name, field="name"),
    )
    order.type, order.payment_method_kind = OrderType.DONATION, kind
    order.payment_method_id = method.id if method else None
    order.claimed_giver_id, order.giver_status = user.id, GiverStatus.WAITING
    hide_origin(order, payee)
    tips.add(order, tip, (payee, payee))
    tier_choices.apply(order, choice)
    if is_incognito:
        incognito.require_allowed(user, choice.tier if choice else None)
        order.is_incognito = True
    sides = order_sides(order, OUTSIDE, payee, platform_id=server.platform_id, payment_method=method)
    await wait_for_payment(session, server, sides, payee, terms)
    return order


async def _find_guest(session: AsyncSession, email: str, *, is_rehearsal: bool) -> Collective:
    if is_rehearsal:
        return await email_addresses.create_stand_in(session, email, field="email")
    return await email_addresses.find_or_create_user(session, email, field="email")


async def _find_earlier(
    session: AsyncSession, user: Collective, key: GuestKey, order_id: UUID
) -> Order | None:
    """Return the gift that the same guest made with the same key.

    A guest's keys are not those of the account with the address: whoever types it in does not learn which
    keys its owner uses, and takes none of them.
    """
    request = idempotency.hash_request("donateAsGuest", key.payload)
    own_key = f"guest:{hashlib.sha256(idempotency.require_key(key.key).encode()).hexdigest()}"
    earlier_id = await idempotency.claim_key(
        session, Actor(user=user), key=own_key, request=request, result_id=order_id
    )
    return None if earlier_id is None else await session.get_one(Order, earlier_id)
