"""Tiers and goals: what a collective asks its givers for."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Index, Text, text
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import GiftInterval, GoalKind, TierPricing, TierType


class Tier(SQLModel, table=True):
    """A way to give to a collective or an event's parent, in `currency`. Archived, never deleted."""

    __table_args__ = (
        one_of("type", TierType),
        one_of("pricing", TierPricing),
        one_of("interval", GiftInterval),
        CheckConstraint("interval IS NULL OR type <> 'TICKET'", name="ticket_sold_once"),
        CheckConstraint(
            "amount_minor > 0 AND minimum_minor > 0 AND goal_minor > 0 AND 0 < ALL (presets_minor)",
            name="amounts_positive",
        ),
        CheckConstraint(
            "pricing <> 'FIXED' OR amount_minor IS NOT NULL AND minimum_minor IS NULL"
            " AND presets_minor = '{}'",
            name="fixed_has_amount",
        ),
        CheckConstraint(
            "amount_minor >= minimum_minor AND coalesce(minimum_minor, 0) <= ALL (presets_minor)",
            name="at_least_minimum",
        ),
        CheckConstraint("cardinality(presets_minor) <= 6", name="few_presets"),
        CheckConstraint("capacity > 0 AND max_per_person > 0", name="capacity_positive"),
        CheckConstraint("sold >= 0 AND sold <= coalesce(capacity, sold)", name="sold_within_capacity"),
        CheckConstraint("closes_at > opens_at", name="closes_after_opening"),
        Index("ix_tier_collective_id", "collective_id", "position", "id"),
    )

    id: UUID = id_field()
    collective_id: UUID = Field(foreign_key="collective.id")
    type: TierType = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    pricing: TierPricing = Field(sa_type=Text)
    currency: str = Field(sa_type=Text, foreign_key="currency.code")
    amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    """The price of one, or what is suggested if the amount is the giver's choice."""
    minimum_minor: int | None = Field(default=None, sa_type=BigInteger)
    presets_minor: list[int] = Field(
        default_factory=list, sa_column=Column(ARRAY(BigInteger), nullable=False, server_default="{}")
    )
    """Amounts that pages offer beside the giver's own."""
    capacity: int | None = None
    max_per_person: int | None = None
    goal_minor: int | None = Field(default=None, sa_type=BigInteger)
    sold: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Places taken by open and paid orders and by recurring gifts that go on; the database counts them."""
    opens_at: datetime | None = timestamp_field(nullable=True)
    closes_at: datetime | None = timestamp_field(nullable=True)
    position: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    archived_at: datetime | None = timestamp_field(nullable=True)
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)
    interval: GiftInterval | None = Field(default=None, sa_type=Text)
    """How often a gift in the tier repeats; null for gifts that are given once."""


class Goal(SQLModel, table=True):
    """An amount that a collective wants to hold or to raise. Ended, never changed."""

    __table_args__ = (
        one_of("kind", GoalKind),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index(
            "uq_goal_open", "collective_id", "kind", unique=True, postgresql_where=text("ended_at IS NULL")
        ),
    )

    id: UUID = id_field()
    collective_id: UUID = Field(foreign_key="collective.id")
    kind: GoalKind = Field(sa_type=Text)
    currency: str = Field(sa_type=Text, foreign_key="currency.code")
    amount_minor: int = Field(sa_type=BigInteger)
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    ended_at: datetime | None = timestamp_field(nullable=True)
