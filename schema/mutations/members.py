"""Invitations to roles, removal of members, and following."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.collective import Collective
from schema.types.enums import MemberRole
from schema.types.member import Invitation, Member
from schema.types.node import CollectiveRef, to_key, to_optional_key
from services.collectives import invitations, members
from services.core import public_ids


@strawberry.input(description="An invitation to a role.")
class InviteMemberInput:
    collective: CollectiveRef = strawberry.field(description="The collective. You must be an admin of it.")
    role: MemberRole = strawberry.field(description="Role to offer: ADMIN, MEMBER or ACCOUNTANT.")
    user: CollectiveRef | None = strawberry.field(
        default=None, description="The user to invite. Give either this or `email`."
    )
    email: str | None = strawberry.field(
        default=None, description="Email address of the invitee, who need not have an account yet."
    )
    message: str | None = strawberry.field(default=None, description="Message to the invitee.")


@strawberry.type(description="The new invitation, PENDING.")
class InviteMemberPayload(Payload):
    invitation: Invitation | None = strawberry.field(default=None, description="The new invitation.")


@strawberry.input(description="The answer to an invitation.")
class RespondToInvitationInput:
    id: strawberry.ID = strawberry.field(description="ID of the invitation.")
    accept: bool = strawberry.field(description="True to accept, false to decline.")


@strawberry.type(description="The answered invitation.")
class RespondToInvitationPayload(Payload):
    invitation: Invitation | None = strawberry.field(default=None, description="The answered invitation.")
    member: Member | None = strawberry.field(default=None, description="Your new role, if you accepted.")


@strawberry.input(description="The invitation to withdraw.")
class WithdrawInvitationInput:
    id: strawberry.ID = strawberry.field(description="ID of the invitation.")


@strawberry.type(description="The withdrawn invitation.")
class WithdrawInvitationPayload(Payload):
    invitation: Invitation | None = strawberry.field(default=None, description="The withdrawn invitation.")


@strawberry.input(description="The role to end.")
class RemoveMemberInput:
    id: strawberry.ID = strawberry.field(description="ID of the member, mem_…")


@strawberry.type(description="The ended role.")
class RemoveMemberPayload(Payload):
    member: Member | None = strawberry.field(default=None, description="The former member.")


@strawberry.input(description="The collective to follow.")
class FollowCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="The collective to follow.")


@strawberry.type(description="The role of a follower.")
class FollowCollectivePayload(Payload):
    member: Member | None = strawberry.field(default=None, description="Your FOLLOWER role.")


@strawberry.input(description="The collective to unfollow.")
class UnfollowCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="The collective to unfollow.")


@strawberry.type(description="The collective no longer followed.")
class UnfollowCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(
        default=None, description="The collective no longer followed."
    )


@strawberry.type
class MemberMutations:
    @strawberry.mutation(
        description="Invite a user or an email address to a role. Allowed for admins of the collective. "
        "Errors: CONFLICT."
    )
    async def invite_member(self, info: Info, input: InviteMemberInput) -> InviteMemberPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                invitations.invite,
                collective=to_key(input.collective),
                role=input.role,
                user=to_optional_key(input.user),
                email=input.email,
                message=input.message,
            )
            return {"invitation": row}

        return await answer_payload(info, InviteMemberPayload, work)

    @strawberry.mutation(description="Accept or decline an invitation to you, once. Errors: INVALID_STATE.")
    async def respond_to_invitation(
        self,
        info: Info,
        input: RespondToInvitationInput,
    ) -> RespondToInvitationPayload:
        async def work() -> dict[str, Any]:
            invitation_id = public_ids.decode("Invitation", input.id, field="id")
            invitation, member = await info.context.run(
                invitations.respond, invitation_id=invitation_id, accept=input.accept
            )
            return {"invitation": invitation, "member": member}

        return await answer_payload(info, RespondToInvitationPayload, work)

    @strawberry.mutation(
        description="Withdraw a pending invitation. Allowed for admins of the collective that sent it. "
        "Errors: INVALID_STATE."
    )
    async def withdraw_invitation(
        self,
        info: Info,
        input: WithdrawInvitationInput,
    ) -> WithdrawInvitationPayload:
        async def work() -> dict[str, Any]:
            invitation_id = public_ids.decode("Invitation", input.id, field="id")
            row = await info.context.run(invitations.withdraw, invitation_id=invitation_id)
            return {"invitation": row}

        return await answer_payload(info, WithdrawInvitationPayload, work)

    @strawberry.mutation(
        description="End a role: your own, or anybody's if you are an admin. The last admin cannot leave. "
        "Errors: INVALID_STATE."
    )
    async def remove_member(self, info: Info, input: RemoveMemberInput) -> RemoveMemberPayload:
        async def work() -> dict[str, Any]:
            member_id = public_ids.decode("Member", input.id, field="id")
            return {"member": await info.context.run(members.remove, member_id=member_id)}

        return await answer_payload(info, RemoveMemberPayload, work)

    @strawberry.mutation(description="Follow a collective. Following again succeeds without effect.")
    async def follow_collective(
        self,
        info: Info,
        input: FollowCollectiveInput,
    ) -> FollowCollectivePayload:
        async def work() -> dict[str, Any]:
            return {"member": await info.context.run(members.follow, collective=to_key(input.collective))}

        return await answer_payload(info, FollowCollectivePayload, work)

    @strawberry.mutation(description="Stop following a collective.")
    async def unfollow_collective(
        self,
        info: Info,
        input: UnfollowCollectiveInput,
    ) -> UnfollowCollectivePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(members.unfollow, collective=to_key(input.collective))
            return {"collective": row}

        return await answer_payload(info, UnfollowCollectivePayload, work)
