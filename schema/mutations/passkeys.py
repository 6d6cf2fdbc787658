"""Passkeys: adding and removing them, and signing in by one alone."""

from typing import Any

import strawberry

from resolvers import factors as resolve
from resolvers.context import Info
from schema.mutations.factors import CODES
from schema.mutations.payload import Payload, answer_payload
from schema.mutations.session_payload import to_session_payload
from schema.types.factors import Passkey
from schema.types.identity import Session
from schema.types.user import User
from services.core import public_ids
from services.identity import passkeys

OPTIONS = "Options for the browser's `navigator.credentials`, as JSON. Answer them once, within 5 minutes."


@strawberry.type(description="The options for a new passkey.")
class BeginPasskeyRegistrationPayload(Payload):
    options: str | None = strawberry.field(default=None, description=OPTIONS)


@strawberry.input(description="The passkey to add.")
class RegisterPasskeyInput:
    credential: str = strawberry.field(
        description="Answer of the browser to `beginPasskeyRegistration`, as JSON."
    )
    name: str = strawberry.field(description="Name of your choice, such as that of the device.")


@strawberry.type(description="The added passkey.")
class RegisterPasskeyPayload(Payload):
    passkey: Passkey | None = strawberry.field(default=None, description="The added passkey.")
    recovery_codes: list[str] = strawberry.field(default_factory=list, description=CODES)


@strawberry.input(description="The new name of a passkey.")
class RenamePasskeyInput:
    id: strawberry.ID = strawberry.field(description="ID of the passkey.")
    name: str = strawberry.field(description="New name of the passkey.")


@strawberry.type(description="The renamed passkey.")
class RenamePasskeyPayload(Payload):
    passkey: Passkey | None = strawberry.field(default=None, description="The renamed passkey.")


@strawberry.input(description="The passkey to remove.")
class RemovePasskeyInput:
    id: strawberry.ID = strawberry.field(description="ID of the passkey.")


@strawberry.type(description="The removed passkey.")
class RemovePasskeyPayload(Payload):
    passkey: Passkey | None = strawberry.field(default=None, description="The removed passkey.")


@strawberry.input(description="The sign-in that a passkey is to complete, if there is one.")
class BeginPasskeySignInInput:
    challenge: str | None = strawberry.field(
        default=None, description="Token of the sign-in to complete. Null to sign in by the passkey alone."
    )


@strawberry.type(description="The options for a sign-in by passkey.")
class BeginPasskeySignInPayload(Payload):
    options: str | None = strawberry.field(default=None, description=OPTIONS)


@strawberry.type(description="The options for a confirmation by passkey.")
class BeginPasskeyConfirmationPayload(Payload):
    options: str | None = strawberry.field(default=None, description=OPTIONS)


@strawberry.input(description="The proof by a passkey.")
class SignInWithPasskeyInput:
    credential: str = strawberry.field(description="Answer of the browser to `beginPasskeySignIn`, as JSON.")


@strawberry.type(description="The signed-in user and the session.")
class SignInWithPasskeyPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The signed-in user.")
    session: Session | None = strawberry.field(default=None, description="The new session.")


@strawberry.type
class PasskeyMutations:
    @strawberry.mutation(
        description="Get the options for a new passkey, of at most 20. Refused for access tokens. Errors: "
        "CONFIRMATION_REQUIRED, LIMIT_EXCEEDED."
    )
    async def begin_passkey_registration(self, info: Info) -> BeginPasskeyRegistrationPayload:
        async def work() -> dict[str, Any]:
            return {"options": await resolve.begin_passkey_registration(info)}

        return await answer_payload(info, BeginPasskeyRegistrationPayload, work)

    @strawberry.mutation(
        description="Add a passkey, which is a second factor and signs in by itself; a mail tells you. "
        "Refused for access tokens. Errors: CONFLICT, INVALID_INPUT."
    )
    async def register_passkey(self, info: Info, input: RegisterPasskeyInput) -> RegisterPasskeyPayload:
        async def work() -> dict[str, Any]:
            row, codes = await resolve.register_passkey(info, credential=input.credential, name=input.name)
            return {"passkey": row, "recovery_codes": codes}

        return await answer_payload(info, RegisterPasskeyPayload, work)

    @strawberry.mutation(
        description="Rename one of your passkeys. Refused for access tokens. Errors: INVALID_INPUT, "
        "NOT_FOUND."
    )
    async def rename_passkey(self, info: Info, input: RenamePasskeyInput) -> RenamePasskeyPayload:
        async def work() -> dict[str, Any]:
            passkey_id = public_ids.decode("Passkey", input.id, field="id")
            row = await info.context.run(passkeys.rename, passkey_id=passkey_id, name=input.name)
            return {"passkey": row}

        return await answer_payload(info, RenamePasskeyPayload, work)

    @strawberry.mutation(
        description="Remove one of your passkeys; a mail tells you. Refused for access tokens. Errors: "
        "CONFIRMATION_REQUIRED, INVALID_INPUT, NOT_FOUND."
    )
    async def remove_passkey(self, info: Info, input: RemovePasskeyInput) -> RemovePasskeyPayload:
        async def work() -> dict[str, Any]:
            passkey_id = public_ids.decode("Passkey", input.id, field="id")
            row = await info.context.run(passkeys.remove, passkey_id=passkey_id)
            return {"passkey": row}

        return await answer_payload(info, RemovePasskeyPayload, work)

    @strawberry.mutation(
        description="Get the options for a sign-in by passkey, alone or as the second factor. Errors: "
        "NOT_FOUND if the sign-in is over, RATE_LIMITED after 100 from a network address within 15 minutes."
    )
    async def begin_passkey_sign_in(
        self, info: Info, input: BeginPasskeySignInInput
    ) -> BeginPasskeySignInPayload:
        async def work() -> dict[str, Any]:
            return {"options": await resolve.begin_passkey_sign_in(info, challenge=input.challenge)}

        return await answer_payload(info, BeginPasskeySignInPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Sign in by a passkey alone, on a device that verifies you. Errors: INVALID_INPUT, "
        "INVALID_STATE."
    )
    async def sign_in_with_passkey(
        self, info: Info, input: SignInWithPasskeyInput
    ) -> SignInWithPasskeyPayload:
        async def work() -> dict[str, Any]:
            started = await resolve.sign_in_with_passkey(info, credential=input.credential)
            return await to_session_payload(info, started)

        return await answer_payload(info, SignInWithPasskeyPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Get the options for a `confirmSession` by passkey. Refused for access tokens."
    )
    async def begin_passkey_confirmation(self, info: Info) -> BeginPasskeyConfirmationPayload:
        async def work() -> dict[str, Any]:
            return {"options": await resolve.begin_passkey_confirmation(info)}

        return await answer_payload(info, BeginPasskeyConfirmationPayload, work)
