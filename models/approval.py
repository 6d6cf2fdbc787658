"""Approval by two people: from which amount, and who has approved so far."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, text
from sqlmodel import Field, SQLModel

from models.base import id_field, timestamp_field


class ApprovalPolicy(SQLModel, table=True):
    """The amount above which a collective, a host or the platform wants two people. Append-only.

    Of the rows that are in force, the one written last counts.
    """

    __tablename__ = "approval_policy"
    __table_args__ = (
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        Index("ix_approval_policy_collective_id", "collective_id", "created_at", "id"),
    )

    id: UUID = id_field()
    collective_id: UUID = Field(foreign_key="collective.id")
    currency: str = Field(sa_type=Text, foreign_key="currency.code")
    amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    """Minor units of the currency; null ends the policy."""
    valid_from: datetime = timestamp_field(default_now=True)
    """At once for a stricter policy, a day later for a laxer one."""
    created_at: datetime = timestamp_field(default_now=True)
    created_by_id: UUID = Field(foreign_key="collective.id")


class Approval(SQLModel, table=True):
    """One person's approval of a pending order that two have to approve."""

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        Index(
            "uq_approval_open",
            "order_id",
            "approver_id",
            unique=True,
            postgresql_where=text("voided_at IS NULL"),
        ),
    )

    id: UUID = id_field()
    order_id: UUID = Field(foreign_key="order.id")
    approver_id: UUID = Field(foreign_key="collective.id")
    amount: int = Field(sa_type=BigInteger)
    """The approved amount, in minor units of the order's currency."""
    created_at: datetime = timestamp_field(default_now=True)
    voided_at: datetime | None = timestamp_field(nullable=True)
    """When an edit of the order ended the approval."""
