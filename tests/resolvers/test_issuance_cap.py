"""Who may issue currents, and how many in a week, month or year."""

import asyncio
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import IssuanceCap, new_id, now
from models.enums import CapPeriod, CollectiveType, LedgerAccountKind
from services.ledger import posting, transaction_amounts
from tests.donation_world import code, done
from tests.factories import Person, World, money, of
from tests.hours_world import TimeScene, yesterday
from tests.test_statement_counts import counted, statements

CAP = "cap { period amount { minorUnits currency } validFrom }"
CAPS = "issuanceCaps { period amount { minorUnits } }"


async def cap(world: World, value: str | None, *, period: str = "MONTH", **more: Any) -> dict[str, Any]:
    amount = None if value is None else money(value, "CUR")
    given: dict[str, Any] = {"nonprofit": {"slug": "greatdeeds"}, "period": period, "amount": amount}
    return await world.do("setIssuanceCap", CAP, by=world.admin, **(given | more))


async def decide(world: World, slug: str, *, approve: bool, by: Person | None = None, **more: Any) -> Any:
    return await world.do(
        "decideIssuer",
        "collective { slug isIssuer }",
        by=by or world.admin,
        nonprofit={"slug": slug},
        approve=approve,
        **more,
    )


async def test_hours_beyond_the_cap_stay_pending(world: World) -> None:
    scene = await TimeScene.create(world)
    set_ = await cap(world, "5.000")
    assert set_["errors"] == []
    assert set_["cap"]["amount"] == {"minorUnits": "5000", "currency": "CUR"}
    first, second = done(await scene.log(3)), done(await scene.log(3, start=yesterday(12)))
    assert code(await scene.approve(first)) is None
    before = await world.fingerprint()
    refused = await scene.approve(second)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("LIMIT_EXCEEDED", ["input", "id"])]
    assert await world.fingerprint() == before
    query = "query($id: ID!) { order(id: $id) { status transactions { id } } }"
    left = (await world.ask(query, by=scene.john, id=second))["order"]
    assert left == {"status": "PENDING", "transactions": []}

    adjusted: dict[str, Any] = {"amount": money("2.000", "CUR"), "reason": "what is left"}
    assert code(await scene.approve(second, **adjusted)) is None
    third = done(await scene.log(0.25, start=yesterday(16)))
    assert code(await scene.approve(third)) == "LIMIT_EXCEEDED"
    assert code(await cap(world, None)) is None
    assert code(await scene.approve(third)) is None
    await world.audit_is_clean()


async def test_of_ten_approvals_at_once_as_many_win_as_the_cap_allows(world: World) -> None:
    scene = await TimeScene.create(world)
    assert code(await cap(world, "3.000")) is None
    orders = [done(await scene.log(1, start=yesterday(hour))) for hour in range(8, 18)]
    codes = Counter([code(a) for a in await asyncio.gather(*(scene.approve(order) for order in orders))])
    assert codes == {None: 3, "LIMIT_EXCEEDED": 7}
    assert await scene.balance(scene.john, "CUR", by=scene.john) == {
        "posted": 3000,
        "held": 0,
        "available": 3000,
        "pending": 7000,
    }
    await world.audit_is_clean()


async def test_each_period_counts_for_itself_and_zero_is_none_at_all(world: World) -> None:
    scene = await TimeScene.create(world)
    for value, period in (("10", "YEAR"), ("4", "WEEK"), ("6", "MONTH")):
        assert code(await cap(world, value, period=period)) is None
    query = f'{{ collective(slug: "greatdeeds") {{ ... on Nonprofit {{ {CAPS} }} }} }}'
    found = (await world.ask(query))["collective"]["issuanceCaps"]
    assert [(c["period"], c["amount"]["minorUnits"]) for c in found] == [
        ("WEEK", "4000"),
        ("MONTH", "6000"),
        ("YEAR", "10000"),
    ]
    order = done(await scene.log(5))
    assert code(await scene.approve(order)) == "LIMIT_EXCEEDED"
    assert code(await cap(world, None, period="WEEK")) is None
    assert code(await scene.approve(order)) is None
    assert code(await cap(world, "0")) is None
    assert code(await scene.approve(done(await scene.log(1, start=yesterday(14))))) == "LIMIT_EXCEEDED"
    assert [c["period"] for c in (await world.ask(query))["collective"]["issuanceCaps"]] == ["MONTH", "YEAR"]


async def test_what_was_issued_before_the_period_does_not_count(world: World) -> None:
    scene = await TimeScene.create(world)
    await issued(scene, 9000, days_ago=400)
    assert code(await cap(world, "3.000", period="YEAR")) is None
    assert code(await scene.approve(done(await scene.log(3)))) is None
    assert code(await scene.approve(done(await scene.log(1, start=yesterday(14))))) == "LIMIT_EXCEEDED"
    await world.audit_is_clean()


async def issued(scene: TimeScene, amount: int, *, days_ago: int) -> None:
    """Issue currents to the volunteer as history does: at a moment in the past."""
    platform_id, from_id, to_id = scene.world.platform.id, scene.nonprofit.id, scene.john.user.id
    row = {
        "id": new_id(),
        "group_id": new_id(),
        "kind": "HOURS",
        "from_collective_id": from_id,
        "to_collective_id": to_id,
        "from_host_id": platform_id,
        "to_host_id": platform_id,
        "has_public_side": False,
        "at": (now() - timedelta(days=days_ago)).isoformat(),
        **asdict(transaction_amounts.unconverted(amount, transaction_amounts.CURRENTS)),
    }
    legs = transaction_amounts.currents_legs(
        book_id=platform_id, from_id=from_id, to_id=to_id, amount=amount, kind_from=LedgerAccountKind.ISSUANCE
    )
    async with scene.world.sessions() as session, session.begin():
        await posting.post(session, row=row, legs=legs)


async def test_a_cap_holds_from_its_moment_on(world: World) -> None:
    scene = await TimeScene.create(world)
    later = now() + timedelta(days=400)
    assert code(await cap(world, "0", validFrom=later.isoformat())) is None
    assert code(await scene.approve(done(await scene.log(1)))) is None
    query = f'{{ collective(slug: "greatdeeds") {{ ... on Nonprofit {{ {CAPS} }} }} }}'
    assert (await world.ask(query))["collective"]["issuanceCaps"] == []


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
async def test_a_cap_that_cannot_be_stores_nothing(
    world: World, changes: dict[str, Any], path: list[str]
) -> None:
    await TimeScene.create(world)
    before = await world.fingerprint()
    refused = await cap(world, "1.000", **changes)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_INPUT", ["input", *path])]
    assert await world.fingerprint() == before


async def test_a_nonprofit_issues_only_once_the_platform_says_so(world: World) -> None:
    scene = await TimeScene.create(world)
    fresh = await world.host("fresh", scene.chris)
    asked: dict[str, Any] = {"nonprofit": of(fresh)}
    assert code(await scene.log(1, **asked)) == "INVALID_STATE"
    for _ in range(2):
        done_ = await decide(world, "fresh", approve=True)
        assert (done_["errors"], done_["collective"]) == ([], {"slug": "fresh", "isIssuer": True})
    order = done(await scene.log(1, **asked))
    assert code(await scene.approve(order)) is None
    refused = await decide(world, "fresh", approve=False)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_INPUT", ["input", "reason"])]
    ended = await decide(world, "fresh", approve=False, reason="no news for a year")
    assert ended["collective"] == {"slug": "fresh", "isIssuer": False}
    assert code(await scene.log(1, start=yesterday(14), **asked)) == "INVALID_STATE"
    mails = await world.scalar(
        "SELECT array_agg(payload->>'approved') FROM outbox"
        " WHERE template = 'issuer_decision' AND recipient = :email",
        email=scene.chris.email,
    )
    assert Counter(mails) == {"true": 2, "false": 1}


async def test_only_an_open_nonprofit_becomes_an_issuer(world: World) -> None:
    ada = await world.person("ada")
    await world.community("shop", None, ada, type=CollectiveType.BUSINESS)
    gone = await world.community("gone", None, ada, type=CollectiveType.NONPROFIT)
    await world.do("archiveCollective", by=ada, collective=of(gone))
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


async def test_the_caps_of_a_page_are_one_statement(world: World, engine: AsyncEngine) -> None:
    for number in range(10):
        row = await world.host(f"host-{number}")
        await world.add(
            IssuanceCap(nonprofit_id=row.id, period=CapPeriod.WEEK, amount_minor=number, valid_from=now())
        )
    query = f"""query($n: Int!) {{ collectives(first: $n, filter: {{type: [NONPROFIT]}}) {{ nodes {{
        ... on Nonprofit {{ isIssuer {CAPS} }} }} }} }}"""
    sent_each = []
    for first in (2, 10):
        with counted(engine) as sent:
            await world.ask(query, n=first)
        sent_each.append(len(statements(sent)))
    assert sent_each == [2, 2]


async def test_who_may_issue_no_more_approves_no_more(world: World) -> None:
    scene = await TimeScene.create(world)
    asked = done(await scene.log(1))
    assert code(await decide(world, "greatdeeds", approve=False, reason="A review")) is None
    before = await world.fingerprint()
    assert code(await scene.approve(asked)) == "INVALID_STATE"
    many = await world.do("approveOrders", "results { errors { code } }", by=scene.chris, ids=[asked])
    assert [e["code"] for r in many["results"] for e in r["errors"]] == ["INVALID_STATE"]
    assert await world.fingerprint() == before
    assert code(await decide(world, "greatdeeds", approve=True)) is None
    assert code(await scene.approve(asked)) is None
