"""What two people do where two could: paying what one approved; and currents received from others."""

from typing import Any

import pytest
from sqlalchemy import literal, text
from sqlalchemy.exc import DBAPIError

from models.enums import MemberRole
from services.offers import redemption_quote
from services.round_trips.pipelines import compile_statement
from tests.donation_world import error_code, expect_order
from tests.factories import Person, World, money, ref
from tests.offer_world import OfferScene

PAY = """INSERT INTO order_action (id, order_id, type, actor_id, to_status)
    VALUES (gen_random_uuid(), :order, 'PAY', :actor, 'PAID')"""


async def cash_out(world: World, person: Person) -> str:
    """Request a cash-out and approve it as the platform's ADMIN; return its id."""
    await world.fund(person.user, "50.00", by=world.admin)
    order_id = expect_order(await world.mutate("cashOut", "order { id }", by=person, amount=money("10.00")))
    assert error_code(await world.mutate("approveOrder", by=world.admin, id=order_id)) is None
    return order_id


async def test_one_admin_approves_and_pays_where_there_is_one(world: World) -> None:
    john = await world.person("john")
    order_id = await cash_out(world, john)
    await world.member(world.platform, john, MemberRole.ADMIN)  # the payee is nobody who could pay
    unclaimed = await world.person("kim", claimed=False)
    await world.member(world.platform, unclaimed, MemberRole.ADMIN)
    assert error_code(await world.mutate("payOrder", by=world.admin, id=order_id)) is None


async def test_a_cash_out_is_paid_by_another_where_there_are_two(world: World) -> None:
    john, eve = await world.person("john"), await world.person("eve")
    order_id = await cash_out(world, john)
    await world.member(world.platform, eve, MemberRole.ADMIN)
    await world.expect_problem("payOrder", "SELF_APPROVAL", ["input", "id"], by=world.admin, id=order_id)
    assert error_code(await world.mutate("payOrder", by=eve, id=order_id)) is None


async def test_a_redemption_is_paid_by_another_where_there_are_two(world: World) -> None:
    scene = await OfferScene.create(world)
    await world.member(scene.cafe, world.admin, MemberRole.ADMIN)
    order_id = expect_order(await scene.redeem(await scene.offer()))
    approved = await world.mutate("approveOrder", by=world.admin, id=order_id)
    assert approved["errors"] == []
    await world.member(world.platform, scene.ann, MemberRole.ADMIN)
    await world.expect_problem("payOrder", "SELF_APPROVAL", ["input", "id"], by=world.admin, id=order_id)
    assert error_code(await world.mutate("payOrder", by=scene.ann, id=order_id)) is None


async def test_the_database_wants_two_people_too(world: World) -> None:
    john, eve = await world.person("john"), await world.person("eve")
    await cash_out(world, john)
    await world.member(world.platform, eve, MemberRole.ADMIN)
    order = await world.scalar("SELECT id FROM \"order\" WHERE type = 'CASH_OUT'")
    with pytest.raises(DBAPIError, match="two people where two could"):
        async with world.sessions() as session, session.begin():
            await session.execute(text(PAY), {"order": order, "actor": world.admin.user.id})


async def give(scene: OfferScene, giver: Person, value: str, *, to: Any = None) -> None:
    arguments: dict[str, Any] = {"from": ref(giver), "to": ref(to or scene.john)}
    payload = await scene.world.mutate("transferFunds", by=giver, amount=money(value, "CUR"), **arguments)
    assert payload["errors"] == [], payload


async def test_currents_received_lately_do_not_count_for_master_offers(world: World) -> None:
    scene = await OfferScene.create(world, currents="0.250")
    await world.currents(scene.ann)
    master, other = await scene.offer(share=100, isMaster=True), await scene.offer("Tea", share=100)
    await give(scene, scene.ann, "5.000")
    capped = await scene.redeem(master, "100.00")
    assert (capped["order"]["amount"]["value"], capped["caps"]) == (
        "0.250",
        ["WEEKLY_LIMIT", "RECEIVED_LATELY"],
    )
    refused = await scene.redeem(master, "1.00")
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("LIMIT_EXCEEDED", ["input", "offer"])]
    assert (await scene.redeem(other, "20.00"))["order"]["amount"]["value"] == "1.000"
    await world.assert_clean_ledger()


@pytest.mark.parametrize("through", ["a community", "a refund"])
async def test_a_detour_does_not_help(world: World, through: str) -> None:
    scene = await OfferScene.create(world, currents="0.100")
    await world.currents(scene.ann)
    master = await scene.offer(share=100, isMaster=True)
    if through == "a community":
        club = await world.community("club", None, scene.ann)
        await give(scene, scene.ann, "3.000", to=club)
        onward: dict[str, Any] = {"from": ref(club), "to": ref(scene.john)}
        payload = await world.mutate("transferFunds", by=scene.ann, amount=money("3.000", "CUR"), **onward)
        assert payload["errors"] == []
        assert (await scene.redeem(master, "100.00"))["order"]["amount"]["value"] == "0.100"
    else:  # what was given away and came back is one's own
        arguments: dict[str, Any] = {"from": ref(scene.john), "to": ref(scene.ann)}
        given = await world.mutate(
            "transferFunds", "order { id }", by=scene.john, amount=money("0.100", "CUR"), **arguments
        )
        refunded = await world.mutate("refundOrder", by=scene.ann, id=expect_order(given), reason="sorry")
        assert refunded["errors"] == []
        assert (await scene.redeem(master, "100.00"))["order"]["amount"]["value"] == "0.100"


async def test_the_database_does_not_count_them_either(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await OfferScene.create(world, currents="0.100")
    await world.currents(scene.ann)
    master = await scene.offer(share=100, isMaster=True)
    await give(scene, scene.ann, "3.000")
    monkeypatch.setattr(redemption_quote, "_received_lately", lambda *_: literal(0).label("none"))
    monkeypatch.setattr(redemption_quote, "_FIGURES", compile_statement(redemption_quote._select_figures()))
    before = await world.fingerprint()
    refused = await scene.redeem(master, "10.00")
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("LIMIT_EXCEEDED", ["input", "offer"])]
    assert await world.fingerprint() == before
