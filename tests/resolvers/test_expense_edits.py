"""Edits of expenses, the limits of their approval, the payout fee, and their currencies."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from services.orders.payout_fees import highest_fee_minor
from tests.donation_world import (
    ORDER,
    DonationScene,
    decode_order_id,
    error_code,
    expect_order,
    expect_status,
)
from tests.factories import World, money, ref


@pytest.fixture
async def scene(world: World) -> DonationScene:
    return await DonationScene.create(world)


async def update(scene: DonationScene, order_id: str, **arguments: Any) -> dict[str, Any]:
    """Update an expense as its payee; return the payload."""
    return await scene.world.mutate("updateExpense", ORDER, by=scene.payee, id=order_id, **arguments)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "fee_minor"),
    [
        (100, "USD", 5000),
        (50_000, "USD", 5000),
        (50_005, "USD", 5001),
        (1000, "JPY", 100),
        (0, "KWD", 50_000),
    ],
)
def test_the_highest_fee_is_a_tenth_or_fifty_units(amount_minor: int, currency: str, fee_minor: int) -> None:
    assert highest_fee_minor(amount_minor, currency) == fee_minor


async def test_a_payout_fee_is_bounded(scene: DonationScene) -> None:
    order_id = await scene.expense("1.00")
    expect_order(await scene.approve(order_id))
    for fee in ("1000.00", "50.01"):
        await scene.world.expect_problem(
            "payOrder",
            "INVALID_INPUT",
            ["input", "processorFee"],
            by=scene.holder,
            id=order_id,
            processorFee=money(fee),
        )

    expect_order(await scene.pay(order_id, processorFee=money("50.00")))

    assert await scene.world.balance(scene.webpack) == (10_000 - 100 - 5000, 0)
    await scene.world.assert_clean_ledger()


async def test_an_edit_of_a_pending_expense_keeps_it_pending(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00")

    assert (
        expect_status(await update(scene, order_id, amount=money("12.00"), description="taxi")) == "PENDING"
    )

    amount = await scene.world.scalar(
        'SELECT amount FROM "order" WHERE id = :id', id=decode_order_id(order_id)
    )
    assert amount == 1200
    expect_order(await scene.approve(order_id))
    assert await scene.world.balance(scene.webpack) == (10_000, 1200)


async def test_an_edit_of_an_approved_expense_frees_its_hold(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00")
    expect_order(await scene.approve(order_id))

    edited = await update(scene, order_id, amount=money("15.00"), idempotencyKey="once")

    assert edited["order"]["status"] == "PENDING"
    assert edited["order"]["approvedAmount"] is None
    assert await scene.world.balance(scene.webpack) == (10_000, 0)
    assert error_code(await scene.pay(order_id)) == "INVALID_STATE"
    expect_order(await scene.approve(order_id))
    assert await scene.world.balance(scene.webpack) == (10_000, 1500)
    before = await scene.world.fingerprint()
    assert (
        expect_order(await update(scene, order_id, amount=money("15.00"), idempotencyKey="once")) == order_id
    )
    expect_order(await update(scene, order_id, amount=money("16.00"), dryRun=True))
    assert await scene.world.fingerprint() == before
    expect_order(await scene.pay(order_id))
    assert await scene.world.balance(scene.webpack) == (8500, 0)
    await scene.world.assert_clean_ledger()


async def test_who_and_what_cannot_edit(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00")
    before = await scene.world.fingerprint()
    edits: list[dict[str, Any]] = [{}, {"amount": money("1.00", "EUR")}, {"items": []}]
    for changes in edits:
        assert error_code(await update(scene, order_id, **changes)) == "INVALID_INPUT", changes
    body = await scene.world.execute(
        "mutation($i: UpdateExpenseInput!) { updateExpense(input: $i) { errors { code } } }",
        by=scene.giver,
        i={"id": order_id, "amount": money("1.00")},
    )
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await scene.world.fingerprint() == before
    expect_order(await scene.reject(order_id))
    assert error_code(await update(scene, order_id, amount=money("1.00"))) == "INVALID_STATE"


async def test_a_part_of_items_is_approved_once_they_add_up(scene: DonationScene) -> None:
    lines = [
        {"description": "train", "amount": money("6.00")},
        {"description": "bread", "amount": money("4.00")},
    ]
    order_id = await _items(scene, lines)
    assert (
        error_code(await scene.approve(order_id, amount=money("6.00"), reason="no bread")) == "INVALID_INPUT"
    )

    expect_order(await update(scene, order_id, items=lines[:1]))
    expect_order(await scene.approve(order_id, amount=money("6.00")))

    assert await scene.world.balance(scene.webpack) == (10_000, 600)


async def _items(scene: DonationScene, lines: list[dict[str, Any]]) -> str:
    sides = {"from": ref(scene.webpack), "to": ref(scene.payee)}
    return expect_order(
        await scene.world.mutate("submitExpense", ORDER, by=scene.payee, items=lines, **sides)
    )


async def test_approval_and_edit_at_once_agree(scene: DonationScene) -> None:
    for value in ("5.00", "20.00"):
        order_id = await scene.expense("10.00")
        approved, edited = await asyncio.gather(
            scene.approve(order_id), update(scene, order_id, amount=money(value))
        )
        assert error_code(approved) in {None, "INVALID_STATE"}
        assert error_code(edited) in {None, "INVALID_STATE"}
        row = await scene.world.scalar(
            "SELECT status || ' ' || amount || ' ' || coalesce(approved_amount::text, '-') FROM \"order\""
            " WHERE id = :id",
            id=decode_order_id(order_id),
        )
        asked = f"{int(float(value) * 100)}"
        assert row in {f"PENDING {asked} -", "APPROVED 1000 1000", f"APPROVED {asked} {asked}"}
        await scene.world.assert_clean_ledger()


@pytest.mark.parametrize(("own", "billed"), [("EUR", "USD"), ("USD", "EUR")])
async def test_a_person_bills_in_the_payers_currency_and_has_both_balances(
    scene: DonationScene, own: str, billed: str
) -> None:
    world = scene.world
    await world.rate("EUR", "USD", "1.25")
    person = await world.person("traveller", currency=own)
    payer = await world.community("payer", world.platform, scene.giver, currency=billed)
    await world.fund(payer, "100.00", by=world.admin)
    order_id = await scene.expense(
        "10.00", by=person, from_=payer, to=person, currency=billed, payoutMethod="BALANCE"
    )

    assert expect_status(await scene.approve(order_id)) == "PAID"

    assert await world.balance(payer) == (9000, 0)
    data = await world.query("{ me { balances { currency available { minorUnits } } } }", by=person)
    amounts = {b["currency"]: b["available"]["minorUnits"] for b in data["me"]["balances"]}
    assert amounts[billed] == "1000"
    await world.assert_clean_ledger()


async def test_other_currencies_are_refused(scene: DonationScene) -> None:
    await scene.world.rate("EUR", "USD", "1.25")
    euro = await scene.community("euro", scene.host, scene.friend, currency="EUR")
    sides = {"from": ref(scene.webpack), "to": ref(euro)}
    for currency, more in (("JPY", {}), ("USD", {"payoutMethod": "BALANCE"})):
        await scene.world.expect_problem(
            "submitExpense",
            "INVALID_INPUT",
            ["input", "amount", "currency"],
            by=scene.friend,
            amount=money("10", currency),
            **sides,
            **more,
        )


async def test_the_database_alone_refuses_each(scene: DonationScene) -> None:
    order_id = decode_order_id(await scene.expense("10.00"))
    foreign = decode_order_id(expect_order(await scene.donate("1.00")))
    for sql, name, row_id in (
        (
            "UPDATE \"order\" SET status = 'APPROVED', approved_amount = 1001",
            "ck_order_expense_at_most",
            order_id,
        ),
        ('UPDATE "order" SET amount = 1', "the terms of an order", foreign),
        ('UPDATE "order" SET to_id = from_id', "permission denied", order_id),
    ):
        async with scene.world.sessions() as session:
            with pytest.raises(Exception, match=name):
                await session.execute(text(f"{sql} WHERE id = :id"), {"id": row_id})
