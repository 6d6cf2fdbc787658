from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, Identity, PrimaryKeyConstraint, Text, Uuid, text
from sqlmodel import Field, SQLModel

from models.base import moment
from models.enums import LiveKind


class LiveEvent(SQLModel, table=True):
    """That something changed, for those who watch; written by the database itself, in the same transaction.

    In order of (xid, id): a sequence alone is not in the order of commits. The first row is a mark: what was
    before it has been pruned. Of a kind that no CHECK proves, which would be parsed with every posting.
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
    """The order, the transaction, or the user who came to an event."""
    collective_ids: list[UUID | None] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    """Whom it concerns: payer and payee first, then who else's balance may have changed; or the event."""
    at: datetime = moment(default_now=True)
