"""What the README and the documents say is true."""

import re
from pathlib import Path

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
        await platform_policy.ensure(session)
    await world.load(sessions, Settings())
    text = (ROOT / "README.md").read_text()
    feed, sign_in, donate = re.findall(r"```graphql\n(.*?)```", text, re.DOTALL)
    curl = re.findall(r"-d '(\{.*?\})'\n", text)

    async def run(query: str, token: str | None = None) -> dict[str, object]:
        request = unit_of_work.Request(query=query, token=token)
        answer = await unit_of_work.execute(request, sessions=sessions, settings=database.settings)
        assert "errors" not in answer.body, answer
        data: dict[str, object] = answer.body["data"]
        return data

    found = await run(feed)
    assert found["collective"]["name"] == "Webpack"  # type: ignore[index]  # an answer is JSON
    token = (await run(sign_in))["signIn"]["session"]["token"]  # type: ignore[index]  # as above
    done = (await run(donate, token))["donate"]
    assert done["errors"] == []  # type: ignore[index]  # as above
    assert done["order"]["status"] == "PAID"  # type: ignore[index]  # as above
    assert len(curl) == 1


def test_every_setting_is_documented() -> None:
    assert settings.as_markdown() in (ROOT / "docs" / "settings.md").read_text()


def test_every_command_of_the_readme_exists() -> None:
    source = (ROOT / "schema" / "__main__.py").read_text()
    for command in re.findall(r"^    commonweal (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert f'add("{command}"' in source
