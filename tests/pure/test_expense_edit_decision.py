"""What a payee may change of an expense, and every refusal: the decision alone."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from models.enums import CollectiveType, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.permissions import Subject
from services.core.errors import Forbidden, Invalid, InvalidState, Problem, Unauthenticated
from services.core.party import Party
from services.orders.expense_edit_decision import EDITABLE, ExpenseChanges, decide_edit, require_editable
from services.orders.sides import OrderSides
from tests.pure.rows import NOON, admin_of, collective, order

HOST = collective(8, CollectiveType.NONPROFIT, host_fee_bps=500)
PAYER, ANN = collective(1, CollectiveType.COMMUNITY), collective(2)
SUBJECT = Subject(payer=PAYER, payee=ANN, payer_host=HOST)
BY_ANN = admin_of(user=ANN)
EXPENSE = order(OrderType.EXPENSE)
SIDES = OrderSides(EXPENSE, Party(PAYER, HOST), Party(ANN))
HOSTED = Party(ANN, HOST)


@pytest.mark.parametrize("status", EDITABLE)
def test_an_open_expense_is_edited_by_its_payee(status: OrderStatus) -> None:
    require_editable(BY_ANN, replace(SIDES, order=order(OrderType.EXPENSE, status)), SUBJECT)


@pytest.mark.parametrize(
    ("actor", "change", "problem"),
    [
        (Actor(), {}, Unauthenticated),
        (admin_of(PAYER, user=collective(4)), {}, Forbidden),
        (replace(BY_ANN, scopes=frozenset()), {}, Forbidden),
        (BY_ANN, {"order": order(OrderType.TRANSFER)}, InvalidState),
        *(
            (BY_ANN, {"order": order(OrderType.EXPENSE, status)}, InvalidState)
            for status in OrderStatus
            if status not in EDITABLE
        ),
        (BY_ANN, {"payer": Party(collective(1, archived_at=NOON), HOST)}, InvalidState),
        (BY_ANN, {"payee": Party(collective(2, archived_at=NOON))}, InvalidState),
    ],
)
def test_what_cannot_be_edited(actor: Actor, change: dict[str, Any], problem: type[Problem]) -> None:
    with pytest.raises(problem):
        require_editable(actor, replace(SIDES, **change), SUBJECT)


METHOD = UUID(int=7)


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        (ExpenseChanges(lines=[("taxi", 250), ("train", 700)]), {"amount": 950}),
        (ExpenseChanges(description=" Taxi "), {"description": "Taxi"}),
        (ExpenseChanges(receipts=[]), {"receipts": []}),
        (
            ExpenseChanges(payout=(PayoutMethodKind.MANUAL, METHOD)),
            {
                "payout_method_kind": PayoutMethodKind.MANUAL,
                "payout_method_id": METHOD,
                "host_fee_bps": None,
            },
        ),
        (
            ExpenseChanges(payout=(PayoutMethodKind.BALANCE, None)),
            {"payout_method_kind": PayoutMethodKind.BALANCE, "payout_method_id": None, "host_fee_bps": 500},
        ),
    ],
    ids=["lines", "description", "receipts", "paid outside", "paid into the balance"],
)
def test_what_changes(changes: ExpenseChanges, terms: dict[str, Any]) -> None:
    assert decide_edit(EXPENSE, HOSTED, changes) == terms


INTO_BALANCE = ExpenseChanges(payout=(PayoutMethodKind.BALANCE, None))


@pytest.mark.parametrize(
    ("payee", "changes", "problem", "field"),
    [
        (HOSTED, ExpenseChanges(), Invalid, "id"),
        (HOSTED, ExpenseChanges(receipts=["r"] * 21), Invalid, "receipts"),
        (HOSTED, ExpenseChanges(description="x" * 100_000), Invalid, "description"),
        (Party(ANN), INTO_BALANCE, InvalidState, "payoutMethod"),
        (Party(ANN, HOST, "EUR"), INTO_BALANCE, InvalidState, "payoutMethod"),
    ],
)
def test_changes_that_are_refused(
    payee: Party, changes: ExpenseChanges, problem: type[Problem], field: str
) -> None:
    with pytest.raises(problem) as raised:
        decide_edit(EXPENSE, payee, changes)
    assert raised.value.path == (field,)
