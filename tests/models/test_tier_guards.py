"""Each line of the guards of tiers, tried alone in plain SQL."""

from collections.abc import Callable
from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import assert_accepted, assert_refused
from tests.models.guard_world import GuardWorld

Attempt = Callable[[GuardWorld], Any]


def tier(world: GuardWorld, **columns: Any) -> Any:
    """Insert a tier of the payee with three places at 1.00, two a person."""
    world.ids["tier"] = new_id()
    values = {
        "collective_id": world.ids["payee"],
        "type": "TICKET",
        "name": "Seat",
        "pricing": "FIXED",
        "currency": "USD",
        "amount_minor": 100,
        "capacity": 3,
        "max_per_person": 2,
        "created_by_id": world.ids["admin"],
    }
    world.insert("tier", id=world.ids["tier"], **(values | columns))


def buy(
    world: GuardWorld, quantity: int = 1, *, from_: str = "payer", to: str = "payee", **columns: Any
) -> Any:
    """Insert a donation in the tier, at its price."""
    amount = columns.pop("amount", 100 * quantity)
    row = {"tier_id": world.ids["tier"], "quantity": quantity} | columns
    world.order(f"bought-{len(world.ids)}", "DONATION", from_, to, amount, **row)


def of_event(world: GuardWorld) -> None:
    """Insert a tier of the payer's event."""
    tier(world, collective_id=world.ids["event"])


def change(column: str) -> Attempt:
    """Return the change of a column of the tier."""
    return lambda world: world.run(f"UPDATE public.tier SET {column}")


REFUSED: dict[str, tuple[str, Attempt, Attempt]] = {
    "another payee": ("tier_of_payee", tier, lambda w: buy(w, to="business")),
    "another event": ("tier_of_payee", of_event, lambda w: buy(w, from_="volunteer", to="payer")),
    "another currency": ("tier_of_payee", tier, lambda w: buy(w, currency="CUR")),
    "archived": ("tier_open", lambda w: tier(w, archived_at="2020-01-01"), buy),
    "not open yet": ("tier_open", lambda w: tier(w, opens_at="2999-01-01"), buy),
    "closed": ("tier_open", lambda w: tier(w, closes_at="2020-01-01"), buy),
    "more than the price": ("tier_price", tier, lambda w: buy(w, 2, amount=201)),
    "less than the minimum": (
        "tier_price",
        lambda w: tier(w, pricing="FLEXIBLE", amount_minor=None, minimum_minor=100),
        lambda w: buy(w, 2, amount=199),
    ),
    "too many for one": ("tier_max_per_person", tier, lambda w: (buy(w, 2), buy(w))),
    "too many at once": ("tier_max_per_person", tier, lambda w: buy(w, 3)),
    "sold out": (
        "ck_tier_sold_within_capacity",
        tier,
        lambda w: (buy(w, 2), buy(w, 2, from_="business")),
    ),
    "more than a thousand": (
        "ck_order_tier_has_quantity",
        lambda w: tier(w, capacity=None, max_per_person=None),
        lambda w: buy(w, 1001),
    ),
    "fewer places than sold": (
        "ck_tier_sold_within_capacity",
        lambda w: (tier(w), buy(w, 2)),
        change("capacity = 1"),
    ),
    "sold before it is made": ("tier_of_collective", lambda _: None, lambda w: tier(w, sold=1)),
    "in another currency": ("tier_of_collective", lambda _: None, lambda w: tier(w, currency="EUR")),
    "of an archived collective": (
        "tier_of_collective",
        lambda _: None,
        lambda w: tier(w, collective_id=w.ids["archived"]),
    ),
    "of a person": (
        "tier_of_collective",
        lambda _: None,
        lambda w: tier(w, collective_id=w.ids["volunteer"]),
    ),
    "without a price": ("ck_tier_fixed_has_amount", lambda _: None, lambda w: tier(w, amount_minor=None)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_guard_of_tiers_refuses(shared_database: Database, case: str) -> None:
    constraint, given, attempt = REFUSED[case]
    assert_refused(shared_database.owner_url, "origin", constraint, attempt, given=given)


def sold(world: GuardWorld) -> int:
    """Return how many places of the tier are taken."""
    count: int = world.value("SELECT sold FROM public.tier WHERE id = %s", world.ids["tier"])
    return count


def test_what_is_allowed_is_accepted(shared_database: Database) -> None:
    def event_ticket(world: GuardWorld) -> None:
        of_event(world)
        buy(world, from_="volunteer", to="payer", event_id=world.ids["event"])

    def up_to_capacity(world: GuardWorld) -> None:
        tier(world)
        buy(world, 2)
        buy(world, 1, from_="business")
        assert sold(world) == 3

    for attempt in (event_ticket, up_to_capacity):
        assert_accepted(shared_database.owner_url, attempt)


@pytest.mark.parametrize("status", ["REJECTED", "CANCELLED", "EXPIRED", "FAILED"])
def test_a_closed_order_gives_its_places_back_once(shared_database: Database, status: str) -> None:
    def close(world: GuardWorld) -> None:
        tier(world)
        buy(world, 2)
        assert sold(world) == 2
        world.run(f"UPDATE public.\"order\" SET status = '{status}' WHERE tier_id IS NOT NULL")
        assert sold(world) == 0
        world.run('UPDATE public."order" SET updated_at = now() WHERE tier_id IS NOT NULL')
        assert sold(world) == 0

    assert_accepted(shared_database.owner_url, close)
