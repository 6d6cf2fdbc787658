"""Lists in the input: their limits, and what their values cost."""

from typing import Any

import pytest

from models.enums import OrderStatus
from schema.build import schema
from schema.execution import input_lists
from tests.factories import World

ORDERS = "query($s: [OrderStatus!]) { orders(filter: {status: $s}) { totalCount } }"
FILTER = "query($f: OrderFilter) { orders(filter: $f) { totalCount } }"
MANY = ["PAID"] * 27_000


def refusal(body: dict[str, Any]) -> dict[str, Any]:
    """Return the extensions of the only error."""
    assert "data" not in body
    (error,) = body["errors"]
    extensions: dict[str, Any] = error["extensions"]
    return extensions


@pytest.mark.parametrize(
    ("query", "variables", "path"),
    [
        (ORDERS, {"s": MANY}, ["filter", "status"]),
        (FILTER, {"f": {"status": MANY}}, ["filter", "status"]),
        (FILTER, {"f": {"type": ["HOURS"] * 200}}, ["filter", "type"]),
        (
            "query($r: [MemberRole!]) { me { members(role: $r) { totalCount } } }",
            {"r": ["ADMIN"] * 99},
            ["role"],
        ),
        ("query($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": ["x"] * 201}, ["ids"]),
        (
            "mutation($i: MuteTopicsInput!) { muteTopics(input: $i) { errors { code } } }",
            {"i": {"topics": ["NONE"] * 999}},
            ["input", "topics"],
        ),
        (
            "mutation($i: SubmitExpenseInput!) { submitExpense(input: $i) { errors { code } } }",
            {"i": {"items": [{}] * 201}},
            ["input", "items"],
        ),
    ],
)
async def test_a_list_is_refused_before_its_values_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch, query: str, variables: dict[str, Any], path: list[str]
) -> None:
    monkeypatch.setattr("schema.execution.admission.find_unstorable", None)  # nobody looks at a value
    body = await world.execute(query, **variables)
    assert refusal(body) == {"code": "INVALID_INPUT", "path": path}


@pytest.mark.parametrize(
    "query",
    [
        "{ orders(filter: {status: [%s]}) { totalCount } }",
        "query($s: [OrderStatus!] = [%s]) { orders(filter: {status: $s}) { totalCount } }",
        '{ collective(slug: "a") { orders(filter: {status: [%s]}) { totalCount } } }',
    ],
)
async def test_lists_in_the_document_have_the_same_limit(world: World, query: str) -> None:
    most = len(OrderStatus)
    assert "data" in await world.execute(query % ", ".join(["PAID"] * most))
    assert refusal(await world.execute(query % ", ".join(["PAID"] * (most + 1))))["code"] == "INVALID_INPUT"


async def test_all_values_of_an_enum_may_be_given(world: World) -> None:
    assert "errors" not in await world.execute(ORDERS, s=[status.value for status in OrderStatus])


def test_values_in_nested_lists_are_counted() -> None:
    input_type: Any = schema()._schema.type_map["SubmitExpenseInput"]
    value = {"items": [{"description": "a"}] * 3, "receipts": ["a", "b"], "unknown": [1, 2]}
    assert input_lists.count_in(input_type, value, ()) == 5
