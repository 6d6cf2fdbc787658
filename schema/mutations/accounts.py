"""A person's own password and sessions, and the platform's right to shut somebody out."""

from typing import Any

import strawberry

from resolvers import identity as resolve
from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.identity import ActiveSession
from schema.types.node import CollectiveRef, to_key
from schema.types.user import User
from services.core import public_ids
from services.identity import sessions, suspensions


@strawberry.input(description="The present password and the new one.")
class ChangePasswordInput:
    current_password: str = strawberry.field(description="Your present password.")
    new_password: str = strawberry.field(
        description="New password of 8 to 200 characters; the most common ones are refused."
    )


@strawberry.type(description="The user whose password was changed.")
class ChangePasswordPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The user whose password was changed.")


@strawberry.input(description="The session to end.")
class EndSessionInput:
    id: strawberry.ID = strawberry.field(description="ID of the session.")


@strawberry.type(description="The ended session.")
class EndSessionPayload(Payload):
    session: ActiveSession | None = strawberry.field(default=None, description="The ended session.")


@strawberry.type(description="The sessions that were ended.")
class EndOtherSessionsPayload(Payload):
    ended_count: int = strawberry.field(default=0, description="Number of sessions that were ended.")


@strawberry.input(description="The user to shut out.")
class SuspendUserInput:
    user: CollectiveRef = strawberry.field(description="The user to shut out.")
    reason: str = strawberry.field(description="Reason, at most 1,000 characters. Kept with the suspension.")


@strawberry.type(description="The suspended user.")
class SuspendUserPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The suspended user.")


@strawberry.input(description="The user to let in again.")
class ReinstateUserInput:
    user: CollectiveRef = strawberry.field(description="The user to let in again.")


@strawberry.type(description="The reinstated user.")
class ReinstateUserPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The reinstated user.")


@strawberry.type
class AccountMutations:
    @strawberry.mutation(
        description="Change your password. Your other sessions, your access tokens and mailed links end; a "
        "mail tells you. Refused for access tokens. Errors: INVALID_INPUT, INVALID_STATE, RATE_LIMITED after "
        "10 wrong passwords within 15 minutes."
    )
    async def change_password(self, info: Info, input: ChangePasswordInput) -> ChangePasswordPayload:
        async def work() -> dict[str, Any]:
            user = await resolve.change_password(
                info, current_password=input.current_password, new_password=input.new_password
            )
            return {"user": user}

        return await answer_payload(info, ChangePasswordPayload, work)

    @strawberry.mutation(
        description="End one of your sessions, such as that of a lost phone. Errors: INVALID_INPUT, "
        "NOT_FOUND."
    )
    async def end_session(self, info: Info, input: EndSessionInput) -> EndSessionPayload:
        async def work() -> dict[str, Any]:
            session_id = public_ids.decode("Session", input.id, field="id")
            current_id = info.context.actor.token_id
            row = await resolve.end_session(info, session_id=session_id)
            return {"session": sessions.OpenSession.of(row, current_id=current_id)}

        return await answer_payload(info, EndSessionPayload, work)

    @strawberry.mutation(description="End all your sessions but the present one.")
    async def end_other_sessions(self, info: Info) -> EndOtherSessionsPayload:
        async def work() -> dict[str, Any]:
            return {"ended_count": len(await info.context.run(sessions.end_other_sessions))}

        return await answer_payload(info, EndOtherSessionsPayload, work)

    @strawberry.mutation(
        description="Shut a user out: sessions, access tokens, mailed links and live subscriptions end at "
        "once, and nobody signs in until `reinstateUser`. History stays. Only for platform admins. Errors: "
        "INVALID_INPUT, INVALID_STATE, NOT_FOUND."
    )
    async def suspend_user(self, info: Info, input: SuspendUserInput) -> SuspendUserPayload:
        async def work() -> dict[str, Any]:
            user = await info.context.run(suspensions.suspend, user=to_key(input.user), reason=input.reason)
            return {"user": user}

        return await answer_payload(info, SuspendUserPayload, work)

    @strawberry.mutation(
        description="Let a suspended user sign in again. Only for platform admins. Errors: INVALID_STATE, "
        "NOT_FOUND."
    )
    async def reinstate_user(self, info: Info, input: ReinstateUserInput) -> ReinstateUserPayload:
        async def work() -> dict[str, Any]:
            return {"user": await info.context.run(suspensions.reinstate, user=to_key(input.user))}

        return await answer_payload(info, ReinstateUserPayload, work)
