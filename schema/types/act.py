"""The audit log: acts that are no orders, with what was there before and after."""

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import strawberry

import models
from dataloaders import Loaders
from models.enums import ActChange, ActKind, TokenKind
from resolvers import acts as resolve
from resolvers.context import Info
from schema.types import lazy, sql_lists
from schema.types.connection import After, Before, Connection, First, Last, to_page_request
from schema.types.enums import publish_enum
from schema.types.fields import batched, computed, shaped, to_one
from schema.types.node import is_row_of
from services.access import act_log, act_values, visibility
from services.core import public_ids
from services.sql_json.shape import Column, FirstOf, Private, PublicId

publish_enum(ActChange)
publish_enum(ActKind)
Row: TypeAlias = strawberry.Parent[models.Act]
Rows: TypeAlias = list[models.Act]


@strawberry.type(description="A field that an act changed.")
class ActValue:
    is_type_of = is_row_of(act_values.ActValue)
    field: str = strawberry.field(
        description="Name of the field. Some fields that did not change are here, too: they tell what was "
        "changed, such as the role of a membership."
    )

    @computed(
        shape=FirstOf((PublicId("Collective", "old_id"), Column("text", "old"))),
        description="Value before the act, as text; IDs of collectives as IDs.",
    )
    def old(root: strawberry.Parent[act_values.ActValue]) -> str | None:
        return _to_text(root.old_id, root.old)

    @computed(
        shape=FirstOf((PublicId("Collective", "new_id"), Column("text", "new"))),
        description="Value after the act, as text.",
    )
    def new(root: strawberry.Parent[act_values.ActValue]) -> str | None:
        return _to_text(root.new_id, root.new)

    is_hidden: bool = strawberry.field(
        description="True if the field changed and its values are kept out of the log: secrets, and what is "
        "private to a person."
    )


@strawberry.type(
    description="An act that is no order, as the audit log has it. Never changed. Visible to the admins of "
    "the collectives that it concerns and of their hosts, to the people that it concerns, and to the "
    "platform's admins."
)
class Act:
    is_type_of = is_row_of(models.Act)
    at: datetime = strawberry.field(description="When the act was made.")
    kind: ActKind = strawberry.field(description="Kind of object that the act changed.")
    change: ActChange = strawberry.field(description="Kind of change that the act made.")
    mutation: str | None = strawberry.field(
        description="Mutation that made the act; several of one operation with commas. Null for the server "
        "itself, commands and statements by hand."
    )

    @computed(
        shape=PublicId("Act", "id"),
        description="Opaque ID of the act.",
        graphql_type=strawberry.ID,
    )
    def id(root: Row) -> str:
        return public_ids.encode("Act", root.id)

    @batched(
        shape=sql_lists.ACT_VALUES,
        description="Fields that the act changed, by name.",
        graphql_type=list[ActValue],
    )
    async def values(rows: Rows, info: Info) -> list[list[act_values.ActValue]]:
        return await resolve.load_values(rows, info)

    @batched(
        shape=Private(Column("text", "network"), visibility.act_origin_is_visible),
        description="Network address that the act was made from, for IPv6 its /64 network. Visible to the "
        "person who made it and to the platform's admins, in a session; access tokens do not read it.",
        graphql_type=str | None,
    )
    async def network(rows: Rows, info: Info) -> list[str | None]:
        origins = await resolve.load_origins(rows, info)
        return [origin.network if origin else None for origin in origins]

    @batched(
        shape=Private(PublicId("Session", "token_id"), act_log.session_is_visible),
        description="ID of the session in which the act was made. Null where a person signed in. Visible "
        "like `network`.",
        graphql_type=strawberry.ID | None,
    )
    async def session_id(rows: Rows, info: Info) -> list[str | None]:
        origins = await resolve.load_origins(rows, info)
        return [_token_id(origin, TokenKind.SESSION, "Session") for origin in origins]

    @batched(
        shape=Private(PublicId("AccessToken", "token_id"), act_log.access_token_is_visible),
        description="ID of the access token that made the act. Visible like `network`.",
        graphql_type=strawberry.ID | None,
    )
    async def access_token_id(rows: Rows, info: Info) -> list[str | None]:
        origins = await resolve.load_origins(rows, info)
        return [_token_id(origin, TokenKind.ACCESS, "AccessToken") for origin in origins]

    @computed(
        shape=Private(Column("text", "database_role"), act_log.database_role_is_visible),
        description="Role in the database that made the act: all that is known of commands and statements "
        "by hand. Visible to the platform's admins.",
    )
    def database_role(root: Row, info: Info) -> str | None:
        return root.database_role if info.context.actor.is_platform_admin else None

    actor = to_one(
        Loaders.collective,
        "actor_id",
        description="The person who acted. Null for the server itself, commands and statements by hand.",
        graphql_type=lazy.nullable(lazy.USER),
    )

    collective = to_one(
        Loaders.collective,
        "collective_id",
        description="The collective or person whose object was changed. Null if you may not see it.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    other = to_one(
        Loaders.collective,
        "other_id",
        description="The second one that the act concerns, such as the holder of a role or a host. Null if "
        "there is none or you may not see it.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )


def _to_text(collective_id: UUID | None, text: str | None) -> str | None:
    return text if collective_id is None else public_ids.encode("Collective", collective_id)


def _token_id(origin: act_log.VisibleOrigin | None, kind: TokenKind, object_type: str) -> str | None:
    if origin is None or origin.token_id is None or origin.token_kind != kind:
        return None
    return public_ids.encode(object_type, origin.token_id)


@strawberry.type(description="A page of the audit log.")
class ActConnection(Connection[Act]):
    pass


@strawberry.type
class AuditLogQueries:
    """The audit log of the platform."""

    @strawberry.field(
        description="All acts that are no orders, newest first. Visible to the platform's admins; null for "
        "others. Access tokens read none on people's accounts.",
        graphql_type=ActConnection | None,
    )
    @shaped(sql_lists.WHOLE_AUDIT_LOG)
    async def audit_log(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> ActConnection | None:
        page = await info.context.run(act_log.list_all, page=to_page_request(first, after, last, before))
        return ActConnection(page=page) if page else None
