"""Each line of the guards of offers, events and issuance, tried alone in plain SQL."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.ledger_sql import expect_refusal
from tests.models.guard_cases import MODES, Attempt, assert_accepted, assert_refused, guard_world
from tests.models.guard_world import GuardWorld
from tests.models.racing import Race

CLOSED = ("REJECTED", "CANCELLED", "EXPIRED", "REFUNDED")


def _redeem(
    world: GuardWorld, name: str, amount: int = 250, *, is_master: bool = False, **columns: Any
) -> None:
    world.order(name, "REDEMPTION", "volunteer", "business", amount, offer_id=world.ids["offer"], **columns)
    world.redemption(name, is_master=is_master)


def _redeemed(count: int = 1, amount: int = 250, *, is_master: bool = False, **columns: Any) -> Attempt:
    def given(world: GuardWorld) -> None:
        for number in range(count):
            _redeem(world, f"earlier-{number}", amount, is_master=is_master, **columns)

    return given


def _offer(change: str) -> Attempt:
    return lambda world: world.run(f"UPDATE public.offer SET {change}")


def _both(*steps: Attempt) -> Attempt:
    def run(world: GuardWorld) -> None:
        for step in steps:
            step(world)

    return run


def _earn(world: GuardWorld) -> None:
    world.issue(5000)


def _other_business(world: GuardWorld) -> None:
    world.collective("rival", "BUSINESS")
    world.run("UPDATE public.offer SET business_id = %s", world.ids["rival"])


REFUSED: dict[str, tuple[str, Attempt, dict[str, Any]]] = {
    "an inactive offer": ("redemption_offer_active", _offer("is_active = false"), {}),
    "an offer of another business": ("redemption_offer_active", _other_business, {}),
    "more than the monthly limit": (
        "redemption_monthly_limit",
        _both(_offer("monthly_limit = 2"), _redeemed(2)),
        {},
    ),
    "more than the weekly limit": (
        "redemption_weekly_limit",
        _both(_earn, _redeemed(1, 500, is_master=True)),
        {"is_master": True, "amount": 126},
    ),
    "more than the weekly limit at once": (
        "redemption_weekly_limit",
        _earn,
        {"is_master": True, "amount": 626},
    ),
    "currents that were not earned": (
        "redemption_received_lately",
        lambda _: None,
        {"is_master": True, "amount": 250},
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REFUSED)
def test_a_redemption_is_refused(shared_database: Database, name: str, mode: str) -> None:
    by, given, columns = REFUSED[name]

    def prepare(world: GuardWorld) -> None:
        given(world)
        arguments = {"amount": 250, **{k: v for k, v in columns.items() if k != "is_master"}}
        world.order("tried", "REDEMPTION", "volunteer", "business", offer_id=world.ids["offer"], **arguments)

    assert_refused(
        shared_database.owner_url,
        mode,
        by,
        lambda world: world.redemption("tried", is_master=columns.get("is_master", False)),
        given=prepare,
    )


ACCEPTED: dict[str, Attempt] = {
    "up to the monthly limit": _both(_offer("monthly_limit = 2"), _redeemed(2)),
    "up to the weekly limit": _both(
        _earn, _redeemed(1, 500, is_master=True), lambda w: _redeem(w, "x", 125, is_master=True)
    ),
    "without a monthly limit": _redeemed(5),
    "no master offer, over the weekly limit": _redeemed(3, 500),
    "a week after the last one": _both(
        _earn,
        lambda w: _redeem(
            w, "old", 600, is_master=True, created_at=w.value("SELECT now() - interval '8 days'")
        ),
        lambda w: _redeem(w, "new", 600, is_master=True),
    ),
    "after the approved amount was reduced": _both(
        _earn,
        _redeemed(1, 600, is_master=True, approved_amount=100),
        lambda w: _redeem(w, "x", 525, is_master=True),
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_redemption_within_the_limits_is_accepted(shared_database: Database, name: str) -> None:
    assert_accepted(shared_database.owner_url, ACCEPTED[name])


@pytest.mark.parametrize("status", CLOSED)
@pytest.mark.parametrize("is_master", [False, True])
def test_closed_redemptions_do_not_count(shared_database: Database, status: str, *, is_master: bool) -> None:
    with guard_world(shared_database.owner_url) as world:
        world.run("UPDATE public.offer SET monthly_limit = 1")
        _earn(world)
        # Born closed: only the redemption's own guard looks at the status of others.
        _redeem(world, "closed", 600, is_master=is_master, status=status)
        _redeem(world, "next", 600, is_master=is_master)


@pytest.mark.parametrize(("zone", "counts"), [("Pacific/Kiritimati", True), ("Pacific/Pago_Pago", False)])
def test_the_month_is_that_of_the_business(shared_database: Database, zone: str, *, counts: bool) -> None:
    """Two instants around a month's end in UTC are one month in one time zone and two in another."""
    with guard_world(shared_database.owner_url) as world:
        world.run("UPDATE public.collective SET timezone = %s WHERE id = %s", zone, world.ids["business"])
        world.run("UPDATE public.offer SET monthly_limit = 1")
        # 13:00 and 11:30 UTC: at +14 both are the next month's first day; at -11 only the second is.
        _redeem(world, "first", created_at="2024-01-31T23:00Z" if counts else "2024-02-01T10:59Z")
        second = "2024-02-01T00:30Z" if counts else "2024-02-01T11:01Z"
        world.order(
            "second", "REDEMPTION", "volunteer", "business", offer_id=world.ids["offer"], created_at=second
        )
        if counts:
            with expect_refusal("redemption_monthly_limit"):
                world.redemption("second")
        else:
            world.redemption("second")


def test_redemptions_that_race_for_the_last_one_wait(database: Database) -> None:
    with Race(database.owner_url) as race:
        race.first.run("UPDATE public.offer SET monthly_limit = 1")
        race.commit_world()
        for world, name in ((race.first, "one"), (race.second, "two")):
            world.order(name, "REDEMPTION", "volunteer", "business", offer_id=world.ids["offer"])
        race.first.redemption("one")
        assert race.outcome(lambda world: world.redemption("two")) == "redemption_monthly_limit"


def test_master_redemptions_of_one_user_wait_for_each_other(database: Database) -> None:
    with Race(database.owner_url) as race:
        race.first.issue(1000)
        race.first.ids["other-offer"] = new_id()
        race.first.insert(
            "offer",
            id=race.first.ids["other-offer"],
            business_id=race.first.ids["business"],
            item="Coffee",
            currents_share_percent=25,
            created_by_id=race.first.ids["admin"],
        )
        race.commit_world()
        for world, name, offer in ((race.first, "one", "offer"), (race.second, "two", "other-offer")):
            world.order(name, "REDEMPTION", "volunteer", "business", 400, offer_id=world.ids[offer])
        race.first.redemption("one", is_master=True)
        outcome = race.outcome(lambda world: world.redemption("two", is_master=True))
        assert outcome == "redemption_weekly_limit"


# Events


def _attend(world: GuardWorld, user: str) -> None:
    world.insert(
        "member",
        id=new_id(),
        collective_id=world.ids["event"],
        member_id=world.ids[user],
        role="ATTENDEE",
    )


@pytest.mark.parametrize("mode", MODES)
def test_an_event_has_room_for_its_capacity(shared_database: Database, mode: str) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "event_capacity",
        lambda world: _attend(world, "person"),
        given=lambda world: _attend(world, "volunteer"),
    )


def test_registrations_for_the_last_place_wait_for_each_other(database: Database) -> None:
    with Race(database.owner_url) as race:
        race.commit_world()
        _attend(race.first, "volunteer")
        assert race.outcome(lambda world: _attend(world, "person")) == "event_capacity"


# Issuance


def _cap(world: GuardWorld, amount: int | None, **columns: Any) -> None:
    world.insert(
        "issuance_cap",
        id=new_id(),
        nonprofit_id=world.ids["issuer"],
        period="MONTH",
        amount_minor=amount,
        valid_from=columns.get("valid_from", "2020-01-01"),
    )


def _month_start(world: GuardWorld) -> datetime:
    start: datetime = world.value("SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'")
    return start


@pytest.mark.parametrize("mode", MODES)
def test_what_is_issued_at_the_first_instant_of_a_period_counts(shared_database: Database, mode: str) -> None:
    def given(world: GuardWorld) -> None:
        _cap(world, 1000)
        world.issue(600, at=_month_start(world))

    assert_refused(
        shared_database.owner_url, mode, "issuance_cap", lambda world: world.issue(500), given=given
    )


def test_what_was_issued_before_the_period_does_not_count(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        _cap(world, 1000)
        world.issue(600, at=_month_start(world) - timedelta(microseconds=1))
        world.issue(1000)

    assert_accepted(shared_database.owner_url, attempt)


def test_the_newest_cap_applies(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        _cap(world, 100)
        _cap(world, None, valid_from="2021-01-01")
        world.issue(5000)

    assert_accepted(shared_database.owner_url, attempt)


@pytest.mark.parametrize("mode", MODES)
def test_a_nonprofit_that_lost_its_approval_issues_nothing(shared_database: Database, mode: str) -> None:
    def given(world: GuardWorld) -> None:
        world.order("hours", "HOURS", "issuer", "volunteer")
        world.run("UPDATE public.collective SET issuer_approved_at = NULL WHERE id = %s", world.ids["issuer"])

    assert_refused(
        shared_database.owner_url,
        mode,
        "issuer_approved",
        lambda world: world.issue(100, order="hours"),
        given=given,
    )
