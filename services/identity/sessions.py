"""Sessions: where a user is signed in, and how each of them ends."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Token, now
from models.enums import Proof, TokenKind
from services.access import act_origin
from services.access.actor import Actor, hash_token, is_valid_token
from services.access.permissions import Action, require
from services.access.viewer_terms import is_in_session, viewer_id, viewer_token
from services.core.errors import WHOLE_INPUT, InvalidState, NotFound, Unauthenticated
from services.core.pagination import Sort
from services.identity import credentials, devices
from services.identity.access_tokens import build_token
from services.identity.challenges import FactorChallenge, ask_for_factor
from services.messaging import outbox, reader_languages

MAX_DEVICE_LENGTH = 200


@dataclass(frozen=True)
class Origin:
    """Where a session is started, and for how long."""

    days: int
    device: str = ""
    network: str = ""
    device_key: str | None = None
    """What the browser's cookie says; None for a program that keeps none."""


@dataclass(frozen=True)
class OpenSession:
    """A session, as its user sees it."""

    id: UUID
    device: str | None
    network: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    is_current: bool

    @classmethod
    def of(cls, row: Token, *, current_id: UUID | None) -> Self:
        """Return the session of a row."""
        shown = (row.device, row.network, row.created_at, row.last_used_at, row.expires_at)
        return cls(row.id, *shown, is_current=row.id == current_id)


LAST_USED_FIRST = Sort("session", col(Token.last_used_at), col(Token.id))


@dataclass(frozen=True)
class NewSession:
    """A user and the token of their new session; the token is not stored and returned once."""

    user: Collective
    token: str
    expires_at: datetime
    is_claimed_now: bool = False
    """True if this claimed the user's account."""
    challenge: FactorChallenge | None = None
    """What is still needed; there is no session then, and no token."""
    is_first_of_device: bool | None = None
    """True if the browser signs in this user for the first time; None if it keeps no cookie."""


async def start_session(
    session: AsyncSession, user: Collective, origin: Origin, *, proof: Proof | None = None
) -> NewSession:
    """Start a session, or ask for the second factor of a user who has one and has not shown it as `proof`.

    The database refuses a session for a suspended user, and without the second factor.

    Raises:
        InvalidState: the user is archived.
    """
    if user.archived_at is not None:
        raise InvalidState("This account is archived. Ask the platform to open it again.", field=WHOLE_INPUT)
    if proof is None:
        challenge = await ask_for_factor(session, user_id=user.id)
        if challenge is not None:
            return NewSession(user, "", challenge.expires_at, challenge=challenge)
    await act_origin.name_person(session, user.id)
    expires_at = now() + timedelta(days=origin.days)
    name, network = name_device(origin.device) or None, origin.network or None
    device = None
    if origin.device_key is not None:
        device = await devices.remember(session, user.id, key=origin.device_key, name=name, network=network)
    text, token = build_token(
        user.id,
        TokenKind.SESSION,
        expires_at,
        device=name,
        network=network,
        device_id=device.id if device else None,
        factor=proof,
    )
    session.add(token)
    await session.flush()
    await reader_languages.note_browser(session, user.id, is_proved=True)
    return NewSession(user, text, token.expires_at, is_first_of_device=device.is_first if device else None)


async def start_reported_session(
    session: AsyncSession, user: Collective, origin: Origin, *, proof: Proof | None = None
) -> NewSession:
    """Start a session as `start_session` does; a device that is new is told by mail."""
    name = name_device(origin.device)
    before = await devices.load_acquaintance(
        session, user.id, name=name or None, network=origin.network or None
    )
    started = await start_session(session, user, origin, proof=proof)
    can_tell = bool(origin.network) or origin.device_key is not None
    if started.challenge is None and can_tell and before.is_news(is_first=started.is_first_of_device):
        payload = {
            "name": user.name,
            "device": name,
            "network": origin.network,
            "time": {"at": now().isoformat(), "zone": user.timezone or "UTC"},
        }
        await outbox.mail_users(session, user_ids=[user.id], template="new_device", payload=payload)
    return started


def name_device(user_agent: str) -> str:
    """Return what a browser or program calls itself, in printable characters."""
    return "".join(c for c in re.sub(r"\s+", " ", user_agent) if c.isprintable())[:MAX_DEVICE_LENGTH].strip()


def select_sessions(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Any]]:
    """Select the sessions in which the user is signed in; none for an access token."""
    del where, owner  # has no conditions
    columns = (Token.id, Token.device, Token.network, Token.created_at, Token.last_used_at, Token.expires_at)
    is_current = (col(Token.token_hash) == viewer_token(actor)).label("is_current")
    own: Any = select(*map(col, columns), is_current)
    return (own.where(*_is_open(actor), is_in_session(actor)),)


async def list_sessions(session: AsyncSession, actor: Actor) -> list[OpenSession]:
    """List the sessions in which the user is signed in, the one used last first; none for an access token."""
    (statement,) = select_sessions(actor)
    order = (LAST_USED_FIRST.key.desc(), LAST_USED_FIRST.id.desc())
    return [OpenSession(*row) for row in await session.execute(statement.order_by(*order))]


async def end_session(session: AsyncSession, actor: Actor, *, session_id: UUID) -> Token:
    """End one of the user's sessions. Locks: the credential.

    Raises:
        NotFound: the user has no such session.
        Unauthenticated: another request has ended the caller's own session.
    """
    require(actor, Action.END_SESSION)
    await _lock_own_session(session, actor)
    statement = select(Token).where(*_is_open(actor), col(Token.id) == session_id)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("You have no such session.", field="id")
    row.revoked_at = now()
    await session.flush()
    return row


async def end_other_sessions(session: AsyncSession, actor: Actor) -> Sequence[UUID]:
    """End all sessions of the user but the present one; return their ids. Locks: the credential.

    Raises:
        Unauthenticated: another request has ended the caller's own session.
    """
    require(actor, Action.END_OTHER_SESSIONS)
    await _lock_own_session(session, actor)
    ended = await session.execute(
        update(Token)
        .where(*_is_open(actor), col(Token.id) != actor.token_id)
        .values(revoked_at=now())
        .returning(col(Token.id))
    )
    return ended.scalars().all()


async def end_session_of_token(session: AsyncSession, *, token: str) -> None:
    """End the session of a token, if there is one: a browser keeps one session at a time."""
    await session.execute(
        update(Token)
        .where(
            col(Token.token_hash) == hash_token(token),
            col(Token.kind) == TokenKind.SESSION,
            col(Token.revoked_at).is_(None),
        )
        .values(revoked_at=now())
    )


async def _lock_own_session(session: AsyncSession, actor: Actor) -> None:
    """Let one request at a time end sessions of a user, so that two cannot end each other."""
    await credentials.lock(session, user_id=actor.id)
    statement = select(exists().where(col(Token.id) == actor.token_id, col(Token.revoked_at).is_(None)))
    if not (await session.execute(statement)).scalar_one():
        raise Unauthenticated("Your session has ended; sign in again.")


def _is_open(actor: Actor) -> list[ColumnElement[bool]]:
    return [
        col(Token.user_id) == viewer_id(actor),
        col(Token.kind) == TokenKind.SESSION,
        *is_valid_token(),
    ]
