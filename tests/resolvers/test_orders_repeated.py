"""Dry runs and repeated keys, for every mutation that moves money or makes an order."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.donation_world import Scene, code, done
from tests.factories import Person, World, money, of

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
async def scene(shared: World) -> Scene:
    """Return a scene in which webpack has 100.00."""
    return await Scene.among_others(shared)


async def _donate(scene: Scene) -> Call:
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    return Call("donate", scene.giver, given)


async def _donate_manually(scene: Scene) -> Call:
    given = {"from": of(scene.payee), "to": of(scene.babel), "amount": money("1.00")}
    return Call("donate", scene.payee, given | {"paymentMethod": "MANUAL"})


async def _add_funds(scene: Scene) -> Call:
    return Call("addFunds", scene.holder, {"to": of(scene.babel), "amount": money("1.00")})


async def _transfer(scene: Scene) -> Call:
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    return Call("transferFunds", scene.giver, given, {"description": "another"})


async def _submit(scene: Scene) -> Call:
    given = {
        "from": of(scene.webpack),
        "to": of(scene.payee),
        "items": [{"description": "train", "amount": money("1.00")}],
    }
    other = {"items": [{"description": "bus", "amount": money("1.00")}]}
    return Call("submitExpense", scene.payee, given, other)


async def _approve(scene: Scene) -> Call:
    given = {"id": await scene.expense("3.00")}
    return Call("approveOrder", scene.giver, given, {"reason": "another"})


async def _approve_into_a_balance(scene: Scene) -> Call:
    given = {"id": await scene.expense("3.00", payoutMethod="BALANCE")}
    return Call(
        "approveOrder",
        scene.giver,
        given | {"amount": money("2.50"), "reason": "less"},
        {"amount": money("2.00")},
    )


async def _approve_a_gift(scene: Scene) -> Call:
    order_id = done(await scene.donate("3.00", by=scene.payee, from_=scene.payee, paymentMethod="MANUAL"))
    return Call("approveOrder", scene.holder, {"id": order_id}, {"reason": "another"})


async def _approve_many(scene: Scene) -> Call:
    orders = [await scene.expense("1.00") for _ in range(3)]
    return Call("approveOrders", scene.giver, {"ids": orders[:2]}, {"ids": orders})


async def _reject(scene: Scene) -> Call:
    given = {"id": await scene.expense("3.00"), "reason": "no"}
    return Call("rejectOrder", scene.giver, given, {"reason": "another"})


async def _pay(scene: Scene) -> Call:
    order_id = await scene.expense("3.00")
    done(await scene.approve(order_id))
    return Call("payOrder", scene.holder, {"id": order_id}, {"processorFee": money("0.01")})


async def _cancel(scene: Scene) -> Call:
    order_id = await scene.expense("3.00")
    done(await scene.approve(order_id))
    return Call("cancelOrder", scene.payee, {"id": order_id}, {"reason": "another"})


async def _refund(scene: Scene) -> Call:
    return Call("refundOrder", scene.holder, {"id": done(await scene.transfer("3.00"))})


async def _refund_a_part(scene: Scene) -> Call:
    given = {"id": done(await scene.transfer("3.00")), "amount": money("1.00")}
    return Call("refundOrder", scene.holder, given)


CALLS: dict[str, Callable[[Scene], Awaitable[Call]]] = {
    made.__name__.strip("_"): made
    for made in (
        _donate,
        _donate_manually,
        _add_funds,
        _transfer,
        _submit,
        _approve,
        _approve_into_a_balance,
        _approve_a_gift,
        _approve_many,
        _reject,
        _pay,
        _cancel,
        _refund,
        _refund_a_part,
    )
}
every_call = pytest.mark.parametrize("name", CALLS)


async def ask(scene: Scene, call: Call, *, fields: str | None = None, **more: Any) -> dict[str, Any]:
    """Run a call with more input; return its payload."""
    shown = fields or FIELDS.get(call.mutation, SHOWN)
    return await scene.world.do(call.mutation, shown, by=call.by, **(call.given | more))


def ids_of(call: Call) -> str:
    """Return the fields that name what a call made."""
    extra = " transactions { id }" if call.mutation == "refundOrder" else ""
    return IDS.get(call.mutation, "order { id }") + extra


@every_call
async def test_a_dry_run_answers_as_the_real_one_and_stores_nothing(scene: Scene, name: str) -> None:
    call = await CALLS[name](scene)
    before = await scene.world.fingerprint()

    tried = await ask(scene, call, dryRun=True)
    assert await scene.world.fingerprint() == before
    real = await ask(scene, call)

    assert tried == real
    assert real["errors"] == []
    assert await scene.world.fingerprint() != before
    await scene.world.audit_is_clean()


@every_call
async def test_a_dry_run_does_not_use_up_its_key(scene: Scene, name: str) -> None:
    call = await CALLS[name](scene)
    before = await scene.world.fingerprint()

    for _ in range(2):
        assert (await ask(scene, call, dryRun=True, idempotencyKey="k"))["errors"] == []
    assert await scene.world.fingerprint() == before
    assert (await ask(scene, call, idempotencyKey="k"))["errors"] == []
    assert await scene.world.fingerprint() != before


@every_call
async def test_the_same_key_and_input_return_the_first_result(scene: Scene, name: str) -> None:
    call = await CALLS[name](scene)
    first = await ask(scene, call, fields=ids_of(call), idempotencyKey="k")
    before = await scene.world.fingerprint()

    again = [await ask(scene, call, fields=ids_of(call), idempotencyKey="k") for _ in range(2)]

    assert first["errors"] == []
    assert again == [first, first]
    assert await scene.world.fingerprint() == before
    await scene.world.audit_is_clean()


@every_call
async def test_the_same_key_with_another_input_is_a_conflict(scene: Scene, name: str) -> None:
    call = await CALLS[name](scene)
    await ask(scene, call, idempotencyKey="k")
    before = await scene.world.fingerprint()

    answer = await ask(scene, call, idempotencyKey="k", **call.other)

    assert code(answer) == "IDEMPOTENCY_CONFLICT"
    assert answer["errors"][0]["path"] == ["input", "idempotencyKey"]
    assert await scene.world.fingerprint() == before


@every_call
async def test_a_key_has_up_to_200_characters(scene: Scene, name: str) -> None:
    call = await CALLS[name](scene)
    for bad in ("", "k" * 201):
        before = await scene.world.fingerprint()
        answer = await ask(scene, call, idempotencyKey=bad)
        codes = [error["code"] for part in [answer, *answer.get("results", [])] for error in part["errors"]]
        # An order of many is refused each by itself.
        assert set(codes) == {"INVALID_INPUT"}
        assert await scene.world.fingerprint() == before

    good = await ask(scene, call, idempotencyKey="k" * 200)
    assert good["errors"] == []
    assert all(result["errors"] == [] for result in good.get("results", []))


async def test_a_key_of_one_mutation_is_not_good_for_another(scene: Scene) -> None:
    gift = await _donate(scene)
    await ask(scene, gift, idempotencyKey="k")

    transfer = Call("transferFunds", gift.by, gift.given)

    assert code(await ask(scene, transfer, idempotencyKey="k")) == "IDEMPOTENCY_CONFLICT"


async def test_keys_are_each_persons_own(scene: Scene) -> None:
    order_id = done(await scene.donate("1.00", idempotencyKey="k"))
    await scene.world.fund(scene.babel, "5.00", by=scene.holder)

    back = await scene.donate(
        "1.00", by=scene.friend, from_=scene.babel, to=scene.webpack, idempotencyKey="k"
    )

    assert done(back) != order_id


async def test_what_failed_may_be_tried_again_with_its_key(scene: Scene) -> None:
    assert code(await scene.donate("150.00", idempotencyKey="k")) == "INSUFFICIENT_FUNDS"
    await scene.world.fund(scene.webpack, "50.00", by=scene.holder)

    done(await scene.donate("150.00", idempotencyKey="k"))

    assert await scene.world.balance(scene.webpack) == (0, 0)


async def test_a_dry_run_that_would_fail_says_so(scene: Scene) -> None:
    before = await scene.world.fingerprint()

    assert code(await scene.donate("100.01", dryRun=True)) == "INSUFFICIENT_FUNDS"
    assert await scene.world.fingerprint() == before


async def test_a_replay_shows_the_order_as_it_is_now(scene: Scene) -> None:
    first = await scene.transfer("10.00", idempotencyKey="k")
    done(await scene.refund(first["order"]["id"]))

    again = await scene.transfer("10.00", idempotencyKey="k")

    assert again["order"]["id"] == first["order"]["id"]
    assert again["order"]["status"] == "REFUNDED"
    assert await scene.world.balance(scene.webpack) == (10_000, 0)
