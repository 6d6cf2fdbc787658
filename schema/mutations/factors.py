"""Second factors: the second step of a sign-in, confirming a session, and authenticator apps."""

from typing import Any

import strawberry

from resolvers import factors as resolve
from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.mutations.session_payload import to_session_payload
from schema.types.collective import Collective
from schema.types.identity import ActiveSession, Session
from schema.types.node import CollectiveRef, to_key
from schema.types.user import User
from services.identity import factor_requirements, recovery_codes, sessions, totp

CODES = "Recovery codes, shown only once, if this is the first factor: each replaces it once. Else empty."


@strawberry.input(description="A sign-in to complete, and exactly one second factor.")
class CompleteSignInInput:
    challenge: str = strawberry.field(description="Token of the sign-in to complete.")
    code: str | None = strawberry.field(
        default=None, description="Six digits that the authenticator app displays."
    )
    recovery_code: str | None = strawberry.field(default=None, description="One of the recovery codes.")
    passkey: str | None = strawberry.field(
        default=None, description="Answer of the browser to `beginPasskeySignIn`, as JSON."
    )


@strawberry.type(description="The signed-in user and the session.")
class CompleteSignInPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The signed-in user.")
    session: Session | None = strawberry.field(default=None, description="The new session.")


@strawberry.input(description="Exactly one proof of who you are: the password only without a second factor.")
class ConfirmSessionInput:
    password: str | None = strawberry.field(default=None, description="Password of your account.")
    code: str | None = strawberry.field(
        default=None, description="Six digits that the authenticator app displays."
    )
    recovery_code: str | None = strawberry.field(default=None, description="One of your recovery codes.")
    passkey: str | None = strawberry.field(
        default=None, description="Answer of the browser to `beginPasskeyConfirmation`, as JSON."
    )


@strawberry.type(description="The confirmed session.")
class ConfirmSessionPayload(Payload):
    session: ActiveSession | None = strawberry.field(default=None, description="The confirmed session.")


@strawberry.type(description="The secret for an authenticator app, shown only once.")
class EnrollTotpPayload(Payload):
    secret: str | None = strawberry.field(default=None, description="Secret to type, in base 32.")
    uri: str | None = strawberry.field(default=None, description="Secret as an `otpauth://` address.")
    qr_code: str | None = strawberry.field(
        default=None, description="Picture of the address to scan: an SVG as a `data:` address."
    )


@strawberry.input(description="The first code of an authenticator app.")
class ActivateTotpInput:
    code: str = strawberry.field(description="Six digits that the authenticator app displays.")


@strawberry.type(description="The recovery codes of the account.")
class ActivateTotpPayload(Payload):
    recovery_codes: list[str] = strawberry.field(default_factory=list, description=CODES)


@strawberry.type(description="The result of removing an authenticator app.")
class DisableTotpPayload(Payload):
    pass


@strawberry.type(description="The new recovery codes of the account.")
class RenewRecoveryCodesPayload(Payload):
    recovery_codes: list[str] = strawberry.field(
        default_factory=list, description="Ten recovery codes, shown only once. Earlier ones have ended."
    )


@strawberry.input(description="The collective that requires a second factor, or no longer does.")
class RequireSecondFactorInput:
    collective: CollectiveRef = strawberry.field(description="The collective or host.")
    is_required: bool = strawberry.field(description="True to require a second factor of its ADMINs.")


@strawberry.type(description="The collective or host.")
class RequireSecondFactorPayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The collective or host.")


@strawberry.type
class FactorMutations:
    @strawberry.mutation(
        description="Complete a sign-in with a second factor: a code, a recovery code or a passkey. Errors: "
        "INVALID_INPUT, INVALID_STATE, NOT_FOUND if the sign-in is over, RATE_LIMITED after 10 codes within "
        "15 minutes or 30 within a day."
    )
    async def complete_sign_in(self, info: Info, input: CompleteSignInInput) -> CompleteSignInPayload:
        async def work() -> dict[str, Any]:
            started = await resolve.complete_sign_in(
                info,
                challenge=input.challenge,
                code=input.code,
                recovery_code=input.recovery_code,
                passkey=input.passkey,
            )
            return await to_session_payload(info, started)

        return await answer_payload(info, CompleteSignInPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Confirm your session for 10 minutes, in which it may do what CONFIRMATION_REQUIRED asks "
        "this for. Refused for access tokens. Errors: INVALID_INPUT, RATE_LIMITED after 10 wrong codes or "
        "passwords within 15 minutes."
    )
    async def confirm_session(self, info: Info, input: ConfirmSessionInput) -> ConfirmSessionPayload:
        async def work() -> dict[str, Any]:
            row = await resolve.confirm_session(
                info,
                password=input.password,
                code=input.code,
                recovery_code=input.recovery_code,
                passkey=input.passkey,
            )
            return {"session": sessions.OpenSession.of(row, current_id=row.id)}

        return await answer_payload(info, ConfirmSessionPayload, work)

    @strawberry.mutation(
        description="Make the secret of an authenticator app, which becomes a second factor by "
        "`activateTotp`. Refused for access tokens. Errors: CONFIRMATION_REQUIRED, INVALID_STATE."
    )
    async def enroll_totp(self, info: Info) -> EnrollTotpPayload:
        async def work() -> dict[str, Any]:
            made = await resolve.enroll_totp(info)
            return {"secret": made.secret, "uri": made.uri, "qr_code": made.qr_code}

        return await answer_payload(info, EnrollTotpPayload, work)

    @strawberry.mutation(
        description="Make an authenticator app your second factor with a first code; a mail tells you. "
        "Refused for access tokens. Errors: INVALID_INPUT, INVALID_STATE, RATE_LIMITED."
    )
    async def activate_totp(self, info: Info, input: ActivateTotpInput) -> ActivateTotpPayload:
        async def work() -> dict[str, Any]:
            return {"recovery_codes": await resolve.activate_totp(info, code=input.code)}

        return await answer_payload(info, ActivateTotpPayload, work)

    @strawberry.mutation(
        description="Remove your authenticator app; a mail tells you. Refused for access tokens. Errors: "
        "CONFIRMATION_REQUIRED, INVALID_STATE."
    )
    async def disable_totp(self, info: Info) -> DisableTotpPayload:
        async def work() -> dict[str, Any]:
            await info.context.run(totp.disable)
            return {}

        return await answer_payload(info, DisableTotpPayload, work)

    @strawberry.mutation(
        description="Replace your recovery codes by new ones; a mail tells you. Refused for access tokens. "
        "Errors: CONFIRMATION_REQUIRED, INVALID_STATE."
    )
    async def renew_recovery_codes(self, info: Info) -> RenewRecoveryCodesPayload:
        async def work() -> dict[str, Any]:
            return {"recovery_codes": await info.context.run(recovery_codes.renew)}

        return await answer_payload(info, RenewRecoveryCodesPayload, work)

    @strawberry.mutation(
        description="Require a second factor of a collective's ADMINs, in its events too, or no longer. "
        "Without one they read what its ACCOUNTANTs read, and acting as ADMIN fails with "
        "SECOND_FACTOR_REQUIRED. Allowed for its ADMINs who have a second factor. Refused for access "
        "tokens. Errors: CONFIRMATION_REQUIRED, INVALID_INPUT, INVALID_STATE, NOT_FOUND."
    )
    async def require_second_factor(
        self, info: Info, input: RequireSecondFactorInput
    ) -> RequireSecondFactorPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                factor_requirements.set_required,
                collective=to_key(input.collective),
                is_required=input.is_required,
            )
            return {"collective": row}

        return await answer_payload(info, RequireSecondFactorPayload, work)
