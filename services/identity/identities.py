"""A user's identities at other providers: finding, linking and unlinking them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Select, column, delete, false, func, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Identity, new_id, now
from services.access import act_origin, viewer_terms
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.access.viewer_terms import is_in_session, viewer_id
from services.core.errors import Conflict, InvalidState, NotFound
from services.core.pagination import Sort
from services.identity import credentials
from services.messaging import outbox

_PATH = "/sign-in/oidc/"

_NUMBER: Any = column("n", Integer)
IN_ORDER = Sort("provider", _NUMBER, _NUMBER, descending=False)


@dataclass(frozen=True)
class OfferedProvider:
    """A provider with which people can sign in."""

    name: str
    label: str
    path: str
    """Where the browser begins."""


def list_offered(actor: Actor) -> list[OfferedProvider]:
    """List the providers that the settings offer."""
    return [OfferedProvider(name, label, _PATH + name) for _, name, label in actor.identity_providers]


def select_offered(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Any]]:
    """Select the providers that the settings offer."""
    del where, owner  # has no conditions
    elements = func.jsonb_array_elements(viewer_terms.sign_in_providers(actor))
    pair = elements.table_valued(column("texts", JSONB), with_ordinality="n").render_derived(name="pair").c
    name = func.jsonb_extract_path_text(pair.texts, "0")
    label = func.jsonb_extract_path_text(pair.texts, "1")
    path = func.concat(_PATH, name)
    return (select(pair.n, name.label("name"), label.label("label"), path.label("path")),)


async def find_user(session: AsyncSession, *, issuer: str, subject: str) -> Collective | None:
    """Find the user whom an identity signs in, and note that it is used; None if it is linked to nobody."""
    used = await session.execute(
        update(Identity)
        .where(col(Identity.issuer) == issuer, col(Identity.subject) == subject)
        .values(last_used_at=now())
        .returning(col(Identity.user_id))
    )
    user_id = used.scalar_one_or_none()
    if user_id is None:
        return None
    user: Collective = (
        await session.execute(select(Collective).where(col(Collective.id) == user_id))
    ).scalar_one()
    return user


async def link(
    session: AsyncSession, user: Collective, *, issuer: str, subject: str, email: str | None, provider: str
) -> None:
    """Link an identity to a user and tell them by mail; no change if it is linked to them already.

    Raises:
        Conflict: it is linked to another user.
    """
    await act_origin.name_person(session, user.id)
    values = {"id": new_id(), "user_id": user.id, "issuer": issuer, "subject": subject, "email": email}
    added = insert(Identity).values(**values).on_conflict_do_nothing(index_elements=["issuer", "subject"])
    if (await session.execute(added.returning(col(Identity.id)))).scalar_one_or_none() is not None:
        payload = {"name": user.name, "provider": provider, "email": email}
        await outbox.mail_users(session, user_ids=[user.id], template="identity_linked", payload=payload)
        return
    owner = select(col(Identity.user_id)).where(
        col(Identity.issuer) == issuer, col(Identity.subject) == subject
    )
    if (await session.execute(owner)).scalar_one_or_none() != user.id:
        raise Conflict("This identity is linked to another account.", field=())


async def unlink(session: AsyncSession, actor: Actor, *, identity_id: UUID) -> Identity:
    """Unlink one of the actor's own identities. Locks: the credential.

    Raises:
        NotFound: the actor has no such identity.
        InvalidState: it is their last way to sign in.
    """
    require(actor, Action.UNLINK_IDENTITY)
    credential = await credentials.lock(session, user_id=actor.id)
    own = select(Identity).where(col(Identity.user_id) == actor.id)
    row = (await session.execute(own.where(col(Identity.id) == identity_id))).scalar_one_or_none()
    if row is None:
        raise NotFound("You have no such identity.", field="id")
    count = await session.execute(select(func.count()).select_from(own.subquery()))
    has_password = credential is not None and credential.password_hash is not None
    if not has_password and count.scalar_one() == 1:
        raise InvalidState(
            "This is your only way to sign in. Choose a password first: request a password reset.", field="id"
        )
    session.expunge(row)
    await session.execute(delete(Identity).where(col(Identity.id) == identity_id))
    return row


OLDEST_FIRST = Sort("IDENTITIES_OLDEST", col(Identity.id), col(Identity.id), descending=False)


def select_own(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Identity]]:
    """Select the identities of a user who is the actor; none for an access token."""
    del where  # has no conditions
    if actor.user is None:
        return (select(Identity).where(false()),)
    is_own = col(Identity.user_id) == viewer_id(actor)
    is_session = is_in_session(actor)
    return (select(Identity).where(col(Identity.user_id) == owner, is_own, is_session),)


async def list_own(session: AsyncSession, actor: Actor) -> list[Identity]:
    """List the actor's identities, the oldest first; none for an access token."""
    (statement,) = select_own(actor, owner=actor.id)
    rows: Sequence[Identity] = (await session.execute(statement.order_by(OLDEST_FIRST.id))).scalars().all()
    return list(rows)


async def forget_all(session: AsyncSession, *, user_id: UUID, since: datetime | None = None) -> None:
    """Unlink every identity of a user, or those that were linked since a moment."""
    conditions: list[ColumnElement[bool]] = [col(Identity.user_id) == user_id]
    if since is not None:
        conditions.append(col(Identity.created_at) >= since)
    await session.execute(delete(Identity).where(*conditions))
