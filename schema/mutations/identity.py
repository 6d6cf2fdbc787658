"""Signing up, in and out; tokens for programs."""

from datetime import datetime
from typing import Any

import strawberry

from resolvers import identity as resolve
from resolvers.context import Info
from schema.mutations.payload import Payload, perform
from schema.types.collective import User
from schema.types.enums import Scope
from schema.types.identity import AccessToken, Session
from schema.types.scalars import CurrencyCode
from services.access.actor import ANONYMOUS
from services.core import public_ids
from services.identity import access_tokens, authentication
from services.volunteering import issuers


@strawberry.input(description="A new user.")
class SignUpInput:
    email: str = strawberry.field(description="Your address; a mail proves that it is yours.")
    name: str = strawberry.field(description="What people call you. Public.")
    password: str = strawberry.field(description="8 to 200 characters.")
    currency: CurrencyCode | None = strawberry.field(
        default=None, description="The currency you are paid in; USD if not given."
    )


@strawberry.type(description="What the user will look like, who can sign in once the address is proved.")
class SignUpPayload(Payload):
    user: User | None = strawberry.field(
        default=None, description="A likeness: its id and slug lead nowhere. `verifyEmail` answers the user."
    )


@strawberry.input(description="The proof of an address.")
class VerifyEmailInput:
    token: str = strawberry.field(description="From the mail; good once, for 7 days.")


@strawberry.type(description="The user, signed in.")
class VerifyEmailPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The user.")
    session: Session | None = strawberry.field(default=None, description="The sign-in.")


@strawberry.input(description="Who you are.")
class SignInInput:
    email: str = strawberry.field(description="Your address.")
    password: str = strawberry.field(description="Your password.")


@strawberry.type(description="The user, signed in.")
class SignInPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The user.")
    session: Session | None = strawberry.field(default=None, description="The sign-in.")


@strawberry.input(description="Who forgot the password.")
class RequestPasswordResetInput:
    email: str = strawberry.field(description="Your address.")


@strawberry.type(description="The same whether the address is known or not.")
class RequestPasswordResetPayload(Payload):
    pass


@strawberry.input(description="A new password.")
class ResetPasswordInput:
    token: str = strawberry.field(description="From the mail; good once, for 2 hours.")
    password: str = strawberry.field(description="8 to 200 characters.")


@strawberry.type(description="The user, signed in.")
class ResetPasswordPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The user.")
    session: Session | None = strawberry.field(default=None, description="The sign-in.")


@strawberry.type(description="Signed out.")
class SignOutPayload(Payload):
    user: User | None = strawberry.field(default=None, description="Who was signed in.")


@strawberry.input(description="A token for a program.")
class CreateAccessTokenInput:
    name: str = strawberry.field(description="What it is for.")
    scopes: list[Scope] = strawberry.field(description="What it may be used for.")
    expires_at: datetime = strawberry.field(description="Until when; within a year.")


@strawberry.type(description="The new token.")
class CreateAccessTokenPayload(Payload):
    token: str | None = strawberry.field(default=None, description="Shown this once.")
    access_token: AccessToken | None = strawberry.field(default=None, description="What is kept of it.")


@strawberry.input(description="An access token to end.")
class RevokeAccessTokenInput:
    id: strawberry.ID = strawberry.field(description="Its id.")


@strawberry.type(description="The ended token.")
class RevokeAccessTokenPayload(Payload):
    access_token: AccessToken | None = strawberry.field(default=None, description="What is kept of it.")


def _signed_in(info: Info, done: authentication.SignedIn) -> dict[str, Any]:
    is_kept = info.context.session_cookie.keep(done.token, done.expires_at)
    token = "" if is_kept else done.token
    return {"user": done.user, "session": Session(token=token, expires_at=done.expires_at)}


@strawberry.type
class IdentityMutations:
    @strawberry.mutation(
        description="Create a user, stored under the chosen name once the mailed token is used. Answers "
        "alike whether the address is known or not; the mail tells. RATE_LIMITED after 5 mails to an "
        "address, or 20 asked for from a network address, within an hour."
    )
    async def sign_up(self, info: Info, input: SignUpInput) -> SignUpPayload:
        async def work() -> dict[str, Any]:
            user = await resolve.sign_up(
                info, email=input.email, name=input.name, password=input.password, currency=input.currency
            )
            return {"user": user}

        return await perform(info, SignUpPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Prove an address with the mailed token: claims the user's row and signs in. NOT_FOUND."
    )
    async def verify_email(self, info: Info, input: VerifyEmailInput) -> VerifyEmailPayload:
        async def work() -> dict[str, Any]:
            days = info.context.settings.session_days
            return _signed_in(
                info, await info.context.run(issuers.claim, token=input.token, session_days=days)
            )

        return await perform(info, VerifyEmailPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Sign in with address and password. INVALID_INPUT; RATE_LIMITED after 10 tries of an "
        "account, or 100 of a network address, within 15 minutes."
    )
    async def sign_in(self, info: Info, input: SignInInput) -> SignInPayload:
        async def work() -> dict[str, Any]:
            return _signed_in(info, await resolve.sign_in(info, email=input.email, password=input.password))

        return await perform(info, SignInPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Mail a token for a new password, if the address was proved. Answers alike whether the "
        "address is known or not. RATE_LIMITED after 5 mails to an address, or 20 asked for from a network "
        "address, within an hour."
    )
    async def request_password_reset(
        self,
        info: Info,
        input: RequestPasswordResetInput,
    ) -> RequestPasswordResetPayload:
        async def work() -> dict[str, Any]:
            await resolve.request_password_reset(info, email=input.email)
            return {}

        return await perform(info, RequestPasswordResetPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Choose a new password with the mailed token: ends all sessions and access tokens of the "
        "user, and signs in. INVALID_INPUT, NOT_FOUND."
    )
    async def reset_password(self, info: Info, input: ResetPasswordInput) -> ResetPasswordPayload:
        async def work() -> dict[str, Any]:
            return _signed_in(
                info, await resolve.reset_password(info, token=input.token, password=input.password)
            )

        return await perform(info, ResetPasswordPayload, work, for_anybody=True)

    @strawberry.mutation(description="End the session that asks; the cookie that it was kept in is cleared.")
    async def sign_out(self, info: Info) -> SignOutPayload:
        async def work() -> dict[str, Any]:
            await info.context.run(authentication.sign_out)
            info.context.session_cookie.has_ended = True
            user, info.context.actor = info.context.actor.user, ANONYMOUS
            return {"user": user}

        return await perform(info, SignOutPayload, work)

    @strawberry.mutation(
        description="Make a token for a program, with at most your own scopes. Needs the scope COLLECTIVES."
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

        return await perform(info, CreateAccessTokenPayload, work)

    @strawberry.mutation(description="End one of your access tokens. NOT_FOUND.")
    async def revoke_access_token(
        self,
        info: Info,
        input: RevokeAccessTokenInput,
    ) -> RevokeAccessTokenPayload:
        async def work() -> dict[str, Any]:
            token_id = public_ids.decode("AccessToken", input.id, path=["input", "id"])
            row = await info.context.run(access_tokens.revoke_access_token, token_id=token_id)
            return {"access_token": row}

        return await perform(info, RevokeAccessTokenPayload, work)
