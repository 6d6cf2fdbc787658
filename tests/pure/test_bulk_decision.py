"""How many orders are approved in one call, and which hours together: the decisions alone."""

import pytest

from models.enums import CollectiveType, OrderType
from services.access.actor import Actor
from services.approvals.bulk_decision import ApprovableHours, choose_hours, require_orders
from services.core.errors import Invalid, Problem, Unauthenticated
from tests.pure.rows import admin_of, collective, order

NONPROFIT, OTHER = collective(1, CollectiveType.NONPROFIT), collective(2, CollectiveType.NONPROFIT)
ANN, CHRIS = collective(3), collective(4)
HUNDRED = [f"ord_{number}" for number in range(100)]


@pytest.mark.parametrize(
    ("actor", "ids", "problem"),
    [
        (admin_of(user=CHRIS), ["ord_1"], None),
        (admin_of(user=CHRIS), HUNDRED, None),
        (Actor(), ["ord_1"], Unauthenticated),
        (admin_of(user=CHRIS), [], Invalid),
        (admin_of(user=CHRIS), [*HUNDRED, "ord_100"], Invalid),
        (admin_of(user=CHRIS), ["ord_1", "ord_1"], Invalid),
    ],
)
def test_which_orders_are_named(actor: Actor, ids: list[str], problem: type[Problem] | None) -> None:
    if problem is None:
        require_orders(actor, ids)
        return
    with pytest.raises(problem):
        require_orders(actor, ids)


def test_hours_of_ones_own_nonprofits_are_approved_together() -> None:
    hours = [ApprovableHours(order(OrderType.HOURS), row, ANN) for row in (NONPROFIT, OTHER, NONPROFIT)]
    assert choose_hours(admin_of(NONPROFIT, user=CHRIS), hours) == [hours[0], hours[2]]
    assert choose_hours(admin_of(NONPROFIT, user=CHRIS, scopes=frozenset()), hours) == []
