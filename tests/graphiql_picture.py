"""Take docs/graphiql.png, the README's picture of GraphiQL, from the demo world in a real browser.

Run `python -m tests.graphiql_picture` after GraphiQL or the demo world has changed. It needs Chromium
and a built GraphiQL (`make graphiql`).
"""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright, expect

from services.database.embedded_postgres import run_embedded_postgres
from services.database.engine import create_database
from tests.browser import CHROMIUM_FLAGS, WAIT_MS, Tab, find_chromium
from tests.conftest import Database
from tests.live_server import run_server

PICTURE = Path(__file__).parents[1] / "docs" / "graphiql.png"
WIDTH, HEIGHT = 1120, 640
QUERY = (
    '{ collective(slug: "webpack") { name host { slug } balances { currency available { value } } '
    "transactions(first: 3) { nodes { kind amount { value currency } fromCollective { slug } } } } }"
)


def take_picture() -> None:
    """Serve the demo world from a new database and take the picture."""
    with (
        tempfile.TemporaryDirectory(prefix="cw", ignore_cleanup_errors=True) as folder,
        run_embedded_postgres(Path(folder)) as socket_dir,
    ):
        url = f"postgresql://postgres@/{{}}?host={socket_dir}"
        create_database(url.format("postgres"), "picture")
        owner_url = url.format("picture")
        database = Database("picture", owner_url, owner_url)
        with run_server(database, Path(folder), demo=True) as server:
            asyncio.run(_photograph(server.url))


async def _photograph(url: str) -> None:
    """Run the query in GraphiQL with the cost panel open, and store what the browser shows."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        page = await browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, locale="en-US", color_scheme="light"
        )
        tab = Tab.of(page)
        await page.goto(url)
        await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text(
            "Me", timeout=WAIT_MS
        )
        await page.get_by_role("button", name="Show Last query").click()
        # One line, then formatted: over several lines, the editor would add closing brackets of its own.
        await tab.query("Webpack", QUERY)
        await page.get_by_role("button", name="Prettify query").click()
        await tab.expect_answer(r'"Webpack"')
        panel = page.locator(".commonweal-panel")
        await expect(panel).to_contain_text("Requested", timeout=WAIT_MS)
        await page.mouse.move(0, HEIGHT)
        await page.screenshot(path=PICTURE, animations="disabled", caret="hide")
        await browser.close()


if __name__ == "__main__":
    take_picture()
