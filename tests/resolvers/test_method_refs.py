"""Ways of paying and being paid, and what events credit, as references and enums; the texts go on working."""

from typing import Any

import pytest

from tests.donation_world import DonationScene
from tests.factories import World, error_codes, money, ref

KINDS = "order { id status paymentMethod { id type } payoutMethod { id type } }"


@pytest.fixture
async def scene(world: World) -> DonationScene:
    return await DonationScene.create(world)


async def give(scene: DonationScene, **arguments: Any) -> dict[str, Any]:
    """Give 1.00 from webpack to babel."""
    sides = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    return await scene.world.mutate("donate", KINDS, by=scene.giver, **sides, **arguments)


async def bill(scene: DonationScene, **arguments: Any) -> dict[str, Any]:
    """Bill 1.00 to webpack."""
    sides = {"from": ref(scene.webpack), "to": ref(scene.payee), "amount": money("1.00")}
    return await scene.world.mutate("submitExpense", KINDS, by=scene.payee, **sides, **arguments)


async def method_of(scene: DonationScene) -> str:
    """Return the id of a payout method of the payee."""
    payload = await scene.world.mutate(
        "createPayoutMethod",
        "payoutMethod { id }",
        by=scene.payee,
        collective=ref(scene.payee),
        name="Bank",
        type="BANK_ACCOUNT",
        details={"iban": "DE89 3704 0044 0532 0130 00"},
    )
    return str(payload["payoutMethod"]["id"])


async def test_a_donation_names_how_it_is_paid(scene: DonationScene) -> None:
    payload = await scene.world.mutate(
        "createPaymentMethod",
        "paymentMethod { id }",
        by=scene.holder,
        host=ref(scene.host),
        name="Transfer",
        type="MANUAL",
    )
    method = payload["paymentMethod"]["id"]
    for named, status in (
        ({}, "PAID"),
        ({"payWith": {"type": "BALANCE"}}, "PAID"),
        ({"payWith": {"type": "MANUAL"}}, "PENDING"),
        ({"paymentMethod": "MANUAL"}, "PENDING"),
        ({"payWith": {"id": method}}, "PENDING"),
        ({"paymentMethod": method}, "PENDING"),
    ):
        payload = await give(scene, **named)
        assert (payload["errors"], payload["order"]["status"]) == ([], status), named
    assert payload["order"]["paymentMethod"]["id"] == method


async def test_a_payee_names_how_to_be_paid(scene: DonationScene) -> None:
    method, payload = await method_of(scene), {}
    for named in ({"payTo": {"id": method}}, {"payoutMethod": method}):
        payload = await bill(scene, **named)
        assert (payload["errors"], payload["order"]["payoutMethod"]["id"]) == ([], method)
    order = payload["order"]["id"]
    await scene.world.fund(scene.payee.user, "5.00", by=scene.world.admin)
    changed = await scene.world.mutate(
        "updateExpense", KINDS, by=scene.payee, id=order, payTo={"type": "BALANCE"}
    )
    assert (changed["errors"], changed["order"]["payoutMethod"]) == ([], None)
    out = await scene.world.mutate(
        "cashOut", KINDS, by=scene.payee, amount=money("1.00"), payTo={"id": method}
    )
    assert (out["errors"], out["order"]["payoutMethod"]["id"]) == ([], method)


async def test_refusals_name_the_field(scene: DonationScene) -> None:
    method = await method_of(scene)
    before = await scene.world.fingerprint()
    unknown = f"pay_{method[4:]}"
    for payload, code, path in (
        (await give(scene, payWith={"type": "MANUAL"}, paymentMethod="MANUAL"), "INVALID_INPUT", "payWith"),
        (await give(scene, payWith={"id": "x"}), "INVALID_INPUT", "payWith.id"),
        (await give(scene, payWith={"id": method}), "INVALID_INPUT", "payWith.id"),
        (await give(scene, paymentMethod=unknown), "NOT_FOUND", "paymentMethod"),
        (await bill(scene, payTo={"type": "PAYPAL"}), "INVALID_INPUT", "payTo.type"),
        (await bill(scene, payTo={"id": method}, payoutMethod=method), "INVALID_INPUT", "payTo"),
    ):
        assert error_codes(payload) == [(code, ["input", *path.split(".")])]
    assert await scene.world.fingerprint() == before


@pytest.mark.parametrize("ref_of", [{}, {"type": "MANUAL", "id": "x"}, {"type": None}])
async def test_a_reference_is_one_of_both(scene: DonationScene, ref_of: dict[str, Any]) -> None:
    query = "mutation($i: DonateInput!) { donate(input: $i) { errors { code } } }"
    sides = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    result = await scene.world.execute(query, by=scene.giver, i=sides | {"payWith": ref_of})
    assert result["errors"]


async def test_an_event_says_what_it_credits(scene: DonationScene) -> None:
    times = {"startsAt": "2030-01-01T10:00Z", "endsAt": "2030-01-01T12:00Z"}
    fields = "event { id creditPolicy hoursCredit }"
    common, event = {"parent": ref(scene.webpack), "name": "Ball", **times}, {}
    for named, credit in (
        ({}, "FULL_EVENT"),
        ({"hoursCredit": "ACTUAL"}, "ACTUAL"),
        ({"creditPolicy": "ACTUAL"}, "ACTUAL"),
    ):
        payload = await scene.world.mutate("createEvent", fields, by=scene.giver, **common, **named)
        event = payload["event"]
        assert (event["creditPolicy"], event["hoursCredit"]) == (credit, credit)
    changed = await scene.world.mutate(
        "updateEvent", fields, by=scene.giver, event={"id": event["id"]}, hoursCredit="FULL_EVENT"
    )
    assert (changed["errors"], changed["event"]["hoursCredit"]) == ([], "FULL_EVENT")
