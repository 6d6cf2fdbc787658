"""Currents given, moved and returned; money paid out."""

import asyncio
from typing import Any

import pytest

from models.enums import MemberRole
from tests.donation_world import code, done
from tests.factories import World, money, of
from tests.hours_world import TimeScene

PAID = "order { id status type amount { minorUnits currency } }"


@pytest.fixture
async def scene(world: World) -> TimeScene:
    made = await TimeScene.create(world)
    await made.earn("10.000")
    return made


async def give(scene: TimeScene, mutation: str, value: str, to: Any, **more: Any) -> dict[str, Any]:
    given = {"from": of(scene.john), "to": of(to), "amount": money(value, "CUR"), **more}
    return await scene.world.do(mutation, PAID, by=more.pop("by", scene.john), **given)


async def test_currents_are_donated_to_a_nonprofit(scene: TimeScene) -> None:
    made = await give(scene, "donate", "2.500", scene.nonprofit)
    assert made["order"]["amount"] == {"minorUnits": "2500", "currency": "CUR"}
    assert made["order"]["status"] == "PAID"
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 7500
    assert (await scene.balance(scene.nonprofit, "CUR", by=scene.chris))["available"] == 2500
    await scene.world.audit_is_clean()


async def test_currents_go_from_person_to_person(scene: TimeScene) -> None:
    ann = await scene.world.person("ann", currency="EUR")
    assert done(await give(scene, "transferFunds", "0.001", ann))
    assert (await scene.balance(ann, "CUR", by=ann))["posted"] == 1
    query = "{ transactions(filter: {kind: [TRANSFER]}) { nodes { id } } }"
    for viewer, count in ((scene.mark, 0), (None, 0), (ann, 1), (scene.john, 1)):
        found = await scene.world.ask(query, by=viewer)
        assert len(found["transactions"]["nodes"]) == count


async def test_a_community_without_a_host_has_currents(scene: TimeScene) -> None:
    club = await scene.world.community("club", None, scene.chris)
    assert done(await give(scene, "donate", "1.000", club))
    assert (await scene.balance(club, "CUR", by=scene.chris))["posted"] == 1000


@pytest.mark.parametrize("mutation", ["donate", "transferFunds"])
async def test_more_than_there_is_is_refused(scene: TimeScene, mutation: str) -> None:
    before = await scene.world.fingerprint()
    assert code(await give(scene, mutation, "10.001", scene.nonprofit)) == "INSUFFICIENT_FUNDS"
    assert code(await give(scene, mutation, "0.0001", scene.nonprofit)) == "INVALID_INPUT"
    assert await scene.world.fingerprint() == before


async def test_currents_have_no_payment_method_but_the_balance(scene: TimeScene) -> None:
    before = await scene.world.fingerprint()
    made = await give(scene, "donate", "1.000", scene.nonprofit, paymentMethod="MANUAL")
    assert [(e["code"], e["path"]) for e in made["errors"]] == [("INVALID_INPUT", ["input", "paymentMethod"])]
    assert await scene.world.fingerprint() == before


async def test_a_gift_of_currents_is_returned(scene: TimeScene) -> None:
    made = done(await give(scene, "transferFunds", "2.000", scene.business))
    part = await scene.world.do(
        "refundOrder", "order { status }", by=scene.mark, id=made, amount=money("0.500", "CUR")
    )
    assert part["errors"] == []
    rest = await scene.world.do("refundOrder", "order { status }", by=scene.mark, id=made)
    assert rest["order"]["status"] == "REFUNDED"
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 10_000
    assert (await scene.balance(scene.business, "CUR", by=scene.mark))["posted"] == 0
    await scene.world.audit_is_clean()


async def test_an_unclaimed_user_receives_and_does_not_spend(scene: TimeScene) -> None:
    kim = await scene.world.person("kim", claimed=False)
    assert done(await give(scene, "transferFunds", "1.000", kim))
    before = await scene.world.fingerprint()
    given = {"from": of(kim), "to": of(scene.john), "amount": money("0.500", "CUR")}
    refused = await scene.world.do("transferFunds", PAID, by=kim, **given)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_STATE", ["input", "from"])]
    assert await scene.world.fingerprint() == before


async def with_dollars(scene: TimeScene, value: str) -> None:
    """Let the platform hold dollars for John."""
    await scene.world.fund(scene.john.user, value, by=scene.world.admin)


async def cash_out(scene: TimeScene, value: str = "20.00", **more: Any) -> dict[str, Any]:
    return await scene.world.do("cashOut", PAID, by=scene.john, amount=money(value), **more)


async def second_admin(scene: TimeScene) -> Any:
    return scene.world.admin


async def test_a_cash_out_holds_then_is_approved_and_paid(scene: TimeScene) -> None:
    await with_dollars(scene, "25.00")
    asked = done(await cash_out(scene))
    assert await scene.balance(scene.john, "USD", by=scene.john) == {
        "posted": 2500,
        "held": 2000,
        "available": 500,
        "pending": 0,
    }
    admin = scene.world.admin
    approved = await scene.world.do("approveOrder", PAID, by=admin, id=asked)
    assert approved["order"]["status"] == "APPROVED"
    fields = f"{PAID} order {{ transactions {{ kind toCollectiveAmount {{ minorUnits }} }} }}"
    paid = await scene.world.do("payOrder", fields, by=admin, id=asked, processorFee=money("0.25"))
    assert paid["order"]["status"] == "PAID"
    assert paid["order"]["transactions"] == [
        {"kind": "CASH_OUT", "toCollectiveAmount": {"minorUnits": "1975"}}
    ]
    assert await scene.balance(scene.john, "USD", by=scene.john) == {
        "posted": 500,
        "held": 0,
        "available": 500,
        "pending": 0,
    }
    await scene.world.audit_is_clean()


async def test_the_same_balance_is_not_paid_out_twice(scene: TimeScene) -> None:
    await with_dollars(scene, "25.00")
    made = await asyncio.gather(*(cash_out(scene) for _ in range(5)))
    assert sorted(code(m) or "OK" for m in made) == ["INSUFFICIENT_FUNDS"] * 4 + ["OK"]


@pytest.mark.parametrize("mutation", ["rejectOrder", "cancelOrder"])
async def test_a_cash_out_that_is_refused_or_withdrawn_frees_its_hold(
    scene: TimeScene, mutation: str
) -> None:
    await with_dollars(scene, "25.00")
    asked = done(await cash_out(scene))
    by = scene.world.admin if mutation == "rejectOrder" else scene.john
    closed = await scene.world.do(mutation, PAID, by=by, id=asked, reason="No")
    assert closed["errors"] == []
    assert (await scene.balance(scene.john, "USD", by=scene.john))["held"] == 0
    await scene.world.audit_is_clean()


async def test_nobody_approves_or_pays_their_own_cash_out(scene: TimeScene) -> None:
    await scene.world.member(scene.world.platform, scene.john, MemberRole.ADMIN)
    await with_dollars(scene, "25.00")
    asked = done(await cash_out(scene))
    before = await scene.world.fingerprint()
    assert code(await scene.world.do("approveOrder", PAID, by=scene.john, id=asked)) == "SELF_APPROVAL"
    assert await scene.world.fingerprint() == before
    assert done(await scene.world.do("approveOrder", PAID, by=scene.world.admin, id=asked))
    before = await scene.world.fingerprint()
    assert code(await scene.world.do("payOrder", PAID, by=scene.john, id=asked)) == "SELF_APPROVAL"
    assert await scene.world.fingerprint() == before


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"amount": money("1.000", "CUR")}, ["input", "amount", "currency"]),
        ({"amount": money("0.00")}, ["input", "amount", "value"]),
        ({"amount": money("1.00"), "payoutMethod": "BALANCE"}, ["input", "payoutMethod"]),
    ],
    ids=str,
)
async def test_a_cash_out_is_of_money_to_the_outside(
    scene: TimeScene, given: dict[str, Any], path: list[str]
) -> None:
    before = await scene.world.fingerprint()
    made = await scene.world.do("cashOut", PAID, by=scene.john, **given)
    assert [(e["code"], e["path"]) for e in made["errors"]] == [("INVALID_INPUT", path)]
    assert await scene.world.fingerprint() == before


async def test_the_same_key_asks_once(scene: TimeScene) -> None:
    await with_dollars(scene, "25.00")
    first = await cash_out(scene, "10.00", idempotencyKey="k")
    assert await cash_out(scene, "10.00", idempotencyKey="k") == first
    assert (await scene.balance(scene.john, "USD", by=scene.john))["held"] == 1000
