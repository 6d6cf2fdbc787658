"""A ledger with transactions of every kind, for tests that attack it and expect no change."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from models import now
from models.enums import CollectiveType
from tests.conftest import Database
from tests.donation_world import DonationScene, decode_order_id, expect_order
from tests.factories import World
from tests.ledger_sql import Leg


@dataclass
class Books:
    """A database with a ledger; `ids` has the rows that tests refer to, by name."""

    database: Database
    scene: DonationScene
    ids: dict[str, UUID] = field(default_factory=dict)

    @property
    def world(self) -> World:
        """The world to ask in."""
        return self.scene.world

    def url(self, role: str) -> str:
        """Return the URL to connect as `app` or as `owner`."""
        return self.database.app_url if role == "app" else self.database.owner_url

    def connect(self, role: str) -> psycopg.Connection[Any]:
        """Connect with psycopg; `replica` is the owner in a replication session."""
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
    ) -> Leg:
        """Return a leg on the account of a named owner."""
        return Leg(self.ids[book], self.ids[owner], currency, kind, amount)


async def create_books(world: World, database: Database) -> Books:
    """Create the books that the tests of a file share.

    webpack has 15.00 less 1.00 transferred, 2.00 donated by card and 4.00 held; babel has 1.00 + 1.90 + 5.00
    less a refund; passing got 5.00 and gave it away; gone is archived, meetup an event.
    """
    books = Books(database, await DonationScene.create(world, funds="10.00"))
    await _fill(books)
    return books


async def _fill(books: Books) -> None:
    world, scene = books.world, books.scene
    await world.fund(scene.webpack, "5.00", by=scene.holder)
    await world.fund(scene.host, "10.00", by=scene.holder)
    transfer = expect_order(await scene.transfer("1.00"))
    donor = await world.community("donor", await world.host("elsewhere", scene.holder), scene.giver)
    await world.fund(donor, "10.00", by=scene.holder)
    card = await scene.method(bps=500)
    donation = expect_order(await scene.donate("2.00", from_=donor, paymentMethod=card))
    refund = await scene.refund(donation, "1.00")
    approved, pending = await scene.expense("4.00"), await scene.expense("0.50")
    expect_order(await scene.approve(approved))
    passing = await world.community("passing", scene.host, scene.giver)
    await world.fund(passing, "5.00", by=scene.holder)
    expect_order(await scene.transfer("5.00", from_=passing))
    gone, meetup = await _add_closed_collectives(books)
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
        "transfer": decode_order_id(transfer),
        "donation": decode_order_id(donation),
        "approved": decode_order_id(approved),
        "pending": decode_order_id(pending),
        "transferred": await _transaction_of(world, decode_order_id(transfer)),
        "donated": await _transaction_of(world, decode_order_id(donation)),
    }
    assert [t["kind"] for t in refund["transactions"]] == ["REFUND", "PAYMENT_PROCESSOR_COVER"]


async def _add_closed_collectives(books: Books) -> tuple[Any, Any]:
    world = books.world
    gone = await world.community("gone", None)
    gone.archived_at = now()
    await world.add(gone)
    meetup = await world.community("meetup", None)
    async with world.sessions() as session, session.begin():
        meetup.type, meetup.parent_id = CollectiveType.EVENT, books.scene.webpack.id
        meetup.starts_at = now()
        meetup.ends_at = meetup.starts_at + timedelta(hours=2)
        session.add(meetup)
    return gone, meetup


async def _transaction_of(world: World, order_id: UUID) -> UUID:
    value: UUID = await world.scalar(
        "SELECT id FROM transaction WHERE order_id = :id AND refund_of_id IS NULL"
        " AND kind <> 'PAYMENT_PROCESSOR_COVER'",
        id=order_id,
    )
    return value
