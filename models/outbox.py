from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Index, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import id_field, timestamp_field


class Outbox(SQLModel, table=True):
    """An email to send, written in the transaction of the event that it reports."""

    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        CheckConstraint("lane IN (0, 1)", name="lane_known"),
        Index("ix_outbox_recipient", "recipient", "created_at"),
        Index(
            "ix_outbox_ended",
            "created_at",
            postgresql_where=text("delivered_at IS NOT NULL OR failed_at IS NOT NULL"),
        ),
        Index(
            "ix_outbox_waiting",
            "lane",
            "created_at",
            postgresql_where=text("delivered_at IS NULL AND failed_at IS NULL"),
        ),
        Index(
            "ix_outbox_due",
            "lane",
            "next_attempt_at",
            "id",
            postgresql_where=text("delivered_at IS NULL AND failed_at IS NULL"),
        ),
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
    failed_at: datetime | None = timestamp_field(nullable=True)
    """When the mail server refused the mail for good."""
    lane: int = Field(default=1, sa_type=SmallInteger, sa_column_kwargs={"server_default": "1"})
    """0 for mails that secure an account, which wait for no others; 1 for all others."""
    sender_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The user whose act caused the mail; null for the server's own work."""
    is_to_stranger: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if nobody has signed up with the recipient's address: the mail says how to stop it."""


class MailStop(SQLModel, table=True):
    """An address that got mail before anybody signed up with it, and whether it stopped that."""

    __tablename__ = "mail_stop"

    address: str = Field(primary_key=True, sa_type=Text)
    token: str = Field(sa_type=Text, unique=True)
    """In the links of its mails. Whoever knows it can stop mails, and nothing else."""
    created_at: datetime = timestamp_field(default_now=True)
    stopped_at: datetime | None = timestamp_field(nullable=True)
