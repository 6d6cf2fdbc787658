"""Invitations, leaving and following."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, perform
from schema.types.collective import Collective
from schema.types.enums import MemberRole
from schema.types.member import Invitation, Member
from schema.types.node import CollectiveRef, ref, ref_or_none
from services.collectives import members
from services.core import public_ids


@strawberry.input(description="An offer of a role.")
class InviteMemberInput:
    collective: CollectiveRef = strawberry.field(description="You are ADMIN of it.")
    role: MemberRole = strawberry.field(description="ADMIN, MEMBER or ACCOUNTANT.")
    user: CollectiveRef | None = strawberry.field(default=None, description="Who; or an email.")
    email: str | None = strawberry.field(
        default=None, description="The address of somebody who need not be here yet."
    )
    message: str | None = strawberry.field(default=None, description="A message to the invitee.")


@strawberry.type(description="The invitation, PENDING.")
class InviteMemberPayload(Payload):
    invitation: Invitation | None = strawberry.field(default=None, description="The invitation.")


@strawberry.input(description="The answer to an invitation.")
class RespondToInvitationInput:
    id: strawberry.ID = strawberry.field(description="The invitation.")
    accept: bool = strawberry.field(description="Yes or no.")


@strawberry.type(description="The answered invitation.")
class RespondToInvitationPayload(Payload):
    invitation: Invitation | None = strawberry.field(default=None, description="The invitation.")
    member: Member | None = strawberry.field(default=None, description="Your role, after a yes.")


@strawberry.input(description="A role to end.")
class RemoveMemberInput:
    id: strawberry.ID = strawberry.field(description="The member's id, mem_…")


@strawberry.type(description="The ended role.")
class RemoveMemberPayload(Payload):
    member: Member | None = strawberry.field(default=None, description="The member that was.")


@strawberry.input(description="A collective to follow.")
class FollowCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="Which one.")


@strawberry.type(description="Following.")
class FollowCollectivePayload(Payload):
    member: Member | None = strawberry.field(default=None, description="Your role FOLLOWER.")


@strawberry.input(description="A collective to follow no more.")
class UnfollowCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="Which one.")


@strawberry.type(description="Not following.")
class UnfollowCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The collective.")


@strawberry.type
class MemberMutations:
    @strawberry.mutation(
        description="Offer a role to a user or an address. For ADMINs of the collective. CONFLICT."
    )
    async def invite_member(self, info: Info, input: InviteMemberInput) -> InviteMemberPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                members.invite,
                collective=ref(input.collective),
                role=input.role,
                user=ref_or_none(input.user),
                email=input.email,
                message=input.message,
            )
            return {"invitation": row}

        return await perform(info, InviteMemberPayload, work)

    @strawberry.mutation(description="Answer an invitation to you, once. INVALID_STATE.")
    async def respond_to_invitation(
        self,
        info: Info,
        input: RespondToInvitationInput,
    ) -> RespondToInvitationPayload:
        async def work() -> dict[str, Any]:
            invitation_id = public_ids.decode("Invitation", input.id, path=["input", "id"])
            invitation, member = await info.context.run(
                members.respond, invitation_id=invitation_id, accept=input.accept
            )
            return {"invitation": invitation, "member": member}

        return await perform(info, RespondToInvitationPayload, work)

    @strawberry.mutation(
        description="End a role: your own, or as an ADMIN anybody's. The last ADMIN cannot leave. "
        "INVALID_STATE."
    )
    async def remove_member(self, info: Info, input: RemoveMemberInput) -> RemoveMemberPayload:
        async def work() -> dict[str, Any]:
            member_id = public_ids.decode("Member", input.id, path=["input", "id"])
            return {"member": await info.context.run(members.remove, member_id=member_id)}

        return await perform(info, RemoveMemberPayload, work)

    @strawberry.mutation(description="Follow a collective; following already is well, too.")
    async def follow_collective(
        self,
        info: Info,
        input: FollowCollectiveInput,
    ) -> FollowCollectivePayload:
        async def work() -> dict[str, Any]:
            return {"member": await info.context.run(members.follow, collective=ref(input.collective))}

        return await perform(info, FollowCollectivePayload, work)

    @strawberry.mutation(description="Follow a collective no more.")
    async def unfollow_collective(
        self,
        info: Info,
        input: UnfollowCollectiveInput,
    ) -> UnfollowCollectivePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(members.unfollow, collective=ref(input.collective))
            return {"collective": row}

        return await perform(info, UnfollowCollectivePayload, work)
