"""Documents that are seen for the first time: one statement as well, of which nothing is kept."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from schema.documents import document_cache
from schema.execution import unit_of_work
from schema.execution.operation import OperationRequest, OperationResult
from services.access import viewer_cache
from services.database import statement_cache
from tests.donation_world import DonationScene
from tests.factories import World
from tests.statement_counts import record_statements

QUERY = """{{ collective(slug: "{slug}") {{ {key}: name members(first: 3) {{ totalCount nodes {{ role }} }} }}
    transactions(first: 5) {{ totalCount nodes {{ id amount {{ value }} }} }} }}"""
PREPARED = text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'lane%'")


async def ask(world: World, query: str, token: str | None = None) -> OperationResult:
    request = OperationRequest(query=query, token=token, address="test")
    return await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)


async def count_prepared(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        count: Any = (await connection.execute(PREPARED)).scalar_one()
    return int(count)


@pytest.mark.parametrize("is_signed_in", [False, True])
async def test_a_new_document_is_one_statement(world: World, engine: AsyncEngine, is_signed_in: bool) -> None:
    scene = await DonationScene.create(world)
    token = scene.giver.token if is_signed_in else None
    await ask(world, "{ me { slug } }", token)  # the viewer is known by now
    await ask(world, "{ me { slug } }", token)
    assert not is_signed_in or viewer_cache.find_viewer(scene.giver.token) is not None
    with record_statements(engine) as statements:
        result = await ask(world, QUERY.format(slug=scene.webpack.slug, key=f"new{is_signed_in}"), token)
    assert result.is_sql_json
    assert "errors" not in result.body
    assert len(statements) == 1


async def test_nothing_is_kept_of_documents_that_never_come_again(world: World, engine: AsyncEngine) -> None:
    scene = await DonationScene.create(world)
    await ask(world, QUERY.format(slug=scene.webpack.slug, key="first"))
    kept, prepared = len(statement_cache._STATEMENTS), await count_prepared(engine)
    for i in range(20):
        assert (await ask(world, QUERY.format(slug=scene.webpack.slug, key=f"once{i}"))).is_sql_json
    assert len(statement_cache._STATEMENTS) == kept
    assert await count_prepared(engine) == prepared


async def test_a_document_that_comes_again_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_cache, "_STATEMENTS", {})  # a full one does not grow
    scene = await DonationScene.create(world)
    query = QUERY.format(slug=scene.webpack.slug, key="again")
    kept = len(statement_cache._STATEMENTS)
    answers = [(await ask(world, query)).body["data"]["collective"].text for _ in range(3)]
    assert len(set(answers)) == 1
    assert len(statement_cache._STATEMENTS) == kept + 1
    assert document_cache.prepare(query, hide_suggestions=False).was_seen
