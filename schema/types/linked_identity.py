"""Sign-in with other providers: those that are offered, and a user's identities there."""

from dataclasses import replace
from datetime import datetime

import strawberry

import models
from resolvers.context import Info
from schema.types.fields import computed, shaped, whole_list
from schema.types.node import id_field, is_row_of
from services.access.viewer_terms import provider_of_issuer
from services.identity import identities
from services.sql_json.shape import ForViewer


@strawberry.type(description="An identity at another provider. Visible only to the user whom it signs in.")
class LinkedIdentity:
    is_type_of = is_row_of(models.Identity)
    id: strawberry.ID = id_field("LinkedIdentity")
    issuer: str = strawberry.field(description="URL that names the provider.")
    email: str | None = strawberry.field(description="Email address that the provider gave, if any.")
    created_at: datetime = strawberry.field(description="When the identity was linked.")
    last_used_at: datetime = strawberry.field(description="When the identity was last used to sign in.")

    @computed(
        shape=ForViewer(lambda actor, row: provider_of_issuer(actor, row.issuer), "text"),
        description="Name of the provider. Null if it is no longer offered.",
    )
    def provider(root: strawberry.Parent[models.Identity], info: Info) -> str | None:
        offered = info.context.actor.identity_providers
        return next((name for issuer, name, _ in offered if issuer == root.issuer), None)


@strawberry.type(description="A provider that people can use to sign in.")
class SignInProvider:
    is_type_of = is_row_of(identities.OfferedProvider)
    name: str = strawberry.field(description="Name of the provider, as in its path.")
    label: str = strawberry.field(description="Name to show to people.")
    path: str = strawberry.field(
        description="Path to open in the browser to sign in. It takes `next`, a path of this server to go "
        "to afterwards, and `link=1`, which links the identity to the signed-in user instead."
    )


@strawberry.type
class SignInProviderQueries:
    @strawberry.field(
        description="Providers that people can use to sign in. Public.", graphql_type=list[SignInProvider]
    )
    @shaped(replace(whole_list(identities.select_offered, identities.IN_ORDER), needs_table=False))
    def sign_in_providers(self, info: Info) -> list[identities.OfferedProvider]:
        return identities.list_offered(info.context.actor)
