"""Count the SQL statements of each request, as PostgreSQL logs them."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

from bench import markdown_tables, queries
from bench.postgres_cluster import BenchCluster, execute, recreate_database, require_clean
from bench.world import BenchScene, run_in_scene
from models.enums import MemberRole, OrderStatus
from tests.card_gift_world import pay
from tests.factories import Person, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.payment_world import CardScene

ResultT = TypeVar("ResultT")
_DATABASE = "statements"
_LOGGED = re.compile(r"LOG:  (?:statement|execute [^:]*): (\w+)", re.IGNORECASE)
CONTROL = {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"}

TARGETS = {
    "feed, anonymous": 5,
    "feed, signed in": 5,
    "addFunds": 10,
    "submitExpense": 10,
    "approveOrder": 10,
    "payOrder": 10,
}


def run(cluster: BenchCluster) -> None:
    """Count the statements of requests on a database that logs each statement."""
    recreate_database(cluster, _DATABASE)
    execute(cluster, _DATABASE, f"ALTER DATABASE {_DATABASE} SET log_statement = 'all'")
    rows: list[list[str]] = []
    run_in_scene(cluster, _DATABASE, lambda scene: _count(cluster, scene, rows))
    markdown_tables.print_table(
        "SQL statements of a request",
        ["request", "statements", "BEGIN, COMMIT, …", "target", "kinds"],
        rows,
        "Counted by PostgreSQL (`log_statement = all`), mails to send included; every mutation has an"
        f" idempotency key. Audit: {require_clean(cluster, _DATABASE)}.",
    )


async def _count(cluster: BenchCluster, scene: BenchScene, rows: list[list[str]]) -> None:
    counter = _StatementCounter(cluster, scene, rows)
    for number in range(120):
        await scene.donate(number)
    await _add_members(scene)
    await counter.query("tiny: `{ __typename }`", queries.TINY)
    await counter.query("feed, anonymous", queries.FEED, first=10)
    await counter.query("feed of 100, anonymous", queries.FEED, first=100)
    await counter.query("feed, signed in", queries.FEED, by=scene.holder, first=10)
    await counter.query("feed of 100, signed in", queries.FEED, by=scene.holder, first=100)
    await counter.query("one collective with balance", queries.COLLECTIVE, slug="bench-community-1")
    await counter.query("50 collectives with 10 members each", queries.NESTED)
    await _count_mutations(scene, counter)


async def _add_members(scene: BenchScene) -> None:
    for row in scene.collectives:
        for person in scene.givers[:10]:
            await scene.world.member(row, person, MemberRole.MEMBER)


async def _count_mutations(scene: BenchScene, counter: "_StatementCounter") -> None:
    giver, holder, row = scene.givers[0], scene.holder, scene.collectives[0]
    await counter.mutation("addFunds", by=holder, to=ref(row), amount=money("10.00"))
    bill: dict[str, Any] = {"from": ref(row), "to": ref(giver), "amount": money("5.00")}
    expense = await counter.mutation("submitExpense", by=giver, **bill)
    await counter.mutation("approveOrder", by=holder, id=expense)
    await counter.mutation("payOrder", by=holder, id=expense)
    donation: dict[str, Any] = {"from": ref(giver), "to": ref(row), "amount": money("5.00")}
    order = await counter.mutation(
        "donate", "donate by bank transfer", by=giver, paymentMethod="MANUAL", **donation
    )
    await counter.mutation("approveOrder", "approveOrder of that donation", by=holder, id=order)
    donation = {"from": ref(row), "to": ref(scene.collectives[1]), "amount": money("5.00")}
    await counter.mutation("donate", "donate from balance", by=holder, **donation)
    await _count_hours_and_offers(scene, counter)
    await _count_guest_gift(scene, counter)


async def _count_guest_gift(scene: BenchScene, counter: "_StatementCounter") -> None:
    """Count what a guest's gift by card costs, from the request to PAID."""
    world = copy(scene.world)
    world.settings = replace(world.settings, fake_provider=True)
    cards = await CardScene.create(world, suffix="-cards")

    async def give(number: int) -> dict[str, Any]:
        return await world.mutate(
            "donateAsGuest",
            "order { id status } clientSecret",
            by=None,
            email=f"guest-{number}@commonweal.test",
            name="Gale Guest",
            to=ref(cards.donations.babel),
            amount=money("20.00"),
            payWith={"id": cards.method},
        )

    await give(0)
    payload = await counter.action("donateAsGuest by card", give(1))
    secret = str(payload["clientSecret"])
    await counter.action("the pretended provider's word of it", pay(cards, secret, is_heard=False))
    await counter.action("processing of that word: PAID", cards.process_all())
    if await cards.status(str(payload["order"]["id"])) != OrderStatus.PAID:
        raise SystemExit("The gift is not paid")


async def _count_hours_and_offers(scene: BenchScene, counter: "_StatementCounter") -> None:
    hours_scene = await HoursScene.create(scene.world)
    start = yesterday(8)
    hours = await counter.mutation(
        "logHours",
        by=hours_scene.john,
        nonprofit=ref(hours_scene.nonprofit),
        startsAt=start.isoformat(),
        endsAt=start.replace(hour=9).isoformat(),
    )
    await counter.mutation("approveOrder", "approveOrder of hours", by=hours_scene.chris, id=hours)
    offer = await scene.world.mutate(
        "createOffer",
        "offer { id }",
        by=hours_scene.mark,
        business=ref(hours_scene.business),
        item="Kombucha",
        currentsSharePercent=25,
    )
    bought = await counter.mutation(
        "redeemOffer",
        by=hours_scene.john,
        offer=offer["offer"]["id"],
        price=money("20.00"),
        receipt="A receipt",
    )
    await counter.mutation("approveOrder", "approveOrder of a redemption", by=hours_scene.mark, id=bought)
    event = await scene.world.mutate(
        "createEvent",
        "event { slug }",
        by=hours_scene.chris,
        parent=ref(hours_scene.nonprofit),
        name="Workday",
        startsAt=yesterday(12).isoformat(),
        endsAt=yesterday(13).isoformat(),
    )
    arguments: dict[str, Any] = {"event": {"slug": event["event"]["slug"]}, "user": ref(hours_scene.john)}
    await counter.mutation("checkIn", by=hours_scene.chris, **arguments)


def logged_since(cluster: BenchCluster, at: int) -> list[str]:
    """Return the first word of each statement logged after a byte offset."""
    with cluster.log.open("rb") as log:
        log.seek(at)
        text = log.read().decode(errors="replace")
    return [_first_word(match) for match in _LOGGED.finditer(text)]


class _StatementCounter:
    """Runs operations one at a time and counts the statements logged in between."""

    def __init__(self, cluster: BenchCluster, scene: BenchScene, rows: list[list[str]]) -> None:
        self._cluster, self._scene, self._rows, self._keys = cluster, scene, rows, 0

    async def query(self, name: str, text: str, *, by: Person | None = None, **variables: Any) -> None:
        """Count the statements of a query on its second run, when every cache is warm."""
        await self._scene.world.query(text, by=by, **variables)
        at = await self._log_size()
        await self._scene.world.query(text, by=by, **variables)
        self._note(name, await self._since(at))

    async def action(self, name: str, work: Awaitable[ResultT]) -> ResultT:
        """Count the statements of a piece of work, and return its result."""
        at = await self._log_size()
        result = await work
        self._note(name, await self._since(at))
        return result

    async def mutation(self, field: str, name: str = "", *, by: Person, **arguments: Any) -> str:
        """Count the statements of a mutation and return its order's id."""
        self._keys += 1
        at = await self._log_size()
        payload = await self._scene.world.mutate(
            field, "order { id status }", by=by, idempotencyKey=f"bench-{self._keys}", **arguments
        )
        self._note(name or field, await self._since(at))
        if payload["errors"]:
            raise SystemExit(f"{field} failed: {payload}")
        order_id: str = payload["order"]["id"]
        return order_id

    async def _log_size(self) -> int:
        await asyncio.sleep(0.05)
        return self._cluster.log.stat().st_size

    async def _since(self, at: int) -> list[str]:
        await asyncio.sleep(0.05)
        return logged_since(self._cluster, at)

    def _note(self, name: str, words: list[str]) -> None:
        control = [word for word in words if word in CONTROL]
        others = Counter(word for word in words if word not in CONTROL)
        target = TARGETS.get(name)
        reached = "" if target is None else f"≤ {target}" + ("" if others.total() <= target else ", **no**")
        self._rows.append([name, str(others.total()), str(len(control)), reached, _list_counts(others)])


def _first_word(match: re.Match[str]) -> str:
    word = match[1].upper()
    return "INSERT" if word == "WITH" else word


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())
