"""Members, invitations and host applications."""

from datetime import datetime
from typing import Any

import strawberry

import models
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.enums import MemberRole, RequestStatus
from schema.types.fields import reference
from schema.types.node import Node, id_of, rows_of


@strawberry.type(description="That somebody has a role in a collective.")
class Member(Node):
    is_type_of = rows_of(models.Member)
    id: strawberry.ID = id_of("Member")
    role: MemberRole = strawberry.field(description="The role; one a row.")
    since: datetime = strawberry.field(description="Since when.")

    collective = reference(
        "collective", "collective_id", description="What it is a role in.", graphql_type=lazy.COLLECTIVE
    )

    member = reference(
        "collective", "member_id", description="Who has the role.", graphql_type=lazy.COLLECTIVE
    )


@strawberry.type(description="A page of members.")
class MemberConnection(Connection[Member]):
    pass


def hides_invitee(invitation: models.Invitation, info: Info) -> bool:
    """Whether the viewer would learn whose address it is that was invited."""
    return (
        invitation.by_email
        and invitation.status != RequestStatus.ACCEPTED
        and invitation.user_id != info.context.actor.id
    )


@strawberry.type(description="An offered role; the invitee and the collective's admins see it.")
class Invitation(Node):
    is_type_of = rows_of(models.Invitation)
    id: strawberry.ID = id_of("Invitation")
    role: MemberRole = strawberry.field(description="The role offered.")
    message: str | None = strawberry.field(description="What the inviting admin wrote.")
    status: RequestStatus = strawberry.field(description="Where it stands.")
    created_at: datetime = strawberry.field(description="When it was made.")
    answered_at: datetime | None = strawberry.field(description="When it was answered.")

    collective = reference(
        "collective",
        "collective_id",
        description="The collective that invites.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    @strawberry.field(
        description="The invitee; invited by address, to themselves until they say yes.",
        graphql_type=lazy.optional(lazy.USER),
    )
    async def user(root: strawberry.Parent[models.Invitation], info: Info) -> Any:
        if hides_invitee(root, info):
            return None
        return await info.context.loaders.collective(root.user_id)


@strawberry.type(description="A collective's request to be hosted; the admins of both sides see it.")
class HostApplication(Node):
    is_type_of = rows_of(models.HostApplication)
    id: strawberry.ID = id_of("HostApplication")
    message: str | None = strawberry.field(description="What the applicant wrote.")
    status: RequestStatus = strawberry.field(description="Where it stands.")
    reason: str | None = strawberry.field(description="Why it was declined, or a note.")
    created_at: datetime = strawberry.field(description="When it was made.")
    decided_at: datetime | None = strawberry.field(description="When it was decided.")

    collective = reference(
        "collective",
        "collective_id",
        description="The applicant.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    host = reference(
        "collective", "host_id", description="The host asked.", graphql_type=lazy.optional(lazy.COLLECTIVE)
    )
