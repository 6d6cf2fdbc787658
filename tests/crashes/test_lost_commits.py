"""A COMMIT whose connection is lost: done once at most, and a key tells which."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from tests.conftest import Database
from tests.crashes.proxy import Cut, CuttingProxy, run_proxy
from tests.donation_world import DonationScene
from tests.factories import World, money, ref
from tests.history.calls import ApiClient, Call
from tests.subscription_client import run_process
from tests.test_live_processes import no_rates_to_load

DONATED = "SELECT count(*) FROM \"order\" WHERE type = 'DONATION'"
MARKER = b"ledger_post"


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    scene = await DonationScene.create(world)
    await no_rates_to_load(world)
    return scene


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[CuttingProxy]:
    """Run a proxy in front of the test's PostgreSQL; skip where that is not on a local socket."""
    folder = make_url(database.owner_url).query.get("host")
    if not isinstance(folder, str):
        pytest.skip("the test's PostgreSQL has no local socket")
    async with run_proxy(f"{folder}/.s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
async def api(
    scene: DonationScene, database: Database, proxy: CuttingProxy, tmp_path: Path
) -> AsyncIterator[ApiClient]:
    """Run a server whose connections go through the proxy; return its client."""
    url = make_url(database.app_url).set(host="127.0.0.1", port=proxy.port, query={"sslmode": "disable"})
    settings = replace(scene.world.settings, database_url=url.render_as_string(hide_password=False))
    async with (
        run_process(settings, tmp_path / "log") as process,
        httpx.AsyncClient(base_url=f"http://{process.address}", timeout=60, trust_env=False) as http,
    ):
        yield ApiClient(http)


def donation(scene: DonationScene, **more: Any) -> Call:
    """Return a donation of 10.00 from webpack to babel."""
    more |= {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("10.00")}
    return Call("donate", scene.giver.token, more)


@pytest.mark.parametrize("cut", Cut)
async def test_a_donation_without_a_key_is_not_made_twice(
    scene: DonationScene, api: ApiClient, proxy: CuttingProxy, cut: Cut
) -> None:
    proxy.arm(cut, MARKER)
    payload, code = await api.send(donation(scene))
    assert proxy.cuts == 1
    made = await scene.world.scalar(DONATED)
    assert made <= 1
    if payload is None:
        assert code == "UNAVAILABLE"
    else:
        assert made == 1
    if cut is Cut.AFTER:
        assert made == 1
    assert await scene.world.balance(scene.babel) == (made * 1000, 0)
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize("cut", Cut)
async def test_a_donation_with_a_key_is_made_once_and_answered(
    scene: DonationScene, api: ApiClient, proxy: CuttingProxy, cut: Cut
) -> None:
    proxy.arm(cut, MARKER)
    call = donation(scene, idempotencyKey="once")
    first = await api.settle(call)
    assert first is not None, call
    assert proxy.cuts == 1
    assert await api.settle(call) == first
    assert await scene.world.scalar(DONATED) == 1
    assert await scene.world.balance(scene.babel) == (1000, 0)
    await scene.world.assert_clean_ledger()


ENDS_ITSELF = (
    "CREATE SEQUENCE ends",
    """CREATE FUNCTION end_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        IF nextval('ends') = 1 THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
            PERFORM pg_sleep(5);
        END IF;
        RETURN NULL;
    END $$""",
    'CREATE CONSTRAINT TRIGGER end_once AFTER INSERT ON "order" DEFERRABLE INITIALLY DEFERRED'
    " FOR EACH ROW EXECUTE FUNCTION end_once()",
)


@pytest.mark.parametrize("key", [{}, {"idempotencyKey": "once"}])
async def test_a_backend_that_ends_at_its_commit_leaves_the_service_unavailable(
    scene: DonationScene, database: Database, key: dict[str, str]
) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        for statement in ENDS_ITSELF:
            connection.execute(statement)
    call = donation(scene, **key)
    body = await scene.world.execute(call.body["query"], by=scene.giver, **call.body["variables"])
    assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAVAILABLE"]
    assert [error["extensions"]["inDoubt"] for error in body["errors"]] == [True]
    assert await scene.world.scalar(DONATED) == 0

    for _ in range(2 if key else 1):
        again = await scene.world.execute(call.body["query"], by=scene.giver, **call.body["variables"])
        assert again["data"]["donate"]["errors"] == []
    assert await scene.world.scalar(DONATED) == 1
    await scene.world.assert_clean_ledger()
