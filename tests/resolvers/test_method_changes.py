"""Changing and archiving payment and payout methods: a new one takes an old one's place."""

import asyncio
from typing import Any

import pytest

from tests.donation_world import DonationScene, expect_order
from tests.factories import Person, World, error_codes, money, ref

PAYMENT = "paymentMethod { id name type feeBps feeFixed { value } host { slug } }"
PAYOUT = "payoutMethod { id name type details }"
OFFERED = """query($s: String!) { collective(slug: $s) { payoutMethods { id }
    ... on Organization { paymentMethods { id } } } }"""


@pytest.fixture
async def scene(world: World) -> DonationScene:
    return await DonationScene.create(world)


async def offered(scene: DonationScene, slug: str, field: str, by: Person) -> list[str]:
    data = await scene.world.query(OFFERED, by=by, s=slug)
    return [row["id"] for row in data["collective"][field]]


async def payout_method(scene: DonationScene, **arguments: Any) -> str:
    payload = await scene.world.mutate(
        "createPayoutMethod",
        PAYOUT,
        by=scene.payee,
        collective=ref(scene.payee),
        name="Bank",
        type="BANK_ACCOUNT",
        details={"iban": "DE89370400440532013000"} | arguments,
    )
    assert payload["errors"] == [], payload
    return str(payload["payoutMethod"]["id"])


async def test_a_changed_payment_method_is_another_with_the_rest_as_it_was(scene: DonationScene) -> None:
    old = await scene.method(bps=290, fixed="0.30")

    payload = await scene.world.mutate(
        "updatePaymentMethod", PAYMENT, by=scene.holder, id=old, feeBps=300, name="Card 2"
    )

    new = payload["paymentMethod"]
    assert payload["errors"] == [] and new["id"] != old
    expected = {"name": "Card 2", "type": "BALANCE", "feeBps": 300, "feeFixed": {"value": "0.30"}}
    assert new == expected | {"id": new["id"], "host": ref(scene.host)}
    assert await offered(scene, scene.host.slug, "paymentMethods", scene.holder) == [new["id"]]
    removed = await scene.world.mutate(
        "updatePaymentMethod", PAYMENT, by=scene.holder, id=new["id"], feeFixed=money("0.00")
    )
    assert removed["paymentMethod"]["feeFixed"] == {"value": "0.00"}
    gift: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    for gone in (old, new["id"]):
        await scene.world.expect_problem(
            "donate", "NOT_FOUND", ["input", "paymentMethod"], by=scene.giver, paymentMethod=gone, **gift
        )


async def test_orders_keep_the_fees_of_the_method_they_name(scene: DonationScene) -> None:
    payload = await scene.world.mutate(
        "createPaymentMethod",
        PAYMENT,
        by=scene.holder,
        host=ref(scene.host),
        name="Transfer",
        type="MANUAL",
        feeBps=1000,
    )
    old = payload["paymentMethod"]["id"]
    gift: dict[str, Any] = {"from": ref(scene.payee), "to": ref(scene.babel), "amount": money("10.00")}
    given = await scene.world.mutate("donate", "order { id }", by=scene.payee, paymentMethod=old, **gift)
    order_id = expect_order(given)

    changed = await scene.world.mutate("updatePaymentMethod", PAYMENT, by=scene.holder, id=old, feeBps=0)
    approved = await scene.world.mutate(
        "approveOrder",
        "order { id paymentMethod { id } transactions { paymentProcessorFeeInHostCurrency { value } } }",
        by=scene.holder,
        id=order_id,
    )

    assert changed["errors"] == approved["errors"] == []
    assert approved["order"]["paymentMethod"] == {"id": old}
    assert "1.00" in {
        row["paymentProcessorFeeInHostCurrency"]["value"] for row in approved["order"]["transactions"]
    }
    await scene.world.assert_clean_ledger()


async def test_the_bank_account_of_a_payment_method_is_corrected(scene: DonationScene) -> None:
    created = await scene.world.mutate(
        "createPaymentMethod", PAYMENT, by=scene.holder, host=ref(scene.host), name="Bank", type="MANUAL"
    )
    old = created["paymentMethod"]["id"]
    path = ["input", "accountHolder"]
    await scene.world.expect_problem(
        "updatePaymentMethod", "INVALID_INPUT", path, by=scene.holder, id=old, accountHolder="X"
    )
    ids = [old]
    for change in ({"iban": "DE89 3704 0044 0532 0130 00"}, {"accountHolder": "The Host"}, {"feeBps": 1}):
        payload = await scene.world.mutate(
            "updatePaymentMethod", PAYMENT, by=scene.holder, id=ids[-1], **change
        )
        assert payload["errors"] == []
        ids.append(payload["paymentMethod"]["id"])
    gift: dict[str, Any] = {"from": ref(scene.payee), "to": ref(scene.babel), "amount": money("1.00")}
    told = await scene.world.mutate(
        "donate",
        "paymentInstructions { iban accountHolder }",
        by=scene.payee,
        payWith={"id": ids[-1]},
        **gift,
    )
    assert told["paymentInstructions"] == {"iban": "DE89370400440532013000", "accountHolder": "The Host"}
    card = await scene.method()
    for iban in ("DE89370400440532013000", ""):
        await scene.world.expect_problem(
            "updatePaymentMethod", "INVALID_INPUT", ["input", "iban"], by=scene.holder, id=card, iban=iban
        )


async def test_a_changed_payout_method_redirects_no_expense(scene: DonationScene) -> None:
    old = await payout_method(scene)
    bill: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.payee), "amount": money("1.00")}
    submitted = await scene.world.mutate(
        "submitExpense", "order { id }", by=scene.payee, payoutMethod=old, **bill
    )
    order_id = expect_order(submitted)

    payload = await scene.world.mutate(
        "updatePayoutMethod", PAYOUT, by=scene.payee, id=old, details={"iban": "gb33 BUKB 2020 1555 5555 55"}
    )

    new = payload["payoutMethod"]
    assert new == {
        "id": new["id"],
        "name": "Bank",
        "type": "BANK_ACCOUNT",
        "details": {"iban": "GB33BUKB20201555555555"},
    }
    assert await offered(scene, scene.payee.user.slug, "payoutMethods", scene.payee) == [new["id"]]
    query = "query($i: ID!) { order(id: $i) { payoutMethod { id details } } }"
    named = (await scene.world.query(query, by=scene.holder, i=order_id))["order"]["payoutMethod"]
    assert named == {"id": old, "details": {"iban": "DE89370400440532013000"}}
    path = ["input", "payoutMethod"]
    await scene.world.expect_problem(
        "updateExpense", "NOT_FOUND", path, by=scene.payee, id=order_id, payoutMethod=old
    )
    updated = await scene.world.mutate(
        "updateExpense", "order { payoutMethod { id } }", by=scene.payee, id=order_id, payoutMethod=new["id"]
    )
    assert updated["order"]["payoutMethod"] == {"id": new["id"]}


@pytest.mark.parametrize("kind", ["Payment", "Payout"])
async def test_an_archived_method_is_neither_offered_nor_changed(scene: DonationScene, kind: str) -> None:
    method_id = await (scene.method() if kind == "Payment" else payout_method(scene))
    by = scene.holder if kind == "Payment" else scene.payee
    slug = scene.host.slug if kind == "Payment" else scene.payee.user.slug

    payload = await scene.world.mutate(
        f"archive{kind}Method", f"{kind.lower()}Method {{ id }}", by=by, id=method_id
    )

    assert payload == {f"{kind.lower()}Method": {"id": method_id}, "errors": []}
    assert await offered(scene, slug, f"{kind.lower()}Methods", by) == []
    for mutation in (f"archive{kind}Method", f"update{kind}Method"):
        await scene.world.expect_problem(mutation, "INVALID_STATE", ["input", "id"], by=by, id=method_id)


@pytest.mark.parametrize("kind", ["Payment", "Payout"])
async def test_of_two_changes_at_once_one_wins(scene: DonationScene, kind: str) -> None:
    method_id = await (scene.method() if kind == "Payment" else payout_method(scene))
    by = scene.holder if kind == "Payment" else scene.payee

    payloads = await asyncio.gather(
        *(scene.world.mutate(f"update{kind}Method", by=by, id=method_id, name=name) for name in "abc")
    )

    codes = sorted(error_codes(payload) for payload in payloads)
    taken: tuple[str, list[str] | None] = ("INVALID_STATE", ["input", "id"])
    assert codes == [[], [taken], [taken]]
    table = f"{kind.lower()}_method"
    assert await scene.world.scalar(f"SELECT count(*) FROM {table} WHERE archived_at IS NULL") == 1
