"""A transaction that says who pays also says how much, in plain SQL: nothing arrives that nobody gave."""

from typing import Any

import pytest

from tests.conftest import Database
from tests.models.guard_cases import MODES, assert_accepted, assert_refused
from tests.models.guard_world import GuardWorld

SIDE: dict[str, Any] = {
    "from_host_currency": "USD",
    "from_host_fx_rate": "1.1",
    "from_host_amount": -110,
    "from_collective_currency": "USD",
    "from_collective_fx_rate": "1.1",
    "from_collective_amount": -110,
}


def donate(world: GuardWorld, **wrong: Any) -> None:
    """Give 1.00 EUR from a balance in USD inside one book, with wrong columns of the payer's side."""
    side = SIDE | wrong
    order_id = world.order("o", "DONATION", "payer", "euros", currency="EUR")
    gone = side["from_collective_amount"]
    legs = [("host", "euros", "EUR", "BALANCE", 100), ("host", "host", "EUR", "EXCHANGE", -100)]
    if gone:
        legs += [("host", "payer", "USD", "BALANCE", gone), ("host", "host", "USD", "EXCHANGE", -gone)]
    world.post(
        legs,
        kind="DONATION",
        order_id=order_id,
        amount=100,
        currency="EUR",
        host_currency="USD",
        fx_rate="1.1",
        gross=110,
        to_host_amount=110,
        to_collective_amount=100,
        from_collective_id=world.ids["payer"],
        to_collective_id=world.ids["euros"],
        from_host_id=world.ids["host"],
        to_host_id=world.ids["host"],
        **side,
    )


def rich(world: GuardWorld) -> None:
    """Give the payer a balance."""
    world.open_balance("payer", 1_000)


def test_a_whole_side_is_accepted(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        rich(world)
        donate(world)

    assert_accepted(shared_database.owner_url, attempt)


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "no amount": ("transaction_figures", {"from_host_amount": None, "from_collective_amount": None}),
    "no amount of the payer": ("transaction_legs", {"from_collective_amount": None}),
    "no amount of the host": ("transaction_legs", {"from_host_amount": None}),
    "no currency of the host": ("transaction_figures", {"from_host_currency": None}),
    "no currency of the payer": ("transaction_legs", {"from_collective_currency": None}),
    "no rate of the host": ("transaction_figures", {"from_host_fx_rate": None}),
    "no rate of the payer": ("transaction_figures", {"from_collective_fx_rate": None}),
    "a cent at no rate": (
        "transaction_legs",
        {"from_collective_fx_rate": None, "from_collective_amount": -1},
    ),
    "nothing": ("transaction_figures", dict.fromkeys(SIDE)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRONG)
def test_a_side_without_its_figures_is_refused(shared_database: Database, name: str, mode: str) -> None:
    by, columns = WRONG[name]
    assert_refused(shared_database.owner_url, mode, by, lambda world: donate(world, **columns), given=rich)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("column", SIDE)
def test_a_row_names_the_payers_host_only_with_the_whole_side(
    shared_database: Database, column: str, mode: str
) -> None:
    side = SIDE | {"from_host_amount": -100, "from_collective_amount": -100, column: None}
    assert_refused(
        shared_database.owner_url,
        mode,
        "ck_transaction_paying_side",
        lambda world: world.transaction(from_host_id=world.ids["host"], **side),
    )
