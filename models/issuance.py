from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Text
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import CapPeriod


class IssuanceCap(SQLModel, table=True):
    """The most currents a nonprofit may issue per period, from `valid_from` on. Append-only."""

    __tablename__ = "issuance_cap"
    __table_args__ = (
        one_of("period", CapPeriod),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        Index("ix_issuance_cap_nonprofit_id", "nonprofit_id", "valid_from", "id"),
    )

    id: UUID = id_field()
    nonprofit_id: UUID = Field(foreign_key="collective.id")
    period: CapPeriod = Field(sa_type=Text)
    amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    """Minor units of CUR; null removes the cap."""
    valid_from: datetime = timestamp_field(default_now=True)
    created_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
