from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import CollectiveType, CreditPolicy, MemberRole, RequestStatus


class Collective(SQLModel, table=True):
    """Any entity: user, community, nonprofit, business or event."""

    __table_args__ = (
        one_of("type", CollectiveType),
        CheckConstraint(
            "slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) BETWEEN 2 AND 64", name="slug_form"
        ),
        CheckConstraint("host_fee_bps BETWEEN 0 AND 10000", name="host_fee_bps_range"),
        CheckConstraint(
            "(type = 'EVENT') = (starts_at IS NOT NULL) AND (type = 'EVENT') = (ends_at IS NOT NULL)",
            name="event_has_times",
        ),
        CheckConstraint("type <> 'EVENT' OR parent_id IS NOT NULL", name="event_has_parent"),
        CheckConstraint("ends_at > starts_at", name="event_ends_after_start"),
        CheckConstraint("capacity > 0", name="capacity_positive"),
        CheckConstraint("NOT is_platform OR type = 'NONPROFIT'", name="platform_is_nonprofit"),
        CheckConstraint("issuer_approved_at IS NULL OR type = 'NONPROFIT'", name="issuer_is_nonprofit"),
        CheckConstraint("cancelled_at IS NULL OR type = 'EVENT'", name="cancelled_is_event"),
        CheckConstraint(
            "merged_into_id IS NULL OR (type = 'USER' AND archived_at IS NOT NULL AND merged_into_id <> id)",
            name="merged_is_archived_user",
        ),
        one_of("credit_policy", CreditPolicy),
        Index(
            "uq_collective_platform",
            "is_platform",
            unique=True,
            postgresql_where=text("is_platform"),
        ),
        Index("ix_collective_type_created_at", "type", "created_at", "id"),
        Index("ix_collective_parent_id", "parent_id", "starts_at", "id"),
    )

    id: UUID = id_field()
    slug: str = Field(sa_type=Text, unique=True)
    type: CollectiveType = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    legal_name: str | None = Field(default=None, sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    website: str | None = Field(default=None, sa_type=Text)
    location: str | None = Field(default=None, sa_type=Text)
    timezone: str | None = Field(default=None, sa_type=Text)
    image_url: str | None = Field(default=None, sa_type=Text)
    tags: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    currency: str = Field(sa_type=Text, foreign_key="currency.code")
    host_id: UUID | None = Field(default=None, foreign_key="collective.id", index=True)
    host_approved_at: datetime | None = timestamp_field(nullable=True)
    parent_id: UUID | None = Field(default=None, foreign_key="collective.id")
    host_fee_bps: int | None = None
    """The rate its host charges this collective; null means the host's default rate."""
    settings: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    is_platform: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """The one nonprofit that runs this installation."""
    starts_at: datetime | None = timestamp_field(nullable=True)
    ends_at: datetime | None = timestamp_field(nullable=True)
    capacity: int | None = None
    is_public: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    """False hides an event from everyone but its members and its parent's admins."""
    credit_policy: str | None = Field(default=None, sa_type=Text)
    coordinator_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The contact person for an event's attendees."""
    cancelled_at: datetime | None = timestamp_field(nullable=True)
    """When the event was cancelled."""
    issuer_approved_at: datetime | None = timestamp_field(nullable=True)
    """When a nonprofit was approved to issue currents."""
    merged_into_id: UUID | None = Field(default=None, foreign_key="collective.id")
    """The user into whom this account was merged."""
    claimed_at: datetime | None = timestamp_field(nullable=True)
    """When the user verified the email address; null for a user known by email alone."""
    archived_at: datetime | None = timestamp_field(nullable=True)
    created_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    updated_at: datetime = timestamp_field(default_now=True)


class SlugRedirect(SQLModel, table=True):
    """A former slug of a collective; it keeps redirecting there."""

    __tablename__ = "slug_redirect"

    slug: str = Field(primary_key=True, sa_type=Text)
    collective_id: UUID = Field(foreign_key="collective.id", index=True)
    created_at: datetime = timestamp_field(default_now=True)


class Member(SQLModel, table=True):
    """`member` holds `role` in `collective` from `since` to `until`; null is open-ended."""

    __table_args__ = (
        one_of("role", MemberRole),
        CheckConstraint("until >= since", name="until_after_since"),
        Index(
            "uq_member_open",
            "collective_id",
            "member_id",
            "role",
            unique=True,
            postgresql_where=text("until IS NULL"),
        ),
        # In the order in which lists are paged: a page reads only the rows that it returns.
        Index("ix_member_member_id", "member_id", "since", "id", postgresql_where=text("until IS NULL")),
        Index(
            "ix_member_collective_id",
            "collective_id",
            "since",
            "id",
            postgresql_where=text("until IS NULL"),
        ),
    )

    id: UUID = id_field()
    collective_id: UUID = Field(foreign_key="collective.id")
    member_id: UUID = Field(foreign_key="collective.id")
    role: MemberRole = Field(sa_type=Text)
    since: datetime = timestamp_field(default_now=True)
    until: datetime | None = timestamp_field(nullable=True)
    created_by_id: UUID | None = Field(default=None, foreign_key="collective.id")


class Invitation(SQLModel, table=True):
    """An invitation to a role, and the invitee's answer."""

    __table_args__ = (
        one_of("role", MemberRole),
        one_of("status", RequestStatus),
        Index(
            "uq_invitation_pending",
            "collective_id",
            "user_id",
            "role",
            unique=True,
            postgresql_where=text("status = 'PENDING'"),
        ),
    )

    id: UUID = id_field()
    collective_id: UUID = Field(foreign_key="collective.id")
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    role: MemberRole = Field(sa_type=Text)
    by_email: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if invited by address: the user behind it stays hidden until they accept."""
    message: str | None = Field(default=None, sa_type=Text)
    status: RequestStatus = Field(default=RequestStatus.PENDING, sa_type=Text)
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    answered_at: datetime | None = timestamp_field(nullable=True)


class HostApplication(SQLModel, table=True):
    """A collective's application to a host to hold its money."""

    __tablename__ = "host_application"
    __table_args__ = (
        one_of("status", RequestStatus),
        Index(
            "uq_host_application_pending",
            "collective_id",
            unique=True,
            postgresql_where=text("status = 'PENDING'"),
        ),
        Index("ix_host_application_host_id", "host_id", "status"),
    )

    id: UUID = id_field()
    collective_id: UUID = Field(foreign_key="collective.id")
    host_id: UUID = Field(foreign_key="collective.id")
    message: str | None = Field(default=None, sa_type=Text)
    status: RequestStatus = Field(default=RequestStatus.PENDING, sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    created_by_id: UUID = Field(foreign_key="collective.id")
    decided_by_id: UUID | None = Field(default=None, foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
    decided_at: datetime | None = timestamp_field(nullable=True)
