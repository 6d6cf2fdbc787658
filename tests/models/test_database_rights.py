"""Rights and settings of functions and triggers, and limits of what the application's role may change."""

import psycopg
import pytest

from services.database.engine import APP_ROLE
from tests.conftest import Database
from tests.models.guard_cases import MODES, Attempt, assert_accepted, assert_refused

FUNCTIONS = """
    SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = 'public'::regnamespace AND l.lanname IN ('plpgsql', 'sql') AND {}
"""
READS_NO_TABLE = {"transaction_legs(transaction,text,uuid)", "clearing_floor(bigint,bigint,bigint,bigint)"}
"""Functions that see their arguments alone. A setting would keep PostgreSQL from inlining them."""
INTERNAL = (
    "count_refund(transaction)",
    "issuance_guard(uuid, bigint, uuid, bigint, timestamptz)",
    "open_account(uuid, uuid, text, text)",
    "posting_guard()",
    "transaction_guard()",
    "refuse_change()",
    "hold_release_guard()",
)


def _names(database: Database, condition: str) -> set[str]:
    with psycopg.connect(database.owner_url) as connection:
        return {name for (name,) in connection.execute(FUNCTIONS.format(condition).encode()).fetchall()}


def test_every_function_has_its_own_search_path(shared_database: Database) -> None:
    """Otherwise a temporary table named like ours could stand in for it."""
    other = _names(
        shared_database, "p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, public, pg_temp']"
    )
    assert other == READS_NO_TABLE


def test_nobody_but_the_owner_executes_a_function_by_default(shared_database: Database) -> None:
    assert _names(shared_database, "has_function_privilege('public', p.oid, 'EXECUTE')") == set()


@pytest.mark.parametrize("function", INTERNAL)
def test_the_application_does_not_execute_parts_of_the_ledger(
    shared_database: Database, function: str
) -> None:
    with psycopg.connect(shared_database.owner_url) as connection:
        row = connection.execute(
            "SELECT has_function_privilege(%s, %s, 'EXECUTE')", [APP_ROLE, function]
        ).fetchone()
    assert row == (False,)


def test_every_guard_fires_always(shared_database: Database) -> None:
    """Also for the owner of the tables and in replication sessions; live events and jobs are no guards."""
    with psycopg.connect(shared_database.owner_url) as connection:
        rows = connection.execute(
            "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
            " AND tgenabled <> 'A' AND tgname NOT LIKE 'live\\_%'"
            " AND tgrelid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'jobs'::regnamespace)"
        ).fetchall()
    assert rows == []


@pytest.mark.parametrize(
    ("trigger", "tables"),
    [
        (
            "append_only",
            {
                *("transaction", "posting", "order_action", "fx_rate", "platform_policy"),
                *("idempotency", "issuance_cap", "live_event", "audit_run"),
            },
        ),
        (
            "never_deleted",
            {
                *("collective", "order", "ledger_account", "hold", "refund_total", "currency"),
                *("offer", "receipt", "redemption", "attendance"),
            },
        ),
    ],
)
def test_history_is_kept(shared_database: Database, trigger: str, tables: set[str]) -> None:
    with psycopg.connect(shared_database.owner_url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE tgname = %s",
            [trigger],
        ).fetchall()
    assert tables <= {name for (name,) in rows}


def test_the_application_makes_no_temporary_tables(template: str, database: Database) -> None:
    """The right belongs to the database: a copy, as most tests use, does not inherit it."""
    with psycopg.connect(database.owner_url) as connection:
        row = connection.execute("SELECT has_database_privilege(%s, %s, 'TEMP')", [APP_ROLE, template])
        assert row.fetchone() == (False,)


# Limits


def _update(change: str, name: str) -> Attempt:
    return lambda world: world.run(f"UPDATE public.collective SET {change} WHERE id = %s", world.ids[name])


LIMITS: dict[str, tuple[str, Attempt]] = {
    "another platform": ("platform_fixed", _update("is_platform = true", "newcomer")),
    "a platform that is none": ("platform_fixed", _update("is_platform = false", "platform")),
    "another currency with a balance": ("collective_without_balance", _update("currency = 'EUR'", "payer")),
    "another currency of a host whose book has money": (
        "collective_without_balance",
        _update("currency = 'EUR'", "host"),
    ),
    "no host with a balance": ("collective_without_balance", _update("host_id = NULL", "payer")),
    "another host with a balance": (
        "collective_without_balance",
        lambda world: world.run(
            "UPDATE public.collective SET host_id = %s WHERE id = %s",
            world.ids["other-host"],
            world.ids["payer"],
        ),
    ),
    "a host without an accepted application": (
        "host_application_accepted",
        _update("host_id = id, host_approved_at = now()", "newcomer"),
    ),
    "the end of a suspension without a newer application": (
        "host_application_accepted",
        lambda world: [
            _update(change, "host")(world)
            for change in (
                "host_suspended_at = now(), host_suspension_reason = 'x'",
                "host_suspended_at = NULL, host_suspension_reason = NULL",
            )
        ],
    ),
    "an archived issuer": (
        "issuer_open",
        _update("archived_at = now(), issuer_approved_at = now()", "newcomer"),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LIMITS)
def test_a_change_is_refused(shared_database: Database, name: str, mode: str) -> None:
    by, attempt = LIMITS[name]
    assert_refused(shared_database.owner_url, mode, by, attempt)


@pytest.mark.parametrize(
    "attempt",
    [
        _update("currency = 'EUR'", "business"),
        _update("host_id = NULL", "euros"),
        _update("issuer_approved_at = now()", "newcomer"),
        _update("name = 'Payer'", "payer"),
    ],
)
def test_other_changes_are_accepted(shared_database: Database, attempt: Attempt) -> None:
    assert_accepted(shared_database.owner_url, attempt)
