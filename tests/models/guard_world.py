"""A small world in plain SQL, for tests of the database's own guards without any check of the application.

The tables' owner writes it once for each database; what a test adds is rolled back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from models import new_id
from tests.ledger_sql import transaction_values

POST = (
    "SELECT public.ledger_post(jsonb_populate_record(NULL::public.transaction, %s), %s::uuid[], %s::uuid[],"
    " %s::text[], %s::text[], %s::bigint[], %s::uuid)"
)
ACCOUNT = "SELECT id FROM public.ledger_account WHERE (book_id, owner_id, currency, kind) = (%s, %s, %s, %s)"


@dataclass(frozen=True)
class ForgedLine:
    """A posting written by hand: its account moves along, unless `moves` says otherwise."""

    book: str
    owner: str
    amount: int
    kind: str = "BALANCE"
    wrong: dict[str, Any] = field(default_factory=dict)
    """Columns of the posting to replace; numbers are added."""
    moves: bool = True


@dataclass
class GuardWorld:
    """Named collectives and orders in an open database transaction."""

    connection: psycopg.Connection[Any]
    ids: dict[str, UUID] = field(default_factory=dict)

    def run(self, statement: str, *values: Any) -> Any:
        """Execute a statement and return its first row, if it has rows."""
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchone() if cursor.description else None

    def value(self, statement: str, *values: Any) -> Any:
        """Execute a query and return its only value."""
        return self.run(statement, *values)[0]

    def insert(self, table: str, **columns: Any) -> None:
        """Insert one row."""
        names = ", ".join(columns)
        marks = ", ".join("%s" for _ in columns)
        self.run(f'INSERT INTO public."{table}" ({names}) VALUES ({marks})', *columns.values())

    def collective(self, name: str, kind: str, *, host: str | None = None, **columns: Any) -> UUID:
        """Insert a collective under a name; users are claimed, and `host` may be itself."""
        self.ids[name] = row_id = new_id()
        values: dict[str, Any] = {"currency": "USD"}
        if kind == "USER":
            values["claimed_at"] = "2020-01-01"
        if host:
            values |= {"host_id": self.ids[host], "host_approved_at": "2020-01-01"}
        self.insert(
            "collective", **{"id": row_id, "slug": name, "type": kind, "name": name, **values, **columns}
        )
        return row_id

    def order(self, name: str, kind: str, from_: str, to: str, amount: int = 100, **columns: Any) -> UUID:
        """Insert an order under a name, PENDING unless told otherwise."""
        self.ids[name] = row_id = new_id()
        values: dict[str, Any] = {"status": "PENDING", "currency": "USD", "platform_fee_bps": 0}
        if kind in {"HOURS", "REDEMPTION", "BONUS"}:
            values |= {"currency": "CUR", "policy_id": self.ids["policy"]}
        if kind == "HOURS":
            values |= {"starts_at": "2020-01-01T10:00Z", "ends_at": "2020-01-01T11:00Z"}
        self.insert(
            "order",
            id=row_id,
            type=kind,
            from_id=self.ids[from_],
            to_id=self.ids[to],
            amount=amount,
            **{**values, **columns},
        )
        return row_id

    def act(self, order: str, kind: str, actor: str, to_status: str = "APPROVED") -> None:
        """Insert a step of an order's history."""
        self.insert(
            "order_action",
            id=new_id(),
            order_id=self.ids[order],
            type=kind,
            actor_id=self.ids[actor],
            to_status=to_status,
        )

    def redemption(self, order: str, *, is_master: bool = False) -> None:
        """Insert the dollar side of an order."""
        self.insert(
            "redemption",
            order_id=self.ids[order],
            price_minor=2000,
            currents_share_percent=25,
            is_master=is_master,
            usd_gross_minor=500,
            usd_fee_minor=50,
            receipt_text="till",
        )

    def post(
        self, legs: Sequence[tuple[str, str, str, str, int]], *, release: UUID | None = None, **columns: Any
    ) -> datetime:
        """Call ledger_post with legs of (book, owner, currency, kind, amount), sorted by account."""
        amount = columns.pop("amount", max(leg[4] for leg in legs))
        rows = sorted((self.ids[leg[0]], self.ids[leg[1]], *leg[2:]) for leg in legs)
        arrays = [list(column) for column in zip(*rows, strict=True)]
        row = {
            name: str(value) if isinstance(value, UUID | datetime) else value
            for name, value in transaction_values(amount, **columns).items()
        }
        at: datetime = self.value(POST, Jsonb(row), *arrays, release)
        return at

    def open_balance(self, owner: str, amount: int, *, book: str = "host", **columns: Any) -> datetime:
        """Post an amount from outside to a balance."""
        return self.post(
            [(book, book, "USD", "CASH", -amount), (book, owner, "USD", "BALANCE", amount)],
            kind="OPENING_BALANCE",
            to_collective_id=self.ids[owner],
            to_host_id=self.ids[book],
            **columns,
        )

    def inside(self, from_: str, to: str, amount: int, *, book: str = "host") -> dict[str, Any]:
        """Return the columns of a transaction that pays a negative amount inside one book."""
        return {
            "from_collective_id": self.ids[from_],
            "to_collective_id": self.ids[to],
            "from_host_id": self.ids[book],
            "to_host_id": self.ids[book],
            "from_host_currency": "USD",
            "from_host_fx_rate": 1,
            "from_host_amount": amount,
            "from_collective_currency": "USD",
            "from_collective_fx_rate": 1,
            "from_collective_amount": amount,
        }

    def issue(self, amount: int, *, at: datetime | None = None, order: str | None = None) -> datetime:
        """Issue currents from the issuer to the volunteer, for a new order unless one is named."""
        platform = "platform"
        order_id = self.ids[order] if order else self._new_hours(amount)
        own_time: dict[str, Any] = {"at": at} if at else {}
        return self.post(
            [
                (platform, "issuer", "CUR", "ISSUANCE", -amount),
                (platform, "volunteer", "CUR", "BALANCE", amount),
            ],
            kind="HOURS",
            currency="CUR",
            host_currency="CUR",
            order_id=order_id,
            from_collective_id=self.ids["issuer"],
            to_collective_id=self.ids["volunteer"],
            from_host_id=self.ids[platform],
            to_host_id=self.ids[platform],
            from_host_currency="CUR",
            from_host_fx_rate=1,
            from_host_amount=-amount,
            from_collective_currency="CUR",
            from_collective_fx_rate=1,
            from_collective_amount=-amount,
            **own_time,
        )

    def _new_hours(self, amount: int) -> UUID:
        day = f"2020-02-{len(self.ids) % 28 + 1:02}"
        return self.order(
            f"hours-{len(self.ids)}",
            "HOURS",
            "issuer",
            "volunteer",
            amount,
            starts_at=f"{day}T10:00Z",
            ends_at=f"{day}T20:00Z",
        )

    def transaction(self, **columns: Any) -> UUID:
        """Insert a bare row of a transaction of 1.00 that is being written now; return its id."""
        values = {
            **transaction_values(100, kind="OPENING_BALANCE"),
            "at": self.value("SELECT clock_timestamp()"),
            "created_at": self.value("SELECT clock_timestamp()"),
            "xid": self.value("SELECT pg_current_xact_id()::text::bigint"),
            **columns,
        }
        self.insert("transaction", **values)
        row_id: UUID = values["id"]
        return row_id

    def forge(self, *lines: ForgedLine, into: UUID | None = None) -> None:
        """Insert postings in one statement, behind the back of ledger_post."""
        transaction_id = into or self.transaction()
        rows = [self._forged_row(line, transaction_id) for line in lines]
        marks = ", ".join(f"({', '.join('%s' for _ in row)})" for row in rows)
        self.run(
            f"INSERT INTO public.posting ({', '.join(rows[0])}) VALUES {marks}",
            *[value for row in rows for value in row.values()],
        )

    def _forged_row(self, line: ForgedLine, transaction_id: UUID) -> dict[str, Any]:
        book_id, owner_id = self.ids[line.book], self.ids[line.owner]
        account_id = self.value(ACCOUNT, book_id, owner_id, "USD", line.kind)
        if line.moves:
            self.run(
                "UPDATE public.ledger_account SET seq = seq + 1, posted = posted + %s"
                " WHERE book_id = %s AND id = %s",
                line.amount,
                book_id,
                account_id,
            )
        posted, seq, last_at = self.run(
            "SELECT posted, seq, last_at FROM public.ledger_account WHERE book_id = %s AND id = %s",
            book_id,
            account_id,
        )
        row = {
            "book_id": book_id,
            "account_id": account_id,
            "seq": seq,
            "transaction_id": transaction_id,
            "currency": "USD",
            "amount": line.amount,
            "balance_after": posted,
            "at": last_at,
        }
        for name, change in line.wrong.items():
            row[name] = row[name] + change if isinstance(change, int) else change
        return row


def fill(world: GuardWorld) -> None:
    """Insert a platform, two hosts with their collectives, people, a business and an event."""
    world.ids["policy"] = new_id()
    world.insert("platform_policy", id=world.ids["policy"], platform_fee_bps=0, valid_from="2020-01-01")
    _self_hosted(world, "platform", is_platform=True)
    for host in ("host", "other-host"):
        _self_hosted(world, host)
    for name, host in (("payer", "host"), ("payee", "host"), ("distant", "other-host")):
        world.collective(name, "COMMUNITY", host=host)
    for name in ("volunteer", "person", "admin", "second-admin"):
        world.collective(name, "USER", host="platform")
    world.collective("unclaimed", "USER", host="platform", claimed_at=None)
    world.collective("issuer", "NONPROFIT", issuer_approved_at="2020-01-01")
    world.collective("newcomer", "NONPROFIT")
    world.collective("business", "BUSINESS", host="host")
    world.collective("euros", "COMMUNITY", host="host", currency="EUR")
    world.collective("archived", "COMMUNITY", archived_at="2020-01-01")
    world.collective(
        "event",
        "EVENT",
        parent_id=world.ids["payer"],
        starts_at=world.value("SELECT now()"),
        ends_at=world.value("SELECT now() + interval '1 hour'"),
        capacity=1,
    )
    for name in ("admin", "second-admin"):
        world.insert(
            "member", id=new_id(), collective_id=world.ids["payer"], member_id=world.ids[name], role="ADMIN"
        )
    world.ids["offer"] = new_id()
    world.insert(
        "offer",
        id=world.ids["offer"],
        business_id=world.ids["business"],
        item="Tea",
        currents_share_percent=25,
        created_by_id=world.ids["admin"],
    )
    for owner in ("payer", "payee"):
        world.open_balance(owner, 10_000)
    world.open_balance("distant", 10_000, book="other-host")


def _self_hosted(world: GuardWorld, name: str, **columns: Any) -> None:
    row_id = world.collective(name, "NONPROFIT", **columns)
    if name != "platform":
        by = world.ids["platform"]
        world.insert(
            "host_application",
            id=new_id(),
            collective_id=row_id,
            host_id=row_id,
            status="ACCEPTED",
            created_by_id=by,
            decided_by_id=by,
            decided_at="2020-01-01",
        )
    world.run(
        "UPDATE public.collective SET host_id = id, host_approved_at = '2020-01-01' WHERE id = %s", row_id
    )
