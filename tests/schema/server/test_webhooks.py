"""What a provider tells over HTTP: only its own word, once, and not an old one."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from models.enums import OrderStatus
from schema.server.app import create_application
from services.payments import intake
from services.providers import fake, signatures
from services.providers.protocol import EventKind
from tests.factories import World
from tests.payment_world import CardScene, order_of

COUNT = "SELECT count(*) FROM provider_event"


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards."""
    return await CardScene.create(world)


@pytest.fixture
async def client(scene: CardScene) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a server that runs no jobs."""
    app = create_application(replace(scene.world.settings, worker="none"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as result:
            yield result


async def post(client: httpx.AsyncClient, body: bytes, signature: str = "", name: str = "fake") -> int:
    """Tell something and return the status of the answer."""
    answer = await client.post(f"/webhooks/{name}", content=body, headers={signatures.HEADER: signature})
    return answer.status_code


async def test_a_proved_event_is_stored_once_and_queued(scene: CardScene, client: httpx.AsyncClient) -> None:
    order = order_of(await scene.give())
    event = scene.event(EventKind.SUCCEEDED, order)
    for _ in range(2):
        assert await post(client, event.body, event.headers[signatures.HEADER]) == 200
    assert await scene.world.scalar(COUNT) == 1
    jobs = "SELECT count(*) FROM jobs.procrastinate_jobs WHERE task_name = :name"
    assert await scene.world.scalar(jobs, name=intake.JOB) == 1
    assert await scene.status(order) is OrderStatus.PENDING
    await scene.process_all()
    assert await scene.status(order) is OrderStatus.PAID


async def test_forged_old_and_other_words_are_refused(scene: CardScene, client: httpx.AsyncClient) -> None:
    order = order_of(await scene.give())
    event = scene.event(EventKind.SUCCEEDED, order)
    right = event.headers[signatures.HEADER]
    stamp = int(right.partition(",")[0].removeprefix("t="))
    old = scene.event(EventKind.SUCCEEDED, order, at=stamp - 301)
    other = signatures.sign(event.body, key=b"another key")
    changed = event.body.replace(b"SUCCEEDED", b"CANCELLED")
    cases = [
        (event.body, "", 400),
        (event.body, "t=1,v1=", 400),
        (event.body, f"t={stamp}", 400),
        (old.body, old.headers[signatures.HEADER], 400),
        (event.body, other, 400),
        (changed, right, 400),
        (b"x" * (intake.MAX_BYTES + 1), right, 413),
    ]
    for body, signature, status in cases:
        assert await post(client, body, signature) == status, signature
    assert await post(client, event.body, right, name="paypal") == 404
    assert await scene.world.scalar(COUNT) == 0


async def test_what_cannot_be_stored_is_refused_and_what_can_waits(
    scene: CardScene, client: httpx.AsyncClient
) -> None:
    order = order_of(await scene.give())
    event = scene.event(EventKind.FAILED, order, failure="\0")
    assert await post(client, event.body, event.headers[signatures.HEADER]) == 400
    deep = b"[" * 100_000
    assert await post(client, deep, signatures.sign(deep, key=fake._KEY)) == 400
    form = "/fake-provider/pay"
    for body, status in (
        (deep, 400),
        (b"x" * (intake.MAX_BYTES + 1), 413),
        (json.dumps({"clientSecret": "\0", "number": fake.SUCCEEDS}).encode(), 404),
        (json.dumps({"clientSecret": "\ud800", "number": fake.SUCCEEDS}).encode(), 404),
    ):
        assert (await client.post(form, content=body)).status_code == status, body[:40]


async def test_while_the_database_is_away_events_are_told_again(
    scene: CardScene, client: httpx.AsyncClient
) -> None:
    event = scene.event(EventKind.SUCCEEDED, order_of(await scene.give()))
    transport: Any = client._transport
    app = transport.app
    away = create_async_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    app.state.sessions = async_sessionmaker(away)
    for path, body in (
        ("/webhooks/fake", event.body),
        ("/fake-provider/pay", json.dumps({"clientSecret": "x", "number": fake.SUCCEEDS}).encode()),
    ):
        answer = await client.post(path, content=body, headers=dict(event.headers))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    await away.dispose()


async def test_the_pretended_card_form(scene: CardScene, client: httpx.AsyncClient) -> None:
    payload = await scene.give()
    order, secret = order_of(payload), payload["clientSecret"]

    async def pay(**fields: object) -> httpx.Response:
        return await client.post("/fake-provider/pay", content=json.dumps(fields))

    assert (await pay(clientSecret=secret)).status_code == 400
    assert (await pay(clientSecret=secret, number="4111111111111111")).status_code == 400
    assert (await pay(clientSecret=secret + "x", number=fake.SUCCEEDS)).status_code == 404
    step = await pay(clientSecret=secret, number=fake.NEEDS_STEP)
    assert step.json() == {"outcome": "NEEDS_STEP"}
    done = await pay(clientSecret=secret, number=fake.NEEDS_STEP, stepDone=True)
    assert done.json() == {"outcome": "TAKEN"}
    await scene.process_all()
    assert await scene.status(order) is OrderStatus.PAID
    assert (await pay(clientSecret=secret, number=fake.SUCCEEDS)).status_code == 404
