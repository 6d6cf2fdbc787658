from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, Double, LargeBinary, Text
from sqlmodel import Field, SQLModel

from models.base import id_field, moment, one_of
from models.enums import EmailTokenPurpose, TokenKind


class Credential(SQLModel, table=True):
    """How a user signs in: apart from the collective, so that no public query can reach it."""

    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower"),)

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    email: str = Field(sa_type=Text, unique=True)
    password_hash: str | None = Field(default=None, sa_type=Text)
    """argon2id with its parameters; null until a password is set."""
    verified_at: datetime | None = moment(nullable=True)


class EmailToken(SQLModel, table=True):
    """A token sent by mail, kept as its SHA-256."""

    __tablename__ = "email_token"
    __table_args__ = (one_of("purpose", EmailTokenPurpose),)

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    purpose: EmailTokenPurpose = Field(sa_type=Text)
    password_hash: str | None = Field(default=None, sa_type=Text)
    """The password chosen with it; it counts only once the address is proved."""
    name: str | None = Field(default=None, sa_type=Text)
    """The name chosen with it, likewise."""
    created_at: datetime = moment(default_now=True)
    expires_at: datetime = moment()
    used_at: datetime | None = moment(nullable=True)


class Token(SQLModel, table=True):
    """A bearer token, kept as its SHA-256."""

    __table_args__ = (one_of("kind", TokenKind),)

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    kind: TokenKind = Field(sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    token_hash: bytes = Field(unique=True, sa_type=LargeBinary)
    scopes: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    created_at: datetime = moment(default_now=True)
    expires_at: datetime = moment()
    revoked_at: datetime | None = moment(nullable=True)


class Throttle(SQLModel, table=True):
    """How often something was tried in the current window."""

    key: str = Field(primary_key=True, sa_type=Text)
    attempts: int
    window_ends_at: datetime = moment()


class RateBucket(SQLModel, table=True):
    """How many points a user or a network address had at a moment; the table is not logged."""

    __tablename__ = "rate_bucket"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    key: str = Field(primary_key=True, sa_type=Text)
    level: float = Field(sa_type=Double)
    granted: float = Field(sa_type=Double)
    """How many points were leased last."""
    at: datetime = moment()
