"""Approval of issuers, and caps of issuance by week, month or year."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import IssuanceCap, Order, new_id, now
from models.enums import CapPeriod, CollectiveType, LedgerAccountKind, OrderStatus, OrderType
from services.collectives import platform_policy
from services.ledger import posting, transaction_amounts
from services.ledger.legs import currents_legs
from tests.donation_world import error_code, expect_order
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.statement_counts import record_statements, without_control

CAP = "cap { period amount { minorUnits currency } validFrom }"
CAPS = "issuanceCaps { period amount { minorUnits } }"


async def cap(world: World, value: str | None, *, period: str = "MONTH", **more: Any) -> dict[str, Any]:
    amount = None if value is None else money(value, "CUR")
    arguments: dict[str, Any] = {"nonprofit": {"slug": "greatdeeds"}, "period": period, "amount": amount}
    return await world.mutate("setIssuanceCap", CAP, by=world.admin, **(arguments | more))


async def decide(world: World, slug: str, *, approve: bool, by: Person | None = None, **more: Any) -> Any:
    return await world.mutate(
        "decideIssuer",
        "collective { slug isIssuer }",
        by=by or world.admin,
        nonprofit={"slug": slug},
        approve=approve,
        **more,
    )


async def test_hours_beyond_the_cap_stay_pending(world: World) -> None:
    scene = await HoursScene.create(world)
    set_ = await cap(world, "5.000")
    assert set_["errors"] == []
    assert set_["cap"]["amount"] == {"minorUnits": "5000", "currency": "CUR"}
    first, second = expect_order(await scene.log(3)), expect_order(await scene.log(3, start=yesterday(12)))
    assert error_code(await scene.approve(first)) is None
    before = await world.fingerprint()
    refused = await scene.approve(second)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("LIMIT_EXCEEDED", ["input", "id"])]
    assert await world.fingerprint() == before
    query = "query($id: ID!) { order(id: $id) { status transactions { id } } }"
    left = (await world.query(query, by=scene.john, id=second))["order"]
    assert left == {"status": "PENDING", "transactions": []}

    adjusted: dict[str, Any] = {"amount": money("2.000", "CUR"), "reason": "what is left"}
    assert error_code(await scene.approve(second, **adjusted)) is None
    third = expect_order(await scene.log(0.25, start=yesterday(16)))
    assert error_code(await scene.approve(third)) == "LIMIT_EXCEEDED"
    assert error_code(await cap(world, None)) is None
    assert error_code(await scene.approve(third)) is None
    await world.assert_clean_ledger()


async def test_concurrent_approvals_stop_at_the_cap(world: World) -> None:
    scene = await HoursScene.create(world)
    assert error_code(await cap(world, "3.000")) is None
    orders = [expect_order(await scene.log(1, start=yesterday(hour))) for hour in range(8, 18)]
    codes = Counter(
        [error_code(a) for a in await asyncio.gather(*(scene.approve(order) for order in orders))]
    )
    assert codes == {None: 3, "LIMIT_EXCEEDED": 7}
    assert await scene.balance(scene.john, "CUR", by=scene.john) == {
        "posted": 3000,
        "held": 0,
        "available": 3000,
        "pending": 7000,
    }
    await world.assert_clean_ledger()


async def test_each_period_has_its_own_cap_and_zero_allows_nothing(world: World) -> None:
    scene = await HoursScene.create(world)
    for value, period in (("10", "YEAR"), ("4", "WEEK"), ("6", "MONTH")):
        assert error_code(await cap(world, value, period=period)) is None
    query = f'{{ collective(slug: "greatdeeds") {{ ... on Nonprofit {{ {CAPS} }} }} }}'
    issuance_caps = (await world.query(query))["collective"]["issuanceCaps"]
    assert [(c["period"], c["amount"]["minorUnits"]) for c in issuance_caps] == [
        ("WEEK", "4000"),
        ("MONTH", "6000"),
        ("YEAR", "10000"),
    ]
    order = expect_order(await scene.log(5))
    assert error_code(await scene.approve(order)) == "LIMIT_EXCEEDED"
    assert error_code(await cap(world, None, period="WEEK")) is None
    assert error_code(await scene.approve(order)) is None
    assert error_code(await cap(world, "0")) is None
    assert (
        error_code(await scene.approve(expect_order(await scene.log(1, start=yesterday(14)))))
        == "LIMIT_EXCEEDED"
    )
    assert [c["period"] for c in (await world.query(query))["collective"]["issuanceCaps"]] == [
        "MONTH",
        "YEAR",
    ]


async def test_currents_issued_before_the_period_do_not_count(world: World) -> None:
    scene = await HoursScene.create(world)
    await issued(scene, 9000, at=now() - timedelta(days=400))
    assert error_code(await cap(world, "3.000", period="YEAR")) is None
    assert error_code(await scene.approve(expect_order(await scene.log(3)))) is None
    assert (
        error_code(await scene.approve(expect_order(await scene.log(1, start=yesterday(14)))))
        == "LIMIT_EXCEEDED"
    )
    await world.assert_clean_ledger()


async def test_currents_issued_at_the_first_instant_of_the_period_count(world: World) -> None:
    scene = await HoursScene.create(world)
    await issued(scene, 2000, at=datetime(now().year, 1, 1, tzinfo=UTC))
    assert error_code(await cap(world, "3.000", period="YEAR")) is None
    assert error_code(await scene.approve(expect_order(await scene.log(1)))) is None
    more = expect_order(await scene.log(1, start=yesterday(14)))
    assert error_code(await scene.approve(more)) == "LIMIT_EXCEEDED"


async def test_a_nonprofit_has_the_policys_cap_until_the_platform_sets_another(world: World) -> None:
    scene = await HoursScene.create(world)
    month = now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    await issued(scene, 24_000, at=month - timedelta(seconds=1), days_ago=200)
    for days in range(41):
        await issued(scene, 24_000, at=month + timedelta(milliseconds=days), days_ago=20 + 2 * days)
    await issued(scene, 15_000, at=month + timedelta(seconds=1), days_ago=15)
    assert error_code(await scene.approve(expect_order(await scene.log(1)))) is None
    order = expect_order(await scene.log(0.25, start=yesterday(14)))
    assert error_code(await scene.approve(order)) == "LIMIT_EXCEEDED"
    assert error_code(await cap(world, "2000", period="YEAR")) is None
    assert error_code(await scene.approve(order)) is None
    await world.assert_clean_ledger()


async def issued(scene: HoursScene, amount: int, *, at: datetime, days_ago: int = 30) -> None:
    """Issue currents to the volunteer as history does: at a moment in the past."""
    platform_id, from_id, to_id = scene.world.platform.id, scene.nonprofit.id, scene.john.user.id
    async with scene.world.sessions() as session:
        policy_id = (await platform_policy.load_policy(session)).id
    order = Order(
        type=OrderType.HOURS,
        status=OrderStatus.PENDING,
        from_id=from_id,
        to_id=to_id,
        currency="CUR",
        amount=amount,
        policy_id=policy_id,
        starts_at=now() - timedelta(days=days_ago) - timedelta(milliseconds=3600 * amount),
        ends_at=now() - timedelta(days=days_ago),
        has_public_side=False,
    )
    row = {
        "id": new_id(),
        "group_id": new_id(),
        "order_id": order.id,
        "kind": "HOURS",
        "from_collective_id": from_id,
        "to_collective_id": to_id,
        "from_host_id": platform_id,
        "to_host_id": platform_id,
        "has_public_side": False,
        "at": at.isoformat(),
        **transaction_amounts.same_currency_amounts(amount, transaction_amounts.CURRENTS).columns(),
    }
    legs = currents_legs(
        book_id=platform_id,
        from_id=from_id,
        to_id=to_id,
        amount_minor=amount,
        kind_from=LedgerAccountKind.ISSUANCE,
    )
    async with scene.world.sessions() as session, session.begin():
        session.add(order)
        await session.flush()
        await posting.post(session, row=row, legs=legs)
        order.status = OrderStatus.PAID


async def test_a_cap_applies_from_the_time_it_is_set(world: World) -> None:
    scene = await HoursScene.create(world)
    later = now() + timedelta(days=400)
    assert error_code(await cap(world, "0", validFrom=later.isoformat())) is None
    assert error_code(await scene.approve(expect_order(await scene.log(1)))) is None
    query = f'{{ collective(slug: "greatdeeds") {{ ... on Nonprofit {{ {CAPS} }} }} }}'
    default = {"period": "MONTH", "amount": {"minorUnits": "1000000"}}
    assert (await world.query(query))["collective"]["issuanceCaps"] == [default]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"nonprofit": {"slug": "consciousbiz"}}, ["nonprofit"]),
        ({"nonprofit": {"slug": "john"}}, ["nonprofit"]),
        ({"amount": money("1.00", "USD")}, ["amount", "currency"]),
        ({"amount": money("-1", "CUR")}, ["amount", "value"]),
        ({"amount": money("1.0001", "CUR")}, ["amount", "value"]),
        ({"validFrom": "2020-01-01T00:00Z"}, ["validFrom"]),
    ],
)
async def test_an_invalid_cap_stores_nothing(world: World, changes: dict[str, Any], path: list[str]) -> None:
    await HoursScene.create(world)
    before = await world.fingerprint()
    refused = await cap(world, "1.000", **changes)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_INPUT", ["input", *path])]
    assert await world.fingerprint() == before


async def test_a_nonprofit_issues_only_after_approval_by_the_platform(world: World) -> None:
    scene = await HoursScene.create(world)
    fresh = await world.host("fresh", scene.chris)
    results: dict[str, Any] = {"nonprofit": ref(fresh)}
    assert error_code(await scene.log(1, **results)) == "INVALID_STATE"
    for _ in range(2):
        done_ = await decide(world, "fresh", approve=True)
        assert (done_["errors"], done_["collective"]) == ([], {"slug": "fresh", "isIssuer": True})
    order = expect_order(await scene.log(1, **results))
    assert error_code(await scene.approve(order)) is None
    refused = await decide(world, "fresh", approve=False)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_INPUT", ["input", "reason"])]
    ended = await decide(world, "fresh", approve=False, reason="no news for a year")
    assert ended["collective"] == {"slug": "fresh", "isIssuer": False}
    assert error_code(await scene.log(1, start=yesterday(14), **results)) == "INVALID_STATE"
    mails = await world.scalar(
        "SELECT array_agg(payload->>'approved') FROM outbox"
        " WHERE template = 'issuer_decision' AND recipient = :email",
        email=scene.chris.email,
    )
    assert Counter(mails) == {"true": 2, "false": 1}


async def test_only_an_open_nonprofit_becomes_an_issuer(world: World) -> None:
    ada = await world.person("ada")
    await world.community("shop", None, ada, collective_type=CollectiveType.BUSINESS)
    gone = await world.community("gone", None, ada, collective_type=CollectiveType.NONPROFIT)
    await world.mutate("archiveCollective", by=ada, collective=ref(gone))
    before = await world.fingerprint()
    for slug, expected in (("shop", "INVALID_INPUT"), ("ada", "INVALID_INPUT"), ("gone", "INVALID_STATE")):
        refused = await decide(world, slug, approve=True)
        assert [(e["code"], e["path"]) for e in refused["errors"]] == [(expected, ["input", "nonprofit"])]
    body = await world.execute(
        "mutation($i: DecideIssuerInput!) { decideIssuer(input: $i) { errors { code } } }",
        by=ada,
        i={"nonprofit": {"slug": "gone"}, "approve": True},
    )
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await world.fingerprint() == before


async def test_the_caps_of_a_page_are_read_in_one_statement(world: World, engine: AsyncEngine) -> None:
    for number in range(10):
        row = await world.host(f"host-{number}")
        await world.add(
            IssuanceCap(nonprofit_id=row.id, period=CapPeriod.WEEK, amount_minor=number, valid_from=now())
        )
    query = f"""query($n: Int!) {{ collectives(first: $n, filter: {{type: [NONPROFIT]}}) {{ nodes {{
        ... on Nonprofit {{ isIssuer {CAPS} }} }} }} }}"""
    sent_each = []
    for first in (2, 10):
        with record_statements(engine) as statements:
            await world.query(query, n=first)
        sent_each.append(len(without_control(statements)))
    assert sent_each == [1, 1]


async def test_a_suspended_issuer_cannot_approve_hours(world: World) -> None:
    scene = await HoursScene.create(world)
    order_id = expect_order(await scene.log(1))
    assert error_code(await decide(world, "greatdeeds", approve=False, reason="A review")) is None
    before = await world.fingerprint()
    assert error_code(await scene.approve(order_id)) == "INVALID_STATE"
    many = await world.mutate("approveOrders", "results { errors { code } }", by=scene.chris, ids=[order_id])
    assert [e["code"] for r in many["results"] for e in r["errors"]] == ["INVALID_STATE"]
    assert await world.fingerprint() == before
    assert error_code(await decide(world, "greatdeeds", approve=True)) is None
    assert error_code(await scene.approve(order_id)) is None
