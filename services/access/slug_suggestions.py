"""Suggestions for a slug that does not exist: a similar one of what the actor may see."""

from difflib import get_close_matches

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective
from services.access import visibility
from services.access.actor import Actor

_MAX_PREFIX = 3
"""Letters that a suggestion must share with what was entered."""
_MAX_CANDIDATES = 300
_MIN_SIMILARITY = 0.75


async def describe_missing(session: AsyncSession, actor: Actor, *, key: object) -> str:
    """Return what to tell about a reference that led nowhere, with a similar slug if there is one."""
    message = "There is no such collective."
    suggestion = await _find_similar(session, actor, slug=key) if isinstance(key, str) else None
    return message if suggestion is None else f"{message} Did you mean {suggestion}?"


async def _find_similar(session: AsyncSession, actor: Actor, *, slug: str) -> str | None:
    """Find the most similar slug among listed collectives whose slugs begin alike; one statement."""
    prefix = slug[: min(_MAX_PREFIX, len(slug) - 1)]
    if not prefix:
        return None
    statement = (
        select(col(Collective.slug))
        .where(
            col(Collective.slug) >= prefix,
            col(Collective.slug).startswith(prefix, autoescape=True),
            col(Collective.archived_at).is_(None),
            visibility.collective_is_listed(actor),
        )
        .order_by(col(Collective.slug))
        .limit(_MAX_CANDIDATES)
    )
    slugs = (await session.execute(statement)).scalars().all()
    return next(iter(get_close_matches(slug, slugs, n=1, cutoff=_MIN_SIMILARITY)), None)
