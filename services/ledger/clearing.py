"""Clearing: what hosts owe each other for payments between their books."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Select,
    Text,
    Uuid,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective
from services.access.actor import ANONYMOUS, Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid, InvalidState, LimitExceeded
from services.core.money import UncheckedAmount, to_minor_or_zero
from services.core.pagination import Sort
from services.core.party import Party
from services.core.sql_files import read_clauses
from services.database.constraint_errors import CLEARING_LIMIT, constraint_name

_SQL = read_clauses(Path(__file__).parent / "sql" / "clearing.sql")


@dataclass(frozen=True)
class Clearing:
    """What a host and one counterpart owe each other in one currency."""

    counterpart_id: UUID
    currency: str
    owed_minor: int
    owes_minor: int
    limit_minor: int
    counterpart_limit_minor: int
    oldest_unsettled_at: datetime | None


@dataclass(frozen=True)
class ClearingDebt:
    """What one host owes another, by the age of what is not settled."""

    debtor_id: UUID
    creditor_id: UUID
    currency: str
    amount_minor: int
    days_0_to_30_minor: int
    days_31_to_60_minor: int
    days_61_to_90_minor: int
    older_minor: int


class ClearingExceeded(LimitExceeded):
    """A payment would take clearing beyond the creditor's limit."""


def limit_exceeded(*, debtor: Collective, creditor: Collective, field: str = "amount") -> ClearingExceeded:
    """Return the problem of a payment that would take clearing beyond the creditor's limit."""
    return ClearingExceeded(
        f"{debtor.slug} would owe {creditor.slug} more than {creditor.slug} allows."
        f" {debtor.slug} can settle what it owes (settleHosts),"
        f" or {creditor.slug} can raise its limit (setClearingLimit).",
        field=field,
    )


def explain_limit(
    error: DBAPIError, *, debtor: Collective | None, creditor: Collective | None, field: str = "amount"
) -> LimitExceeded | None:
    """Return the problem behind an error of the database, if it is that of the limit between two hosts."""
    if constraint_name(error) != CLEARING_LIMIT or debtor is None or creditor is None:
        return None
    return limit_exceeded(debtor=debtor, creditor=creditor, field=field)


def require_host(party: Party, *, field: str) -> Collective:
    """Require an approved host, and return it.

    Raises:
        InvalidState: the collective is none.
    """
    collective = require_collective(party)
    if party.host is None or party.host.id != collective.id:
        raise InvalidState(f"{collective.slug} is not an approved host.", field=field)
    return collective


async def set_clearing_limit(
    session: AsyncSession,
    actor: Actor,
    *,
    host: CollectiveKey,
    counterpart: CollectiveKey,
    amount: UncheckedAmount,
) -> Clearing:
    """Set how much a counterpart may owe a host at most, in the host's currency; zero for nothing.

    Locks: the host's clearing account.

    Raises:
        Invalid: the two are one, or the amount or its currency.
        InvalidState: one of them is not an approved host, or is archived.
    """
    parties = await resolve(session, actor, {"host": host, "counterpart": counterpart})
    require(actor, Action.SET_CLEARING_LIMIT, Subject(host=parties["host"].collective))
    creditor, debtor = (require_host(parties[name], field=name) for name in ("host", "counterpart"))
    for collective, field in ((creditor, "host"), (debtor, "counterpart")):
        require_open(collective, field=field)
    if creditor.id == debtor.id:
        raise Invalid("A host owes itself nothing. Choose another counterpart.", field="counterpart")
    limit_minor = to_minor_or_zero(amount, field="amount", currency=creditor.currency)
    await set_limit(
        session,
        host_id=creditor.id,
        counterpart_id=debtor.id,
        currency=creditor.currency,
        limit_minor=limit_minor,
    )
    rows = await _load(session, host_id=creditor.id, counterpart_id=debtor.id)
    return next(row for row in rows if row.currency == creditor.currency)


async def set_limit(
    session: AsyncSession, *, host_id: UUID, counterpart_id: UUID, currency: str, limit_minor: int
) -> None:
    """Let a counterpart owe a host up to `limit_minor` of the currency; no permission is checked.

    A limit below what is owed lets that stand, and nothing more. Locks: the host's clearing account.
    """
    await session.execute(
        _SQL["set_limit"],
        {
            "host_id": host_id,
            "counterpart_id": counterpart_id,
            "currency": currency,
            "limit_minor": limit_minor,
        },
    )


async def list_clearing(session: AsyncSession, actor: Actor, *, host: CollectiveKey) -> list[Clearing]:
    """List what a host and its counterparts owe each other, by the counterpart's slug and the currency."""
    collective = require_collective((await resolve(session, actor, {"host": host}))["host"])
    require(actor, Action.READ_CLEARING, Subject(collective=collective))
    return await _load(session, host_id=collective.id, counterpart_id=None)


@dataclass(frozen=True)
class ClearingFilter:
    """The host whose clearing accounts are listed, and one counterpart or all."""

    host_id: Any
    counterpart_id: UUID | None = None


_IN_ORDER: list[Any] = [literal_column(f'clearing.{name} COLLATE "C"') for name in ("slug", "currency")]
_PLACE: Any = func.row_number().over(order_by=_IN_ORDER)
BY_COUNTERPART = Sort("BY_COUNTERPART", _PLACE, _PLACE, descending=False)


def select_clearing(actor: Actor, *, where: ClearingFilter, owner: object = None) -> tuple[Select[Any]]:
    """Select what a host and its counterparts owe each other; no permission is checked."""
    del actor, owner  # who may name a host is up to the caller
    accounts = _to_table(
        "list",
        "clearing",
        {
            Uuid(): ("host_id", "counterpart_id"),
            Text(): ("slug", "currency"),
            BigInteger(): ("owed_minor", "owes_minor", "limit_minor", "counterpart_limit_minor"),
            DateTime(timezone=True): ("oldest_unsettled_at",),
        },
    )
    statement = select(accounts).where(accounts.c.host_id == where.host_id)
    if where.counterpart_id is not None:
        statement = statement.where(accounts.c.counterpart_id == where.counterpart_id)
    return (statement,)


async def _load(session: AsyncSession, *, host_id: UUID, counterpart_id: UUID | None) -> list[Clearing]:
    (statement,) = select_clearing(ANONYMOUS, where=ClearingFilter(host_id, counterpart_id))
    rows = await session.execute(statement.order_by(*_IN_ORDER))
    return [
        Clearing(
            row.counterpart_id,
            row.currency,
            owed_minor=row.owed_minor,
            owes_minor=row.owes_minor,
            limit_minor=row.limit_minor,
            counterpart_limit_minor=row.counterpart_limit_minor,
            oldest_unsettled_at=row.oldest_unsettled_at,
        )
        for row in rows
    ]


async def load_owed(session: AsyncSession, *, debtor: Collective, creditor: Collective) -> int:
    """Return what a host owes another, in minor units of the creditor's currency."""
    keys = {"debtor_id": debtor.id, "creditor_id": creditor.id, "currency": creditor.currency}
    return int(await session.scalar(_SQL["owed"], keys) or 0)


async def load_platform_fees(session: AsyncSession, *, debtor: Collective, platform: Collective) -> int:
    """Return what a host keeps for the platform, in minor units of the host's currency."""
    keys = {"debtor_id": debtor.id, "platform_id": platform.id, "currency": debtor.currency}
    return int(await session.scalar(_SQL["platform_fees"], keys) or 0)


_OF_DEBTS = ("creditor_slug", "debtor_slug", "currency")
_DEBTS_IN_ORDER: list[Any] = [literal_column(f'debt.{name} COLLATE "C"') for name in _OF_DEBTS]
_DEBT: Any = func.row_number().over(order_by=_DEBTS_IN_ORDER)
BY_CREDITOR = Sort("BY_CREDITOR", _DEBT, _DEBT, descending=False)


def select_ageing(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Any]]:
    """Select what hosts owe each other by its age; no permission is checked.

    The oldest debts count as settled first.
    """
    del actor, where, owner  # of all hosts
    ages = ("days_0_to_30_minor", "days_31_to_60_minor", "days_61_to_90_minor", "older_minor")
    columns: dict[Any, tuple[str, ...]] = {
        Uuid(): ("debtor_id", "creditor_id"),
        Text(): _OF_DEBTS,
        BigInteger(): ("amount_minor", *ages),
    }
    return (select(_to_table("ageing", "debt", columns)),)


async def load_ageing(session: AsyncSession) -> list[ClearingDebt]:
    """Load what hosts owe each other by its age, in one statement; no permission is checked.

    Order: by the creditor's slug, then the debtor's.
    """
    (statement,) = select_ageing(ANONYMOUS)
    return [
        ClearingDebt(
            row.debtor_id,
            row.creditor_id,
            row.currency,
            row.amount_minor,
            days_0_to_30_minor=row.days_0_to_30_minor,
            days_31_to_60_minor=row.days_31_to_60_minor,
            days_61_to_90_minor=row.days_61_to_90_minor,
            older_minor=row.older_minor,
        )
        for row in await session.execute(statement.order_by(*_DEBTS_IN_ORDER))
    ]


def _to_table(statement: str, name: str, columns: Mapping[Any, Sequence[str]]) -> Any:
    """Return a statement of the file as a table, with the names of its columns by type."""
    named = [column(each, type_) for type_, names in columns.items() for each in names]
    return _SQL[statement].columns(*named).subquery(name)
