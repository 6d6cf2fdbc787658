"""Live events through real server processes: two at once, one that ends, a database that restarts."""

import asyncio
from contextlib import ExitStack, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from models import Collective, FxRate, now
from services.core.settings import Settings
from services.database import engine as database_engine
from services.database import migrations
from tests.donation_world import Scene
from tests.factories import World, of
from tests.subscription_client import POSITION, Client, connected, process, serving

TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { amount { value } } } }"""


async def following(client: Client, row: Collective, after: str) -> None:
    """Follow a collective's transactions."""
    await client.subscribe(TOLD, c=of(row), after=after)


async def no_rates_to_load(world: World) -> None:
    """Spare the servers the history of exchange rates, which nothing here needs."""
    rate = FxRate(
        base="EUR", quote="USD", rate=Decimal(1), source="ECB", valid_from=now() + timedelta(days=1)
    )
    await world.add(rate)


async def told(client: Client) -> tuple[str, str]:
    """Return the amount and the position of what is told next."""
    found = (await client.next())["transactionPosted"]
    return found["transaction"]["amount"]["value"], found["position"]


async def test_two_processes_tell_the_same_and_who_comes_back_to_the_other_misses_nothing(
    world: World, tmp_path: Path
) -> None:
    scene = await Scene.create(world)
    await no_rates_to_load(world)
    after = (await world.ask(POSITION))["livePosition"]
    values = [f"{number}.00" for number in range(1, 31)]
    wanted = values.copy()
    async with (
        process(world.settings, tmp_path / "1.log") as one,
        process(world.settings, tmp_path / "2.log") as two,
        connected(two.address) as steady,
    ):
        await following(steady, scene.webpack, after)
        seen: list[str] = []

        async def give() -> None:
            for value in values:
                await world.fund(scene.webpack, value, by=scene.holder)
                await asyncio.sleep(0.01)

        giving = asyncio.create_task(give())
        async with connected(one.address) as client:
            await following(client, scene.webpack, after)
            for _ in range(8):
                value, after = await told(client)
                seen.append(value)
            ending = asyncio.create_task(one.end())
            code, more, after = await last_words(client, after)
            seen += more
            assert code == 1012
            assert await ending == 0
        async with connected(two.address) as client:
            await following(client, scene.webpack, after)
            while len(seen) < len(wanted):
                seen.append((await told(client))[0])
            assert await client.silent()
        await giving
        assert seen == wanted
        assert [(await told(steady))[0] for _ in wanted] == wanted
        assert await steady.silent()
        assert await two.end() == 0
        assert (await steady.closed())[0] == 1012


async def last_words(client: Client, after: str) -> tuple[int, list[str], str]:
    """Return the code of the close frame, what is told before it, and the last position."""
    found: list[str] = []
    with suppress(ConnectionClosed):
        while True:
            value, after = await told(client)
            found.append(value)
    code = client.socket.close_code
    assert code is not None
    return code, found, after


async def test_subscriptions_go_on_after_a_restart_of_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ExitStack() as stack:
        socket_dir = stack.enter_context(database_engine.embedded(folder))
        url = f"postgresql://{{}}@/commonweal?host={socket_dir}"
        database_engine.create_database(f"postgresql://postgres@/postgres?host={socket_dir}", "commonweal")
        settings = Settings(
            database_url=url.format(database_engine.APP_ROLE), owner_database_url=url.format("postgres")
        )
        migrations.upgrade(settings.owner_database_url)
        engine = database_engine.connect(settings)
        scene = await Scene.create(await World.create(settings, database_engine.sessions(engine)))
        async with serving(settings) as place, connected(place) as client:
            await following(client, scene.webpack, (await scene.world.ask(POSITION))["livePosition"])
            await scene.world.fund(scene.webpack, "1", by=scene.holder)
            assert (await told(client))[0] == "1.00"
            stack.pop_all().close()
            assert await client.silent()
            assert stack.enter_context(database_engine.embedded(folder)) == socket_dir
            await scene.world.fund(scene.webpack, "2", by=scene.holder)
            await scene.world.fund(scene.webpack, "3", by=scene.holder)
            assert [(await told(client))[0] for _ in range(2)] == ["2.00", "3.00"]
            assert await client.silent()
        await engine.dispose()
