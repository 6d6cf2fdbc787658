"""At which amount orders are approved, which are paid, and every refusal: the decisions alone."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from models import Order, OrderItem
from models.enums import (
    CollectiveType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
    Scope,
)
from services.access.actor import Actor
from services.access.permissions import Subject
from services.approvals.approval_decision import (
    decide_amount,
    decide_expense_approval,
    require_host_confirms,
    require_no_lines,
)
from services.approvals.payment_decision import (
    require_no_fee,
    require_payable_cash_out,
    require_payable_expense,
)
from services.core.errors import (
    ConfirmationRequired,
    Forbidden,
    Invalid,
    InvalidState,
    Problem,
    SelfApproval,
    Unauthenticated,
)
from services.core.money import UncheckedAmount
from services.offers.redemption_decision import require_payable_redemption
from services.orders.payout_fees import require_fee_within_limit
from services.volunteering.hours import decide_hours_amount
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective, order

HOST = collective(8, CollectiveType.NONPROFIT)
PLATFORM = collective(9, CollectiveType.NONPROFIT)
PAYER, PAYEE = collective(1, CollectiveType.COMMUNITY), collective(2)
SUBJECT = Subject(payer=PAYER, payee=PAYEE, payer_host=HOST)
HOLDER = admin_of(HOST, PLATFORM, user=collective(4), platform_id=PLATFORM.id, scopes=frozenset(Scope))
NOT_PENDING = [status for status in OrderStatus if status != OrderStatus.PENDING]
NOT_APPROVED = [status for status in OrderStatus if status != OrderStatus.APPROVED]


def amount(value: str, currency: str = "USD") -> UncheckedAmount:
    return UncheckedAmount(Decimal(value), currency)


@pytest.mark.parametrize("status", NOT_PENDING)
def test_only_a_pending_order_is_approved(status: OrderStatus) -> None:
    row = order(OrderType.EXPENSE, status)
    with pytest.raises(InvalidState, match="must be PENDING"):
        decide_amount(row, None, None)
    with pytest.raises(InvalidState, match="must be PENDING"):
        decide_expense_approval(row, None, None)
    with pytest.raises(InvalidState, match="must be PENDING"):
        decide_hours_amount(hours_of(status=status), None, None)


@pytest.mark.parametrize(
    ("given", "reason", "amount_minor"),
    [(None, None, 1_000), (amount("10.00"), None, 1_000), (amount("12.00"), "more", 1_200)],
)
def test_the_amount_of_a_gift(given: UncheckedAmount | None, reason: str | None, amount_minor: int) -> None:
    assert decide_amount(order(OrderType.DONATION), given, reason) == amount_minor


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        (amount("9.99"), None, "reason"),
        (amount("9.99", "EUR"), "why", "amount.currency"),
        (amount("0"), "why", "amount.value"),
        (amount("0.99"), "why", "amount"),
    ],
    ids=["no reason", "currency", "nothing", "below the tip"],
)
def test_amounts_of_gifts_that_are_refused(given: UncheckedAmount, reason: str | None, field: str) -> None:
    with pytest.raises(Invalid) as raised:
        decide_amount(order(OrderType.DONATION, tip=100), given, reason)
    assert ".".join(raised.value.path or ()) == field


def test_what_a_provider_collects_is_not_approved() -> None:
    require_host_confirms(order(OrderType.DONATION, payment_method_kind=PaymentMethodKind.MANUAL))
    with pytest.raises(InvalidState):
        require_host_confirms(order(OrderType.DONATION, payment_method_kind=PaymentMethodKind.PROVIDER))


@pytest.mark.parametrize(
    ("kind", "given", "amount_minor", "is_paid", "is_reduced"),
    [
        (PayoutMethodKind.MANUAL, None, 1_000, False, False),
        (PayoutMethodKind.BALANCE, None, 1_000, True, False),
        (PayoutMethodKind.MANUAL, amount("4.00"), 400, False, True),
    ],
)
def test_what_an_approval_of_an_expense_does(
    kind: PayoutMethodKind,
    given: UncheckedAmount | None,
    amount_minor: int,
    is_paid: bool,
    is_reduced: bool,
) -> None:
    approval = decide_expense_approval(order(OrderType.EXPENSE, payout_method_kind=kind), given, "why")
    assert (approval.amount_minor, approval.is_paid, approval.is_reduced) == (
        amount_minor,
        is_paid,
        is_reduced,
    )


def test_an_expense_is_approved_at_most_as_asked_and_its_lines_as_a_whole() -> None:
    with pytest.raises(Invalid) as raised:
        decide_expense_approval(order(OrderType.EXPENSE), amount("10.01"), "more")
    assert raised.value.path == ("amount",)
    require_no_lines([])
    with pytest.raises(Invalid):
        require_no_lines([OrderItem(order_id=ORDER_ID, position=0, description="taxi", amount=1_000)])


def hours_of(*, status: OrderStatus = OrderStatus.PENDING, present: timedelta = timedelta(hours=2)) -> Order:
    times = {"starts_at": NOON, "ends_at": NOON + present}
    return order(OrderType.HOURS, status, amount=2_000, currency="CUR", **times)


@pytest.mark.parametrize(
    ("row", "given", "reason", "amount_minor"),
    [
        (hours_of(), None, None, 2_000),
        (hours_of(present=timedelta(hours=1)), None, None, 1_000),
        (hours_of(), amount("2.000", "CUR"), None, 2_000),
        (hours_of(), amount("24.000", "CUR"), "night", 24_000),
    ],
)
def test_the_amount_of_hours(
    row: Order, given: UncheckedAmount | None, reason: str | None, amount_minor: int
) -> None:
    assert decide_hours_amount(row, given, reason) == amount_minor


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        (amount("1.000", "CUR"), None, "reason"),
        (amount("24.001", "CUR"), "why", "amount"),
        (amount("1.00"), "why", "amount.currency"),
    ],
)
def test_amounts_of_hours_that_are_refused(given: UncheckedAmount, reason: str | None, field: str) -> None:
    with pytest.raises(Invalid) as raised:
        decide_hours_amount(hours_of(), given, reason)
    assert ".".join(raised.value.path or ()) == field


PAYABLE = {
    OrderType.EXPENSE: require_payable_expense,
    OrderType.CASH_OUT: require_payable_cash_out,
    OrderType.REDEMPTION: require_payable_redemption,
}


@pytest.mark.parametrize("kind", PAYABLE)
def test_an_approved_order_is_paid_by_whoever_holds_the_money(kind: OrderType) -> None:
    PAYABLE[kind](HOLDER, order(kind, OrderStatus.APPROVED), SUBJECT)


@pytest.mark.parametrize("status", NOT_APPROVED)
@pytest.mark.parametrize("kind", PAYABLE)
def test_only_an_approved_order_is_paid(kind: OrderType, status: OrderStatus) -> None:
    with pytest.raises(InvalidState, match="must be APPROVED"):
        PAYABLE[kind](HOLDER, order(kind, status), SUBJECT)


@pytest.mark.parametrize(
    ("actor", "problem"),
    [
        (Actor(), Unauthenticated),
        (admin_of(PAYER, user=collective(4), scopes=frozenset(Scope)), Forbidden),
        (replace(HOLDER, scopes=frozenset()), Forbidden),
        (replace(HOLDER, scopes=None), ConfirmationRequired),
    ],
)
@pytest.mark.parametrize("kind", PAYABLE)
def test_who_may_not_pay(kind: OrderType, actor: Actor, problem: type[Problem]) -> None:
    with pytest.raises(problem):
        PAYABLE[kind](actor, order(kind, OrderStatus.APPROVED), SUBJECT)


@pytest.mark.parametrize("kind", [OrderType.CASH_OUT, OrderType.REDEMPTION])
def test_nobody_pays_themselves(kind: OrderType) -> None:
    row = order(kind, OrderStatus.APPROVED, from_id=HOLDER.id)
    with pytest.raises(SelfApproval):
        PAYABLE[kind](HOLDER, row, SUBJECT)


@pytest.mark.parametrize("fee", [None, amount("0")])
def test_a_redemption_is_paid_without_a_fee(fee: UncheckedAmount | None) -> None:
    require_no_fee(fee)
    with pytest.raises(Invalid) as raised:
        require_no_fee(amount("0.01"))
    assert raised.value.path == ("processorFee",)


@pytest.mark.parametrize(("amount_minor", "limit_minor"), [(1_000, 5_000), (60_000, 6_000)])
def test_the_fee_of_a_payout_has_a_limit(amount_minor: int, limit_minor: int) -> None:
    require_fee_within_limit(limit_minor, amount_minor=amount_minor, currency="USD")
    with pytest.raises(Invalid) as raised:
        require_fee_within_limit(limit_minor + 1, amount_minor=amount_minor, currency="USD")
    assert raised.value.path == ("processorFee",)
