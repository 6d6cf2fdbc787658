"""The audit log: acts that are no orders, with what was there before and after."""

from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import orjson
import strawberry

import models
from dataloaders import Loaders
from models.enums import ActChange, ActKind, TokenKind
from resolvers import acts as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import After, Before, Connection, First, Last, to_page_request
from schema.types.enums import publish_enum
from schema.types.fields import computed, to_one
from schema.types.node import is_row_of
from services.access import act_log
from services.core import public_ids

publish_enum(ActChange)
publish_enum(ActKind)
Row: TypeAlias = strawberry.Parent[models.Act]


@strawberry.type(description="A field that an act changed.")
class ActValue:
    field: str = strawberry.field(
        description="Name of the field. Some fields that did not change are here, too: they tell what was "
        "changed, such as the role of a membership."
    )
    old: str | None = strawberry.field(
        description="Value before the act, as text; IDs of collectives as IDs."
    )
    new: str | None = strawberry.field(description="Value after the act, as text.")
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

    @computed("id", description="Opaque ID of the act.", graphql_type=strawberry.ID)
    def id(root: Row) -> str:
        return public_ids.encode("Act", root.id)

    @computed(
        "old_values",
        "new_values",
        "hidden_columns",
        description="Fields that the act changed, by name.",
        graphql_type=list[ActValue],
    )
    def values(root: Row) -> list[ActValue]:
        names = sorted({*root.old_values, *root.new_values, *root.hidden_columns})
        return [_to_value(root, name) for name in names]

    @computed(
        "network",
        "actor_id",
        description="Network address that the act was made from, for IPv6 its /64 network. Visible to the "
        "person who made it and to the platform's admins, in a session; access tokens do not read it.",
    )
    def network(root: Row, info: Info) -> str | None:
        return root.network if resolve.can_read_origin(root, info) else None

    @computed(
        "token_id",
        "token_kind",
        "actor_id",
        description="ID of the session in which the act was made. Null where a person signed in. Visible "
        "like `network`.",
        graphql_type=strawberry.ID | None,
    )
    def session_id(root: Row, info: Info) -> str | None:
        return _token_id(root, info, TokenKind.SESSION, "Session")

    @computed(
        "token_id",
        "token_kind",
        "actor_id",
        description="ID of the access token that made the act. Visible like `network`.",
        graphql_type=strawberry.ID | None,
    )
    def access_token_id(root: Row, info: Info) -> str | None:
        return _token_id(root, info, TokenKind.ACCESS, "AccessToken")

    @computed(
        "database_role",
        "actor_id",
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


def _to_value(act: models.Act, name: str) -> ActValue:
    first, *others = name.removesuffix("_id").split("_")
    return ActValue(
        field=first + "".join(part.title() for part in others),
        old=_to_text(name, act.old_values.get(name)),
        new=_to_text(name, act.new_values.get(name)),
        is_hidden=name in act.hidden_columns,
    )


def _to_text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if name.endswith("_id"):
        return public_ids.encode("Collective", UUID(value))
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _token_id(act: models.Act, info: Info, kind: TokenKind, object_type: str) -> str | None:
    if act.token_id is None or act.token_kind != kind or not resolve.can_read_origin(act, info):
        return None
    return public_ids.encode(object_type, act.token_id)


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
    async def audit_log(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> ActConnection | None:
        page = await info.context.run(act_log.list_all, page=to_page_request(first, after, last, before))
        return ActConnection(page=page) if page else None
