"""Which cash-outs can be asked for, approved and paid, and every refusal: the decisions alone."""

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models.enums import CollectiveType, FeesPayer, OrderStatus, OrderType, PayoutMethodKind, Scope
from services.access.actor import Actor
from services.access.permissions import Subject
from services.core.errors import (
    Forbidden,
    Invalid,
    InvalidState,
    Problem,
    SelfApproval,
    Unauthenticated,
)
from services.core.money import Money, UncheckedAmount
from services.orders.cash_out_decision import (
    CashOutFacts,
    decide_cash_out,
    decide_cash_out_amount,
    require_approvable,
    require_may_pay,
)
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective, order

PLATFORM = collective(9, CollectiveType.NONPROFIT)
ANN = collective(3, host_id=PLATFORM.id, host_approved_at=NOON)
BY_ANN = admin_of(user=ANN, platform_fee_bps=300)
CHRIS = admin_of(PLATFORM, user=collective(4), platform_id=PLATFORM.id, scopes=frozenset(Scope))
FACTS = CashOutFacts(user=ANN, payout_kind=PayoutMethodKind.MANUAL, payout_method_id=UUID(int=7))


def amount(value: str, currency: str = "EUR") -> UncheckedAmount:
    return UncheckedAmount(Decimal(value), currency)


def test_the_amount_may_be_in_any_currency_of_money() -> None:
    assert decide_cash_out_amount(BY_ANN, amount("3.00")) == Money(300, "EUR")


@pytest.mark.parametrize(
    ("actor", "given", "problem", "field"),
    [
        (Actor(), amount("3"), Unauthenticated, None),
        (replace(BY_ANN, scopes=frozenset()), amount("3"), Forbidden, None),
        (BY_ANN, amount("3", "CUR"), Invalid, "amount.currency"),
        (admin_of(user=collective(3)), amount("3"), InvalidState, "amount"),
        (admin_of(user=collective(3, host_id=PLATFORM.id)), amount("3"), InvalidState, "amount"),
        (BY_ANN, amount("0"), Invalid, "amount.value"),
    ],
)
def test_amounts_that_are_refused(
    actor: Actor, given: UncheckedAmount, problem: type[Problem], field: str | None
) -> None:
    with pytest.raises(problem) as raised:
        decide_cash_out_amount(actor, given)
    assert (".".join(raised.value.path or ()) or None) == field


def test_what_is_asked_for() -> None:
    row = decide_cash_out(BY_ANN, FACTS, Money(300, "EUR"), order_id=ORDER_ID, description=" Rent ")
    assert (row.id, row.type, row.status) == (ORDER_ID, OrderType.CASH_OUT, OrderStatus.PENDING)
    assert (row.from_id, row.to_id, row.amount, row.currency) == (ANN.id, ANN.id, 300, "EUR")
    assert (row.payout_method_kind, row.payout_method_id) == (PayoutMethodKind.MANUAL, UUID(int=7))
    assert (row.fees_payer, row.has_public_side, row.description) == (FeesPayer.PAYEE, False, "Rent")


@pytest.mark.parametrize(
    ("facts", "description", "field"),
    [
        (replace(FACTS, payout_kind=PayoutMethodKind.BALANCE), None, "payoutMethod"),
        (FACTS, "x" * 100_000, "description"),
    ],
)
def test_what_is_refused(facts: CashOutFacts, description: str | None, field: str) -> None:
    with pytest.raises(Invalid) as raised:
        decide_cash_out(BY_ANN, facts, Money(300, "EUR"), order_id=ORDER_ID, description=description)
    assert raised.value.path == (field,)


PENDING = order(OrderType.CASH_OUT, amount=300, currency="EUR", from_id=ANN.id, to_id=ANN.id)


@pytest.mark.parametrize("given", [None, amount("3.00")])
def test_the_requested_amount_is_approved(given: UncheckedAmount | None) -> None:
    require_approvable(PENDING, given)


@pytest.mark.parametrize(
    ("status", "given", "problem", "field"),
    [
        (OrderStatus.APPROVED, None, InvalidState, "id"),
        (OrderStatus.PENDING, amount("2.99"), Invalid, "amount"),
        (OrderStatus.PENDING, amount("3.00", "USD"), Invalid, "amount.currency"),
    ],
)
def test_approvals_that_are_refused(
    status: OrderStatus, given: UncheckedAmount | None, problem: type[Problem], field: str
) -> None:
    row = order(OrderType.CASH_OUT, status, amount=300, currency="EUR")
    with pytest.raises(problem) as raised:
        require_approvable(row, given)
    assert ".".join(raised.value.path or ()) == field


ANN_AS_ADMIN: Any = replace(CHRIS, user=ANN)


@pytest.mark.parametrize(
    ("actor", "problem"),
    [(CHRIS, None), (ANN_AS_ADMIN, SelfApproval), (admin_of(user=collective(4)), Forbidden)],
)
def test_who_may_pay(actor: Actor, problem: type[Problem] | None) -> None:
    if problem is None:
        require_may_pay(actor, PENDING, Subject())
        return
    with pytest.raises(problem):
        require_may_pay(actor, PENDING, Subject())
