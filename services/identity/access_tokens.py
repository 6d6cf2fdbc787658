"""Bearer tokens: of sessions, and of programs as their makers name them."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Token, new_id, now
from models.enums import Scope, TokenKind
from services.access.actor import Actor, token_hash
from services.access.permissions import Action, require
from services.core.errors import Invalid, NotFound
from services.core.user_text import required


def new_token(user_id: UUID, kind: TokenKind, expires_at: datetime, **columns: Any) -> tuple[str, Token]:
    """Return the text of a new token, which is not stored, and its row."""
    text = ("cws_" if kind is TokenKind.SESSION else "cwa_") + secrets.token_urlsafe(32)
    return text, Token(
        id=new_id(),
        user_id=user_id,
        kind=kind,
        token_hash=token_hash(text),
        expires_at=expires_at,
        **columns,
    )


async def create_access_token(
    session: AsyncSession, actor: Actor, *, name: str, scopes: list[Scope], expires_at: datetime
) -> tuple[str, Token]:
    """Make a token for a program, with at most the maker's own scopes; its text is not stored.

    Raises:
        Invalid: no name, no scope, a scope that the maker's own token lacks, or an end outside the next
            year.
    """
    require(actor, Action.CREATE_ACCESS_TOKEN)
    assert actor.user is not None
    shown = required(name, path=["input", "name"])
    if not scopes:
        raise Invalid("Name at least one scope", path=["input", "scopes"])
    if actor.scopes is not None and not actor.scopes.issuperset(scopes):
        raise Invalid("A token cannot make one that may do more", path=["input", "scopes"])
    if actor.scopes is not None and actor.expires_at is not None and expires_at > actor.expires_at:
        raise Invalid("A token cannot make one that lasts longer", path=["input", "expiresAt"])
    if not now() < expires_at <= now() + timedelta(days=366):
        raise Invalid("The end must lie within the next year", path=["input", "expiresAt"])
    text, token = new_token(
        actor.user.id, TokenKind.ACCESS, expires_at, name=shown, scopes=sorted(set(scopes))
    )
    session.add(token)
    await session.flush()
    return text, token


async def revoke_access_token(session: AsyncSession, actor: Actor, *, token_id: UUID) -> Token:
    """End one of the user's own access tokens; ended already is well, too.

    Raises:
        NotFound: the user has no such token.
    """
    require(actor, Action.REVOKE_ACCESS_TOKEN)
    token = (
        await session.execute(
            select(Token).where(
                col(Token.id) == token_id,
                col(Token.user_id) == actor.id,
                col(Token.kind) == TokenKind.ACCESS,
            )
        )
    ).scalar_one_or_none()
    if token is None:
        raise NotFound("There is no such access token", path=["input", "id"])
    token.revoked_at = token.revoked_at or now()
    await session.flush()
    return token


async def revoke_all(session: AsyncSession, *, user_id: UUID) -> None:
    """End every session and access token of a user."""
    await session.execute(
        update(Token)
        .where(col(Token.user_id) == user_id, col(Token.revoked_at).is_(None))
        .values(revoked_at=now())
    )


async def access_tokens(session: AsyncSession, actor: Actor) -> list[Token]:
    """Return the user's access tokens that still hold, newest first."""
    statement = (
        select(Token)
        .where(
            col(Token.user_id) == actor.id,
            col(Token.kind) == TokenKind.ACCESS,
            col(Token.revoked_at).is_(None),
            col(Token.expires_at) > now(),
        )
        .order_by(col(Token.id).desc())
    )
    return list((await session.execute(statement)).scalars())
