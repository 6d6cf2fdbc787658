"""Invalid calls that ledger_post refuses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from models import new_id, now
from tests.conftest import Database
from tests.factories import World
from tests.ledger_history import Books, create_books
from tests.ledger_sql import Leg, expect_refusal, post, transaction_values

MAX = 2**63 - 1
Lines = Callable[[Books], list[Leg]]
Columns = Callable[[Books], dict[str, Any]]


@pytest.fixture(scope="module")
async def books(shared: World, shared_database: Database) -> Books:
    """Return books that no test in this file changes."""
    return await create_books(shared, shared_database)


async def assert_unchanged(books: Books, before: dict[str, Any]) -> None:
    """Assert that no row has changed and that the audit finds no violation."""
    assert await books.world.fingerprint() == before
    await books.world.assert_clean_ledger()


def _moved(books: Books, amount: int) -> list[Leg]:
    return sorted([books.line("webpack", -amount), books.line("babel", amount)])


def inside(books: Books, amount: int, *, from_: str = "webpack", to: str = "babel") -> dict[str, Any]:
    """Return the figures of a movement inside one book, of a kind that needs no order."""
    host = books.ids["opensource"]
    return {
        "kind": "MERGE",
        "from_collective_id": books.ids[from_],
        "to_collective_id": books.ids[to],
        "from_host_id": host,
        "to_host_id": host,
        "from_host_currency": "USD",
        "from_host_amount": -amount,
        "from_host_fx_rate": 1,
        "from_collective_currency": "USD",
        "from_collective_amount": -amount,
        "from_collective_fx_rate": 1,
    }


NOBODY = UUID(int=7)


@dataclass(frozen=True)
class Case:
    """Arguments of ledger_post, and the constraint that refuses them."""

    by: str
    lines: Lines = field(default=lambda b: _moved(b, 100))
    columns: Columns = field(default=lambda _: {})
    amount: int = 100


REFUSED = {
    "one leg alone": Case("transaction_legs", lambda b: [b.line("babel", 100)]),
    "legs that do not balance": Case(
        "transaction_legs", lambda b: sorted([b.line("webpack", -100), b.line("babel", 99)])
    ),
    "legs that balance only over two books": Case(
        "transaction_legs",
        lambda b: sorted([b.line("webpack", -100), b.line("donor", 100, book="elsewhere")]),
    ),
    "legs that balance only over two currencies": Case(
        "transaction_legs",
        lambda b: sorted([b.line("webpack", -100), b.line("babel", 100, currency="EUR")]),
    ),
    "a second unbalanced book behind a balanced one": Case(
        "transaction_legs",
        lambda b: sorted([*_moved(b, 100), b.line("donor", 1, book="elsewhere")]),
    ),
    "no legs at all": Case("transaction_has_postings", lambda _: []),
    "a leg of nothing": Case(
        "ck_posting_amount_not_zero", lambda b: sorted([*_moved(b, 100), b.line("xdamman", 0)])
    ),
    "more than the balance": Case("ck_ledger_account_floor", lambda b: _moved(b, 1401), amount=1401),
    "more than is free of holds": Case("ck_ledger_account_floor", lambda b: _moved(b, 1001), amount=1001),
    "an account that does not exist yet, below zero": Case(
        "ck_ledger_account_floor",
        lambda b: sorted([b.line("xdamman", -100), b.line("babel", 100)]),
        lambda b: {"from_collective_id": b.ids["xdamman"]},
    ),
    "an amount that no balance can hold": Case(
        "NumericValueOutOfRange",
        lambda b: sorted([b.line("opensource", -MAX, kind="CASH"), b.line("babel", MAX)]),
        lambda _: {"kind": "OPENING_BALANCE", "from_collective_id": None, "from_host_id": None},
        amount=MAX,
    ),
    "a sum beyond 64 bits": Case(
        "transaction_legs",
        lambda b: sorted([b.line("xdamman", MAX), b.line("gone", MAX)]),
    ),
    "legs not sorted by account": Case("ledger_leg_order", lambda b: _moved(b, 100)[::-1]),
    "an unknown kind of account": Case(
        "transaction_legs",
        lambda b: sorted([b.line("webpack", -1), b.line("babel", 1, kind="POCKET")]),
    ),
    "an unknown currency": Case(
        "transaction_legs",
        lambda b: [b.line("webpack", 1, currency="XXQ"), b.line("webpack", -1, currency="XXQ")],
    ),
    "an unknown owner": Case(
        "fk_ledger_account_owner_id",
        lambda b: sorted([b.line("webpack", -1), Leg(b.ids["opensource"], NOBODY, "USD", "BALANCE", 1)]),
        lambda _: {"to_collective_id": NOBODY},
        amount=1,
    ),
    "a second payment of one order": Case(
        "uq_transaction_order_kind", columns=lambda b: {"kind": "TRANSFER", "order_id": b.ids["transfer"]}
    ),
    "an unknown order": Case("transaction_order", columns=lambda _: {"kind": "TRANSFER", "order_id": NOBODY}),
    "a negative amount": Case("ck_transaction_signs", lambda b: _moved(b, -100), amount=-100),
    "a negative fee": Case(
        "transaction_legs",
        columns=lambda _: {"payment_processor_fee": -5, "platform_fee": 5},
    ),
    "fees that do not add up at the host": Case("transaction_legs", columns=lambda _: {"platform_fee": 5}),
    "fees that do not add up at the payee": Case("transaction_legs", columns=lambda _: {"host_fee": 5}),
    "a rate of zero": Case("ck_transaction_fx_rate_positive", columns=lambda _: {"fx_rate": 0}),
    "a refund of another kind": Case(
        "ck_transaction_refund_kind",
        lambda b: _moved(b, -100),
        amount=-100,
        columns=lambda b: {"refund_of_id": b.ids["transferred"], "order_id": b.ids["transfer"]},
    ),
    "a refund of nothing": Case("transaction_order", columns=lambda _: {"kind": "REFUND"}),
    "a refund beyond the original": Case(
        "ck_refund_total_at_most_the_original",
        lambda b: _moved(b, -101),
        amount=-101,
        columns=lambda b: {
            "kind": "REFUND",
            "refund_of_id": b.ids["transferred"],
            "order_id": b.ids["transfer"],
        },
    ),
    "a refund beyond what is left": Case(
        "ck_refund_total_at_most_the_original",
        lambda b: _moved(b, -101),
        amount=-101,
        columns=lambda b: {
            "kind": "REFUND",
            "refund_of_id": b.ids["donated"],
            "order_id": b.ids["donation"],
        },
    ),
    "a refund that adds money": Case(
        "ck_transaction_signs",
        columns=lambda b: {
            "kind": "REFUND",
            "refund_of_id": b.ids["transferred"],
            "order_id": b.ids["transfer"],
        },
    ),
    "a refund under another order": Case(
        "refund_of_original",
        lambda b: _moved(b, -1),
        amount=-1,
        columns=lambda b: {
            "kind": "REFUND",
            "refund_of_id": b.ids["transferred"],
            "order_id": b.ids["donation"],
        },
    ),
    "a refund in another currency": Case(
        "transaction_legs",
        amount=-1,
        columns=lambda b: {
            "kind": "REFUND",
            "refund_of_id": b.ids["transferred"],
            "order_id": b.ids["transfer"],
            "currency": "EUR",
        },
    ),
    "a time in the future": Case(
        "ledger_time_in_future", columns=lambda _: {"at": now() + timedelta(minutes=1)}
    ),
}


ATTEMPTS = [
    (name, role)
    for name, case in REFUSED.items()
    for role in ("app", "owner", "replica")
    # A replication session, which only a superuser can open, does not check foreign keys.
    if role != "replica" or not case.by.startswith("fk_")
]


@pytest.mark.parametrize(("name", "role"), ATTEMPTS)
async def test_ledger_post_refuses(books: Books, name: str, role: str) -> None:
    case, before = REFUSED[name], await books.world.fingerprint()
    row = transaction_values(case.amount, **inside(books, case.amount) | case.columns(books))
    with books.connect(role) as connection, expect_refusal(case.by):
        post(connection, row, case.lines(books))

    await assert_unchanged(books, before)


async def test_arrays_of_different_lengths_are_refused(books: Books) -> None:
    before = await books.world.fingerprint()
    with books.connect("app") as connection, pytest.raises(psycopg.Error):
        connection.execute(
            "SELECT ledger_post(jsonb_populate_record(NULL::transaction, %s::jsonb), %s::uuid[],"
            " %s::uuid[], '{USD}', '{BALANCE}', '{-1,1}', NULL)",
            ["{}", [books.ids["opensource"]], [books.ids["webpack"]]],
        )

    await assert_unchanged(books, before)


HOLDS = {
    "more than is free": ("pending", 1001, "ck_ledger_account_floor"),
    "a second time for one order": ("approved", 1, "uq_hold_open"),
    "nothing": ("pending", 0, "ck_hold_amount_positive"),
    "less than nothing": ("pending", -1, "ck_hold_amount_positive"),
    "less than nothing, to free another's hold": (
        "pending",
        -401,
        "ck_ledger_account_counts_not_negative",
    ),
    "for no order": (None, 1, "fk_hold_order_id"),
    "beyond 64 bits": ("pending", MAX, "NumericValueOutOfRange"),
}


@pytest.mark.parametrize("name", HOLDS)
async def test_a_hold_is_refused(books: Books, name: str) -> None:
    order, amount, by = HOLDS[name]
    before = await books.world.fingerprint()
    with books.connect("app") as connection, expect_refusal(by):
        connection.execute(
            "SELECT ledger_hold(%s, %s, %s, 'USD', %s)",
            [books.ids[order] if order else new_id(), books.ids["opensource"], books.ids["webpack"], amount],
        )

    await assert_unchanged(books, before)


async def test_accepted_postings_continue_their_accounts(books: Books) -> None:
    before = await books.world.fingerprint()
    lines = _moved(books, 1000)
    with books.connect("app") as connection:
        row = transaction_values(1000, **inside(books, 1000))
        at = post(connection, row, lines)
        rows = connection.execute(
            "SELECT p.seq = a.seq, p.balance_after = a.posted, p.at, a.last_at FROM posting p"
            " JOIN ledger_account a ON a.book_id = p.book_id AND a.id = p.account_id"
            " WHERE transaction_id = %s",
            [row["id"]],
        ).fetchall()
        connection.rollback()

    assert rows == [(True, True, at, at)] * 2
    await assert_unchanged(books, before)


async def test_an_imported_time_is_never_before_the_last_posting_of_an_account(
    books: Books,
) -> None:
    before, old = await books.world.fingerprint(), now() - timedelta(days=400)
    with books.connect("app") as connection:
        (last,) = connection.execute(
            "SELECT last_at FROM ledger_account WHERE owner_id = %s AND kind = 'BALANCE'",
            [books.ids["webpack"]],
        ).fetchone() or (None,)
        row = transaction_values(100, at=old, **inside(books, 100, to="xdamman"))
        post(
            connection, row, sorted([books.line("webpack", -100), books.line("xdamman", 100)])
        )  # xdamman has no account in this book yet
        times = connection.execute(
            "SELECT owner_id, p.at FROM posting p JOIN ledger_account a ON a.book_id = p.book_id"
            " AND a.id = p.account_id WHERE transaction_id = %s",
            [row["id"]],
        ).fetchall()
        (counted, recorded) = connection.execute(
            "SELECT at, created_at FROM transaction WHERE id = %s", [row["id"]]
        ).fetchone() or (None, None)
        connection.rollback()

    # The transaction follows the last posting of its sides, and its postings have its time.
    assert dict(times) == {books.ids["webpack"]: last, books.ids["xdamman"]: last}
    assert counted == last
    assert recorded is not None
    assert recorded > last
    await assert_unchanged(books, before)


async def test_a_posting_is_never_earlier_than_the_last_one_of_its_account(
    books: Books,
) -> None:
    before, ahead = await books.world.fingerprint(), now() + timedelta(seconds=50)
    with books.connect("owner") as connection:
        connection.execute(
            "UPDATE ledger_account SET last_at = %s WHERE owner_id = %s",
            [ahead, books.ids["webpack"]],
        )
        at = post(connection, transaction_values(100, **inside(books, 100)), _moved(books, 100))
        connection.rollback()

    assert at == ahead + timedelta(microseconds=1)
    await assert_unchanged(books, before)


async def test_a_hold_is_released_once(books: Books) -> None:
    before = await books.world.fingerprint()
    held = b"SELECT held FROM ledger_account WHERE owner_id = %s AND kind = 'BALANCE'"
    with books.connect("app") as connection:
        balances = []
        for _ in range(2):
            connection.execute("SELECT ledger_release(%s)", [books.ids["approved"]])
            balances.append(connection.execute(held, [books.ids["webpack"]]).fetchone())
        connection.rollback()

    assert balances == [(0,), (0,)]
    await assert_unchanged(books, before)
