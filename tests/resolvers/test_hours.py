"""Volunteer hours: who asks, who approves, and what is issued."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from models import now
from models.enums import MemberRole
from services.access import attempt_limits
from services.volunteering.hours import to_currents_minor
from tests.donation_world import error_code, expect_order
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, create_issuer, yesterday


@pytest.fixture
async def scene(world: World) -> HoursScene:
    return await HoursScene.create(world)


async def test_requested_hours_are_pending_and_approved_ones_issued(scene: HoursScene) -> None:
    three, two = await scene.log(3), await scene.log(2, start=yesterday(12))
    assert await scene.balance(scene.john, "CUR", by=scene.john) == {
        "posted": 0,
        "held": 0,
        "available": 0,
        "pending": 5000,
    }
    for request in (three, two):
        approved = await scene.approve(expect_order(request))
        assert approved["order"]["status"] == "PAID"
    assert await scene.balance(scene.john, "CUR", by=scene.john) == {
        "posted": 5000,
        "held": 0,
        "available": 5000,
        "pending": 0,
    }
    query = """{ transactions(filter: {kind: [HOURS]}, orderBy: CREATED_AT_ASC) { nodes {
        amount { minorUnits } postings { account { kind } amount { minorUnits } } } } }"""
    nodes = (await scene.world.query(query, by=scene.world.admin))["transactions"]["nodes"]
    assert [t["amount"]["minorUnits"] for t in nodes] == ["3000", "2000"]
    for each in nodes:
        amount = int(each["amount"]["minorUnits"])
        lines = {p["account"]["kind"]: int(p["amount"]["minorUnits"]) for p in each["postings"]}
        assert lines == {"ISSUANCE": -amount, "BALANCE": amount}
    await scene.world.assert_clean_ledger()


async def test_issuing_leaves_the_nonprofits_own_balance_alone(scene: HoursScene) -> None:
    await scene.approve(expect_order(await scene.log(3)))
    own = await scene.balance(scene.nonprofit, "CUR", by=scene.chris)
    assert own == {"posted": 0, "held": 0, "available": 0, "pending": 0}


async def test_approved_hours_add_the_volunteer_role_once(scene: HoursScene) -> None:
    await scene.approve(expect_order(await scene.log(1)))
    await scene.approve(expect_order(await scene.log(1, start=yesterday(12))))
    query = '{ collective(slug: "greatdeeds") { members(role: [VOLUNTEER]) { nodes { member { slug } } } } }'
    nodes = (await scene.world.query(query))["collective"]["members"]["nodes"]
    assert nodes == [{"member": {"slug": "john"}}]


async def test_an_adjusted_approval_needs_a_reason_and_keeps_the_old_amount(scene: HoursScene) -> None:
    payload = await scene.log(3)
    before = await scene.world.fingerprint()
    refused = await scene.approve(expect_order(payload), amount=money("2.500", "CUR"))
    assert error_code(refused) == "INVALID_INPUT"
    assert refused["errors"][0]["path"] == ["input", "reason"]
    assert await scene.world.fingerprint() == before
    approved = await scene.approve(expect_order(payload), amount=money("2.500", "CUR"), reason="A long lunch")
    order = approved["order"]
    assert (order["amount"]["minorUnits"], order["approvedAmount"]["minorUnits"]) == ("3000", "2500")
    assert [(a["type"], a["amount"]["minorUnits"]) for a in order["actions"]] == [
        ("CREATE", "3000"),
        ("APPROVE", "2500"),
        ("PAY", "2500"),
    ]
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 2500


@pytest.mark.parametrize("value", ["0.0001", "24.001", "-1", "0"])
async def test_an_approval_is_no_more_than_a_day_and_in_currents(scene: HoursScene, value: str) -> None:
    order_id = expect_order(await scene.log(3))
    before = await scene.world.fingerprint()
    assert (
        error_code(await scene.approve(order_id, amount=money(value, "CUR"), reason="x")) == "INVALID_INPUT"
    )
    assert error_code(await scene.approve(order_id, amount=money("1.00"), reason="x")) == "INVALID_INPUT"
    assert await scene.world.fingerprint() == before


async def test_a_rejected_request_has_a_reason_and_issues_nothing(scene: HoursScene) -> None:
    order_id = expect_order(await scene.log(3))
    arguments = {"id": order_id, "reason": "You were not there"}
    refused = await scene.world.mutate("rejectOrder", "order { status }", by=scene.chris, **arguments)
    assert refused["order"]["status"] == "REJECTED"
    balance = await scene.balance(scene.john, "CUR", by=scene.john)
    assert set(balance.values()) == {0}
    query = "query($i: ID!) { order(id: $i) { actions { type reason } } }"
    seen = (await scene.world.query(query, by=scene.john, i=order_id))["order"]["actions"]
    assert seen[-1] == {"type": "REJECT", "reason": "You were not there"}
    # What was declined may be asked for again: it overlaps nothing.
    assert expect_order(await scene.log(3))


async def test_the_volunteer_cancels_a_request(scene: HoursScene) -> None:
    order_id = expect_order(await scene.log(3))
    cancelled = await scene.world.mutate("cancelOrder", "order { status }", by=scene.john, id=order_id)
    assert cancelled["order"]["status"] == "CANCELLED"


async def test_users_cannot_approve_their_own_hours_in_any_role(scene: HoursScene) -> None:
    await scene.world.member(scene.nonprofit, scene.john, MemberRole.ADMIN)
    order_id = expect_order(await scene.log(1))
    before = await scene.world.fingerprint()
    assert error_code(await scene.approve(order_id, by=scene.john)) == "SELF_APPROVAL"
    many = await scene.world.mutate(
        "approveOrders", "results { errors { code } }", by=scene.john, ids=[order_id]
    )
    assert [e["code"] for r in many["results"] for e in r["errors"]] == ["SELF_APPROVAL"]
    assert await scene.world.fingerprint() == before
    assert expect_order(await scene.approve(order_id))


async def test_another_nonprofits_admin_sees_nothing_to_approve(scene: HoursScene) -> None:
    kate = await scene.world.person("kate")
    await create_issuer(scene.world, "goodvibes", kate)
    order_id = expect_order(await scene.log(1))
    before = await scene.world.fingerprint()
    assert error_code(await scene.approve(order_id, by=kate)) == "NOT_FOUND"
    assert await scene.world.fingerprint() == before


Times = Callable[[datetime], tuple[datetime, datetime]]
WRONG: dict[str, tuple[Times, str]] = {
    "they end before they start": (lambda t: (t, t - timedelta(hours=1)), "endsAt"),
    "they take no time": (lambda t: (t, t), "endsAt"),
    "they are too short": (lambda t: (t, t + timedelta(minutes=14)), "endsAt"),
    "they lie in the future": (
        lambda _: (now() - timedelta(minutes=20), now() + timedelta(hours=1)),
        "endsAt",
    ),
    "they are too old": (lambda t: (t - timedelta(days=15), t - timedelta(days=15, hours=-1)), "startsAt"),
    "they are longer than a day": (lambda t: (t - timedelta(days=2), t), "endsAt"),
    "they span midnight": (lambda t: (t.replace(hour=23), t.replace(hour=23) + timedelta(hours=2)), "endsAt"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_invalid_times_are_refused(scene: HoursScene, name: str) -> None:
    times, field = WRONG[name]
    starts_at, ends_at = times(yesterday(8, days=2))
    before = await scene.world.fingerprint()
    refused = await scene.world.mutate(
        "logHours",
        by=scene.john,
        nonprofit=ref(scene.nonprofit),
        startsAt=starts_at.isoformat(),
        endsAt=ends_at.isoformat(),
    )
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_INPUT", ["input", field])]
    assert await scene.world.fingerprint() == before


async def test_a_time_without_a_zone_is_refused(scene: HoursScene) -> None:
    arguments = {
        "nonprofit": ref(scene.nonprofit),
        "startsAt": "2026-01-01T08:00",
        "endsAt": "2026-01-01T09:00",
    }
    query = "mutation($i: LogHoursInput!) { logHours(input: $i) { errors { code } } }"
    body = await scene.world.execute(query, by=scene.john, i=arguments)
    assert body["errors"][0]["extensions"]["code"] in {"INVALID_INPUT", "BAD_REQUEST"}


async def test_days_are_counted_in_the_nonprofits_time_zone(scene: HoursScene) -> None:
    await scene.world.mutate(
        "updateCollective", by=scene.chris, collective=ref(scene.nonprofit), timezone="America/Chicago"
    )
    # 04:00 to 06:00 UTC is one day in UTC; in Chicago midnight lies between.
    split = await scene.log(4, start=yesterday(3, days=2))
    assert error_code(split) == "INVALID_INPUT"
    # 22:00 to 02:00 UTC is two days in UTC and one in Chicago.
    assert expect_order(await scene.log(4, start=yesterday(22, days=3)))


async def test_hours_of_one_volunteer_do_not_overlap(scene: HoursScene) -> None:
    expect_order(await scene.log(2, start=yesterday(8)))
    before = await scene.world.fingerprint()
    for start in (yesterday(7), yesterday(9)):
        refused = await scene.log(2, start=start)
        assert [(e["code"], e["path"]) for e in refused["errors"]] == [("CONFLICT", ["input", "startsAt"])]
    assert await scene.world.fingerprint() == before
    assert expect_order(await scene.log(1, start=yesterday(10)))  # one ends when the other starts
    ann = await scene.world.person("ann")
    assert expect_order(await scene.log(2, start=yesterday(8), by=ann))


async def test_one_of_many_concurrent_overlapping_requests_succeeds(scene: HoursScene) -> None:
    payloads = await asyncio.gather(*(scene.log(2, start=yesterday(8, i)) for i in range(10)))
    assert sorted(error_code(m) or "OK" for m in payloads) == ["CONFLICT"] * 9 + ["OK"]


async def test_many_approvals_of_one_request_issue_once(scene: HoursScene) -> None:
    order_id = expect_order(await scene.log(1))
    payloads = await asyncio.gather(*(scene.approve(order_id) for _ in range(20)))
    assert sorted(error_code(m) or "OK" for m in payloads) == ["INVALID_STATE"] * 19 + ["OK"]
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 1000


async def test_hours_are_requested_only_from_approved_nonprofits(scene: HoursScene) -> None:
    other = await scene.world.host("newcomers", scene.chris)
    before = await scene.world.fingerprint()
    arguments = {"startsAt": yesterday(8).isoformat(), "endsAt": yesterday(9).isoformat()}
    for row, expected in ((other, "INVALID_STATE"), (scene.business, "INVALID_INPUT")):
        refused = await scene.world.mutate("logHours", by=scene.john, nonprofit=ref(row), **arguments)
        assert [(e["code"], e["path"]) for e in refused["errors"]] == [(expected, ["input", "nonprofit"])]
    assert await scene.world.fingerprint() == before


def test_an_hour_across_a_clock_change_is_an_hour() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    began, ended = datetime(2026, 3, 29, 1, tzinfo=berlin), datetime(2026, 3, 29, 4, tzinfo=berlin)
    # Three hours on the wall, two in fact: the request names moments, and moments are what counts.
    assert to_currents_minor(ended.astimezone(UTC) - began.astimezone(UTC)) == 2000
    began, ended = datetime(2026, 10, 25, 1, tzinfo=berlin), datetime(2026, 10, 25, 4, tzinfo=berlin)
    assert to_currents_minor(ended.astimezone(UTC) - began.astimezone(UTC)) == 4000


@pytest.mark.parametrize(
    ("seconds", "minor"), [(3600, 1000), (1, 0), (1.8, 1), (1.799999, 0), (5.4, 2), (172_800, 48_000)]
)
def test_currents_are_hours_rounded_half_away_to_a_thousandth(seconds: float, minor: int) -> None:
    assert to_currents_minor(timedelta(seconds=seconds)) == minor


async def mails(world: World, template: str) -> list[str]:
    async with world.sessions() as session:
        rows = await session.execute(
            text("SELECT recipient FROM outbox WHERE template = :t ORDER BY 1"), {"t": template}
        )
        return list(rows.scalars())


async def test_every_admin_is_mailed_unless_a_coordinator_is_named(scene: HoursScene) -> None:
    ed = await scene.world.person("ed")
    await scene.world.member(scene.nonprofit, ed, MemberRole.ADMIN)
    expect_order(await scene.log(1))
    assert await mails(scene.world, "hours_requested") == ["chris@commonweal.test", "ed@commonweal.test"]
    expect_order(await scene.log(1, start=yesterday(12), coordinatorEmail="ED@commonweal.test"))
    assert await mails(scene.world, "hours_for_coordinator") == ["ed@commonweal.test"]


async def test_an_unknown_coordinator_becomes_an_unclaimed_user_without_rights(scene: HoursScene) -> None:
    payload = await scene.log(1, coordinatorEmail="new@example.org")
    assert await mails(scene.world, "hours_for_coordinator") == ["new@example.org"]
    claimed = await scene.world.scalar(
        "SELECT c.claimed_at FROM collective c JOIN credential k ON k.user_id = c.id"
        " WHERE k.email = 'new@example.org'"
    )
    assert claimed is None
    admins = "SELECT count(*) FROM member WHERE role = 'ADMIN' AND collective_id = :id"
    assert await scene.world.scalar(admins, id=scene.nonprofit.id) == 1
    assert expect_order(await scene.approve(expect_order(payload)))


async def test_users_cannot_coordinate_their_own_hours(scene: HoursScene) -> None:
    refused = await scene.log(1, coordinatorEmail=scene.john.email)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [
        ("INVALID_INPUT", ["input", "coordinatorEmail"])
    ]


async def test_an_unknown_nonprofit_is_invited_and_nothing_is_stored(scene: HoursScene) -> None:
    before = await scene.world.fingerprint()
    arguments: dict[str, Any] = {
        "startsAt": yesterday(8).isoformat(),
        "endsAt": yesterday(9).isoformat(),
        "newNonprofit": {"name": "Save the Bees", "email": "bees@example.org"},
        "idempotencyKey": "k",
    }
    for _ in range(2):
        payload = await scene.world.mutate("logHours", "order { id }", by=scene.john, **arguments)
        assert payload == {"order": None, "errors": []}
    after = await scene.world.fingerprint()
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {"outbox", "idempotency", "mail_stop"}
    assert await mails(scene.world, "nonprofit_nominated") == ["bees@example.org"]
    assert await mails(scene.world, "nomination") == [scene.world.admin.email]


async def test_invitations_of_unknown_nonprofits_are_limited_by_user_and_by_address(
    scene: HoursScene,
) -> None:
    async def nominated(by: Person, email: str, **more: Any) -> str | None:
        payload = await scene.world.mutate(
            "logHours",
            "order { id }",
            by=by,
            startsAt=yesterday(8).isoformat(),
            endsAt=yesterday(9).isoformat(),
            newNonprofit={"name": "Bees", "email": email},
            **more,
        )
        return payload["errors"][0]["code"] if payload["errors"] else None

    assert await nominated(scene.john, "bees@example.org", dryRun=True) is None, "which counts for nothing"
    for _ in range(attempt_limits.NOMINATIONS_PER_ACCOUNT):
        assert await nominated(scene.john, "bees@example.org") is None
    for by in (scene.john, scene.mark):
        assert await nominated(by, "Bees@Example.org") == "RATE_LIMITED"
    for number in range(attempt_limits.NOMINATIONS_PER_ACCOUNT, attempt_limits.NOMINATIONS_PER_USER):
        assert await nominated(scene.john, f"bees{number}@example.org") is None
    assert await nominated(scene.john, "wasps@example.org") == "RATE_LIMITED"
    assert await nominated(scene.mark, "wasps@example.org") is None
    sent = await mails(scene.world, "nonprofit_nominated")
    assert len(sent) == attempt_limits.NOMINATIONS_PER_USER + 1


async def test_an_admin_can_log_hours_for_a_volunteer_and_a_stranger_cannot(scene: HoursScene) -> None:
    assert expect_order(await scene.log(1, by=scene.chris, volunteer=ref(scene.john)))
    before = await scene.world.fingerprint()
    query = "mutation($i: LogHoursInput!) { logHours(input: $i) { errors { code } } }"
    arguments = {
        "nonprofit": ref(scene.nonprofit),
        "volunteer": ref(scene.john),
        "startsAt": yesterday(12).isoformat(),
        "endsAt": yesterday(13).isoformat(),
    }
    body = await scene.world.execute(query, by=scene.mark, i=arguments)
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await scene.world.fingerprint() == before


async def test_strangers_cannot_read_hours_or_their_transactions(scene: HoursScene) -> None:
    order_id = expect_order(await scene.log(1))
    approved = await scene.approve(order_id)
    transaction = approved["order"]["transactions"][0]["id"]
    query = "query($o: ID!, $t: ID!) { order(id: $o) { id } transaction(id: $t) { id } }"
    for viewer, sees in ((scene.mark, False), (None, False), (scene.john, True), (scene.chris, True)):
        data = await scene.world.query(query, by=viewer, o=order_id, t=transaction)
        assert [data["order"] is not None, data["transaction"] is not None] == [sees, sees]


async def test_the_same_key_logs_and_approves_once(scene: HoursScene) -> None:
    first = await scene.log(1, idempotencyKey="log")
    assert expect_order(await scene.log(1, idempotencyKey="log")) == expect_order(first)
    one = await scene.approve(expect_order(first), idempotencyKey="approve")
    before = await scene.world.fingerprint()
    again = await scene.approve(expect_order(first), idempotencyKey="approve")
    assert again == one
    assert await scene.world.fingerprint() == before


async def test_a_dry_run_stores_nothing(scene: HoursScene) -> None:
    before = await scene.world.fingerprint()
    assert expect_order(await scene.log(1, dryRun=True))
    assert await scene.world.fingerprint() == before


async def _many(scene: HoursScene, count: int) -> list[str]:
    async def one(i: int) -> str:
        return expect_order(await scene.log(0.25, start=yesterday(0) + timedelta(minutes=15 * i)))

    results: list[Awaitable[str]] = [one(i) for i in range(count)]
    return [await each for each in results]


MANY = "results { id order { status } errors { code } }"


async def test_a_weeks_hours_are_approved_in_one_call(scene: HoursScene) -> None:
    ids = await _many(scene, 8)
    arguments = {"ids": ids, "idempotencyKey": "week"}
    first = await scene.world.mutate("approveOrders", MANY, by=scene.chris, **arguments)
    assert [r["id"] for r in first["results"]] == ids
    assert {r["order"]["status"] for r in first["results"]} == {"PAID"}
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 2000
    before = await scene.world.fingerprint()
    assert await scene.world.mutate("approveOrders", MANY, by=scene.chris, **arguments) == first
    assert await scene.world.fingerprint() == before
    assert len(await mails(scene.world, "hours_approved")) == 8
    await scene.world.assert_clean_ledger()


async def test_one_failing_approval_does_not_affect_the_others(scene: HoursScene) -> None:
    ids = await _many(scene, 3)
    await scene.approve(ids[1])
    many = await scene.world.mutate("approveOrders", MANY, by=scene.chris, ids=ids)
    assert [[e["code"] for e in r["errors"]] for r in many["results"]] == [[], ["INVALID_STATE"], []]
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 750


async def test_two_concurrent_calls_issue_the_same_hours_once(scene: HoursScene) -> None:
    ids = await _many(scene, 10)
    await asyncio.gather(
        *(
            scene.world.mutate("approveOrders", MANY, by=scene.chris, ids=part)
            for part in (ids, ids[::-1], ids[3:8])
        )
    )
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 2500
    await scene.world.assert_clean_ledger()
