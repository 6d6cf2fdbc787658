"""Statements that take long are logged with the shape of their plan, and with nobody's data."""

import asyncio
import logging

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from schema.execution import unit_of_work
from schema.observability import slow_statements
from services.core.settings import Settings
from tests.factories import World

SLOW = text("SELECT pg_sleep(0.05), count(*) FROM collective WHERE slug = :slug")


async def wait_for_line(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """Wait for a line about a slow statement."""
    async with asyncio.timeout(30):
        while not (lines := [record for record in caplog.records if record.name == "commonweal.sql"]):
            await asyncio.sleep(0.01)
    return lines[0]


async def test_a_slow_statement_is_logged_with_its_plan_and_no_values(
    engine: AsyncEngine, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.person("ada")
    slow_statements.listen(engine, seconds=0.05)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.execute(SLOW, {"slug": "somebody-secret"})
    line = vars(await wait_for_line(caplog))
    assert line["message"] == "slow statement"
    assert line["ms"] >= 50
    assert "pg_sleep(0.05)" in line["statement"]
    assert any("on collective" in step for step in line["plan"])
    assert "somebody-secret" not in str(line)
    assert len([record for record in caplog.records if record.name == "commonweal.sql"]) == 1


async def test_statements_with_numbered_parameters_are_explained_too(
    engine: AsyncEngine, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    slow_statements.listen(engine, seconds=0.0)
    request = unit_of_work.OperationRequest(
        query='{ collective(slug: "commonweal") { name } }', variables={}, token=None, address="test"
    )
    await unit_of_work.execute(request, sessions=world.sessions, settings=Settings())
    assert not any("unknown" in step for step in vars(await wait_for_line(caplog))["plan"])
