from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from models.base import id_field, timestamp_field


class DataExport(SQLModel, table=True):
    """A copy of what the database holds of a person, made on request; its file is kept for 24 hours."""

    __tablename__ = "data_export"
    __table_args__ = (
        CheckConstraint(
            "(finished_at IS NULL) = (expires_at IS NULL)"
            " AND expires_at <= finished_at + interval '24 hours'",
            name="expires_within_a_day",
        ),
        CheckConstraint("downloaded_at IS NULL OR downloaded_at <= expires_at", name="downloaded_in_time"),
        Index("uq_data_export_waiting", "user_id", unique=True, postgresql_where=text("finished_at IS NULL")),
        Index("ix_data_export_kept", "created_at", postgresql_where=text("removed_at IS NULL")),
    )

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    finished_at: datetime | None = timestamp_field(nullable=True)
    expires_at: datetime | None = timestamp_field(nullable=True)
    downloaded_at: datetime | None = timestamp_field(nullable=True)
    """When the file was fetched first."""
    removed_at: datetime | None = timestamp_field(nullable=True)
    """When the file was deleted."""
