"""What the platform owes: dollars for redemptions, outstanding currents, and the debts between hosts."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Select, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Order, Redemption
from models.enums import LedgerAccountKind, OrderStatus, OrderType
from services.access import visibility
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.pagination import Sort
from services.ledger import clearing
from services.ledger.clearing import ClearingDebt
from services.ledger.transaction_amounts import CURRENTS

DOLLARS = "USD"


@dataclass(frozen=True)
class IssuerLiability:
    """Currents that an issuer has outstanding."""

    issuer_id: UUID
    amount_minor: int


@dataclass(frozen=True)
class LiabilityReport:
    """Dollars that the platform owes and has available, currents outstanding, and debts between hosts."""

    owed_minor: int
    owed_count: int
    available_minor: int
    outstanding_total_minor: int
    outstanding: list[IssuerLiability]
    clearing: list[ClearingDebt]


def _in_platform_book(currency: str, kind: LedgerAccountKind) -> Any:
    """Return the condition for the accounts of a currency and kind in the platform's book."""
    platform_id = select(col(Collective.id)).where(col(Collective.is_platform)).scalar_subquery()
    return (
        (col(LedgerAccount.book_id) == platform_id)
        & (col(LedgerAccount.currency) == currency)
        & (col(LedgerAccount.kind) == kind)
    )


def select_report(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Any]]:
    """Select the report's sums: one row for the platform's accountants, none for others."""
    del where, owner  # there is one report
    unpaid = (
        select(func.coalesce(func.sum(col(Redemption.usd_gross_minor)), 0), func.count())
        .select_from(Order)
        .join(Redemption, col(Redemption.order_id) == Order.id)
        .where(col(Order.type) == OrderType.REDEMPTION, col(Order.status) == OrderStatus.APPROVED)
        .subquery("unpaid")
    )
    owed, count = unpaid.c
    available = select(_total(col(LedgerAccount.posted) - col(LedgerAccount.held))).where(
        _in_platform_book(DOLLARS, LedgerAccountKind.BALANCE),
        col(LedgerAccount.owner_id) == col(LedgerAccount.book_id),
    )
    outstanding = select(_total(-col(LedgerAccount.posted))).where(
        _in_platform_book(CURRENTS, LedgerAccountKind.ISSUANCE)
    )
    statement = select(
        cast(owed, BigInteger).label("owed_minor"),
        count.label("owed_count"),
        available.scalar_subquery().label("available_minor"),
        outstanding.scalar_subquery().label("outstanding_total_minor"),
    ).where(visibility.liability_is_visible(actor))
    return (statement,)


def _total(amount: Any) -> Any:
    return cast(func.coalesce(func.sum(amount), 0), BigInteger)


_PLACE: Any = func.row_number().over(order_by=(col(LedgerAccount.posted), col(Collective.slug)))
LARGEST_FIRST = Sort("LARGEST_FIRST", _PLACE, _PLACE, descending=False)


def select_outstanding(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Any]]:
    """Select what issuers have outstanding; no permission is checked."""
    del actor, where, owner  # the report itself is visible or not
    columns: tuple[Any, ...] = (
        col(LedgerAccount.owner_id).label("issuer_id"),
        (-col(LedgerAccount.posted)).label("amount_minor"),
    )
    issued = (
        select(*columns)
        .join(Collective, col(Collective.id) == LedgerAccount.owner_id)
        .where(_in_platform_book(CURRENTS, LedgerAccountKind.ISSUANCE), col(LedgerAccount.posted) != 0)
    )
    return (issued,)


async def report_liability(session: AsyncSession, actor: Actor) -> LiabilityReport:
    """Report what is owed and outstanding, to the platform's accountants; three statements."""
    require(actor, Action.READ_LIABILITY)
    (report,) = select_report(actor)
    sums = (await session.execute(report)).one()
    (issued,) = select_outstanding(actor)
    rows = await session.execute(issued.order_by(col(LedgerAccount.posted), col(Collective.slug)))
    outstanding = [IssuerLiability(*row) for row in rows]
    return LiabilityReport(
        owed_minor=sums.owed_minor,
        owed_count=sums.owed_count,
        available_minor=sums.available_minor,
        outstanding_total_minor=sums.outstanding_total_minor,
        outstanding=outstanding,
        clearing=await clearing.load_ageing(session),
    )
