"""The database's own rules of refunds through a provider, whatever the server does."""

import asyncio

import psycopg
import pytest

from models.enums import OrderStatus
from services.providers.protocol import EventKind
from tests.conftest import Database
from tests.donation_world import decode_order_id, error_code
from tests.factories import World
from tests.payment_world import REFUND, CardScene, dispute, order_of, refund
from tests.postgres_backends import waiting_backend


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("'REQUESTED', 10001", "never exceed the payment"),
        ("'CONFIRMED', 10001", "never exceed the payment"),
        ("'SENT', 1", "once the payment is collected"),
    ],
)
async def test_the_database_refuses_refunds_beyond_the_payment(
    scene: CardScene, row: str, expected: str
) -> None:
    order = await scene.paid()
    assert await _insert_refund(scene, order, "'CONFIRMED', 4000") is None
    assert expected in str(await _insert_refund(scene, order, row))
    assert "never exceed" in str(await _insert_refund(scene, order, "'REQUESTED', 6001"))
    assert await _insert_refund(scene, order, "'REQUESTED', 6000") is None
    assert "ends once" in str(await _update_refund(scene, "amount_minor = 1", owner=True))
    assert await _update_refund(scene, "status = 'SENT'") is None
    assert "ends once" in str(await _update_refund(scene, "status = 'REQUESTED'"))


async def test_the_database_refuses_refunds_of_disputed_and_uncollected_payments(scene: CardScene) -> None:
    waiting = order_of(await scene.give())
    assert "once the payment is collected" in str(await _insert_refund(scene, waiting, "'REQUESTED', 1"))
    order = await scene.paid()
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert "a disputed payment" in str(await _insert_refund(scene, order, "'REQUESTED', 1"))
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST))  # not posted: nobody has enough
    assert await scene.status(order) is OrderStatus.PAID
    assert "a disputed payment" in str(await _insert_refund(scene, order, "'REQUESTED', 1"))
    payload = await scene.world.mutate("refundOrder", REFUND, by=scene.donations.holder, id=order)
    assert error_code(payload) == "INVALID_STATE"


async def test_the_database_counts_again_when_a_refund_is_confirmed(scene: CardScene) -> None:
    order = await scene.paid()
    assert await _insert_refund(scene, order, "'REQUESTED', 6000") is None
    assert await _insert_refund(scene, order, "'CONFIRMED', 4001") is None
    assert "never exceed" in str(await _update_refund(scene, "status = 'CONFIRMED'"))
    assert await _update_refund(scene, "status = 'SENT', external_id = 're_1'") is None
    for change in ("NULL", "'re_2'"):
        assert "ends once" in str(await _update_refund(scene, f"external_id = {change}"))
    assert await _update_refund(scene, "status = 'FAILED'") is None


async def test_the_database_names_a_dispute_and_an_account_once(scene: CardScene) -> None:
    order = await scene.paid()
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_WON))
    emptied = "dispute_id = NULL, dispute_status = NULL, dispute_fee_minor = NULL, is_dispute_held = NULL"
    assert "has ended" in str(await _write(scene, f"UPDATE provider_payment SET {emptied}"))
    for change in ("NULL", "'acct_2'"):
        said = await _write(scene, f"UPDATE provider_account SET status = 'DISABLED', external_id = {change}")
        assert "named once" in str(said)


async def _insert_refund(scene: CardScene, order: str, row: str) -> str | None:
    return await _write(
        scene,
        "INSERT INTO provider_refund (id, order_id, is_stray, status, amount_minor)"
        f" VALUES (gen_random_uuid(), '{decode_order_id(order)}', true, {row})",
    )


async def _update_refund(scene: CardScene, change: str, *, owner: bool = False) -> str | None:
    statement = f"UPDATE provider_refund SET {change} WHERE amount_minor = 6000"
    return await _write(scene, statement, owner=owner)


async def _write(scene: CardScene, statement: str, *, owner: bool = False) -> str | None:
    settings = scene.world.settings
    url = settings.owner_database_url if owner else settings.database_url
    async with await psycopg.AsyncConnection.connect(url) as connection:
        try:
            await connection.execute(statement.encode())
        except psycopg.Error as refused:
            return str(refused)
    return None


async def test_a_refund_locks_the_payment_first_as_the_provider_does(
    scene: CardScene, database: Database
) -> None:
    order = await scene.paid()
    order_id = decode_order_id(order)
    with psycopg.connect(scene.world.settings.owner_database_url) as provider:
        provider.execute("SELECT FROM provider_payment WHERE order_id = %s FOR NO KEY UPDATE", [order_id])
        asked = asyncio.create_task(refund(scene, order, "10.00"))
        await waiting_backend(database)
        provider.execute('SELECT FROM "order" WHERE id = %s FOR UPDATE NOWAIT', [order_id])
    await asked
