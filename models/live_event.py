from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, Identity, PrimaryKeyConstraint, Text, Uuid, text
from sqlmodel import Field, SQLModel

from models.base import timestamp_field
from models.enums import LiveKind


class LiveEvent(SQLModel, table=True):
    """A change that subscribers are told about; the database writes it in the transaction of the change.

    Ordered by (xid, id), because a sequence alone does not follow the order of commits. The first row is a
    mark: events before it have been pruned. No CHECK on `kind`: it would be parsed with every posting.
    """

    __tablename__ = "live_event"
    __table_args__ = (PrimaryKeyConstraint("xid", "id"),)

    xid: int = Field(
        sa_column=Column(
            BigInteger, nullable=False, server_default=text("pg_current_xact_id()::text::bigint")
        )
    )
    """The database transaction that wrote it."""
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    kind: LiveKind = Field(sa_type=Text)
    node_id: UUID
    """The order, the transaction, or the user who was checked in."""
    collective_ids: list[UUID | None] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    """The collectives concerned: payer, payee, then others whose balance may have changed; or the event."""
    at: datetime = timestamp_field(default_now=True)
