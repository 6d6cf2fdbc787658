from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from models.base import timestamp_field


class DemoLoad(SQLModel, table=True):
    """The loading of the demo world, at most one row: half a world is one without an end."""

    __tablename__ = "demo_load"
    __table_args__ = (CheckConstraint("is_only", name="is_only"),)

    is_only: bool = Field(default=True, primary_key=True, sa_column_kwargs={"server_default": "true"})
    started_at: datetime = timestamp_field(default_now=True)
    finished_at: datetime | None = timestamp_field(nullable=True)
