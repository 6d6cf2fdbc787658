"""The terms of conditions of visibility: the viewer as parameters, and what a column is to the viewer."""

from collections.abc import Callable
from typing import Any, cast

import orjson
from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    DateTime,
    LargeBinary,
    Select,
    Text,
    Uuid,
    any_,
    bindparam,
    exists,
    false,
    func,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective
from models.enums import MemberRole
from services.access.actor import READER_ROLES, Actor, select_version
from services.access.permissions import Action, Subject, is_permitted

VIEWER_PREFIX = "viewer_"
"""Prefix of parameters that describe the viewer, so that all viewers of a kind share one statement."""
_SIDE = aliased(Collective, name="side")


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


_VALUES: dict[str, Callable[[Actor], Any]] = {
    "id": lambda actor: actor.id,
    "token": lambda actor: actor.token_hash,
    "expires_at": lambda actor: actor.expires_at,
    "session": lambda actor: str(actor.user is not None and actor.scopes is None).lower(),
    "platform_admin": lambda actor: str(actor.is_platform_admin).lower(),
    "collectives": lambda actor: [i for i in actor.roles if i not in actor.public_ids],
    "providers": lambda actor: ",".join(
        f"{name}:{str(is_live).lower()}" for name, is_live in actor.providers
    ),
    "issuers": lambda actor: _to_json({issuer: name for issuer, name, _ in actor.identity_providers}),
    "sign_ins": lambda actor: _to_json([each[1:] for each in actor.identity_providers]),
    "hosts": lambda actor: [i for i in actor.collective_ids_with_role(*READER_ROLES) if i != actor.id],
}
"""What a parameter holds, by its name. Other names are permissions, or roles: the ids of the collectives that
the actor has them in."""
_MAY = "may_"
"""Prefix of the names of permissions."""


def viewer_parameter(name: str, actor: Actor) -> Any:
    """Return the value of a parameter of the predicates."""
    name = name.removeprefix(VIEWER_PREFIX)
    if (value := _VALUES.get(name)) is not None:
        return value(actor)
    if name.startswith(_MAY):
        return str(is_permitted(actor, Action[name.removeprefix(_MAY)], Subject())).lower()
    return actor.collective_ids_with_role(*(MemberRole(role) for role in name.split("_") if role))


def viewer_ids(name: str, actor: Actor) -> Any:
    """Return a parameter for ANY of many ids; with no ids, no row matches."""
    return any_(
        bindparam(VIEWER_PREFIX + name, viewer_parameter(VIEWER_PREFIX + name, actor), type_=ARRAY(Uuid))
    )


def is_in_session(actor: Actor) -> ColumnElement[bool]:
    """True for a person who is signed in, and not for their access tokens."""
    return _is_true("session", actor)


def is_platform_admin(actor: Actor) -> ColumnElement[bool]:
    """True for the ADMINs of the platform."""
    return _is_true("platform_admin", actor)


def is_permitted_to(actor: Actor, action: Action) -> ColumnElement[bool]:
    """True for those who may do something that concerns no object."""
    return _is_true(_MAY + action.name, actor)


def _is_true(name: str, actor: Actor) -> ColumnElement[bool]:
    name = VIEWER_PREFIX + name
    return sql_cast(bindparam(name, viewer_parameter(name, actor), type_=Text), Boolean)


def viewer_id(actor: Actor) -> Any:
    """Return a parameter for the id of the signed-in user."""
    return bindparam(f"{VIEWER_PREFIX}id", actor.id, type_=Uuid)


def select_version_seen(actor: Actor) -> Select[Any]:
    """Select the version of the viewer as a text; no row once the token has expired."""
    name = f"{VIEWER_PREFIX}expires_at"
    expires_at = bindparam(name, viewer_parameter(name, actor), type_=DateTime(timezone=True))
    version = sql_cast(select_version(viewer_id(actor)), Text)
    return select(version.label("version")).where(expires_at > func.now())


def viewer_token(actor: Actor) -> Any:
    """Return a parameter for the hash of the viewer's token."""
    name = f"{VIEWER_PREFIX}token"
    return bindparam(name, viewer_parameter(name, actor), type_=LargeBinary)


def provider_of_issuer(actor: Actor, issuer: Any) -> Any:
    """Return the name of the identity provider with which people can sign in; NULL if there is none."""
    return func.jsonb_extract_path_text(_json("issuers", actor), issuer)


def sign_in_providers(actor: Actor) -> Any:
    """Return a parameter for the names and labels of the identity providers with which people can sign in."""
    return _json("sign_ins", actor)


def _json(name: str, actor: Actor) -> Any:
    name = VIEWER_PREFIX + name
    return sql_cast(bindparam(name, viewer_parameter(name, actor), type_=Text), JSONB)


def is_of_roles(column: Any, actor: Actor, *roles: MemberRole) -> ColumnElement[bool]:
    """True if `column` holds the user, or a collective in which the user has one of the roles."""
    if actor.user is None:
        return false()
    if not (actor.reads_others or set(roles) - set(READER_ROLES)):
        return cast("ColumnElement[bool]", col(column) == viewer_id(actor))
    return cast("ColumnElement[bool]", col(column) == viewer_ids("_".join(roles), actor))


def is_event_of_roles(column: Any, actor: Actor, *roles: MemberRole) -> ColumnElement[bool]:
    """True for an event whose parent the actor has one of the roles in."""
    if actor.user is None:
        return false()
    return is_collective_of(column, lambda side: is_of_roles(side.parent_id, actor, *roles))


def is_collective_of(column: Any, condition: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
    """True if `column` holds a collective of which the condition, built from its columns, is true.

    It is looked up by its id. The planner prices `IN` a list of all of them as if that were made for each
    row, and reads a whole table to avoid that.
    """
    return exists().where(col(_SIDE.id) == column, condition(_SIDE)).correlate_except(_SIDE)


def is_of_viewer_hosts(column: Any, actor: Actor) -> ColumnElement[bool]:
    """True if `column` holds a collective that the actor reads, other than the actor."""
    if not actor.reads_others:
        return false()
    return cast("ColumnElement[bool]", column == viewer_ids("hosts", actor))


def is_hosted_by_viewer(column: Any, actor: Actor) -> ColumnElement[bool]:
    """True if `column` holds a collective of a host that the actor reads, other than the actor."""
    if not actor.reads_others:
        return false()
    return is_collective_of(column, lambda side: is_of_viewer_hosts(side.host_id, actor))
