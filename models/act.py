"""The audit log: every act that is no order, written by the database in the transaction of the act."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    PrimaryKeyConstraint,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import one_of, timestamp_field
from models.enums import ActChange, ActKind


class Act(SQLModel, table=True):
    """One change of one row: who made it, what was there before and after. Append-only, by triggers alone.

    Without foreign keys: the log neither waits for the rows that it names nor holds them up.
    """

    __table_args__ = (
        one_of("change", ActChange),
        CheckConstraint("actor_id IS NOT NULL OR token_id IS NULL", name="token_of_actor"),
        Index("ix_act_at", "at", "id"),
        Index("ix_act_network", "actor_id", postgresql_where=text("network IS NOT NULL")),
    )

    id: UUID = Field(
        sa_column=Column(Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    )
    at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    )
    kind: ActKind = Field(sa_type=Text)
    change: ActChange = Field(sa_type=Text)
    mutation: str | None = Field(default=None, sa_type=Text)
    """The mutation that made the change; several of one operation with commas."""
    actor_id: UUID | None = None
    """The person; null for commands, jobs and statements by hand."""
    token_id: UUID | None = None
    """The session or access token; null where a person signs in."""
    token_kind: str | None = Field(default=None, sa_type=Text)
    network: str | None = Field(default=None, sa_type=Text)
    """The network address; for IPv6 its /64 network."""
    database_role: str = Field(sa_type=Text)
    collective_id: UUID | None = None
    """The collective or person that the changed row belongs to."""
    other_id: UUID | None = None
    """The second one that it concerns, such as the member of a role."""
    is_security: bool
    """True for what the security log of a person shows."""
    old_values: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """The changed columns before."""
    new_values: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """The changed columns after."""
    hidden_columns: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    """Columns that changed and whose values are kept out: secrets, and what is private to a person."""
    xid: int = Field(
        sa_column=Column(
            BigInteger, nullable=False, server_default=text("pg_current_xact_id()::text::bigint")
        )
    )
    """The database transaction, by which the acts of one mutation belong together."""


class ActSubject(SQLModel, table=True):
    """Those whose logs show an act, in the order in which the logs are paged. Append-only."""

    __tablename__ = "act_subject"
    __table_args__ = (
        PrimaryKeyConstraint("collective_id", "at", "act_id"),
        Index(
            "ix_act_subject_security",
            "collective_id",
            "at",
            "act_id",
            postgresql_where=text("is_security"),
        ),
    )

    collective_id: UUID
    at: datetime = timestamp_field()
    act_id: UUID
    is_security: bool
