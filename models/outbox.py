from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import id_field, timestamp_field


class Outbox(SQLModel, table=True):
    """An email to send, written in the transaction of the event that it reports."""

    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        Index("ix_outbox_due", "next_attempt_at", "id", postgresql_where=text("delivered_at IS NULL")),
    )

    id: UUID = id_field()
    template: str = Field(sa_type=Text)
    recipient: str = Field(sa_type=Text)
    """The email address."""
    payload: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """The template's values; cleared on delivery if they contain a token."""
    order_id: UUID | None = Field(default=None, foreign_key="order.id")
    created_at: datetime = timestamp_field(default_now=True)
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    next_attempt_at: datetime = timestamp_field(default_now=True)
    delivered_at: datetime | None = timestamp_field(nullable=True)
    last_error: str | None = Field(default=None, sa_type=Text)
