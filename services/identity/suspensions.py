"""Suspension: the platform shuts a person out, and lets them in again. Their history stays."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Suspension, now
from models.enums import CollectiveType
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve_one
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid, InvalidState
from services.core.user_text import require_text
from services.identity import access_tokens, email_tokens

MAX_REASON_LENGTH = 1000
_FIELD = "user"


async def suspend(session: AsyncSession, actor: Actor, *, user: CollectiveKey, reason: str) -> Collective:
    """End a user's sessions, tokens and mailed links at once; the database refuses new ones.

    Live subscriptions end with their token, in every process. Locks: the user, so that a sign-in under way
    either comes first and is ended, or is refused.

    Raises:
        Invalid: no reason, or not a user.
        InvalidState: the user is suspended already, or is the actor.
    """
    row = await _lock_user(session, actor, user, Action.SUSPEND_USER)
    text = require_text(reason, field="reason", max_length=MAX_REASON_LENGTH)
    if row.id == actor.id:
        raise InvalidState("You cannot suspend yourself.", field=_FIELD)
    if await _find_open(session, row) is not None:
        raise InvalidState("This user is suspended already.", field=_FIELD)
    assert actor.id is not None
    session.add(Suspension(user_id=row.id, by_id=actor.id, reason=text))
    await session.flush()
    await access_tokens.revoke_all_tokens(session, user_id=row.id)
    await email_tokens.end_all(session, user_id=row.id)
    return row


async def reinstate(session: AsyncSession, actor: Actor, *, user: CollectiveKey) -> Collective:
    """Let a suspended user sign in again; what was ended stays ended. Locks: the user.

    Raises:
        InvalidState: the user is not suspended.
    """
    row = await _lock_user(session, actor, user, Action.REINSTATE_USER)
    suspension = await _find_open(session, row)
    if suspension is None:
        raise InvalidState("This user is not suspended.", field=_FIELD)
    suspension.ended_at, suspension.ended_by_id = now(), actor.id
    await session.flush()
    return row


async def _lock_user(session: AsyncSession, actor: Actor, user: CollectiveKey, action: Action) -> Collective:
    row = require_collective(await resolve_one(session, actor, user, name=_FIELD))
    require(actor, action, Subject(collective=row))
    if row.type != CollectiveType.USER:
        raise Invalid("Only people are suspended; archive a collective, or suspend a host.", field=_FIELD)
    await session.execute(select(col(Collective.id)).where(col(Collective.id) == row.id).with_for_update())
    return row


async def _find_open(session: AsyncSession, user: Collective) -> Suspension | None:
    statement = select(Suspension).where(
        col(Suspension.user_id) == user.id, col(Suspension.ended_at).is_(None)
    )
    return (await session.execute(statement)).scalar_one_or_none()
