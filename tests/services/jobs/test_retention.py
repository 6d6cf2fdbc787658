"""What is deleted once it is old: by the settings, in batches, never what is still needed."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models import Receipt, now
from services.core.errors import ConfigurationError
from services.core.file_stores import FolderStore
from services.core.settings import Settings
from services.jobs import retention, schedule
from tests.factories import Person, World
from tests.job_world import add_failed_job, add_job, change_status, execute, load_statuses, make_older

Insert = Callable[[World, Person, float], Any]
"""Adds a row of a person that ended some days ago."""


async def _mail(world: World, who: Person, age: float) -> None:
    await execute(
        world.sessions,
        "SELECT mail_queue('address_in_use', 'ACCOUNT', ARRAY[CAST(:to AS text)],"
        " ARRAY[CAST('{}' AS jsonb)], ARRAY[CAST(NULL AS uuid)], NULL, '', '{}')",
        to=f"{who.slug}@example.org",
    )
    _by_owner(world, "UPDATE outbox SET created_at = now() - %s, delivered_at = now()", age)


def _by_owner(world: World, statement: str, *parameters: Any) -> list[Any]:
    with psycopg.connect(world.settings.owner_database_url) as connection:
        values = [timedelta(days=p) if isinstance(p, float) else p for p in parameters]
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


async def _key(world: World, who: Person, age: float) -> None:
    _by_owner(
        world,
        "INSERT INTO idempotency (actor_id, key, request_hash, result_id, created_at)"
        " VALUES (%s, 'once', '\\x00', gen_random_uuid(), now() - %s)",
        who.user.id,
        age,
    )


async def _token(world: World, who: Person, age: float) -> None:
    _by_owner(
        world,
        "INSERT INTO token (id, user_id, kind, token_hash, scopes, expires_at) VALUES"
        " (gen_random_uuid(), %s, 'ACCESS', sha256(gen_random_uuid()::text::bytea), '{READ}', now() - %s)",
        who.user.id,
        age,
    )


async def _link(world: World, who: Person, age: float) -> None:
    _by_owner(
        world,
        "INSERT INTO email_token (token_hash, user_id, purpose, expires_at)"
        " VALUES (sha256('x'), %s, 'RESET', now() - %s)",
        who.user.id,
        age,
    )


async def _challenge(world: World, who: Person, age: float) -> None:
    _by_owner(
        world,
        "INSERT INTO challenge (challenge_hash, purpose, user_id, expires_at)"
        " VALUES (sha256('x'), 'SIGN_IN', %s, now() - %s)",
        who.user.id,
        age,
    )


async def _throttle(world: World, who: Person, age: float) -> None:
    _by_owner(
        world,
        "INSERT INTO throttle (key, attempts, window_ends_at) VALUES (%s, 1, now() - %s)",
        f"test:{who.slug}",
        age,
    )


ROWS: dict[str, tuple[Insert, str, float]] = {
    "MAILS": (_mail, "outbox", 2.0),
    "IDEMPOTENCY_KEYS": (_key, "idempotency", 7.0),
    "TOKENS": (_token, "token WHERE kind = 'ACCESS'", 1.0),
    "MAILED_LINKS": (_link, "email_token", 0.0),
    "CHALLENGES": (_challenge, "challenge", 0.0),
    "THROTTLES": (_throttle, "throttle WHERE key LIKE 'test:%'", 0.0),
}
"""How a row of each kind comes to be, where it is, and how many days the database keeps it at least."""


def test_every_kind_is_tested() -> None:
    assert ROWS.keys() == retention.KINDS.keys()


@pytest.mark.parametrize("kind", ROWS)
async def test_rows_stay_as_long_as_the_setting_says(world: World, kind: str) -> None:
    insert, place, _ = ROWS[kind]
    await insert(world, await world.person("ada"), 20.0)
    count = f"SELECT count(*) FROM {place}"
    assert await world.scalar(count) == 1
    assert await retention.prune_rows(world.sessions, kind=kind, days=21) == 0
    assert await retention.prune_rows(world.sessions, kind=kind, days=19) == 1
    assert await world.scalar(count) == 0


@pytest.mark.parametrize("kind", [kind for kind, (_, _, shortest) in ROWS.items() if shortest])
async def test_the_database_keeps_what_is_needed_whatever_is_asked(world: World, kind: str) -> None:
    insert, place, shortest = ROWS[kind]
    await insert(world, await world.person("ada"), shortest - 0.1)
    assert await retention.prune_rows(world.sessions, kind=kind, days=0) == 0
    assert await world.scalar(f"SELECT count(*) FROM {place}") == 1


@pytest.mark.parametrize(
    ("name", "shortest"),
    [(retention.KINDS[kind], days) for kind, (_, _, days) in ROWS.items() if days]
    + [("keep_jobs_days", 1.0), ("keep_orphaned_files_days", 1.0)],
)
def test_a_setting_that_is_too_short_stops_the_start(name: str, shortest: float) -> None:
    right: dict[str, Any] = {name: int(shortest)}
    wrong: dict[str, Any] = {name: int(shortest) - 1}
    replace(Settings(), **right)
    with pytest.raises(ConfigurationError, match=f"COMMONWEAL_{name.upper()} must be at least"):
        replace(Settings(), **wrong)


async def test_mails_that_wait_and_keys_in_use_stay(world: World) -> None:
    ada = await world.person("ada")
    await _mail(world, ada, 400.0)
    _by_owner(world, "UPDATE outbox SET delivered_at = NULL")
    sessions = "SELECT count(*) FROM token WHERE revoked_at IS NULL"
    before = await world.scalar(sessions)
    for kind in ROWS:
        await retention.prune_rows(world.sessions, kind=kind, days=0)
    assert await world.scalar("SELECT count(*) FROM outbox") == 1
    assert await world.scalar(sessions) == before > 0


async def test_a_token_goes_after_those_made_with_it_and_in_silence(world: World) -> None:
    ada = await world.person("ada")
    for _ in range(2):
        await _token(world, ada, 50.0)
    _by_owner(world, "ALTER TABLE token DISABLE TRIGGER USER")  # a parent that has ended makes none
    _by_owner(
        world,
        "UPDATE token SET parent_id = (SELECT min(id::text)::uuid FROM token WHERE kind = 'ACCESS')"
        " WHERE id = (SELECT max(id::text)::uuid FROM token WHERE kind = 'ACCESS')",
    )
    _by_owner(world, "ALTER TABLE token ENABLE TRIGGER USER")
    acts = await world.scalar("SELECT count(*) FROM act")
    assert await retention.prune_rows(world.sessions, kind="TOKENS", days=30) == 2
    assert await world.scalar("SELECT count(*) FROM act") == acts


async def test_batches_follow_each_other(world: World) -> None:
    for number in range(7):
        _by_owner(
            world,
            "INSERT INTO throttle (key, attempts, window_ends_at) VALUES (%s, 1, now() - %s)",
            f"test:{number}",
            3.0,
        )
    assert await retention.prune_rows(world.sessions, kind="THROTTLES", days=1, batch=3) >= 7


async def test_only_retention_deletes(world: World) -> None:
    ada = await world.person("ada")
    await _key(world, ada, 1.0)
    with pytest.raises(psycopg.errors.RestrictViolation):
        _by_owner(world, "DELETE FROM idempotency")
    with psycopg.connect(world.settings.database_url) as connection:
        for table in ("outbox", "idempotency", "token", "email_token", "throttle"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(f"DELETE FROM {table}".encode())
        with pytest.raises(psycopg.errors.InvalidParameterValue), connection.transaction():
            connection.execute("SELECT retention_prune('ORDERS', interval '0', 1)")


async def test_jobs_that_ended_go_and_others_stay(world: World) -> None:
    sessions = world.sessions
    waiting, running, failed, recent = (
        await add_job(sessions),
        await add_job(sessions),
        await add_failed_job(sessions),
        await add_failed_job(sessions),
    )
    again = await add_failed_job(sessions)  # failed long ago, and once more lately
    await change_status(sessions, running, "doing")
    for job_id in (waiting, running, failed, again):
        await make_older(sessions, job_id, days=20)
    await change_status(sessions, again, "todo", "doing", "failed")
    assert await retention.prune_jobs(sessions, days=14, batch=1) == 1
    assert set(await load_statuses(sessions)) == {waiting, running, recent, again}
    assert await world.scalar("SELECT count(*) FROM jobs.failure") == 2


async def test_files_without_a_row_are_deleted_once_they_are_old(world: World, tmp_path: Path) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    rows = [
        Receipt(owner_id=who.user.id, content_type="image/png", size_bytes=1, sha256=bytes([n]) * 32)
        for n, who in enumerate((ada, bea, ada))
    ]
    for row in rows[:2]:
        await world.add(row)
    await execute(world.sessions, "UPDATE receipt SET erased_at = now() WHERE owner_id = :id", id=bea.user.id)
    files = FolderStore(tmp_path)
    kept, erased, orphan = (files.path_of(row.sha256.hex()) for row in rows)
    new = files.path_of("09" * 32)
    unfinished, other = tmp_path / "incoming-x", tmp_path / "notes"
    past = (now() - timedelta(days=8)).timestamp()
    for path in (kept, erased, orphan, new, unfinished, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        if path is not new:
            os.utime(path, (past, past))
    (tmp_path / "incoming-gone").symlink_to(tmp_path / "gone")  # as one that is finished meanwhile
    assert await retention.delete_orphaned_files(world.sessions, files=files, folder=tmp_path, days=7) == 3
    assert [path.exists() for path in (kept, erased, orphan, new, unfinished, other)] == [
        *(True, False, False, True, False, True)
    ]
    assert await files.delete([new.name, "08" * 32]) == 1


async def test_each_pruning_is_a_job(world: World) -> None:
    names = {job.name for job in schedule.list_periodic(world.sessions, world.settings)}
    assert {f"prune_{kind.lower()}" for kind in retention.KINDS} <= names
    assert {"prune_jobs", "prune_orphaned_files", "prune_live_events", "prune_rate_limits"} <= names
    for job in schedule.list_periodic(world.sessions, world.settings):
        await job.work()  # each one runs, on a database with little in it
