"""Second factors of the viewer's own account, and what a sign-in still needs."""

from datetime import datetime
from typing import Self

import strawberry

import models
from resolvers.context import Info
from schema.types.enums import Proof
from schema.types.fields import shaped, whole_list
from schema.types.node import id_field, is_row_of
from services.access.permissions import CONFIRMED_FOR
from services.core import public_ids
from services.identity import factor_requirements, passkeys, recovery_codes, totp
from services.identity.challenges import FactorChallenge


@strawberry.type(description="The second step of a sign-in, which `completeSignIn` takes.")
class SignInChallenge:
    token: str = strawberry.field(description="Token for `completeSignIn`. Valid once, for 5 minutes.")
    expires_at: datetime = strawberry.field(description="When the token expires.")
    ways: list[Proof] = strawberry.field(description="Second factors that will do.")

    @classmethod
    def of(cls, challenge: FactorChallenge) -> Self:
        """Return what a sign-in needs."""
        return cls(token=challenge.token, expires_at=challenge.expires_at, ways=list(challenge.ways))


@strawberry.type(description="A passkey or security key of an account. Visible only to its user.")
class Passkey:
    is_type_of = is_row_of(models.Passkey)
    id: strawberry.ID = id_field("Passkey", description="ID of the passkey, for `removePasskey`.")
    name: str = strawberry.field(description="Name chosen by the user.")
    created_at: datetime = strawberry.field(description="When the passkey was added.")
    last_used_at: datetime | None = strawberry.field(
        description="When the passkey was last used. Null if it never was."
    )


@strawberry.type(description="The protection of an account. Visible only to its user, in a session.")
class SecondFactors:
    ways: list[Proof] = strawberry.field(
        description="Ways to confirm the session: second factors, or the password if there is none."
    )
    totp_since: datetime | None = strawberry.field(
        description="When the authenticator app became a factor. Null if there is none."
    )
    recovery_codes_left: int = strawberry.field(description="Number of recovery codes that were not used.")
    confirmed_until: datetime = strawberry.field(
        description="When the session needs to be confirmed again: 10 minutes after the last time."
    )
    required_by: list[strawberry.ID] = strawberry.field(
        description="IDs of the collectives of which you are an ADMIN and which require a second factor."
    )


@strawberry.type
class FactorQueries:
    @strawberry.field(
        description="The protection of your account. Null without sign-in and for access tokens."
    )
    async def second_factors(self, info: Info) -> SecondFactors | None:
        context = info.context
        viewer = context.actor
        if viewer.id is None or viewer.scopes is not None or viewer.confirmed_at is None:
            return None
        app = await context.run_without_viewer(totp.load_activation, user_id=viewer.id)
        left = await context.run_without_viewer(recovery_codes.count_left, user_id=viewer.id)
        required_by = await context.run(factor_requirements.list_requiring)
        return SecondFactors(
            ways=list(viewer.ways),
            totp_since=app.activated_at if app else None,
            recovery_codes_left=left,
            confirmed_until=viewer.confirmed_at + CONFIRMED_FOR,
            required_by=[strawberry.ID(public_ids.encode("Collective", row_id)) for row_id in required_by],
        )

    @strawberry.field(
        description="Your passkeys, oldest first. For access tokens empty.", graphql_type=list[Passkey]
    )
    @shaped(whole_list(passkeys.select_own, passkeys.OLDEST_FIRST))
    async def passkeys(self, info: Info) -> list[models.Passkey]:
        return await info.context.run(passkeys.list_own)
