"""Incognito gifts: persons give them, and no tickets, and what they are never changes; in plain SQL."""

from collections.abc import Callable
from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import MODES, Attempt, assert_accepted, assert_refused
from tests.models.guard_world import GuardWorld
from tests.models.test_subscription_guards import both, change, gift, period
from tests.models.test_tier_guards import tier


def give(world: GuardWorld, from_: str = "giver", to: str = "payee", **columns: Any) -> None:
    """Insert an incognito donation of 1.00."""
    world.order("gift", "DONATION", from_, to, **{"is_incognito": True} | columns)


def person(world: GuardWorld) -> None:
    """Insert a claimed user with a balance at the host."""
    world.collective("giver", "USER", host="host")
    world.open_balance("giver", 1_000)


def ticket(world: GuardWorld) -> None:
    tier(world)
    person(world)


def begin(world: GuardWorld, **columns: Any) -> None:
    gift(world, from_="giver", **{"is_incognito": True} | columns)


def in_tier(world: GuardWorld, kind: str = "MEMBERSHIP") -> None:
    tier(world, type=kind)
    person(world)


def post(world: GuardWorld, kind: str = "DONATION", order: str = "gift", **columns: Any) -> None:
    """Post 1.00 of the person to the payee."""
    world.ids["posted"] = new_id()
    world.post(
        [("host", "giver", "USD", "BALANCE", -100), ("host", "payee", "USD", "BALANCE", 100)],
        amount=100,
        **{
            **world.inside("giver", "payee", -100),
            "id": world.ids["posted"],
            "kind": kind,
            "order_id": world.ids[order],
            **columns,
        },
    )


def quantity(world: GuardWorld) -> dict[str, Any]:
    return {"tier_id": world.ids["tier"], "quantity": 1}


REFUSED: dict[str, tuple[str, Attempt, Attempt]] = {
    "a collective": ("incognito_person", person, lambda w: give(w, "payer")),
    "a host of an unknown giver": ("incognito_person", person, lambda w: give(w, "host")),
    "a guest who is no person": (
        "incognito_person",
        person,
        lambda w: give(
            w,
            "host",
            claimed_giver_id=w.ids["payer"],
            giver_status="WAITING",
            origin_unknown=True,
            payment_method_kind="MANUAL",
        ),
    ),
    "a transfer": (
        "ck_order_incognito_is_gift",
        person,
        lambda w: w.order("t", "TRANSFER", "giver", "payee", is_incognito=True),
    ),
    "a ticket": ("incognito_registration", ticket, lambda w: give(w, **quantity(w))),
    "shown later": (
        "order_terms",
        both(person, give),
        lambda w: w.run('UPDATE public."order" SET is_incognito = false WHERE id = %s', w.ids["gift"]),
    ),
    "hidden later": (
        "order_terms",
        both(person, lambda w: give(w, is_incognito=False)),
        lambda w: w.run('UPDATE public."order" SET is_incognito = true WHERE id = %s', w.ids["gift"]),
    ),
    "a recurring gift of a collective": (
        "incognito_person",
        person,
        lambda w: gift(w, is_incognito=True),
    ),
    "a recurring ticket": (
        "incognito_registration",
        both(ticket, lambda w: begin(w, is_incognito=False)),
        change("is_incognito = true, quantity = 1, tier_id = (SELECT id FROM public.tier LIMIT 1)"),
    ),
    "a collective's recurring gift, later": (
        "incognito_person",
        both(person, gift),
        change("is_incognito = true"),
    ),
    "another order than its recurring gift": (
        "subscription_order",
        both(person, begin),
        lambda w: period(w, from_="giver"),
    ),
    "another recurring gift than its order": (
        "subscription_order",
        both(person, lambda w: begin(w, is_incognito=False)),
        lambda w: period(w, from_="giver", is_incognito=True),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_incognito_is_refused(shared_database: Database, name: str, mode: str) -> None:
    by, given, attempt = REFUSED[name]
    assert_refused(shared_database.owner_url, mode, by, attempt, given=given)


ACCEPTED: dict[str, Callable[[GuardWorld], object]] = {
    "a person": both(person, give),
    "a membership": both(in_tier, lambda w: give(w, **quantity(w))),
    "a recurring gift and its order": both(
        person, begin, lambda w: period(w, from_="giver", is_incognito=True)
    ),
    "a change of a recurring gift": both(
        person, begin, change("is_incognito = false"), change("is_incognito = true")
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_can_be_incognito_is_accepted(shared_database: Database, name: str) -> None:
    assert_accepted(shared_database.owner_url, ACCEPTED[name])


def is_incognito(world: GuardWorld, row: str = "posted") -> bool:
    return bool(world.value("SELECT is_incognito FROM public.transaction WHERE id = %s", world.ids[row]))


@pytest.mark.parametrize("said", [None, True, False])
@pytest.mark.parametrize("of_order", [True, False])
def test_a_transaction_is_what_its_order_is(
    shared_database: Database, of_order: bool, said: bool | None
) -> None:
    def attempt(world: GuardWorld) -> None:
        person(world)
        give(world, is_incognito=of_order)
        post(world, is_incognito=said)
        assert is_incognito(world) is of_order

    assert_accepted(shared_database.owner_url, attempt)


@pytest.mark.parametrize("of_order", [True, False])
def test_a_refund_is_what_its_original_is(shared_database: Database, of_order: bool) -> None:
    def attempt(world: GuardWorld) -> None:
        person(world)
        give(world, is_incognito=of_order)
        post(world)
        original = world.ids["posted"]
        world.ids["refund"] = new_id()
        negative = {
            name: -value if name.endswith("amount") and value else value
            for name, value in world.inside("giver", "payee", -100).items()
        }
        world.post(
            [("host", "giver", "USD", "BALANCE", 100), ("host", "payee", "USD", "BALANCE", -100)],
            amount=-100,
            **negative
            | {
                "id": world.ids["refund"],
                "kind": "REFUND",
                "order_id": world.ids["gift"],
                "refund_of_id": original,
                "is_incognito": not of_order,
            },
        )
        assert is_incognito(world, "refund") is of_order

    assert_accepted(shared_database.owner_url, attempt)
