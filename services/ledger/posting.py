"""Writes to the ledger: its SQL functions are the only writers, and this module their only caller."""

import itertools
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, new_id
from models.enums import LedgerAccountKind, TransactionKind
from services.core.errors import AmountTooSmall
from services.core.party import Party
from services.ledger import transaction_amounts
from services.ledger.legs import Leg, currents_legs
from services.ledger.transaction_amounts import TransactionAmounts
from services.round_trips import effects, pipelines
from services.round_trips.effects import Explain
from services.round_trips.pipelines import Call

_SQL = pipelines.read_compiled(Path(__file__).parent / "sql" / "posting.sql")


async def post(
    session: AsyncSession,
    *,
    row: dict[str, Any],
    legs: Sequence[Leg],
    release_order_id: UUID | None = None,
    explain: Explain | None = None,
) -> None:
    """Post one transaction with its legs.

    Locks: the accounts of the legs, in their order. `explain` as in `effects.write`.

    Raises:
        AmountTooSmall: there are no legs.
        Errors of the database, which services.database.constraint_errors turns into problems.
    """
    if not legs:
        raise AmountTooSmall("The amount is too small to change any balance.", field="amount")
    await effects.write(
        session,
        _SQL["post"],
        {
            "row": orjson.dumps(row, default=str).decode(),
            "books": [leg.book_id for leg in legs],
            "owners": [leg.owner_id for leg in legs],
            "currencies": [leg.currency for leg in legs],
            "kinds": [str(leg.kind) for leg in legs],
            "amounts": [leg.amount_minor for leg in legs],
            "release": release_order_id,
        },
        explain=explain,
    )


async def post_currents(
    session: AsyncSession,
    *,
    order: Order,
    platform_id: UUID,
    kind: TransactionKind,
    kind_from: LedgerAccountKind = LedgerAccountKind.BALANCE,
    release: bool = False,
) -> None:
    """Move or issue the currents of an order in the platform's book.

    Locks: both accounts.

    Raises:
        InsufficientFunds, LimitExceeded: from the database, at a balance's floor or a cap of issuance.
    """
    row, legs = currents_posting(order, platform_id=platform_id, kind=kind, kind_from=kind_from)
    await post(session, row=row, legs=legs, release_order_id=order.id if release else None)


def currents_posting(
    order: Order, *, platform_id: UUID, kind: TransactionKind, kind_from: LedgerAccountKind
) -> tuple[dict[str, Any], list[Leg]]:
    """Return the transaction's columns and its two legs, as `post` takes them."""
    amount_minor = order.approved_amount or order.amount
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
        **transaction_amounts.same_currency_amounts(amount_minor, transaction_amounts.CURRENTS).columns(),
    }
    legs = currents_legs(
        book_id=platform_id,
        from_id=order.from_id,
        to_id=order.to_id,
        amount_minor=amount_minor,
        kind_from=kind_from,
    )
    return row, legs


async def post_many_currents(
    session: AsyncSession, *, postings: Sequence[tuple[dict[str, Any], list[Leg]]]
) -> None:
    """Post many results of `currents_posting` in their order, with two statements in all.

    Locks: all accounts first, in their order.
    """
    await lock_accounts(session, sorted({leg for _, legs in postings for leg in legs}))
    firsts, seconds = [legs[0] for _, legs in postings], [legs[1] for _, legs in postings]
    await effects.write(
        session,
        _SQL["post_many"],
        {
            "rows": orjson.dumps([row for row, _ in postings], default=str).decode(),
            "book": postings[0][1][0].book_id,
            "currency": transaction_amounts.CURRENTS,
            "first_owners": [leg.owner_id for leg in firsts],
            "first_kinds": [str(leg.kind) for leg in firsts],
            "first_amounts": [leg.amount_minor for leg in firsts],
            "second_owners": [leg.owner_id for leg in seconds],
            "second_kinds": [str(leg.kind) for leg in seconds],
            "second_amounts": [leg.amount_minor for leg in seconds],
        },
    )


async def post_history(
    session: AsyncSession, *, postings: Sequence[tuple[dict[str, Any], Sequence[Leg]]]
) -> None:
    """Post many transactions with their legs, in their order, with two statements in all.

    Locks: all accounts first, in their order.

    Raises:
        AmountTooSmall: one of them has no legs.
        Errors of the database, which do not tell which of them failed.
    """
    if not all(legs for _, legs in postings):
        raise AmountTooSmall("An amount is too small to change any balance.", field="amount")
    legs = [leg for _, each in postings for leg in each]
    lasts = list(itertools.accumulate(len(each) for _, each in postings))
    await lock_accounts(session, sorted(set(legs)))
    await effects.write(
        session,
        _SQL["post_history"],
        {
            "rows": orjson.dumps([row for row, _ in postings], default=str).decode(),
            "firsts": [1, *(last + 1 for last in lasts[:-1])],
            "lasts": lasts,
            "books": [leg.book_id for leg in legs],
            "owners": [leg.owner_id for leg in legs],
            "currencies": [leg.currency for leg in legs],
            "kinds": [str(leg.kind) for leg in legs],
            "amounts": [leg.amount_minor for leg in legs],
        },
    )


async def lock_accounts(session: AsyncSession, legs: Sequence[Leg]) -> None:
    """Lock the accounts of the legs of several coming posts, in their order."""
    call = lock_call(legs)
    await effects.write(session, call.statement, call.values)


def lock_call(legs: Sequence[Leg]) -> Call:
    """Build the call that locks accounts, for those who send it with what they read under the locks."""
    values = {
        "books": [leg.book_id for leg in legs],
        "owners": [leg.owner_id for leg in legs],
        "currencies": [leg.currency for leg in legs],
        "kinds": [str(leg.kind) for leg in legs],
    }
    return Call(_SQL["lock"], values)


def transaction_row(
    amounts: TransactionAmounts,
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
    """Return a transaction's columns as `post` takes them; without `at`, effective now."""
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
        **amounts.columns(),
    }
    if at is not None:
        row["at"] = at.isoformat()
    return row


async def place_hold(
    session: AsyncSession,
    *,
    order_id: UUID,
    book_id: UUID,
    owner_id: UUID,
    currency: str,
    amount_minor: int,
) -> None:
    """Set part of a balance aside for an order. Locks: the account."""
    await effects.write(
        session,
        _SQL["hold"],
        {
            "order_id": order_id,
            "book_id": book_id,
            "owner_id": owner_id,
            "currency": currency,
            "amount": amount_minor,
        },
    )


async def release_hold(session: AsyncSession, *, order_id: UUID) -> None:
    """Release an order's hold, if it has one. Locks: the hold, then its account."""
    await effects.write(session, _SQL["release"], {"order_id": order_id})


async def open_balance_account(
    session: AsyncSession, *, book_id: UUID, owner_id: UUID, currency: str
) -> None:
    """Open an owner's balance account in a host's book, unless it is open already."""
    await effects.write(
        session, _SQL["open"], {"book_id": book_id, "owner_id": owner_id, "currency": currency}
    )
