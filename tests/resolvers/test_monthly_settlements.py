"""Once a month each host is asked for the fees and tips that it keeps for the platform."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from models import Collective, Order, Outbox, new_id, now
from models.enums import MemberRole, OrderStatus, OrderType
from services.orders import monthly_settlements
from tests.donation_world import DonationScene
from tests.factories import Person, World, money, public_id, ref

SEEN = """query($id: ID!) { order(id: $id) { id type status description createdBy { slug } from { slug }
    to { slug } amount { value currency } settlement { reference covers month paid { value currency }
    fees { value currency } tips { value currency } } } }"""
KEPT = "SELECT posted FROM ledger_account WHERE book_id = :book AND owner_id = :owner AND kind = 'BALANCE'"

BROKEN = """CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'broken'; END $$;
    CREATE TRIGGER broken BEFORE INSERT ON settlement FOR EACH ROW
    WHEN (NEW.host_id = '{host}') EXECUTE FUNCTION broken()"""


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene with a platform fee of 5 %, of which the hosts keep some by now."""
    await world.rate("EUR", "USD", "1.2")
    await world.platform_fee(500)
    return await DonationScene.create(world, funds="100.00")


def begin_of_month(months_ahead: int) -> datetime:
    """Return the beginning of a coming month, some hours after which the job runs."""
    moment = now().astimezone(UTC).replace(day=1)
    for _ in range(months_ahead):
        moment = (moment + timedelta(days=32)).replace(day=1)
    return moment.replace(hour=5)


def this_month() -> date:
    """Return the first day of this month."""
    return now().astimezone(UTC).date().replace(day=1)


async def ask(scene: DonationScene, *, months_ahead: int = 1) -> int:
    """Run the job at the beginning of a coming month."""
    return await monthly_settlements.make_due(scene.world.sessions, at=begin_of_month(months_ahead))


async def settlements(scene: DonationScene) -> list[str]:
    """Return the public ids of all settlements, the oldest first."""
    statement = select(Order).where(col(Order.type) == OrderType.SETTLEMENT).order_by(col(Order.id))
    async with scene.world.sessions() as session:
        return [public_id("Order", row.id) for row in (await session.execute(statement)).scalars()]


async def kept(scene: DonationScene, host: Collective) -> int:
    """Return what a host keeps for the platform, in minor units."""
    return int(await scene.world.scalar(KEPT, book=host.id, owner=scene.world.platform.id))


async def tip(scene: DonationScene, value: str) -> None:
    """Give from webpack to babel with a tip of the same amount."""
    payload = await scene.donate(value, platformTip=money(value))
    assert payload["errors"] == []


async def seen_by(scene: DonationScene, order: str, by: Person | None) -> Any:
    """Return a settlement as a person sees it."""
    return (await scene.world.query(SEEN, by=by, id=order))["order"]


async def test_a_host_is_asked_once_and_owes_nothing_after_it_has_paid(scene: DonationScene) -> None:
    world = scene.world
    await tip(scene, "7.00")
    assert await kept(scene, scene.host) == 500 + 700
    made = await asyncio.gather(*(ask(scene) for _ in range(4)))
    assert sum(made) == 1
    (order,) = await settlements(scene)
    accountant = await world.person("accountant")
    await world.member(scene.host, accountant, MemberRole.ACCOUNTANT)
    for viewer in (scene.holder, accountant, world.admin):
        assert await seen_by(scene, order, viewer) == {
            "id": order,
            "type": "SETTLEMENT",
            "status": "PENDING",
            "description": f"{this_month():%Y-%m}",
            "createdBy": None,
            "from": ref(scene.host),
            "to": ref(world.platform),
            "amount": money("12.00"),
            "settlement": {
                "reference": order,
                "covers": "PLATFORM_FEES",
                "month": str(this_month()),
                "paid": money("12.00"),
                "fees": money("5.00"),
                "tips": money("7.00"),
            },
        }
    for stranger in (scene.giver, scene.friend, None):
        assert await seen_by(scene, order, stranger) is None
    await require_mail(scene, order)
    with pytest.raises(AssertionError, match="FORBIDDEN"):
        await world.mutate("approveOrder", by=scene.holder, id=order)
    approved = await world.mutate("approveOrder", "order { status }", by=world.admin, id=order)
    assert approved == {"order": {"status": "PAID"}, "errors": []}
    assert await kept(scene, scene.host) == 0
    assert await ask(scene) == await ask(scene, months_ahead=2) == 0
    await world.assert_clean_ledger()


async def require_mail(scene: DonationScene, order: str) -> None:
    """Require that the host's admin was told what to pay, with the reference."""
    statement = select(Outbox).where(col(Outbox.template) == "settlement_due")
    async with scene.world.sessions() as session:
        (mail,) = (await session.execute(statement)).scalars().all()
    assert mail.recipient == scene.holder.email
    assert mail.payload.items() >= {"fees": "5.00 USD", "tips": "7.00 USD", "reference": order}.items()


async def test_less_than_ten_dollars_is_carried_to_the_next_month(scene: DonationScene) -> None:
    await tip(scene, "4.99")
    assert await ask(scene) == 0
    assert await settlements(scene) == []
    await tip(scene, "0.01")
    assert await ask(scene, months_ahead=2) == 1
    (order,) = await settlements(scene)
    settlement = (await seen_by(scene, order, scene.holder))["settlement"]
    assert (settlement["fees"], settlement["tips"]) == (money("5.00"), money("5.00"))


async def test_what_was_rejected_is_asked_for_again_and_what_is_open_is_not(scene: DonationScene) -> None:
    world = scene.world
    await tip(scene, "10.00")
    assert await ask(scene) == 1
    assert await ask(scene, months_ahead=2) == 0  # it is asked for already
    await tip(scene, "12.00")
    assert await ask(scene, months_ahead=3) == 1
    first, second = await settlements(scene)
    assert (await seen_by(scene, second, world.admin))["settlement"]["paid"] == money("12.00")
    for order in (first, second):
        rejected = await world.mutate("rejectOrder", by=world.admin, id=order, reason="not arrived")
        assert rejected["errors"] == []
    assert await ask(scene, months_ahead=3) == 0  # a month is asked for once
    assert await ask(scene, months_ahead=4) == 1
    settlement = (await seen_by(scene, (await settlements(scene))[2], world.admin))["settlement"]
    assert (settlement["fees"], settlement["tips"]) == (money("5.00"), money("22.00"))


async def test_what_the_host_settles_by_itself_is_left_out(scene: DonationScene) -> None:
    world = scene.world
    await tip(scene, "20.00")
    payload = await world.mutate(
        "settleHosts",
        "order { id }",
        by=scene.holder,
        **{"from": ref(scene.host), "to": ref(world.platform)},
        amount=money("16.00"),
        covers="PLATFORM_FEES",
        reference="bank",
    )
    assert payload["errors"] == []
    assert await ask(scene) == 0  # 9.00 are left
    assert (await world.mutate("approveOrder", by=world.admin, id=payload["order"]["id"]))["errors"] == []
    assert await ask(scene, months_ahead=2) == 0
    assert await kept(scene, scene.host) == 900


async def test_a_host_of_another_currency_pays_in_its_own(scene: DonationScene) -> None:
    world = scene.world
    european = await scene.host_of("european", currency="EUR")
    euros = await scene.community("euros", european, scene.friend, currency="EUR")
    await world.fund(euros, "170.00", by=scene.holder)
    assert await kept(scene, european) == 850  # 10.20 USD
    assert await ask(scene) == 1
    (order,) = await settlements(scene)
    seen = await seen_by(scene, order, scene.holder)
    assert (seen["amount"], seen["settlement"]["paid"]) == (money("10.20"), money("8.50", "EUR"))
    approved = await world.mutate("approveOrder", by=world.admin, id=order)
    assert approved["errors"] == []
    assert await kept(scene, european) == 0
    await world.assert_clean_ledger()


async def test_a_host_waits_for_the_rate_of_its_currency(scene: DonationScene) -> None:
    world = scene.world
    swiss = await scene.host_of("swiss", currency="CHF")
    francs = await scene.community("francs", swiss, scene.friend, currency="CHF")
    await world.fund(francs, "1000.00", by=scene.holder)
    assert await ask(scene) == 0
    await world.rate("CHF", "USD", "1.1")
    assert await ask(scene) == 1


async def test_a_host_that_cannot_be_asked_keeps_no_other_waiting(scene: DonationScene) -> None:
    world = scene.world
    other = await scene.host_of("another")
    more = await scene.community("more", other, scene.friend)
    for payee, holder in ((scene.babel, scene.holder), (more, scene.holder)):
        await world.fund(payee, "1000.00", by=holder)
    with psycopg.connect(world.settings.owner_database_url, autocommit=True) as owner:
        owner.execute(BROKEN.format(host=min(scene.host.id, other.id)).encode())
    assert await ask(scene) == 1
    with psycopg.connect(world.settings.owner_database_url, autocommit=True) as owner:
        owner.execute("DROP TRIGGER broken ON settlement")
    assert await ask(scene) == 1


async def test_the_database_has_one_settlement_of_a_host_and_month(scene: DonationScene) -> None:
    await tip(scene, "7.00")
    assert await ask(scene) == 1
    again = """INSERT INTO settlement (order_id, reference, paid_minor, covers, host_id, month, fees_minor,
        tips_minor) SELECT CAST(:id AS uuid), reference, paid_minor, covers, host_id, month, fees_minor,
        tips_minor FROM settlement"""
    wrong = "UPDATE settlement SET tips_minor = tips_minor + 1"
    async with scene.world.sessions() as session:
        order = Order(
            id=new_id(),
            type=OrderType.SETTLEMENT,
            status=OrderStatus.PENDING,
            from_id=scene.host.id,
            to_id=scene.world.platform.id,
            currency="USD",
            amount=1,
        )
        session.add(order)
        await session.flush()
        with pytest.raises(IntegrityError, match="uq_settlement_host_id_month"):
            await session.execute(text(again), {"id": order.id})
        await session.rollback()
    async with scene.world.sessions() as session:
        with pytest.raises(Exception, match="permission denied"):
            await session.execute(text(wrong))
