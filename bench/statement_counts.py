"""How many SQL statements a request takes, counted by PostgreSQL itself in its log."""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench import markdown_tables, queries
from bench.postgres_cluster import Place, execute, fresh_database, require_clean
from bench.world import Scene, in_scene
from models.enums import MemberRole
from tests.factories import Person, money, of
from tests.hours_world import TimeScene, yesterday

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


def run(place: Place) -> None:
    """Count the statements of requests on a database that logs each of them."""
    fresh_database(place, _DATABASE)
    execute(place, _DATABASE, f"ALTER DATABASE {_DATABASE} SET log_statement = 'all'")
    rows: list[list[str]] = []
    in_scene(place, _DATABASE, lambda made: _count(place, made, rows))
    markdown_tables.show(
        "SQL statements of a request",
        ["request", "statements", "BEGIN, COMMIT, …", "target", "which"],
        rows,
        "Counted by PostgreSQL (`log_statement = all`), mails to send included; every mutation has an"
        f" idempotency key. Audit: {require_clean(place, _DATABASE)}.",
    )


async def _count(place: Place, made: Scene, rows: list[list[str]]) -> None:
    counted = _Counted(place, made, rows)
    for number in range(120):
        await made.donate(number)
    await _nest(made)
    await counted.query("tiny: `{ __typename }`", queries.TINY)
    await counted.query("feed, anonymous", queries.FEED, first=10)
    await counted.query("feed of 100, anonymous", queries.FEED, first=100)
    await counted.query("feed, signed in", queries.FEED, by=made.holder, first=10)
    await counted.query("feed of 100, signed in", queries.FEED, by=made.holder, first=100)
    await counted.query("one collective with balance", queries.COLLECTIVE, slug="bench-community-1")
    await counted.query("50 collectives with 10 members each", queries.NESTED)
    await _mutations(made, counted)


async def _nest(made: Scene) -> None:
    for row in made.collectives:
        for person in made.givers[:10]:
            await made.world.member(row, person, MemberRole.MEMBER)


async def _mutations(made: Scene, counted: "_Counted") -> None:
    giver, holder, row = made.givers[0], made.holder, made.collectives[0]
    await counted.mutation("addFunds", by=holder, to=of(row), amount=money("10.00"))
    bill: dict[str, Any] = {"from": of(row), "to": of(giver), "amount": money("5.00")}
    expense = await counted.mutation("submitExpense", by=giver, **bill)
    await counted.mutation("approveOrder", by=holder, id=expense)
    await counted.mutation("payOrder", by=holder, id=expense)
    gift: dict[str, Any] = {"from": of(giver), "to": of(row), "amount": money("5.00")}
    order = await counted.mutation(
        "donate", "donate by bank transfer", by=giver, paymentMethod="MANUAL", **gift
    )
    await counted.mutation("approveOrder", "approveOrder of that donation", by=holder, id=order)
    gift = {"from": of(row), "to": of(made.collectives[1]), "amount": money("5.00")}
    await counted.mutation("donate", "donate from balance", by=holder, **gift)
    await _time(made, counted)


async def _time(made: Scene, counted: "_Counted") -> None:
    scene = await TimeScene.create(made.world)
    start = yesterday(8)
    hours = await counted.mutation(
        "logHours",
        by=scene.john,
        nonprofit=of(scene.nonprofit),
        startsAt=start.isoformat(),
        endsAt=start.replace(hour=9).isoformat(),
    )
    await counted.mutation("approveOrder", "approveOrder of hours", by=scene.chris, id=hours)
    offer = await made.world.do(
        "createOffer",
        "offer { id }",
        by=scene.mark,
        business=of(scene.business),
        item="Kombucha",
        currentsSharePercent=25,
    )
    bought = await counted.mutation(
        "redeemOffer", by=scene.john, offer=offer["offer"]["id"], price=money("20.00"), receipt="A receipt"
    )
    await counted.mutation("approveOrder", "approveOrder of a redemption", by=scene.mark, id=bought)
    event = await made.world.do(
        "createEvent",
        "event { slug }",
        by=scene.chris,
        parent=of(scene.nonprofit),
        name="Workday",
        startsAt=yesterday(12).isoformat(),
        endsAt=yesterday(13).isoformat(),
    )
    given: dict[str, Any] = {"event": {"slug": event["event"]["slug"]}, "user": of(scene.john)}
    await counted.mutation("checkIn", by=scene.chris, **given)


def logged_since(place: Place, at: int) -> list[str]:
    """Return the first words of the statements logged after that many bytes."""
    with place.log.open("rb") as log:
        log.seek(at)
        text = log.read().decode(errors="replace")
    return [_name(found) for found in _LOGGED.finditer(text)]


class _Counted:
    """Runs operations one at a time and reads what the server logged in between."""

    def __init__(self, place: Place, made: Scene, rows: list[list[str]]) -> None:
        self._place, self._made, self._rows, self._keys = place, made, rows, 0

    async def query(self, name: str, text: str, *, by: Person | None = None, **variables: Any) -> None:
        """Count the statements of a query; the second run counts, when all is warm."""
        await self._made.world.ask(text, by=by, **variables)
        at = await self._mark()
        await self._made.world.ask(text, by=by, **variables)
        self._note(name, await self._since(at))

    async def mutation(self, field: str, name: str = "", *, by: Person, **given: Any) -> str:
        """Count the statements of a mutation; return its order's id."""
        self._keys += 1
        at = await self._mark()
        done = await self._made.world.do(
            field, "order { id status }", by=by, idempotencyKey=f"bench-{self._keys}", **given
        )
        self._note(name or field, await self._since(at))
        if done["errors"]:
            raise SystemExit(f"{field} failed: {done}")
        order_id: str = done["order"]["id"]
        return order_id

    async def _mark(self) -> int:
        await asyncio.sleep(0.05)
        return self._place.log.stat().st_size

    async def _since(self, at: int) -> list[str]:
        await asyncio.sleep(0.05)
        return logged_since(self._place, at)

    def _note(self, name: str, found: list[str]) -> None:
        control = [word for word in found if word in CONTROL]
        others = Counter(word for word in found if word not in CONTROL)
        target = TARGETS.get(name)
        reached = "" if target is None else f"≤ {target}" + ("" if others.total() <= target else ", **no**")
        self._rows.append([name, str(others.total()), str(len(control)), reached, _listed(others)])


def _name(found: re.Match[str]) -> str:
    word = found[1].upper()
    return "INSERT" if word == "WITH" else word


def _listed(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in found.items())
