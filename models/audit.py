"""The ledger's audits: what each complete run found, and how far each account has been checked."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Identity, PrimaryKeyConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import timestamp_field


class AuditRun(SQLModel, table=True):
    """A complete audit of the ledger. Append-only; the newest row has the highest id."""

    __tablename__ = "audit_run"

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    is_full: bool
    """True if everything was read, not only what had been added since the last run."""
    transactions: int = Field(sa_type=BigInteger)
    postings: int = Field(sa_type=BigInteger)
    violations: int = Field(sa_type=BigInteger)
    counts: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """The number of violations of each check, by its name."""
    started_at: datetime = timestamp_field()
    """Time of the snapshot that was read."""
    finished_at: datetime = timestamp_field()
    last_full_at: datetime | None = timestamp_field(nullable=True)
    """Time of the last run that read everything; this one counts."""
    continue_from: datetime | None = timestamp_field(nullable=True)
    """The next run reads what was recorded since then; null makes it read everything."""


class AuditedAccount(SQLModel, table=True):
    """How far an account's postings have been checked without a violation."""

    __tablename__ = "audited_account"
    # No foreign key to the account: it would lock the rows of busy accounts.
    __table_args__ = (PrimaryKeyConstraint("book_id", "account_id"),)

    book_id: UUID
    account_id: int = Field(sa_type=BigInteger)
    seq: int = Field(sa_type=BigInteger)
    """The last posting that was checked."""
    balance: int = Field(sa_type=BigInteger)
    """The balance after it, in minor units."""
