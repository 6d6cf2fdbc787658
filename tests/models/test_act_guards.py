"""The audit log in the database: triggers write it, nobody else does, and nothing in it changes."""

from typing import Any

import psycopg
import pytest

from models.enums import ActKind
from services.database.engine import APP_ROLE
from tests.conftest import Database
from tests.ledger_sql import expect_refusal
from tests.models.guard_cases import MODES, Attempt, assert_refused, guard_world

LAST = (
    "SELECT kind, change, mutation, actor_id, database_role, old_values, new_values, hidden_columns"
    " FROM public.act ORDER BY at DESC, id DESC LIMIT 1"
)
LOGGED = """SELECT DISTINCT c.relname, split_part(encode(t.tgargs, 'escape'), '\\000', 1)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE t.tgfoid = 'log_act()'::regprocedure AND t.tgname NOT LIKE '%\\_end'"""
FORGED = """INSERT INTO public.act (kind, change, database_role, is_security)
    VALUES ('MEMBER', 'ADDED', 'postgres', false)"""


def _changed(statement: str) -> Attempt:
    """Return an attempt that runs a statement after an act has been logged."""

    def attempt(world: Any) -> None:
        world.run("UPDATE public.collective SET slug = 'renamed' WHERE id = %s", world.ids["payer"])
        world.run(statement)

    return attempt


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("table", ["act", "act_subject"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET at = now()", "DELETE FROM {}", "TRUNCATE {}"])
def test_nobody_changes_the_log(shared_database: Database, table: str, verb: str, mode: str) -> None:
    """Not even the owner of the tables."""
    attempt = _changed(verb.format(f"public.{table}"))
    assert_refused(shared_database.owner_url, mode, "append_only", attempt)


@pytest.mark.parametrize("mode", MODES)
def test_nobody_writes_the_log_by_hand(shared_database: Database, mode: str) -> None:
    assert_refused(shared_database.owner_url, mode, "act_by_trigger", lambda world: world.run(FORGED))
    subject = "INSERT INTO public.act_subject VALUES (gen_random_uuid(), now(), gen_random_uuid(), false)"
    assert_refused(shared_database.owner_url, mode, "act_by_trigger", lambda world: world.run(subject))


def test_the_application_reads_the_log_and_nothing_else(shared_database: Database) -> None:
    with psycopg.connect(shared_database.owner_url) as connection:
        rights = connection.execute(
            "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
            " WHERE grantee = %s AND table_name IN ('act', 'act_subject') ORDER BY 1",
            [APP_ROLE],
        ).fetchall()
    assert rights == [("act", "SELECT"), ("act_subject", "SELECT")]


def test_the_application_forges_and_drops_no_act(shared_database: Database) -> None:
    for statement in (FORGED, "UPDATE act SET at = now()", "DELETE FROM act", "TRUNCATE act"):
        with psycopg.connect(shared_database.app_url) as connection, expect_refusal("InsufficientPrivilege"):
            connection.execute(statement.encode())


def test_every_kind_is_logged_by_a_trigger(shared_database: Database) -> None:
    with psycopg.connect(shared_database.owner_url) as connection:
        rows = connection.execute(LOGGED.encode()).fetchall()
    assert {kind for _, kind in rows} == set(ActKind)


def test_no_secret_is_among_the_logged_columns(shared_database: Database) -> None:
    """The triggers name the columns whose values they keep; hashes, secrets and keys are not among them."""
    with psycopg.connect(shared_database.owner_url) as connection:
        rows = connection.execute(
            "SELECT split_part(encode(tgargs, 'escape'), '\\000', 4) FROM pg_trigger"
            " WHERE tgfoid = 'log_act()'::regprocedure"
        ).fetchall()
    shown = {name for (columns,) in rows for name in columns.strip("{}").split(",")}
    assert not {n for n in shown for part in ("hash", "secret", "key", "details", "email") if part in n}


def test_a_statement_by_hand_is_logged_with_its_role(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        payer = world.ids["payer"]
        world.run("UPDATE public.collective SET slug = 'renamed' WHERE id = %s", payer)
        role = world.value("SELECT session_user")
        assert world.run(LAST) == (
            *("COLLECTIVE", "CHANGED", None, None, role),
            *({"slug": "payer"}, {"slug": "renamed"}, []),
        )


def test_the_actor_is_the_transactions(shared_database: Database) -> None:
    actor = "00000000-0000-0000-0000-000000000007"
    with guard_world(shared_database.owner_url) as world:
        setting = f'{{"user": "{actor}", "mutation": "x"}}'
        world.run("SELECT set_config('commonweal.actor', %s, true)", setting)
        world.run("UPDATE public.collective SET slug = 'renamed' WHERE id = %s", world.ids["payer"])
        assert [str(value) for value in world.run(LAST)[2:4]] == ["x", actor]
    with guard_world(shared_database.owner_url) as world:
        world.run("UPDATE public.collective SET slug = 'again' WHERE id = %s", world.ids["payer"])
        assert world.run(LAST)[2:4] == (None, None)


def test_what_is_private_to_a_person_stays_out(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        user = world.collective("somebody", "USER")
        world.run("UPDATE public.collective SET name = 'Somebody Else', timezone = 'UTC' WHERE id = %s", user)
        assert world.run(LAST)[5:] == ({"timezone": None}, {"timezone": "UTC"}, ["name"])
        world.insert("credential", user_id=user, email="a@b.test", password_hash="secret")
        kind, *_, old, new, hidden = world.run(LAST)
        assert (kind, old, new, hidden) == ("CREDENTIAL", {}, {}, ["email", "password_hash"])


def test_a_change_of_nothing_is_no_act(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        before = world.value("SELECT count(*) FROM public.act")
        world.run("UPDATE public.collective SET updated_at = now(), slug = slug")
        assert world.value("SELECT count(*) FROM public.act") == before


def test_a_version_is_compared_with_the_one_before(shared_database: Database) -> None:
    rate = (
        "INSERT INTO public.fx_rate (id, base, quote, rate, source, valid_from) VALUES"
        " (gen_random_uuid(), 'USD', 'JPY', %s, 'somebody', now() + make_interval(mins => %s))"
    )
    with guard_world(shared_database.owner_url) as world:
        world.run(rate, "150", 1)
        world.run(rate, "160", 2)
        kind, change, *_, old, new, _ = world.run(LAST)
        assert (kind, change, old["rate"], new["rate"]) == ("EXCHANGE_RATE", "ADDED", 150, 160)
