"""Which bills can be submitted, and every refusal: the decision alone."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models.enums import CollectiveType, FeesPayer, OrderStatus, PayoutMethodKind
from services.access.actor import Actor
from services.core.errors import Forbidden, Invalid, InvalidState, Problem, Unauthenticated
from services.core.money import MAX_MINOR, UncheckedAmount
from services.core.party import Party
from services.orders.expense_decision import (
    Bill,
    ExpenseFacts,
    ExpenseLine,
    decide_expense,
    require_may_submit,
)
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective

HOST = collective(1, CollectiveType.NONPROFIT, host_fee_bps=500)
PAYER = Party(collective(2, CollectiveType.COMMUNITY, currency="EUR"), HOST)
ANN, CHRIS = collective(3), collective(4)
PAYEE, HOSTED_PAYEE = Party(ANN), Party(ANN, HOST)
BY_ANN = admin_of(user=ANN)
FACTS = ExpenseFacts(
    payer=PAYER, payee=PAYEE, payout_kind=PayoutMethodKind.MANUAL, payout_method_id=UUID(int=9)
)
INTO_BALANCE = replace(FACTS, payee=HOSTED_PAYEE, payout_kind=PayoutMethodKind.BALANCE, payout_method_id=None)


def amount(value: str, currency: str = "USD") -> UncheckedAmount:
    return UncheckedAmount(Decimal(value), currency)


BILL = Bill(amount=amount("10.00"))


@pytest.mark.parametrize(
    ("actor", "payer", "payee", "problem", "field"),
    [
        (BY_ANN, PAYER, PAYEE, None, None),
        (admin_of(PAYER.collective or HOST, user=CHRIS), PAYER, PAYEE, None, None),
        (Actor(), PAYER, PAYEE, Unauthenticated, None),
        (admin_of(user=CHRIS), PAYER, PAYEE, Forbidden, None),
        (replace(BY_ANN, scopes=frozenset()), PAYER, PAYEE, Forbidden, None),
        (BY_ANN, PAYEE, PAYEE, Invalid, "to"),
        (BY_ANN, Party(collective(2, CollectiveType.EVENT), HOST), PAYEE, Invalid, "from"),
        (BY_ANN, Party(collective(2, archived_at=NOON), HOST), PAYEE, InvalidState, "from"),
        (BY_ANN, replace(PAYER, host=None), PAYEE, InvalidState, "from"),
    ],
)
def test_who_may_bill_whom(
    actor: Actor, payer: Party, payee: Party, problem: type[Problem] | None, field: str | None
) -> None:
    if problem is None:
        require_may_submit(actor, payer, payee)
        return
    with pytest.raises(problem) as raised:
        require_may_submit(actor, payer, payee)
    assert raised.value.path == (None if field is None else (field,))


def test_an_expense_of_one_amount() -> None:
    bill = replace(BILL, description=" Taxi ", fees_payer=FeesPayer.PAYEE, receipts=[" a "])
    plan = decide_expense(BY_ANN, FACTS, bill, order_id=ORDER_ID, at=NOON)
    order = plan.order
    assert (order.id, order.status, order.amount, order.currency) == (
        ORDER_ID,
        OrderStatus.PENDING,
        1_000,
        "USD",
    )
    assert (order.from_id, order.to_id, order.payout_method_id) == (UUID(int=2), ANN.id, UUID(int=9))
    assert (order.description, order.receipts, order.fees_payer) == ("Taxi", ["a"], FeesPayer.PAYEE)
    assert (order.host_fee_bps, order.expires_at) == (None, NOON + timedelta(days=365))
    assert plan.lines == [(" Taxi ", 1_000)]


def test_an_expense_of_lines_is_their_sum() -> None:
    lines = [ExpenseLine("taxi", amount("2.50")), ExpenseLine("train", amount("7.00"))]
    plan = decide_expense(BY_ANN, FACTS, Bill(items=lines), order_id=ORDER_ID, at=NOON)
    assert (plan.order.amount, plan.lines) == (950, [("taxi", 250), ("train", 700)])


def test_a_balance_pays_the_fee_of_its_host() -> None:
    plan = decide_expense(BY_ANN, INTO_BALANCE, BILL, order_id=ORDER_ID, at=NOON)
    assert (plan.order.payout_method_kind, plan.order.host_fee_bps) == (PayoutMethodKind.BALANCE, 500)


@pytest.mark.parametrize(
    ("facts", "currency", "is_allowed"),
    [
        (FACTS, "USD", True),
        (FACTS, "EUR", True),
        (FACTS, "GBP", False),
        (INTO_BALANCE, "EUR", True),
        (replace(INTO_BALANCE, payee=Party(HOST, HOST)), "USD", True),
        (replace(INTO_BALANCE, payee=Party(HOST, HOST)), "EUR", False),
    ],
)
def test_the_currencies_of_a_bill(facts: ExpenseFacts, currency: str, is_allowed: bool) -> None:
    bills = [
        (Bill(amount=amount("5", currency)), ("amount", "currency")),
        (Bill(items=[ExpenseLine("x", amount("5", currency))]), ("items", "0", "amount", "currency")),
    ]
    for bill, path in bills:
        if is_allowed:
            assert decide_expense(BY_ANN, facts, bill, order_id=ORDER_ID, at=NOON).order.currency == currency
            continue
        with pytest.raises(Invalid) as raised:
            decide_expense(BY_ANN, facts, bill, order_id=ORDER_ID, at=NOON)
        assert raised.value.path == path


LARGE = amount(str(MAX_MINOR // 100))
SUSPENDED = Party(ANN, collective(1, CollectiveType.NONPROFIT, host_suspended_at=NOON))


@pytest.mark.parametrize(
    ("facts", "bill", "problem", "field"),
    [
        (replace(INTO_BALANCE, payee=PAYEE), BILL, InvalidState, "payoutMethod"),
        (replace(INTO_BALANCE, payee=SUSPENDED), BILL, InvalidState, "payoutMethod"),
        (FACTS, Bill(), Invalid, "amount"),
        (FACTS, replace(BILL, items=[ExpenseLine("x", amount("1"))]), Invalid, "amount"),
        (FACTS, Bill(amount=amount("0")), Invalid, "amount.value"),
        (FACTS, Bill(items=[ExpenseLine("x", amount("1"))] * 301), Invalid, "items"),
        (FACTS, Bill(items=[ExpenseLine(" ", amount("1"))]), Invalid, "items.0.description"),
        (FACTS, Bill(items=[ExpenseLine("x", LARGE)] * 2), Invalid, "items"),
        (FACTS, replace(BILL, receipts=["r"] * 21), Invalid, "receipts"),
        (FACTS, replace(BILL, receipts=[" "]), Invalid, "receipts"),
        (FACTS, replace(BILL, description="x" * 100_000), Invalid, "description"),
    ],
)
def test_what_is_refused(facts: ExpenseFacts, bill: Bill, problem: type[Problem], field: str) -> None:
    with pytest.raises(problem) as raised:
        decide_expense(BY_ANN, facts, bill, order_id=ORDER_ID, at=NOON)
    path: Any = raised.value.path
    assert ".".join(path) == field
