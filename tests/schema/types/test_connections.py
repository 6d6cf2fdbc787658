"""The pages beside the API: confirming an address, metrics."""

from collections.abc import AsyncIterator

import httpx
import pytest

from schema.server.app import create_application
from tests.conftest import Database
from tests.factories import World


@pytest.fixture
async def browser(database: Database, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the whole application, on the world's database."""
    assert world.settings == database.settings
    app = create_application(database.settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_the_mailed_link_verifies_an_address_once_and_only_by_its_button(
    browser: httpx.AsyncClient, world: World
) -> None:
    await world.mutate("signUp", email="new@commonweal.test", name="New")
    token = await world.scalar("SELECT payload->>'token' FROM outbox WHERE template = 'verify_email'")

    response = await browser.get("/verify", params={"token": token})
    unproved = await world.scalar("SELECT count(*) FROM credential WHERE verified_at IS NULL")
    form = {"password": "a long enough phrase"}
    without = await browser.post("/verify", params={"token": token})
    confirmed = await browser.post("/verify", params={"token": token}, data=form)
    again = await browser.post("/verify", params={"token": token}, data=form)

    assert (response.status_code, without.status_code, unproved) == (200, 400, 1)
    assert confirmed.status_code == 200
    assert await world.scalar("SELECT count(*) FROM credential WHERE verified_at IS NULL") == 0
    assert again.status_code == 400
    assert "no longer valid" in again.text


async def test_the_link_page_escapes_the_token(browser: httpx.AsyncClient) -> None:
    response = await browser.get("/verify", params={"token": '"><script>alert(1)</script>'})
    assert "<script" not in response.text


async def test_metrics_count_operations(browser: httpx.AsyncClient) -> None:
    await browser.post("/graphql", json={"query": "{ __typename }"})
    output = (await browser.get("/metrics")).text
    assert 'commonweal_operations_total{outcome="ok"}' in output
    assert "commonweal_mails_waiting 0.0" in output
    assert 'commonweal_mails_oldest_waiting_seconds{lane="account"} 0.0' in output
    assert 'commonweal_jobs{status="failed"} 0.0' in output
    assert "commonweal_jobs_oldest_waiting_seconds 0.0" in output
    assert "commonweal_workers 0.0" in output
    assert "commonweal_worker_heartbeat_age_seconds +Inf" in output


async def test_a_proxys_request_id_is_returned_and_an_invalid_one_is_not(
    browser: httpx.AsyncClient,
) -> None:
    body = {"query": "{ __typename }"}
    plain = await browser.post("/graphql", json=body, headers={"X-Request-Id": "abc-1"})
    strange = await browser.post("/graphql", json=body, headers={"X-Request-Id": "a b{}"})
    assert plain.headers["x-request-id"] == "abc-1"
    assert strange.headers["x-request-id"] not in {"", "a b{}"}


@pytest.mark.parametrize(
    "address", ["/graphql", "/verify?token=a", "/reset?token=a", "/", "/graphql?query=%7Bme%7D"]
)
async def test_no_page_can_be_framed_by_other_sites(browser: httpx.AsyncClient, address: str) -> None:
    page = await browser.get(address, headers={"Accept": "text/html"}, follow_redirects=True)
    assert page.headers["content-type"].startswith("text/html")
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["default-src"] in {"'none'", "'self'"}
    assert "unsafe" not in rules.get("script-src", "") + rules["default-src"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
