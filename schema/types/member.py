"""Members, invitations and host applications."""

from datetime import datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import collectives as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.enums import MemberRole, RequestStatus
from schema.types.fields import shaped, to_one
from schema.types.node import Node, id_field, is_row_of
from services.access import visibility
from services.sql_json.shape import ToOne


@strawberry.type(description="A role that one collective holds in another.")
class Member(Node):
    is_type_of = is_row_of(models.Member)
    id: strawberry.ID = id_field("Member")
    role: MemberRole = strawberry.field(
        description="The member's role. A member with several roles has a row for each."
    )
    since: datetime = strawberry.field(description="When the role began.")

    collective = to_one(
        Loaders.collective,
        "collective_id",
        description="The collective in which the role is held.",
        graphql_type=lazy.COLLECTIVE,
    )

    member = to_one(
        Loaders.collective,
        "member_id",
        description="The person or collective that holds the role.",
        graphql_type=lazy.COLLECTIVE,
    )


@strawberry.type(description="A page of members.")
class MemberConnection(Connection[Member]):
    pass


@strawberry.type(description="An invitation to a role. Visible to the invitee and the collective's admins.")
class Invitation(Node):
    is_type_of = is_row_of(models.Invitation)
    id: strawberry.ID = id_field("Invitation")
    role: MemberRole = strawberry.field(description="Role offered to the invitee.")
    message: str | None = strawberry.field(description="Message from the admin who sent the invitation.")
    status: RequestStatus = strawberry.field(description="Status of the invitation.")
    created_at: datetime = strawberry.field(description="When the invitation was sent.")
    answered_at: datetime | None = strawberry.field(
        description="When the invitee answered, or the invitation ended otherwise."
    )
    expires_at: datetime = strawberry.field(
        description="When the invitation ends if it is still PENDING: 30 days after it was sent."
    )

    collective = to_one(
        Loaders.collective,
        "collective_id",
        description="The collective that sent the invitation.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    @strawberry.field(
        description="The invited user. If invited by email address, visible only to themselves until they "
        "accept.",
        graphql_type=lazy.nullable(lazy.USER),
    )
    @shaped(ToOne("collective", "user_id", is_shown=visibility.invitee_is_visible))
    async def user(root: strawberry.Parent[models.Invitation], info: Info) -> models.Collective | None:
        return await resolve.load_invitee(root, info)


@strawberry.type(
    description="A collective's application to a host, or to the platform to be a host itself. Visible to "
    "the admins of both sides and of the platform."
)
class HostApplication(Node):
    is_type_of = is_row_of(models.HostApplication)
    id: strawberry.ID = id_field("HostApplication")
    message: str | None = strawberry.field(description="Message from the applicant.")
    status: RequestStatus = strawberry.field(description="Status of the application.")
    reason: str | None = strawberry.field(description="Reason for declining, or a note on the decision.")
    created_at: datetime = strawberry.field(description="When the application was made.")
    decided_at: datetime | None = strawberry.field(
        description="When the host or the platform decided, or the application ended otherwise."
    )
    expires_at: datetime = strawberry.field(
        description="When the application ends if it is still PENDING: 30 days after it was made."
    )

    collective = to_one(
        Loaders.collective,
        "collective_id",
        description="The collective that applies.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    host = to_one(
        Loaders.collective,
        "host_id",
        description="The host applied to; the applicant itself if it applies to be a host.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )
