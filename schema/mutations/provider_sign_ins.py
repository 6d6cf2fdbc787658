"""Signing in with other providers, and the identities that do so."""

from typing import Any

import strawberry

from resolvers import provider_sign_ins as resolve
from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.mutations.session_payload import CHALLENGE, to_session_payload
from schema.types.factors import SignInChallenge
from schema.types.identity import Session
from schema.types.linked_identity import LinkedIdentity
from schema.types.user import User
from services.core import public_ids
from services.identity.provider_sign_ins import Outcome

NEXT = "Path of this server to go to next."


@strawberry.input(description="The provider to sign in with.")
class BeginProviderSignInInput:
    provider: str = strawberry.field(description="Name of the provider, as in `signInProviders`.")
    next: str | None = strawberry.field(
        default=None, description="Path of this server to go to afterwards. Defaults to /."
    )
    link: bool | None = strawberry.field(
        default=False, description="True to link the identity to your account instead of signing in."
    )


@strawberry.type(description="The page of the provider.")
class BeginProviderSignInPayload(Payload):
    url: str | None = strawberry.field(
        default=None, description="Page of the provider to which to send this browser."
    )


@strawberry.input(description="The answer of a provider.")
class CompleteProviderSignInInput:
    provider: str = strawberry.field(description="Name of the provider.")
    state: str = strawberry.field(description="The parameter `state` of the provider's redirect.")
    code: str = strawberry.field(description="The parameter `code` of the provider's redirect.")
    issuer: str | None = strawberry.field(
        default=None, description="The parameter `iss` of the provider's redirect, if there is one."
    )


@strawberry.type(description="The signed-in user and the session, or what is missing.")
class CompleteProviderSignInPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The signed-in user.")
    session: Session | None = strawberry.field(default=None, description="The new session.")
    challenge: SignInChallenge | None = strawberry.field(default=None, description=CHALLENGE)
    next: str | None = strawberry.field(default=None, description=NEXT)
    is_linked: bool = strawberry.field(
        default=False, description="True if the identity was linked to the account that asked for it."
    )
    email_to_link: str | None = strawberry.field(
        default=None,
        description="Address of your account here, which is linked once its password is given to "
        "`linkProvedIdentity`. Null if nothing is missing.",
    )


@strawberry.input(description="The proof that the account to link is yours.")
class LinkProvedIdentityInput:
    provider: str = strawberry.field(description="Name of the provider.")
    state: str = strawberry.field(description="The `state` given to `completeProviderSignIn`.")
    password: str = strawberry.field(description="Password of the account to link.")


@strawberry.type(description="The signed-in user and the session.")
class LinkProvedIdentityPayload(Payload):
    user: User | None = strawberry.field(default=None, description="The signed-in user.")
    session: Session | None = strawberry.field(default=None, description="The new session.")
    challenge: SignInChallenge | None = strawberry.field(default=None, description=CHALLENGE)
    next: str | None = strawberry.field(default=None, description=NEXT)


@strawberry.input(description="The identity to unlink.")
class UnlinkIdentityInput:
    id: strawberry.ID = strawberry.field(description="ID of the identity.")


@strawberry.type(description="The unlinked identity.")
class UnlinkIdentityPayload(Payload):
    identity: LinkedIdentity | None = strawberry.field(default=None, description="The unlinked identity.")


async def _to_payload(info: Info, outcome: Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {"next": outcome.next_path}
    return fields | (await to_session_payload(info, outcome.session) if outcome.session else {})


@strawberry.type
class ProviderSignInMutations:
    @strawberry.mutation(
        description="Begin to sign in with another provider: its page, which sends the browser back to this "
        "server. A cookie binds the sign-in to the browser for 10 minutes. To link an identity you have to "
        "be signed in; refused for access tokens then. Errors: CONFIRMATION_REQUIRED, INVALID_INPUT, "
        "INVALID_STATE if the provider cannot be reached, NOT_FOUND."
    )
    async def begin_provider_sign_in(
        self, info: Info, input: BeginProviderSignInInput
    ) -> BeginProviderSignInPayload:
        async def work() -> dict[str, Any]:
            url = await resolve.begin_sign_in(
                info, provider=input.provider, next_path=input.next, link=bool(input.link)
            )
            return {"url": url}

        return await answer_payload(info, BeginProviderSignInPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Sign in, sign up or link an identity with a provider's answer, once and in the browser "
        "that began it. An email address counts only if the provider has verified it; an account that has "
        "it already is linked by `linkProvedIdentity`. Errors: CONFLICT if the identity is another "
        "account's, INVALID_INPUT, INVALID_STATE if the answer does not hold, NOT_FOUND."
    )
    async def complete_provider_sign_in(
        self, info: Info, input: CompleteProviderSignInInput
    ) -> CompleteProviderSignInPayload:
        async def work() -> dict[str, Any]:
            outcome = await resolve.complete(
                info, provider=input.provider, state=input.state, code=input.code, issuer=input.issuer
            )
            return await _to_payload(info, outcome) | {
                "is_linked": outcome.is_linked,
                "email_to_link": outcome.address_to_link,
            }

        return await answer_payload(info, CompleteProviderSignInPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Link the identity that a provider has just proved to the account with its email "
        "address, by that account's password, and sign in. Errors: CONFLICT, INVALID_INPUT, INVALID_STATE, "
        "NOT_FOUND, RATE_LIMITED as for `signIn`."
    )
    async def link_proved_identity(
        self, info: Info, input: LinkProvedIdentityInput
    ) -> LinkProvedIdentityPayload:
        async def work() -> dict[str, Any]:
            outcome = await resolve.link_account(
                info, provider=input.provider, state=input.state, password=input.password
            )
            return await _to_payload(info, outcome)

        return await answer_payload(info, LinkProvedIdentityPayload, work, for_anybody=True)

    @strawberry.mutation(
        description="Unlink one of your identities at other providers. Refused for access tokens. Errors: "
        "CONFIRMATION_REQUIRED, INVALID_INPUT, INVALID_STATE if it is your only way to sign in, NOT_FOUND."
    )
    async def unlink_identity(self, info: Info, input: UnlinkIdentityInput) -> UnlinkIdentityPayload:
        async def work() -> dict[str, Any]:
            identity_id = public_ids.decode("LinkedIdentity", input.id, field="id")
            return {"identity": await resolve.unlink(info, identity_id=identity_id)}

        return await answer_payload(info, UnlinkIdentityPayload, work)
