"""Guides: every request in them is sent, in order, and answered without an error."""

import json
import os
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from services.core.settings import load
from tests.factories import World
from tests.schema.http.test_endpoint_requests import serving

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "guides"
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
HOST = "https://api.example.org"


def read_blocks(guide: Path) -> list[tuple[str, str]]:
    """Return a guide's blocks of code, with their languages."""
    return BLOCK.findall(guide.read_text(encoding="utf-8"))


@dataclass
class Reader:
    """Somebody who follows a guide: their tokens and the answers that they got."""

    world: World
    client: httpx.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)

    async def follow(self, guide: Path) -> int:
        """Send every request of a guide; return how many."""
        blocks = read_blocks(guide)
        sent = 0
        for number, (language, content) in enumerate(blocks):
            following = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            if language == "graphql":
                await self._ask(content, following[1] if following[0] == "json" else "{}")
                sent += 1
            elif language == "sh":
                for command in content.replace("\\\n", " ").splitlines():
                    sent += await self._run(command.strip())
        return sent

    async def _ask(self, document: str, variables: str) -> None:
        who = document.splitlines()[0].removeprefix("#").strip()
        headers = {} if who == "nobody" else {"Authorization": f"Bearer {self.tokens[who]}"}
        body = {"query": document, "variables": await self._fill(json.loads(variables))}
        answer = (await self.client.post("/graphql", json=body, headers=headers)).json()
        assert "errors" not in answer, (document, answer["errors"])
        assert all(
            payload.get("errors") in ([], None)
            for payload in answer["data"].values()
            if isinstance(payload, dict)
        ), answer
        operation = re.search(r"(?:mutation|query) (\w+)", document)
        assert operation is not None
        self.answers[operation[1]] = answer["data"]
        if signed := (answer["data"].get("signIn") or {}).get("session"):
            email = re.search(r'email: "(\w+)@', document)
            assert email is not None
            self.tokens[email[1]] = signed["token"]

    async def _run(self, command: str) -> int:
        words = shlex.split(command)
        if not words or words[0] != "curl":
            load(dict([words[0].split("=", 1)]))  # a setting that is accepted
            return 0
        headers, url, content = {}, "", b""
        rest = iter(words[1:])
        for word in rest:
            if word == "-H":
                name, value = next(rest).split(": ", 1)
                headers[name] = await self._fill(value)
            elif word == "--data-binary":
                assert next(rest) == "@receipt.png"
                content = PNG
            else:
                url = await self._fill(word)
        path = url.removeprefix(HOST)
        method = "POST" if content else "GET"
        answer = await self.client.request(method, path, headers=headers, content=content)
        assert answer.status_code == (201 if content else 200), (command, answer.text)
        if answer.headers["content-type"].startswith("application/json"):
            self.answers[f"{method} {path}"] = answer.json()
        return 1

    async def _fill(self, value: Any) -> Any:
        """Put values of earlier answers in the place of their names."""
        if isinstance(value, dict):
            return {name: await self._fill(each) for name, each in value.items()}
        if not isinstance(value, str):
            return value
        for name in re.findall(r"<([^>]+)>", value):
            value = value.replace(f"<{name}>", await self._look_up(name))
        return value

    async def _look_up(self, name: str) -> str:
        if name.startswith("token of "):
            return self.tokens[name.removeprefix("token of ")]
        if name.startswith("mail "):
            _, template, recipient = name.split()
            return await mailed_token(self.world, template, recipient)
        operation, *path = name.split(".")
        found = self.answers[operation]
        for key in path:
            found = found[key]
        return str(found)


async def mailed_token(world: World, template: str, recipient: str) -> str:
    """Return the token of a mail, as its reader finds it."""
    async with world.sessions() as session:
        rows = await session.execute(
            text("SELECT payload ->> 'token' FROM outbox WHERE template = :t AND recipient = :r"),
            {"t": template, "r": recipient},
        )
        return str(rows.scalar_one())


@pytest.fixture
async def reader(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    """Return a reader among the people of the guides."""
    for name in [name for name in os.environ if name.startswith("COMMONWEAL_LINK")]:
        monkeypatch.delenv(name)
    hanna, mia, noor = [await world.person(name) for name in ("hanna", "maria", "noor")]
    osc = await world.host("osc", hanna)
    choir = await world.community("choir", osc, mia)
    await world.fund(choir, "1000.00", by=hanna)
    # The server delivers no mail here: a delivered one no longer has its token.
    settings = replace(world.settings, outbox_interval_ms=3_600_000, execution_timeout_ms=120_000)
    async with serving(settings) as client:
        yield Reader(world, client, {"hanna": hanna.token, "mia": mia.token, "noor": noor.token})


@pytest.mark.parametrize("guide", sorted(GUIDES.glob("*.md")), ids=lambda path: path.name)
async def test_every_request_of_a_guide_is_answered(reader: Reader, guide: Path) -> None:
    sent = await reader.follow(guide)
    blocks = read_blocks(guide)
    assert sent >= sum(language == "graphql" for language, _ in blocks)
    await reader.world.assert_clean_ledger()


def test_the_settings_for_codegen_are_those_that_are_tested() -> None:
    def config(path: Path) -> str:
        found = re.search(r"^const text = .*?^};", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        assert found is not None
        return found[0]

    assert config(GUIDES / "generate-types.md") == config(ROOT / "tests" / "schema_tools" / "codegen.mjs")


def test_every_guide_is_listed() -> None:
    index = (GUIDES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == {path.name for path in GUIDES.glob("*.md")} - {
        "README.md"
    }
