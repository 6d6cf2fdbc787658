"""Hosts: the platform approves who may hold others' money, and can suspend them."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, HostApplication, now
from models.enums import CollectiveType, Scope
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require, require_signed_in
from services.access.viewer_terms import is_platform_admin
from services.collectives import collectives, hosting
from services.core import user_text
from services.core.errors import Conflict, Invalid, InvalidState, NotFound
from services.messaging import outbox

HOSTS = (CollectiveType.NONPROFIT, CollectiveType.BUSINESS)
MAX_LISTED = 100


async def apply_as_host(
    session: AsyncSession, actor: Actor, *, collective: CollectiveKey, message: str | None = None
) -> HostApplication:
    """Ask the platform to let an organization be a host; a suspended host asks so to be one again.

    Raises:
        Invalid: it is neither a nonprofit nor a business.
        Conflict: it is a host already, has another host, or has a pending application.
        InvalidState: it is archived.
    """
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.APPLY_AS_HOST, Subject(collective=row))
    require_open(row, field="collective")
    if row.type not in HOSTS or row.is_platform:
        raise Invalid("Only a nonprofit or a business can be a host.", field="collective")
    if row.host_id == row.id and row.host_suspended_at is None:
        raise Conflict("This collective is a host already.", field="collective")
    if row.host_id not in {None, row.id}:
        raise Conflict("This collective has a host. Leave it first.", field="collective")
    await hosting.expire_applications(session, collective_id=row.id)
    return await collectives.file_host_application(session, actor, row, message=message)


async def decide_host(
    session: AsyncSession, actor: Actor, *, application_id: UUID, approve: bool, reason: str | None = None
) -> HostApplication:
    """Approve or decline an application to be a host, once; approval opens its book.

    Approval of a suspended host ends the suspension. Locks: the application, then the host and its book.

    Raises:
        NotFound: there is no such application, or the actor may not see it.
        InvalidState: it was answered or has expired, or the applicant is archived or has a host by now.
        Invalid: declined without a reason.
    """
    statement = (
        select(HostApplication, Collective)
        .join(Collective, col(HostApplication.collective_id) == Collective.id)
        .where(
            col(HostApplication.id) == application_id,
            col(HostApplication.host_id) == col(HostApplication.collective_id),
            hosting.application_is_visible(actor),
        )
        .with_for_update(of=HostApplication)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor, scope=Scope.APPROVE)
        raise NotFound("There is no such application.", field="id")
    application, host = match
    require(actor, Action.DECIDE_HOST)
    reason = hosting.record_decision(application, actor, approve=approve, reason=reason)
    await session.flush()  # the database asks for an accepted application
    if approve:
        await _open_book(session, host)
        await session.flush()
    await outbox.mail_admins(
        session,
        collective_ids=[host.id],
        template="host_approval",
        except_id=actor.id,
        payload={"host": host.name, "approved": approve, "reason": reason},
    )
    return application


async def _open_book(session: AsyncSession, host: Collective) -> None:
    await collectives.lock(session, host.id)
    await _lock_book(session, host.id)
    await session.refresh(host)
    if host.archived_at is not None or host.host_id not in {None, host.id}:
        raise InvalidState("The collective is archived, or it has another host by now.", field="id")
    if host.host_id is None:
        await collectives.become_host(session, host)
    host.host_suspended_at = host.host_suspension_reason = None
    host.updated_at = now()


async def suspend_host(
    session: AsyncSession, actor: Actor, *, host: CollectiveKey, reason: str | None
) -> Collective:
    """Stop new money in a host's book at once; what is there can be paid out and refunded.

    `applyAsHost` is the way back. Locks: the host, then its book, so that every payment is either before the
    suspension or refused.

    Raises:
        Invalid: it is not a host, it is the platform, or there is no reason.
        InvalidState: it is suspended already.
    """
    row = require_collective(await resolve_one(session, actor, host, name="host"))
    require(actor, Action.SUSPEND_HOST)
    text = user_text.clean_text(reason, field="reason")
    if not text:
        raise Invalid("Enter a reason for the suspension.", field="reason")
    if row.host_id != row.id or row.is_platform:
        raise Invalid("This collective is not a host that can be suspended.", field="host")
    await collectives.lock(session, row.id)
    await _lock_book(session, row.id)
    await session.refresh(row)
    if row.host_suspended_at is not None:
        raise InvalidState("The host is suspended already.", field="host")
    row.host_suspended_at = row.updated_at = now()
    row.host_suspension_reason = text
    await session.flush()
    await outbox.mail_admins(
        session,
        collective_ids=[row.id],
        template="host_suspended",
        except_id=actor.id,
        payload={"host": row.name, "reason": text},
    )
    return row


async def _lock_book(session: AsyncSession, host_id: UUID) -> None:
    """Wait for payments into a host's book that are under way, and let later ones wait."""
    await session.execute(select(func.lock_book(host_id)))


def select_pending(
    actor: Actor, *, where: object = None, owner: object = None, at: Any = None
) -> tuple[Select[HostApplication]]:
    """Select the first 100 pending applications to be a host; none unless the actor decides."""
    del where, owner  # has no conditions
    statement = (
        select(HostApplication)
        .where(
            is_platform_admin(actor),
            col(HostApplication.host_id) == col(HostApplication.collective_id),
            hosting.is_pending(func.now() if at is None else at),
        )
        .order_by(hosting.PENDING_OLDEST.id)
        .limit(MAX_LISTED)
    )
    return (statement,)


async def list_pending(session: AsyncSession, actor: Actor) -> list[HostApplication]:
    """List the first 100 pending applications to be a host, oldest first; empty unless the actor decides."""
    (statement,) = select_pending(actor, at=now())
    return list((await session.execute(statement)).scalars())
