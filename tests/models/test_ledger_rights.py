"""Statements that the application's role, and some that even the owner of the tables, may not execute."""

from typing import Any

import pytest

from models.enums import OrderStatus
from services.database.engine import APP_ROLE
from tests.conftest import Database
from tests.factories import World
from tests.ledger_history import Books, create_books
from tests.ledger_sql import expect_refusal

FORBIDDEN = "InsufficientPrivilege"
APPEND_ONLY = (
    "transaction",
    "posting",
    "order_action",
    "fx_rate",
    "platform_policy",
    "idempotency",
)
NEVER_DELETED = ("collective", "order", "ledger_account", "hold", "refund_total", "currency")
WRITTEN_BY_FUNCTIONS = ("transaction", "posting", "ledger_account", "hold", "refund_total")


@pytest.fixture(scope="module")
async def books(shared: World, shared_database: Database) -> Books:
    """Return books that no test in this file changes, with a row in every append-only table."""
    books = await create_books(shared, shared_database)
    await shared.rate("EUR", "USD", "1.1")
    await shared.platform_fee(100)
    await books.scene.donate("1.00", idempotencyKey="once")
    return books


async def refuses(books: Books, role: str, statement: str, *, by: str, **values: Any) -> None:
    """Assert that the database refuses a statement and that nothing has changed."""
    before = await books.world.fingerprint()
    with books.connect(role) as connection, expect_refusal(by):
        connection.execute(statement.encode(), values)

    assert await books.world.fingerprint() == before
    await books.world.assert_clean_ledger()


def _assignment(table: str) -> str:
    return {
        "transaction": "description = 'x'",
        "posting": "amount = amount + 1",
        "order_action": "reason = 'x'",
        "fx_rate": "rate = 2",
        "idempotency": "key = key || 'x'",
        "platform_policy": "platform_fee_bps = 0",
        "collective": "slug = slug",
        "currency": "exponent = 1",
        "hold": "amount = 1",
        "refund_total": "refunded = 1",
        "ledger_account": "posted = posted + 1",
    }[table]


@pytest.mark.parametrize("role", ["owner", "replica"])
@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE", "TRUNCATE"])
async def test_append_only_tables_hold_even_against_the_owner(
    books: Books, verb: str, table: str, role: str
) -> None:
    statement = {
        "UPDATE": f'UPDATE "{table}" SET {_assignment(table)}',
        "DELETE": f'DELETE FROM "{table}"',
        "TRUNCATE": f'TRUNCATE "{table}" CASCADE',
    }[verb]
    await refuses(books, role, statement, by="append_only")


@pytest.mark.parametrize("role", ["owner", "replica"])
@pytest.mark.parametrize("table", NEVER_DELETED)
@pytest.mark.parametrize("verb", ["DELETE FROM", "TRUNCATE"])
async def test_rows_that_the_ledger_refers_to_are_never_deleted(
    books: Books, verb: str, table: str, role: str
) -> None:
    # A cascade may meet the guard of another table first.
    cascade = " CASCADE" if verb == "TRUNCATE" else ""
    await refuses(books, role, f'{verb} "{table}"{cascade}', by="append_only")


@pytest.mark.parametrize("table", sorted({*APPEND_ONLY, *NEVER_DELETED}))
@pytest.mark.parametrize("verb", ["DELETE FROM", "TRUNCATE"])
async def test_the_application_deletes_no_history(books: Books, verb: str, table: str) -> None:
    await refuses(books, "app", f'{verb} "{table}"', by=FORBIDDEN)


@pytest.mark.parametrize("table", sorted({*APPEND_ONLY, *WRITTEN_BY_FUNCTIONS, "currency"}))
async def test_the_application_does_not_update_the_ledger(books: Books, table: str) -> None:
    await refuses(books, "app", f'UPDATE "{table}" SET {_assignment(table)}', by=FORBIDDEN)


@pytest.mark.parametrize("table", [*WRITTEN_BY_FUNCTIONS, "currency"])
async def test_the_application_does_not_insert_into_the_ledger(books: Books, table: str) -> None:
    statement = f'INSERT INTO "{table}" OVERRIDING SYSTEM VALUE SELECT * FROM "{table}" LIMIT 1'
    await refuses(books, "app", statement, by=FORBIDDEN)


@pytest.mark.parametrize("column", ["posted", "held", "seq", "floor", "currency", "last_at"])
async def test_the_application_changes_no_account(books: Books, column: str) -> None:
    await refuses(books, "app", f"UPDATE ledger_account SET {column} = DEFAULT", by=FORBIDDEN)


@pytest.mark.parametrize(
    "column",
    [
        "id",
        "type",
        "currency",
        "to_id",
        "created_by_id",
        "created_at",
        "fees_payer",
        "platform_fee_bps",
        "has_public_side",
        "import_key",
    ],
)
async def test_the_terms_of_an_order_never_change(books: Books, column: str) -> None:
    await refuses(books, "app", f'UPDATE "order" SET {column} = {column}', by=FORBIDDEN)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE posting DISABLE TRIGGER ALL",
        "ALTER TABLE posting DISABLE TRIGGER posting_guard",
        "ALTER TABLE ledger_account DROP CONSTRAINT ck_ledger_account_floor",
        "ALTER TABLE posting OWNER TO " + APP_ROLE,
        "DROP TRIGGER append_only ON transaction",
        "DROP TABLE posting",
        "CREATE OR REPLACE FUNCTION posting_guard() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TABLE mine (id int)",
        "CREATE RULE quiet AS ON INSERT TO posting DO INSTEAD NOTHING",
        "CREATE TRIGGER quiet BEFORE INSERT ON posting EXECUTE FUNCTION refuse_change()",
        "SET session_replication_role = replica",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER ROLE commonweal_app SUPERUSER",
        "COPY posting FROM STDIN",
        "COPY transaction FROM STDIN",
        "COPY ledger_account FROM STDIN",
        "COPY posting TO PROGRAM 'cat'",
        "COPY posting FROM '/etc/hostname'",
        "SELECT pg_read_file('/etc/hostname')",
        "SELECT setval('ledger_account_id_seq', 1)",
        "LOCK TABLE posting IN ACCESS EXCLUSIVE MODE",
        "UPDATE pg_trigger SET tgenabled = 'D'",
        "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION refuse_change()",
    ],
)
async def test_the_application_cannot_remove_a_guard(books: Books, statement: str) -> None:
    await refuses(books, "app", statement, by=FORBIDDEN)


async def test_a_temporary_table_cannot_shadow_a_ledger_table(books: Books) -> None:
    before = await books.world.fingerprint()
    with books.connect("app") as connection:
        connection.execute("CREATE TEMP TABLE ledger_account (LIKE public.ledger_account)")
        connection.execute("CREATE TEMP TABLE hold (LIKE public.hold)")
        with expect_refusal("ck_ledger_account_floor"):
            connection.execute(
                "SELECT ledger_hold(%s, %s, %s, 'USD', 100000)",
                [books.ids["pending"], books.ids["opensource"], books.ids["webpack"]],
            )

    assert await books.world.fingerprint() == before


LEGAL = {
    ("PENDING", "APPROVED"),
    ("PENDING", "REJECTED"),
    ("PENDING", "PAID"),
    ("PENDING", "CANCELLED"),
    ("PENDING", "EXPIRED"),
    ("PENDING", "FAILED"),
    ("APPROVED", "PAID"),
    ("APPROVED", "REJECTED"),
    ("APPROVED", "CANCELLED"),
    ("APPROVED", "FAILED"),
    ("APPROVED", "PENDING"),  # of an expense that is edited
    ("PAID", "REFUNDED"),
}
PAIRS = [(before, after) for before in OrderStatus for after in OrderStatus if after != before]


@pytest.mark.parametrize("role", ["app", "owner", "replica"])
async def test_the_status_of_an_order_changes_only_as_allowed(books: Books, role: str) -> None:
    before = await books.world.fingerprint()
    copied = (
        "INSERT INTO \"order\" SELECT (jsonb_populate_record(o, jsonb_build_object('id',"
        " gen_random_uuid(), 'status', %s::text))).* FROM \"order\" o WHERE id = %s RETURNING id"
    )
    with books.connect(role) as connection:
        allowed = set()
        for from_status, to_status in PAIRS:
            row = connection.execute(copied.encode(), [from_status, books.ids["pending"]]).fetchone()
            assert row is not None
            change = [to_status, row[0]]
            if (from_status, to_status) in LEGAL:
                connection.execute('UPDATE "order" SET status = %s WHERE id = %s', change)
                allowed.add((from_status, to_status))
                continue
            with expect_refusal("order_status_transition"), connection.transaction():
                connection.execute('UPDATE "order" SET status = %s WHERE id = %s', change)
        connection.rollback()

    assert allowed == LEGAL
    assert await books.world.fingerprint() == before


@pytest.mark.parametrize("role", ["app", "owner", "replica"])
@pytest.mark.parametrize("side", ["from_id", "to_id"])
@pytest.mark.parametrize("closed", ["gone", "meetup"])
async def test_no_order_has_an_archived_side_or_an_event(
    books: Books, closed: str, side: str, role: str
) -> None:
    await refuses(
        books,
        role,
        "INSERT INTO \"order\" SELECT (jsonb_populate_record(o, jsonb_build_object('id',"
        f" gen_random_uuid(), '{side}', %(id)s::text))).* FROM \"order\" o WHERE id = %(order)s",
        by="order_sides_open",
        id=books.ids[closed],
        order=books.ids["pending"],
    )


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ({"amount": 0}, "ck_order_amount_positive"),
        ({"amount": -1}, "ck_order_amount_positive"),
        ({"approved_amount": 0}, "ck_order_approved_amount_positive"),
        ({"currency": "XXQ"}, "expense_currency"),
        ({"status": "DONE"}, "ck_order_status_known"),
        ({"type": "GIFT"}, "ck_order_type_known"),
        ({"host_fee_bps": 10_001}, "ck_order_host_fee_bps_range"),
        ({"platform_fee_bps": -1}, "ck_order_platform_fee_bps_range"),
    ],
)
async def test_invalid_orders_are_refused(books: Books, change: dict[str, Any], by: str) -> None:
    ((name, value),) = change.items()
    await refuses(
        books,
        "app",
        "INSERT INTO \"order\" SELECT (jsonb_populate_record(o, jsonb_build_object('id',"
        f" gen_random_uuid(), '{name}', to_jsonb(%(value)s::"
        f'{"text" if isinstance(value, str) else "int"})))).* FROM "order" o WHERE id = %(id)s',
        by=by,
        value=value,
        id=books.ids["pending"],
    )


async def test_payer_and_payee_of_an_order_differ(books: Books) -> None:
    await refuses(
        books,
        "app",
        "INSERT INTO \"order\" SELECT (jsonb_populate_record(o, jsonb_build_object('id',"
        " gen_random_uuid(), 'to_id', o.from_id))).* FROM \"order\" o WHERE id = %(id)s",
        by="ck_order_two_sides",
        id=books.ids["pending"],
    )
