"""Live events through real server processes: two at once, one that ends, a database that restarts."""

import asyncio
from contextlib import ExitStack, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from models import Collective, FxRate, now
from services.core.settings import Settings
from services.database import embedded_postgres, migrations
from services.database import engine as database_engine
from tests.donation_world import DonationScene
from tests.factories import World, ref
from tests.subscription_client import POSITION, WebsocketClient, connect_client, run_process, serve_in_process

TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { amount { value } } } }"""


async def following(client: WebsocketClient, row: Collective, after: str) -> None:
    """Follow a collective's transactions."""
    await client.subscribe(TOLD, c=ref(row), after=after)


async def no_rates_to_load(world: World) -> None:
    """Spare the servers the history of exchange rates, which nothing here needs."""
    rate = FxRate(
        base="EUR", quote="USD", rate=Decimal(1), source="ECB", valid_from=now() + timedelta(days=1)
    )
    await world.add(rate)


async def told(client: WebsocketClient) -> tuple[str, str]:
    """Return the amount and the position of the next event."""
    transaction_posted = (await client.next())["transactionPosted"]
    return transaction_posted["transaction"]["amount"]["value"], transaction_posted["position"]


async def test_a_client_that_reconnects_to_another_process_misses_nothing(
    world: World, tmp_path: Path
) -> None:
    scene = await DonationScene.create(world)
    await no_rates_to_load(world)
    after = (await world.query(POSITION))["livePosition"]
    values = [f"{number}.00" for number in range(1, 31)]
    expected = values.copy()
    async with (
        run_process(world.settings, tmp_path / "1.log") as one,
        run_process(world.settings, tmp_path / "2.log") as two,
        connect_client(two.address) as steady,
    ):
        await following(steady, scene.webpack, after)
        seen: list[str] = []

        async def give() -> None:
            for value in values:
                await world.fund(scene.webpack, value, by=scene.holder)
                await asyncio.sleep(0.01)

        giving = asyncio.create_task(give())
        async with connect_client(one.address) as client:
            await following(client, scene.webpack, after)
            for _ in range(8):
                value, after = await told(client)
                seen.append(value)
            ending = asyncio.create_task(one.stop())
            code, more, after = await last_words(client, after)
            seen += more
            assert code == 1012
            assert await ending == 0
        async with connect_client(two.address) as client:
            await following(client, scene.webpack, after)
            while len(seen) < len(expected):
                seen.append((await told(client))[0])
            assert await client.is_silent()
        await giving
        assert seen == expected
        assert [(await told(steady))[0] for _ in expected] == expected
        assert await steady.is_silent()
        assert await two.stop() == 0
        assert (await steady.close_frame())[0] == 1012


async def last_words(client: WebsocketClient, after: str) -> tuple[int, list[str], str]:
    """Return the close code, the events before it, and the last position."""
    results: list[str] = []
    with suppress(ConnectionClosed):
        while True:
            value, after = await told(client)
            results.append(value)
    code = client.socket.close_code
    assert code is not None
    return code, results, after


async def test_subscriptions_continue_after_a_database_restart(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ExitStack() as stack:
        socket_dir = stack.enter_context(embedded_postgres.run_embedded_postgres(folder))
        url = f"postgresql://{{}}@/commonweal?host={socket_dir}"
        database_engine.create_database(f"postgresql://postgres@/postgres?host={socket_dir}", "commonweal")
        settings = Settings(
            database_url=url.format(database_engine.APP_ROLE), owner_database_url=url.format("postgres")
        )
        migrations.upgrade(settings.owner_database_url)
        engine = database_engine.create_pool(settings)
        scene = await DonationScene.create(
            await World.create(settings, database_engine.session_factory(engine))
        )
        async with serve_in_process(settings) as api, connect_client(api) as client:
            await following(client, scene.webpack, (await scene.world.query(POSITION))["livePosition"])
            await scene.world.fund(scene.webpack, "1", by=scene.holder)
            assert (await told(client))[0] == "1.00"
            stack.pop_all().close()
            assert await client.is_silent()
            assert stack.enter_context(embedded_postgres.run_embedded_postgres(folder)) == socket_dir
            await scene.world.fund(scene.webpack, "2", by=scene.holder)
            await scene.world.fund(scene.webpack, "3", by=scene.holder)
            assert [(await told(client))[0] for _ in range(2)] == ["2.00", "3.00"]
            assert await client.is_silent()
        await engine.dispose()
