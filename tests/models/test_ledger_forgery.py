"""Postings inserted by hand, even by the owner of the tables: posting_guard refuses wrong ones."""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest

from models import new_id
from tests.conftest import Database
from tests.donation_world import DonationScene, decode_order_id, expect_order
from tests.factories import World
from tests.ledger_history import Books, create_books
from tests.ledger_sql import Leg, expect_refusal, post, transaction_values

ROLES = ["owner", "replica"]
TAIL = """
    SELECT a.book_id, a.id AS account_id, a.seq + 1 AS seq, a.posted, a.last_at FROM ledger_account a
    WHERE owner_id = %s AND kind = 'BALANCE' AND currency = 'USD' FOR UPDATE
"""


@pytest.fixture(scope="module")
async def books(shared: World, shared_database: Database) -> Books:
    """Return books that no test in this file changes."""
    return await create_books(shared, shared_database)


def _new_transaction(connection: psycopg.Connection[Any], books: Books) -> UUID:
    """Insert a transaction row, without postings, in this database transaction."""
    transaction_id = new_id()
    connection.execute(
        "INSERT INTO transaction SELECT (jsonb_populate_record(t, jsonb_build_object('id', %s::uuid,"
        " 'order_id', NULL, 'xid', pg_current_xact_id()::text::bigint))).* FROM transaction t"
        " WHERE id = %s",
        [transaction_id, books.ids["transferred"]],
    )
    return transaction_id


def _tail(connection: psycopg.Connection[Any], books: Books, owner: str) -> dict[str, Any]:
    """Return the next posting of an account, with amount 0."""
    row = connection.execute(TAIL.encode(), [books.ids[owner]]).fetchone()
    assert row is not None
    return {
        "book_id": row[0],
        "account_id": row[1],
        "seq": row[2],
        "balance_after": row[3],
        "at": row[4],
        "currency": "USD",
        "amount": 0,
    }


def _forge(
    connection: psycopg.Connection[Any], books: Books, *, into: UUID | None = None, **wrong: Any
) -> None:
    """Move 1.00 from webpack to babel in plain SQL, with `wrong` added to babel's posting.

    The accounts are updated to match, so that only posting_guard can refuse the postings.
    """
    transaction = into or _new_transaction(connection, books)
    rows = [_tail(connection, books, "webpack"), _tail(connection, books, "babel")]
    for row, amount in zip(rows, (-100, 100), strict=True):
        row |= {"transaction_id": transaction, "amount": amount}
        row["balance_after"] += amount
    for name, change in wrong.items():
        rows[1][name] = change if isinstance(change, str) else rows[1][name] + change
    for row in rows:
        connection.execute(
            "UPDATE ledger_account SET posted = %(balance_after)s, seq = %(seq)s"
            " WHERE book_id = %(book_id)s AND id = %(account_id)s",
            row,
        )
    columns = list(rows[0])
    values = ", ".join(f"({', '.join(f'%({name}{i})s' for name in columns)})" for i in range(2))
    connection.execute(
        f"INSERT INTO posting ({', '.join(columns)}) VALUES {values}".encode(),
        {f"{name}{i}": row[name] for i, row in enumerate(rows) for name in columns},
    )


@pytest.mark.parametrize("role", ROLES)
async def test_correct_postings_may_be_inserted_by_hand(books: Books, role: str) -> None:
    with books.connect(role) as connection:
        _forge(connection, books)
        connection.rollback()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("wrong", "by"),
    [
        ({"amount": 1, "balance_after": 1}, "posting_balanced"),
        ({"currency": "EUR"}, "posting_currency"),
        ({"seq": 1}, "posting_continues_account"),
        ({"seq": -1}, "pk_posting"),
        ({"balance_after": 1}, "posting_continues_account"),
        ({"balance_after": -1}, "posting_continues_account"),
        ({"at": "2000-01-01T00:00:00Z"}, "posting_continues_account"),
        ({"account_id": 10_000}, "posting_currency"),
    ],
    ids=str,
)
async def test_a_wrong_posting_is_refused(books: Books, wrong: dict[str, Any], by: str, role: str) -> None:
    before = await books.world.fingerprint()
    with books.connect(role) as connection, expect_refusal(by):
        _forge(connection, books, **wrong)

    assert await books.world.fingerprint() == before
    await books.world.assert_clean_ledger()


@pytest.mark.parametrize("role", ROLES)
async def test_balanced_postings_cannot_join_an_old_transaction(books: Books, role: str) -> None:
    before = await books.world.fingerprint()
    with books.connect(role) as connection, expect_refusal("posting_of_new_transaction"):
        _forge(connection, books, into=books.ids["transferred"])

    assert await books.world.fingerprint() == before


@pytest.mark.parametrize("role", ROLES)
async def test_a_posting_needs_a_transaction(books: Books, role: str) -> None:
    before = await books.world.fingerprint()
    with books.connect(role) as connection, expect_refusal("posting_of_new_transaction"):
        _forge(connection, books, into=new_id())

    assert await books.world.fingerprint() == before


async def test_a_posting_that_does_not_move_its_account_is_refused(books: Books) -> None:
    before = await books.world.fingerprint()
    with books.connect("owner") as connection, expect_refusal("posting_continues_account"):
        rows = [_tail(connection, books, name) for name in ("webpack", "babel")]
        transaction_id = _new_transaction(connection, books)
        connection.execute(
            "INSERT INTO posting (book_id, account_id, seq, transaction_id, currency, amount,"
            " balance_after, at) SELECT x.book_id, x.account_id, x.seq, %(id)s, 'USD', x.amount,"
            " x.balance_after + x.amount, x.at FROM jsonb_to_recordset(%(rows)s) AS x(book_id uuid,"
            " account_id bigint, seq bigint, amount bigint, balance_after bigint, at timestamptz)",
            {
                "id": transaction_id,
                "rows": psycopg.types.json.Jsonb(
                    [
                        {**row, "amount": amount, "book_id": str(row["book_id"]), "at": row["at"].isoformat()}
                        for row, amount in zip(rows, (-1, 1), strict=True)
                    ]
                ),
            },
        )

    assert await books.world.fingerprint() == before


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("change", "by"),
    [
        ("held = posted + 1", "ck_ledger_account_floor"),
        ("posted = held - 1", "ck_ledger_account_floor"),
        ("floor = posted - held + 1", "ck_ledger_account_floor"),
        ("held = -1", "ck_ledger_account_counts_not_negative"),
        ("seq = -1", "ck_ledger_account_counts_not_negative"),
        ("posted = NULL", "NotNullViolation"),
        ("kind = 'CASH'", "append_only"),
        ("currency = 'EUR'", "append_only"),
        ("owner_id = book_id", "append_only"),
        ("book_id = owner_id", "append_only"),
    ],
)
async def test_an_account_never_falls_below_its_floor_or_changes_identity(
    books: Books, change: str, by: str, role: str
) -> None:
    before = await books.world.fingerprint()
    with books.connect(role) as connection, expect_refusal(by):
        connection.execute(
            f"UPDATE ledger_account SET {change} WHERE owner_id = %s".encode(),
            [books.ids["webpack"]],
        )

    assert await books.world.fingerprint() == before


async def _paid(world: World) -> tuple[DonationScene, UUID, UUID]:
    scene = await DonationScene.create(world)
    order_id = decode_order_id(expect_order(await scene.transfer("10.00")))
    original = await world.scalar("SELECT id FROM transaction WHERE order_id = :id", id=order_id)
    return scene, order_id, original


def _figures(scene: DonationScene, amount: int) -> dict[str, Any]:
    """Return the sides of a payment by webpack to babel."""
    return {
        "from_collective_id": scene.webpack.id,
        "to_collective_id": scene.babel.id,
        "from_host_id": scene.host.id,
        "from_host_currency": "USD",
        "from_host_fx_rate": 1,
        "from_host_amount": -amount,
        "from_collective_currency": "USD",
        "from_collective_fx_rate": 1,
        "from_collective_amount": -amount,
    }


@pytest.mark.parametrize(("second", "fits"), [(-401, False), (-400, True)])
async def test_concurrent_refunds_never_exceed_the_original(
    world: World, database: Database, second: int, *, fits: bool
) -> None:
    scene, order_id, original = await _paid(world)
    await world.fund(scene.babel, "1.00", by=scene.holder)  # so that its balance refuses nothing

    def refund(connection: psycopg.Connection[Any], amount: int) -> None:
        book = scene.host.id
        post(
            connection,
            transaction_values(
                amount,
                kind="REFUND",
                order_id=order_id,
                refund_of_id=original,
                **_figures(scene, amount),
                to_host_id=book,
            ),
            sorted(
                [
                    Leg(book, scene.webpack.id, "USD", "BALANCE", -amount),
                    Leg(book, scene.babel.id, "USD", "BALANCE", amount),
                ]
            ),
        )

    def refund_later(connection: psycopg.Connection[Any]) -> str | None:
        try:
            refund(connection, second)
        except psycopg.Error as error:
            return error.diag.constraint_name
        connection.commit()
        return None

    with psycopg.connect(database.app_url) as one, psycopg.connect(database.app_url) as two:
        refund(one, -600)
        waiting = asyncio.create_task(asyncio.to_thread(refund_later, two))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        one.commit()
        refused_by = await waiting

    assert refused_by == (None if fits else "ck_refund_total_at_most_the_original")
    refunded = await world.scalar("SELECT sum(refunded) FROM refund_total")
    assert refunded == (1000 if fits else 600)
    assert await world.balance(scene.babel) == (1100 - refunded, 0)
    await world.assert_clean_ledger()


async def test_concurrent_transactions_pay_an_order_once(world: World, database: Database) -> None:
    scene = await DonationScene.create(world)
    order_id = decode_order_id(await scene.expense("10.00"))

    columns = _figures(scene, 1000) | {"to_collective_id": scene.payee.user.id}

    def pay(connection: psycopg.Connection[Any]) -> str | None:
        book = scene.host.id
        try:
            post(
                connection,
                transaction_values(1000, kind="EXPENSE", order_id=order_id, **columns),
                sorted(
                    [
                        Leg(book, scene.webpack.id, "USD", "BALANCE", -1000),
                        Leg(book, scene.host.id, "USD", "CASH", 1000),
                    ]
                ),
            )
        except psycopg.Error as error:
            return error.diag.constraint_name
        connection.commit()
        return None

    def run() -> str | None:
        with psycopg.connect(database.app_url) as connection:
            return pay(connection)

    refused_by = await asyncio.gather(*(asyncio.to_thread(run) for _ in range(4)))

    assert sorted(refused_by, key=str) == [None, *["uq_transaction_order_kind"] * 3]
    assert await world.balance(scene.webpack) == (9000, 0)
