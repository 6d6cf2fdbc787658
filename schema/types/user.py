"""A person, with what they alone see of their account."""

from typing import Any

import strawberry

import models
from resolvers import acts as resolve_acts
from resolvers import collectives as resolve
from resolvers.context import Info
from schema.types import sql_lists
from schema.types.act import ActConnection
from schema.types.collective import Collective
from schema.types.connection import After, Before, First, Last, to_page_request
from schema.types.enums import (
    CollectiveType,
    Locale,
    Topic,
)
from schema.types.fields import batched, computed, shaped, whole_list
from schema.types.linked_identity import LinkedIdentity
from schema.types.node import is_row_of
from services.access import visibility
from services.identity import email_addresses, email_changes, identities
from services.messaging import preferences
from services.sql_json.shape import Column, Derived, Private

Row = strawberry.Parent[models.Collective]
Rows = list[models.Collective]


def _private(select: Any, column: str, is_visible: Any) -> Derived:
    return Derived(select, Column("text", column), is_visible=is_visible, is_nullable=True)


@strawberry.type(description="A person with an account, claimed or not.")
class User(Collective):
    is_type_of = is_row_of(models.Collective, CollectiveType.USER)

    @strawberry.field(description="Email address of the user. Visible only to themselves.")
    @shaped(_private(email_addresses.select_email, "email", visibility.private_fields_are_visible))
    async def email(root: Row, info: Info) -> str | None:
        return await resolve.load_email(root, info)

    @strawberry.field(
        description="New email address that waits for its proof; see `changeEmail`. Visible only to the "
        "user themselves."
    )
    @shaped(_private(email_changes.select_pending_email, "new_email", visibility.preferences_are_visible))
    async def pending_email(root: Row, info: Info) -> str | None:
        return await resolve.load_pending_email(root, info)

    @computed(
        shape=Private(Column("bare_text", "locale"), visibility.preferences_are_visible),
        description="Language that the user chose for mails. Visible only to themselves; null if they chose "
        "none.",
        graphql_type=Locale | None,
    )
    def locale(root: Row, info: Info) -> Locale | None:
        return resolve.read_locale(root, info)

    @strawberry.field(
        description="Identities at other providers that sign the user in. Visible only to "
        "themselves in a session; empty for others.",
        graphql_type=list[LinkedIdentity],
    )
    @shaped(whole_list(identities.select_own, identities.OLDEST_FIRST))
    async def identities(root: Row, info: Info) -> list[models.Identity]:
        return await resolve.list_identities(root, info)

    @strawberry.field(
        description="Topics on which the user receives no mail. Visible only to themselves; empty for "
        "others.",
        graphql_type=list[Topic],
    )
    @shaped(
        Derived(
            preferences.select_muted_topics,
            Column("text", "topics"),
            is_visible=visibility.preferences_are_visible,
            hidden="[]",
        )
    )
    async def muted_topics(root: Row, info: Info) -> list[Topic]:
        return await resolve.list_muted_topics(root, info)

    @batched(
        shape=sql_lists.SECURITY_LOG,
        description="Acts on the user's own account, newest first: sign-ins, sessions, access tokens, "
        "password, email address and second factors. Visible only to themselves, in a session; null for "
        "others and for access tokens.",
        graphql_type=ActConnection | None,
    )
    async def security_log(
        rows: Rows,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[ActConnection | None]:
        page = to_page_request(first, after, last, before)
        pages = await resolve_acts.list_of_collectives(rows, info, page=page, is_security=True)
        return [ActConnection(page=page) if page else None for page in pages]

    @computed(
        shape=Column("is_set", "claimed_at"),
        description="True if the user has verified their email address; false if they are known by it alone.",
    )
    def is_claimed(root: Row) -> bool:
        return root.claimed_at is not None
