"""The terms of an order, which the application may change for pending expenses alone."""

import re
from typing import Any

import psycopg
import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import MODES, assert_accepted, assert_refused
from tests.models.guard_world import GuardWorld

CHANGES: dict[str, Any] = {
    "id": new_id(),
    "to_id": "euros",
    "from_id": "unclaimed",
    "currency": "EUR",
    "created_at": "2019-01-01T00:00Z",
    "amount": 101,
    "description": "Another purpose",
    "receipts": ["Another receipt"],
    "host_fee_bps": 9,
    "origin_unknown": True,
    "tier_id": new_id(),
    "quantity": 2,
}


def change(world: GuardWorld, column: str) -> None:
    """Change one term of the order."""
    value = CHANGES[column]
    value = world.ids[value] if column in {"to_id", "from_id"} else value
    world.run(f'UPDATE public."order" SET {column} = %s WHERE id = %s', value, world.ids["o"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("column", CHANGES)
def test_the_terms_of_a_donation_never_change(shared_database: Database, column: str, mode: str) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "order_terms",
        lambda world: change(world, column),
        given=lambda world: world.order("o", "DONATION", "volunteer", "payer"),
    )


@pytest.mark.parametrize("column", ["amount", "description", "receipts", "host_fee_bps"])
def test_the_terms_of_an_expense_change_only_while_it_is_pending(
    shared_database: Database, column: str
) -> None:
    def pending(world: GuardWorld) -> None:
        world.order("o", "EXPENSE", "payer", "payee")

    def approved(world: GuardWorld) -> None:
        world.order("o", "EXPENSE", "payer", "payee", status="APPROVED", approved_amount=100)

    def edited(world: GuardWorld) -> None:
        pending(world)
        change(world, column)

    assert_accepted(shared_database.owner_url, edited)
    assert_refused(
        shared_database.owner_url, "plain", "order_terms", lambda world: change(world, column), given=approved
    )


def test_the_trigger_is_called_for_every_term(shared_database: Database) -> None:
    with psycopg.connect(shared_database.owner_url) as connection:
        row = connection.execute(
            """SELECT p.prosrc, array_agg(a.attname::text)
            FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
            JOIN pg_attribute a ON a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)
            WHERE t.tgname = 'order_terms_guard' GROUP BY p.prosrc"""
        ).fetchone()
    assert row is not None
    body, columns = row
    assert {*re.findall(r"OLD\.(\w+)", body)} - {"status"} == {*columns}
