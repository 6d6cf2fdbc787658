"""Which gifts can be given, in which tier, and every refusal: the decision alone."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models import Collective, PaymentMethod, Tier
from models.enums import CollectiveType, OrderStatus, PaymentMethodKind, TierPricing, TierType
from services.access.actor import Actor
from services.core.errors import Forbidden, Invalid, InvalidState, Problem, Unauthenticated
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.orders import tier_choices
from services.orders.donation_decision import (
    DonationFacts,
    Gift,
    decide_donation,
    decide_expiry,
    require_may_donate,
)
from services.orders.tier_choices import decide_choice
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective

HOST = collective(8, CollectiveType.NONPROFIT)
PLATFORM = Party(collective(9, CollectiveType.NONPROFIT, is_platform=True), HOST)
PAYEE = Party(collective(2, CollectiveType.COMMUNITY, host_fee_bps=500), HOST)
ANN = collective(3)
GIVER, CLUB = Party(ANN, HOST), Party(collective(1, CollectiveType.COMMUNITY), HOST)
BY_ANN = admin_of(user=ANN, platform_fee_bps=300)
EVENT = collective(
    5, CollectiveType.EVENT, parent_id=UUID(int=2), starts_at=NOON, ends_at=NOON + timedelta(days=1)
)
FACTS = DonationFacts(payer=GIVER, payee=PAYEE, choice=None, kind=PaymentMethodKind.BALANCE, method=None)
CARD = PaymentMethod(
    id=UUID(int=7), host_id=HOST.id, kind=PaymentMethodKind.PROVIDER, name="Card", created_by_id=ANN.id
)


def amount(value: str, currency: str = "USD") -> UncheckedAmount:
    return UncheckedAmount(Decimal(value), currency)


def tier(**columns: Any) -> Tier:
    row = {"id": UUID(int=6), "collective_id": UUID(int=2), "type": TierType.MEMBERSHIP, "name": "Gold"}
    terms = {"pricing": TierPricing.FIXED, "currency": "USD", "amount_minor": 500, "created_by_id": ANN.id}
    return Tier(**{**row, **terms, **columns})


GIFT = Gift(amount=amount("10.00"))
TICKET = tier_choices.TierChoice(tier(type=TierType.TICKET), EVENT, 2)


def test_a_gift_from_a_balance() -> None:
    gift = replace(
        GIFT, tip=amount("1.00"), description=" For you ", private_message=" psst ", is_incognito=True
    )
    order = decide_donation(BY_ANN, FACTS, gift, order_id=ORDER_ID)
    assert (order.id, order.status, order.amount, order.currency, order.tip) == (
        ORDER_ID,
        OrderStatus.PENDING,
        1_000,
        "USD",
        100,
    )
    assert (order.from_id, order.to_id, order.created_by_id) == (ANN.id, UUID(int=2), ANN.id)
    assert (order.host_fee_bps, order.platform_fee_bps) == (500, 300)
    assert (order.description, order.private_message, order.is_incognito) == ("For you", "psst", True)
    assert (order.payment_method_kind, order.payment_method_id) == (PaymentMethodKind.BALANCE, None)


def test_a_gift_in_a_tier_by_card() -> None:
    facts = replace(FACTS, choice=TICKET, kind=PaymentMethodKind.PROVIDER, method=CARD)
    order = decide_donation(BY_ANN, facts, GIFT, order_id=ORDER_ID)
    assert (order.tier_id, order.quantity, order.event_id) == (UUID(int=6), 2, EVENT.id)
    assert (order.payment_method_kind, order.payment_method_id) == (PaymentMethodKind.PROVIDER, CARD.id)


@pytest.mark.parametrize(
    ("actor", "problem"),
    [
        (BY_ANN, None),
        (Actor(), Unauthenticated),
        (admin_of(user=collective(4)), Forbidden),
        (replace(BY_ANN, scopes=frozenset()), Forbidden),
    ],
)
def test_who_may_give(actor: Actor, problem: type[Problem] | None) -> None:
    if problem is None:
        require_may_donate(actor, GIVER, PAYEE)
        return
    with pytest.raises(problem):
        require_may_donate(actor, GIVER, PAYEE)


ARCHIVED = Party(collective(2, CollectiveType.COMMUNITY, archived_at=NOON), HOST)
SUSPENDED = Party(
    collective(2, CollectiveType.COMMUNITY), collective(8, CollectiveType.NONPROFIT, host_suspended_at=NOON)
)


@pytest.mark.parametrize(
    ("facts", "gift", "problem", "field"),
    [
        ({"kind": PaymentMethodKind.MANUAL}, {"amount": amount("1", "CUR")}, Invalid, "paymentMethod"),
        ({"method": CARD}, {"amount": amount("1", "CUR")}, Invalid, "paymentMethod"),
        ({"payee": GIVER}, {}, Invalid, "to"),
        ({"payee": Party(EVENT, HOST)}, {}, Invalid, "to"),
        ({"payee": ARCHIVED}, {}, InvalidState, "to"),
        ({"payee": SUSPENDED}, {}, InvalidState, "to"),
        ({"payee": replace(PAYEE, host=None)}, {}, InvalidState, "to"),
        ({}, {"amount": amount("10", "EUR")}, Invalid, "amount.currency"),
        ({}, {"amount": amount("0")}, Invalid, "amount.value"),
        ({}, {"tip": amount("10.01")}, Invalid, "platformTip"),
        ({}, {"amount": amount("1", "CUR"), "tip": amount("1", "CUR")}, Invalid, "platformTip"),
        ({"payee": PLATFORM}, {"tip": amount("1")}, Invalid, "platformTip"),
        ({"payer": CLUB}, {"is_incognito": True}, Invalid, "isIncognito"),
        ({"choice": TICKET}, {"is_incognito": True}, Invalid, "isIncognito"),
        ({}, {"description": "x" * 100_000}, Invalid, "description"),
        ({}, {"private_message": "x" * 100_000}, Invalid, "privateMessage"),
    ],
)
def test_gifts_that_are_refused(
    facts: dict[str, Any], gift: dict[str, Any], problem: type[Problem], field: str
) -> None:
    with pytest.raises(problem) as raised:
        decide_donation(BY_ANN, replace(FACTS, **facts), replace(GIFT, **gift), order_id=ORDER_ID)
    assert ".".join(raised.value.path or ()) == field


@pytest.mark.parametrize(
    ("row", "owner", "quantity", "problem", "field"),
    [
        (tier(), PAYEE.collective, None, None, None),
        (tier(), EVENT, 1_000, None, None),
        (tier(), CLUB.collective, 1, Invalid, "tier"),
        (tier(), PAYEE.collective, 0, Invalid, "quantity"),
        (tier(), PAYEE.collective, 1_001, Invalid, "quantity"),
        (tier(archived_at=NOON), PAYEE.collective, 1, InvalidState, "tier"),
        (tier(opens_at=NOON + timedelta(seconds=1)), PAYEE.collective, 1, InvalidState, "tier"),
        (tier(closes_at=NOON), PAYEE.collective, 1, InvalidState, "tier"),
    ],
)
def test_the_choice_of_a_tier(
    row: Tier, owner: Collective, quantity: int | None, problem: type[Problem] | None, field: str | None
) -> None:
    if problem is None:
        assert decide_choice(row, owner, PAYEE, quantity=quantity, at=NOON).quantity == (quantity or 1)
        return
    with pytest.raises(problem) as raised:
        decide_choice(row, owner, PAYEE, quantity=quantity, at=NOON)
    assert raised.value.path == (field,)


FLEXIBLE = tier(pricing=TierPricing.FLEXIBLE, minimum_minor=300)


@pytest.mark.parametrize(
    ("row", "given", "expected"),
    [
        (None, amount("4"), amount("4")),
        (tier(), None, amount("10.00")),
        (tier(), amount("10"), amount("10")),
        (FLEXIBLE, amount("6"), amount("6")),
        (None, None, "amount"),
        (FLEXIBLE, None, "amount"),
        (tier(), amount("9.99"), "amount.value"),
        (FLEXIBLE, amount("5.99"), "amount.value"),
        (tier(), amount("10", "EUR"), "amount.currency"),
    ],
)
def test_the_amount_in_a_tier(
    row: Tier | None, given: UncheckedAmount | None, expected: UncheckedAmount | str
) -> None:
    choice = tier_choices.TierChoice(row, EVENT, 2) if row else None
    if isinstance(expected, UncheckedAmount):
        assert tier_choices.amount_of(choice, given) == expected
        return
    with pytest.raises(Invalid) as raised:
        tier_choices.amount_of(choice, given)
    assert ".".join(raised.value.path or ()) == expected


@pytest.mark.parametrize(
    ("given", "holds_place", "expected"),
    [
        (None, False, NOON + timedelta(days=60)),
        (None, True, NOON + timedelta(hours=48)),
        (NOON + timedelta(days=60), True, NOON + timedelta(days=60)),
        (NOON, False, None),
        (NOON + timedelta(days=60, seconds=1), False, None),
    ],
)
def test_how_long_a_transfer_is_waited_for(
    given: datetime | None, holds_place: bool, expected: datetime | None
) -> None:
    if expected is not None:
        assert decide_expiry(given, holds_place=holds_place, at=NOON) == expected
        return
    with pytest.raises(Invalid) as raised:
        decide_expiry(given, holds_place=holds_place, at=NOON)
    assert raised.value.path == ("expiresAt",)
