"""Settlements: payments from host to host."""

from datetime import date
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, text
from sqlmodel import Field, SQLModel


class SettlementSubject(StrEnum):
    """Debt that a settlement pays."""

    CLEARING = "CLEARING"
    """Debt of one host to the other from payments between their books."""
    PLATFORM_FEES = "PLATFORM_FEES"
    """Fees and tips that the host kept for the platform."""


class Settlement(SQLModel, table=True):
    """The payment behind an order of type SETTLEMENT."""

    __table_args__ = (
        CheckConstraint("paid_minor > 0", name="paid_positive"),
        CheckConstraint("covers IN ('CLEARING', 'PLATFORM_FEES')", name="covers_known"),
        CheckConstraint(
            "num_nulls(host_id, month, fees_minor, tips_minor) = 4"
            " OR num_nulls(host_id, month, fees_minor, tips_minor) = 0 AND covers = 'PLATFORM_FEES'"
            " AND month = date_trunc('month', month::timestamp)::date AND fees_minor >= 0 AND tips_minor >= 0"
            " AND fees_minor + tips_minor = paid_minor",
            name="month_whole",
        ),
        Index(
            "uq_settlement_host_id_month",
            "host_id",
            "month",
            unique=True,
            postgresql_where=text("month IS NOT NULL"),
        ),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="order.id")
    reference: str = Field(sa_type=Text)
    """The bank's reference, by which the creditor finds the payment."""
    paid_minor: int = Field(sa_type=BigInteger)
    """What the debtor's bank paid, in minor units of the debtor's currency."""
    covers: SettlementSubject = Field(sa_type=Text)
    host_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The debtor of a monthly settlement, which the server has asked for."""
    month: date | None = None
    """First day of the month until whose end the settlement goes."""
    fees_minor: int | None = Field(default=None, sa_type=BigInteger)
    tips_minor: int | None = Field(default=None, sa_type=BigInteger)
    """What the host kept as fees and as tips. Units: minor, of the debtor's currency."""
