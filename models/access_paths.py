"""How people get at their account: changes of address, devices, and identities of other providers."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.base import id_field, timestamp_field


class EmailChange(SQLModel, table=True):
    """A change of a user's address: asked for, confirmed from the new one, undone from the old one."""

    __tablename__ = "email_change"
    __table_args__ = (
        CheckConstraint("old_email <> new_email", name="differs"),
        CheckConstraint("new_email = lower(new_email) AND old_email = lower(old_email)", name="lower"),
        CheckConstraint(
            "(confirmed_at IS NULL) = (undo_hash IS NULL) AND (confirmed_at IS NULL) = (undo_until IS NULL)",
            name="confirmed",
        ),
        CheckConstraint("confirmed_at <= expires_at", name="confirmed_in_time"),
        CheckConstraint("undo_until <= confirmed_at + interval '7 days'", name="undo_until"),
        CheckConstraint(
            "undone_at IS NULL OR (confirmed_at IS NOT NULL AND undone_at <= undo_until)",
            name="undone_in_time",
        ),
        Index(
            "uq_email_change_waiting",
            "user_id",
            unique=True,
            postgresql_where=text("confirmed_at IS NULL AND ended_at IS NULL"),
        ),
        Index("ix_email_change_session_id", "session_id", postgresql_where=text("session_id IS NOT NULL")),
        Index("ix_email_change_old_email", "old_email", postgresql_where=text("confirmed_at IS NOT NULL")),
    )

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    old_email: str = Field(sa_type=Text)
    new_email: str = Field(sa_type=Text)
    token_hash: bytes = Field(unique=True, sa_type=LargeBinary)
    session_id: UUID | None = Field(default=None, foreign_key="token.id")
    """The session that asked, which goes on when the change is confirmed."""
    created_at: datetime = timestamp_field(default_now=True)
    expires_at: datetime = timestamp_field()
    ended_at: datetime | None = timestamp_field(nullable=True)
    """When it was replaced, withdrawn, or overtaken by the undoing of an earlier change."""
    confirmed_at: datetime | None = timestamp_field(nullable=True)
    undo_hash: bytes | None = Field(default=None, unique=True, sa_type=LargeBinary)
    undo_until: datetime | None = timestamp_field(nullable=True)
    undone_at: datetime | None = timestamp_field(nullable=True)


class Device(SQLModel, table=True):
    """A browser in which a user has signed in, recognised by a cookie; its key is stored as SHA-256."""

    __table_args__ = (UniqueConstraint("user_id", "key_hash"),)

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id")
    key_hash: bytes = Field(sa_type=LargeBinary)
    name: str | None = Field(default=None, sa_type=Text)
    """What the browser called itself at the latest sign-in."""
    network: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = timestamp_field(default_now=True)
    last_used_at: datetime = timestamp_field(default_now=True)


class Identity(SQLModel, table=True):
    """A user's identity at another provider, with which they can sign in."""

    __table_args__ = (
        UniqueConstraint("issuer", "subject"),
        CheckConstraint("subject <> '' AND length(subject) <= 255 AND issuer <> ''", name="subject"),
    )

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    issuer: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    """The address that the provider gave, verified or not."""
    created_at: datetime = timestamp_field(default_now=True)
    last_used_at: datetime = timestamp_field(default_now=True)


class ProviderSignIn(SQLModel, table=True):
    """A sign-in with a provider under way: bound to one browser, used once."""

    __tablename__ = "provider_sign_in"
    __table_args__ = (
        CheckConstraint(r"next_path ~ '^/([^/\\]|$)'", name="next_path"),
        CheckConstraint("used_at <= expires_at", name="used_in_time"),
        CheckConstraint("subject IS NULL OR used_at IS NOT NULL", name="proved"),
        Index(
            "ix_provider_sign_in_session_id", "session_id", postgresql_where=text("session_id IS NOT NULL")
        ),
    )

    state_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    browser_hash: bytes = Field(sa_type=LargeBinary)
    provider: str = Field(sa_type=Text)
    next_path: str = Field(sa_type=Text)
    user_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The signed-in user who links the identity; null for a sign-in."""
    session_id: UUID | None = Field(default=None, foreign_key="token.id")
    created_at: datetime = timestamp_field(default_now=True)
    expires_at: datetime = timestamp_field(index=True)
    used_at: datetime | None = timestamp_field(nullable=True)
    subject: str | None = Field(default=None, sa_type=Text)
    """The proved identity, while it waits for the password of the account to link."""
    email: str | None = Field(default=None, sa_type=Text)
    ended_at: datetime | None = timestamp_field(nullable=True)
