"""Invalid input is refused with a code and the field's name, and nothing is stored."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.bad_input_world import LARGEST_USD, MONEY_MUTATIONS, BadInputScene, create_bad_input_scene
from tests.factories import World, money, public_id

# Always the same: workers that share the tests must name them alike.
_NOBODY = UUID(int=7)


TOO_LARGE = "92233720368547758.08"


@pytest.fixture(scope="module")
async def scene(shared: World) -> BadInputScene:
    return await create_bad_input_scene(shared)


@pytest.mark.parametrize("mutation", MONEY_MUTATIONS)
async def test_the_unchanged_inputs_are_valid_and_a_dry_run_stores_nothing(
    scene: BadInputScene, mutation: str
) -> None:
    fields = "results { errors { code } }" if mutation == "approveOrders" else "order { id status }"
    payload = await scene.world.mutate(
        mutation, fields, by=scene.by(mutation), **scene.inputs[mutation], dryRun=True
    )
    assert payload["errors"] == []
    assert all(result["errors"] == [] for result in payload.get("results", []))
    assert not await scene.has_changed()


AMOUNTS = {
    "donate": "amount",
    "transferFunds": "amount",
    "addFunds": "amount",
    "submitExpense": "amount",
    "approveOrder": "amount",
    "refundOrder": "amount",
    "payOrder": "processorFee",
    "updateExpense": "amount",
    "settleHosts": "amount",
    "setClearingLimit": "amount",
    "createPaymentMethod": "feeFixed",
    "updatePaymentMethod": "feeFixed",
}
NUMBERS = (
    "0",
    "-0",
    "-1",
    "0.001",
    "1e-400",
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "1e400",
    TOO_LARGE,
    "9" * 400,
    Decimal("1e400"),
    Decimal("0.001"),
    2**63,
    -1,
    0,
)
NOT_NUMBERS: tuple[Any, ...] = (
    "१२",
    "\uff11",
    "",
    " ",
    "1,00",
    "1_000",
    "0x10",
    "9" * 401,
    True,
    [],
    {},
    "\ud800",
    "1\x00",
)


@pytest.mark.parametrize("value", NUMBERS, ids=lambda v: repr(v)[:25])
@pytest.mark.parametrize("mutation", AMOUNTS)
async def test_an_invalid_amount_is_an_error_of_its_value_field(
    scene: BadInputScene, mutation: str, value: Any
) -> None:
    name = AMOUNTS[mutation]
    may_be_zero = name != "amount" or mutation == "setClearingLimit"
    if may_be_zero and str(value) in {"0", "-0"}:
        pytest.skip("a fee or a limit may be zero")
    error = await scene.expect_problem(mutation, {name: {"value": value, "currency": "USD"}})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", name, "value"])


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda v: ascii(v)[:25])
async def test_an_amount_that_is_not_a_number_is_refused_before_anything_runs(
    scene: BadInputScene, value: Any
) -> None:
    error = await scene.expect_problem("donate", {"amount": {"value": value, "currency": "USD"}})
    assert error["top"]
    assert error["code"] == "INVALID_INPUT"
    assert "$i" in error["message"] or error["path"] == ["input", "amount", "value"]
    assert "amount.value" in error["message"] or "path" in error


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "sNaN", "Infinity", "1e400", "1e-400", "0.9" + "0" * 20])
async def test_an_invalid_rate_is_refused(scene: BadInputScene, rate: str) -> None:
    error = await scene.expect_problem("setFxRate", {"rate": rate})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "rate"])


async def test_an_invalid_item_is_named_by_its_index(scene: BadInputScene) -> None:
    items = [{"description": "a", "amount": money("1.00")}, {"description": "b", "amount": money("0")}]
    error = await scene.expect_problem("submitExpense", {"amount": None, "items": items})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "items", "1", "amount", "value"])


async def test_items_that_add_up_to_more_than_64_bits_are_refused(scene: BadInputScene) -> None:
    items = [{"description": "a", "amount": money(LARGEST_USD)}] * 2
    error = await scene.expect_problem("submitExpense", {"amount": None, "items": items})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "items"])


PARTS: list[tuple[str, dict[str, Any], str, list[str]]] = [
    *[
        (mutation, {name: money("1.00", currency)}, "INVALID_INPUT", ["input", name, "currency"])
        for mutation, name in AMOUNTS.items()
        for currency in ("EUR", "XXX", "usd", "", "U\x00D", "\ud800")
    ],
    *[
        (mutation, {side: {"slug": slug}}, code, ["input", side])
        for mutation in ("donate", "submitExpense")
        for side in ("from", "to")
        for slug, code in (("unknown", "NOT_FOUND"), ("gone", "INVALID_STATE"), ("EVENT", "INVALID_INPUT"))
    ],
    *[
        ("transferFunds", {side: {"slug": slug}}, code, ["input", side])
        for side, slug, code in (
            ("from", "unknown", "NOT_FOUND"),
            ("to", "unknown", "NOT_FOUND"),
            ("to", "gone", "INVALID_STATE"),
            ("from", "gone", "INVALID_STATE"),
            ("from", "EVENT", "INVALID_STATE"),
            ("to", "EVENT", "INVALID_INPUT"),
        )
    ],
    *[
        ("addFunds", {side: {"slug": slug}}, code, ["input", side])
        for side, slug, code in (
            ("to", "unknown", "NOT_FOUND"),
            ("to", "gone", "INVALID_STATE"),
            ("from", "unknown", "NOT_FOUND"),
            ("from", "gone", "INVALID_STATE"),
            ("from", "EVENT", "INVALID_INPUT"),
        )
    ],
    *[
        (mutation, {"to": {"slug": "webpack"}}, "INVALID_INPUT", ["input", "to"])
        for mutation in ("donate", "transferFunds", "submitExpense")
    ],
    ("updateCollective", {"collective": {"slug": "gone"}}, "INVALID_STATE", ["input", "collective"]),
    ("followCollective", {"collective": {"slug": "unknown"}}, "NOT_FOUND", ["input", "collective"]),
    ("applyToHost", {"host": {"slug": "webpack"}}, "INVALID_INPUT", ["input", "host"]),
    *[
        ("moveToHost", {name: {"slug": slug}}, code, ["input", name])
        for name, slug, code in (
            ("collective", "unknown", "NOT_FOUND"),
            ("collective", "gone", "INVALID_STATE"),
            ("collective", "homeless", "INVALID_STATE"),
            ("collective", "EVENT", "INVALID_INPUT"),
            ("collective", "opensource", "INVALID_INPUT"),
            ("host", "unknown", "NOT_FOUND"),
            ("host", "opensource", "INVALID_INPUT"),
            ("host", "webpack", "INVALID_INPUT"),
        )
    ],
    *[
        (mutation, {name: {"slug": slug}}, code, ["input", name])
        for mutation, names in (
            ("settleHosts", ("from", "to")),
            ("setClearingLimit", ("host", "counterpart")),
        )
        for name in names
        for slug, code in (("unknown", "NOT_FOUND"), ("webpack", "INVALID_STATE"))
    ],
    *[
        (mutation, {name: {"slug": slug}}, code, ["input", name])
        for mutation, name, slugs in (
            ("leaveHost", "collective", (("unknown", "NOT_FOUND"), ("opensource", "INVALID_INPUT"))),
            ("applyAsHost", "collective", (("unknown", "NOT_FOUND"), ("webpack", "INVALID_INPUT"))),
            ("suspendHost", "host", (("unknown", "NOT_FOUND"), ("webpack", "INVALID_INPUT"))),
            ("unarchiveCollective", "collective", (("unknown", "NOT_FOUND"),)),
        )
        for slug, code in slugs
    ],
    ("settleHosts", {"amount": money("900.00")}, "INVALID_INPUT", ["input", "amount"]),
    ("settleHosts", {"reference": " "}, "INVALID_INPUT", ["input", "reference"]),
    ("settleHosts", {"reference": "x" * 141}, "INVALID_INPUT", ["input", "reference"]),
    ("suspendHost", {"reason": " "}, "INVALID_INPUT", ["input", "reason"]),
    ("updateExpense", {"amount": money("5.00"), "receipts": [""]}, "INVALID_INPUT", ["input", "receipts"]),
    ("updateExpense", {"payoutMethod": "CASH"}, "INVALID_INPUT", ["input", "payoutMethod"]),
    ("createEvent", {"parent": {"slug": "EVENT"}}, "INVALID_INPUT", ["input", "parent"]),
    ("donate", {"from": {"slug": "donor"}, "paymentMethod": "DEAR"}, "AMOUNT_TOO_SMALL", ["input", "amount"]),
    ("addFunds", {"hostFeeBps": 10_000}, "AMOUNT_TOO_SMALL", ["input", "amount"]),
    ("donate", {"amount": money(LARGEST_USD)}, "INVALID_INPUT", ["input", "amount"]),
    *[
        (
            mutation,
            {"to": {"slug": slug}, "amount": money("100", currency)},
            "FX_RATE_UNAVAILABLE",
            ["input", "amount"],
        )
        for mutation in ("donate", "transferFunds", "addFunds")
        for slug, currency in (("yen", "JPY"), ("euro", "EUR"))
    ],
    *[
        (mutation, {"id": public_id(kind, _NOBODY)}, code, ["input", "id"])
        for mutation in (
            "approveOrder",
            "rejectOrder",
            "payOrder",
            "cancelOrder",
            "refundOrder",
            "updateExpense",
            "confirmContribution",
            "denyContribution",
        )
        for kind, code in (("Collective", "INVALID_INPUT"), ("Order", "NOT_FOUND"))
    ],
    *[
        (mutation, {name: value}, "INVALID_INPUT", ["input", name])
        for mutation, name in (
            ("approveOrder", "id"),
            ("decideHostApplication", "id"),
            ("withdrawHostApplication", "id"),
            ("decideHost", "id"),
            ("withdrawInvitation", "id"),
            ("donate", "paymentMethod"),
            ("submitExpense", "payoutMethod"),
        )
        for value in (
            "",
            "x",
            "ord_",
            "app_!",
            "ord_é",
            "\ud800",
            "ord_\ud800",
            "pay_\x00",
            "out_a",
            "A" * 100_000,
        )
    ],
    *[
        ("approveOrders", {"ids": ids}, "INVALID_INPUT", ["input", "ids"])
        for ids in ([], ["x"] * 2, [*map(str, range(101))], [*map(str, range(5000))], ["ord_\ud800"])
    ],
    *[
        (mutation, {"from": {"id": value}}, "INVALID_INPUT", ["input", "from", "id"])
        for mutation in ("donate", "submitExpense")
        for value in (public_id("Order", _NOBODY), "col_x")
    ],
    ("donate", {"from": {"id": ""}}, "INVALID_INPUT", ["input", "from"]),
    ("donate", {"paymentMethod": "CASH"}, "INVALID_INPUT", ["input", "paymentMethod"]),
    (
        "donate",
        {"paymentMethod": public_id("PaymentMethod", _NOBODY)},
        "NOT_FOUND",
        ["input", "paymentMethod"],
    ),
    ("submitExpense", {"payoutMethod": "CASH"}, "INVALID_INPUT", ["input", "payoutMethod"]),
    (
        "submitExpense",
        {"payoutMethod": public_id("PayoutMethod", _NOBODY)},
        "NOT_FOUND",
        ["input", "payoutMethod"],
    ),
    *[
        ("submitExpense", changes, "INVALID_INPUT", ["input", name])
        for name, changes in (
            ("amount", {"amount": None}),
            ("amount", {"amount": None, "items": []}),
            ("amount", {"items": [{"description": "a", "amount": money("5.00")}]}),
            ("items", {"amount": None, "items": [{"description": "a", "amount": money("1")}] * 301}),
            ("receipts", {"receipts": ["r"] * 21}),
            ("receipts", {"receipts": [""]}),
        )
    ],
    ("createAccessToken", {"scopes": []}, "INVALID_INPUT", ["input", "scopes"]),
    ("createAccessToken", {"expiresAt": "2001-01-01T00:00:00Z"}, "INVALID_INPUT", ["input", "expiresAt"]),
    ("updateCollective", {"tags": [str(n) for n in range(21)]}, "INVALID_INPUT", ["input", "tags"]),
    *[
        ("updateCollective", {name: None}, "INVALID_INPUT", ["input", name])
        for name in ("name", "slug", "currency")
    ],
    ("createCollective", {"slug": "webpack"}, "CONFLICT", ["input", "slug"]),
    ("createCollective", {"currency": "CUR"}, "INVALID_INPUT", ["input", "currency"]),
    ("createCollective", {"type": "USER"}, "INVALID_INPUT", ["input", "type"]),
    ("createPayoutMethod", {"type": "BALANCE"}, "INVALID_INPUT", ["input", "type"]),
    *[
        ("createPayoutMethod", {"details": details}, "INVALID_INPUT", ["input", "details"])
        for details in (
            [],
            [1],
            "x",
            5,
            {"a": "\x00"},
            {"a": "\ud800"},
            {"": "a"},
            {str(n): "x" for n in range(21)},
        )
    ],
    ("createEvent", {"creditPolicy": "GENEROUS"}, "INVALID_INPUT", ["input", "creditPolicy"]),
    ("createEvent", {"endsAt": "2001-01-01T00:00:00Z"}, "INVALID_INPUT", ["input", "endsAt"]),
    ("createEvent", {"capacity": 0}, "INVALID_INPUT", ["input", "capacity"]),
    ("createEvent", {"timezone": "../etc/passwd"}, "INVALID_INPUT", ["input", "timezone"]),
    ("setPlatformPolicy", {"platformFeeBps": 10_001}, "INVALID_INPUT", ["input", "platformFeeBps"]),
    ("addFunds", {"hostFeeBps": -1}, "INVALID_INPUT", ["input", "hostFeeBps"]),
    ("createPaymentMethod", {"feeBps": 10_001}, "INVALID_INPUT", ["input", "feeBps"]),
    ("updatePaymentMethod", {"feeBps": 10_001}, "INVALID_INPUT", ["input", "feeBps"]),
    (
        "updatePaymentMethod",
        {"feeFixed": money("1.00", "EUR")},
        "INVALID_INPUT",
        ["input", "feeFixed", "currency"],
    ),
    ("updatePayoutMethod", {"details": [1]}, "INVALID_INPUT", ["input", "details"]),
    ("updatePayoutMethod", {"details": {"iban": "DE00"}}, "INVALID_INPUT", ["input", "details"]),
    ("inviteMember", {"email": "no address"}, "INVALID_INPUT", ["input", "email"]),
    ("inviteMember", {"user": {"slug": "xdamman"}}, "INVALID_INPUT", ["input", "user"]),
    ("inviteMember", {"role": "BACKER"}, "INVALID_INPUT", ["input", "role"]),
    (
        "donate",
        {"paymentMethod": "MANUAL", "expiresAt": "2001-01-01T00:00:00Z"},
        "INVALID_INPUT",
        ["input", "expiresAt"],
    ),
]


def _named() -> Iterator[Any]:
    for number, (mutation, changes, code, path) in enumerate(PARTS):
        label = f"{number}-{mutation}-{ascii(changes)[:40]}"
        yield pytest.param(mutation, changes, code, path, id=label)


@pytest.mark.parametrize(("mutation", "changes", "code", "path"), list(_named()))
async def test_an_invalid_field_is_named(
    scene: BadInputScene, mutation: str, changes: dict[str, Any], code: str, path: list[str]
) -> None:
    changes = {
        name: {"slug": scene.ids["event"]} if value == {"slug": "EVENT"} else value
        for name, value in changes.items()
    }
    if changes.get("paymentMethod") == "DEAR":
        changes["paymentMethod"] = scene.ids["dear"]
    error = await scene.expect_problem(mutation, changes)
    assert error["code"] == code, error
    place = error.get("path") or ["input", *re.findall(r"at \.(\w+)", error["message"])]
    assert place[: len(path)] == path, error
    assert len(error["message"]) < 300
