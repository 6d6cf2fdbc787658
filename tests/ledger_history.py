"""Books with some history of every sort, for tests that try to break them and change nothing."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from models import now
from models.enums import CollectiveType
from tests.conftest import Database
from tests.donation_world import Scene, done, row_id
from tests.factories import World
from tests.ledger_sql import Line


@dataclass
class Books:
    """A database with money in it; names lead to the rows that the tests touch."""

    database: Database
    scene: Scene
    ids: dict[str, UUID] = field(default_factory=dict)

    @property
    def world(self) -> World:
        """The world to ask in."""
        return self.scene.world

    def url(self, role: str) -> str:
        """Return where to connect as `app` or as `owner`."""
        return self.database.app_url if role == "app" else self.database.owner_url

    def connect(self, role: str) -> psycopg.Connection[Any]:
        """Connect with plain SQL; `replica` is the owner as a session of replication is."""
        options = "-c session_replication_role=replica" if role == "replica" else ""
        return psycopg.connect(self.url(role), options=options)

    def line(
        self,
        owner: str,
        amount: int,
        *,
        currency: str = "USD",
        kind: str = "BALANCE",
        book: str = "opensource",
    ) -> Line:
        """Return a leg on an account by names."""
        return Line(self.ids[book], self.ids[owner], currency, kind, amount)


async def made(world: World, database: Database) -> Books:
    """Make the books that the tests of a file share, in their world.

    webpack has 15.00 less 1.00 transferred, 2.00 donated by card and 4.00 held; babel has 1.00 + 1.90 + 5.00
    less a refund; passing got 5.00 and gave it away; gone is archived, meetup an event.
    """
    books = Books(database, await Scene.create(world, funds="10.00"))
    await _filled(books)
    return books


async def _filled(books: Books) -> None:
    world, scene = books.world, books.scene
    await world.fund(scene.webpack, "5.00", by=scene.holder)
    await world.fund(scene.host, "10.00", by=scene.holder)
    transfer = done(await scene.transfer("1.00"))
    donor = await world.community("donor", await world.host("elsewhere", scene.holder), scene.giver)
    await world.fund(donor, "10.00", by=scene.holder)
    card = await scene.method(bps=500)
    gift = done(await scene.donate("2.00", from_=donor, paymentMethod=card))
    refund = await scene.refund(gift, "1.00")
    approved, pending = await scene.expense("4.00"), await scene.expense("0.50")
    done(await scene.approve(approved))
    passing = await world.community("passing", scene.host, scene.giver)
    await world.fund(passing, "5.00", by=scene.holder)
    done(await scene.transfer("5.00", from_=passing))
    gone, meetup = await _closed(books)
    for row in (
        scene.host,
        scene.webpack,
        scene.babel,
        scene.payee.user,
        donor,
        passing,
        world.platform,
        gone,
        meetup,
    ):
        books.ids[row.slug] = row.id
    books.ids |= {
        "elsewhere": donor.host_id or donor.id,
        "transfer": row_id(transfer),
        "gift": row_id(gift),
        "approved": row_id(approved),
        "pending": row_id(pending),
        "transferred": await _emitted(world, row_id(transfer)),
        "given": await _emitted(world, row_id(gift)),
    }
    assert [t["kind"] for t in refund["transactions"]] == ["REFUND", "PAYMENT_PROCESSOR_COVER"]


async def _closed(books: Books) -> tuple[Any, Any]:
    world = books.world
    gone = await world.community("gone", None)
    gone.archived_at = now()
    await world.add(gone)
    meetup = await world.community("meetup", None)
    async with world.sessions() as session, session.begin():
        meetup.type, meetup.parent_id = CollectiveType.EVENT, books.scene.webpack.id
        meetup.starts_at = meetup.ends_at = now()
        meetup.ends_at = meetup.starts_at.replace(year=meetup.starts_at.year + 1)
        session.add(meetup)
    return gone, meetup


async def _emitted(world: World, order_id: UUID) -> UUID:
    found: UUID = await world.scalar(
        "SELECT id FROM transaction WHERE order_id = :id AND refund_of_id IS NULL"
        " AND kind <> 'PAYMENT_PROCESSOR_COVER'",
        id=order_id,
    )
    return found
