from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    text,
)
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import EmailTokenPurpose, Locale, Proof, TokenKind


class Credential(SQLModel, table=True):
    """A user's sign-in data, kept out of the collective table so that no public query can reach it."""

    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_lower"),
        one_of("browser_locale", Locale),
    )

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    email: str = Field(sa_type=Text, unique=True)
    password_hash: str | None = Field(default=None, sa_type=Text)
    """An argon2id hash with its parameters; null until a password is set."""
    verified_at: datetime | None = timestamp_field(nullable=True)
    browser_locale: Locale | None = Field(default=None, sa_type=Text)
    """The language that the person's browser asked for; for those who chose none."""


class EmailToken(SQLModel, table=True):
    """A token sent by email, stored as its SHA-256."""

    __tablename__ = "email_token"
    __table_args__ = (one_of("purpose", EmailTokenPurpose),)

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    purpose: EmailTokenPurpose = Field(sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    """The name chosen at sign-up; applied once the address is verified."""
    created_at: datetime = timestamp_field(default_now=True)
    expires_at: datetime = timestamp_field(index=True)
    used_at: datetime | None = timestamp_field(nullable=True)


class Token(SQLModel, table=True):
    """A bearer token, stored as its SHA-256."""

    __table_args__ = (
        one_of("kind", TokenKind),
        CheckConstraint("factor IN ('TOTP', 'PASSKEY', 'RECOVERY_CODE')", name="factor_known"),
        CheckConstraint("parent_id IS NULL OR kind = 'ACCESS' AND parent_id <> id", name="parent"),
        Index("ix_token_device_id", "device_id", postgresql_where=text("device_id IS NOT NULL")),
        Index("ix_token_revoked_at", "revoked_at", postgresql_where=text("revoked_at IS NOT NULL")),
        Index("ix_token_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
    )

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    kind: TokenKind = Field(sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    token_hash: bytes = Field(unique=True, sa_type=LargeBinary)
    scopes: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    created_at: datetime = timestamp_field(default_now=True)
    expires_at: datetime = timestamp_field(index=True)
    revoked_at: datetime | None = timestamp_field(nullable=True)
    last_used_at: datetime = timestamp_field(default_now=True)
    """To the hour, so that not every request writes."""
    device: str | None = Field(default=None, sa_type=Text)
    """What the browser or program called itself at sign-in."""
    network: str | None = Field(default=None, sa_type=Text)
    """The network address of the sign-in; for IPv6 its /64 network."""
    confirmed_at: datetime = timestamp_field(default_now=True)
    """When the person last showed who they are."""
    factor: Proof | None = Field(default=None, sa_type=Text)
    """The second factor of the sign-in, or the passkey."""
    device_id: UUID | None = Field(
        default=None, sa_column=Column(ForeignKey("device.id", ondelete="SET NULL"), nullable=True)
    )
    """The browser of a session, if it is known by its cookie."""
    parent_id: UUID | None = Field(default=None, foreign_key="token.id")
    """The access token with which this one was made, and with which it ends."""


class ViewerVersion(SQLModel, table=True):
    """A number that rises with each change of what a user's tokens may do; no row means zero."""

    __tablename__ = "viewer_version"
    __table_args__ = (
        CheckConstraint("version > 0", name="counts"),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    version: int = Field(sa_type=BigInteger)


class Suspension(SQLModel, table=True):
    """The time during which a user is shut out; open until the platform reinstates them."""

    __table_args__ = (
        CheckConstraint("reason <> ''", name="reason"),
        CheckConstraint("by_id <> user_id AND ended_by_id <> user_id", name="by_another"),
        CheckConstraint("(ended_at IS NULL) = (ended_by_id IS NULL)", name="ended"),
        Index("uq_suspension_open", "user_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id")
    by_id: UUID = Field(foreign_key="collective.id")
    reason: str = Field(sa_type=Text)
    created_at: datetime = timestamp_field(default_now=True)
    ended_at: datetime | None = timestamp_field(nullable=True)
    ended_by_id: UUID | None = Field(default=None, foreign_key="collective.id")


class Throttle(SQLModel, table=True):
    """The number of attempts per key in the current time window."""

    __table_args__ = (Index("ix_throttle_window_ends_at", "window_ends_at"),)

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
