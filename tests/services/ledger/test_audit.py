"""Every check of the audit finds its violation: each is caused with the guards off, then rolled back."""

from dataclasses import dataclass

import pytest
from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.core import database_urls
from services.database import engine as database_engine
from services.ledger import audit
from services.ledger.audit_checks import CHECKS
from tests.conftest import Database
from tests.factories import World
from tests.ledger_history import Books, create_books

FIRST_TWO = (
    "FROM (SELECT p.book_id, p.account_id, p.seq, p.transaction_id, lead(p.transaction_id) OVER w AS"
    " next, lag(p.transaction_id) OVER w AS previous FROM posting p JOIN ledger_account a ON"
    " a.book_id = p.book_id AND a.id = p.account_id WHERE a.owner_id = :webpack AND"
    " a.kind = 'BALANCE' AND p.seq <= 2 WINDOW w AS (ORDER BY p.seq)) x"
)
ACCOUNT = "WHERE owner_id = :{} AND kind = 'BALANCE'"
OF_ACCOUNT = (
    "FROM ledger_account a WHERE a.book_id = p.book_id AND a.id = p.account_id"
    " AND a.owner_id = :webpack AND a.kind = 'BALANCE'"
)
COPY = "SELECT (jsonb_populate_record(t, {})).* FROM transaction t WHERE id = :transferred"


@dataclass(frozen=True)
class Damage:
    """Statements that violate a check, and the other checks that they violate too."""

    statements: tuple[str, ...]
    count: int
    guard: str = ""
    also_violated: frozenset[str] = frozenset()


def _no_trigger(table: str) -> str:
    return f'ALTER TABLE "{table}" DISABLE TRIGGER USER'


DAMAGES = {
    "unbalancedTransactions": Damage(
        # Swap two postings of one account between their transactions.
        (
            "UPDATE posting p SET transaction_id = coalesce(x.next, x.previous) "
            f"{FIRST_TWO} WHERE p.book_id = x.book_id AND p.account_id = x.account_id"
            " AND p.seq = x.seq",
        ),
        2,
        _no_trigger("posting"),
        also_violated=frozenset({"figuresNotPosted", "transactionTimes"}),
    ),
    "unbalancedBooks": Damage(
        (f"UPDATE ledger_account SET posted = posted + 1 {ACCOUNT.format('webpack')}",),
        1,
        also_violated=frozenset({"balanceMismatches"}),
    ),
    "balanceMismatches": Damage(
        (
            f"UPDATE ledger_account SET posted = posted + 1 {ACCOUNT.format('webpack')}",
            f"UPDATE ledger_account SET posted = posted - 1 {ACCOUNT.format('babel')}",
        ),
        2,
    ),
    "sequenceGaps": Damage((f"UPDATE ledger_account SET seq = seq + 1 {ACCOUNT.format('webpack')}",), 1),
    "runningBalanceBreaks": Damage(
        (f"UPDATE posting p SET balance_after = balance_after + 1 {OF_ACCOUNT} AND p.seq = 1",),
        2,
        _no_trigger("posting"),
    ),
    "timeReversals": Damage(
        (f"UPDATE posting p SET at = p.at - interval '1 year' {OF_ACCOUNT} AND p.seq = 2",),
        1,
        _no_trigger("posting"),
        also_violated=frozenset({"transactionTimes"}),
    ),
    "lastTimeMismatches": Damage(
        (f"UPDATE ledger_account SET last_at = last_at - interval '1 hour' {ACCOUNT.format('webpack')}",), 1
    ),
    "futureTimes": Damage(
        (f"UPDATE ledger_account SET last_at = now() + interval '2 minutes' {ACCOUNT.format('webpack')}",),
        1,
        also_violated=frozenset({"lastTimeMismatches"}),
    ),
    "currencyMismatches": Damage(
        # An empty account with two postings, so that no book gets out of balance.
        (f"UPDATE ledger_account SET currency = 'EUR' {ACCOUNT.format('passing')}",),
        2,
        _no_trigger("ledger_account"),
    ),
    "overdrafts": Damage(
        (f"UPDATE ledger_account SET floor = posted - held + 1 {ACCOUNT.format('webpack')}",),
        1,
        "ALTER TABLE ledger_account DROP CONSTRAINT ck_ledger_account_floor",
    ),
    "holdMismatches": Damage((f"UPDATE ledger_account SET held = held + 1 {ACCOUNT.format('webpack')}",), 1),
    "strayHolds": Damage(("UPDATE \"order\" SET status = 'REJECTED' WHERE id = :approved",), 1),
    "doubleEmissions": Damage(
        (
            "UPDATE transaction SET kind = 'DONATION' WHERE order_id = :donation"
            " AND kind = 'PAYMENT_PROCESSOR_COVER'",
        ),
        1,
        _no_trigger("transaction") + "; DROP INDEX uq_transaction_order_kind",
        also_violated=frozenset({"orderMismatches"}),
    ),
    "unsettledOrders": Damage(
        ("UPDATE \"order\" SET status = 'REJECTED' WHERE id = :donation",), 1, _no_trigger("order")
    ),
    "paidWithoutTransaction": Damage(("UPDATE \"order\" SET status = 'PAID' WHERE id = :pending",), 1),
    "orderMismatches": Damage(
        ('UPDATE "order" SET approved_amount = 1 WHERE id = :donation',), 1, _no_trigger("order")
    ),
    "clearingMismatches": Damage(
        (
            "INSERT INTO ledger_account (book_id, owner_id, currency, kind, posted)"
            " VALUES (:opensource, :webpack, 'JPY', 'CLEARING', 5)",
        ),
        1,
        also_violated=frozenset({"unbalancedBooks", "balanceMismatches"}),
    ),
    "figuresNotPosted": Damage(
        ("UPDATE transaction SET to_collective_id = :passing WHERE id = :transferred",),
        1,
        _no_trigger("transaction"),
    ),
    "toCollectiveAboveAmount": Damage(
        ("UPDATE transaction SET to_collective_amount = amount + 1 WHERE id = :transferred",),
        1,
        _no_trigger("transaction"),
        also_violated=frozenset({"unsoundFigures", "figuresNotPosted"}),
    ),
    "transactionTimes": Damage(
        ("UPDATE transaction SET at = at + interval '1 second' WHERE id = :transferred",),
        1,
        _no_trigger("transaction"),
    ),
    "overRefunds": Damage(("UPDATE refund_total SET refunded = refunded + 1",), 1),
    "raisedMismatches": Damage(
        (
            "UPDATE raised_total SET raised_minor = raised_minor + 1"
            " WHERE subject_id = (SELECT min(subject_id::text)::uuid FROM raised_total)",
        ),
        1,
    ),
    "unsoundFigures": Damage(
        ("UPDATE transaction SET host_fee = host_fee + 1 WHERE id = :transferred",),
        1,
        _no_trigger("transaction"),
        also_violated=frozenset({"figuresNotPosted"}),
    ),
    "emptyTransactions": Damage(
        (
            "INSERT INTO transaction "
            + COPY.format("jsonb_build_object('id', gen_random_uuid(), 'order_id', NULL)"),
        ),
        1,
        also_violated=frozenset({"orderMismatches", "figuresNotPosted"}),
    ),
    "danglingParties": Damage(
        ("UPDATE transaction SET to_collective_id = gen_random_uuid() WHERE id = :transferred",),
        1,
        _no_trigger("transaction"),
        also_violated=frozenset({"figuresNotPosted"}),
    ),
}

# Other ways to violate the same checks.
OTHER_DAMAGES = {
    "strayHolds: an approved expense without its hold": (
        "strayHolds",
        Damage(
            (
                "UPDATE hold SET released_at = now() WHERE order_id = :approved",
                f"UPDATE ledger_account SET held = 0 {ACCOUNT.format('webpack')}",
            ),
            1,
        ),
    ),
    "unsettledOrders: a transaction of a pending order": (
        "unsettledOrders",
        Damage(
            (
                "INSERT INTO transaction "
                + COPY.format("jsonb_build_object('id', gen_random_uuid(), 'order_id', :pending)"),
            ),
            1,
            also_violated=frozenset({"emptyTransactions", "figuresNotPosted"}),
        ),
    ),
    "unsoundFigures: a payer that gives more than the amount": (
        "unsoundFigures",
        Damage(
            ("UPDATE transaction SET from_host_amount = from_host_amount - 1 WHERE id = :transferred",),
            1,
            _no_trigger("transaction"),
        ),
    ),
    "unsoundFigures: a paying side without its rate": (
        "unsoundFigures",
        Damage(
            ("UPDATE transaction SET from_host_fx_rate = NULL WHERE id = :transferred",),
            1,
            _no_trigger("transaction"),
        ),
    ),
    "unsoundFigures: a gross that is not the amount at its rate": (
        "unsoundFigures",
        Damage(
            (
                "UPDATE transaction SET gross = gross + 1, to_host_amount = to_host_amount + 1,"
                " host_fee = host_fee + 1 WHERE id = :transferred",
            ),
            1,
            _no_trigger("transaction"),
            also_violated=frozenset({"figuresNotPosted"}),
        ),
    ),
    "emptyTransactions: a posting without a transaction": (
        "emptyTransactions",
        Damage(
            ("DELETE FROM transaction WHERE order_id IS NULL OR id = :transferred",),
            1,
            _no_trigger("transaction"),
            also_violated=frozenset({"paidWithoutTransaction"}),
        ),
    ),
    "currencyMismatches: a posting on no account": (
        "currencyMismatches",
        Damage(
            (f"DELETE FROM ledger_account {ACCOUNT.format('passing')}",),
            2,
            _no_trigger("ledger_account"),
            also_violated=frozenset({"figuresNotPosted"}),
        ),
    ),
    "overRefunds: more than the whole": (
        "overRefunds",
        Damage(
            (
                "UPDATE refund_total SET refunded = amount + 1",
                "UPDATE transaction SET amount = -201 WHERE kind = 'REFUND'",
            ),
            1,
            _no_trigger("transaction")
            + "; ALTER TABLE refund_total DROP CONSTRAINT ck_refund_total_at_most_the_original",
            also_violated=frozenset({"raisedMismatches"}),
        ),
    ),
    "overRefunds: a total without refunds": (
        "overRefunds",
        Damage(("INSERT INTO refund_total VALUES (:transferred, 100, 100)",), 1),
    ),
    "overRefunds: refunds without a total": (
        "overRefunds",
        Damage(("DELETE FROM refund_total",), 1, _no_trigger("refund_total")),
    ),
    "sequenceGaps: a posting is missing": (
        "sequenceGaps",
        Damage(
            (f"DELETE FROM posting p USING {OF_ACCOUNT.removeprefix('FROM ')} AND p.seq = 1",),
            1,
            _no_trigger("posting"),
            also_violated=frozenset(
                {"unbalancedTransactions", "balanceMismatches", "runningBalanceBreaks", "figuresNotPosted"}
            ),
        ),
    ),
    "transactionTimes: earlier than its postings": (
        "transactionTimes",
        Damage(
            (
                "UPDATE transaction SET at = at - interval '1 second',"
                " created_at = created_at - interval '1 hour' WHERE id = :transferred",
            ),
            1,
            _no_trigger("transaction"),
        ),
    ),
    "orderMismatches: without its order": (
        "orderMismatches",
        Damage(
            ("UPDATE transaction SET order_id = NULL WHERE id = :transferred",),
            1,
            _no_trigger("transaction"),
            also_violated=frozenset({"paidWithoutTransaction"}),
        ),
    ),
}


@pytest.fixture(scope="module")
async def books(shared: World, shared_database: Database) -> Books:
    """Return books without violations; each test rolls its damage back."""
    return await create_books(shared, shared_database)


async def violations_after(books: Books, damage: Damage) -> dict[str, int]:
    """Do the damage as the owner, run the audit and roll back; return the violations by check."""
    engine = create_async_engine(database_urls.to_psycopg_url(books.database.owner_url))
    try:
        async with database_engine.session_factory(engine)() as session:
            for statement in filter(None, damage.guard.split("; ")):
                await session.execute(text(statement))
            for statement in damage.statements:
                result = await session.execute(text(statement), books.ids)
                assert isinstance(result, CursorResult)
                assert result.rowcount > 0, statement
            report = await audit.run_audit(session)
            await session.rollback()
    finally:
        await engine.dispose()
    assert report.is_clean == (report.violations == 0)
    return {check.name: check.violations for check in report.checks if check.violations}


def test_every_check_has_a_damage() -> None:
    assert DAMAGES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", DAMAGES)
async def test_the_audit_counts_the_violations_of_each_check(books: Books, name: str) -> None:
    damage = DAMAGES[name]
    result = await violations_after(books, damage)

    assert result.keys() == {name} | damage.also_violated
    assert result[name] == damage.count
    await books.world.assert_clean_ledger()


@pytest.mark.parametrize("name", OTHER_DAMAGES)
async def test_the_audit_counts_other_violations_of_a_check(books: Books, name: str) -> None:
    check, damage = OTHER_DAMAGES[name]
    result = await violations_after(books, damage)

    assert result.keys() == {check} | damage.also_violated
    assert result[check] == damage.count
    await books.world.assert_clean_ledger()


async def test_undamaged_books_have_no_violation(books: Books) -> None:
    assert await violations_after(books, Damage(("UPDATE refund_total SET amount = amount",), 0)) == {}


async def test_the_audit_of_an_empty_ledger_is_clean(world: World) -> None:
    await world.assert_clean_ledger()
