"""Merging of accounts, and muting of mail topics."""

from typing import Any

import strawberry

from resolvers import users as resolve
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, answer_payload, keyed_request
from schema.types.enums import Topic
from schema.types.node import CollectiveRef, to_key
from schema.types.user import User
from services.messaging import preferences


@strawberry.input(description="Two accounts of the same person.")
class MergeUsersInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(
        name="from", description="The account to merge into the other and archive."
    )
    into: CollectiveRef = strawberry.field(description="The account that remains.")


@strawberry.type(description="The user that remains, once the consents suffice.")
class MergeUsersPayload(Payload):
    user: User | None = strawberry.field(
        default=None, description="The user that remains. Null while another person has to consent."
    )
    is_merged: bool = strawberry.field(
        default=False,
        description="True once the accounts are merged, false while another person has to consent.",
    )


@strawberry.input(description="The topics on which to receive no mail.")
class MuteTopicsInput:
    topics: list[Topic] = strawberry.field(
        description="All topics to mute; they replace the previous ones. An empty list unmutes all topics."
    )


@strawberry.type(description="The topics that are muted now.")
class MuteTopicsPayload(Payload):
    topics: list[Topic] = strawberry.field(default_factory=list, description="The topics that are muted now.")


@strawberry.type
class UserMutations:
    @strawberry.mutation(
        description="Consent to merging two accounts of the same person. Once both persons, or two "
        "platform admins who are neither of them, have consented within seven days, balances, roles, "
        "invitations, email address and slug of `from` move to `into`; `from` is archived with its history. "
        "Allowed for either person and for platform admins. Errors: INVALID_STATE if `from` has an open "
        "order or a hold, or if either account was merged before."
    )
    async def merge_users(self, info: Info, input: MergeUsersInput) -> MergeUsersPayload:
        async def work() -> dict[str, Any]:
            result = await resolve.merge_users(
                info,
                keyed_request("mergeUsers", input),
                from_=to_key(input.from_),
                into=to_key(input.into),
            )
            user = result.user if result.is_merged else None
            return {"user": user, "is_merged": result.is_merged}

        return await answer_payload(info, MergeUsersPayload, work, dry_run=bool(input.dry_run))

    @strawberry.mutation(
        description="Choose the topics on which you receive no mail. Mails about the security of your "
        "account are always sent."
    )
    async def mute_topics(self, info: Info, input: MuteTopicsInput) -> MuteTopicsPayload:
        async def work() -> dict[str, Any]:
            return {"topics": await info.context.run(preferences.set_muted_topics, topics=input.topics)}

        return await answer_payload(info, MuteTopicsPayload, work)
