"""Writing to the ledger: the SQL functions are the only writers, and this the only caller of them."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, new_id
from models.enums import LedgerAccountKind, TransactionKind
from services.core.errors import AmountTooSmall
from services.core.party import Party
from services.ledger import transaction_amounts
from services.ledger.transaction_amounts import Figures, Leg

_POST = text(
    "SELECT ledger_post(jsonb_populate_record(NULL::transaction, CAST(:row AS jsonb)),"
    " CAST(:books AS uuid[]), CAST(:owners AS uuid[]), CAST(:currencies AS text[]),"
    " CAST(:kinds AS text[]), CAST(:amounts AS bigint[]), CAST(:release AS uuid))"
)
_POST_MANY = text(
    "SELECT count(ledger_post(jsonb_populate_record(NULL::transaction, r.row),"
    " ARRAY[CAST(:book AS uuid), CAST(:book AS uuid)], ARRAY[o1, o2],"
    " ARRAY[CAST(:currency AS text), CAST(:currency AS text)], ARRAY[k1, k2], ARRAY[a1, a2]) ORDER BY n)"
    " FROM ROWS FROM (jsonb_array_elements(CAST(:rows AS jsonb)), unnest(CAST(:first_owners AS uuid[])),"
    " unnest(CAST(:first_kinds AS text[])), unnest(CAST(:first_amounts AS bigint[])),"
    " unnest(CAST(:second_owners AS uuid[])), unnest(CAST(:second_kinds AS text[])),"
    " unnest(CAST(:second_amounts AS bigint[]))) WITH ORDINALITY AS r(row, o1, k1, a1, o2, k2, a2, n)"
)
_LOCK = text(
    "SELECT ledger_lock(CAST(:books AS uuid[]), CAST(:owners AS uuid[]),"
    " CAST(:currencies AS text[]), CAST(:kinds AS text[]))"
)
_HOLD = text("SELECT ledger_hold(:order_id, :book_id, :owner_id, :currency, :amount)")
_RELEASE = text("SELECT ledger_release(:order_id)")
_OPEN = text("SELECT ledger_open(:book_id, :owner_id, :currency)")


async def post(
    session: AsyncSession,
    *,
    row: dict[str, Any],
    legs: Sequence[Leg],
    release_order_id: UUID | None = None,
) -> datetime:
    """Write one transaction with its postings; return its ledger time.

    Locks: the accounts of the legs, in their order. Raises the database's own errors, which
    services.guards turns into problems.
    """
    if not legs:
        raise AmountTooSmall("Nothing is left of the amount in any balance", path=["input", "amount"])
    result = await session.execute(
        _POST,
        {
            "row": orjson.dumps(row, default=str).decode(),
            "books": [leg.book_id for leg in legs],
            "owners": [leg.owner_id for leg in legs],
            "currencies": [leg.currency for leg in legs],
            "kinds": [str(leg.kind) for leg in legs],
            "amounts": [leg.amount for leg in legs],
            "release": release_order_id,
        },
    )
    at: datetime = result.scalar_one()
    return at


async def post_currents(
    session: AsyncSession,
    *,
    order: Order,
    platform_id: UUID,
    kind: TransactionKind,
    kind_from: LedgerAccountKind = LedgerAccountKind.BALANCE,
    release: bool = False,
) -> datetime:
    """Move the currents of an order in the platform's book, or issue them; return the ledger time.

    Locks: both accounts. Raises what the database refuses: the floor of a balance, a cap of issuance.
    """
    row, legs = currents_posting(order, platform_id=platform_id, kind=kind, kind_from=kind_from)
    return await post(session, row=row, legs=legs, release_order_id=order.id if release else None)


def currents_posting(
    order: Order, *, platform_id: UUID, kind: TransactionKind, kind_from: LedgerAccountKind
) -> tuple[dict[str, Any], list[Leg]]:
    """Return the transaction's columns and its two legs, as `post` takes them."""
    amount = order.approved_amount or order.amount
    row = {
        "id": new_id(),
        "group_id": new_id(),
        "kind": kind,
        "order_id": order.id,
        "from_collective_id": order.from_id,
        "to_collective_id": order.to_id,
        "from_host_id": platform_id,
        "to_host_id": platform_id,
        "description": order.description,
        "has_public_side": order.has_public_side,
        **asdict(transaction_amounts.unconverted(amount, transaction_amounts.CURRENTS)),
    }
    legs = transaction_amounts.currents_legs(
        book_id=platform_id, from_id=order.from_id, to_id=order.to_id, amount=amount, kind_from=kind_from
    )
    return row, legs


async def post_many_currents(
    session: AsyncSession, *, postings: Sequence[tuple[dict[str, Any], list[Leg]]]
) -> None:
    """Write many transactions of `currents_posting`, in their order: two statements, however many.

    Locks: all accounts first, in their order.
    """
    every = sorted({leg for _, legs in postings for leg in legs})
    await lock(session, every)
    firsts, seconds = [legs[0] for _, legs in postings], [legs[1] for _, legs in postings]
    await session.execute(
        _POST_MANY,
        {
            "rows": orjson.dumps([row for row, _ in postings], default=str).decode(),
            "book": postings[0][1][0].book_id,
            "currency": transaction_amounts.CURRENTS,
            "first_owners": [leg.owner_id for leg in firsts],
            "first_kinds": [str(leg.kind) for leg in firsts],
            "first_amounts": [leg.amount for leg in firsts],
            "second_owners": [leg.owner_id for leg in seconds],
            "second_kinds": [str(leg.kind) for leg in seconds],
            "second_amounts": [leg.amount for leg in seconds],
        },
    )


async def lock(session: AsyncSession, legs: Sequence[Leg]) -> None:
    """Lock the accounts of all legs that several posts will have, in their order."""
    await session.execute(
        _LOCK,
        {
            "books": [leg.book_id for leg in legs],
            "owners": [leg.owner_id for leg in legs],
            "currencies": [leg.currency for leg in legs],
            "kinds": [str(leg.kind) for leg in legs],
        },
    )


def transaction_row(
    found: Figures,
    payer: Party,
    payee: Party,
    *,
    kind: TransactionKind,
    order: Order | None,
    transaction_id: UUID | None = None,
    group_id: UUID | None = None,
    at: datetime | None = None,
    description: str | None = None,
) -> dict[str, Any]:
    """Return a transaction's columns as `post` takes them; no `at` is now."""
    row = {
        "id": transaction_id or new_id(),
        "group_id": group_id or new_id(),
        "kind": kind,
        "order_id": order.id if order else None,
        "from_collective_id": payer.collective.id if payer.collective else None,
        "to_collective_id": payee.collective.id if payee.collective else None,
        "from_host_id": payer.host.id if payer.host else None,
        "to_host_id": payee.host.id if payee.host else None,
        "payment_method_id": order.payment_method_id if order else None,
        "description": description or (order.description if order else None),
        "has_public_side": order.has_public_side if order else True,
        **asdict(found),
    }
    if at is not None:
        row["at"] = at.isoformat()
    return row


async def hold(
    session: AsyncSession,
    *,
    order_id: UUID,
    book_id: UUID,
    owner_id: UUID,
    currency: str,
    amount: int,
) -> None:
    """Set minor units of a balance aside for an order. Locks: the account."""
    await session.execute(
        _HOLD,
        {
            "order_id": order_id,
            "book_id": book_id,
            "owner_id": owner_id,
            "currency": currency,
            "amount": amount,
        },
    )


async def release(session: AsyncSession, *, order_id: UUID) -> None:
    """Free an order's hold, if it has one. Locks: the hold, then its account."""
    await session.execute(_RELEASE, {"order_id": order_id})


async def open_account(session: AsyncSession, *, book_id: UUID, owner_id: UUID, currency: str) -> None:
    """Open the balance of an owner in a host's book; nothing where it is open."""
    await session.execute(_OPEN, {"book_id": book_id, "owner_id": owner_id, "currency": currency})
