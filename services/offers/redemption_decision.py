"""The decisions on redemptions: from the facts to what is written, without a database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models import Collective, Offer, Order, PlatformPolicy, Redemption
from models.enums import OrderStatus, OrderType
from services.access.actor import Actor
from services.access.collective_refs import require_open
from services.access.permissions import Action, Subject, require
from services.core import public_ids, user_text
from services.core.errors import Invalid, InvalidState, SelfApproval
from services.core.money import UncheckedAmount, to_minor
from services.ledger.transaction_amounts import CURRENTS
from services.offers.redemption_quote import DOLLARS, RedemptionQuote, limits_of, quote
from services.orders.base import DECISION_DAYS
from services.orders.transitions import require_status
from services.round_trips.records import new_record

MAX_RECEIPT_LENGTH, MAX_PLACE_LENGTH = 8096, 256


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """A purchase as the user describes it, validated."""

    price_minor: int
    """Units: cents."""
    receipt_text: str | None
    """None if the receipt is a file."""
    place: str | None
    files: Sequence[str] = ()
    """The public id of the user's upload, if the receipt is one."""
    receipt_id: UUID | None = None
    """The id of the upload, once it was found."""


@dataclass(frozen=True, kw_only=True)
class RedemptionFacts:
    """What a redemption is computed from, read under the locks of the offer and of the user's currents."""

    offer: Offer
    business: Collective
    policy: PlatformPolicy
    figures: Sequence[Any]
    """What `limits_of` takes."""


@dataclass(frozen=True, kw_only=True)
class RedemptionPlan:
    """What a redemption writes; its order's amount is held."""

    order: Order
    redemption: Redemption


def require_may_redeem(actor: Actor) -> Collective:
    """Require a user who may redeem offers, and return them.

    Raises:
        AccessDenied: nobody is signed in, or the token lacks the scope.
        InvalidState: the user is unclaimed.
    """
    require(actor, Action.REDEEM_OFFER)
    user = actor.user
    assert user is not None
    if user.claimed_at is None:
        raise InvalidState("Verify your email address before you spend currents.", field="offer")
    return user


def parse_purchase(price: UncheckedAmount, receipt: str, place: str | None) -> Purchase:
    """Validate a purchase; `receipt` is the id of an upload, or a text.

    Raises:
        Invalid: the price, the receipt or the place.
    """
    price_minor = to_minor(price, field="price", currency=DOLLARS)
    is_file = receipt.startswith(f"{public_ids.PREFIXES['Receipt']}_")
    receipt_text = None
    if not is_file:
        receipt_text = user_text.require_text(receipt, field="receipt", max_length=MAX_RECEIPT_LENGTH)
    return Purchase(
        price_minor=price_minor,
        receipt_text=receipt_text,
        place=user_text.clean_text(place, field="place", max_length=MAX_PLACE_LENGTH) or None,
        files=[receipt] if is_file else [],
    )


def decide_redemption(
    user: Collective,
    facts: RedemptionFacts,
    purchase: Purchase,
    *,
    order_id: UUID,
    at: datetime,
) -> RedemptionPlan:
    """Decide on a redemption at a time: how many currents are held, for how many dollars.

    Raises:
        InvalidState: the offer has ended, or the business is archived.
        LimitExceeded, InsufficientFunds, AmountTooSmall: as `limits_of` and `quote`.
    """
    offer, business, policy = facts.offer, facts.business, facts.policy
    require_open(business, field="offer")
    if not offer.is_active:
        raise InvalidState("This offer is no longer active.", field="offer")
    quoted = quote(
        purchase.price_minor,
        percent=offer.currents_share_percent,
        policy=policy,
        limits=limits_of(facts.figures, offer=offer, policy=policy),
        field="price",
    )
    order = new_record(
        Order,
        id=order_id,
        type=OrderType.REDEMPTION,
        status=OrderStatus.PENDING,
        created_by_id=user.id,
        from_id=user.id,
        to_id=business.id,
        currency=CURRENTS,
        amount=quoted.currents_minor,
        description=offer.item,
        offer_id=offer.id,
        policy_id=policy.id,
        has_public_side=False,
        receipts=[*purchase.files],
        created_at=at,
        expires_at=at + timedelta(days=DECISION_DAYS),
    )
    return RedemptionPlan(order=order, redemption=_new_redemption(order, offer, purchase, quoted))


def _new_redemption(order: Order, offer: Offer, purchase: Purchase, quoted: RedemptionQuote) -> Redemption:
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
        receipt_id=purchase.receipt_id,
    )


@dataclass(frozen=True, kw_only=True)
class PriceDecision:
    """The price at which a redemption is approved, and what that makes of it."""

    price_minor: int
    """Units: cents."""
    is_corrected: bool
    currents_minor: int
    changes: dict[str, Any]
    """Columns of the redemption that change."""


def decide_price(
    order: Order, redemption: Redemption, *, amount: UncheckedAmount | None, reason: str | None
) -> PriceDecision:
    """Decide at which price a redemption is approved; a corrected one is yet to be quoted.

    Raises:
        InvalidState: the order is not pending.
        Invalid: the amount, or another price without a reason.
    """
    require_status(order, OrderStatus.PENDING)
    price_minor = redemption.price_minor
    if amount is not None:
        price_minor = to_minor(amount, field="amount", currency=DOLLARS)
    is_corrected = price_minor != redemption.price_minor
    if is_corrected and not reason:
        raise Invalid("Enter a reason for the new price.", field="reason")
    return PriceDecision(
        price_minor=price_minor,
        is_corrected=is_corrected,
        currents_minor=order.amount,
        changes={"approved_price_minor": price_minor},
    )


def with_quote(decision: PriceDecision, quoted: RedemptionQuote) -> PriceDecision:
    """Return the decision on a corrected price with its quote."""
    changes = {
        "usd_gross_minor": quoted.gross_minor,
        "usd_fee_minor": quoted.fee_minor,
        "caps": [*quoted.caps],
    }
    return replace(decision, currents_minor=quoted.currents_minor, changes={**decision.changes, **changes})


def require_payable_redemption(actor: Actor, order: Order, subject: Subject) -> None:
    """Require an approved redemption of somebody else, and that the actor may pay its dollars.

    Raises:
        AccessDenied: no rule allows the actor.
        SelfApproval: the actor is the user who redeemed.
        InvalidState: the order is not approved.
    """
    require(actor, Action.PAY_REDEMPTION, subject)
    if order.from_id == actor.id:
        raise SelfApproval(field="id")
    require_status(order, OrderStatus.APPROVED)
