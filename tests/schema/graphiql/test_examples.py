"""GraphiQL at a first visit: examples run, links open, sign-in tells that it works, and axe is content."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.async_api import BrowserContext, Route, expect

from schema import graphiql
from schema.graphiql.build import find_node
from tests.axe import find_violations
from tests.browser import WAIT_MS, Tab, browser, context
from tests.schema.graphiql.test_graphiql import (
    EMAIL,
    graphiql_server,
    sign_in,
    sign_in_by_panel,
    tab,
)

__all__ = ["browser", "context", "graphiql_server", "tab"]
SOURCE = Path(graphiql.__file__).parent / "src" / "examples.js"
LINKED = "query Linked($slug: String!) { collective(slug: $slug) { slug currency } }"


@pytest.fixture(scope="module")
def sections() -> list[dict[str, Any]]:
    """Read the examples as the page does."""
    node, _ = find_node()
    program = f"import({json.dumps(SOURCE.as_uri())}).then((m) => console.log(JSON.stringify(m.SECTIONS)))"
    said = subprocess.check_output([node, "--no-warnings", "-e", program], text=True)
    result: list[dict[str, Any]] = json.loads(said)
    return result


def test_there_are_twenty_examples_in_five_sections(sections: list[dict[str, Any]]) -> None:
    examples = [example for section in sections for example in section["examples"]]
    assert (len(sections), len(examples)) == (5, 20)
    assert len({example["name"] for example in examples}) == 20
    assert sum("variables" in example for example in examples) >= 12


async def test_every_example_runs_in_the_demo_world(
    graphiql_server: str, sections: list[dict[str, Any]]
) -> None:
    headers = {"Authorization": f"Bearer {await sign_in(graphiql_server)}"}
    async with httpx.AsyncClient(base_url=graphiql_server, trust_env=False, headers=headers) as client:
        for example in (example for section in sections for example in section["examples"]):
            if "subscription" in example["query"]:
                continue  # the page's own test runs one
            variables = json.loads(example.get("variables", "{}"))
            answer = await client.post("/graphql", json={"query": example["query"], "variables": variables})
            body = answer.json()
            assert "errors" not in body, (example["name"], body)
            for field in body["data"].values():
                assert field is not None, example["name"]
                assert not isinstance(field, dict) or field.get("errors", []) == [], (example["name"], field)


async def test_a_first_visit_shows_the_examples_and_a_click_opens_one(tab: Tab) -> None:
    panel = tab.page.locator(".commonweal-panel")
    await expect(panel.get_by_role("heading", name="Examples")).to_be_visible(timeout=WAIT_MS)
    await expect(panel.locator(".commonweal-examples button")).to_have_count(20)
    await panel.get_by_role("button", name="Collective A collective").click()
    await tab.expect_name("Collective")
    await tab.run()
    await tab.expect_answer(r'"name":\s*"Webpack"')
    assert tab.complaints == []


@pytest.mark.parametrize("form", ["?query={q}&variables={v}", "#q={q}&v={v}"])
async def test_a_link_opens_its_query(graphiql_server: str, context: BrowserContext, form: str) -> None:
    opened = Tab.of(await context.new_page())
    address = form.format(q=quote(LINKED), v=quote('{"slug": "webpack"}'))
    await opened.page.goto(f"{graphiql_server}/graphql{address}")
    await opened.expect_name("Linked")
    editor = opened.page.locator(".graphiql-query-editor .view-lines")
    await expect(editor).to_contain_text("currency", timeout=WAIT_MS)
    await opened.run()
    await opened.expect_answer(r'"slug":\s*"webpack",\s*"currency":\s*"USD"')
    await opened.page.get_by_role("button", name="Make a link to this query").click()
    link = await opened.page.get_by_label("Link", exact=True).input_value()
    assert link.startswith(f"{graphiql_server}/graphql#q=query+Linked")
    assert opened.complaints == []


async def test_signing_in_says_that_it_works(tab: Tab) -> None:
    may_go_on = asyncio.Event()

    async def hold(route: Route) -> None:
        if "signIn" in (route.request.post_data or ""):
            await may_go_on.wait()
        await route.continue_()

    await tab.page.route("**/graphql", hold)
    await sign_in_by_panel(tab, EMAIL)
    button = tab.page.get_by_role("button", name="Signing in …")
    await expect(button).to_be_disabled(timeout=WAIT_MS)
    may_go_on.set()
    await expect(tab.page.locator(".commonweal-panel")).to_contain_text("(xdamman)", timeout=WAIT_MS)
    assert tab.complaints == []


async def test_axe_finds_nothing_wrong_with_our_parts(tab: Tab) -> None:
    # The editors are Monaco's, and their tabs and the buttons around them GraphiQL's.
    for name in ("Examples", "Account", "Last query"):
        if name != "Examples":
            await tab.page.get_by_role("button", name=f"Show {name}").click()
        await expect(tab.page.get_by_role("heading", name=name, exact=True)).to_be_visible(timeout=WAIT_MS)
        found = await find_violations(tab.page, but=(".monaco-editor", ".graphiql-tab"))
        assert found == [], (name, *found)
