"""Dry runs and repeated keys, for every mutation that moves money or makes an order."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.donation_world import DonationScene, error_code, expect_order
from tests.factories import Person, World, money, ref

SHOWN = """order { type status amount { minorUnits currency } approvedAmount { minorUnits }
    from { slug } to { slug } actions { type fromStatus toStatus amount { minorUnits } }
    transactions { kind amount { minorUnits } toCollectiveAmount { minorUnits }
        postings { amount { minorUnits } balanceAfter { minorUnits } seq account { kind } } } }"""
FIELDS = {"approveOrders": f"results {{ errors {{ code }} {SHOWN} }}"}
IDS = {"approveOrders": "results { id order { id } }"}


@dataclass(frozen=True)
class Call:
    """A mutation that succeeds, and how another payload of it differs."""

    mutation: str
    by: Person
    given: dict[str, Any]
    other: dict[str, Any] = field(default_factory=lambda: {"amount": money("2.00")})


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.among_others(shared)


async def _donate(scene: DonationScene) -> Call:
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    return Call("donate", scene.giver, arguments)


async def _donate_manually(scene: DonationScene) -> Call:
    arguments = {"from": ref(scene.payee), "to": ref(scene.babel), "amount": money("1.00")}
    return Call("donate", scene.payee, arguments | {"paymentMethod": "MANUAL"})


async def _add_funds(scene: DonationScene) -> Call:
    return Call("addFunds", scene.holder, {"to": ref(scene.babel), "amount": money("1.00")})


async def _transfer(scene: DonationScene) -> Call:
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    return Call("transferFunds", scene.giver, arguments, {"description": "another"})


async def _submit(scene: DonationScene) -> Call:
    arguments = {
        "from": ref(scene.webpack),
        "to": ref(scene.payee),
        "items": [{"description": "train", "amount": money("1.00")}],
    }
    other = {"items": [{"description": "bus", "amount": money("1.00")}]}
    return Call("submitExpense", scene.payee, arguments, other)


async def _approve(scene: DonationScene) -> Call:
    arguments = {"id": await scene.expense("3.00")}
    return Call("approveOrder", scene.giver, arguments, {"reason": "another"})


async def _approve_into_a_balance(scene: DonationScene) -> Call:
    arguments = {"id": await scene.expense("3.00", payoutMethod="BALANCE")}
    return Call(
        "approveOrder",
        scene.giver,
        arguments | {"amount": money("2.50"), "reason": "less"},
        {"amount": money("2.00")},
    )


async def _approve_a_donation(scene: DonationScene) -> Call:
    order_id = expect_order(
        await scene.donate("3.00", by=scene.payee, from_=scene.payee, paymentMethod="MANUAL")
    )
    return Call("approveOrder", scene.holder, {"id": order_id}, {"reason": "another"})


async def _approve_many(scene: DonationScene) -> Call:
    orders = [await scene.expense("1.00") for _ in range(3)]
    return Call("approveOrders", scene.giver, {"ids": orders[:2]}, {"ids": orders})


async def _reject(scene: DonationScene) -> Call:
    arguments = {"id": await scene.expense("3.00"), "reason": "no"}
    return Call("rejectOrder", scene.giver, arguments, {"reason": "another"})


async def _pay(scene: DonationScene) -> Call:
    order_id = await scene.expense("3.00")
    expect_order(await scene.approve(order_id))
    return Call("payOrder", scene.holder, {"id": order_id}, {"processorFee": money("0.01")})


async def _cancel(scene: DonationScene) -> Call:
    order_id = await scene.expense("3.00")
    expect_order(await scene.approve(order_id))
    return Call("cancelOrder", scene.payee, {"id": order_id}, {"reason": "another"})


async def _refund(scene: DonationScene) -> Call:
    return Call("refundOrder", scene.holder, {"id": expect_order(await scene.transfer("3.00"))})


async def _refund_a_part(scene: DonationScene) -> Call:
    arguments = {"id": expect_order(await scene.transfer("3.00")), "amount": money("1.00")}
    return Call("refundOrder", scene.holder, arguments)


CALLS: dict[str, Callable[[DonationScene], Awaitable[Call]]] = {
    made.__name__.strip("_"): made
    for made in (
        _donate,
        _donate_manually,
        _add_funds,
        _transfer,
        _submit,
        _approve,
        _approve_into_a_balance,
        _approve_a_donation,
        _approve_many,
        _reject,
        _pay,
        _cancel,
        _refund,
        _refund_a_part,
    )
}
every_call = pytest.mark.parametrize("name", CALLS)


async def run_call(
    scene: DonationScene, call: Call, *, fields: str | None = None, **more: Any
) -> dict[str, Any]:
    """Run a call with more input; return its payload."""
    output = fields or FIELDS.get(call.mutation, SHOWN)
    return await scene.world.mutate(call.mutation, output, by=call.by, **(call.given | more))


def ids_of(call: Call) -> str:
    """Return the fields that identify the result of a call."""
    extra = " transactions { id }" if call.mutation == "refundOrder" else ""
    return IDS.get(call.mutation, "order { id }") + extra


@every_call
async def test_a_dry_run_returns_the_same_payload_and_stores_nothing(scene: DonationScene, name: str) -> None:
    call = await CALLS[name](scene)
    before = await scene.world.fingerprint()

    tried = await run_call(scene, call, dryRun=True)
    assert await scene.world.fingerprint() == before
    real = await run_call(scene, call)

    assert tried == real
    assert real["errors"] == []
    assert await scene.world.fingerprint() != before
    await scene.world.assert_clean_ledger()


@every_call
async def test_a_dry_run_does_not_use_up_its_key(scene: DonationScene, name: str) -> None:
    call = await CALLS[name](scene)
    before = await scene.world.fingerprint()

    for _ in range(2):
        assert (await run_call(scene, call, dryRun=True, idempotencyKey="k"))["errors"] == []
    assert await scene.world.fingerprint() == before
    assert (await run_call(scene, call, idempotencyKey="k"))["errors"] == []
    assert await scene.world.fingerprint() != before


@every_call
async def test_the_same_key_and_input_return_the_first_result(scene: DonationScene, name: str) -> None:
    call = await CALLS[name](scene)
    first = await run_call(scene, call, fields=ids_of(call), idempotencyKey="k")
    before = await scene.world.fingerprint()

    again = [await run_call(scene, call, fields=ids_of(call), idempotencyKey="k") for _ in range(2)]

    assert first["errors"] == []
    assert again == [first, first]
    assert await scene.world.fingerprint() == before
    await scene.world.assert_clean_ledger()


@every_call
async def test_the_same_key_with_another_input_is_a_conflict(scene: DonationScene, name: str) -> None:
    call = await CALLS[name](scene)
    await run_call(scene, call, idempotencyKey="k")
    before = await scene.world.fingerprint()

    answer = await run_call(scene, call, idempotencyKey="k", **call.other)

    assert error_code(answer) == "IDEMPOTENCY_CONFLICT"
    assert answer["errors"][0]["path"] == ["input", "idempotencyKey"]
    assert await scene.world.fingerprint() == before


@every_call
async def test_a_key_has_up_to_200_characters(scene: DonationScene, name: str) -> None:
    call = await CALLS[name](scene)
    for bad in ("", "k" * 201):
        before = await scene.world.fingerprint()
        answer = await run_call(scene, call, idempotencyKey=bad)
        codes = [error["code"] for part in [answer, *answer.get("results", [])] for error in part["errors"]]
        # An order of many is refused each by itself.
        assert set(codes) == {"INVALID_INPUT"}
        assert await scene.world.fingerprint() == before

    good = await run_call(scene, call, idempotencyKey="k" * 200)
    assert good["errors"] == []
    assert all(result["errors"] == [] for result in good.get("results", []))


async def test_a_key_cannot_be_reused_for_another_mutation(scene: DonationScene) -> None:
    donation = await _donate(scene)
    await run_call(scene, donation, idempotencyKey="k")

    transfer = Call("transferFunds", donation.by, donation.given)

    assert error_code(await run_call(scene, transfer, idempotencyKey="k")) == "IDEMPOTENCY_CONFLICT"


async def test_keys_belong_to_one_user(scene: DonationScene) -> None:
    order_id = expect_order(await scene.donate("1.00", idempotencyKey="k"))
    await scene.world.fund(scene.babel, "5.00", by=scene.holder)

    back = await scene.donate(
        "1.00", by=scene.friend, from_=scene.babel, to=scene.webpack, idempotencyKey="k"
    )

    assert expect_order(back) != order_id


async def test_a_failed_mutation_may_be_retried_with_its_key(scene: DonationScene) -> None:
    assert error_code(await scene.donate("150.00", idempotencyKey="k")) == "INSUFFICIENT_FUNDS"
    await scene.world.fund(scene.webpack, "50.00", by=scene.holder)

    expect_order(await scene.donate("150.00", idempotencyKey="k"))

    assert await scene.world.balance(scene.webpack) == (0, 0)


async def test_a_dry_run_reports_the_same_problem(scene: DonationScene) -> None:
    before = await scene.world.fingerprint()

    assert error_code(await scene.donate("100.01", dryRun=True)) == "INSUFFICIENT_FUNDS"
    assert await scene.world.fingerprint() == before


async def test_a_replay_returns_the_current_order(scene: DonationScene) -> None:
    first = await scene.transfer("10.00", idempotencyKey="k")
    expect_order(await scene.refund(first["order"]["id"]))

    again = await scene.transfer("10.00", idempotencyKey="k")

    assert again["order"]["id"] == first["order"]["id"]
    assert again["order"]["status"] == "REFUNDED"
    assert await scene.world.balance(scene.webpack) == (10_000, 0)
