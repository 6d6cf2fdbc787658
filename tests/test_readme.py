"""The examples and facts of the README and the documents are true."""

import re
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from schema.demo import world
from schema.execution import unit_of_work
from services.collectives import platform_policy
from services.core import settings
from services.core.settings import Settings
from tests.conftest import Database

ROOT = Path(__file__).parents[1]


async def test_the_first_queries_of_the_readme_work(
    database: Database, sessions: async_sessionmaker[AsyncSession]
) -> None:
    async with sessions() as session, session.begin():
        await platform_policy.ensure_platform(session)
    await world.load(sessions, Settings())
    text = (ROOT / "README.md").read_text()
    feed, sign_in, donate = re.findall(r"```graphql\n(.*?)```", text, re.DOTALL)
    curl = re.findall(r"-d '(\{.*?\})'\n", text)

    async def run(query: str, token: str | None = None) -> Any:
        request = unit_of_work.OperationRequest(query=query, token=token)
        answer = await unit_of_work.execute(request, sessions=sessions, settings=database.settings)
        assert "errors" not in answer.body, answer
        return answer.plain_body()["data"]

    result = await run(feed)
    assert result["collective"]["name"] == "Webpack"
    token = (await run(sign_in))["signIn"]["session"]["token"]
    outcome = (await run(donate, token))["donate"]
    assert outcome["errors"] == []
    assert outcome["order"]["status"] == "PAID"
    assert len(curl) == 1


def test_every_setting_is_documented() -> None:
    assert settings.render_markdown() in (ROOT / "docs" / "settings.md").read_text()


def test_every_command_of_the_readme_exists() -> None:
    source = (ROOT / "schema" / "__main__.py").read_text()
    for command in re.findall(r"^    commonweal ([\w-]+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf'add\(\s*"{command}"', source), command
