"""The platform's policy: versioned figures, the worth of a current, and the bonus of who signs up."""

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models import now
from models.enums import MemberRole
from services.collectives import platform_policy
from tests.donation_world import error_code, expect_order
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene
from tests.statement_counts import record_statements, without_control

POLICY = """policy { platformFeeBps usdPerCurrent redemptionFeeBps masterWeeklyLimit { value currency }
    signupBonus { minorUnits } checkInMinutes validFrom createdBy { slug } }"""
FIGURES = "platformFeeBps usdPerCurrent redemptionFeeBps checkInMinutes"
FIRST = {"platformFeeBps": 0, "usdPerCurrent": "20", "redemptionFeeBps": 1000, "checkInMinutes": 60}
RATE = 'query($at: DateTime) { fxRate(from: "CUR", to: "USD", at: $at) { rate source } }'
BONUSES = "SELECT count(*) FROM \"order\" WHERE type = 'BONUS'"
NEW = {"email": "new@commonweal.test", "name": "New"}
PASSWORD = "long enough"


async def set_policy(world: World, **arguments: Any) -> dict[str, Any]:
    return await world.mutate("setPlatformPolicy", POLICY, by=world.admin, **arguments)


async def signed_up(world: World, email: str = "new@commonweal.test") -> dict[str, Any]:
    """Sign up and prove the address; return the user."""
    await world.mutate("signUp", **(NEW | {"email": email}))
    token = await world.scalar(
        "SELECT payload->>'token' FROM outbox WHERE recipient = :email AND template = 'verify_email'"
        " ORDER BY id DESC LIMIT 1",
        email=email,
    )
    answer = await world.mutate(
        "verifyEmail", "user { id slug } session { token }", token=token, password=PASSWORD
    )
    assert answer["errors"] == []
    return {"token": answer["session"]["token"], **answer["user"]}


async def currents(world: World, slug: str) -> int:
    value: int = await world.scalar(
        "SELECT coalesce(sum(a.posted), 0) FROM ledger_account a JOIN collective c ON c.id = a.owner_id"
        " WHERE c.slug = :slug AND a.currency = 'CUR' AND a.kind = 'BALANCE'",
        slug=slug,
    )
    return int(value)


async def test_a_new_installation_has_a_policy_and_a_worth_of_currents(world: World) -> None:
    data = await world.query(f"{{ platformPolicy {{ {FIGURES} createdBy {{ slug }} }} }}")
    assert data["platformPolicy"] == {**FIRST, "createdBy": None}
    assert (await world.query(RATE))["fxRate"] == {"rate": "20", "source": "commonweal"}
    async with world.sessions() as session, session.begin():
        await platform_policy.ensure_platform(session)
    assert await world.scalar("SELECT count(*) FROM platform_policy") == 1
    assert await world.scalar("SELECT count(*) FROM fx_rate") == 1


async def test_figures_are_set_and_the_others_stay(world: World) -> None:
    first = await set_policy(world, platformFeeBps=500, checkInMinutes=30)
    assert first["errors"] == []
    second = await set_policy(
        world, redemptionFeeBps=800, masterWeeklyLimit=money("1.250", "CUR"), signupBonus=money("1", "CUR")
    )
    assert second["policy"].pop("validFrom") > first["policy"]["validFrom"]
    assert second["policy"] == {
        "platformFeeBps": 500,
        "usdPerCurrent": "20",
        "redemptionFeeBps": 800,
        "checkInMinutes": 30,
        "masterWeeklyLimit": {"value": "1.250", "currency": "CUR"},
        "signupBonus": {"minorUnits": "1000"},
        "createdBy": {"slug": "platform-admin"},
    }
    off = await set_policy(world, signupBonus=money("0", "CUR"))
    assert off["policy"]["signupBonus"] == {"minorUnits": "0"}
    assert await world.scalar("SELECT count(*) FROM fx_rate WHERE base = 'CUR'") == 1


async def test_a_new_worth_is_a_rate_from_then_on(world: World) -> None:
    later = now() + timedelta(days=2)
    done_ = await set_policy(world, usdPerCurrent="25.125000", validFrom=later.isoformat())
    assert done_["errors"] == []
    assert Decimal(done_["policy"]["usdPerCurrent"]) == Decimal("25.125")
    assert (await world.query(RATE))["fxRate"]["rate"] == "20"
    then = (await world.query(RATE, at=(later + timedelta(hours=1)).isoformat()))["fxRate"]
    assert (Decimal(then["rate"]), then["source"]) == (Decimal("25.125"), "platform-admin")
    again = await set_policy(world, usdPerCurrent="30", validFrom=later.isoformat())
    assert [(e["code"], e["path"]) for e in again["errors"]] == [("CONFLICT", ["input", "validFrom"])]


async def test_a_policy_between_two_copies_the_one_before_and_the_later_rate_comes_back(
    world: World,
) -> None:
    week, month = (now() + timedelta(days=days) for days in (7, 30))
    await set_policy(world, platformFeeBps=500, validFrom=month.isoformat())
    await set_policy(world, platformFeeBps=300)
    between = await set_policy(world, usdPerCurrent="22", validFrom=week.isoformat())
    assert between["policy"]["platformFeeBps"] == 300
    for at, rate in ((week, "22"), (month, "20")):
        data = await world.query(RATE, at=(at + timedelta(hours=1)).isoformat())
        assert data["fxRate"]["rate"] == rate
    history = (await world.query(f"{{ platformPolicies {{ {FIGURES} }} }}"))["platformPolicies"]
    assert [(p["platformFeeBps"], p["usdPerCurrent"]) for p in history] == [
        (500, "20"),
        (300, "22"),
        (300, "20"),
        (0, "20"),
    ]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, []),
        ({"validFrom": "2030-01-01T00:00Z"}, []),
        ({"platformFeeBps": -1}, ["platformFeeBps"]),
        ({"redemptionFeeBps": 10_001}, ["redemptionFeeBps"]),
        ({"usdPerCurrent": "0"}, ["usdPerCurrent"]),
        ({"usdPerCurrent": "-1"}, ["usdPerCurrent"]),
        ({"usdPerCurrent": "1.0000001"}, ["usdPerCurrent"]),
        ({"usdPerCurrent": "0.0000001"}, ["usdPerCurrent"]),
        ({"usdPerCurrent": "1000000000"}, ["usdPerCurrent"]),
        ({"masterWeeklyLimit": money("0", "CUR")}, ["masterWeeklyLimit", "value"]),
        ({"masterWeeklyLimit": money("1", "USD")}, ["masterWeeklyLimit", "currency"]),
        ({"signupBonus": money("0", "USD")}, ["signupBonus", "currency"]),
        ({"signupBonus": money("-1", "CUR")}, ["signupBonus", "value"]),
        ({"checkInMinutes": -1}, ["checkInMinutes"]),
        ({"checkInMinutes": 43_201}, ["checkInMinutes"]),
        ({"platformFeeBps": 1, "validFrom": "2020-01-01T00:00Z"}, ["validFrom"]),
    ],
)
async def test_a_policy_that_cannot_be_stores_nothing(
    world: World, given: dict[str, Any], path: list[str]
) -> None:
    before = await world.fingerprint()
    answer = await set_policy(world, **given)
    assert [(e["code"], e["path"]) for e in answer["errors"]] == [("INVALID_INPUT", ["input", *path])]
    assert await world.fingerprint() == before


async def test_figures_set_at_the_same_time_all_stay(world: World) -> None:
    figures: list[dict[str, Any]] = [
        {"platformFeeBps": 100},
        {"redemptionFeeBps": 600},
        {"checkInMinutes": 10},
        {"usdPerCurrent": "21"},
    ]
    answers = await asyncio.gather(*(set_policy(world, **each) for each in figures))
    assert [answer["errors"] for answer in answers] == [[]] * 4
    result = (await world.query(f"{{ platformPolicy {{ {FIGURES} }} }}"))["platformPolicy"]
    assert result == {
        "platformFeeBps": 100,
        "redemptionFeeBps": 600,
        "checkInMinutes": 10,
        "usdPerCurrent": "21",
    }


async def test_an_order_keeps_its_policy(world: World, engine: AsyncEngine) -> None:
    scene = await HoursScene.create(world)
    payload = await scene.log(1)
    await set_policy(world, usdPerCurrent="40")
    await scene.approve(expect_order(payload))
    await scene.log(1, start=now() - timedelta(hours=3))
    query = "{ orders(orderBy: CREATED_AT_ASC) { nodes { policy { usdPerCurrent } } } }"
    await world.query(query, by=scene.john)  # the viewer is known from now on
    with record_statements(engine) as statements:
        nodes = (await world.query(query, by=scene.john))["orders"]["nodes"]
    assert [order["policy"]["usdPerCurrent"] for order in nodes] == ["20", "40"]
    assert len(without_control(statements)) == 1
    funds = await world.mutate(
        "addFunds", "order { policy { validFrom } }", by=world.admin, to=ref(scene.john), amount=money("1.00")
    )
    assert funds["order"] == {"policy": None}


async def test_claiming_pays_the_bonus_once(world: World) -> None:
    user = await signed_up(world)
    assert await currents(world, user["slug"]) == 0
    await set_policy(world, signupBonus=money("1.000", "CUR"))
    second = await signed_up(world, "second@commonweal.test")
    assert await currents(world, second["slug"]) == 1000
    query = """{ me { orders { nodes { type status from { slug } amount { minorUnits } policy { validFrom }
        createdBy { slug } actions { type actor { slug } } transactions { kind } } } } }"""
    nodes = (await world.query(query, by=second["token"]))["me"]["orders"]["nodes"]
    assert [order.pop("policy") is not None for order in nodes] == [True]
    assert nodes == [
        {
            "type": "BONUS",
            "status": "PAID",
            "from": {"slug": "commonweal"},
            "createdBy": None,
            "amount": {"minorUnits": "1000"},
            "transactions": [{"kind": "BONUS"}],
            "actions": [{"type": "CREATE", "actor": None}, {"type": "PAY", "actor": None}],
        }
    ]
    issued = "SELECT posted FROM ledger_account WHERE kind = 'ISSUANCE' AND owner_id = :id"
    assert await world.scalar(issued, id=world.platform.id) == -1000
    assert (await world.query("{ orders { nodes { id } } }"))["orders"]["nodes"] == []
    assert await world.scalar(BONUSES) == 1
    await world.assert_clean_ledger()


async def test_a_second_token_claims_nothing(world: World) -> None:
    await set_policy(world, signupBonus=money("1.000", "CUR"))
    for _ in range(2):
        await world.mutate("signUp", **NEW)
    async with world.sessions() as session:
        query = text("SELECT payload->>'token' FROM outbox WHERE template = 'verify_email'")
        tokens = list((await session.execute(query)).scalars())
    codes = [
        error_code(await world.mutate("verifyEmail", token=token, password=PASSWORD)) for token in tokens
    ]
    assert codes == [None, "NOT_FOUND"]
    assert await world.scalar(BONUSES) == 1


async def test_a_person_has_one_bonus_whatever_was_merged(world: World) -> None:
    await set_policy(world, signupBonus=money("1.000", "CUR"))
    first = await signed_up(world)
    walk_in = await world.person("walk-in", claimed=False)
    arguments: dict[str, Any] = {"from": {"slug": first["slug"]}, "into": ref(walk_in)}
    for by in (first["token"], walk_in):
        merged = await world.mutate("mergeUsers", by=by, **arguments)
        assert merged["errors"] == []
    claimed = await signed_up(world, walk_in.email)
    assert await currents(world, claimed["slug"]) == 1000
    assert await world.scalar(BONUSES) == 1


async def test_one_of_many_concurrent_claims_gets_the_bonus(world: World) -> None:
    await set_policy(world, signupBonus=money("1.000", "CUR"))
    await world.mutate("signUp", **NEW)
    token = await world.scalar("SELECT payload->>'token' FROM outbox WHERE template = 'verify_email'")
    answers = await asyncio.gather(
        *(world.mutate("verifyEmail", token=token, password=PASSWORD) for _ in range(8))
    )
    assert Counter(error_code(answer) for answer in answers) == {None: 1, "NOT_FOUND": 7}
    assert await world.scalar("SELECT count(*) FROM transaction WHERE kind = 'BONUS'") == 1


async def test_the_platforms_cap_ends_the_bonus_but_not_the_claims(world: World) -> None:
    await set_policy(world, signupBonus=money("1.000", "CUR"))
    capped = await world.mutate(
        "setIssuanceCap",
        by=world.admin,
        nonprofit=ref(world.platform),
        period="WEEK",
        amount=money("1.500", "CUR"),
    )
    assert capped["errors"] == []
    users = [await signed_up(world, f"new-{number}@commonweal.test") for number in range(2)]
    assert [await currents(world, user["slug"]) for user in users] == [1000, 0]
    assert await world.scalar(BONUSES) == 1
    await world.assert_clean_ledger()


async def test_claiming_keeps_id_roles_history_and_currents(world: World) -> None:
    scene = await HoursScene.create(world)
    walk_in = await world.person("walk-in", claimed=False)
    arguments: dict[str, Any] = {"volunteer": ref(walk_in)}
    await scene.approve(
        expect_order(await scene.log(2, by=scene.chris, **arguments)), by=await second_admin(scene)
    )
    assert await currents(world, "walk-in") == 2000
    await set_policy(world, signupBonus=money("1.000", "CUR"))
    user = await signed_up(world, walk_in.email)
    async with world.sessions() as session:
        row = (
            await session.execute(
                text("SELECT slug, claimed_at FROM collective WHERE id = :id"), {"id": walk_in.user.id}
            )
        ).one()
    assert row.slug == user["slug"]
    assert row.claimed_at is not None
    assert await currents(world, user["slug"]) == 3000
    query = "{ me { memberOf { nodes { role collective { slug } } } transactions { nodes { kind } } } }"
    me = (await world.query(query, by=user["token"]))["me"]
    assert me["memberOf"]["nodes"] == [{"role": "VOLUNTEER", "collective": {"slug": "greatdeeds"}}]
    assert [t["kind"] for t in me["transactions"]["nodes"]] == ["BONUS", "HOURS"]
    await world.assert_clean_ledger()


async def second_admin(scene: HoursScene) -> Person:
    """Return another ADMIN of the nonprofit."""
    other = await scene.world.person("other")
    await scene.world.member(scene.nonprofit, other, MemberRole.ADMIN)
    return other
