"""What cannot be is refused with a code and the field's name, and nothing is stored."""

from collections.abc import AsyncIterator, Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.conftest import Database
from tests.make import Person, World, money, of, public_id
from tests.scene import Scene, done

from models import Collective, new_id, now
from models.enums import MemberRole
from services import database as databases

LARGEST = "92233720368547758.07"
TOO_LARGE = "92233720368547758.08"


@dataclass
class Stage:
    """A world in which nothing changes: every test of this file but the last asks for what is refused."""

    scene: Scene
    boss: Person
    """ADMIN of the host, of webpack, of babel and of the platform, so that no right stands in the way."""
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A good input for each mutation."""
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> World:
        """The world to ask in."""
        return self.scene.world

    def by(self, mutation: str) -> Person | None:
        """Return who may do a mutation."""
        makers = {"submitExpense": self.scene.payee, "approveOrder": self.scene.giver}
        if mutation in {"signUp", "signIn", "verifyEmail"}:
            return None
        return makers.get(mutation, self.boss)

    async def refused(self, mutation: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Ask with a good input changed; return the only error, wherever it stands; nothing is stored."""
        given = deepcopy(self.given[mutation]) | changes
        before = await self.world.fingerprint()
        name = mutation[0].upper() + mutation[1:]
        more = "results { errors { code message path } }" if mutation == "approveOrders" else ""
        body = await self.world.execute(
            f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {more} errors {{ code message path }} }} }}",
            by=self.by(mutation), i=given,
        )  # fmt: skip
        assert await self.world.fingerprint() == before
        if "errors" in body:
            (error,) = body["errors"]
            return {"message": error["message"], "top": True, **error["extensions"]}
        payload = body["data"][mutation]
        found = payload["errors"] + [e for r in payload.get("results", []) for e in r["errors"]]
        (error,) = found
        return dict(error)

    async def asked(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run a query that has one error; return it."""
        body = await self.world.execute(query, by=self.boss, **variables)
        (error,) = body["errors"]
        return {"message": error["message"], **error["extensions"]}


@pytest.fixture(scope="module")
async def stage(make_database: Callable[[], Database]) -> AsyncIterator[Stage]:
    database = make_database()
    engine = databases.connect(database.settings)
    world = await World.create(database.settings, databases.sessions(engine))
    scene = await Scene.create(world)
    boss = await world.person("boss")
    for row in (scene.host, scene.webpack, scene.babel, world.platform):
        await world.member(row, boss, MemberRole.ADMIN)
    stage = Stage(scene, boss)
    await _more_collectives(stage)
    pending, approved = await scene.expense("3.00"), await scene.expense("2.00")
    done(await scene.approve(approved))
    paid = done(await scene.donate("5.00"))
    stage.ids |= {"pending": pending, "approved": approved, "paid": paid}
    stage.given = await _good(stage)
    yield stage
    await engine.dispose()


async def _more_collectives(stage: Stage) -> None:
    scene, world = stage.scene, stage.world
    gone = await world.community("gone", scene.host, stage.boss)
    gone.archived_at = now()
    await world.add(gone)
    starts = now() + timedelta(days=1)
    made = await world.do(
        "createEvent", "event { slug }", by=stage.boss, parent=of(scene.webpack), name="Meetup",
        startsAt=starts.isoformat(), endsAt=(starts + timedelta(hours=1)).isoformat(),
    )  # fmt: skip
    stage.ids["event"] = made["event"]["slug"]
    await world.community("yen", scene.host, stage.boss, currency="JPY")
    await world.community("euro", scene.host, stage.boss, currency="EUR")
    await world.rate("EUR", "USD", "1.1", days_ago=8)
    await world.community("nobodys", None, stage.boss)
    stage.ids["dear"] = await scene.method(bps=10_000, fixed="1.00")


async def _good(stage: Stage) -> dict[str, dict[str, Any]]:
    scene, world = stage.scene, stage.world
    webpack, babel, five = of(scene.webpack), of(scene.babel), money("5.00")
    asked = await world.do(
        "applyToHost", "application { id }", by=stage.boss, collective={"slug": "nobodys"}, host=of(scene.host)
    )
    await world.community("homeless", None, stage.boss)
    starts, ends = now() + timedelta(days=1), now() + timedelta(days=2)
    return {
        "donate": {"from": webpack, "to": babel, "amount": five},
        "transferFunds": {"from": webpack, "to": babel, "amount": five},
        "addFunds": {"to": webpack, "amount": five},
        "submitExpense": {"from": webpack, "to": of(scene.payee), "amount": five},
        "approveOrder": {"id": stage.ids["pending"], "reason": "why not"},
        "approveOrders": {"ids": [stage.ids["pending"]]},
        "rejectOrder": {"id": stage.ids["pending"], "reason": "no"},
        "payOrder": {"id": stage.ids["approved"]},
        "cancelOrder": {"id": stage.ids["pending"]},
        "refundOrder": {"id": stage.ids["paid"]},
        "createCollective": {"type": "COMMUNITY", "name": "New", "slug": "brand-new", "currency": "USD"},
        "updateCollective": {"collective": webpack},
        "archiveCollective": {"collective": {"slug": "homeless"}},
        "createEvent": {
            "parent": webpack, "name": "Party", "startsAt": starts.isoformat(), "endsAt": ends.isoformat()
        },
        "applyToHost": {"collective": {"slug": "homeless"}, "host": of(scene.host)},
        "decideHostApplication": {"id": asked["application"]["id"], "approve": False, "reason": "no"},
        "createPaymentMethod": {"host": of(scene.host), "name": "Card", "type": "BALANCE"},
        "createPayoutMethod": {
            "collective": webpack, "name": "Bank", "type": "BANK_ACCOUNT", "details": {"iban": "x"}
        },
        "signUp": {"email": "new@commonweal.test", "name": "New", "password": "long enough"},
        "signIn": {"email": "boss@commonweal.test", "password": "long enough"},
        "verifyEmail": {"token": "not one"},
        "createAccessToken": {"name": "ci", "scopes": ["COLLECTIVES"], "expiresAt": ends.isoformat()},
        "inviteMember": {"collective": webpack, "role": "MEMBER", "email": "new@commonweal.test"},
        "followCollective": {"collective": babel},
        "setFxRate": {"from": "USD", "to": "JPY", "rate": "150"},
        "setPlatformPolicy": {"platformFeeBps": 100},
    }  # fmt: skip


MONEY = (
    "donate", "transferFunds", "addFunds", "submitExpense", "approveOrder", "approveOrders",
    "rejectOrder", "payOrder", "cancelOrder", "refundOrder",
)  # fmt: skip


@pytest.mark.parametrize("mutation", MONEY)
async def test_the_input_that_these_tests_change_is_good_and_a_dry_run_stores_nothing(
    stage: Stage, mutation: str
) -> None:
    before = await stage.world.fingerprint()
    fields = "results { errors { code } }" if mutation == "approveOrders" else "order { id status }"
    by = stage.scene.giver if mutation == "approveOrders" else stage.by(mutation)
    payload = await stage.world.do(mutation, fields, by=by, **stage.given[mutation], dryRun=True)
    assert payload["errors"] == []
    assert all(result["errors"] == [] for result in payload.get("results", []))
    assert await stage.world.fingerprint() == before


AMOUNTS = {
    "donate": "amount", "transferFunds": "amount", "addFunds": "amount", "submitExpense": "amount",
    "approveOrder": "amount", "refundOrder": "amount", "payOrder": "processorFee",
    "createPaymentMethod": "feeFixed",
}  # fmt: skip
NUMBERS = (
    "0", "-0", "-1", "0.001", "1e-400", "NaN", "sNaN", "Infinity", "-Infinity", "1e400", TOO_LARGE,
    "9" * 400, Decimal("1e400"), Decimal("0.001"), 2**63, -1, 0,
)  # fmt: skip
NOT_NUMBERS = ("१२", "１２", "", " ", "1,00", "1_000", "0x10", "9" * 401, True, [], {}, "\ud800", "1\x00")


@pytest.mark.parametrize("value", NUMBERS, ids=lambda v: repr(v)[:25])
@pytest.mark.parametrize("mutation", AMOUNTS)
async def test_an_amount_that_cannot_be_names_its_value(stage: Stage, mutation: str, value: Any) -> None:
    name = AMOUNTS[mutation]
    if name != "amount" and str(value) in {"0", "-0"}:
        pytest.skip("a fee may be zero")
    error = await stage.refused(mutation, {name: {"value": value, "currency": "USD"}})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", name, "value"])


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda v: ascii(v)[:25])
async def test_what_is_no_number_is_refused_before_anything_runs(stage: Stage, value: Any) -> None:
    error = await stage.refused("donate", {"amount": {"value": value, "currency": "USD"}})
    assert error["top"]
    assert error["code"] == "INVALID_INPUT"
    assert "'i.amount.value'" in error["message"]


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "sNaN", "Infinity", "1e400", "1e-400"])
async def test_a_rate_that_cannot_be_is_refused(stage: Stage, rate: str) -> None:
    error = await stage.refused("setFxRate", {"rate": rate})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "rate"])


async def test_an_item_names_its_place(stage: Stage) -> None:
    items = [{"description": "a", "amount": money("1.00")}, {"description": "b", "amount": money("0")}]
    error = await stage.refused("submitExpense", {"amount": None, "items": items})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "items", "1", "amount", "value"])


async def test_items_that_add_up_to_more_than_64_bits_are_refused(stage: Stage) -> None:
    items = [{"description": "a", "amount": money(LARGEST)}] * 2
    error = await stage.refused("submitExpense", {"amount": None, "items": items})
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "items"])


PARTS: list[tuple[str, dict[str, Any], str, list[str]]] = [
    *[
        (mutation, {name: money("1.00", currency)}, "INVALID_INPUT", ["input", name, "currency"])
        for mutation, name in AMOUNTS.items()
        for currency in ("EUR", "XXX", "usd", "", "U\x00D", "\ud800")
    ],
    *[
        (mutation, {side: {"slug": slug}}, code, ["input", side])
        for mutation in ("donate", "transferFunds", "submitExpense")
        for side in ("from", "to")
        for slug, code in (("unknown", "NOT_FOUND"), ("gone", "INVALID_STATE"), ("EVENT", "INVALID_INPUT"))
    ],
    *[
        ("addFunds", {side: {"slug": slug}}, code, ["input", side])
        for side, slug, code in (
            ("to", "unknown", "NOT_FOUND"), ("to", "gone", "INVALID_STATE"),
            ("from", "unknown", "NOT_FOUND"), ("from", "gone", "INVALID_STATE"),
            ("from", "EVENT", "INVALID_INPUT"),
        )
    ],
    *[
        (mutation, {"to": {"slug": "webpack"}}, "INVALID_INPUT", ["input", "to"])
        for mutation in ("donate", "transferFunds", "submitExpense")
    ],
    ("updateCollective", {"collective": {"slug": "gone"}, "name": "x"}, "INVALID_STATE", ["input", "collective"]),
    ("followCollective", {"collective": {"slug": "unknown"}}, "NOT_FOUND", ["input", "collective"]),
    ("applyToHost", {"host": {"slug": "webpack"}}, "INVALID_INPUT", ["input", "host"]),
    ("createEvent", {"parent": {"slug": "EVENT"}}, "INVALID_INPUT", ["input", "parent"]),
    ("donate", {"paymentMethod": "DEAR"}, "AMOUNT_TOO_SMALL", ["input", "amount"]),
    ("addFunds", {"hostFeeBps": 10_000}, "AMOUNT_TOO_SMALL", ["input", "amount"]),
    ("donate", {"amount": money(LARGEST)}, "INSUFFICIENT_FUNDS", ["input", "amount"]),
    *[
        (mutation, {"to": {"slug": slug}, "amount": money("100", currency)}, "FX_RATE_UNAVAILABLE",
         ["input", "amount"])
        for mutation in ("donate", "transferFunds", "addFunds")
        for slug, currency in (("yen", "JPY"), ("euro", "EUR"))
    ],
    *[
        (mutation, {"id": public_id(kind, new_id())}, code, ["input", "id"])
        for mutation in ("approveOrder", "rejectOrder", "payOrder", "cancelOrder", "refundOrder")
        for kind, code in (("Collective", "INVALID_INPUT"), ("Order", "NOT_FOUND"))
    ],
    *[
        (mutation, {name: value}, "INVALID_INPUT", ["input", name])
        for mutation, name in (
            ("approveOrder", "id"), ("decideHostApplication", "id"), ("donate", "paymentMethod"),
            ("submitExpense", "payoutMethod"),
        )
        for value in ("", "x", "ord_", "app_!", "ord_é", "\ud800", "ord_\ud800", "pay_\x00", "out_a", "A" * 100_000)
    ],
    *[
        ("approveOrders", {"ids": ids}, "INVALID_INPUT", ["input", "ids"])
        for ids in ([], ["x"] * 2, [str(n) for n in range(101)], [str(n) for n in range(5000)], ["ord_\ud800"])
    ],
    *[
        (mutation, {"from": {"id": value}}, "INVALID_INPUT", ["input", "from", "id"])
        for mutation in ("donate", "submitExpense")
        for value in (public_id("Order", new_id()), "col_x", "")
    ],
    ("donate", {"paymentMethod": "CASH"}, "INVALID_INPUT", ["input", "paymentMethod"]),
    ("donate", {"paymentMethod": public_id("PaymentMethod", new_id())}, "NOT_FOUND", ["input", "paymentMethod"]),
    ("submitExpense", {"payoutMethod": "CASH"}, "INVALID_INPUT", ["input", "payoutMethod"]),
    ("submitExpense", {"payoutMethod": public_id("PayoutMethod", new_id())}, "NOT_FOUND",
     ["input", "payoutMethod"]),
    *[
        ("submitExpense", changes, "INVALID_INPUT", ["input", name])
        for name, changes in (
            ("amount", {"amount": None}), ("amount", {"amount": None, "items": []}),
            ("amount", {"items": [{"description": "a", "amount": money("5.00")}]}),
            ("items", {"amount": None, "items": [{"description": "a", "amount": money("1")}] * 301}),
            ("receipts", {"receipts": ["r"] * 21}), ("receipts", {"receipts": [""]}),
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
        for details in ([], [1], "x", 5, {"a": "\x00"}, {"a": "\ud800"}, {"": "a"},
                        {str(n): "x" for n in range(21)})
    ],
    ("createEvent", {"creditPolicy": "GENEROUS"}, "INVALID_INPUT", ["input", "creditPolicy"]),
    ("createEvent", {"endsAt": "2001-01-01T00:00:00Z"}, "INVALID_INPUT", ["input", "endsAt"]),
    ("createEvent", {"capacity": 0}, "INVALID_INPUT", ["input", "capacity"]),
    ("createEvent", {"timezone": "../etc/passwd"}, "INVALID_INPUT", ["input", "timezone"]),
    ("setPlatformPolicy", {"platformFeeBps": 10_001}, "INVALID_INPUT", ["input", "platformFeeBps"]),
    ("addFunds", {"hostFeeBps": -1}, "INVALID_INPUT", ["input", "hostFeeBps"]),
    ("createPaymentMethod", {"feeBps": 10_001}, "INVALID_INPUT", ["input", "feeBps"]),
    ("inviteMember", {"email": "no address"}, "INVALID_INPUT", ["input", "email"]),
    ("inviteMember", {"user": {"slug": "xdamman"}}, "INVALID_INPUT", ["input", "user"]),
    ("inviteMember", {"role": "BACKER"}, "INVALID_INPUT", ["input", "role"]),
    ("donate", {"paymentMethod": "MANUAL", "expiresAt": "2001-01-01T00:00:00Z"}, "INVALID_INPUT",
     ["input", "expiresAt"]),
]  # fmt: skip


def _named() -> Iterator[Any]:
    for number, (mutation, changes, code, path) in enumerate(PARTS):
        label = f"{number}-{mutation}-{ascii(changes)[:40]}"
        yield pytest.param(mutation, changes, code, path, id=label)


@pytest.mark.parametrize(("mutation", "changes", "code", "path"), _named())
async def test_a_bad_field_is_named(
    stage: Stage, mutation: str, changes: dict[str, Any], code: str, path: list[str]
) -> None:
    changes = {
        name: {"slug": stage.ids["event"]} if value == {"slug": "EVENT"} else value
        for name, value in changes.items()
    }
    if changes.get("paymentMethod") == "DEAR":
        changes["paymentMethod"] = stage.ids["dear"]
        changes["to"] = await _elsewhere(stage)
    error = await stage.refused(mutation, changes)
    assert error["code"] == code, error
    assert (error["path"] or [])[: len(path)] == path, error
    assert len(error["message"]) < 300


async def _elsewhere(stage: Stage) -> dict[str, str]:
    return of(stage.scene.host)


TEXTS = {
    "donate": ("description", "privateMessage", "idempotencyKey", "paymentMethod"),
    "addFunds": ("description", "idempotencyKey"),
    "transferFunds": ("description", "idempotencyKey"),
    "submitExpense": ("description", "privateMessage", "receipts", "items", "idempotencyKey"),
    "approveOrder": ("reason", "idempotencyKey"),
    "approveOrders": ("idempotencyKey",),
    "rejectOrder": ("reason", "idempotencyKey"),
    "payOrder": ("idempotencyKey",),
    "cancelOrder": ("reason", "idempotencyKey"),
    "refundOrder": ("reason", "idempotencyKey"),
    "createCollective": ("name", "slug", "description", "currency"),
    "updateCollective": (
        "name", "slug", "legalName", "description", "website", "location", "timezone", "imageUrl", "tags",
        "currency",
    ),
    "createEvent": ("name", "location", "timezone", "creditPolicy"),
    "applyToHost": ("message",),
    "decideHostApplication": ("reason",),
    "createPaymentMethod": ("name",),
    "createPayoutMethod": ("name",),
    "signUp": ("name", "email", "password", "currency"),
    "signIn": ("email", "password"),
    "verifyEmail": ("token",),
    "createAccessToken": ("name",),
    "inviteMember": ("message", "email"),
    "setFxRate": ("from", "to"),
}  # fmt: skip
BAD_TEXTS = {"NUL": "a\x00b", "surrogate": "a\ud800b", "100 KB": "a" * 100_000}


@pytest.mark.parametrize("bad", BAD_TEXTS)
@pytest.mark.parametrize(("mutation", "name"), [(m, n) for m, names in TEXTS.items() for n in names])
async def test_a_text_that_cannot_be_kept_is_refused(
    stage: Stage, mutation: str, name: str, bad: str
) -> None:
    text = BAD_TEXTS[bad]
    changes: dict[str, Any] = {name: text}
    if name in {"receipts", "tags"}:
        changes = {name: [text]}
    if name == "items":
        changes = {"amount": None, "items": [{"description": text, "amount": money("1.00")}]}
    error = await stage.refused(mutation, changes)
    assert error["code"] == ("NOT_FOUND" if name == "token" else "INVALID_INPUT"), error["code"]
    places = ("email", "password") if mutation == "signIn" else (name,)
    assert error["path"][1] in places
    assert len(error["message"]) < 300
