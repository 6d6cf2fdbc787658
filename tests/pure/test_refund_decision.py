"""Who refunds what, how much, and what that posts: the decision alone."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models import Transaction
from models.enums import CollectiveType, OrderType, Scope, TransactionKind
from services.access.actor import Actor
from services.access.permissions import Subject
from services.core.errors import (
    ConfirmationRequired,
    Forbidden,
    Invalid,
    InvalidState,
    Problem,
    Unauthenticated,
)
from services.core.money import UncheckedAmount
from services.core.party import OUTSIDE, Party
from services.ledger.exchange_rates import Quote
from services.ledger.transaction_amounts import FeeTerms, compute_amounts, same_currency_amounts
from services.orders.refund_amounts import remaining_amounts
from services.orders.refund_decision import (
    REFUNDABLE,
    Draft,
    decide_part,
    decide_refund,
    draft_dollars,
    require_may_refund,
    share_dollars,
)
from services.orders.refundable import Refundable, RefundableTip
from tests.pure.rows import admin_of, collective, order

HOST, PLATFORM = collective(8, CollectiveType.NONPROFIT), collective(9, CollectiveType.NONPROFIT)
PAYER, PAYEE = collective(1, CollectiveType.COMMUNITY), collective(2, CollectiveType.COMMUNITY)
ANN = collective(3)
SUBJECT = Subject(payer=PAYER, payee=PAYEE, payer_host=HOST, payee_host=HOST)
HOLDER = admin_of(HOST, PAYER, PAYEE, PLATFORM, user=ANN, platform_id=PLATFORM.id, scopes=frozenset(Scope))
"""By an access token, which needs no session that was confirmed lately."""
REFUND_ID = UUID(int=50)
ONE = {("USD", "USD"): Quote("USD", "USD", Decimal(1), None, None, "")}


def gift(amount_minor: int = 1_000, refunded_minor: int = 0, *, from_outside: bool = False) -> Refundable:
    """Return a gift of a balance, or from outside with a processor's fee of 0.30, as far as it is left."""
    parties = (OUTSIDE if from_outside else Party(PAYER, HOST), Party(PAYEE, HOST))
    terms = FeeTerms(processor_fixed_minor=30) if from_outside else FeeTerms()
    amounts = compute_amounts(amount_minor, "USD", *parties, terms=terms, quotes=ONE)
    original = stored(amounts.columns(), 60, None if from_outside else HOST.id)
    earlier = []
    if refunded_minor:
        earlier.append(stored(same_currency_amounts(-refunded_minor, "USD").columns(), 61, HOST.id))
    return Refundable(original, remaining_amounts(original, earlier), parties)


def stored(columns: dict[str, Any], number: int, from_host_id: UUID | None) -> Transaction:
    kind = TransactionKind.DONATION
    return Transaction(
        id=UUID(int=number), kind=kind, from_host_id=from_host_id, to_host_id=HOST.id, **columns
    )


def with_tip(refundable: Refundable, tip_minor: int) -> Refundable:
    original = stored(same_currency_amounts(tip_minor, "USD").columns(), 62, HOST.id)
    tip = RefundableTip(
        original,
        remaining_amounts(original, []),
        (refundable.parties[0], Party(PLATFORM, HOST)),
        left_minor=tip_minor,
        whole_minor=tip_minor,
    )
    return Refundable(refundable.original, refundable.remaining, refundable.parties, tip=tip)


def sums(drafts: Sequence[Draft]) -> list[int]:
    return [sum(leg.amount_minor for leg in draft.legs) for draft in drafts]


@pytest.mark.parametrize("kind", OrderType)
def test_who_may_refund(kind: OrderType) -> None:
    row, anybody = order(kind), admin_of(user=ANN)
    if kind not in REFUNDABLE:
        with pytest.raises(InvalidState):
            require_may_refund(HOLDER, row, SUBJECT)
    else:
        require_may_refund(HOLDER, row, SUBJECT)
    with pytest.raises(Forbidden):
        require_may_refund(anybody, row, SUBJECT)
    with pytest.raises(Unauthenticated):
        require_may_refund(Actor(), row, SUBJECT)
    with pytest.raises(ConfirmationRequired):
        require_may_refund(replace(HOLDER, scopes=None), row, SUBJECT)


def dollars(value: str, currency: str = "USD") -> UncheckedAmount:
    return UncheckedAmount(Decimal(value), currency)


@pytest.mark.parametrize(
    ("refundable", "amount", "part_minor"),
    [
        (gift(), None, 1_000),
        (gift(), dollars("4.00"), 400),
        (gift(refunded_minor=600), None, 400),
        (gift(refunded_minor=600), dollars("4.00"), 400),
        (with_tip(gift(), 100), None, 1_100),
        (with_tip(gift(), 100), dollars("9.99"), 999),
        (with_tip(gift(), 100), dollars("10.00"), 1_100),
    ],
)
def test_how_much_goes_back(refundable: Refundable, amount: UncheckedAmount | None, part_minor: int) -> None:
    assert decide_part(order(OrderType.DONATION), refundable, amount) == part_minor


@pytest.mark.parametrize(
    ("refundable", "amount", "problem", "field"),
    [
        (gift(), dollars("10.01"), Invalid, "amount"),
        (gift(refunded_minor=600), dollars("4.01"), Invalid, "amount"),
        (with_tip(gift(), 100), dollars("10.01"), Invalid, "amount"),
        (gift(), dollars("0"), Invalid, "amount.value"),
        (gift(), dollars("1", "EUR"), Invalid, "amount.currency"),
    ],
)
def test_amounts_that_are_refused(
    refundable: Refundable, amount: UncheckedAmount, problem: type[Problem], field: str
) -> None:
    with pytest.raises(problem) as raised:
        decide_part(order(OrderType.DONATION), refundable, amount)
    assert ".".join(raised.value.path or ()) == field


@pytest.mark.parametrize(("part_minor", "is_last"), [(1_000, True), (400, False)])
def test_a_refund_mirrors_its_original(part_minor: int, is_last: bool) -> None:
    refundable = gift()
    plan = decide_refund(HOLDER, order(OrderType.DONATION), refundable, part_minor, refund_id=REFUND_ID)
    (draft,) = plan.drafts
    assert (plan.is_last, plan.step_minor) == (is_last, part_minor)
    assert (draft.row["id"], draft.row["amount"], draft.row["kind"]) == (
        REFUND_ID,
        -part_minor,
        TransactionKind.REFUND,
    )
    assert draft.row["refund_of_id"] == refundable.original.id
    assert {leg.owner_id: leg.amount_minor for leg in draft.legs} == {
        PAYER.id: part_minor,
        PAYEE.id: -part_minor,
    }


def test_the_host_covers_what_a_processor_keeps() -> None:
    plan = decide_refund(
        HOLDER, order(OrderType.DONATION), gift(from_outside=True), 1_000, refund_id=REFUND_ID
    )
    refund, cover = plan.drafts
    assert cover.row["kind"] == TransactionKind.PAYMENT_PROCESSOR_COVER
    assert cover.row["amount"] == 30
    assert refund.row["group_id"] == cover.row["group_id"]
    assert sums(plan.drafts) == [0, 0]


def test_a_tip_goes_back_with_the_last_of_its_gift() -> None:
    row, refundable = order(OrderType.DONATION, tip=100), with_tip(gift(), 100)
    part = decide_refund(HOLDER, row, refundable, 400, refund_id=REFUND_ID)
    assert [draft.row["amount"] for draft in part.drafts] == [-400]
    whole = decide_refund(HOLDER, row, refundable, 1_100, refund_id=REFUND_ID)
    assert [draft.row["amount"] for draft in whole.drafts] == [-1_000, -100]
    assert (whole.is_last, whole.step_minor, sums(whole.drafts)) == (True, 1_000, [0, 0])


@pytest.mark.parametrize(
    ("part_of", "dollars_minor"), [((250, 250), 500), ((125, 250), 250), ((1, 1_000), 0)]
)
def test_dollars_go_back_in_the_proportion_of_the_currents(
    part_of: tuple[int, int], dollars_minor: int
) -> None:
    assert share_dollars({"amount": 500}, part_of) == dollars_minor


def test_the_dollars_of_a_redemption_return_to_the_platform() -> None:
    original = stored(same_currency_amounts(500, "USD").columns(), 63, HOST.id)
    draft = draft_dollars(
        order(OrderType.REDEMPTION),
        Party(ANN),
        PLATFORM,
        original,
        remaining_amounts(original, []),
        250,
        group_id=REFUND_ID,
    )
    assert (draft.row["amount"], draft.row["group_id"], draft.row["has_public_side"]) == (
        -250,
        REFUND_ID,
        False,
    )
    assert {leg.owner_id: leg.amount_minor for leg in draft.legs} == {PLATFORM.id: 250, ANN.id: -250}
