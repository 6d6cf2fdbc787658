"""Each line of the guards of orders, tried alone in plain SQL."""

from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import MODES, Attempt, assert_accepted, assert_refused, guard_world
from tests.models.guard_world import GuardWorld


def _order(kind: str, from_: str, to: str, **columns: Any) -> Attempt:
    return lambda world: world.order("tried", kind, from_, to, **columns)


def _redeem(from_: str, to: str) -> Attempt:
    return lambda world: world.order("tried", "REDEMPTION", from_, to, offer_id=world.ids["offer"])


SIDES: dict[str, tuple[str, Attempt]] = {
    "an archived payer": ("order_sides_open", _order("DONATION", "archived", "payee")),
    "an archived payee": ("order_sides_open", _order("DONATION", "payer", "archived")),
    "an event as payer": ("order_sides_open", _order("DONATION", "event", "payee")),
    "an event as payee": ("order_sides_open", _order("DONATION", "payer", "event")),
    **{
        f"an unclaimed user's {kind}": ("order_payer_claimed", _order(kind, "unclaimed", to))
        for kind, to in (
            ("DONATION", "payee"),
            ("EXPENSE", "payee"),
            ("TRANSFER", "payee"),
            ("CASH_OUT", "unclaimed"),
        )
    },
    "an unclaimed user's REDEMPTION": ("order_payer_claimed", _redeem("unclaimed", "business")),
    "hours of a nonprofit that is not approved": (
        "order_currents_sides",
        _order("HOURS", "newcomer", "volunteer"),
    ),
    "hours of a business": ("order_currents_sides", _order("HOURS", "issuer", "business")),
    "a bonus from a nonprofit": ("order_currents_sides", _order("BONUS", "issuer", "volunteer")),
    "a bonus for a business": ("order_currents_sides", _order("BONUS", "platform", "business")),
    "a redemption of a community": ("order_currents_sides", _redeem("payer", "business")),
    "a redemption at a nonprofit": ("order_currents_sides", _redeem("volunteer", "issuer")),
    **{
        f"{kind} in another currency than the payee's": (
            "order_currency",
            _order(kind, "payer", "payee", currency="EUR", **columns),
        )
        for kind, columns in (
            ("DONATION", {}),
            ("TRANSFER", {}),
            ("ADDED_FUNDS", {"origin_unknown": True}),
        )
    },
    "an imported order that is still open": (
        "order_imported_settled",
        _order("DONATION", "payer", "payee", import_key="k"),
    ),
    "an imported order of an event": (
        "order_sides_open",
        _order("DONATION", "event", "payee", status="PAID", import_key="k"),
    ),
    "imported hours": (
        "order_imported_settled",
        _order("HOURS", "issuer", "volunteer", status="PAID", import_key="k"),
    ),
    "imported hours of a nonprofit that is not approved": (
        "order_currents_sides",
        _order("HOURS", "newcomer", "volunteer", status="PAID", import_key="k"),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SIDES)
def test_the_sides_of_an_order_are_checked(shared_database: Database, name: str, mode: str) -> None:
    by, attempt = SIDES[name]
    assert_refused(shared_database.owner_url, mode, by, attempt)


@pytest.mark.parametrize(
    "attempt",
    [
        _order("DONATION", "payer", "payee"),
        _order("HOURS", "issuer", "volunteer"),
        _order("BONUS", "platform", "volunteer"),
        _redeem("volunteer", "business"),
        _order("TRANSFER", "payer", "payee", currency="CUR"),
        _order("HOURS", "issuer", "unclaimed"),
    ],
)
def test_orders_between_fitting_sides_are_accepted(shared_database: Database, attempt: Attempt) -> None:
    assert_accepted(shared_database.owner_url, attempt)


# The end of hours


def _hours(**columns: Any) -> Attempt:
    return lambda world: world.order("hours", "HOURS", "issuer", "volunteer", **columns)


def _set_end(end: str | None) -> Attempt:
    return lambda world: world.run(
        'UPDATE public."order" SET ends_at = %s WHERE id = %s', end, world.ids["hours"]
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("PENDING", "2020-01-01T11:00:01Z"),
        ("PENDING", None),
        ("APPROVED", "2020-01-01T10:30Z"),
        ("REJECTED", "2020-01-01T10:30Z"),
    ],
)
def test_the_end_of_hours_only_moves_back_while_pending(
    shared_database: Database, status: str, end: str | None, mode: str
) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "order_end_moves_back",
        _set_end(end),
        given=_hours(status=status),
    )


def test_the_end_of_pending_hours_moves_back(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        _hours()(world)
        _set_end("2020-01-01T10:30Z")(world)

    assert_accepted(shared_database.owner_url, attempt)


# Four eyes


def _requested(kind: str, from_: str, to: str, creator: str) -> Attempt:
    def given(world: GuardWorld) -> None:
        columns: dict[str, Any] = {"offer_id": world.ids["offer"]} if kind == "REDEMPTION" else {}
        world.order("asked", kind, from_, to, created_by_id=world.ids[creator], **columns)

    return given


INTERESTS = {
    "the payee of an expense": ("APPROVE", "person", _requested("EXPENSE", "payer", "person", "admin")),
    "who made an expense": ("APPROVE", "admin", _requested("EXPENSE", "payer", "person", "admin")),
    "the volunteer": ("APPROVE", "volunteer", _requested("HOURS", "issuer", "volunteer", "admin")),
    "who redeems": ("APPROVE", "volunteer", _requested("REDEMPTION", "volunteer", "business", "admin")),
    "who cashes out": ("APPROVE", "person", _requested("CASH_OUT", "person", "person", "admin")),
    "who redeems, paying": ("PAY", "volunteer", _requested("REDEMPTION", "volunteer", "business", "admin")),
    "who cashes out, paying": ("PAY", "person", _requested("CASH_OUT", "person", "person", "admin")),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", INTERESTS)
def test_nobody_decides_in_their_own_favour(shared_database: Database, name: str, mode: str) -> None:
    kind, actor, given = INTERESTS[name]
    assert_refused(
        shared_database.owner_url,
        mode,
        "approved_by_another",
        lambda world: world.act("asked", kind, actor),
        given=given,
    )


def test_an_admin_of_the_payee_when_the_expense_was_made_does_not_approve_it(
    shared_database: Database,
) -> None:
    def given(world: GuardWorld) -> None:
        _requested("EXPENSE", "payer", "payee", "person")(world)
        world.insert(
            "member",
            id=new_id(),
            collective_id=world.ids["payee"],
            member_id=world.ids["admin"],
            role="ADMIN",
            since="2020-01-01",
            until=world.value("SELECT now() + interval '1 second'"),
        )

    assert_refused(
        shared_database.owner_url,
        "plain",
        "approved_by_another",
        lambda world: world.act("asked", "APPROVE", "admin"),
        given=given,
    )


def _merged_into(name: str, remaining: str) -> Attempt:
    """Ask for an expense of `admin`, whose account is then merged into another one, through a third."""

    def given(world: GuardWorld) -> None:
        _requested("EXPENSE", "payer", "person", name)(world)
        for before, after in ((name, "between"), ("between", remaining)):
            if after not in world.ids:
                world.collective(after, "USER")
            world.run("SET LOCAL session_replication_role = replica")
            world.run("ALTER TABLE public.collective DISABLE TRIGGER merge_guard")
            world.run(
                "UPDATE public.collective SET merged_into_id = %s, archived_at = now() WHERE id = %s",
                world.ids[after],
                world.ids[before],
            )
            world.run("ALTER TABLE public.collective ENABLE ALWAYS TRIGGER merge_guard")
            world.run("SET LOCAL session_replication_role = origin")

    return given


def test_a_person_decides_nothing_that_an_account_merged_into_it_asked_for(shared_database: Database) -> None:
    assert_refused(
        shared_database.owner_url,
        "plain",
        "approved_by_another",
        lambda world: world.act("asked", "APPROVE", "remaining"),
        given=_merged_into("admin", "remaining"),
    )


@pytest.mark.parametrize("asked", [99, 100])
def test_an_expense_is_approved_for_the_sum_of_its_items(shared_database: Database, asked: int) -> None:
    def given(world: GuardWorld) -> None:
        world.order("asked", "EXPENSE", "payer", "payee")
        world.insert(
            "order_item",
            order_id=world.ids["asked"],
            position=1,
            description="Tea",
            amount=100,
        )

    def attempt(world: GuardWorld) -> None:
        world.run(
            "UPDATE public.\"order\" SET status = 'APPROVED', approved_amount = %s WHERE id = %s",
            asked,
            world.ids["asked"],
        )

    if asked == 100:
        with guard_world(shared_database.owner_url) as world:
            given(world)
            attempt(world)
    else:
        assert_refused(shared_database.owner_url, "plain", "expense_items_add_up", attempt, given=given)


@pytest.mark.parametrize("name", ["the payee of an expense", "the volunteer", "who redeems, paying"])
def test_others_decide(shared_database: Database, name: str) -> None:
    kind, _, given = INTERESTS[name]

    def attempt(world: GuardWorld) -> None:
        given(world)
        world.act("asked", kind, "second-admin")

    assert_accepted(shared_database.owner_url, attempt)


# Settled orders


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", ["PAID", "REFUNDED"])
def test_a_paid_order_has_its_transaction(shared_database: Database, status: str, mode: str) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "paid_order_has_transaction",
        _order("DONATION", "payer", "payee", status=status),
    )


def _paid(world: GuardWorld) -> None:
    order_id = world.order("paid", "TRANSFER", "payer", "payee")
    legs = [("host", "payer", "USD", "BALANCE", -100), ("host", "payee", "USD", "BALANCE", 100)]
    world.post(legs, **world.inside("payer", "payee", -100), order_id=order_id)
    world.run("UPDATE public.\"order\" SET status = 'PAID' WHERE id = %s", order_id)


@pytest.mark.parametrize("mode", MODES)
def test_the_amount_of_a_paid_order_never_changes(shared_database: Database, mode: str) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "settled_amount",
        lambda world: world.run(
            'UPDATE public."order" SET approved_amount = 1 WHERE id = %s', world.ids["paid"]
        ),
        given=_paid,
    )
