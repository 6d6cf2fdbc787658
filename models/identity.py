from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, Double, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import EmailTokenPurpose, TokenKind


class Credential(SQLModel, table=True):
    """A user's sign-in data, kept out of the collective table so that no public query can reach it."""

    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower"),)

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    email: str = Field(sa_type=Text, unique=True)
    password_hash: str | None = Field(default=None, sa_type=Text)
    """An argon2id hash with its parameters; null until a password is set."""
    verified_at: datetime | None = timestamp_field(nullable=True)


class EmailToken(SQLModel, table=True):
    """A token sent by email, stored as its SHA-256."""

    __tablename__ = "email_token"
    __table_args__ = (one_of("purpose", EmailTokenPurpose),)

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    purpose: EmailTokenPurpose = Field(sa_type=Text)
    password_hash: str | None = Field(default=None, sa_type=Text)
    """Hash of the password chosen at sign-up; applied once the address is verified."""
    name: str | None = Field(default=None, sa_type=Text)
    """The name chosen at sign-up; applied once the address is verified."""
    created_at: datetime = timestamp_field(default_now=True)
    expires_at: datetime = timestamp_field()
    used_at: datetime | None = timestamp_field(nullable=True)


class Token(SQLModel, table=True):
    """A bearer token, stored as its SHA-256."""

    __table_args__ = (one_of("kind", TokenKind),)

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    kind: TokenKind = Field(sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    token_hash: bytes = Field(unique=True, sa_type=LargeBinary)
    scopes: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    created_at: datetime = timestamp_field(default_now=True)
    expires_at: datetime = timestamp_field()
    revoked_at: datetime | None = timestamp_field(nullable=True)


class Throttle(SQLModel, table=True):
    """The number of attempts per key in the current time window."""

    key: str = Field(primary_key=True, sa_type=Text)
    attempts: int
    window_ends_at: datetime = timestamp_field()


class RateBucket(SQLModel, table=True):
    """The rate-limit points of a user or network address at `at`. Unlogged: a crash refills all buckets."""

    __tablename__ = "rate_bucket"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    key: str = Field(primary_key=True, sa_type=Text)
    level: float = Field(sa_type=Double)
    granted: float = Field(sa_type=Double)
    """The size of the last lease, in points."""
    at: datetime = timestamp_field()


class MergedEmail(SQLModel, table=True):
    """A merged account's former address. It leads to the remaining account; nobody signs in with it."""

    __tablename__ = "merged_email"

    email: str = Field(primary_key=True, sa_type=Text)
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    created_at: datetime = timestamp_field(default_now=True)


class MergeConsent(SQLModel, table=True):
    """A person's consent to merging one user into another. Append-only."""

    __tablename__ = "merge_consent"
    __table_args__ = (Index("ix_merge_consent_from_id", "from_id", "into_id"),)

    id: UUID = id_field()
    from_id: UUID = Field(foreign_key="collective.id")
    into_id: UUID = Field(foreign_key="collective.id")
    by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
