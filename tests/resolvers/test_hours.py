"""Volunteer hours: who asks, who approves, and what is issued."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models import now
from models.enums import MemberRole
from services.access import attempt_limits
from services.core.errors import Invalid
from services.volunteering import hour_requests
from services.volunteering.hours import currents_of
from tests.donation_world import code, done
from tests.factories import Person, World, money, of
from tests.hours_world import TimeScene, issuer, yesterday


@pytest.fixture
async def scene(world: World) -> TimeScene:
    return await TimeScene.create(world)


async def test_requested_hours_are_pending_and_approved_ones_issued(scene: TimeScene) -> None:
    three, two = await scene.log(3), await scene.log(2, start=yesterday(12))
    assert await scene.balance(scene.john, "CUR", by=scene.john) == {
        "posted": 0,
        "held": 0,
        "available": 0,
        "pending": 5000,
    }
    for asked in (three, two):
        approved = await scene.approve(done(asked))
        assert approved["order"]["status"] == "PAID"
    assert await scene.balance(scene.john, "CUR", by=scene.john) == {
        "posted": 5000,
        "held": 0,
        "available": 5000,
        "pending": 0,
    }
    query = """{ transactions(filter: {kind: [HOURS]}, orderBy: CREATED_AT_ASC) { nodes {
        amount { minorUnits } postings { account { kind } amount { minorUnits } } } } }"""
    found = (await scene.world.ask(query, by=scene.world.admin))["transactions"]["nodes"]
    assert [t["amount"]["minorUnits"] for t in found] == ["3000", "2000"]
    for each in found:
        amount = int(each["amount"]["minorUnits"])
        lines = {p["account"]["kind"]: int(p["amount"]["minorUnits"]) for p in each["postings"]}
        assert lines == {"ISSUANCE": -amount, "BALANCE": amount}
    await scene.world.audit_is_clean()


async def test_issuing_leaves_the_nonprofits_own_balance_alone(scene: TimeScene) -> None:
    await scene.approve(done(await scene.log(3)))
    own = await scene.balance(scene.nonprofit, "CUR", by=scene.chris)
    assert own == {"posted": 0, "held": 0, "available": 0, "pending": 0}


async def test_approved_hours_make_a_volunteer_once(scene: TimeScene) -> None:
    await scene.approve(done(await scene.log(1)))
    await scene.approve(done(await scene.log(1, start=yesterday(12))))
    query = '{ collective(slug: "greatdeeds") { members(role: [VOLUNTEER]) { nodes { member { slug } } } } }'
    found = (await scene.world.ask(query))["collective"]["members"]["nodes"]
    assert found == [{"member": {"slug": "john"}}]


async def test_an_adjusted_approval_needs_a_reason_and_keeps_the_old_amount(scene: TimeScene) -> None:
    asked = await scene.log(3)
    before = await scene.world.fingerprint()
    refused = await scene.approve(done(asked), amount=money("2.500", "CUR"))
    assert code(refused) == "INVALID_INPUT"
    assert refused["errors"][0]["path"] == ["input", "reason"]
    assert await scene.world.fingerprint() == before
    approved = await scene.approve(done(asked), amount=money("2.500", "CUR"), reason="A long lunch")
    order = approved["order"]
    assert (order["amount"]["minorUnits"], order["approvedAmount"]["minorUnits"]) == ("3000", "2500")
    assert [(a["type"], a["amount"]["minorUnits"]) for a in order["actions"]] == [
        ("CREATE", "3000"),
        ("APPROVE", "2500"),
        ("PAY", "2500"),
    ]
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 2500


@pytest.mark.parametrize("value", ["0.0001", "24.001", "-1", "0"])
async def test_an_approval_is_no_more_than_a_day_and_in_currents(scene: TimeScene, value: str) -> None:
    asked = done(await scene.log(3))
    before = await scene.world.fingerprint()
    assert code(await scene.approve(asked, amount=money(value, "CUR"), reason="x")) == "INVALID_INPUT"
    assert code(await scene.approve(asked, amount=money("1.00"), reason="x")) == "INVALID_INPUT"
    assert await scene.world.fingerprint() == before


async def test_a_declined_request_says_why_and_issues_nothing(scene: TimeScene) -> None:
    asked = done(await scene.log(3))
    given = {"id": asked, "reason": "You were not there"}
    refused = await scene.world.do("rejectOrder", "order { status }", by=scene.chris, **given)
    assert refused["order"]["status"] == "REJECTED"
    balance = await scene.balance(scene.john, "CUR", by=scene.john)
    assert set(balance.values()) == {0}
    query = "query($i: ID!) { order(id: $i) { actions { type reason } } }"
    seen = (await scene.world.ask(query, by=scene.john, i=asked))["order"]["actions"]
    assert seen[-1] == {"type": "REJECT", "reason": "You were not there"}
    # What was declined may be asked for again: it overlaps nothing.
    assert done(await scene.log(3))


async def test_the_volunteer_withdraws(scene: TimeScene) -> None:
    asked = done(await scene.log(3))
    cancelled = await scene.world.do("cancelOrder", "order { status }", by=scene.john, id=asked)
    assert cancelled["order"]["status"] == "CANCELLED"


async def test_nobody_approves_their_own_hours_in_any_role(scene: TimeScene) -> None:
    await scene.world.member(scene.nonprofit, scene.john, MemberRole.ADMIN)
    asked = done(await scene.log(1))
    before = await scene.world.fingerprint()
    assert code(await scene.approve(asked, by=scene.john)) == "SELF_APPROVAL"
    many = await scene.world.do("approveOrders", "results { errors { code } }", by=scene.john, ids=[asked])
    assert [e["code"] for r in many["results"] for e in r["errors"]] == ["SELF_APPROVAL"]
    assert await scene.world.fingerprint() == before
    assert done(await scene.approve(asked))


async def test_another_nonprofits_admin_sees_nothing_to_approve(scene: TimeScene) -> None:
    kate = await scene.world.person("kate")
    await issuer(scene.world, "goodvibes", kate)
    asked = done(await scene.log(1))
    before = await scene.world.fingerprint()
    assert code(await scene.approve(asked, by=kate)) == "NOT_FOUND"
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
async def test_times_are_refused(scene: TimeScene, name: str) -> None:
    times, field = WRONG[name]
    starts_at, ends_at = times(yesterday(8, days=2))
    before = await scene.world.fingerprint()
    refused = await scene.world.do(
        "logHours",
        by=scene.john,
        nonprofit=of(scene.nonprofit),
        startsAt=starts_at.isoformat(),
        endsAt=ends_at.isoformat(),
    )
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [("INVALID_INPUT", ["input", field])]
    assert await scene.world.fingerprint() == before


async def test_a_moment_without_a_zone_is_refused(scene: TimeScene) -> None:
    given = {"nonprofit": of(scene.nonprofit), "startsAt": "2026-01-01T08:00", "endsAt": "2026-01-01T09:00"}
    query = "mutation($i: LogHoursInput!) { logHours(input: $i) { errors { code } } }"
    body = await scene.world.execute(query, by=scene.john, i=given)
    assert body["errors"][0]["extensions"]["code"] in {"INVALID_INPUT", "BAD_REQUEST"}


async def test_a_day_is_the_nonprofits_own(scene: TimeScene) -> None:
    await scene.world.do(
        "updateCollective", by=scene.chris, collective=of(scene.nonprofit), timezone="America/Chicago"
    )
    # 04:00 to 06:00 UTC is one day in UTC; in Chicago midnight lies between.
    split = await scene.log(4, start=yesterday(3, days=2))
    assert code(split) == "INVALID_INPUT"
    # 22:00 to 02:00 UTC is two days in UTC and one in Chicago.
    assert done(await scene.log(4, start=yesterday(22, days=3)))


async def test_hours_of_one_volunteer_do_not_overlap(scene: TimeScene) -> None:
    done(await scene.log(2, start=yesterday(8)))
    before = await scene.world.fingerprint()
    for start in (yesterday(7), yesterday(9)):
        refused = await scene.log(2, start=start)
        assert [(e["code"], e["path"]) for e in refused["errors"]] == [("CONFLICT", ["input", "startsAt"])]
    assert await scene.world.fingerprint() == before
    assert done(await scene.log(1, start=yesterday(10)))  # one ends when the other starts
    ann = await scene.world.person("ann")
    assert done(await scene.log(2, start=yesterday(8), by=ann))


async def test_of_many_overlapping_requests_at_once_one_wins(scene: TimeScene) -> None:
    made = await asyncio.gather(*(scene.log(2, start=yesterday(8, i)) for i in range(10)))
    assert sorted(code(m) or "OK" for m in made) == ["CONFLICT"] * 9 + ["OK"]


async def test_many_approvals_of_one_request_issue_once(scene: TimeScene) -> None:
    asked = done(await scene.log(1))
    made = await asyncio.gather(*(scene.approve(asked) for _ in range(20)))
    assert sorted(code(m) or "OK" for m in made) == ["INVALID_STATE"] * 19 + ["OK"]
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 1000


async def test_only_an_approved_nonprofit_is_asked(scene: TimeScene) -> None:
    other = await scene.world.host("newcomers", scene.chris)
    before = await scene.world.fingerprint()
    given = {"startsAt": yesterday(8).isoformat(), "endsAt": yesterday(9).isoformat()}
    for row, expected in ((other, "INVALID_STATE"), (scene.business, "INVALID_INPUT")):
        refused = await scene.world.do("logHours", by=scene.john, nonprofit=of(row), **given)
        assert [(e["code"], e["path"]) for e in refused["errors"]] == [(expected, ["input", "nonprofit"])]
    assert await scene.world.fingerprint() == before


def test_an_hour_is_an_hour_when_the_clock_is_changed() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    began, ended = datetime(2026, 3, 29, 1, tzinfo=berlin), datetime(2026, 3, 29, 4, tzinfo=berlin)
    # Three hours on the wall, two in fact: the request names moments, and moments are what counts.
    assert currents_of(ended.astimezone(UTC) - began.astimezone(UTC)) == 2000
    began, ended = datetime(2026, 10, 25, 1, tzinfo=berlin), datetime(2026, 10, 25, 4, tzinfo=berlin)
    assert currents_of(ended.astimezone(UTC) - began.astimezone(UTC)) == 4000


@pytest.mark.parametrize(
    ("seconds", "minor"), [(3600, 1000), (1, 0), (1.8, 1), (1.799999, 0), (5.4, 2), (172_800, 48_000)]
)
def test_currents_are_hours_rounded_half_away_to_a_thousandth(seconds: float, minor: int) -> None:
    assert currents_of(timedelta(seconds=seconds)) == minor


def test_a_day_of_25_hours_is_one_day_and_24_hours_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    midnight = datetime(2026, 10, 25, tzinfo=berlin).astimezone(UTC)
    monkeypatch.setattr(hour_requests, "now", lambda: midnight + timedelta(days=2))
    hour_requests.check_times(midnight, midnight + timedelta(hours=24), zone="Europe/Berlin")
    with pytest.raises(Invalid, match="24 hours"):
        hour_requests.check_times(midnight, midnight + timedelta(hours=25), zone="Europe/Berlin")


async def mails(world: World, template: str) -> list[str]:
    async with world.sessions() as session:
        from sqlalchemy import text  # noqa: PLC0415 - beside its only use

        rows = await session.execute(
            text("SELECT recipient FROM outbox WHERE template = :t ORDER BY 1"), {"t": template}
        )
        return list(rows.scalars())


async def test_every_admin_is_asked_or_one_coordinator(scene: TimeScene) -> None:
    ed = await scene.world.person("ed")
    await scene.world.member(scene.nonprofit, ed, MemberRole.ADMIN)
    done(await scene.log(1))
    assert await mails(scene.world, "hours_requested") == ["chris@commonweal.test", "ed@commonweal.test"]
    done(await scene.log(1, start=yesterday(12), coordinatorEmail="ED@commonweal.test"))
    assert await mails(scene.world, "hours_for_coordinator") == ["ed@commonweal.test"]


async def test_an_unknown_coordinator_becomes_an_unclaimed_user_without_rights(scene: TimeScene) -> None:
    asked = await scene.log(1, coordinatorEmail="new@example.org")
    assert await mails(scene.world, "hours_for_coordinator") == ["new@example.org"]
    claimed = await scene.world.scalar(
        "SELECT c.claimed_at FROM collective c JOIN credential k ON k.user_id = c.id"
        " WHERE k.email = 'new@example.org'"
    )
    assert claimed is None
    admins = "SELECT count(*) FROM member WHERE role = 'ADMIN' AND collective_id = :id"
    assert await scene.world.scalar(admins, id=scene.nonprofit.id) == 1
    assert done(await scene.approve(done(asked)))


async def test_nobody_coordinates_their_own_hours(scene: TimeScene) -> None:
    refused = await scene.log(1, coordinatorEmail=scene.john.email)
    assert [(e["code"], e["path"]) for e in refused["errors"]] == [
        ("INVALID_INPUT", ["input", "coordinatorEmail"])
    ]


async def test_an_unknown_nonprofit_is_invited_and_nothing_is_stored(scene: TimeScene) -> None:
    before = await scene.world.fingerprint()
    given: dict[str, Any] = {
        "startsAt": yesterday(8).isoformat(),
        "endsAt": yesterday(9).isoformat(),
        "newNonprofit": {"name": "Save the Bees", "email": "bees@example.org"},
        "idempotencyKey": "k",
    }
    for _ in range(2):
        made = await scene.world.do("logHours", "order { id }", by=scene.john, **given)
        assert made == {"order": None, "errors": []}
    after = await scene.world.fingerprint()
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {"outbox", "idempotency"}
    assert await mails(scene.world, "nonprofit_nominated") == ["bees@example.org"]
    assert await mails(scene.world, "nomination") == [scene.world.admin.email]


async def test_invitations_of_unknown_nonprofits_are_limited_by_user_and_by_address(scene: TimeScene) -> None:
    async def nominated(by: Person, email: str, **more: Any) -> str | None:
        made = await scene.world.do(
            "logHours",
            "order { id }",
            by=by,
            startsAt=yesterday(8).isoformat(),
            endsAt=yesterday(9).isoformat(),
            newNonprofit={"name": "Bees", "email": email},
            **more,
        )
        return made["errors"][0]["code"] if made["errors"] else None

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


async def test_an_admin_logs_hours_for_a_volunteer_and_a_stranger_does_not(scene: TimeScene) -> None:
    assert done(await scene.log(1, by=scene.chris, volunteer=of(scene.john)))
    before = await scene.world.fingerprint()
    query = "mutation($i: LogHoursInput!) { logHours(input: $i) { errors { code } } }"
    given = {
        "nonprofit": of(scene.nonprofit),
        "volunteer": of(scene.john),
        "startsAt": yesterday(12).isoformat(),
        "endsAt": yesterday(13).isoformat(),
    }
    body = await scene.world.execute(query, by=scene.mark, i=given)
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await scene.world.fingerprint() == before


async def test_strangers_read_neither_hours_nor_their_transactions(scene: TimeScene) -> None:
    asked = done(await scene.log(1))
    approved = await scene.approve(asked)
    transaction = approved["order"]["transactions"][0]["id"]
    query = "query($o: ID!, $t: ID!) { order(id: $o) { id } transaction(id: $t) { id } }"
    for viewer, sees in ((scene.mark, False), (None, False), (scene.john, True), (scene.chris, True)):
        found = await scene.world.ask(query, by=viewer, o=asked, t=transaction)
        assert [found["order"] is not None, found["transaction"] is not None] == [sees, sees]


async def test_the_same_key_logs_and_approves_once(scene: TimeScene) -> None:
    first = await scene.log(1, idempotencyKey="log")
    assert done(await scene.log(1, idempotencyKey="log")) == done(first)
    one = await scene.approve(done(first), idempotencyKey="approve")
    before = await scene.world.fingerprint()
    again = await scene.approve(done(first), idempotencyKey="approve")
    assert again == one
    assert await scene.world.fingerprint() == before


async def test_a_dry_run_stores_nothing(scene: TimeScene) -> None:
    before = await scene.world.fingerprint()
    assert done(await scene.log(1, dryRun=True))
    assert await scene.world.fingerprint() == before


async def _many(scene: TimeScene, count: int) -> list[str]:
    async def one(i: int) -> str:
        return done(await scene.log(0.25, start=yesterday(0) + timedelta(minutes=15 * i)))

    made: list[Awaitable[str]] = [one(i) for i in range(count)]
    return [await each for each in made]


MANY = "results { id order { status } errors { code } }"


async def test_a_weeks_hours_are_approved_in_one_call(scene: TimeScene) -> None:
    ids = await _many(scene, 8)
    given = {"ids": ids, "idempotencyKey": "week"}
    first = await scene.world.do("approveOrders", MANY, by=scene.chris, **given)
    assert [r["id"] for r in first["results"]] == ids
    assert {r["order"]["status"] for r in first["results"]} == {"PAID"}
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 2000
    before = await scene.world.fingerprint()
    assert await scene.world.do("approveOrders", MANY, by=scene.chris, **given) == first
    assert await scene.world.fingerprint() == before
    assert len(await mails(scene.world, "hours_approved")) == 8
    await scene.world.audit_is_clean()


async def test_one_that_fails_leaves_the_others(scene: TimeScene) -> None:
    ids = await _many(scene, 3)
    await scene.approve(ids[1])
    many = await scene.world.do("approveOrders", MANY, by=scene.chris, ids=ids)
    assert [[e["code"] for e in r["errors"]] for r in many["results"]] == [[], ["INVALID_STATE"], []]
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 750


async def test_two_calls_that_approve_the_same_hours_issue_them_once(scene: TimeScene) -> None:
    ids = await _many(scene, 10)
    await asyncio.gather(
        *(
            scene.world.do("approveOrders", MANY, by=scene.chris, ids=part)
            for part in (ids, ids[::-1], ids[3:8])
        )
    )
    assert (await scene.balance(scene.john, "CUR", by=scene.john))["posted"] == 2500
    await scene.world.audit_is_clean()
