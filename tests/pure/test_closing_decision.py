"""Who may reject or cancel which order, in which status: the decisions alone."""

from dataclasses import replace

import pytest

from models import Collective
from models.enums import CollectiveType, OrderStatus, OrderType
from services.access.actor import Actor
from services.access.permissions import Subject
from services.approvals.closing_decision import decide_cancellation, decide_rejection
from services.core.errors import Forbidden, Invalid, InvalidState, Unauthenticated
from tests.pure.rows import admin_of, collective, order

HOST = collective(9, CollectiveType.NONPROFIT)
PAYER, PAYEE = collective(1, CollectiveType.COMMUNITY), collective(2, CollectiveType.COMMUNITY)
ANN = collective(3)
SUBJECT = Subject(payer=PAYER, payee=PAYEE, payer_host=HOST, payee_host=HOST)


@pytest.mark.parametrize(
    ("kind", "decider", "tells_payee"),
    [
        (OrderType.EXPENSE, PAYER, True),
        (OrderType.DONATION, HOST, False),
        (OrderType.HOURS, PAYER, True),
        (OrderType.REDEMPTION, PAYEE, False),
        (OrderType.SETTLEMENT, PAYEE, False),
    ],
)
def test_who_decides_may_reject(kind: OrderType, decider: Collective, tells_payee: bool) -> None:
    row = order(kind)
    closing = decide_rejection(admin_of(decider, user=ANN), row, SUBJECT, reason=" No bill ")
    assert (closing.from_status, closing.to_status) == (OrderStatus.PENDING, OrderStatus.REJECTED)
    assert (closing.reason, closing.tells_payee) == ("No bill", tells_payee)
    assert row.status == OrderStatus.PENDING
    with pytest.raises(Forbidden):
        decide_rejection(admin_of(user=ANN), row, SUBJECT, reason="No bill")


@pytest.mark.parametrize(
    ("kind", "requester", "tells_payee"),
    [
        (OrderType.EXPENSE, PAYEE, False),
        (OrderType.DONATION, PAYER, True),
        (OrderType.HOURS, PAYEE, False),
        (OrderType.REDEMPTION, PAYER, True),
        (OrderType.SETTLEMENT, PAYER, True),
    ],
)
def test_the_side_that_asked_may_cancel(kind: OrderType, requester: Collective, tells_payee: bool) -> None:
    row = order(kind)
    closing = decide_cancellation(admin_of(requester, user=ANN), row, SUBJECT, reason=None)
    assert (closing.from_status, closing.to_status) == (OrderStatus.PENDING, OrderStatus.CANCELLED)
    assert (closing.reason, closing.tells_payee) == (None, tells_payee)
    other = PAYER if requester is PAYEE else PAYEE
    with pytest.raises(Forbidden):
        decide_cancellation(admin_of(other, user=ANN), row, SUBJECT, reason=None)


@pytest.mark.parametrize(
    ("kind", "status", "is_open"),
    [
        (OrderType.EXPENSE, OrderStatus.APPROVED, True),
        (OrderType.REDEMPTION, OrderStatus.APPROVED, False),
        *(
            (kind, status, False)
            for kind in (OrderType.EXPENSE, OrderType.DONATION, OrderType.REDEMPTION)
            for status in OrderStatus
            if status not in {OrderStatus.PENDING, OrderStatus.APPROVED}
        ),
    ],
)
def test_in_which_status_an_order_is_closed(kind: OrderType, status: OrderStatus, is_open: bool) -> None:
    row, actor = order(kind, status), admin_of(HOST, PAYER, PAYEE, user=ANN)
    if is_open:
        assert decide_rejection(actor, row, SUBJECT, reason="no").from_status == status
        assert decide_cancellation(actor, row, SUBJECT, reason="no").from_status == status
        return
    with pytest.raises(InvalidState, match=status):
        decide_rejection(actor, row, SUBJECT, reason="no")
    with pytest.raises(InvalidState, match=status):
        decide_cancellation(actor, row, SUBJECT, reason="no")


@pytest.mark.parametrize("reason", ["", " ", "x" * 1_001])
def test_a_rejection_needs_a_reason(reason: str) -> None:
    with pytest.raises(Invalid) as raised:
        decide_rejection(admin_of(PAYER, user=ANN), order(OrderType.EXPENSE), SUBJECT, reason=reason)
    assert raised.value.path == ("reason",)


@pytest.mark.parametrize(
    ("actor", "problem"),
    [(Actor(), Unauthenticated), (replace(admin_of(PAYER, user=ANN), scopes=frozenset()), Forbidden)],
)
def test_strangers_and_tokens_without_the_scope_close_nothing(actor: Actor, problem: type[Exception]) -> None:
    row = order(OrderType.EXPENSE)
    with pytest.raises(problem):
        decide_rejection(actor, row, SUBJECT, reason="no")
    with pytest.raises(problem):
        decide_cancellation(actor, row, SUBJECT, reason="no")
