"""Each line of the guards of clearing and settlements, tried alone in plain SQL."""

from typing import Any

import psycopg
import pytest

from tests.conftest import Database
from tests.ledger_sql import expect_refusal
from tests.models.guard_cases import MODES, assert_accepted, assert_refused, guard_world
from tests.models.guard_world import GuardWorld
from tests.models.racing import Race

BEYOND = "ck_ledger_account_clearing_limit"
ACCOUNT = (
    "SELECT posted, floor, credit_limit FROM public.ledger_account"
    " WHERE book_id = %s AND owner_id = %s AND currency = %s AND kind = 'CLEARING'"
)


def set_limit(
    world: GuardWorld, amount: int, *, by: str = "other-host", of: str = "host", currency: str = "USD"
) -> None:
    """Let a host allow another to owe it an amount, in minor units."""
    call = "SELECT public.ledger_set_clearing_limit(%s, %s, %s, %s)"
    world.run(call, world.ids[by], world.ids[of], currency, amount)


def give(world: GuardWorld, amount: int) -> None:
    """Give from the payer at `host` to the distant collective at `other-host`."""
    order_id = world.order(f"gift-{len(world.ids)}", "TRANSFER", "payer", "distant", amount)
    world.post(
        [
            ("host", "payer", "USD", "BALANCE", -amount),
            ("host", "other-host", "USD", "CLEARING", amount),
            ("other-host", "host", "USD", "CLEARING", -amount),
            ("other-host", "distant", "USD", "BALANCE", amount),
        ],
        order_id=order_id,
        **world.inside("payer", "distant", -amount) | {"to_host_id": world.ids["other-host"]},
    )


def settle(
    world: GuardWorld, amount: int, *, from_: str = "host", to: str = "other-host", **wrong: Any
) -> None:
    """Settle an amount from host to host, in the same currency."""
    name = f"settlement-{len(world.ids)}"
    order_id = world.order(name, "SETTLEMENT", from_, to, wrong.pop("ordered", amount))
    covers, paid = wrong.pop("covers", "CLEARING"), wrong.pop("paid", amount)
    world.insert("settlement", order_id=order_id, reference="R", paid_minor=paid, covers=covers)
    sides = {"from_collective_id": from_, "from_host_id": from_, "to_collective_id": to, "to_host_id": to}
    columns: dict[str, Any] = {
        **{name: world.ids[side] for name, side in sides.items()},
        "kind": "SETTLEMENT",
        "from_host_currency": "USD",
        "from_host_amount": -amount,
        "from_host_fx_rate": 1,
        "from_collective_currency": "USD",
        "from_collective_amount": -amount,
        "from_collective_fx_rate": 1,
    }
    columns |= {name: world.ids.get(value, value) for name, value in wrong.items()}
    legs = [
        (from_, to, "USD", "CLEARING", -amount),
        (from_, from_, "USD", "CASH", amount),
        (to, from_, "USD", "CLEARING", amount),
        (to, to, "USD", "CASH", -amount),
    ]
    if columns["kind"] == "PLATFORM_FEE_SETTLEMENT":
        legs[0] = (from_, "platform", "USD", "BALANCE", -amount)
        legs[2] = (to, "platform", "USD", "BALANCE", amount)
    world.post(legs, order_id=order_id, **columns)


def clearing(
    world: GuardWorld, *, book: str = "other-host", owner: str = "host", currency: str = "USD"
) -> tuple[int, int, int]:
    """Return balance, floor and limit of a host's clearing account."""
    row = world.run(ACCOUNT, world.ids[book], world.ids[owner], currency)
    return int(row[0]), int(row[1]), int(row[2])


# Limits


def test_a_host_allows_nothing_until_it_sets_a_limit(shared_database: Database) -> None:
    assert_refused(shared_database.owner_url, "plain", BEYOND, lambda world: give(world, 1))


@pytest.mark.parametrize("mode", MODES)
def test_no_host_owes_more_than_the_limit(shared_database: Database, mode: str) -> None:
    def given(world: GuardWorld) -> None:
        set_limit(world, 100)
        give(world, 60)

    assert_refused(shared_database.owner_url, mode, BEYOND, lambda world: give(world, 41), given=given)


def test_a_host_owes_up_to_the_limit_and_its_own_limit_does_not_matter(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        set_limit(world, 100)
        give(world, 100)
        assert clearing(world) == (-100, -100, 100)
        assert clearing(world, book="host", owner="other-host") == (100, 0, 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("amount", "of"), [(-1, "host"), (0, "other-host"), (5, "other-host")])
def test_a_limit_is_not_negative_and_between_two_hosts(
    shared_database: Database, amount: int, of: str, mode: str
) -> None:
    def attempt(world: GuardWorld) -> None:
        set_limit(world, amount, of=of)

    assert_refused(shared_database.owner_url, mode, "clearing_limit_valid", attempt)


def test_only_a_host_has_a_clearing_account(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        set_limit(world, 5, by="newcomer")

    assert_refused(shared_database.owner_url, "plain", "host_approved", attempt)


@pytest.mark.parametrize(("currency", "minor"), [("USD", 100_000), ("JPY", 1_000), ("KWD", 1_000_000)])
def test_the_platform_may_owe_each_host_what_the_policy_says(
    shared_database: Database, currency: str, minor: int
) -> None:
    with guard_world(shared_database.owner_url) as world:
        world.collective("foreign", "NONPROFIT", currency=currency, host_id=None)
        world.run("ALTER TABLE public.collective DISABLE TRIGGER USER")
        world.run(
            "UPDATE public.collective SET host_id = id, host_approved_at = now() WHERE id = %s",
            world.ids["foreign"],
        )
        for owner, limit in (("platform", minor), ("host", 0)):
            call = "SELECT public.open_account(%s, %s, %s, 'CLEARING')"
            world.run(call, world.ids["foreign"], world.ids[owner], currency)
            assert clearing(world, book="foreign", owner=owner, currency=currency) == (0, -limit, limit)


def test_in_another_currency_than_the_hosts_the_platform_may_owe_nothing(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        call = "SELECT public.open_account(%s, %s, 'EUR', 'CLEARING')"
        world.run(call, world.ids["host"], world.ids["platform"])
        assert clearing(world, book="host", owner="platform", currency="EUR") == (0, 0, 0)


def test_an_open_account_keeps_its_limit_and_its_balance(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        set_limit(world, 100)
        give(world, 70)
        call = "SELECT public.open_account(%s, %s, 'USD', 'CLEARING')"
        world.run(call, world.ids["other-host"], world.ids["host"])
        assert clearing(world) == (-70, -100, 100)


def test_a_limit_below_the_debt_lets_it_stand_and_follows_every_payment(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        set_limit(world, 100)
        give(world, 60)
        set_limit(world, 10)
        assert clearing(world) == (-60, -60, 10)
        settle(world, 20)
        assert clearing(world) == (-40, -40, 10)
        world.run("SAVEPOINT before")
        with expect_refusal(BEYOND):
            give(world, 1)
        world.run("ROLLBACK TO before")
        settle(world, 35)
        assert clearing(world) == (-5, -10, 10)
        give(world, 5)
        assert clearing(world) == (-10, -10, 10)


@pytest.mark.parametrize("column", ["floor", "credit_limit", "posted", "held"])
def test_the_application_moves_no_limit_by_hand(shared_database: Database, column: str) -> None:
    with psycopg.connect(shared_database.app_url) as connection, expect_refusal("InsufficientPrivilege"):
        connection.execute(f"UPDATE ledger_account SET {column} = 0".encode())


@pytest.mark.parametrize(
    "function", ["open_account(uuid, uuid, text, text)", "clearing_floor(bigint, bigint, bigint, bigint)"]
)
def test_the_application_opens_no_account_by_hand(shared_database: Database, function: str) -> None:
    with psycopg.connect(shared_database.app_url) as connection:
        row = connection.execute("SELECT has_function_privilege(%s, 'EXECUTE')", [function]).fetchone()
        assert row == (False,)


# Settlements


def _owing(world: GuardWorld) -> None:
    """Owe 0.60; each may owe the other more than any test pays, so that no limit refuses it."""
    set_limit(world, 100)
    set_limit(world, 1_000, by="host", of="other-host")
    give(world, 60)


def test_a_settlement_pays_the_debt_in_both_books(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        _owing(world)
        settle(world, 60)
        assert clearing(world)[0] == 0
        assert clearing(world, book="host", owner="other-host")[0] == 0


@pytest.mark.parametrize("mode", MODES)
def test_nobody_settles_more_than_is_owed(shared_database: Database, mode: str) -> None:
    def attempt(world: GuardWorld) -> None:
        settle(world, 61)

    assert_refused(shared_database.owner_url, mode, "settlement_exceeds_debt", attempt, given=_owing)


def test_the_creditor_has_nothing_to_settle(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        settle(world, 1, from_="other-host", to="host")

    assert_refused(shared_database.owner_url, "plain", "settlement_exceeds_debt", attempt, given=_owing)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("from_", "to"),
    [
        ("payer", "other-host"),
        ("host", "distant"),
        ("newcomer", "host"),
        ("host", "newcomer"),
        ("host", "person"),
    ],
)
def test_only_hosts_settle(shared_database: Database, from_: str, to: str, mode: str) -> None:
    def attempt(world: GuardWorld) -> object:
        return world.order("o", "SETTLEMENT", from_, to)

    assert_refused(shared_database.owner_url, mode, "settlement_of_hosts", attempt)


def test_a_settlement_is_in_the_creditors_currency(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> object:
        return world.order("o", "SETTLEMENT", "host", "other-host", currency="EUR")

    assert_refused(shared_database.owner_url, "plain", "order_currency", attempt)


WRONG: dict[str, dict[str, Any]] = {
    "less than ordered": {"ordered": 21},
    "more than ordered": {"ordered": 19},
    "another payment": {"paid": 19},
    "fees with the kind of a debt": {"covers": "PLATFORM_FEES"},
    "a debt with the kind of fees": {"kind": "PLATFORM_FEE_SETTLEMENT"},
    "fees of a host that is not the platform": {
        "kind": "PLATFORM_FEE_SETTLEMENT",
        "covers": "PLATFORM_FEES",
    },
    "fees although a debt is covered": {
        "kind": "PLATFORM_FEE_SETTLEMENT",
        "covers": "CLEARING",
        "to": "platform",
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_a_settlement_moves_what_its_order_says(shared_database: Database, name: str) -> None:
    assert_refused(
        shared_database.owner_url,
        "plain",
        "transaction_order",
        lambda world: settle(world, 20, **WRONG[name]),
        given=_owe_both,
    )


def _owe_fees(world: GuardWorld) -> None:
    """Give the platform a balance in the books of both hosts, as fees do."""
    for change in ("DISABLE", "ENABLE ALWAYS"):
        world.run(f"ALTER TABLE public.transaction {change} TRIGGER transaction_book_guard")
        if change == "DISABLE":
            world.open_balance("platform", 500)
            world.open_balance("platform", 500, book="other-host")


def _owe_both(world: GuardWorld) -> None:
    _owing(world)
    _owe_fees(world)


def test_fees_are_settled_with_the_platform(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        _owe_fees(world)
        settle(world, 20, to="platform", kind="PLATFORM_FEE_SETTLEMENT", covers="PLATFORM_FEES")

    assert_accepted(shared_database.owner_url, attempt)


@pytest.mark.parametrize("mode", ["plain", "replica"])
@pytest.mark.parametrize(
    ("by", "columns"),
    [
        ("ck_settlement_paid_positive", {"paid_minor": 0}),
        ("ck_settlement_covers_known", {"covers": "ALL"}),
        ("NotNullViolation", {"reference": None}),
    ],
    ids=["paid", "covers", "reference"],
)
def test_the_payment_behind_a_settlement_is_checked(
    shared_database: Database, by: str, columns: dict[str, Any], mode: str
) -> None:
    def attempt(world: GuardWorld) -> None:
        order_id = world.order("o", "SETTLEMENT", "host", "other-host")
        row = {"order_id": order_id, "reference": "R", "paid_minor": 1, "covers": "CLEARING"}
        world.insert("settlement", **row | columns)

    assert_refused(shared_database.owner_url, mode, by, attempt)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "statement", ["UPDATE public.settlement SET paid_minor = 1", "DELETE FROM public.settlement"]
)
def test_the_payment_behind_a_settlement_never_changes(
    shared_database: Database, statement: str, mode: str
) -> None:
    def attempt(world: GuardWorld) -> None:
        world.run(statement)

    assert_refused(shared_database.owner_url, mode, "append_only", attempt)


# Races of two sessions, without the application


def test_two_settlements_of_one_debt_at_once(database: Database) -> None:
    with Race(database.owner_url) as race:
        _owing(race.first)
        race.commit_world()
        settle(race.first, 60)
        assert race.outcome(lambda world: settle(world, 60)) == "settlement_exceeds_debt"


def test_a_gift_waits_for_a_limit_that_is_lowered(database: Database) -> None:
    with Race(database.owner_url) as race:
        _owing(race.first)
        race.commit_world()
        set_limit(race.first, 50)
        assert race.outcome(lambda world: give(world, 10)) == BEYOND


def test_a_limit_that_is_lowered_waits_for_a_gift_and_lets_it_stand(database: Database) -> None:
    with Race(database.owner_url) as race:
        _owing(race.first)
        race.commit_world()
        give(race.first, 40)
        assert race.outcome(lambda world: set_limit(world, 10)) is None
        assert clearing(race.second) == (-100, -100, 10)
