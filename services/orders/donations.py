"""Donations: from a balance, by a transfer that the payee's host approves, or through a payment provider."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, now
from models.enums import PaymentMethodKind
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, resolve
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.messaging import outbox
from services.orders import confirmed_amounts, payment_methods, provider_payments, tier_choices
from services.orders.base import mail_payload
from services.orders.contribution_decision import require_hosted
from services.orders.contributions import create_paid_order
from services.orders.donation_decision import (
    DonationFacts,
    Gift,
    decide_donation,
    decide_expiry,
    require_may_donate,
)
from services.orders.history import creation_step, insert_order
from services.orders.method_names import MethodName, split_name
from services.orders.settling import compute_figures
from services.orders.sides import FROM_OUTSIDE, OrderSides, order_sides
from services.providers.offered import NO_PROVIDERS, Providers

Store: TypeAlias = Callable[[], Awaitable[None]]
Begin: TypeAlias = Callable[[Order, Party, datetime | None], Awaitable[Store | None]]
"""Checks whether an order repeats, with its payee and the expiry that the giver asked for.

Returns what stores the recurring gift before the order, if so.
"""


@dataclass(frozen=True)
class WaitingTerms:
    """How long a transfer is waited for, and which providers collect; a rehearsal tells none of them."""

    expires_at: datetime | None = None
    providers: Providers = field(default_factory=dict)
    is_rehearsal: bool = False
    store_gift: Store | None = None
    """Stores the recurring gift that the order begins."""


async def donate(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    from_: CollectiveKey,
    to: CollectiveKey,
    amount: UncheckedAmount,
    tip: UncheckedAmount | None = None,
    tier_id: UUID | None = None,
    quantity: int | None = None,
    payment_method: MethodName | str | None = None,
    description: str | None = None,
    private_message: str | None = None,
    is_incognito: bool = False,
    expires_at: datetime | None = None,
    providers: Providers = NO_PROVIDERS,
    is_rehearsal: bool = False,
    begin: Begin | None = None,
) -> Order:
    """Donate to a hosted collective: from a balance, by a transfer that its host approves, or by a provider.

    A donation in a tier pays for `quantity` of what it sells; a `tip` to the platform is paid beside it.
    An incognito one shows its giver to few. `begin` may make it the first of several. A rehearsal tells no
    provider.

    Raises:
        Invalid: the amount, its currency, the tier's price, the tip, a side that holds no money, or a gift
            that cannot be incognito.
        InvalidState: the tier is closed.
        LimitExceeded: from the database, if the tier is sold out, or the payer has as many as allowed.
        InsufficientFunds: from the database, if the balance is too small.
    """
    is_from_balance = split_name(payment_method, field="paymentMethod")[0] in {
        None,
        PaymentMethodKind.BALANCE,
    }
    policy = await confirmed_amounts.read_policy_ahead(session, actor) if is_from_balance else None
    parties = await resolve(session, actor, {"from": from_, "to": to}, are_records=True)
    payer, payee = parties["from"], parties["to"]
    require_may_donate(actor, payer, payee)
    choice = await tier_choices.choose(session, actor, payee, tier_id=tier_id, quantity=quantity)
    amount = tier_choices.amount_of(choice, amount)
    kind, method = await payment_methods.resolve_payment_method(
        session, named_as=payment_method, to_host=payee.host
    )
    gift = Gift(
        amount=amount,
        tip=tip,
        description=description,
        private_message=private_message,
        is_incognito=is_incognito,
    )
    facts = DonationFacts(payer=payer, payee=payee, choice=choice, kind=kind, method=method)
    order = decide_donation(actor, facts, gift, order_id=order_id)
    store_gift = await begin(order, payee, expires_at) if begin is not None else None
    if kind in FROM_OUTSIDE:
        sides = order_sides(order, payer, payee, platform_id=actor.platform_id, payment_method=method)
        terms = WaitingTerms(expires_at, providers, is_rehearsal, store_gift)
        await wait_for_payment(session, actor, sides, payee, terms)
        return order
    require_hosted(payer, "from", order.currency)
    if store_gift is not None:
        await store_gift()
    await create_paid_order(session, actor, order, (payer, payee), method=method)
    await confirmed_amounts.require_confirmed_above(session, actor, order, policy=policy)
    return order


async def wait_for_payment(
    session: AsyncSession, actor: Actor, sides: OrderSides, payee: Party, terms: WaitingTerms
) -> None:
    """Store an order that its host, or a payment provider, confirms once the money has come.

    Raises:
        AmountTooSmall, FxRateUnavailable: a provider would collect what cannot be posted.
        ProviderAway: the provider does not answer.
    """
    order = sides.order
    if order.payment_method_kind == PaymentMethodKind.MANUAL:
        if terms.store_gift is not None:
            await terms.store_gift()
        if order.expires_at is None:
            order.expires_at = decide_expiry(
                terms.expires_at, holds_place=order.tier_id is not None, at=now()
            )
        await insert_order(session, order, [creation_step(order)])
        await _notify_host(session, actor, order, payee)
        return
    assert actor.platform_id is not None
    await compute_figures(session, sides, platform_id=actor.platform_id)
    payment = await provider_payments.begin(
        session,
        sides,
        providers=terms.providers,
        is_rehearsal=terms.is_rehearsal,
        keeps_card=terms.store_gift is not None,
    )
    if terms.store_gift is not None:
        await terms.store_gift()
    await insert_order(session, order, [creation_step(order)])
    session.add(payment)
    await session.flush()


async def _notify_host(session: AsyncSession, actor: Actor, order: Order, payee: Party) -> None:
    assert payee.host is not None
    await outbox.mail_admins(
        session,
        collective_ids=[payee.host.id],
        template="donation_expected",
        payload=mail_payload(order, to=payee),
        order_id=order.id,
        except_id=actor.id,
    )
