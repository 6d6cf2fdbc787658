"""Bearer tokens of sessions, and access tokens that users create for programs."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, false, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Token, new_id, now
from models.enums import Scope, TokenKind
from services.access.actor import Actor, hash_token
from services.access.permissions import Action, require
from services.access.viewer_terms import viewer_id
from services.core.errors import Invalid, NotFound
from services.core.pagination import Sort
from services.core.user_text import require_name
from services.identity import challenges


def build_token(user_id: UUID, kind: TokenKind, expires_at: datetime, **columns: Any) -> tuple[str, Token]:
    """Build a new token: its text, which is never stored, and its row."""
    text = ("cws_" if kind is TokenKind.SESSION else "cwa_") + secrets.token_urlsafe(32)
    return text, Token(
        id=new_id(),
        user_id=user_id,
        kind=kind,
        token_hash=hash_token(text),
        expires_at=expires_at,
        **columns,
    )


async def create_access_token(
    session: AsyncSession, actor: Actor, *, name: str, scopes: list[Scope], expires_at: datetime
) -> tuple[str, Token]:
    """Create an access token with at most the caller's scopes; its text is not stored.

    One that is made with another token ends with it.

    Raises:
        Invalid: no name, no scope, a scope that the caller's own token lacks, or an expiry that is not
            within 366 days or after the caller's own token's.
    """
    require(actor, Action.CREATE_ACCESS_TOKEN)
    assert actor.user is not None
    token_name = require_name(name, field="name")
    if not scopes:
        raise Invalid("Choose at least one scope.", field="scopes")
    if actor.scopes is not None and not actor.scopes.issuperset(scopes):
        raise Invalid("An access token cannot create a token with more scopes than its own.", field="scopes")
    if actor.scopes is not None and actor.expires_at is not None and expires_at > actor.expires_at:
        raise Invalid("An access token cannot create a token that expires after itself.", field="expiresAt")
    if not now() < expires_at <= now() + timedelta(days=366):
        raise Invalid("Choose an expiry within the next year.", field="expiresAt")
    text, token = build_token(
        actor.user.id,
        TokenKind.ACCESS,
        expires_at,
        name=token_name,
        scopes=sorted(set(scopes)),
        parent_id=actor.token_id if actor.scopes is not None else None,
    )
    session.add(token)
    await session.flush()
    return text, token


async def revoke_access_token(session: AsyncSession, actor: Actor, *, token_id: UUID) -> Token:
    """Revoke one of the user's own access tokens and those made with it; no change if it is revoked already.

    An access token revokes no others than itself and those made with it.

    Raises:
        NotFound: the user has no such token, or the caller's token may not revoke it.
    """
    require(actor, Action.REVOKE_ACCESS_TOKEN)
    token = (
        await session.execute(
            select(Token).where(
                col(Token.id) == token_id,
                col(Token.user_id) == actor.id,
                col(Token.kind) == TokenKind.ACCESS,
                *([col(Token.id).in_(_select_family(actor.token_id))] if actor.scopes is not None else []),
            )
        )
    ).scalar_one_or_none()
    if token is None:
        raise NotFound("There is no such access token.", field="id")
    token.revoked_at = token.revoked_at or now()
    await session.flush()
    return token


def _select_family(token_id: UUID | None) -> Select[UUID]:
    """Select the ids of a token and of all that were made with it, at any remove."""
    family = select(col(Token.id).label("id")).where(col(Token.id) == token_id).cte("family", recursive=True)
    children = select(col(Token.id)).join(family, col(Token.parent_id) == family.c.id)
    return select(family.union(children).c.id)


async def revoke_all_tokens(session: AsyncSession, *, user_id: UUID, except_id: UUID | None = None) -> None:
    """Revoke all sessions, begun sign-ins and access tokens of a user, but not the one of `except_id`."""
    await challenges.end_all(session, user_id=user_id)
    is_other = col(Token.id) != except_id if except_id else true()
    await session.execute(
        update(Token)
        .where(col(Token.user_id) == user_id, col(Token.revoked_at).is_(None), is_other)
        .values(revoked_at=now())
    )


NEWEST_FIRST = Sort("TOKENS_NEWEST", col(Token.id), col(Token.id))


def select_access_tokens(
    actor: Actor, *, where: object = None, owner: object = None, at: Any = None
) -> tuple[Select[Token]]:
    """Select the user's valid access tokens."""
    del where, owner  # has no conditions
    if actor.user is None:
        return (select(Token).where(false()),)
    statement = select(Token).where(
        col(Token.user_id) == viewer_id(actor),
        col(Token.kind) == TokenKind.ACCESS,
        col(Token.revoked_at).is_(None),
        col(Token.expires_at) > (func.now() if at is None else at),
    )
    return (statement,)


def select_access_token(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[Token]]:
    """Select the user's valid access token with the id of `where`."""
    (own,) = select_access_tokens(actor, owner=owner)
    return (own.where(col(Token.id) == where.id),)


async def list_access_tokens(session: AsyncSession, actor: Actor) -> list[Token]:
    """List the user's valid access tokens, newest first."""
    (statement,) = select_access_tokens(actor, at=now())
    return list((await session.execute(statement.order_by(NEWEST_FIRST.id.desc()))).scalars())
