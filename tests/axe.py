"""Accessibility of pages: axe-core in the tests' browser."""

import json
from typing import Any

from playwright.async_api import Page

from tests.node_runner import CLIENTS, require_node

_FOLDER = CLIENTS.with_name("schema_tools")


def load_axe() -> str:
    """Return axe-core's script, or skip the test if it cannot be installed."""
    require_node(_FOLDER, oldest=22)
    return (_FOLDER / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


async def find_violations(page: Page, *, but: tuple[str, ...] = ()) -> list[str]:
    """Return what axe finds wrong on a page, each with the element; elements of `but` are left out."""
    # In a world of its own: the page's policy lets no other script in.
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Page.getFrameTree")
    frame = tree["frameTree"]["frame"]["id"]
    world = await session.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})
    context_id = world["executionContextId"]
    await _evaluate(session, context_id, load_axe())
    scope = json.dumps({"exclude": [[selector] for selector in but]}) if but else "document"
    found = await _evaluate(
        session,
        context_id,
        f"axe.run({scope}).then((r) => JSON.stringify(r.violations.flatMap((v) =>"
        " v.nodes.map((n) => v.id + ': ' + n.target + ' ' + n.html.slice(0, 200)))))",
    )
    result: list[str] = json.loads(found)
    return result


async def _evaluate(session: Any, context_id: int, script: str) -> Any:
    answer = await session.send(
        "Runtime.evaluate",
        {"expression": script, "contextId": context_id, "awaitPromise": True, "returnByValue": True},
    )
    assert "exceptionDetails" not in answer, answer["exceptionDetails"]
    return answer["result"].get("value")
