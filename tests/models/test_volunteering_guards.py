"""The rules for hours and currents, tested with plain SQL as the application's role."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from models import new_id
from services.core import public_ids
from tests.conftest import Database
from tests.donation_world import expect_order
from tests.factories import World, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.ledger_sql import expect_refusal

# Copies a row with other columns, to insert what the application itself would never write.
COPY = "INSERT INTO {table} SELECT (jsonb_populate_record(t, %s::jsonb)).* FROM {table} t WHERE {key} = %s"


@dataclass(frozen=True)
class Economy:
    """Orders in several states, and the means to change them in plain SQL."""

    world: World
    scene: HoursScene
    database: Database
    ids: dict[str, UUID]

    def expect_refused(self, by: str, statement: str, *values: Any) -> None:
        """Assert that a statement is refused; `by` names the constraint or the error."""
        with psycopg.connect(self.database.app_url) as connection, expect_refusal(by):
            connection.execute(statement.encode(), values)

    def expect_copy_refused(
        self, by: str, table: str, of_id: str, *, key: str = "id", **columns: Any
    ) -> None:
        """Assert that a copy of a row with other columns is refused."""
        changes = Jsonb({name: _plain(value) for name, value in columns.items()})
        self.expect_refused(by, COPY.format(table=table, key=key), changes, self.ids[of_id])


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


async def _orders(world: World, scene: HoursScene) -> dict[str, UUID]:
    await world.currents(scene.john)
    await world.fund(scene.john.user, "50.00", by=world.admin)
    offer = await world.mutate(
        "createOffer",
        "offer { id }",
        by=scene.mark,
        business=ref(scene.business),
        item="Tea",
        currentsSharePercent=25,
        monthlyLimit=2,
    )
    offer_id = offer["offer"]["id"]

    async def redeem(price: str = "20.00", of_offer: str = offer_id) -> str:
        arguments = {"offer": of_offer, "price": money(price), "receipt": "till"}
        return expect_order(await world.mutate("redeemOffer", "order { id }", by=scene.john, **arguments))

    orders = {
        "hours": expect_order(await scene.log(1)),
        "later": expect_order(await scene.log(1, start=yesterday(12))),
        "redemption": await redeem(),
        "approved": await redeem(),
        "cash_out": expect_order(
            await world.mutate("cashOut", "order { id }", by=scene.john, amount=money("10.00"))
        ),
    }
    expect_order(await world.mutate("approveOrder", "order { id }", by=scene.mark, id=orders["approved"]))
    ids = {name: public_ids.decode("Order", order_id, field="id") for name, order_id in orders.items()}
    return ids | {"offer": public_ids.decode("Offer", offer_id, field="id")}


@pytest.fixture(scope="module")
async def economy(shared: World, shared_database: Database) -> Economy:
    world = shared
    scene = await HoursScene.create(world)
    ids = await _orders(world, scene)
    await world.host("newcomers")
    await world.person("kim", claimed=False)
    created = await world.mutate(
        "createEvent",
        "event { slug }",
        by=scene.chris,
        parent=ref(scene.nonprofit),
        name="Full",
        capacity=1,
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T11:00Z",
    )
    await world.mutate("registerForEvent", by=scene.john, event=created["event"])
    for slug in ("newcomers", "kim", "john", "mark", "greatdeeds", "consciousbiz", created["event"]["slug"]):
        name = "event" if slug == created["event"]["slug"] else slug
        ids[name] = await world.scalar("SELECT id FROM collective WHERE slug = :slug", slug=slug)
    ids["attendee"] = await world.scalar("SELECT id FROM member WHERE role = 'ATTENDEE'")
    return Economy(world, scene, shared_database, ids)


def test_hours_of_one_volunteer_do_not_overlap(economy: Economy) -> None:
    economy.expect_copy_refused("ex_order_hours_overlap", '"order"', "hours", id=new_id())


@pytest.mark.parametrize(
    ("of_order", "columns", "by"),
    [
        ("hours", {"from_id": "newcomers", "starts_at": "2020-01-01T00:00Z"}, "order_currents_sides"),
        ("hours", {"to_id": "consciousbiz"}, "order_currents_sides"),
        ("redemption", {"to_id": "greatdeeds"}, "order_currents_sides"),
        ("redemption", {"from_id": "kim"}, "order_payer_claimed"),
        ("cash_out", {"type": "TRANSFER", "to_id": "mark", "currency": "EUR"}, "order_currency"),
        ("cash_out", {"type": "BONUS", "currency": "CUR"}, "order_currents_sides"),
        ("hours", {"currency": "USD"}, "ck_order_time_is_in_currents"),
        ("hours", {"ends_at": None}, "ck_order_hours_have_times"),
        ("redemption", {"offer_id": None}, "ck_order_redemption_has_offer"),
        ("redemption", {"policy_id": None}, "ck_order_pins_policy"),
    ],
    ids=str,
)
def test_invalid_orders_are_refused(
    economy: Economy, of_order: str, columns: dict[str, Any], by: str
) -> None:
    changes = {name: economy.ids.get(str(value), value) for name, value in columns.items()}
    economy.expect_copy_refused(by, '"order"', of_order, **{"id": new_id(), **changes})


@pytest.mark.parametrize("order", ["hours", "redemption", "cash_out"])
def test_nobody_approves_an_order_for_themselves(economy: Economy, order: str) -> None:
    economy.expect_refused(
        "approved_by_another",
        "INSERT INTO order_action (id, order_id, type, actor_id, to_status)"
        " VALUES (gen_random_uuid(), %s, 'APPROVE', %s, 'APPROVED')",
        economy.ids[order],
        economy.ids["john"],
    )


@pytest.mark.parametrize("order", ["approved", "cash_out"])
def test_nobody_pays_themselves(economy: Economy, order: str) -> None:
    economy.expect_refused(
        "approved_by_another",
        "INSERT INTO order_action (id, order_id, type, actor_id, to_status)"
        " VALUES (gen_random_uuid(), %s, 'PAY', %s, 'PAID')",
        economy.ids[order],
        economy.ids["john"],
    )


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ("usd_gross_minor = 501", "ck_redemption_usd_gross_within_share"),
        ("approved_price_minor = 1000", "ck_redemption_usd_gross_within_share"),
        ("usd_fee_minor = 501", "ck_redemption_usd_fee_range"),
        ("price_minor = 1", "InsufficientPrivilege"),
        ("currents_share_percent = 100", "InsufficientPrivilege"),
    ],
)
def test_a_redemption_pays_no_more_than_its_share(economy: Economy, change: str, by: str) -> None:
    statement = f"UPDATE redemption SET {change} WHERE order_id = %s"
    economy.expect_refused(by, statement, economy.ids["redemption"])


def test_an_offer_has_a_monthly_limit(economy: Economy) -> None:
    order_id = new_id()
    insert = COPY.format(table='"order"', key="id")
    changes = Jsonb({"id": str(order_id)})
    with psycopg.connect(economy.database.app_url) as connection:
        connection.execute(insert.encode(), [changes, economy.ids["redemption"]])
        with expect_refusal("redemption_monthly_limit"):
            connection.execute(
                COPY.format(table="redemption", key="order_id").encode(),
                [Jsonb({"order_id": str(order_id)}), economy.ids["redemption"]],
            )
        connection.rollback()


def test_an_event_never_exceeds_its_capacity(economy: Economy) -> None:
    economy.expect_copy_refused(
        "event_capacity", "member", "attendee", id=new_id(), member_id=economy.ids["mark"]
    )


@pytest.mark.parametrize("to_status", ["REJECTED", "CANCELLED", "EXPIRED"])
def test_an_approved_redemption_can_only_be_paid(economy: Economy, to_status: str) -> None:
    statement = f"UPDATE \"order\" SET status = '{to_status}' WHERE id = %s"
    economy.expect_refused("order_status_transition", statement, economy.ids["approved"])


def test_hours_are_never_extended(economy: Economy) -> None:
    later = "UPDATE \"order\" SET ends_at = ends_at + interval '1 hour' WHERE id = %s"
    economy.expect_refused("order_end_moves_back", later, economy.ids["later"])


@pytest.mark.parametrize("table", ["offer", "receipt", "redemption", "attendance", "issuance_cap"])
def test_the_application_deletes_no_history(economy: Economy, table: str) -> None:
    economy.expect_refused("InsufficientPrivilege", f"DELETE FROM {table}")


def test_a_cap_is_never_changed(economy: Economy) -> None:
    economy.expect_refused("InsufficientPrivilege", "UPDATE issuance_cap SET amount_minor = NULL")


async def test_the_refused_rows_were_not_stored(economy: Economy) -> None:
    assert await economy.world.scalar("SELECT count(*) FROM redemption") == 2
    assert await economy.world.scalar("SELECT count(*) FROM member WHERE role = 'ATTENDEE'") == 1
    await economy.world.assert_clean_ledger()
