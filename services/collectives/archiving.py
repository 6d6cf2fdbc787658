"""Archiving collectives, and the way back. History is kept."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Collective, HostApplication, Invitation, LedgerAccount, Member, Order, now
from models.enums import CollectiveType, MemberRole, RequestStatus
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require, require_session
from services.collectives import collectives
from services.collectives.event_capacity import REGISTRATION_ROLES
from services.core.errors import InvalidState
from services.identity import access_tokens, email_tokens
from services.messaging import event_notifications

_FIELD = "collective"
_ARCHIVED_NOTE = "The event or the collective that runs it was archived."


async def archive(session: AsyncSession, actor: Actor, *, collective: CollectiveKey) -> Collective:
    """Archive a collective with its events, and keep its history.

    Its pending invitations and host applications end, and so do registrations for events that are not over;
    their users get a mail. A user's sessions, access tokens and mailed links end, and so does a change of
    address that waits. Locks: the collective, then its events, so that no order, refund or registration can
    be added.

    Raises:
        Forbidden: an access token archives a user, whose sessions would end.
        InvalidState: a balance, a hold or an open order remains, it hosts others, it is the platform, or the
            user is the last ADMIN of an open collective.
    """
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.ARCHIVE_COLLECTIVE, Subject(collective=row))
    if row.type == CollectiveType.USER:
        require_session(actor, "Archiving a person")
    await collectives.lock(session, row.id)
    await session.refresh(row)
    if row.archived_at is not None:
        return row
    events = await _lock_open_events(session, row)
    await _require_settled(session, row, events)
    if row.type == CollectiveType.USER:
        await _require_other_admins(session, row)
        await access_tokens.revoke_all_tokens(session, user_id=row.id)
        await email_tokens.end_all(session, user_id=row.id)
    row.archived_at = now()
    for event in events:
        event.archived_at = row.archived_at
    await session.flush()
    await _end_requests(session, row, events)
    for event in events if row.type != CollectiveType.EVENT else [row]:
        await _end_registrations(session, actor, event)
    return row


async def _lock_open_events(session: AsyncSession, row: Collective) -> list[Collective]:
    statement = (
        select(Collective)
        .where(col(Collective.parent_id) == row.id, col(Collective.archived_at).is_(None))
        .order_by(col(Collective.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list((await session.execute(statement)).scalars())


async def _require_settled(session: AsyncSession, row: Collective, events: list[Collective]) -> None:
    event_ids = [row.id, *(event.id for event in events)]
    checks = select(
        exists().where(
            or_(col(LedgerAccount.owner_id) == row.id, col(LedgerAccount.book_id) == row.id),
            or_(col(LedgerAccount.posted) != 0, col(LedgerAccount.held) != 0),
        ),
        or_(
            collectives.open_order_exists(row.id),
            exists().where(
                col(Order.event_id).in_(event_ids), col(Order.status).in_(collectives.OPEN_STATUSES)
            ),
        ),
        exists().where(
            col(Collective.host_id) == row.id,
            col(Collective.id) != row.id,
            col(Collective.archived_at).is_(None),
        ),
    )
    has_balance, has_open_order, has_hosted = (await session.execute(checks)).one()
    if has_balance:
        raise InvalidState(
            "The collective still has a balance or a hold. Move its money first.", field=_FIELD
        )
    if has_open_order:
        raise InvalidState(
            "The collective or one of its events still has an open order. Settle or cancel it first.",
            field=_FIELD,
        )
    if has_hosted or row.is_platform:
        raise InvalidState("The collective hosts other collectives and cannot be archived.", field=_FIELD)


async def _require_other_admins(session: AsyncSession, user: Collective) -> None:
    """Require that every open collective the user runs has another ADMIN; events have their parent's."""
    other = aliased(Member)
    statement = (
        select(col(Collective.slug))
        .join(Member, col(Member.collective_id) == Collective.id)
        .where(
            col(Member.member_id) == user.id,
            col(Member.role) == MemberRole.ADMIN,
            col(Member.until).is_(None),
            col(Collective.archived_at).is_(None),
            col(Collective.type) != CollectiveType.EVENT,
            ~exists().where(
                col(other.collective_id) == Collective.id,
                col(other.role) == MemberRole.ADMIN,
                col(other.until).is_(None),
                col(other.member_id) != user.id,
            ),
        )
        .limit(1)
    )
    slug = (await session.execute(statement)).scalar_one_or_none()
    if slug is not None:
        raise InvalidState(
            f"You are the last ADMIN of {slug}. Appoint another one or archive it first.", field=_FIELD
        )


async def _end_requests(session: AsyncSession, row: Collective, events: list[Collective]) -> None:
    """End the pending invitations and host applications of, to and for what is archived."""
    ids = [row.id, *(event.id for event in events)]
    await session.execute(
        update(Invitation)
        .where(
            or_(col(Invitation.collective_id).in_(ids), col(Invitation.user_id) == row.id),
            col(Invitation.status) == RequestStatus.PENDING,
        )
        .values(status=RequestStatus.WITHDRAWN, answered_at=row.archived_at)
    )
    await session.execute(
        update(HostApplication)
        .where(
            or_(col(HostApplication.collective_id) == row.id, col(HostApplication.host_id) == row.id),
            col(HostApplication.status) == RequestStatus.PENDING,
        )
        .values(status=RequestStatus.WITHDRAWN, decided_at=row.archived_at)
    )


async def _end_registrations(session: AsyncSession, actor: Actor, event: Collective) -> None:
    """End the registrations for an event that is not over, except of those who were checked in."""
    assert event.ends_at is not None
    if event.ends_at <= now():
        return
    ended = await session.execute(
        update(Member)
        .where(
            col(Member.collective_id) == event.id,
            col(Member.role).in_(REGISTRATION_ROLES),
            col(Member.until).is_(None),
            ~exists().where(
                col(Attendance.event_id) == event.id, col(Attendance.user_id) == Member.member_id
            ),
        )
        .values(until=func.greatest(event.archived_at, col(Member.since)))
        .returning(col(Member.member_id))
        .execution_options(synchronize_session=False)
    )
    user_ids = list(ended.scalars())
    if user_ids:
        await event_notifications.notify_cancellation(
            session, event, user_ids=user_ids, reason=_ARCHIVED_NOTE, by_id=actor.id
        )


async def unarchive(session: AsyncSession, actor: Actor, *, collective: CollectiveKey) -> Collective:
    """Open an archived collective again, with the events that were archived with it.

    What ended stays ended: invitations, registrations, sessions. If its host was archived meanwhile or is
    suspended, the collective has no host any more. Locks: the collective, then its events.

    Raises:
        InvalidState: it is not archived, its parent is, or it is a user who was merged into another.
    """
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.UNARCHIVE_COLLECTIVE, Subject(collective=row))
    await collectives.lock(session, row.id)
    await session.refresh(row)
    if row.archived_at is None:
        raise InvalidState("The collective is not archived.", field=_FIELD)
    if row.merged_into_id is not None:
        raise InvalidState("This user was merged into another one, and stays archived.", field=_FIELD)
    if row.parent_id is not None:
        require_open(await session.get_one(Collective, row.parent_id), field=_FIELD)
    archived_at, row.archived_at = row.archived_at, None
    row.updated_at = now()
    await _leave_closed_host(session, row)
    await session.flush()
    await _open_events(session, row.id, archived_at)
    return row


async def _leave_closed_host(session: AsyncSession, row: Collective) -> None:
    """Remove a host that cannot hold money for the collective any more."""
    if row.host_id is None or row.host_id == row.id:
        return
    host = await session.get_one(Collective, row.host_id, populate_existing=True)
    if host.archived_at is not None or host.host_suspended_at is not None or host.host_id != host.id:
        await collectives.end_hosting(session, row)


async def _open_events(session: AsyncSession, parent_id: UUID, archived_at: datetime) -> None:
    await session.execute(
        update(Collective)
        .where(col(Collective.parent_id) == parent_id, col(Collective.archived_at) == archived_at)
        .values(archived_at=None, updated_at=now())
        .execution_options(synchronize_session=False)
    )
