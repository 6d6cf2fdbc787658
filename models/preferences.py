from datetime import datetime
from uuid import UUID

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from models.base import one_of, timestamp_field
from models.enums import Topic


class MutedTopic(SQLModel, table=True):
    """A topic about which a user receives no email."""

    __tablename__ = "muted_topic"
    __table_args__ = (one_of("topic", Topic),)

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    topic: Topic = Field(primary_key=True, sa_type=Text)
    created_at: datetime = timestamp_field(default_now=True)
