"""What an operation of several mutations keeps, what a key keeps, and what a dry run leaves."""

from typing import Any

import pytest

from tests.bad_input_world import LARGEST
from tests.donation_world import Scene, code, done
from tests.factories import Person, World, money, of

BOTH = "errors { code message path }"


@pytest.fixture
async def scene(world: World) -> Scene:
    return await Scene.create(world)


def _two(first: str, second: str) -> str:
    types = [name[0].upper() + name[1:] for name in (first, second)]
    fields = f"results {{ {BOTH} }} {BOTH}" if second == "approveOrders" else BOTH
    return (
        f"mutation($a: {types[0]}Input!, $b: {types[1]}Input!) {{ "
        f"first: {first}(input: $a) {{ {BOTH} }} second: {second}(input: $b) {{ {fields} }} }}"
    )


async def _counts(world: World) -> dict[str, int]:
    return {table: found[0] for table, found in (await world.fingerprint()).items()}


def _growth(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {table: after[table] - count for table, count in before.items() if after[table] != count}


async def _failing(  # noqa: PLR0911 - one a mutation
    scene: Scene, mutation: str
) -> tuple[Person, dict[str, Any], str]:
    """Return who asks, an input that fails as late as the mutation can, and the code."""
    webpack, babel, payee = of(scene.webpack), of(scene.babel), of(scene.payee)
    sides = {"from": webpack, "to": babel}
    if mutation in {"donate", "transferFunds"}:
        return scene.giver, sides | {"amount": money("1000.00")}, "INSUFFICIENT_FUNDS"
    if mutation == "addFunds":
        return scene.holder, {"to": webpack, "amount": money(LARGEST), "hostFeeBps": 0}, "INVALID_INPUT"
    if mutation == "submitExpense":
        items = [{"description": "a", "amount": money(LARGEST)}] * 2
        return scene.giver, {"from": webpack, "to": payee, "items": items}, "INVALID_INPUT"
    if mutation in {"approveOrder", "approveOrders"}:
        dear = await scene.expense("500.00")
        given = {"id": dear} if mutation == "approveOrder" else {"ids": [dear]}
        return scene.giver, given, "INSUFFICIENT_FUNDS"
    if mutation == "payOrder":
        order = await scene.expense("90.00")
        done(await scene.approve(order))
        return scene.holder, {"id": order, "processorFee": money("50.00")}, "INSUFFICIENT_FUNDS"
    paid = done(await scene.donate("5.00"))
    if mutation == "refundOrder":
        done(await scene.transfer("4.00", by=scene.friend, from_=scene.babel, to=scene.webpack))
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
async def test_the_first_of_two_is_kept_and_the_failing_second_is_undone(scene: Scene, mutation: str) -> None:
    world = scene.world
    who, given, expected = await _failing(scene, mutation)
    kept: dict[str, Any]
    first, kept = "addFunds", {"to": of(scene.webpack), "amount": money("1.00"), "hostFeeBps": 0}
    if who is scene.giver:
        first, kept = (
            "transferFunds",
            {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1")},
        )
    before = await _counts(world)
    assert (await world.do(first, by=who, **kept))["errors"] == []
    alone, statuses = _growth(before, await _counts(world)), await _statuses(world)

    before = await _counts(world)
    if (
        mutation != "approveOrders"
    ):  # its key is for the list as a whole, of which each order has its own fate
        given["idempotencyKey"] = "second"
    answer = await world.ask(_two(first, mutation), by=who, a=kept, b=given)

    assert answer["first"]["errors"] == []
    found = [
        *answer["second"]["errors"],
        *[e for r in answer["second"].get("results", []) for e in r["errors"]],
    ]
    assert [error["code"] for error in found] == [expected]
    assert _growth(before, await _counts(world)) == alone
    after = await _statuses(world)
    assert after == statuses | dict.fromkeys(after.keys() - statuses.keys(), "PAID")
    await world.audit_is_clean()


async def _statuses(world: World) -> dict[str, str]:
    found = await world.scalar('SELECT json_object_agg(id, status) FROM "order"')
    return dict(found)


@pytest.mark.parametrize("dry", ["first", "second"])
@pytest.mark.parametrize("mutation", ["donate", "transferFunds"])
async def test_dry_and_real_in_one_operation_store_nothing(scene: Scene, mutation: str, dry: str) -> None:
    world = scene.world
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    before = await world.fingerprint()
    body = await world.execute(
        _two(mutation, mutation),
        by=scene.giver,
        a=given | {"dryRun": dry == "first"},
        b=given | {"dryRun": dry == "second"},
    )
    found = [*body.get("errors", [])]
    extensions = [error["extensions"] for error in found]
    assert [(e["code"], e["path"]) for e in extensions] == [("INVALID_INPUT", ("input", "dryRun"))]
    assert await world.fingerprint() == before


async def test_two_dry_runs_see_each_other_and_store_nothing(scene: Scene) -> None:
    world = scene.world
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("60.00"), "dryRun": True}
    before = await world.fingerprint()
    answer = await world.ask(_two("donate", "donate"), by=scene.giver, a=given, b=given)
    assert answer["first"]["errors"] == []
    assert [error["code"] for error in answer["second"]["errors"]] == ["INSUFFICIENT_FUNDS"]
    assert await world.fingerprint() == before


async def test_an_answer_without_data_leaves_nothing_behind(scene: Scene) -> None:
    world = scene.world
    before = await world.fingerprint()
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    back = {"from": of(scene.babel), "to": of(scene.webpack), "amount": money("1.00")}
    body = await world.execute(_two("donate", "donate"), by=scene.giver, a=given, b=back)
    assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
    assert body["data"] is None
    assert await world.fingerprint() == before


async def test_who_signs_out_or_leaves_acts_no_more_in_the_same_request(scene: Scene) -> None:
    world = scene.world
    given = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    query = """mutation($i: DonateInput!) { signOut { errors { code } }
        donate(input: $i) { errors { code } } }"""
    before = await world.fingerprint()
    body = await world.execute(query, by=scene.giver, i=given)
    assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before


async def test_a_token_reads_with_the_scope_for_it_alone(scene: Scene) -> None:
    world = scene.world
    for scope, refused in (("ORDERS", ["FORBIDDEN"]), ("READ", [])):
        token = await world.access_token(scene.giver, scope)
        body = await world.execute("{ me { slug } }", by=token)
        assert [e["extensions"]["code"] for e in body.get("errors", [])] == refused


async def _keyed(  # noqa: PLR0911 - one a mutation
    scene: Scene, mutation: str
) -> tuple[Person, dict[str, Any], dict[str, Any]]:
    """Return who asks, an input that succeeds, and what to change of it."""
    webpack, babel = of(scene.webpack), of(scene.babel)
    change = {"amount": money("2.00")}
    if mutation in {"donate", "transferFunds"}:
        return scene.giver, {"from": webpack, "to": babel, "amount": money("1.00")}, change
    if mutation == "addFunds":
        return scene.holder, {"to": webpack, "amount": money("1.00")}, change
    if mutation == "submitExpense":
        return scene.payee, {"from": webpack, "to": of(scene.payee), "amount": money("1.00")}, change
    if mutation == "refundOrder":
        return scene.holder, {"id": done(await scene.donate("5.00")), "amount": money("1.00")}, change
    order = await scene.expense("3.00")
    if mutation == "payOrder":
        done(await scene.approve(order))
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
async def test_a_key_is_for_one_payload_and_may_have_200_characters(scene: Scene, mutation: str) -> None:
    who, given, change = await _keyed(scene, mutation)
    given["idempotencyKey"] = "k" * 200
    first = await scene.world.do(mutation, "order { id status }", by=who, **given)
    done(first)
    before = await scene.world.fingerprint()

    assert await scene.world.do(mutation, "order { id status }", by=who, **given) == first
    other = await scene.world.do(mutation, by=who, **(given | change))

    assert code(other) == "IDEMPOTENCY_CONFLICT"
    assert other["errors"][0]["path"] == ["input", "idempotencyKey"]
    assert await scene.world.fingerprint() == before


async def test_a_key_of_one_mutation_is_not_for_another(scene: Scene) -> None:
    given: dict[str, Any] = {"from": of(scene.webpack), "to": of(scene.babel), "amount": money("1.00")}
    given["idempotencyKey"] = "k"
    done(await scene.world.do("donate", "order { id }", by=scene.giver, **given))
    assert code(await scene.world.do("transferFunds", by=scene.giver, **given)) == "IDEMPOTENCY_CONFLICT"


async def test_a_key_of_many_approvals_may_have_200_characters_and_serves_again(scene: Scene) -> None:
    ids = [await scene.expense("1.00"), await scene.expense("2.00")]
    fields = "results { id order { id status } errors { code message path } }"
    asked: dict[str, Any] = {"ids": ids, "idempotencyKey": "k" * 200}
    first = await scene.world.do("approveOrders", fields, by=scene.giver, **asked)
    assert [result["errors"] for result in first["results"]] == [[], []], first
    before = await scene.world.fingerprint()
    assert await scene.world.do("approveOrders", fields, by=scene.giver, **asked) == first
    assert await scene.world.fingerprint() == before


@pytest.mark.parametrize("key", ["", " ", "k" * 201])
async def test_an_empty_or_long_key_is_refused(scene: Scene, key: str) -> None:
    before = await scene.world.fingerprint()
    payload = await scene.donate("1.00", idempotencyKey=key)
    assert code(payload) == "INVALID_INPUT"
    assert payload["errors"][0]["path"] == ["input", "idempotencyKey"]
    assert await scene.world.fingerprint() == before


async def test_the_largest_amount_is_kept_and_one_cent_more_is_refused(scene: Scene) -> None:
    world = scene.world
    empty = await world.community("empty", await world.host("second", scene.holder), scene.giver)
    await world.fund(empty, LARGEST, by=scene.holder)
    assert await world.balance(empty) == (2**63 - 1, 0)
    before = await world.fingerprint()
    payload = await world.do("addFunds", by=scene.holder, to=of(empty), amount=money("0.01"))
    assert code(payload) == "INVALID_INPUT"
    assert payload["errors"][0]["path"] == ["input", "amount"]
    assert await world.fingerprint() == before
    read = await world.ask(
        '{ collective(slug: "empty") { balance(currency: "USD") { posted { minorUnits value } } } }'
    )
    posted = read["collective"]["balance"]["posted"]
    assert posted == {"minorUnits": str(2**63 - 1), "value": LARGEST}
    await world.audit_is_clean()


@pytest.mark.parametrize(
    ("literal", "minor"), [("12345678901234567.89", 1234567890123456789), ("0.1", 10), ("7", 700)]
)
async def test_a_number_written_in_the_document_keeps_its_digits(
    scene: Scene, literal: str, minor: int
) -> None:
    world = scene.world
    empty = await world.community("empty", scene.host, scene.giver)
    query = (
        f'mutation {{ addFunds(input: {{to: {{slug: "empty"}}, hostFeeBps: 0, '
        f'amount: {{value: {literal}, currency: "USD"}}}}) {{ errors {{ code }} }} }}'
    )
    assert (await world.ask(query, by=scene.holder))["addFunds"]["errors"] == []
    assert await world.balance(empty) == (minor, 0)
