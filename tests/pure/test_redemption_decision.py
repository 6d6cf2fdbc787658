"""What a redemption holds and records, and every refusal: the decisions alone."""

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models import Offer, Order, PlatformPolicy, Redemption
from models.enums import CollectiveType, OrderStatus, OrderType, RedemptionCap
from services.access.actor import Actor
from services.core.errors import (
    AmountTooSmall,
    Forbidden,
    InsufficientFunds,
    Invalid,
    InvalidState,
    LimitExceeded,
    Problem,
    Unauthenticated,
)
from services.core.money import UncheckedAmount
from services.offers.redemption_decision import (
    RedemptionFacts,
    decide_price,
    decide_redemption,
    parse_purchase,
    require_may_redeem,
    with_quote,
)
from services.offers.redemption_quote import RedemptionQuote
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective, order

ANN = collective(3, claimed_at=NOON)
BUSINESS = collective(5, CollectiveType.BUSINESS)


def dollars(value: str) -> UncheckedAmount:
    return UncheckedAmount(Decimal(value), "USD")


def offer(**columns: Any) -> Offer:
    row = {"id": UUID(int=6), "business_id": BUSINESS.id, "item": "Kombucha", "currents_share_percent": 25}
    return Offer(**{**row, "is_active": True, "is_master": False, **columns})


POLICY = PlatformPolicy(usd_per_current=Decimal(20), redemption_fee_bps=1_000, master_weekly_limit_minor=625)
FACTS = RedemptionFacts(offer=offer(), business=BUSINESS, policy=POLICY, figures=(1_000, 0, 0, 0))
PURCHASE = parse_purchase(dollars("20.00"), "Table 4", " Main Street ")


def test_a_redemption_holds_the_share_of_the_price() -> None:
    plan = decide_redemption(ANN, FACTS, PURCHASE, order_id=ORDER_ID, at=NOON)
    asked, row = plan.order, plan.redemption
    assert (asked.id, asked.status, asked.amount, asked.currency) == (
        ORDER_ID,
        OrderStatus.PENDING,
        250,
        "CUR",
    )
    assert (asked.from_id, asked.to_id, asked.created_at, asked.description) == (
        ANN.id,
        BUSINESS.id,
        NOON,
        "Kombucha",
    )
    assert (row.order_id, row.price_minor, row.usd_gross_minor, row.usd_fee_minor) == (
        ORDER_ID,
        2_000,
        500,
        50,
    )
    assert (row.receipt_text, row.receipt_id, row.place, row.caps) == ("Table 4", None, "Main Street", [])


def test_an_upload_is_the_receipt() -> None:
    purchase = replace(parse_purchase(dollars("20.00"), "rcp_1", None), receipt_id=UUID(int=8))
    plan = decide_redemption(ANN, FACTS, purchase, order_id=ORDER_ID, at=NOON)
    assert (plan.order.receipts, plan.redemption.receipt_id) == (["rcp_1"], UUID(int=8))
    assert plan.redemption.receipt_text is None


@pytest.mark.parametrize(
    ("is_master", "figures", "amount_minor", "caps"),
    [
        (False, (200, 0, 0, 0), 200, [RedemptionCap.BALANCE]),
        (False, (1_000, 600, 0, 900), 250, []),
        (True, (1_000, 500, 0, 0), 125, [RedemptionCap.WEEKLY_LIMIT]),
        (True, (1_000, 0, 0, 900), 100, [RedemptionCap.RECEIVED_LATELY]),
    ],
)
def test_limits_reduce_a_redemption(
    is_master: bool, figures: tuple[int, ...], amount_minor: int, caps: list[RedemptionCap]
) -> None:
    facts = replace(FACTS, offer=offer(is_master=is_master), figures=figures)
    plan = decide_redemption(ANN, facts, PURCHASE, order_id=ORDER_ID, at=NOON)
    assert (plan.order.amount, plan.redemption.caps) == (amount_minor, caps)


@pytest.mark.parametrize(
    ("change", "problem", "field"),
    [
        ({"business": collective(5, CollectiveType.BUSINESS, archived_at=NOON)}, InvalidState, "offer"),
        ({"offer": offer(is_active=False)}, InvalidState, "offer"),
        ({"offer": offer(monthly_limit=2), "figures": (1_000, 0, 2, 0)}, LimitExceeded, "offer"),
        ({"offer": offer(is_master=True), "figures": (1_000, 625, 0, 0)}, LimitExceeded, "offer"),
        ({"offer": offer(is_master=True), "figures": (1_000, 0, 0, 1_000)}, LimitExceeded, "offer"),
        ({"figures": (0, 0, 0, 0)}, InsufficientFunds, "price"),
        ({"figures": (None, 0, 0, None)}, InsufficientFunds, "price"),
        ({"offer": offer(currents_share_percent=0)}, AmountTooSmall, "price"),
    ],
    ids=["archived", "ended", "month", "week", "lately", "no currents", "no account", "too small"],
)
def test_what_is_refused(change: dict[str, Any], problem: type[Problem], field: str) -> None:
    with pytest.raises(problem) as raised:
        decide_redemption(ANN, replace(FACTS, **change), PURCHASE, order_id=ORDER_ID, at=NOON)
    assert raised.value.path == (field,)


@pytest.mark.parametrize(
    ("actor", "problem"),
    [
        (admin_of(user=ANN), None),
        (Actor(), Unauthenticated),
        (admin_of(user=ANN, scopes=frozenset()), Forbidden),
        (admin_of(user=collective(3)), InvalidState),
    ],
)
def test_who_may_redeem(actor: Actor, problem: type[Problem] | None) -> None:
    if problem is None:
        assert require_may_redeem(actor) is ANN
        return
    with pytest.raises(problem):
        require_may_redeem(actor)


@pytest.mark.parametrize(
    ("price", "receipt", "place", "field"),
    [
        (UncheckedAmount(Decimal(20), "EUR"), "Table 4", None, "price.currency"),
        (dollars("0"), "Table 4", None, "price.value"),
        (dollars("20"), " ", None, "receipt"),
        (dollars("20"), "x" * 8_097, None, "receipt"),
        (dollars("20"), "Table 4", "x" * 257, "place"),
    ],
)
def test_purchases_that_are_refused(
    price: UncheckedAmount, receipt: str, place: str | None, field: str
) -> None:
    with pytest.raises(Invalid) as raised:
        parse_purchase(price, receipt, place)
    assert ".".join(raised.value.path or ()) == field


PENDING = order(OrderType.REDEMPTION, amount=250, currency="CUR")
ROW = Redemption(
    order_id=ORDER_ID,
    price_minor=2_000,
    usd_gross_minor=500,
    usd_fee_minor=50,
    currents_share_percent=25,
    is_master=False,
)


@pytest.mark.parametrize("amount", [None, dollars("20.00")])
def test_the_price_is_approved_as_it_was_asked(amount: UncheckedAmount | None) -> None:
    decision = decide_price(PENDING, ROW, amount=amount, reason=None)
    assert (decision.price_minor, decision.is_corrected, decision.currents_minor) == (2_000, False, 250)
    assert decision.changes == {"approved_price_minor": 2_000}


def test_a_corrected_price_is_quoted_again() -> None:
    decision = decide_price(PENDING, ROW, amount=dollars("10.00"), reason="Less was bought")
    assert (decision.price_minor, decision.is_corrected) == (1_000, True)
    quoted = with_quote(decision, RedemptionQuote(currents_minor=125, gross_minor=250, fee_minor=25))
    assert quoted.currents_minor == 125
    assert quoted.changes == {
        "approved_price_minor": 1_000,
        "usd_gross_minor": 250,
        "usd_fee_minor": 25,
        "caps": [],
    }


@pytest.mark.parametrize(
    ("row", "amount", "reason", "problem", "field"),
    [
        (order(OrderType.REDEMPTION, OrderStatus.APPROVED), None, None, InvalidState, "id"),
        (PENDING, dollars("10.00"), None, Invalid, "reason"),
        (PENDING, UncheckedAmount(Decimal(1), "CUR"), "why", Invalid, "amount.currency"),
    ],
)
def test_prices_that_are_refused(
    row: Order, amount: UncheckedAmount | None, reason: str | None, problem: type[Problem], field: str
) -> None:
    with pytest.raises(problem) as raised:
        decide_price(row, ROW, amount=amount, reason=reason)
    assert ".".join(raised.value.path or ()) == field
