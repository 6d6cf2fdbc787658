"""Doing a keyed thing once: the same key and payload lead to the first result."""

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Idempotency
from services.access.actor import Actor
from services.core.errors import IdempotencyConflict, Invalid
from services.core.user_text import clean

MAX_KEY_LENGTH = 200


def request_hash(mutation: str, payload: Mapping[str, Any]) -> bytes:
    """Return what a key is compared by: the mutation and all its input but the key itself."""
    body = orjson.dumps([mutation, payload], default=str, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).digest()


async def claim(
    session: AsyncSession, actor: Actor, *, key: str, request: bytes, result_id: UUID
) -> UUID | None:
    """Take the key for `result_id`; return the earlier result's id if it was taken for the same request.

    Waits for a running operation with the same key, whose result it then sees. Keys are the actor's own.

    Raises:
        IdempotencyConflict: the key was used for another payload.
        Invalid: the key is empty or longer than 200 characters.
    """
    path = ["input", "idempotencyKey"]
    if not 1 <= len(clean(key, path=path) or "") <= MAX_KEY_LENGTH:
        raise Invalid(f"The key must have 1 to {MAX_KEY_LENGTH} characters", path=path)
    inserted = await session.execute(
        insert(Idempotency)
        .values(actor_id=actor.id, key=key, request_hash=request, result_id=result_id)
        .on_conflict_do_nothing()
        .returning(col(Idempotency.result_id))
    )
    if inserted.scalar_one_or_none() is not None:
        return None
    earlier = (
        await session.execute(
            select(Idempotency).where(col(Idempotency.actor_id) == actor.id, col(Idempotency.key) == key)
        )
    ).scalar_one()
    if earlier.request_hash != request:
        raise IdempotencyConflict(path=path)
    return earlier.result_id


async def claim_each(
    session: AsyncSession, actor: Actor, *, requests: Mapping[str, tuple[bytes, UUID]]
) -> set[str]:
    """Take many keys of (request, result) at once; return those that were free. One statement.

    The keys are made by the server; that each fits is for `claim` to say, to which those not free are left.
    """
    rows = [
        {"actor_id": actor.id, "key": key, "request_hash": request, "result_id": result_id}
        for key, (request, result_id) in sorted(requests.items())
    ]
    taken = await session.execute(
        insert(Idempotency).values(rows).on_conflict_do_nothing().returning(col(Idempotency.key))
    )
    return set(taken.scalars())
