"""Which approval decides, which one waits for a second person, and every refusal: the decision alone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models.enums import OrderStatus, OrderType
from services.core.errors import Invalid, InvalidState, Problem, SelfApproval
from services.orders.two_people_decision import ApprovalFacts, Decision, decide_approval, needs_facts
from tests.pure.rows import NOON, order

ANN, BOB, CY = UUID(int=3), UUID(int=4), UUID(int=5)
ORDER = order(OrderType.EXPENSE)
FIRST = ApprovalFacts(
    status=OrderStatus.PENDING, updated_at=NOON, single_limit=500, people=[], person_id=ANN, first_minor=None
)
SECOND = replace(FIRST, people=[BOB], first_minor=1_000)


@pytest.mark.parametrize(
    ("amount_minor", "tip", "single_limit", "expected"),
    [
        (1_000, None, None, False),
        (1_000, None, 1_000, False),
        (1_000, None, 999, True),
        (400, None, 500, True),  # less than was asked for
        (1_000, 100, 1_050, True),
    ],
)
def test_when_one_person_is_not_enough(
    amount_minor: int, tip: int | None, single_limit: int | None, expected: bool
) -> None:
    row = order(OrderType.DONATION, tip=tip)
    assert needs_facts(row, amount_minor=amount_minor, single_limit=single_limit) == expected


@pytest.mark.parametrize(
    ("facts", "amount_minor", "is_amount_given", "expected"),
    [
        (FIRST, 1_000, False, Decision(amount_minor=1_000, is_final=False, is_kept=True)),
        (SECOND, 1_000, False, Decision(amount_minor=1_000, is_final=True, is_kept=True)),
        (
            replace(SECOND, first_minor=800),
            1_000,
            False,
            Decision(amount_minor=800, is_final=True, is_kept=True),
        ),
        (
            replace(SECOND, first_minor=800),
            800,
            True,
            Decision(amount_minor=800, is_final=True, is_kept=True),
        ),
        (replace(FIRST, single_limit=None), 1_000, False, Decision(amount_minor=1_000, is_final=True)),
        (replace(FIRST, single_limit=400), 400, True, Decision(amount_minor=400, is_final=True)),
        (replace(SECOND, people=[ANN, BOB]), 1_000, True, Decision(amount_minor=1_000, is_final=True)),
        (
            replace(SECOND, people=[BOB, CY]),
            1_000,
            True,
            Decision(amount_minor=1_000, is_final=True, is_kept=True),
        ),
    ],
    ids=["first", "second", "first's amount", "same amount", "no limit", "below", "both", "a third"],
)
def test_what_an_approval_does(
    facts: ApprovalFacts, amount_minor: int, is_amount_given: bool, expected: Decision
) -> None:
    decision = decide_approval(ORDER, facts, amount_minor=amount_minor, is_amount_given=is_amount_given)
    assert decision == expected


def test_a_tip_counts_towards_the_limit() -> None:
    row, facts = order(OrderType.DONATION, tip=1), replace(FIRST, single_limit=1_000)
    assert not decide_approval(row, facts, amount_minor=1_000, is_amount_given=True).is_final


@pytest.mark.parametrize(
    ("change", "amount_minor", "problem", "field"),
    [
        ({"status": OrderStatus.APPROVED}, 1_000, InvalidState, "id"),
        ({"updated_at": NOON + timedelta(seconds=1)}, 1_000, InvalidState, "id"),
        ({"person_id": BOB}, 1_000, SelfApproval, "id"),
        ({}, 999, Invalid, "amount"),
    ],
)
def test_what_is_refused(
    change: dict[str, Any], amount_minor: int, problem: type[Problem], field: str
) -> None:
    with pytest.raises(problem) as raised:
        decide_approval(ORDER, replace(SECOND, **change), amount_minor=amount_minor, is_amount_given=True)
    assert raised.value.path == (field,)
