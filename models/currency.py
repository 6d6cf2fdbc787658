from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Numeric, Text
from sqlmodel import Field, SQLModel

from models.base import id_field, moment, one_of
from models.enums import CurrencyKind


class Currency(SQLModel, table=True):
    """A currency by ISO 4217, or CUR, the time currency."""

    __table_args__ = (
        one_of("kind", CurrencyKind),
        CheckConstraint("exponent BETWEEN 0 AND 4", name="exponent_range"),
    )

    code: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    exponent: int
    """How many decimal places the minor unit has: JPY 0, USD 2, KWD 3."""
    kind: CurrencyKind = Field(sa_type=Text)


class FxRate(SQLModel, table=True):
    """One unit of `base` in units of `quote` (major units), from a moment on. Never changed."""

    __tablename__ = "fx_rate"
    __table_args__ = (
        CheckConstraint("rate > 0", name="rate_positive"),
        CheckConstraint("base <> quote", name="two_currencies"),
        Index("uq_fx_rate_base_quote_valid_from", "base", "quote", "valid_from", unique=True),
    )

    id: UUID = id_field()
    base: str = Field(foreign_key="currency.code", sa_type=Text)
    quote: str = Field(foreign_key="currency.code", sa_type=Text)
    rate: Decimal = Field(sa_type=Numeric)
    valid_from: datetime = moment()
    source: str = Field(sa_type=Text)
    """Who says so: ECB, or the platform admin's slug."""


class PlatformPolicy(SQLModel, table=True):
    """What the platform charges, from a moment on; each order keeps what held when it was made."""

    __tablename__ = "platform_policy"
    __table_args__ = (CheckConstraint("platform_fee_bps BETWEEN 0 AND 10000", name="platform_fee_bps_range"),)

    id: UUID = id_field()
    valid_from: datetime = moment(default_now=True, index=True)
    platform_fee_bps: int = 0
    created_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
