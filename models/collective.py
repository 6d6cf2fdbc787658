from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.base import id_field, now, one_of, timestamp_field
from models.enums import CollectiveType, CreditPolicy, Locale, MemberRole, NamedBy, RequestStatus

REQUEST_DAYS = 30
"""Days after which a pending invitation or host application expires."""


def _expiry_field() -> Any:
    return Field(
        default_factory=lambda: now() + timedelta(days=REQUEST_DAYS),
        sa_type=DateTime(timezone=True),
        nullable=False,
        sa_column_kwargs={"server_default": text("now() + interval '30 days'")},
    )


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
        CheckConstraint("ends_at - starts_at <= interval '14 days'", name="event_duration"),
        CheckConstraint(
            "starts_at AT TIME ZONE 'UTC' >= created_at AT TIME ZONE 'UTC' - interval '1 year 1 day'",
            name="event_not_long_ago",
        ),
        CheckConstraint(
            "ends_at AT TIME ZONE 'UTC' <= updated_at AT TIME ZONE 'UTC' + interval '5 years 1 day'",
            name="event_not_far_ahead",
        ),
        CheckConstraint("capacity > 0", name="capacity_positive"),
        CheckConstraint("NOT is_platform OR type = 'NONPROFIT'", name="platform_is_nonprofit"),
        CheckConstraint("issuer_approved_at IS NULL OR type = 'NONPROFIT'", name="issuer_is_nonprofit"),
        CheckConstraint("cancelled_at IS NULL OR type = 'EVENT'", name="cancelled_is_event"),
        CheckConstraint(
            "merged_into_id IS NULL OR (type = 'USER' AND archived_at IS NOT NULL AND merged_into_id <> id)",
            name="merged_is_archived_user",
        ),
        CheckConstraint(
            "erased_at IS NULL OR (type = 'USER' AND archived_at IS NOT NULL)", name="erased_is_archived_user"
        ),
        one_of("credit_policy", CreditPolicy),
        one_of("locale", Locale),
        CheckConstraint("locale IS NULL OR type = 'USER'", name="locale_of_user"),
        CheckConstraint("host_id <> id OR type IN ('NONPROFIT', 'BUSINESS')", name="host_is_organization"),
        CheckConstraint(
            "host_suspended_at IS NULL OR (host_id IS NOT NULL AND host_id = id AND NOT is_platform)",
            name="suspended_is_host",
        ),
        CheckConstraint(
            "(host_suspended_at IS NULL) = (host_suspension_reason IS NULL)", name="suspension_reason"
        ),
        Index(
            "uq_collective_platform",
            "is_platform",
            unique=True,
            postgresql_where=text("is_platform"),
        ),
        CheckConstraint("tags_differ(tags)", name="tags_differ"),
        Index(
            "ix_collective_folded_tags",
            text("fold_tags(tags)"),
            postgresql_using="gin",
            postgresql_where=text("tags <> '{}'"),
        ),
        Index(
            "ix_collective_search",
            text("collective_words(name, slug, description, tags)"),
            postgresql_using="gin",
        ),
        Index("ix_collective_erased_at", "erased_at", postgresql_where=text("erased_at IS NOT NULL")),
        Index(
            "ix_collective_unclaimed",
            "created_at",
            postgresql_where=text("type = 'USER' AND claimed_at IS NULL AND archived_at IS NULL"),
        ),
        Index("ix_collective_name", "name", "id"),
        Index("ix_collective_type_created_at", "type", "created_at", "id"),
        Index("ix_collective_created_at", "created_at", "id", postgresql_where=text("archived_at IS NULL")),
        Index("ix_collective_parent_id", "parent_id", "starts_at", "id"),
        Index(
            "ix_collective_merged_into_id",
            "merged_into_id",
            postgresql_where=text("merged_into_id IS NOT NULL"),
        ),
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
    host_suspended_at: datetime | None = timestamp_field(nullable=True)
    """When the platform stopped new money in this host's book."""
    host_suspension_reason: str | None = Field(default=None, sa_type=Text)
    erased_at: datetime | None = timestamp_field(nullable=True)
    """When the person was erased; a pseudonym stands in the name."""
    locale: Locale | None = Field(default=None, sa_type=Text)
    """The language that a user chose."""


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
        one_of("named_by", NamedBy),
        CheckConstraint(
            "named_by IS NULL OR role IN ('ATTENDEE', 'WAITING', 'VOLUNTEER')", name="named_by_role"
        ),
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
            "ix_member_former_admin",
            "member_id",
            "until",
            postgresql_where=text("role = 'ADMIN' AND until IS NOT NULL"),
        ),
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
    named_by: NamedBy | None = Field(default=None, sa_type=Text)
    """How somebody else named the member, who has not agreed yet; null once they agreed."""


class Invitation(SQLModel, table=True):
    """An invitation to a role, and the invitee's answer; pending ones end at `expires_at`."""

    __table_args__ = (
        one_of("role", MemberRole),
        one_of("status", RequestStatus),
        CheckConstraint("status <> 'ACCEPTED' OR answered_at <= expires_at", name="accepted_in_time"),
        Index(
            "uq_invitation_pending",
            "collective_id",
            "user_id",
            "role",
            "by_email",
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
    expires_at: datetime = _expiry_field()


class HostApplication(SQLModel, table=True):
    """A collective's application to a host to hold its money, or to the platform to be a host itself.

    To be a host itself, the collective is its own host.
    """

    __tablename__ = "host_application"
    __table_args__ = (
        one_of("status", RequestStatus),
        CheckConstraint("status <> 'ACCEPTED' OR decided_at <= expires_at", name="accepted_in_time"),
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
    expires_at: datetime = _expiry_field()
