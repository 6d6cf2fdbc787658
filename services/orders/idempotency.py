"""Idempotency keys: the same key and payload lead to the first result."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import bindparam, inspect, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Idempotency, now
from services.access.actor import Actor
from services.core.errors import IdempotencyConflict, Invalid
from services.core.user_text import clean_text
from services.round_trips import effects
from services.round_trips.pipelines import compile_statement

MAX_KEY_LENGTH = 200
_FIELD = "idempotencyKey"
_CLAIM = compile_statement(
    insert(Idempotency)
    .values({column.name: bindparam(column.name) for column in inspect(Idempotency).local_table.c})
    .on_conflict_do_nothing()
    .returning(col(Idempotency.result_id))
)


def hash_request(mutation: str, payload: Mapping[str, Any]) -> bytes:
    """Hash the mutation and all its input except the key itself."""
    body = orjson.dumps([mutation, payload], default=str, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).digest()


class KeyTakenError(Exception):
    """The key was claimed before."""


async def begin_claim(
    session: AsyncSession, actor: Actor, *, key: str, request: bytes, result_id: UUID
) -> None:
    """Claim the key for `result_id` together with what is read next; see `load_earlier`.

    Raises:
        Invalid: the key is empty or longer than 200 characters.
        KeyTakenError: when the claim is sent, after waiting for a running operation with the same key.
    """
    require_key(key)
    values = {
        "actor_id": actor.id,
        "key": key,
        "request_hash": request,
        "result_id": result_id,
        "created_at": now(),
    }
    await effects.write(session, _CLAIM, values, check=_require_claimed, is_barrier=True)


def _require_claimed(rows: Sequence[object]) -> None:
    if not rows:
        raise KeyTakenError


def require_key(key: str) -> str:
    """Check a key and return it.

    Raises:
        Invalid: it is empty or longer than 200 characters.
    """
    if not 1 <= len(clean_text(key, field=_FIELD) or "") <= MAX_KEY_LENGTH:
        raise Invalid(f"Enter a key of 1 to {MAX_KEY_LENGTH} characters.", field=_FIELD)
    return key


async def load_earlier(session: AsyncSession, actor: Actor, *, key: str, request: bytes) -> UUID:
    """Return the id of the earlier result of a key that is taken.

    Raises:
        IdempotencyConflict: the key was used for another payload.
    """
    statement = select(Idempotency).where(col(Idempotency.actor_id) == actor.id, col(Idempotency.key) == key)
    earlier = (await session.execute(statement)).scalar_one()
    if earlier.request_hash != request:
        raise IdempotencyConflict(field=_FIELD)
    # A transaction that writes nothing waits for no standby. With a message in the log, the commit of this
    # answer waits until the standby has all before it, the earlier result among it.
    await session.execute(text("SELECT pg_logical_emit_message(true, 'commonweal', 'replay')"))
    return earlier.result_id


async def claim_key(
    session: AsyncSession, actor: Actor, *, key: str, request: bytes, result_id: UUID
) -> UUID | None:
    """Claim the key for `result_id`, or return the id of the same request's earlier result.

    Waits for a running operation with the same key, and then sees its result. Keys are per actor.

    Raises:
        IdempotencyConflict: the key was used for another payload.
        Invalid: the key is empty or longer than 200 characters.
    """
    require_key(key)
    inserted = await session.execute(
        insert(Idempotency)
        .values(actor_id=actor.id, key=key, request_hash=request, result_id=result_id)
        .on_conflict_do_nothing()
        .returning(col(Idempotency.result_id))
    )
    if inserted.scalar_one_or_none() is not None:
        return None
    return await load_earlier(session, actor, key=key, request=request)


async def claim_keys(
    session: AsyncSession, actor: Actor, *, requests: Mapping[str, tuple[bytes, UUID]]
) -> set[str]:
    """Claim many keys of (request, result) in one statement and return those that were free.

    The keys come from the server and need no check. The caller passes the others to `claim_key`.
    """
    rows = [
        {"actor_id": actor.id, "key": key, "request_hash": request, "result_id": result_id}
        for key, (request, result_id) in sorted(requests.items())
    ]
    claimed = await session.execute(
        insert(Idempotency).values(rows).on_conflict_do_nothing().returning(col(Idempotency.key))
    )
    return set(claimed.scalars())
