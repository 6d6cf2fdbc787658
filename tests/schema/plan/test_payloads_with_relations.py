"""Payloads that ask for relations: PostgreSQL writes what graphql-core answers, in the same round trip."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from schema.execution import unit_of_work
from schema.execution.operation import OperationRequest, OperationResult, encode_json
from services.sql_json import payloads, rows
from services.sql_json.shape import SqlJsonUnavailable
from tests.donation_world import DonationScene
from tests.factories import Person, World, money, ref, unused_id
from tests.resolvers import test_round_trips as calls
from tests.resolvers.test_round_trips import Call, meet
from tests.schema.plan.executor_equivalence import answers_match, normalize_errors
from tests.schema.plan.random_documents import VARIABLES as VARIABLES_OF_WRITER
from tests.schema.plan.random_documents import Writer
from tests.statement_counts import record_round_trips

SIDE = "{ __typename slug name ...Held ... on User { email } host { slug } }"
ORDER = f"""order {{ __typename id type status description createdBy {{ slug }} from {SIDE} to {SIDE}
    amount {{ value currency }} approvedAmount {{ minorUnits }} refundedAmount {{ value }}
    privateMessage payoutMethod {{ id name }} offer {{ item }} price {{ value }} caps
    actions {{ type actor {{ slug }} toStatus reason amount {{ value }} }}
    items {{ description amount {{ value }} }}
    transactions {{ kind toCollective {{ slug }} fromHost {{ slug }} amount {{ value }}
        group postings {{ amount {{ value }} balanceAfter {{ value }} account {{ kind }} }} }} }}"""
FRAGMENT = """fragment Held on Collective { balance(currency: "USD") {
    posted { value } held { value } available { value } }
    members(first: 3) { nodes { role member { slug } } } }"""
CLOCK = ("id", "group", "createdAt", "at", "updatedAt")


async def incognito(world: World) -> Call:
    scene = await DonationScene.among_others(world)
    await world.fund(scene.payee.user, "10.00", by=world.admin)
    gift = {"from": ref(scene.payee), "to": ref(scene.babel), "amount": money("5.00"), "isIncognito": True}
    return "donate", scene.payee, gift


async def reject_hours(world: World) -> Call:
    _, chris, arguments = await calls.approve_hours(world)
    return "rejectOrder", chris, arguments | {"reason": "Not seen there."}


MUTATIONS: list[Callable[[World], Awaitable[Call]]] = [
    calls.approve_gift,
    calls.reject_gift,
    calls.approve_expense,
    calls.pay_expense,
    calls.approve_hours,
    reject_hours,
    calls.donate,
    incognito,
    calls.add_funds,
    calls.transfer_funds,
    calls.submit_expense,
    calls.submit_lines,
    calls.cancel_expense,
    calls.refund_gift,
    calls.log_hours,
    calls.redeem,
    calls.approve_redemption,
    calls.cash_out,
]


def document(mutation: str, selection: str = ORDER, more: str = FRAGMENT) -> str:
    """Return an operation of one mutation, whose name no other test uses."""
    name = mutation[0].upper() + mutation[1:]
    return f"""mutation Related($i: {name}Input!) {{ {mutation}(input: $i) {{
        {selection} __typename errors {{ code message path }} }} }} {more}"""


async def run(
    world: World,
    query: str,
    by: Person | None,
    arguments: dict[str, Any],
    *,
    compiled: bool = True,
    **variables: Any,
) -> dict[str, Any]:
    """Run an operation as HTTP does, and return its body with its cost."""
    request = OperationRequest(
        query=query,
        variables={"i": arguments, **variables},
        token=by.token if by else None,
        address="test",
        reports_cost=True,
    )
    settings = replace(world.settings, compiled_queries=compiled)
    result: OperationResult = await unit_of_work.execute(request, sessions=world.sessions, settings=settings)
    body: dict[str, Any] = orjson.loads(encode_json(result.body))
    return body


def without_clock(body: Any) -> Any:
    """Leave out the ids and times, which differ from call to call."""
    if isinstance(body, dict):
        return {name: without_clock(value) for name, value in body.items() if name not in CLOCK}
    return [without_clock(each) for each in body] if isinstance(body, list) else body


@pytest.mark.parametrize("prepare", MUTATIONS, ids=lambda each: each.__name__)
async def test_payloads_equal_those_of_graphql_core(
    world: World, engine: AsyncEngine, prepare: Callable[[World], Awaitable[Call]]
) -> None:
    mutation, by, arguments = await prepare(world)
    query = document(mutation)
    rehearsal = arguments | {"dryRun": True}
    expected = await run(world, query, by, rehearsal, compiled=False)
    await run(world, query, by, rehearsal)  # the document is compiled when it comes again
    assert without_clock(await run(world, query, by, rehearsal)) == without_clock(expected)
    assert expected["data"][mutation]["errors"] == []

    await meet(world, by)
    keyed = arguments | {"idempotencyKey": "once"}
    with record_round_trips(engine) as trips:
        stored = await run(world, query, by, keyed)
    assert len(trips) == 2
    assert without_clock(stored) == without_clock(expected)
    expected = await run(world, query, by, keyed, compiled=False)
    assert await run(world, query, by, keyed) == expected, "the same again under the same key"


@pytest.mark.parametrize("who", ["giver", "friend", "payee", "holder", None])
@pytest.mark.parametrize("mutation", ["approveOrder", "rejectOrder", "payOrder", "cancelOrder"])
async def test_everybody_gets_what_graphql_core_tells_them(
    world: World, mutation: str, who: str | None
) -> None:
    scene = await DonationScene.among_others(world)
    arguments: dict[str, Any] = {"id": await scene.expense("5.00", privateMessage="psst"), "dryRun": True}
    if mutation == "payOrder":
        await scene.approve(arguments["id"])
    if mutation == "rejectOrder":
        arguments["reason"] = "no"
    by = getattr(scene, who) if who else None
    expected = await run(world, document(mutation), by, arguments, compiled=False)
    for _ in range(2):  # the document is compiled when it comes again
        body = await run(world, document(mutation), by, arguments)
        assert without_clock(body) == without_clock(expected)


VARIABLES = """mutation Page($i: DonateInput!, $currency: CurrencyCode!, $at: DateTime, $n: Int,
    $after: String) {
    donate(input: $i) { order { to { slug
        balance(currency: $currency, asOf: $at) { posted { value } }
        members(first: $n, after: $after, role: [ADMIN]) { nodes { member { slug } } totalCount }
    } } errors { code } } }"""


@pytest.mark.parametrize(
    "variables",
    [
        {"currency": "USD", "n": 1},
        {"currency": "EUR", "n": 1, "at": "2026-01-01T00:00:00Z"},
        {"currency": "XXX", "n": 1},
        {"currency": "USD", "n": 1000},
        {"currency": "USD", "n": 1, "after": "nonsense"},
        {"currency": "USD", "n": "many"},
    ],
    ids=repr,
)
async def test_arguments_by_variables_and_their_errors_are_the_same(
    world: World, variables: dict[str, Any]
) -> None:
    _, giver, arguments = await calls.donate(world)
    arguments["dryRun"] = True
    expected = await run(world, VARIABLES, giver, arguments, compiled=False, **variables)
    for _ in range(2):
        body = await run(world, VARIABLES, giver, arguments, **variables)
        assert body == expected


async def test_what_cannot_be_written_stores_nothing_and_is_run_by_graphql_core(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, giver, arguments = await calls.donate(world)
    query = document("donate", "order { status to { currency slug } }", "")
    expected = await run(world, query, giver, arguments | {"dryRun": True}, compiled=False)
    failed: list[object] = []
    explained = payloads._explain

    def explain(error: Any) -> Any:
        failed.append(explained(error))
        return failed[-1]

    monkeypatch.setattr(payloads, "_explain", explain)
    monkeypatch.setattr(payloads, "NULL_VIOLATION", "slug")  # found in what is written
    before = await world.scalar('SELECT count(*) FROM "order"')
    body = await run(world, query, giver, arguments)
    assert without_clock(body) == without_clock(expected)
    assert [type(error) for error in failed] == [SqlJsonUnavailable]
    assert await world.scalar('SELECT count(*) FROM "order"') == before + 1, "it was done once"


async def test_a_row_that_is_not_there_is_completed_by_graphql_core(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, giver, arguments = await calls.donate(world)
    query = document("donate", "order { status to { slug currency name } }", "")
    expected = await run(world, query, giver, arguments | {"dryRun": True}, compiled=False)
    await run(world, query, giver, arguments | {"dryRun": True})
    of_row = payloads.row_arguments
    monkeypatch.setattr(payloads, "row_arguments", lambda table, _: of_row(table, unused_id()))
    before = await world.scalar('SELECT count(*) FROM "order"')
    assert without_clock(await run(world, query, giver, arguments)) == without_clock(expected)
    assert await world.scalar('SELECT count(*) FROM "order"') == before + 1, "it was done once"


async def test_what_is_not_stored_is_not_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr("services.collectives.leaving._require_settled", nothing)
    scene = await DonationScene.among_others(world)
    query = document("leaveHost", "collective { slug members(first: 2) { nodes { member { slug } } } }", "")
    arguments = {"collective": ref(scene.webpack)}
    before = await world.fingerprint()
    bodies = [await run(world, query, scene.giver, arguments) for _ in range(3)]
    for body in bodies[1:]:  # the document is compiled when it comes again
        assert body["data"]["leaveHost"]["collective"] is None
        assert [error["code"] for error in body["data"]["leaveHost"]["errors"]] == ["INVALID_STATE"]
    assert bodies[0]["data"] is None
    assert await world.fingerprint() == before


FORMS = {
    "an alias": "one: order { to { slug } } two: order { status from { name } }",
    "fields that merge": "order { status } order { to { slug } } order { to { name host { slug } } }",
    "a fragment of the payload": "...P } } fragment P on DonatePayload { order { to { slug } } }",
    "a fragment inside": "... on DonatePayload { order { to { ... on Community { slug tags } } } }",
    "several rows": "order { to { slug } } subscription { id to { slug } status }",
    "a directive": "order { to { slug @include(if: true) name @skip(if: true) } }",
}


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_a_selection_is_answered_alike(world: World, form: str) -> None:
    _, giver, arguments = await calls.donate(world)
    arguments |= {"dryRun": True, "interval": "MONTH"}
    query = f"mutation F($i: DonateInput!) {{ donate(input: $i) {{ {FORMS[form]} }} }}"
    if "fragment P" in query:
        query = query.removesuffix(" } }")
    expected = await run(world, query, giver, arguments, compiled=False)
    assert "errors" not in expected
    for _ in range(2):
        body = await run(world, query, giver, arguments)
        assert without_clock(body) == without_clock(expected)


async def test_a_client_of_plain_rows_gets_them(world: World) -> None:
    _, giver, arguments = await calls.donate(world)
    query = document("donate")
    arguments["dryRun"] = True
    expected = await run(world, query, giver, arguments, compiled=False)
    for _ in range(2):
        body = await world.execute(query, by=giver, i=arguments)
        assert without_clock(body) == without_clock({"data": expected["data"]})


async def test_two_mutations_at_once_are_left_to_graphql_core(world: World) -> None:
    _, giver, arguments = await calls.donate(world)
    arguments["dryRun"] = True
    query = """mutation($i: DonateInput!) { one: donate(input: $i) { order { to { slug } } }
        two: donate(input: $i) { order { to { slug } } } }"""
    for _ in range(2):
        body = await world.execute(query, by=giver, i=arguments)
        assert body["data"]["one"]["order"] == body["data"]["two"]["order"] == {"to": arguments["to"]}


@pytest.mark.parametrize(
    "prepare", [calls.approve_gift, calls.submit_lines, calls.redeem], ids=lambda each: each.__name__
)
async def test_random_selections_are_answered_alike(
    world: World, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[World], Awaitable[Call]]
) -> None:
    mutation, by, arguments = await prepare(world)
    monkeypatch.setattr(world, "settings", replace(world.settings, max_cost=10**9, rate_capacity=10**9))
    keyed = arguments | {"idempotencyKey": "random"}
    stored = await run(world, document(mutation, "order { id }", ""), by, keyed)
    order_id = stored["data"][mutation]["order"]["id"]
    written: list[str] = []
    to_data = rows.to_data

    def note(*given: Any) -> Any:
        written.append(query)
        return to_data(*given)

    monkeypatch.setattr(payloads, "to_data", note)
    for seed in range(15):
        writer = Writer(seed)
        selection = writer.parts("Order", 2)
        used = [text for name, text in VARIABLES_OF_WRITER.items() if re.search(rf"\{name}\b", selection)]
        query = document(mutation, f"order {{ {selection} }}", "").replace("!)", f"!, {', '.join(used)})", 1)
        variables = writer.variables(query, [by.slug], [order_id])
        expected = await run(world, query, by, keyed, compiled=False, **variables)
        for _ in range(2):  # the document is compiled when it comes again
            body = await run(world, query, by, keyed, **variables)
            assert answers_match(normalize_errors(body), normalize_errors(expected)), query
    assert len(written) > 12
