"""Sign-up, sign-in and sign-out; passwords and access tokens."""

from datetime import datetime
from typing import Any

import strawberry

from resolvers import identity as resolve
from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.mutations.session_payload import CHALLENGE, to_session_payload
from schema.types.enums import Scope
from schema.types.factors import SignInChallenge
from schema.types.identity import AccessToken, Session
from schema.types.scalars import CurrencyCode
from schema.types.user import User
from services.core import public_ids
from services.identity import access_tokens


@strawberry.input(description="The user to create.")
class SignUpInput:
    email: str = strawberry.field(description="Your email address, which is verified by mail.")
    name: str = strawberry.field(description="Your display name. Public.")
    currency: CurrencyCode | None = strawberry.field(
        default=None, description="Currency in which you are paid. Defaults to USD."
    )


@strawberry.type(description="A preview of the user, who can sign in once the email address is verified.")
class SignUpPayload(Payload):
    user: User | None = strawberry.field(
        default=None,
        description="A preview of the user. Its ID and slug lead nowhere; `verifyEmail` returns the real "
        "user.",
    )


@strawberry.input(description="The proof that an email address is yours.")
class VerifyEmailInput:
    token: str = strawberry.field(description="Token from the mail. Valid once, for 7 days.")
    password: str = strawberry.field(
        description="Password of your choice, 8 to 200 characters; the most common ones are refused."
    )


@strawberry.type(description="The verified user, signed in.")
class VerifyEmailPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The verified user.")
    session: Session | None = strawberry.field(default=None, description="The new session.")
    challenge: SignInChallenge | None = strawberry.field(default=None, description=CHALLENGE)


@strawberry.input(description="The credentials of a user.")
class SignInInput:
    email: str = strawberry.field(description="Your email address.")
    password: str = strawberry.field(description="Password of your account.")


@strawberry.type(description="The signed-in user and the session.")
class SignInPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The signed-in user.")
    session: Session | None = strawberry.field(default=None, description="The new session.")
    challenge: SignInChallenge | None = strawberry.field(default=None, description=CHALLENGE)


@strawberry.input(description="The account whose password was forgotten.")
class RequestPasswordResetInput:
    email: str = strawberry.field(description="Your email address.")


@strawberry.type(description="The result, identical for known and unknown email addresses.")
class RequestPasswordResetPayload(Payload):
    pass


@strawberry.input(description="The new password of an account.")
class ResetPasswordInput:
    token: str = strawberry.field(description="Token from the mail. Valid once, for 2 hours.")
    password: str = strawberry.field(
        description="New password of 8 to 200 characters; the most common ones are refused."
    )


@strawberry.type(description="The signed-in user and the session.")
class ResetPasswordPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The signed-in user.")
    session: Session | None = strawberry.field(default=None, description="The new session.")
    challenge: SignInChallenge | None = strawberry.field(default=None, description=CHALLENGE)


@strawberry.type(description="The user who was signed out.")
class SignOutPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The user who was signed out.")


@strawberry.input(description="The access token to create.")
class CreateAccessTokenInput:
    name: str = strawberry.field(description="Name of the token, such as the program that uses it.")
    scopes: list[Scope] = strawberry.field(description="Operations that the token allows.")
    expires_at: datetime = strawberry.field(description="When the token expires, at most a year from now.")


@strawberry.type(description="The created access token.")
class CreateAccessTokenPayload(Payload):
    token: str | None = strawberry.field(default=None, description="Bearer token, shown only once.")
    access_token: AccessToken | None = strawberry.field(
        default=None, description="The stored record of the token."
    )


@strawberry.input(description="The access token to revoke.")
class RevokeAccessTokenInput:
    id: strawberry.ID = strawberry.field(description="ID of the access token.")


@strawberry.type(description="The revoked access token.")
class RevokeAccessTokenPayload(Payload):
    access_token: AccessToken | None = strawberry.field(default=None, description="The revoked access token.")


@strawberry.type
class IdentityMutations:
    @strawberry.mutation(
        description="Create a user, who is stored under the given name once the mailed token is used. The "
        "response is identical for known and unknown email addresses; the mail differs. "
        "Errors: INVALID_INPUT, RATE_LIMITED after 5 mails to an email address, or 100 requested from a "
        "network address, within an hour."
    )
    async def sign_up(self, info: Info, input: SignUpInput) -> SignUpPayload:
        async def work() -> dict[str, Any]:
            user = await resolve.sign_up(info, email=input.email, name=input.name, currency=input.currency)
            return {"user": user}

        return await answer_payload(info, SignUpPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Verify an email address with the mailed token and choose the password; claims the "
        "account and signs in. Every other mailed link of the account ends. Errors: INVALID_INPUT, NOT_FOUND."
    )
    async def verify_email(self, info: Info, input: VerifyEmailInput) -> VerifyEmailPayload:
        async def work() -> dict[str, Any]:
            return await to_session_payload(
                info, await resolve.verify_email(info, token=input.token, password=input.password)
            )

        return await answer_payload(info, VerifyEmailPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Sign in with email address and password. An account with a second factor gets a "
        "challenge for `completeSignIn` instead of a session. Errors: INVALID_INPUT, INVALID_STATE, "
        "RATE_LIMITED after 10 failures on an account from a network address, or 100 on an account or from "
        "an address in all, within 15 minutes."
    )
    async def sign_in(self, info: Info, input: SignInInput) -> SignInPayload:
        async def work() -> dict[str, Any]:
            return await to_session_payload(
                info, await resolve.sign_in(info, email=input.email, password=input.password)
            )

        return await answer_payload(info, SignInPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Mail a token for a new password, if the email address is verified. The response is "
        "identical for known and unknown email addresses. Errors: RATE_LIMITED after 5 mails "
        "to an email address, or 100 requested from a network address, within an hour."
    )
    async def request_password_reset(
        self,
        info: Info,
        input: RequestPasswordResetInput,
    ) -> RequestPasswordResetPayload:
        async def work() -> dict[str, Any]:
            await resolve.request_password_reset(info, email=input.email)
            return {}

        return await answer_payload(info, RequestPasswordResetPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Set a new password with the mailed token. Ends all sessions and access tokens of the "
        "user, and signs in, with a second factor if there is one. Errors: INVALID_INPUT, NOT_FOUND."
    )
    async def reset_password(self, info: Info, input: ResetPasswordInput) -> ResetPasswordPayload:
        async def work() -> dict[str, Any]:
            return await to_session_payload(
                info, await resolve.reset_password(info, token=input.token, password=input.password)
            )

        return await answer_payload(info, ResetPasswordPayload, work, for_anybody=True)

    @strawberry.mutation(description="End the current session and clear its cookie, if it has one.")
    async def sign_out(self, info: Info) -> SignOutPayload:
        async def work() -> dict[str, Any]:
            return {"user": await resolve.sign_out(info)}

        return await answer_payload(info, SignOutPayload, work)

    @strawberry.mutation(
        description="Create an access token for a program, with at most your own scopes. Requires the "
        "scope COLLECTIVES."
    )
    async def create_access_token(
        self,
        info: Info,
        input: CreateAccessTokenInput,
    ) -> CreateAccessTokenPayload:
        async def work() -> dict[str, Any]:
            token, row = await info.context.run(
                access_tokens.create_access_token,
                name=input.name,
                expires_at=input.expires_at,
                scopes=input.scopes,
            )
            return {"token": token, "access_token": row}

        return await answer_payload(info, CreateAccessTokenPayload, work)

    @strawberry.mutation(description="Revoke one of your access tokens. Errors: NOT_FOUND.")
    async def revoke_access_token(
        self,
        info: Info,
        input: RevokeAccessTokenInput,
    ) -> RevokeAccessTokenPayload:
        async def work() -> dict[str, Any]:
            token_id = public_ids.decode("AccessToken", input.id, field="id")
            row = await info.context.run(access_tokens.revoke_access_token, token_id=token_id)
            return {"access_token": row}

        return await answer_payload(info, RevokeAccessTokenPayload, work)
