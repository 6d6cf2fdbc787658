"""Changing the email address of an account, and undoing that."""

from typing import Any

import strawberry

from resolvers import email_changes as resolve
from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.user import User


@strawberry.input(description="The new email address.")
class ChangeEmailInput:
    email: str = strawberry.field(
        description="The new email address. It takes effect once the mailed link is used."
    )


@strawberry.type(description="The user whose email address is to be changed.")
class ChangeEmailPayload(Payload):
    user: User | None = strawberry.field(
        default=None, description="The user, still with the present address; see `pendingEmail`."
    )


@strawberry.input(description="The proof that a new email address is yours.")
class ConfirmEmailChangeInput:
    token: str = strawberry.field(description="Token mailed to the new address. Valid once, for 2 days.")


@strawberry.type(description="The user whose email address was changed.")
class ConfirmEmailChangePayload(Payload):
    user: User | None = strawberry.field(
        default=None, description="The user whose email address was changed."
    )


@strawberry.input(description="The proof that an email address was yours.")
class UndoEmailChangeInput:
    token: str = strawberry.field(description="Token mailed to the old address. Valid once, for 7 days.")


@strawberry.type(description="The user who has the old email address again.")
class UndoEmailChangePayload(Payload):
    user: User | None = strawberry.field(
        default=None, description="The user who has the old email address again."
    )


@strawberry.type
class EmailChangeMutations:
    @strawberry.mutation(
        description="Ask to change your email address: a link is mailed to the new one, and the present one "
        "is told. A change that waits already is replaced; a reset or change of the password ends it. If the "
        "address belongs to another account, its owner is told and the response is the same. Refused for "
        "access tokens. Errors: INVALID_INPUT, RATE_LIMITED after 5 mails to an email address or by a user, "
        "or 100 from a network address, within an hour."
    )
    async def change_email(self, info: Info, input: ChangeEmailInput) -> ChangeEmailPayload:
        async def work() -> dict[str, Any]:
            return {"user": await resolve.request_change(info, email=input.email)}

        return await answer_payload(info, ChangeEmailPayload, work)

    @strawberry.mutation(
        description="Change the email address with the token mailed to the new one. All sessions but the "
        "one that asked, all access tokens and all mailed links end; the old address gets a link that undoes "
        "the change for 7 days. Errors: CONFLICT if the address became another account's meanwhile, "
        "NOT_FOUND."
    )
    async def confirm_email_change(
        self, info: Info, input: ConfirmEmailChangeInput
    ) -> ConfirmEmailChangePayload:
        async def work() -> dict[str, Any]:
            return {"user": await resolve.confirm_change(info, token=input.token)}

        return await answer_payload(info, ConfirmEmailChangePayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Take the old email address back with the token mailed to it, within 7 days. All "
        "sessions, access tokens and later changes of the address end; so do a password, second factors and "
        "identities of other providers that were set since. A link for a new password is mailed. "
        "Errors: NOT_FOUND."
    )
    async def undo_email_change(self, info: Info, input: UndoEmailChangeInput) -> UndoEmailChangePayload:
        async def work() -> dict[str, Any]:
            return {"user": await resolve.undo_change(info, token=input.token)}

        return await answer_payload(info, UndoEmailChangePayload, work, for_anybody=True)
