"""Rollback of failing mutations within an operation, idempotency keys, and dry runs."""

from typing import Any

import pytest

from tests.bad_input_world import LARGEST_USD
from tests.donation_world import DonationScene, error_code, expect_order
from tests.factories import Person, World, money, ref

BOTH = "errors { code message path }"


@pytest.fixture
async def scene(world: World) -> DonationScene:
    return await DonationScene.create(world)


def _two(first: str, second: str) -> str:
    types = [name[0].upper() + name[1:] for name in (first, second)]
    fields = f"results {{ {BOTH} }} {BOTH}" if second == "approveOrders" else BOTH
    return (
        f"mutation($a: {types[0]}Input!, $b: {types[1]}Input!) {{ "
        f"first: {first}(input: $a) {{ {BOTH} }} second: {second}(input: $b) {{ {fields} }} }}"
    )


async def _counts(world: World) -> dict[str, int]:
    return {table: result[0] for table, result in (await world.fingerprint()).items()}


def _growth(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {table: after[table] - count for table, count in before.items() if after[table] != count}


async def _failing(  # noqa: PLR0911 - one a mutation
    scene: DonationScene, mutation: str
) -> tuple[Person, dict[str, Any], str]:
    """Return who asks, an input that fails as late as the mutation can, and the code."""
    webpack, babel, payee = ref(scene.webpack), ref(scene.babel), ref(scene.payee)
    sides = {"from": webpack, "to": babel}
    if mutation in {"donate", "transferFunds"}:
        return scene.giver, sides | {"amount": money("1000.00")}, "INSUFFICIENT_FUNDS"
    if mutation == "addFunds":
        return scene.holder, {"to": webpack, "amount": money(LARGEST_USD), "hostFeeBps": 0}, "INVALID_INPUT"
    if mutation == "submitExpense":
        items = [{"description": "a", "amount": money(LARGEST_USD)}] * 2
        return scene.giver, {"from": webpack, "to": payee, "items": items}, "INVALID_INPUT"
    if mutation in {"approveOrder", "approveOrders"}:
        dear = await scene.expense("500.00")
        arguments = {"id": dear} if mutation == "approveOrder" else {"ids": [dear]}
        return scene.giver, arguments, "INSUFFICIENT_FUNDS"
    if mutation == "payOrder":
        order = await scene.expense("90.00")
        expect_order(await scene.approve(order))
        return scene.holder, {"id": order, "processorFee": money("50.00")}, "INSUFFICIENT_FUNDS"
    paid = expect_order(await scene.donate("5.00"))
    if mutation == "refundOrder":
        expect_order(await scene.transfer("4.00", by=scene.friend, from_=scene.babel, to=scene.webpack))
        return scene.holder, {"id": paid}, "INSUFFICIENT_FUNDS"
    who = scene.holder if mutation == "rejectOrder" else scene.giver
    return who, {"id": paid, "reason": "late"}, "INVALID_STATE"


MUTATIONS = (
    "donate",
    "transferFunds",
    "addFunds",
    "submitExpense",
    "approveOrder",
    "approveOrders",
    "payOrder",
    "rejectOrder",
    "cancelOrder",
    "refundOrder",
)


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_a_failing_second_mutation_is_rolled_back_and_the_first_is_kept(
    scene: DonationScene, mutation: str
) -> None:
    world = scene.world
    who, arguments, expected = await _failing(scene, mutation)
    kept: dict[str, Any]
    first, kept = "addFunds", {"to": ref(scene.webpack), "amount": money("1.00"), "hostFeeBps": 0}
    if who is scene.giver:
        first, kept = (
            "transferFunds",
            {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1")},
        )
    before = await _counts(world)
    assert (await world.mutate(first, by=who, **kept))["errors"] == []
    alone, statuses = _growth(before, await _counts(world)), await _statuses(world)

    before = await _counts(world)
    if (
        mutation != "approveOrders"
    ):  # its key is for the list as a whole, of which each order has its own fate
        arguments["idempotencyKey"] = "second"
    answer = await world.query(_two(first, mutation), by=who, a=kept, b=arguments)

    assert answer["first"]["errors"] == []
    results = [
        *answer["second"]["errors"],
        *[e for r in answer["second"].get("results", []) for e in r["errors"]],
    ]
    assert [error["code"] for error in results] == [expected]
    assert _growth(before, await _counts(world)) == alone
    after = await _statuses(world)
    assert after == statuses | dict.fromkeys(after.keys() - statuses.keys(), "PAID")
    await world.assert_clean_ledger()


async def _statuses(world: World) -> dict[str, str]:
    value = await world.scalar('SELECT json_object_agg(id, status) FROM "order"')
    return dict(value)


@pytest.mark.parametrize("dry", ["first", "second"])
@pytest.mark.parametrize("mutation", ["donate", "transferFunds"])
async def test_an_operation_with_a_dry_run_stores_nothing(
    scene: DonationScene, mutation: str, dry: str
) -> None:
    world = scene.world
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    before = await world.fingerprint()
    body = await world.execute(
        _two(mutation, mutation),
        by=scene.giver,
        a=arguments | {"dryRun": dry == "first"},
        b=arguments | {"dryRun": dry == "second"},
    )
    results = [*body.get("errors", [])]
    extensions = [error["extensions"] for error in results]
    assert [(e["code"], e["path"]) for e in extensions] == [("INVALID_INPUT", ["input", "dryRun"])]
    assert await world.fingerprint() == before


async def test_dry_runs_of_one_operation_see_each_other_and_store_nothing(scene: DonationScene) -> None:
    world = scene.world
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("60.00"), "dryRun": True}
    before = await world.fingerprint()
    answer = await world.query(_two("donate", "donate"), by=scene.giver, a=arguments, b=arguments)
    assert answer["first"]["errors"] == []
    assert [error["code"] for error in answer["second"]["errors"]] == ["INSUFFICIENT_FUNDS"]
    assert await world.fingerprint() == before


async def test_an_operation_without_data_stores_nothing(scene: DonationScene) -> None:
    world = scene.world
    before = await world.fingerprint()
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    back = {"from": ref(scene.babel), "to": ref(scene.webpack), "amount": money("1.00")}
    body = await world.execute(_two("donate", "donate"), by=scene.giver, a=arguments, b=back)
    assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
    assert body["data"] is None
    assert await world.fingerprint() == before


async def test_permissions_end_within_the_request_that_signs_out_or_leaves(scene: DonationScene) -> None:
    world = scene.world
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    query = """mutation($i: DonateInput!) { signOut { errors { code } }
        donate(input: $i) { errors { code } } }"""
    before = await world.fingerprint()
    body = await world.execute(query, by=scene.giver, i=arguments)
    assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before


async def test_a_token_needs_the_read_scope_to_read(scene: DonationScene) -> None:
    world = scene.world
    for scope, refused in (("ORDERS", ["FORBIDDEN"]), ("READ", [])):
        token = await world.access_token(scene.giver, scope)
        body = await world.execute("{ me { slug } }", by=token)
        assert [e["extensions"]["code"] for e in body.get("errors", [])] == refused


async def _keyed(  # noqa: PLR0911 - one a mutation
    scene: DonationScene, mutation: str
) -> tuple[Person, dict[str, Any], dict[str, Any]]:
    """Return who asks, an input that succeeds, and what to change of it."""
    webpack, babel = ref(scene.webpack), ref(scene.babel)
    change = {"amount": money("2.00")}
    if mutation in {"donate", "transferFunds"}:
        return scene.giver, {"from": webpack, "to": babel, "amount": money("1.00")}, change
    if mutation == "addFunds":
        return scene.holder, {"to": webpack, "amount": money("1.00")}, change
    if mutation == "submitExpense":
        return scene.payee, {"from": webpack, "to": ref(scene.payee), "amount": money("1.00")}, change
    if mutation == "refundOrder":
        return scene.holder, {"id": expect_order(await scene.donate("5.00")), "amount": money("1.00")}, change
    order = await scene.expense("3.00")
    if mutation == "payOrder":
        expect_order(await scene.approve(order))
        return scene.holder, {"id": order}, {"processorFee": money("1.00")}
    if mutation == "approveOrder":
        return scene.giver, {"id": order}, {"amount": money("2.00"), "reason": "less"}
    return (
        (scene.payee if mutation == "cancelOrder" else scene.giver),
        {"id": order, "reason": "a"},
        {"reason": "b"},
    )


KEYED = [mutation for mutation in MUTATIONS if mutation != "approveOrders"]


@pytest.mark.parametrize("mutation", KEYED)
async def test_a_key_belongs_to_one_input_and_may_have_200_characters(
    scene: DonationScene, mutation: str
) -> None:
    who, arguments, change = await _keyed(scene, mutation)
    arguments["idempotencyKey"] = "k" * 200
    first = await scene.world.mutate(mutation, "order { id status }", by=who, **arguments)
    expect_order(first)
    before = await scene.world.fingerprint()

    assert await scene.world.mutate(mutation, "order { id status }", by=who, **arguments) == first
    other = await scene.world.mutate(mutation, by=who, **(arguments | change))

    assert error_code(other) == "IDEMPOTENCY_CONFLICT"
    assert other["errors"][0]["path"] == ["input", "idempotencyKey"]
    assert await scene.world.fingerprint() == before


async def test_a_key_cannot_be_used_for_another_mutation(scene: DonationScene) -> None:
    arguments: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("1.00")}
    arguments["idempotencyKey"] = "k"
    expect_order(await scene.world.mutate("donate", "order { id }", by=scene.giver, **arguments))
    assert (
        error_code(await scene.world.mutate("transferFunds", by=scene.giver, **arguments))
        == "IDEMPOTENCY_CONFLICT"
    )


async def test_a_key_of_a_bulk_approval_may_have_200_characters_and_be_replayed(scene: DonationScene) -> None:
    ids = [await scene.expense("1.00"), await scene.expense("2.00")]
    fields = "results { id order { id status } errors { code message path } }"
    results: dict[str, Any] = {"ids": ids, "idempotencyKey": "k" * 200}
    first = await scene.world.mutate("approveOrders", fields, by=scene.giver, **results)
    assert [result["errors"] for result in first["results"]] == [[], []], first
    before = await scene.world.fingerprint()
    assert await scene.world.mutate("approveOrders", fields, by=scene.giver, **results) == first
    assert await scene.world.fingerprint() == before


@pytest.mark.parametrize("key", ["", " ", "k" * 201])
async def test_an_empty_or_long_key_is_refused(scene: DonationScene, key: str) -> None:
    before = await scene.world.fingerprint()
    payload = await scene.donate("1.00", idempotencyKey=key)
    assert error_code(payload) == "INVALID_INPUT"
    assert payload["errors"][0]["path"] == ["input", "idempotencyKey"]
    assert await scene.world.fingerprint() == before


async def test_the_largest_amount_is_stored_and_one_cent_more_is_refused(scene: DonationScene) -> None:
    world = scene.world
    empty = await world.community("empty", await world.host("second", scene.holder), scene.giver)
    await world.fund(empty, LARGEST_USD, by=scene.holder)
    assert await world.balance(empty) == (2**63 - 1, 0)
    before = await world.fingerprint()
    payload = await world.mutate("addFunds", by=scene.holder, to=ref(empty), amount=money("0.01"))
    assert error_code(payload) == "INVALID_INPUT"
    assert payload["errors"][0]["path"] == ["input", "amount"]
    assert await world.fingerprint() == before
    read = await world.query(
        '{ collective(slug: "empty") { balance(currency: "USD") { posted { minorUnits value } } } }'
    )
    posted = read["collective"]["balance"]["posted"]
    assert posted == {"minorUnits": str(2**63 - 1), "value": LARGEST_USD}
    await world.assert_clean_ledger()


@pytest.mark.parametrize(
    ("literal", "minor"), [("12345678901234567.89", 1234567890123456789), ("0.1", 10), ("7", 700)]
)
async def test_a_number_literal_in_the_document_keeps_its_digits(
    scene: DonationScene, literal: str, minor: int
) -> None:
    world = scene.world
    empty = await world.community("empty", scene.host, scene.giver)
    query = (
        f'mutation {{ addFunds(input: {{to: {{slug: "empty"}}, hostFeeBps: 0, '
        f'amount: {{value: {literal}, currency: "USD"}}}}) {{ errors {{ code }} }} }}'
    )
    assert (await world.query(query, by=scene.holder))["addFunds"]["errors"] == []
    assert await world.balance(empty) == (minor, 0)
