"""Currents are donated, transferred and refunded, and money is paid out."""

import asyncio
from typing import Any

import pytest

from models.enums import MemberRole
from tests.donation_world import error_code, expect_order
from tests.factories import World, money, ref
from tests.hours_world import HoursScene

PAID = "order { id status type amount { minorUnits currency } }"


@pytest.fixture
async def scene(world: World) -> HoursScene:
    created = await HoursScene.create(world)
    await created.earn("10.000")
    return created


async def give(scene: HoursScene, mutation: str, value: str, to: Any, **more: Any) -> dict[str, Any]:
    arguments = {"from": ref(scene.john), "to": ref(to), "amount": money(value, "CUR"), **more}
    return await scene.world.mutate(mutation, PAID, by=more.pop("by", scene.john), **arguments)


async def test_currents_are_donated_to_a_nonprofit(scene: HoursScene) -> None:
    payload = await give(scene, "donate", "2.500", scene.nonprofit)
    assert payload["order"]["amount"] == {"minorUnits": "2500", "currency": "CUR"}
    assert payload["order"]["status"] == "PAID"
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 7500
    assert (await scene.balance(scene.nonprofit, "CUR", by=scene.chris))["available"] == 2500
    await scene.world.assert_clean_ledger()


async def test_currents_go_from_person_to_person(scene: HoursScene) -> None:
    ann = await scene.world.person("ann", currency="EUR")
    assert expect_order(await give(scene, "transferFunds", "0.001", ann))
    assert (await scene.balance(ann, "CUR", by=ann))["posted"] == 1
    query = "{ transactions(filter: {kind: [TRANSFER]}) { nodes { id } } }"
    for viewer, count in ((scene.mark, 0), (None, 0), (ann, 1), (scene.john, 1)):
        data = await scene.world.query(query, by=viewer)
        assert len(data["transactions"]["nodes"]) == count


async def test_a_community_without_a_host_has_currents(scene: HoursScene) -> None:
    club = await scene.world.community("club", None, scene.chris)
    assert expect_order(await give(scene, "donate", "1.000", club))
    assert (await scene.balance(club, "CUR", by=scene.chris))["posted"] == 1000


@pytest.mark.parametrize("mutation", ["donate", "transferFunds"])
async def test_more_than_the_balance_is_refused(scene: HoursScene, mutation: str) -> None:
    before = await scene.world.fingerprint()
    assert error_code(await give(scene, mutation, "10.001", scene.nonprofit)) == "INSUFFICIENT_FUNDS"
    assert error_code(await give(scene, mutation, "0.0001", scene.nonprofit)) == "INVALID_INPUT"
    assert await scene.world.fingerprint() == before


async def test_currents_have_no_payment_method_but_the_balance(scene: HoursScene) -> None:
    before = await scene.world.fingerprint()
    payload = await give(scene, "donate", "1.000", scene.nonprofit, paymentMethod="MANUAL")
    assert [(e["code"], e["path"]) for e in payload["errors"]] == [
        ("INVALID_INPUT", ["input", "paymentMethod"])
    ]
    assert await scene.world.fingerprint() == before


async def test_a_donation_of_currents_is_refunded(scene: HoursScene) -> None:
    order_id = expect_order(await give(scene, "transferFunds", "2.000", scene.business))
    part = await scene.world.mutate(
        "refundOrder", "order { status }", by=scene.mark, id=order_id, amount=money("0.500", "CUR")
    )
    assert part["errors"] == []
    rest = await scene.world.mutate("refundOrder", "order { status }", by=scene.mark, id=order_id)
    assert rest["order"]["status"] == "REFUNDED"
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 10_000
    assert (await scene.balance(scene.business, "CUR", by=scene.mark))["posted"] == 0
    await scene.world.assert_clean_ledger()


async def test_an_unclaimed_user_can_receive_but_not_spend(scene: HoursScene) -> None:
    kim = await scene.world.person("kim", claimed=False)
    assert expect_order(await give(scene, "transferFunds", "1.000", kim))
    before = await scene.world.fingerprint()
    arguments = {"from": ref(kim), "to": ref(scene.john), "amount": money("0.500", "CUR")}
    refused = await scene.world.mutate("transferFunds", PAID, by=kim, **arguments)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_STATE", ["input", "from"])]
    assert await scene.world.fingerprint() == before


async def with_dollars(scene: HoursScene, value: str) -> None:
    """Fund John in dollars at the platform."""
    await scene.world.fund(scene.john.user, value, by=scene.world.admin)


async def cash_out(scene: HoursScene, value: str = "20.00", **more: Any) -> dict[str, Any]:
    return await scene.world.mutate("cashOut", PAID, by=scene.john, amount=money(value), **more)


async def second_admin(scene: HoursScene) -> Any:
    return scene.world.admin


async def test_a_cash_out_holds_then_is_approved_and_paid(scene: HoursScene) -> None:
    await with_dollars(scene, "25.00")
    order_id = expect_order(await cash_out(scene))
    assert await scene.balance(scene.john, "USD", by=scene.john) == {
        "posted": 2500,
        "held": 2000,
        "available": 500,
        "pending": 0,
    }
    admin = scene.world.admin
    approved = await scene.world.mutate("approveOrder", PAID, by=admin, id=order_id)
    assert approved["order"]["status"] == "APPROVED"
    fields = f"{PAID} order {{ transactions {{ kind toCollectiveAmount {{ minorUnits }} }} }}"
    paid = await scene.world.mutate("payOrder", fields, by=admin, id=order_id, processorFee=money("0.25"))
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
    await scene.world.assert_clean_ledger()


async def test_the_same_balance_is_not_paid_out_twice(scene: HoursScene) -> None:
    await with_dollars(scene, "25.00")
    payloads = await asyncio.gather(*(cash_out(scene) for _ in range(5)))
    assert sorted(error_code(m) or "OK" for m in payloads) == ["INSUFFICIENT_FUNDS"] * 4 + ["OK"]


@pytest.mark.parametrize("mutation", ["rejectOrder", "cancelOrder"])
async def test_a_rejected_or_cancelled_cash_out_releases_its_hold(scene: HoursScene, mutation: str) -> None:
    await with_dollars(scene, "25.00")
    order_id = expect_order(await cash_out(scene))
    by = scene.world.admin if mutation == "rejectOrder" else scene.john
    closed = await scene.world.mutate(mutation, PAID, by=by, id=order_id, reason="No")
    assert closed["errors"] == []
    assert (await scene.balance(scene.john, "USD", by=scene.john))["held"] == 0
    await scene.world.assert_clean_ledger()


async def test_users_cannot_approve_or_pay_their_own_cash_outs(scene: HoursScene) -> None:
    await scene.world.member(scene.world.platform, scene.john, MemberRole.ADMIN)
    await with_dollars(scene, "25.00")
    order_id = expect_order(await cash_out(scene))
    before = await scene.world.fingerprint()
    assert (
        error_code(await scene.world.mutate("approveOrder", PAID, by=scene.john, id=order_id))
        == "SELF_APPROVAL"
    )
    assert await scene.world.fingerprint() == before
    assert expect_order(await scene.world.mutate("approveOrder", PAID, by=scene.world.admin, id=order_id))
    before = await scene.world.fingerprint()
    assert (
        error_code(await scene.world.mutate("payOrder", PAID, by=scene.john, id=order_id)) == "SELF_APPROVAL"
    )
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
async def test_a_cash_out_pays_money_outside(
    scene: HoursScene, given: dict[str, Any], path: list[str]
) -> None:
    before = await scene.world.fingerprint()
    payload = await scene.world.mutate("cashOut", PAID, by=scene.john, **given)
    assert [(e["code"], e["path"]) for e in payload["errors"]] == [("INVALID_INPUT", path)]
    assert await scene.world.fingerprint() == before


async def test_the_same_key_requests_one_cash_out(scene: HoursScene) -> None:
    await with_dollars(scene, "25.00")
    first = await cash_out(scene, "10.00", idempotencyKey="k")
    assert await cash_out(scene, "10.00", idempotencyKey="k") == first
    assert (await scene.balance(scene.john, "USD", by=scene.john))["held"] == 1000
