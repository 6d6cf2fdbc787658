from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from models.base import timestamp_field


class Attendance(SQLModel, table=True):
    """A user's attendance at an event, with the order that credits the hours."""

    __table_args__ = (CheckConstraint("checked_out_at >= checked_in_at", name="out_after_in"),)

    event_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    order_id: UUID = Field(foreign_key="order.id", unique=True)
    checked_in_at: datetime = timestamp_field(default_now=True)
    checked_in_by_id: UUID = Field(foreign_key="collective.id")
    checked_out_at: datetime | None = timestamp_field(nullable=True)
