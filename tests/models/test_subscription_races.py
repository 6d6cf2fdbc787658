"""Guards of recurring gifts while two sessions change the same at once."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Database
from tests.models.guard_world import GuardWorld
from tests.models.racing import Race
from tests.models.test_subscription_guards import ENDED, PAUSED, gift, method, state
from tests.models.test_tier_guards import tier


def suspend_host(world: GuardWorld) -> None:
    """Suspend the host of the payee."""
    world.run(
        "UPDATE public.collective SET host_suspended_at = now(), host_suspension_reason = 'x' WHERE id = %s",
        world.ids["host"],
    )


@pytest.mark.parametrize(("columns", "status"), [(PAUSED, "PAUSED"), (ENDED, "CANCELLED")])
def test_what_the_payer_just_stopped_the_database_leaves_alone(
    database: Database, columns: str, status: str
) -> None:
    with Race(database.owner_url) as race:
        gift(race.first)
        race.commit_world()
        race.first.run(f"UPDATE public.subscription SET {columns}")
        assert race.outcome(suspend_host) is None
        race.second.connection.commit()
        assert state(race.first) == (status, None)


def test_a_payee_does_not_leave_the_host_whose_method_a_gift_takes_meanwhile(database: Database) -> None:
    with Race(database.owner_url) as race:
        method(race.first)
        gift(race.first, to="business")
        race.commit_world()
        race.first.run(
            "UPDATE public.collective SET host_id = %s WHERE id = %s",
            race.first.ids["other-host"],
            race.first.ids["business"],
        )

        def take(world: GuardWorld) -> None:
            world.run(
                "UPDATE public.subscription SET payment_method_kind = 'MANUAL', payment_method_id = %s",
                world.ids["method"],
            )

        assert race.outcome(take) == "subscription_method"


def test_a_gift_that_changes_tiers_locks_them_in_the_order_of_their_ids(database: Database) -> None:
    with Race(database.owner_url) as race:
        world = race.first
        tier(world, type="MEMBERSHIP", interval="MONTH")
        first = world.ids["tier"]
        tier(world, type="MEMBERSHIP", interval="MONTH")
        low, high = sorted((first, world.ids["tier"]))
        gift(world, tier_id=high, quantity=1)
        race.commit_world()
        lock = "SELECT id FROM public.tier WHERE id = %s FOR NO KEY UPDATE"
        world.run(lock, low)

        def is_high_free() -> None:
            world.run(lock + " NOWAIT", high)

        attempt = _move_to(low)
        assert race.outcome(attempt, before_commit=is_high_free) is None


def _move_to(tier_id: Any) -> Callable[[GuardWorld], Any]:
    return lambda world: world.run("UPDATE public.subscription SET tier_id = %s", tier_id)
