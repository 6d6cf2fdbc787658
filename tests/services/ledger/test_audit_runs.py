"""Runs of the audit: what each reads, what it leaves for the next, and that there is one at a time."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from models import now
from services.core import database_urls
from services.core.settings import Settings
from services.database import engine as database_engine
from services.ledger import audit, audit_job
from tests.conftest import Database
from tests.donation_world import DonationScene, expect_order
from tests.factories import World

Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
async def sessions(database: Database) -> AsyncIterator[Sessions]:
    """Sessions of the application's role, with a time limit that no audit would meet."""
    settings = replace(Settings(), database_url=database.app_url, pool_size=4, statement_timeout_ms=200)
    engine = database_engine.create_pool(settings)
    yield database_engine.session_factory(engine)
    await engine.dispose()


async def as_owner(database: Database, *statements: str) -> None:
    """Execute statements as the owner of the tables, without triggers."""
    engine = create_async_engine(database_urls.to_psycopg_url(database.owner_url))
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def test_a_run_reads_what_was_added_since_the_last(world: World, sessions: Sessions) -> None:
    scene = await DonationScene.create(world)
    first = await audit.audit_ledger(sessions)
    expect_order(await scene.transfer("1.00"))
    second = await audit.audit_ledger(sessions)
    third = await audit.audit_ledger(sessions)
    full = await audit.audit_ledger(sessions, full=True)

    assert [run.is_full for run in (first, second, third, full)] == [True, False, False, True]
    assert [run.postings for run in (first, second, third, full)] == [2, 2, 0, 4]
    assert full.transactions == 2
    assert all(run.is_clean for run in (first, second, third, full))
    assert second.last_full_at == third.last_full_at == first.at
    assert full.last_full_at == full.at
    async with sessions() as session:
        assert await audit.load_last_audit(session) == full


async def test_a_violation_is_found_again_until_it_is_repaired(
    world: World, database: Database, sessions: Sessions
) -> None:
    scene = await DonationScene.create(world)
    await audit.audit_ledger(sessions)
    expect_order(await scene.transfer("1.00"))
    change = "ALTER TABLE posting DISABLE TRIGGER USER; UPDATE posting SET balance_after = balance_after {} 1"
    newest = " WHERE seq = 2 AND amount < 0"
    await as_owner(database, *(change.format("+") + newest).split("; "))

    for _ in range(2):
        run = await audit.audit_ledger(sessions)
        assert (run.is_full, run.violations) == (False, 1)
    await as_owner(database, *(change.format("-") + newest).split("; "))
    assert (await audit.audit_ledger(sessions)).is_clean


async def test_after_a_full_run_with_violations_everything_is_read_again(
    world: World, database: Database, sessions: Sessions
) -> None:
    await DonationScene.create(world)
    await audit.audit_ledger(sessions)
    await as_owner(
        database,
        "ALTER TABLE transaction DISABLE TRIGGER USER",
        "UPDATE transaction SET gross = gross + 1",
    )
    assert not (await audit.audit_ledger(sessions, full=True)).is_clean
    again = await audit.audit_ledger(sessions)
    assert (again.is_full, again.is_clean) == (True, False)


async def test_a_changed_balance_of_the_past_breaks_the_next_run(
    world: World, database: Database, sessions: Sessions
) -> None:
    scene = await DonationScene.create(world)
    await audit.audit_ledger(sessions)
    expect_order(await scene.transfer("1.00"))
    await as_owner(
        database,
        "ALTER TABLE posting DISABLE TRIGGER USER",
        "UPDATE posting SET balance_after = balance_after + 1 WHERE seq = 1 AND amount < 0",
        "DELETE FROM posting WHERE seq = 1 AND amount > 0 AND balance_after > 100",
    )
    run = await audit.audit_ledger(sessions)
    found = {check.name for check in run.checks if check.violations}
    assert found >= {"runningBalanceBreaks", "sequenceGaps"}


async def test_a_transaction_whose_id_is_old_is_found_by_its_postings(
    world: World, database: Database, sessions: Sessions
) -> None:
    scene = await DonationScene.create(world)
    await audit.audit_ledger(sessions)
    expect_order(await scene.transfer("1.00"))
    old = "00000000-0000-7000-8000-000000000001"
    await as_owner(
        database,
        "ALTER TABLE posting DISABLE TRIGGER USER",
        "ALTER TABLE transaction DISABLE TRIGGER USER",
        f"UPDATE posting p SET transaction_id = '{old}' FROM transaction t"
        " WHERE t.id = p.transaction_id AND t.kind = 'TRANSFER'",
        f"UPDATE transaction SET id = '{old}', host_fee = 1 WHERE kind = 'TRANSFER'",
    )
    run = await audit.audit_ledger(sessions)
    assert {check.name for check in run.checks if check.violations} == {"figuresNotPosted", "unsoundFigures"}


async def test_a_second_run_is_told_that_one_is_running(world: World, sessions: Sessions) -> None:
    await DonationScene.create(world)
    async with sessions() as other, other.begin():
        await other.execute(text("SELECT pg_advisory_xact_lock(7269)"))
        with pytest.raises(audit.AuditIsRunning):
            await audit.audit_ledger(sessions)
    assert (await audit.audit_ledger(sessions)).is_clean


async def test_results_belong_to_one_snapshot(world: World, sessions: Sessions) -> None:
    """A transfer that commits during a run is left to the next one."""
    scene = await DonationScene.create(world)
    execute = audit._execute
    calls: list[str] = []

    async def interrupted(session: AsyncSession, name: str, parameters: dict[str, object]) -> object:
        result = await execute(session, name, parameters)
        if not calls:
            expect_order(await scene.transfer("1.00"))
        calls.append(name)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "_execute", interrupted)
        during = await audit.audit_ledger(sessions)
    after = await audit.audit_ledger(sessions)
    assert (during.is_clean, during.postings) == (True, 2)
    assert (after.is_clean, after.is_full, after.postings) == (True, False, 2)


async def test_the_job_runs_when_the_last_run_is_old(
    world: World, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await DonationScene.create(world)
    settings = replace(Settings(), database_url=database.app_url)
    first = await audit_job.run_if_due(settings)
    assert first is not None
    assert first.is_clean
    assert await audit_job.run_if_due(settings) is None
    await as_owner(
        database,
        "ALTER TABLE audit_run DISABLE TRIGGER USER",
        "UPDATE audit_run SET started_at = started_at - interval '2 hours'",
        "UPDATE ledger_account SET seq = seq + 1 WHERE kind = 'CASH'",
    )
    second = await audit_job.run_if_due(settings)
    assert second is not None
    assert not second.is_clean
    assert "'sequenceGaps': 1" in caplog.text
    assert now() - second.at < timedelta(minutes=1)


async def test_the_application_can_add_runs_but_not_change_them(world: World, sessions: Sessions) -> None:
    await DonationScene.create(world)
    await audit.audit_ledger(sessions)
    for statement in (
        "UPDATE audit_run SET violations = 1",
        "DELETE FROM audit_run",
        "DELETE FROM audited_account",
    ):
        async with sessions() as session:
            with pytest.raises(Exception, match=r"permission denied|append-only"):
                await session.execute(text(statement))
