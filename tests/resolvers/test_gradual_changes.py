"""Rates and policies change for the future alone, and at most double or halve within a day."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from models import FxRate, PlatformPolicy, now
from services.core.gradual_change import is_small_change
from tests.donation_world import error_code
from tests.factories import World, money


async def set_policy(world: World, **arguments: Any) -> str | None:
    return error_code(await world.mutate("setPlatformPolicy", by=world.admin, **arguments))


async def set_rate(world: World, rate: str, base: str = "CUR", to: str = "USD", **more: Any) -> str | None:
    arguments: dict[str, Any] = {"from": base, "to": to, "rate": rate, **more}
    return error_code(await world.mutate("setFxRate", by=world.admin, **arguments))


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"usdPerCurrent": "40.01"}, "usdPerCurrent"),
        ({"usdPerCurrent": "9.99"}, "usdPerCurrent"),
        ({"usdPerCurrent": "100000000"}, "usdPerCurrent"),
        ({"masterWeeklyLimit": money("1.251", "CUR")}, "masterWeeklyLimit"),
        ({"maxEventHours": money("144.001", "CUR")}, "maxEventHours"),
        ({"defaultIssuanceCap": money("2000.001", "CUR")}, "defaultIssuanceCap"),
        ({"signupBonus": money("1.001", "CUR")}, "signupBonus"),
        ({"platformFeeBps": 501}, "platformFeeBps"),
        ({"redemptionFeeBps": 2001}, "redemptionFeeBps"),
        ({"checkInMinutes": 121}, "checkInMinutes"),
    ],
)
async def test_a_policy_at_most_doubles_or_halves(world: World, values: dict[str, Any], path: str) -> None:
    await world.expect_problem(
        "setPlatformPolicy", "INVALID_INPUT", ["input", path], by=world.admin, **values
    )


async def test_not_step_by_step_on_one_day_either(world: World) -> None:
    assert await set_policy(world, usdPerCurrent="40") is None
    assert await set_policy(world, usdPerCurrent="41") == "INVALID_INPUT"
    soon, later = [(now() + timedelta(hours=hours)).isoformat() for hours in (20, 26)]
    assert await set_policy(world, usdPerCurrent="41", validFrom=soon) == "INVALID_INPUT"
    assert await set_policy(world, usdPerCurrent="80", validFrom=later) is None
    assert (
        await set_policy(world, usdPerCurrent="30") == "INVALID_INPUT"
    )  # the next one would more than double
    assert await set_policy(world, maxEventHours=money("100", "CUR")) is None


async def test_rates_are_bounded_both_ways_round(world: World) -> None:
    assert await set_rate(world, "41") == "INVALID_INPUT"
    assert await set_rate(world, "0.02", "USD", "CUR") == "INVALID_INPUT"
    assert await set_rate(world, "100000000") == "INVALID_INPUT"
    past = (now() - timedelta(hours=1)).isoformat()
    arguments: dict[str, Any] = {"from": "CUR", "to": "USD", "rate": "21", "validFrom": past}
    await world.expect_problem(
        "setFxRate", "INVALID_INPUT", ["input", "validFrom"], by=world.admin, **arguments
    )
    await world.rate("EUR", "USD", "1.1")
    await world.rate("EUR", "JPY", "165")
    assert await set_rate(world, "301", "USD", "JPY") == "INVALID_INPUT"  # the cross rate is 150
    assert await set_rate(world, "299", "USD", "JPY") is None
    assert await set_rate(world, "40") is None


WRONG_ROWS: dict[str, tuple[Callable[[], FxRate | PlatformPolicy], str]] = {
    "a rate above the double": (lambda: _rate("CUR", "USD", "41"), "doubles"),
    "an inverse below the half": (lambda: _rate("USD", "CUR", "0.02"), "doubles"),
    "a published rate of currents": (lambda: _rate("CUR", "USD", "20", source="ECB"), "alone sets"),
    "a rate of yesterday": (lambda: _rate("USD", "JPY", "1", age=timedelta(days=1)), "future"),
    "a policy above the double": (lambda: _policy(usd_per_current=Decimal(41)), "doubles"),
    "hours above the double": (lambda: _policy(max_event_hours_minor=144_001), "doubles"),
    "a policy of yesterday": (lambda: _policy(valid_from=now() - timedelta(days=1)), "future"),
}


def _rate(base: str, quote: str, rate: str, *, source: str = "eve", age: timedelta = timedelta()) -> FxRate:
    return FxRate(base=base, quote=quote, rate=Decimal(rate), source=source, valid_from=now() - age)


def _policy(**figures: Any) -> PlatformPolicy:
    return PlatformPolicy(**({"valid_from": now()} | figures))


@pytest.mark.parametrize("name", WRONG_ROWS)
async def test_the_database_bounds_them_too(shared: World, name: str) -> None:
    build, message = WRONG_ROWS[name]
    with pytest.raises(DBAPIError, match=message):
        await shared.add(build())


def test_a_small_change_is_symmetric() -> None:
    for old, new, step, expected in ((1, 2, 0, True), (2, 1, 0, True), (1, 3, 0, False), (0, 5, 5, True)):
        assert is_small_change(old, new, step=step) is is_small_change(new, old, step=step) is expected
