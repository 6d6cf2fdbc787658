"""Who makes the acts of a transaction: the database's triggers write it into the audit log with each act."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, bindparam, cast, func, literal, null, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from services.core.origins import ActOrigin
from services.round_trips.operation_session import operation_of

_SETTING = "commonweal.actor"


def attach(session: AsyncSession, origin: ActOrigin) -> None:
    """Keep the origin with a session whose transaction begins; nobody is named yet."""
    operation = operation_of(session)
    operation.act_origin, operation.named_id = origin, None


def forget_name(session: AsyncSession) -> None:
    """Forget who is named, after what named them may have been rolled back."""
    operation_of(session).named_id = None


def naming(user_id: Any, *, token_id: Any = None, token_kind: Any = None) -> ColumnElement[str]:
    """Build the column that names the actor until the transaction ends; no later one inherits it.

    Its parameters are those of the origin.
    """
    value = func.json_build_object(
        "user",
        user_id,
        "token",
        null() if token_id is None else token_id,
        "kind",
        null() if token_kind is None else token_kind,
        "mutation",
        cast(bindparam("act_mutation", type_=Text), Text),
        "network",
        cast(bindparam("act_network", type_=Text), Text),
    )
    return func.set_config(_SETTING, cast(value, Text), true())


async def name_person(
    session: AsyncSession, user_id: UUID, *, token_id: UUID | None = None, token_kind: str | None = None
) -> None:
    """Name the person who acts from now on, such as one who signs in; one statement, or none if named."""
    operation = operation_of(session)
    if (origin := operation.act_origin) is None or operation.named_id == user_id:
        return
    operation.named_id = user_id
    statement = select(
        naming(
            literal(user_id),
            token_id=None if token_id is None else literal(token_id),
            token_kind=None if token_kind is None else literal(token_kind, Text),
        )
    )
    await session.execute(statement, origin.parameters)
