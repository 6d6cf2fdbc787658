"""A long history, inserted by SQL alone in seconds: gifts to a few collectives, among them what is rare.

The guards' triggers are off meanwhile. The rows have the shape of real ones, but the hosts' cash and the
audit of the ledger are left out: these rows are there to be listed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from models import Collective, Offer, Tier, now
from models.enums import CollectiveType, MemberRole, TierPricing, TierType
from tests.factories import Person, World

COLLECTIVES = 200
RARE = 1_000
"""Of so many gifts one is an expense, one hours, one a redemption, and so on."""
_TABLES = ("order", "order_action", "transaction", "posting", "ledger_account", "attendance", "raised_total")


@dataclass(frozen=True)
class LongHistory:
    """Who and what the history is about."""

    world: World
    viewer: Person
    """ADMIN of the host, the busy collective, the business and the platform."""
    host: Collective
    busy: Collective
    """Has a third of all gifts."""
    event: Collective
    business: Collective
    tier: Tier
    offer: Offer

    @property
    def accounts(self) -> str:
        """A query for the busy collective's account."""
        return f"SELECT id FROM ledger_account WHERE owner_id = '{self.busy.id}'"


async def create_history(world: World) -> LongHistory:
    """Create the people and collectives, without any gifts."""
    viewer = await world.person("long-viewer")
    host = await world.host("long-host", viewer)
    busy = await world.community("long-0", host, viewer)
    rows = [
        Collective(
            slug=f"long-{n}",
            type=CollectiveType.COMMUNITY,
            name=f"Long {n}",
            currency="USD",
            host_id=host.id,
            host_approved_at=now(),
        )
        for n in range(1, COLLECTIVES)
    ]
    for row in rows:
        await world.add(row)
    event = Collective(
        slug="long-event",
        type=CollectiveType.EVENT,
        name="Long",
        currency="USD",
        parent_id=busy.id,
        starts_at=now(),
        ends_at=now() + timedelta(days=1),
    )
    business = Collective(slug="long-shop", type=CollectiveType.BUSINESS, name="Shop", currency="USD")
    await world.add(event)
    await world.add(business)
    for row in (world.platform, business):
        await world.member(row, viewer, MemberRole.ADMIN)
    tier = Tier(
        collective_id=busy.id,
        type=TierType.DONATION,
        name="Long",
        pricing=TierPricing.FLEXIBLE,
        currency="USD",
        created_by_id=viewer.user.id,
    )
    offer = Offer(
        business_id=business.id, item="tea", currents_share_percent=50, created_by_id=viewer.user.id
    )
    await world.add(tier)
    await world.add(offer)
    return LongHistory(world, viewer, host, busy, event, business, tier, offer)


def add_gifts(history: LongHistory, *, first: int, count: int) -> None:
    """Add gifts with the numbers from `first` on; each has an order, an action and two postings."""
    values: dict[str, Any] = {
        "first": first,
        "last": first + count - 1,
        "n": COLLECTIVES,
        "rare": RARE,
        "host": history.host.id,
        "viewer": history.viewer.user.id,
        "event": history.event.id,
        "tier": history.tier.id,
        "offer": history.offer.id,
        "shop": history.business.id,
        "busy": history.busy.id,
    }
    with (
        psycopg.connect(history.world.settings.owner_database_url, autocommit=True) as connection,
        _without_triggers(connection),
    ):
        for statement in _STATEMENTS:
            connection.execute(statement.encode(), values)
        for table in (*_TABLES, "collective", "member"):
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))


@contextmanager
def _without_triggers(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Switch the tables' triggers off, and then on again, each as it was."""
    rows = connection.execute(
        "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE c.relname = ANY(%s) AND t.tgenabled = 'A' AND NOT t.tgisinternal",
        [list(_TABLES)],
    ).fetchall()
    for table in _TABLES:
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
    try:
        yield
    finally:
        for table in _TABLES:
            connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER ALL").format(sql.Identifier(table)))
        for table, trigger in rows:
            connection.execute(
                sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(
                    sql.Identifier(table), sql.Identifier(trigger)
                )
            )


def row_id(kind: int, number: int) -> UUID:
    """Return the id of an order (1), a transaction (2) or an action (3) of a number."""
    return UUID(f"0000001{kind}-0000-7000-8000-{number:012d}")


def _id(kind: int, number: str = "n") -> str:
    return f"('0000001{kind}-0000-7000-8000-' || lpad(({number})::text, 12, '0'))::uuid"


_GIFTS = """
    CREATE TEMPORARY TABLE gift AS
    SELECT n, CASE mod(n, %(rare)s) WHEN 0 THEN 'EXPENSE' WHEN 1 THEN 'HOURS' WHEN 5 THEN 'REDEMPTION'
        WHEN 2 THEN 'ADDED_FUNDS' ELSE 'DONATION' END AS type,
        CASE WHEN mod(n, %(rare)s) = 1 OR mod(n, 10 * %(rare)s) = 8 THEN 'PENDING' ELSE 'PAID' END AS status,
        CASE WHEN mod(n, %(rare)s) = 1 THEN %(host)s ELSE f.id END AS from_id,
        CASE mod(n, %(rare)s) WHEN 1 THEN %(viewer)s WHEN 5 THEN %(shop)s ELSE t.id END AS to_id,
        f.id AS payer_id, t.id AS payee_id, 100 + mod(n, 900) AS amount,
        timestamptz '2020-01-01 UTC' + n * interval '1 minute' AS at
    FROM generate_series(%(first)s::int, %(last)s) n
    JOIN collective f ON f.slug = 'long-' || mod(n * 7, %(n)s)
    JOIN collective t ON t.slug = 'long-' || CASE WHEN mod(n, 3) = 0 AND mod(n * 7, %(n)s) <> 0 THEN 0
                                             ELSE mod(n * 7 + 1 + mod(n, 100), %(n)s) END
"""
_STATEMENTS = (
    """INSERT INTO ledger_account (book_id, owner_id, currency, kind)
    SELECT c.host_id, c.id, 'USD', 'BALANCE' FROM collective c
    WHERE c.slug LIKE 'long-%%' AND c.type = 'COMMUNITY'
    ON CONFLICT (book_id, owner_id, currency, kind) DO UPDATE SET floor = NULL""",
    "DROP TABLE IF EXISTS gift",
    _GIFTS,
    f"""INSERT INTO "order" (id, type, status, from_id, to_id, currency, amount, platform_fee_bps,
        created_by_id, policy_id, starts_at, ends_at, addressed_to_id, claimed_giver_id, giver_status,
        event_id, tier_id,
        quantity, offer_id, description, created_at)
    SELECT {_id(1)}, type, status, from_id, to_id,
        CASE WHEN type IN ('HOURS', 'REDEMPTION') THEN 'CUR' ELSE 'USD' END, amount, 0, %(viewer)s,
        CASE WHEN type IN ('HOURS', 'REDEMPTION') THEN (SELECT id FROM platform_policy LIMIT 1) END,
        CASE WHEN type = 'HOURS' THEN at END, CASE WHEN type = 'HOURS' THEN at + interval '1 minute' END,
        CASE WHEN type = 'HOURS' THEN %(viewer)s END, CASE WHEN mod(n, %(rare)s) = 2 THEN %(viewer)s END,
        CASE WHEN mod(n, %(rare)s) = 2 THEN 'CONFIRMED' END,
        CASE WHEN mod(n, %(rare)s) = 3 THEN %(event)s END, CASE WHEN mod(n, %(rare)s) = 4 THEN %(tier)s END,
        CASE WHEN mod(n, %(rare)s) = 4 THEN 1 END, CASE WHEN type = 'REDEMPTION' THEN %(offer)s END,
        'Gift ' || n, at
    FROM gift""",
    f"""INSERT INTO order_action (id, order_id, type, actor_id, at, to_status)
    SELECT {_id(3)}, {_id(1)}, 'CREATE', %(viewer)s, at, 'PENDING' FROM gift""",
    f"""INSERT INTO transaction (id, group_id, kind, order_id, refund_of_id, from_collective_id,
        to_collective_id, from_host_id, to_host_id, currency, amount, fx_rate, host_currency, gross,
        payment_processor_fee, platform_fee, host_fee, to_host_amount, to_collective_amount,
        from_host_currency, from_host_fx_rate, from_host_amount, from_collective_currency,
        from_collective_fx_rate, from_collective_amount, has_public_side, at, created_at, xid)
    SELECT {_id(2)}, {_id(1)}, CASE WHEN mod(n, %(rare)s) = 7 THEN 'REFUND' ELSE type END, {_id(1)},
        CASE WHEN mod(n, %(rare)s) = 7 THEN {_id(2, "n - 1")} END, payer_id, payee_id, %(host)s, %(host)s,
        'USD', amount, 1, 'USD', amount, 0, 0, 0, amount, amount, 'USD', 1, -amount, 'USD', 1, -amount, true,
        at, at, 1
    FROM gift""",
    f"""INSERT INTO posting (book_id, account_id, seq, transaction_id, currency, amount, balance_after, at)
    SELECT %(host)s, a.id, a.seq + row_number() OVER w, {_id(2)}, 'USD', s.amount,
        a.posted + sum(s.amount) OVER w, g.at
    FROM gift g
    CROSS JOIN LATERAL (VALUES (g.payer_id, -g.amount), (g.payee_id, g.amount)) AS s(owner_id, amount)
    JOIN ledger_account a ON a.owner_id = s.owner_id AND a.kind = 'BALANCE' AND a.currency = 'USD'
    WINDOW w AS (PARTITION BY a.id ORDER BY g.n)""",
    """UPDATE ledger_account a SET (posted, seq, last_at) = (
        SELECT p.balance_after, p.seq, p.at FROM posting p WHERE p.book_id = a.book_id AND p.account_id = a.id
        ORDER BY p.seq DESC LIMIT 1)
    WHERE EXISTS (SELECT FROM posting p WHERE p.book_id = a.book_id AND p.account_id = a.id)""",
    """INSERT INTO raised_total AS r (subject_id, currency, raised_minor)
    SELECT payee_id, 'USD', sum(amount) FROM gift GROUP BY payee_id
    ON CONFLICT (subject_id, currency) DO UPDATE SET raised_minor = r.raised_minor + excluded.raised_minor""",
)
