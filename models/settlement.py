"""Settlements: payments from host to host."""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Text
from sqlmodel import Field, SQLModel


class SettlementSubject(StrEnum):
    """Debt that a settlement pays."""

    CLEARING = "CLEARING"
    """Debt of one host to the other from payments between their books."""
    PLATFORM_FEES = "PLATFORM_FEES"
    """Platform fees that the host kept for the platform."""


class Settlement(SQLModel, table=True):
    """The payment behind an order of type SETTLEMENT."""

    __table_args__ = (
        CheckConstraint("paid_minor > 0", name="paid_positive"),
        CheckConstraint("covers IN ('CLEARING', 'PLATFORM_FEES')", name="covers_known"),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="order.id")
    reference: str = Field(sa_type=Text)
    """The bank's reference, by which the creditor finds the payment."""
    paid_minor: int = Field(sa_type=BigInteger)
    """What the debtor's bank paid, in minor units of the debtor's currency."""
    covers: SettlementSubject = Field(sa_type=Text)
