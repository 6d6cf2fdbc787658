"""Each line of the guards of transactions, postings and holds, tried alone in plain SQL."""

import time
from datetime import timedelta
from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import MODES, Attempt, assert_accepted, assert_refused, guard_world
from tests.models.guard_world import ForgedLine, GuardWorld
from tests.models.racing import Race

A = ("host", "payer")
B = ("host", "payee")
OTHER = ("other-host", "distant")
OTHER_CASH = ("other-host", "other-host")


def _forge(*lines: ForgedLine) -> Attempt:
    return lambda world: world.forge(*lines)


PAIR = (ForgedLine(*A, -100), ForgedLine(*B, 100))
OTHER_PAIR = (ForgedLine(*OTHER, -100), ForgedLine(*OTHER_CASH, 100, kind="CASH"))


def _follow_number_only(world: GuardWorld) -> None:
    world.run("UPDATE public.ledger_account SET seq = seq + 1 WHERE kind = 'BALANCE'")
    world.forge(
        ForgedLine(*A, -100, wrong={"balance_after": -100}, moves=False),
        ForgedLine(*B, 100, wrong={"balance_after": 100}, moves=False),
    )


FORGERIES: dict[str, tuple[str, Attempt]] = {
    "an unbalanced book before a balanced one": (
        "posting_balanced",
        _forge(ForgedLine(*A, 100), *OTHER_PAIR),
    ),
    "an unbalanced book after a balanced one": (
        "posting_balanced",
        _forge(*PAIR, ForgedLine(*OTHER, 100)),
    ),
    "two books that balance only together": (
        "posting_balanced",
        _forge(ForgedLine(*A, 100), ForgedLine(*OTHER, -100)),
    ),
    "numbers from zero": (
        "posting_continues_account",
        lambda world: world.forge(
            *(
                ForgedLine(
                    "host", owner, amount, wrong={"seq": -1, "balance_after": amount - 10_000}, moves=False
                )
                for owner, amount in (("payer", -100), ("payee", 100))
            )
        ),
    ),
    "a number ahead of the account": (
        "posting_continues_account",
        _forge(
            ForgedLine(*A, -100, wrong={"seq": 1, "balance_after": -100}, moves=False),
            ForgedLine(*B, 100, wrong={"seq": 1, "balance_after": 100}, moves=False),
        ),
    ),
    "an account that does not follow": (
        "posting_continues_account",
        _follow_number_only,
    ),
    "a running balance that is not": (
        "posting_continues_account",
        _forge(ForgedLine(*A, -100, wrong={"balance_after": 1}), ForgedLine(*B, 100)),
    ),
    "a running balance that the next one mends": (
        "posting_continues_account",
        _forge(
            ForgedLine(*A, -50, wrong={"balance_after": 1}),
            ForgedLine(*A, -50),
            ForgedLine(*B, 100),
        ),
    ),
    "a time before the last posting": (
        "posting_continues_account",
        _forge(ForgedLine(*A, -100, wrong={"at": "2020-01-01T00:00Z"}), ForgedLine(*B, 100)),
    ),
    "another currency than the account's": (
        "posting_currency",
        _forge(
            ForgedLine(*A, -100, wrong={"currency": "EUR"}), ForgedLine(*B, 100, wrong={"currency": "EUR"})
        ),
    ),
    "a transaction that does not exist": (
        "posting_of_new_transaction",
        lambda world: world.forge(*PAIR, into=new_id()),
    ),
    "a transaction of an earlier database transaction": (
        "posting_of_new_transaction",
        lambda world: world.forge(*PAIR, into=world.transaction(xid=3)),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FORGERIES)
def test_forged_postings_are_refused(shared_database: Database, name: str, mode: str) -> None:
    by, attempt = FORGERIES[name]
    assert_refused(shared_database.owner_url, mode, by, attempt)


def test_correct_postings_are_accepted(shared_database: Database) -> None:
    assert_accepted(shared_database.owner_url, _forge(*PAIR, *OTHER_PAIR))


@pytest.mark.parametrize("into_same", [False, True])
def test_ledger_post_leaves_the_guard_on(shared_database: Database, *, into_same: bool) -> None:
    transaction_id = new_id()

    def attempt(world: GuardWorld) -> None:
        world.open_balance("payer", 100, id=transaction_id)
        world.forge(
            ForgedLine(*A, -100, wrong={"balance_after": 1}),
            ForgedLine(*B, 100),
            into=transaction_id if into_same else None,
        )

    assert_refused(shared_database.owner_url, "plain", "posting_continues_account", attempt)


@pytest.mark.parametrize("setting", ["checked", "touched", ""])
def test_a_setting_does_not_turn_the_guard_off(shared_database: Database, setting: str) -> None:
    def attempt(world: GuardWorld) -> None:
        world.run("SELECT set_config('commonweal.posting', %s, true)", setting)
        world.forge(ForgedLine(*A, -100, wrong={"balance_after": 1}), ForgedLine(*B, 100))

    assert_refused(shared_database.owner_url, "plain", "posting_continues_account", attempt)


@pytest.mark.parametrize(
    "lines",
    [
        (ForgedLine(*A, 100), ForgedLine(*OTHER, -100)),
        (ForgedLine(*A, 100), *OTHER_PAIR),
        (*PAIR, ForgedLine(*OTHER, 100)),
        (ForgedLine(*A, -100), *OTHER_PAIR, ForgedLine(*B, 99)),
    ],
)
def test_the_setting_of_the_transaction_itself_lets_nothing_unbalanced_pass(
    shared_database: Database, lines: tuple[ForgedLine, ...]
) -> None:
    def attempt(world: GuardWorld) -> None:
        transaction_id = world.transaction()
        world.run("SELECT set_config('commonweal.posting', %s, true)", str(transaction_id))
        world.forge(*lines, into=transaction_id)

    assert_refused(shared_database.owner_url, "plain", "posting_balanced", attempt)


def test_the_postings_of_a_book_may_come_apart(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        transaction_id = world.transaction()
        world.run("SELECT set_config('commonweal.posting', %s, true)", str(transaction_id))
        world.forge(PAIR[0], *OTHER_PAIR, PAIR[1], into=transaction_id)

    assert_accepted(shared_database.owner_url, attempt)


def test_the_setting_of_another_transaction_does_not_turn_the_guard_off(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        world.run("SELECT set_config('commonweal.posting', %s, true)", str(new_id()))
        world.forge(ForgedLine(*A, -100, wrong={"balance_after": 1}), ForgedLine(*B, 100))

    assert_refused(shared_database.owner_url, "plain", "posting_continues_account", attempt)


# Times


@pytest.mark.parametrize("kind", ["BALANCE", "CASH"])
def test_a_posting_follows_the_last_one_of_each_account(shared_database: Database, kind: str) -> None:
    """The last leg's account is locked by its own update, the others before: both keep the order."""
    with guard_world(shared_database.owner_url) as world:
        ahead = world.value("SELECT clock_timestamp() + interval '30 seconds'")
        world.run(
            "UPDATE public.ledger_account SET last_at = %s WHERE book_id = %s AND kind = %s",
            ahead,
            world.ids["host"],
            kind,
        )
        assert world.open_balance("payer", 100) == ahead + timedelta(microseconds=1)


@pytest.mark.parametrize("kind", ["BALANCE", "CASH"])
def test_an_account_ahead_of_the_clock_takes_no_posting(shared_database: Database, kind: str) -> None:
    def given(world: GuardWorld) -> None:
        world.run(
            "UPDATE public.ledger_account SET last_at = clock_timestamp() + interval '90 seconds'"
            " WHERE book_id = %s AND kind = %s",
            world.ids["host"],
            kind,
        )

    assert_refused(
        shared_database.owner_url,
        "plain",
        "ledger_clock_behind",
        lambda world: world.open_balance("payer", 100),
        given=given,
    )


@pytest.mark.parametrize("releases", [False, True])
def test_the_time_of_postings_is_read_after_the_locks(database: Database, *, releases: bool) -> None:
    with Race(database.owner_url) as race:
        race.commit_world()
        race.first.run("SELECT FROM public.ledger_account FOR NO KEY UPDATE")
        times: list[Any] = []

        def attempt(world: GuardWorld) -> None:
            times.append(world.open_balance("payer", 100, release=new_id() if releases else None))

        started = time.time()
        assert race.outcome(attempt, hold_seconds=0.3) is None
        assert times[0].timestamp() > started + 0.3


def test_two_legs_on_the_last_account_are_numbered_in_their_order(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        transaction_id = new_id()
        world.post(
            [
                ("host", "host", "USD", "CASH", -100),
                ("host", "payer", "USD", "BALANCE", -200),
                ("host", "payer", "USD", "BALANCE", 300),
            ],
            id=transaction_id,
            amount=100,
            kind="OPENING_BALANCE",
            to_collective_id=world.ids["payer"],
            to_host_id=world.ids["host"],
        )
        rows = world.connection.execute(
            "SELECT amount, balance_after FROM posting WHERE transaction_id = %s AND amount <> -100"
            " ORDER BY seq",
            [transaction_id],
        ).fetchall()
    assert rows == [(-200, 9800), (300, 10_100)]


# Holds


@pytest.mark.parametrize("mode", MODES)
def test_a_hold_on_a_new_account_has_a_floor(shared_database: Database, mode: str) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "ck_ledger_account_floor",
        lambda world: world.run(
            "SELECT public.ledger_hold(%s, %s, %s, 'USD', 100)",
            world.ids["asked"],
            world.ids["host"],
            world.ids["business"],
        ),
        given=lambda world: world.order("asked", "EXPENSE", "business", "person"),
    )


HELD = [("EXPENSE", "APPROVED"), ("CASH_OUT", "PENDING"), ("CASH_OUT", "APPROVED"), ("REDEMPTION", "PENDING")]


def _held(kind: str, status: str) -> Attempt:
    def given(world: GuardWorld) -> None:
        columns: dict[str, Any] = {"offer_id": world.ids["offer"]} if kind == "REDEMPTION" else {}
        from_, to = {"REDEMPTION": ("volunteer", "business")}.get(kind, ("payer", "person"))
        world.order("held", kind, from_, to, **columns)
        world.run(
            'UPDATE public."order" SET status = %s WHERE id = %s AND status <> %s',
            status,
            world.ids["held"],
            status,
        )
        world.run(
            "SELECT public.ledger_hold(%s, %s, %s, 'USD', 100)",
            world.ids["held"],
            world.ids["host"],
            world.ids["payer"],
        )

    return given


def _release(world: GuardWorld) -> None:
    world.run("SELECT public.ledger_release(%s)", world.ids["held"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kind", "status"), HELD)
def test_an_open_order_keeps_its_hold(shared_database: Database, kind: str, status: str, mode: str) -> None:
    assert_refused(shared_database.owner_url, mode, "hold_of_open_order", _release, given=_held(kind, status))


@pytest.mark.parametrize("mode", MODES)
def test_a_payment_does_not_release_the_hold_of_another_order(shared_database: Database, mode: str) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "hold_of_open_order",
        lambda world: world.open_balance("payer", 100, release=world.ids["held"]),
        given=_held("EXPENSE", "APPROVED"),
    )


@pytest.mark.parametrize("status", ["REJECTED", "CANCELLED"])
def test_a_closed_order_gives_its_hold_back(shared_database: Database, status: str) -> None:
    def attempt(world: GuardWorld) -> None:
        _held("EXPENSE", "APPROVED")(world)
        _release(world)
        world.run('UPDATE public."order" SET status = %s WHERE id = %s', status, world.ids["held"])

    assert_accepted(shared_database.owner_url, attempt)
