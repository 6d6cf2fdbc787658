"""The decision on a donation: from what was looked up to the order, without a database."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from models import Order, PaymentMethod
from models.enums import OrderType, PaymentMethodKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.ledger import transaction_amounts
from services.orders import incognito, tier_choices, tips
from services.orders.base import DECISION_DAYS
from services.orders.contribution_decision import build_order
from services.orders.tier_choices import TierChoice

PLACE_KEPT_FOR = timedelta(hours=48)
"""How long a donation by bank transfer keeps its places in a tier, unless it says otherwise."""


@dataclass(frozen=True, kw_only=True)
class DonationFacts:
    """Who gives to whom, for what, and how the gift is paid."""

    payer: Party
    payee: Party
    choice: TierChoice | None
    kind: PaymentMethodKind
    method: PaymentMethod | None


@dataclass(frozen=True, kw_only=True)
class Gift:
    """A gift as its giver describes it, unchecked; its amount is that of its tier, if it has one."""

    amount: UncheckedAmount
    tip: UncheckedAmount | None = None
    description: str | None = None
    private_message: str | None = None
    is_incognito: bool = False


def require_may_donate(actor: Actor, payer: Party, payee: Party) -> None:
    """Require that the actor gives for the payer, before anything else is looked up.

    Raises:
        AccessDenied: no rule allows the actor.
    """
    require(actor, Action.DONATE, Subject(payer=payer.collective, payee=payee.collective))


def decide_donation(actor: Actor, facts: DonationFacts, gift: Gift, *, order_id: UUID) -> Order:
    """Decide on a gift that the actor may give: return its order, which is neither paid nor waited for yet.

    Raises:
        Invalid: a side, the amount, its currency, the tip, a text, or a gift that cannot be incognito.
        InvalidState: the payee has no host, a side is archived, or the payee's host is suspended.
    """
    payer, payee, choice = facts.payer, facts.payee, facts.choice
    is_from_balance = facts.kind is PaymentMethodKind.BALANCE and facts.method is None
    if gift.amount.currency == transaction_amounts.CURRENTS and not is_from_balance:
        raise Invalid("Currents can only be paid from a balance.", field="paymentMethod")
    order = build_order(
        actor,
        OrderType.DONATION,
        payer,
        payee,
        gift.amount,
        order_id=order_id,
        description=gift.description,
        private_message=gift.private_message,
    )
    tips.add(order, gift.tip, (payer, payee))
    tier_choices.apply(order, choice)
    if gift.is_incognito:
        incognito.require_allowed(require_collective(payer), choice.tier if choice else None)
        order.is_incognito = True
    order.payment_method_kind = facts.kind
    order.payment_method_id = facts.method.id if facts.method else None
    return order


def decide_expiry(expires_at: datetime | None, *, holds_place: bool, at: datetime) -> datetime:
    """Return until when a transfer is waited for: the given time, or soon if it keeps a place from others.

    Raises:
        Invalid: the given time is not within the next 60 days.
    """
    latest = at + timedelta(days=DECISION_DAYS)
    if expires_at is not None and not at < expires_at <= latest:
        raise Invalid(f"Choose a time within the next {DECISION_DAYS} days.", field="expiresAt")
    return expires_at or (at + PLACE_KEPT_FOR if holds_place else latest)
