"""Each check of an order's way from one status to another, called alone: no other layer hides it."""

from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, new_id
from models.enums import OrderStatus
from services.access import actor as actors
from services.access.actor import Actor
from services.core.errors import IdempotencyConflict, InvalidState, NotFound
from services.orders import idempotency, transitions
from tests.donation_world import DonationScene, decode_order_id, expect_order
from tests.factories import Person, World, money

PENDING, APPROVED, REJECTED = OrderStatus.PENDING, OrderStatus.APPROVED, OrderStatus.REJECTED


async def load_actor(session: AsyncSession, person: Person) -> Actor:
    """Load a person as the actor of an operation."""
    return await actors.load(session, token=person.token)


async def requested(world: World) -> tuple[DonationScene, UUID]:
    """Submit an expense."""
    scene = await DonationScene.among_others(world)
    return scene, decode_order_id(await scene.expense("4.00"))


async def test_a_status_changes_once(shared: World) -> None:
    _, order_id = await requested(shared)
    async with shared.sessions() as one:
        order = await one.get_one(Order, order_id)
        await transitions.change_status(one, order, from_status=PENDING, to_status=APPROVED)
        assert order.status == APPROVED
        await one.commit()
    async with shared.sessions() as two:
        stale = await two.get_one(Order, order_id)
        with pytest.raises(InvalidState):
            await transitions.change_status(two, stale, from_status=PENDING, to_status=REJECTED)
        await two.commit()
    assert await shared.scalar('SELECT status FROM "order" WHERE id = :id', id=order_id) == APPROVED


async def test_an_order_that_may_not_be_seen_is_not_found(shared: World) -> None:
    scene = await DonationScene.among_others(shared)
    await shared.fund(scene.payee.user, "5.00", by=shared.admin)
    cash_out = await shared.mutate("cashOut", "order { id }", by=scene.payee, amount=money("4.00"))
    order_id = decode_order_id(expect_order(cash_out))
    stranger = await shared.person(f"stranger-{new_id().hex[-12:]}")
    async with shared.sessions() as session:
        own, _ = await transitions.load_for_decision(
            session, await load_actor(session, scene.payee), order_id=order_id
        )
        assert own.order.id == order_id
        with pytest.raises(NotFound):
            await transitions.load_for_decision(
                session, await load_actor(session, stranger), order_id=order_id
            )


# Keys


def test_a_request_is_a_mutation_and_its_input() -> None:
    first = idempotency.hash_request("approveOrder", {"id": "ord_1"})
    assert first == idempotency.hash_request("approveOrder", {"id": "ord_1"})
    assert first != idempotency.hash_request("payOrder", {"id": "ord_1"})
    assert first != idempotency.hash_request("approveOrder", {"id": "ord_2"})


async def test_a_key_belongs_to_one_request_of_one_person(shared: World) -> None:
    scene = await DonationScene.among_others(shared)
    result_id = new_id()
    async with shared.sessions() as session:
        giver = await load_actor(session, scene.giver)
        payee = await load_actor(session, scene.payee)
        claim = idempotency.claim_key
        assert await claim(session, giver, key="k", request=b"1", result_id=result_id) is None
        assert await claim(session, giver, key="k", request=b"1", result_id=new_id()) == result_id
        with pytest.raises(IdempotencyConflict):
            await claim(session, giver, key="k", request=b"2", result_id=new_id())
        other_id = new_id()
        assert await claim(session, payee, key="k", request=b"2", result_id=other_id) is None
        assert await claim(session, payee, key="k", request=b"2", result_id=new_id()) == other_id
