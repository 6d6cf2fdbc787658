"""Two users who are one, and which mails a person wants."""

from typing import Any

import strawberry

import models
from resolvers import commands
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, content, perform
from schema.types.collective import User
from schema.types.enums import Topic
from schema.types.node import CollectiveRef, ref
from services.access.collective_refs import named, resolve_one
from services.collectives import merge_users as merge_service
from services.core.errors import NotFound
from services.messaging import preferences


@strawberry.input(description="Two users who are one person.")
class MergeUsersInput(MoneyInput):
    from_: CollectiveRef = strawberry.field(name="from", description="Who becomes part of the other.")
    into: CollectiveRef = strawberry.field(description="Who remains.")


@strawberry.type(description="The user who remains.")
class MergeUsersPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The user.")


@strawberry.input(description="Which mails not to get.")
class MuteTopicsInput:
    topics: list[Topic] = strawberry.field(description="Exactly these are muted; none mutes nothing.")


@strawberry.type(description="What is muted now.")
class MuteTopicsPayload(Payload):
    topics: list[Topic] = strawberry.field(default_factory=list, description="The muted topics.")


@strawberry.type
class PeopleMutations:
    @strawberry.mutation(
        description="Make one user of two: balances, roles, invitations, address and slug of `from` go to "
        "`into`; `from` is archived with its history. For platform ADMINs. INVALID_STATE where `from` has an "
        "open order or a hold, or one of the two was merged before."
    )
    async def merge_users(self, info: Info, input: MergeUsersInput) -> MergeUsersPayload:
        async def merge() -> models.Collective:
            return await info.context.run(merge_service.merge, from_=ref(input.from_), into=ref(input.into))

        async def again(user_id: Any) -> models.Collective:
            user = await info.context.loaders.collective(user_id)
            if user is None:
                raise NotFound("There is no such user any more")
            return user

        async def work() -> dict[str, Any]:
            into = named(await info.context.run(resolve_one, ref(input.into), name="into"))
            user = await commands.once(
                info,
                mutation="mergeUsers",
                key=input.idempotency_key,
                payload=content(input),
                result_id=into.id,
                work=merge,
                replay=again,
            )
            return {"user": user}

        return await perform(info, MergeUsersPayload, work, dry_run=bool(input.dry_run))

    @strawberry.mutation(
        description="Choose the topics that you want no mail about. Mails that secure an account always come."
    )
    async def mute_topics(self, info: Info, input: MuteTopicsInput) -> MuteTopicsPayload:
        async def work() -> dict[str, Any]:
            return {"topics": await info.context.run(preferences.mute, topics=input.topics)}

        return await perform(info, MuteTopicsPayload, work)
