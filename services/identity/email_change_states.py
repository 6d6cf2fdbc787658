"""The states of a change of address: it waits for its proof, and can be undone once it is confirmed."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import EmailChange, now


def is_waiting() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions in SQL of a change that waits, in time or not."""
    return (col(EmailChange.confirmed_at).is_(None), col(EmailChange.ended_at).is_(None))


def can_be_confirmed(at: Any = None) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions in SQL of a change that waits and is in time: now, or at an expression's."""
    return (*is_waiting(), col(EmailChange.expires_at) > (now() if at is None else at))


def can_be_undone() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions in SQL of a confirmed change that the old address can take back."""
    return (
        col(EmailChange.confirmed_at).is_not(None),
        col(EmailChange.undone_at).is_(None),
        col(EmailChange.ended_at).is_(None),
        col(EmailChange.undo_until) > now(),
    )


async def end_waiting(session: AsyncSession, *, user_id: UUID) -> None:
    """End a user's change that waits, if there is one."""
    await session.execute(
        update(EmailChange).where(col(EmailChange.user_id) == user_id, *is_waiting()).values(ended_at=now())
    )
