"""Planned mutations answer as graphql-core does: payloads, problems, errors of fields and of variables."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from models import now
from schema.plan import mutation_plan
from schema.plan.leaves import FallBack
from tests.donation_world import DonationScene
from tests.factories import Person, World, money, ref

_PAYLOAD = "errors { __typename code message path }"
_ORDER = f"order {{ __typename type status description amount {{ value currency }} expiresAt }} {_PAYLOAD}"
DONATE = f"mutation($i: DonateInput!) {{ donate(input: $i) {{ {_ORDER} }} }}"
ALIASED = f"mutation D($i: DonateInput!) {{ gift: donate(input: $i) {{ __typename kept: {_ORDER} }} }}"
LITERAL = f"""mutation($to: String!) {{ donate(input: {{
    from: {{slug: "webpack"}}, to: {{slug: $to}}, amount: {{value: "5.00", currency: "USD"}}, dryRun: true
}}) {{ {_ORDER} }} }}"""
EXPENSE = f"mutation($i: SubmitExpenseInput!) {{ submitExpense(input: $i) {{ {_ORDER} }} }}"
HOURS = f"mutation($i: LogHoursInput!) {{ logHours(input: $i) {{ {_ORDER} }} }}"

Call = tuple[str, Any, dict[str, Any]]


def _gift(**more: Any) -> Callable[[DonationScene], dict[str, Any]]:
    def variables(scene: DonationScene) -> dict[str, Any]:
        sides = {"from": ref(scene.webpack), "to": ref(scene.babel)}
        return {"i": {**sides, "amount": money("5.00"), "dryRun": True, **more}}

    return variables


def _expense(scene: DonationScene) -> dict[str, Any]:
    items = [{"description": name, "amount": money("2.50")} for name in ("taxi", "train")]
    sides = {"from": ref(scene.webpack), "to": ref(scene.payee)}
    return {"i": {**sides, "items": items, "payTo": {"kind": "BALANCE"}, "receipts": ["a"], "dryRun": True}}


def _hours(scene: DonationScene) -> dict[str, Any]:
    start = now() - timedelta(hours=3)
    times = {"startsAt": start.isoformat(), "endsAt": (start + timedelta(hours=1)).isoformat()}
    return {"i": {"nonprofit": ref(scene.babel), **times, "dryRun": True}}


CASES: dict[str, tuple[str, str | None, Callable[[DonationScene], dict[str, Any]]]] = {
    "a payload": (DONATE, "giver", _gift(description="for the roof")),
    "an alias and __typename": (ALIASED, "giver", _gift()),
    "a list of inputs": (EXPENSE, "payee", _expense),
    "null and what is left out": (DONATE, "giver", _gift(description=None, tip=None)),
    "literals": (LITERAL, "giver", lambda scene: {"to": scene.babel.slug}),
    "a problem": (DONATE, "giver", _gift(amount=money("5000.00"))),
    "a problem of the input": (HOURS, "giver", _hours),
    "nobody": (DONATE, None, _gift()),
    "somebody without the right": (DONATE, "friend", _gift()),
    "a value of another type": (DONATE, "giver", _gift(amount={"value": "much", "currency": "USD"})),
    "two ways to name one": (DONATE, "giver", _gift(to={"slug": "a", "id": "b"})),
    "no variable": (DONATE, "giver", lambda _: {}),
}


async def _run(scene: DonationScene, query: str, by: Person | None, **variables: Any) -> dict[str, Any]:
    world = scene.world
    return await world.execute(query, by=by, **variables)


@pytest.mark.parametrize("case", CASES)
async def test_a_planned_mutation_equals_graphql_core(world: World, case: str) -> None:
    scene = await DonationScene.among_others(world)
    query, who, make = CASES[case]
    by = getattr(scene, who) if who else None
    settings = world.settings
    world.settings = replace(settings, compiled_queries=False)
    expected = await _run(scene, query, by, **make(scene))
    world.settings = settings
    for _ in range(2):  # the first call may be the document's first
        answer = await _run(scene, query, by, **make(scene))
        assert _without_ids(answer) == _without_ids(expected)


def _without_ids(body: Any) -> Any:
    """Leave out what differs from call to call."""
    if isinstance(body, dict):
        return {name: _without_ids(value) for name, value in body.items() if name != "expiresAt"}
    return [_without_ids(value) for value in body] if isinstance(body, list) else body


async def test_what_cannot_be_completed_is_completed_by_graphql_core(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await DonationScene.among_others(world)
    expected = [await _run(scene, DONATE, scene.giver, **_gift()(scene)) for _ in range(2)][-1]
    found = mutation_plan.find_plan
    failed: list[str] = []

    def fail(key: str) -> Any:
        def run(*_: Any) -> Any:
            failed.append(key)
            raise FallBack("a test")

        return run

    def find(*arguments: Any, **named: Any) -> Any:
        mutation = found(*arguments, **named)
        assert mutation is not None
        return replace(mutation, payload=fail(mutation.key))

    monkeypatch.setattr(mutation_plan, "find_plan", find)
    stored = _gift(dryRun=False)
    before = await world.scalar('SELECT count(*) FROM "order"')
    answer = await _run(scene, DONATE, scene.giver, **stored(scene))
    assert _without_ids(answer) == _without_ids(expected)
    assert failed == ["donate"]
    assert await world.scalar('SELECT count(*) FROM "order"') == before + 1, "it was done once"
