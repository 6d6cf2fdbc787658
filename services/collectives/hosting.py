"""Asking a host to hold a collective's money, and the host's answer."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, HostApplication, Member, now
from models.enums import CollectiveType, MemberRole, RequestStatus
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import collectives
from services.core import user_text
from services.core.errors import Conflict, Invalid, InvalidState, NotFound
from services.ledger import posting
from services.messaging import outbox

APPLICANTS = (CollectiveType.COMMUNITY, CollectiveType.NONPROFIT, CollectiveType.BUSINESS)


async def apply(
    session: AsyncSession, actor: Actor, *, collective: Ref, host: Ref, message: str | None = None
) -> HostApplication:
    """Ask a host to hold the collective's money.

    Raises:
        Invalid: no organization that hosts itself, or a collective that cannot be hosted.
        Conflict: it has a host, or an application waits.
    """
    parties = await resolve(session, actor, {"collective": collective, "host": host})
    row, holder = named(parties["collective"]), named(parties["host"])
    require(actor, Action.APPLY_TO_HOST, Subject(collective=row))
    assert actor.user is not None
    require_open(row, path=["input", "collective"])
    require_open(holder, path=["input", "host"])
    if row.type not in APPLICANTS or row.is_platform:
        raise Invalid("This collective cannot be hosted", path=["input", "collective"])
    if holder.host_id != holder.id:
        raise Invalid("This collective is no host", path=["input", "host"])
    if row.host_id is not None:
        raise Conflict("This collective has a host", path=["input", "collective"])
    application = HostApplication(
        collective_id=row.id,
        host_id=holder.id,
        created_by_id=actor.user.id,
        message=user_text.clean(message, path=["input", "message"]),
    )
    session.add(application)
    await session.flush()
    await outbox.to_admins(
        session,
        collective_ids=[holder.id],
        template="host_application",
        except_id=actor.id,
        payload={"collective": row.name, "host": holder.name},
    )
    return application


async def decide(
    session: AsyncSession,
    actor: Actor,
    *,
    application_id: UUID,
    approve: bool,
    reason: str | None = None,
) -> HostApplication:
    """Answer an application, once. Yes sets the host, writes the HOST member and opens the balance.

    Locks: the application, then the collective.

    Raises:
        NotFound: there is none that the actor may see.
        InvalidState: it was answered, or the collective is archived or hosted by now.
        Invalid: a no without a reason.
    """
    row, holder = aliased(Collective), aliased(Collective)
    statement = (
        select(HostApplication, row, holder)
        .join(row, col(HostApplication.collective_id) == row.id)
        .join(holder, col(HostApplication.host_id) == holder.id)
        .where(col(HostApplication.id) == application_id, _visible(actor))
        .with_for_update(of=HostApplication)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        require(actor, Action.FOLLOW_COLLECTIVE)
        raise NotFound("There is no such application", path=["input", "id"])
    application, collective, host = found
    require(actor, Action.DECIDE_HOST_APPLICATION, Subject(collective=collective, host=host))
    if application.status != RequestStatus.PENDING:
        raise InvalidState("This application was decided", path=["input", "id"])
    why = user_text.clean(reason, path=["input", "reason"])
    if not approve and not why:
        raise Invalid("A refusal needs a reason", path=["input", "reason"])
    application.status = RequestStatus.ACCEPTED if approve else RequestStatus.DECLINED
    application.reason, application.decided_by_id = why, actor.id
    application.decided_at = now()
    if approve:
        await collectives.lock(session, collective.id)
        await session.refresh(collective)
        await session.refresh(host)
        closed = collective.archived_at is not None or host.archived_at is not None
        if closed or collective.host_id is not None:
            raise InvalidState("The collective is archived or has a host", path=["input", "id"])
        collective.host_id, collective.host_approved_at = host.id, now()
        collective.updated_at = now()
        session.add(
            Member(
                collective_id=collective.id, member_id=host.id, role=MemberRole.HOST, created_by_id=actor.id
            )
        )
    await session.flush()
    if approve:
        await posting.open_account(
            session, book_id=host.id, owner_id=collective.id, currency=collective.currency
        )
    await outbox.to_admins(
        session,
        collective_ids=[collective.id],
        template="host_decision",
        except_id=actor.id,
        payload={"collective": collective.name, "host": host.name, "approved": approve, "reason": why},
    )
    return application


def _visible(actor: Actor) -> ColumnElement[bool]:
    """The admins of both sides."""
    if actor.is_platform_accountant:
        return true()
    ids = actor.with_role(MemberRole.ADMIN)
    return or_(col(HostApplication.collective_id).in_(ids), col(HostApplication.host_id).in_(ids))


async def by_ids(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, HostApplication]:
    """Return those of the applications that the actor may see."""
    statement = select(HostApplication).where(col(HostApplication.id).in_(row_ids), _visible(actor))
    return {row.id: row for row in (await session.execute(statement)).scalars()}


async def pending(session: AsyncSession, actor: Actor, *, host_id: UUID) -> list[HostApplication]:
    """Return the applications to a host that wait, oldest first."""
    statement = (
        select(HostApplication)
        .where(
            col(HostApplication.host_id) == host_id,
            _visible(actor),
            col(HostApplication.status) == RequestStatus.PENDING,
        )
        .order_by(col(HostApplication.id))
    )
    return list((await session.execute(statement)).scalars())
