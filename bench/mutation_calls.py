"""What the money mutations are called with: people, collectives and orders that wait, enough of all."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from bench import hours
from bench.paired_rounds import CONNECTIONS
from bench.postgres_cluster import BenchCluster, execute, scalar
from bench.world import COLLECTIVES, HOSTS, BenchScene
from models import Collective
from models.enums import CollectiveType, OrderStatus, OrderType
from services.core import public_ids
from tests.factories import Person, World, money, ref
from tests.hours_world import create_issuer, yesterday

DATABASE = "mutations"
_VOLUNTEERS = 100
_DAYS, _QUARTERS = 12, 95
"""Quarters of an hour that each volunteer logs: those of most of a day, on days that are not too long ago."""

_CLONE = """
WITH copied AS (
    SELECT o.id AS old_id, uuidv7() AS new_id
    FROM "order" o CROSS JOIN generate_series(1, {copies})
    WHERE o.type = '{type}' AND o.status = '{status}'
), orders AS (
    INSERT INTO "order" SELECT (jsonb_populate_record(o, jsonb_build_object('id', c.new_id))).*
    FROM copied c JOIN "order" o ON o.id = c.old_id
), steps AS (
    INSERT INTO order_action
    SELECT (jsonb_populate_record(a, jsonb_build_object('id', uuidv7(), 'order_id', c.new_id))).*
    FROM copied c JOIN order_action a ON a.order_id = c.old_id
), holds AS (
    INSERT INTO hold
    SELECT (jsonb_populate_record(h, jsonb_build_object('id', uuidv7(), 'order_id', c.new_id))).*
    FROM copied c JOIN hold h ON h.order_id = c.old_id
    RETURNING book_id, account_id, amount
)
UPDATE ledger_account a SET held = a.held + h.amount
FROM (SELECT book_id, account_id, sum(amount) AS amount FROM holds GROUP BY 1, 2) h
WHERE a.book_id = h.book_id AND a.id = h.account_id"""
_WAITING = """
SELECT string_agg(id::text, ' ' ORDER BY md5(id::text)) FROM "order"
WHERE type = '{type}' AND status = '{status}'"""


class Call(NamedTuple):
    """The input of one call, and who makes it."""

    by: Person
    arguments: dict[str, Any]


@dataclass(frozen=True)
class MoneyScene:
    """The collectives of a bench, and a nonprofit, a business and volunteers who have currents."""

    cluster: BenchCluster
    bench: BenchScene
    nonprofit: Collective
    business: Collective
    offer: str
    volunteers: list[Person]
    count: int
    """How many orders wait for each mutation that decides them."""

    @classmethod
    async def create(cls, cluster: BenchCluster, bench: BenchScene, count: int) -> "MoneyScene":
        """Create the people, and give everybody enough for all calls."""
        world, holder = bench.world, bench.holder
        for row in bench.collectives:
            await world.fund(row, "1000000.00", by=holder)
        nonprofit = await create_issuer(world, "bench-nonprofit", holder)
        cap: dict[str, Any] = {
            "nonprofit": ref(nonprofit),
            "period": "MONTH",
            "amount": money("1000000.000", "CUR"),
        }
        await world.mutate("setIssuanceCap", by=world.admin, **cap)
        business = await world.community(
            "bench-business", None, holder, collective_type=CollectiveType.BUSINESS
        )
        offer = await world.mutate(
            "createOffer",
            "offer { id }",
            by=holder,
            business=ref(business),
            item="Kombucha",
            currentsSharePercent=25,
        )
        volunteers = [await world.person(f"bench-volunteer-{number}") for number in range(_VOLUNTEERS)]
        await world.currents(*volunteers, value="1000.000")
        return cls(cluster, bench, nonprofit, business, offer["offer"]["id"], volunteers, count)

    @property
    def world(self) -> World:
        """The world of the scene."""
        return self.bench.world

    def pairs(self) -> Iterator[tuple[Collective, Collective]]:
        """Yield two collectives of one host, in turn."""
        rows = self.bench.collectives[: COLLECTIVES // HOSTS * HOSTS]
        return itertools.cycle(zip(rows, rows[HOSTS:] + rows[:HOSTS], strict=True))


async def gifts_from_balances(scene: MoneyScene) -> Iterator[Call]:
    """Gifts from one collective to another of the same host."""
    return (
        Call(scene.bench.holder, {"from": ref(giver), "to": ref(payee), "amount": money("1.00")})
        for giver, payee in scene.pairs()
    )


async def gifts_by_transfer(scene: MoneyScene) -> Iterator[Call]:
    """Gifts of people by bank transfer."""
    pairs = zip(scene.bench.givers, scene.bench.collectives, strict=True)
    return (
        Call(
            giver,
            {"from": ref(giver), "to": ref(row), "amount": money("1.00"), "paymentMethod": "MANUAL"},
        )
        for giver, row in itertools.cycle(pairs)
    )


async def added_funds(scene: MoneyScene) -> Iterator[Call]:
    """Funds that a host adds to its collectives."""
    return (
        Call(scene.bench.holder, {"to": ref(row), "amount": money("1.00")})
        for row in itertools.cycle(scene.bench.collectives)
    )


async def expenses(scene: MoneyScene) -> Iterator[Call]:
    """Expenses of people, paid outside the platform."""
    pairs = zip(scene.bench.givers, scene.bench.collectives, strict=True)
    return (
        Call(payee, {"from": ref(row), "to": ref(payee), "amount": money("1.00")})
        for payee, row in itertools.cycle(pairs)
    )


async def pending_expenses(scene: MoneyScene) -> Iterator[Call]:
    """Expenses that wait for their approval."""
    await _submit_expenses(scene)
    _clone(scene, OrderType.EXPENSE, OrderStatus.PENDING)
    return _decisions(scene, OrderType.EXPENSE, OrderStatus.PENDING)


async def approved_expenses(scene: MoneyScene) -> Iterator[Call]:
    """Expenses that wait for being paid."""
    for order_id in await _submit_expenses(scene):
        payload = await scene.world.mutate("approveOrder", by=scene.bench.holder, id=order_id)
        if payload["errors"]:
            raise SystemExit(f"Not approved: {payload}")
    _clone(scene, OrderType.EXPENSE, OrderStatus.APPROVED)
    return _decisions(scene, OrderType.EXPENSE, OrderStatus.APPROVED)


async def logged_hours(scene: MoneyScene) -> Iterator[Call]:
    """Quarters of an hour that volunteers log, none of them twice."""

    def make() -> Iterator[Call]:
        for day, quarter, volunteer in itertools.product(
            range(1, _DAYS + 1), range(_QUARTERS), scene.volunteers
        ):
            start = yesterday(0, days=day) + timedelta(minutes=15 * quarter)
            times = {
                "startsAt": start.isoformat(),
                "endsAt": (start + timedelta(minutes=15)).isoformat(),
            }
            yield Call(volunteer, {"nonprofit": ref(scene.nonprofit), **times})

    return make()


async def pending_hours(scene: MoneyScene) -> Iterator[Call]:
    """Hours of other volunteers that wait for their approval; and moves of currents, to be posted again.

    Issuing currents needs an order of its own each time.
    """
    people = scene.volunteers
    for giver, receiver in itertools.pairwise(people[: max(CONNECTIONS) + 1]):
        sides: dict[str, Any] = {"from": ref(giver), "to": ref(receiver)}
        payload = await scene.world.mutate("transferFunds", by=giver, amount=money("0.001", "CUR"), **sides)
        if payload["errors"]:
            raise SystemExit(f"Not moved: {payload}")
    hours.insert_volunteers(
        scene.cluster, DATABASE, scene.nonprofit.id, "waiting", pending=scene.count // hours.VOLUNTEERS + 1
    )
    return _decisions(scene, OrderType.HOURS, OrderStatus.PENDING)


async def check_ins(scene: MoneyScene) -> Iterator[Call]:
    """Attendees at events of a quarter of an hour, one after another; nobody is checked in twice."""
    world, holder = scene.world, scene.bench.holder
    attendees = [await world.person(f"bench-attendee-{number}") for number in range(_VOLUNTEERS)]
    first = yesterday(0, days=_DAYS)
    events = []
    for number in range(scene.count // _VOLUNTEERS + 1):
        start = first + timedelta(minutes=15 * number)
        payload = await world.mutate(
            "createEvent",
            "event { slug }",
            by=holder,
            parent=ref(scene.nonprofit),
            name="Workday",
            startsAt=start.isoformat(),
            endsAt=(start + timedelta(minutes=15)).isoformat(),
        )
        if payload["errors"]:
            raise SystemExit(f"Not created: {payload}")
        events.append({"slug": payload["event"]["slug"]})
    return (
        Call(holder, {"event": event, "user": ref(attendee)})
        for event, attendee in itertools.product(events, attendees)
    )


async def redemptions(scene: MoneyScene) -> Iterator[Call]:
    """Purchases of volunteers, paid with currents in part."""
    arguments = {"offer": scene.offer, "price": money("1.00"), "receipt": "Table 4"}
    return (Call(volunteer, arguments) for volunteer in itertools.cycle(scene.volunteers))


async def _submit_expenses(scene: MoneyScene) -> list[str]:
    order_ids = []
    for call in itertools.islice(await expenses(scene), COLLECTIVES):
        payload = await scene.world.mutate("submitExpense", "order { id }", by=call.by, **call.arguments)
        if payload["errors"]:
            raise SystemExit(f"Not submitted: {payload}")
        order_ids.append(payload["order"]["id"])
    return order_ids


def _clone(scene: MoneyScene, order_type: OrderType, status: OrderStatus) -> None:
    """Copy the orders of a type and status until there are enough, with their steps and holds."""
    count = scalar(
        scene.cluster,
        DATABASE,
        f"SELECT count(*) FROM \"order\" WHERE type = '{order_type}' AND status = '{status}'",
    )
    copies = scene.count // int(str(count)) + 1
    execute(scene.cluster, DATABASE, _CLONE.format(type=order_type, status=status, copies=copies))


def _decisions(scene: MoneyScene, order_type: OrderType, status: OrderStatus) -> Iterator[Call]:
    ids = str(scalar(scene.cluster, DATABASE, _WAITING.format(type=order_type, status=status))).split()
    execute(scene.cluster, DATABASE, "VACUUM (ANALYZE)", "CHECKPOINT")
    return (Call(scene.bench.holder, {"id": public_ids.encode("Order", UUID(text))}) for text in ids)
