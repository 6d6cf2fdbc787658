"""Applications of collectives to hosts that hold their money, and the hosts' decisions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, HostApplication, new_id, now
from models.enums import CollectiveType, MemberRole, RequestStatus, Scope
from services.access.actor import Actor
from services.access.collective_refs import (
    CollectiveKey,
    require_collective,
    require_open,
    resolve,
)
from services.access.permissions import Action, Subject, require, require_signed_in
from services.access.viewer_terms import is_of_roles
from services.collectives import moving
from services.core import user_text
from services.core.errors import Conflict, Invalid, InvalidState, NotFound
from services.core.pagination import Sort
from services.messaging import outbox

APPLICANTS = (CollectiveType.COMMUNITY, CollectiveType.NONPROFIT, CollectiveType.BUSINESS)
MAX_LISTED = 100


async def apply(
    session: AsyncSession,
    actor: Actor,
    *,
    collective: CollectiveKey,
    host: CollectiveKey,
    message: str | None = None,
) -> HostApplication:
    """Apply to a host to hold the collective's money.

    Raises:
        Invalid: the host does not host itself, or the collective cannot be hosted.
        Conflict: the collective has a host, or a pending application.
        InvalidState: either is archived, or the host is suspended.
    """
    parties = await resolve(session, actor, {"collective": collective, "host": host})
    applicant, holder = require_collective(parties["collective"]), require_collective(parties["host"])
    require(actor, Action.APPLY_TO_HOST, Subject(collective=applicant))
    require_applicable(applicant, holder)
    if applicant.host_id is not None:
        raise Conflict(
            "This collective already has a host. Use moveToHost to move to another.", field="collective"
        )
    return await file_application(
        session,
        actor,
        applicant,
        holder,
        application_id=new_id(),
        message=message,
        template="host_application",
    )


def require_applicable(applicant: Collective, holder: Collective) -> None:
    """Require that a collective can be hosted, and that the other one can host it.

    Raises:
        Invalid: the holder is no host, or the applicant cannot be hosted.
        InvalidState: either is archived, or the host is suspended.
    """
    require_open(applicant, field="collective")
    require_open(holder, field="host")
    if applicant.type not in APPLICANTS or applicant.is_platform:
        raise Invalid("This collective cannot be hosted.", field="collective")
    if holder.host_id != holder.id:
        raise Invalid("This collective is not a host. Choose a host.", field="host")
    if holder.host_suspended_at is not None:
        raise InvalidState("This host is suspended. Choose another one.", field="host")


async def file_application(
    session: AsyncSession,
    actor: Actor,
    applicant: Collective,
    holder: Collective,
    *,
    application_id: UUID,
    message: str | None,
    template: str,
) -> HostApplication:
    """Write an application and mail it to the host's ADMINs.

    Raises:
        Conflict: from the database, if another application of the collective is pending.
    """
    assert actor.user is not None
    await expire_applications(session, collective_id=applicant.id)
    application = HostApplication(
        id=application_id,
        collective_id=applicant.id,
        host_id=holder.id,
        created_by_id=actor.user.id,
        message=user_text.clean_text(message, field="message"),
    )
    session.add(application)
    await session.flush()
    await outbox.mail_admins(
        session,
        collective_ids=[holder.id],
        template=template,
        except_id=actor.id,
        payload={"collective": applicant.name, "host": holder.name},
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
    """Approve or decline an application, once.

    Approval sets the host, adds the HOST member and opens the collective's account. A collective that has
    another host moves with its balance. Locks: the application, then the collective, then ledger accounts.

    Raises:
        NotFound: there is no such application, or the actor may not see it.
        InvalidState: it was answered before or has expired, the collective or host is archived, the host is
            suspended, the collective is a host by now, or it moves and has a hold or an open order.
        Invalid: declined without a reason.
        LimitExceeded and others: a balance that cannot be moved; as `moving.move_balance`.
    """
    applicant, holder = aliased(Collective), aliased(Collective)
    statement = (
        select(HostApplication, applicant, holder)
        .join(applicant, col(HostApplication.collective_id) == applicant.id)
        .join(holder, col(HostApplication.host_id) == holder.id)
        .where(
            col(HostApplication.id) == application_id,
            col(HostApplication.host_id) != col(HostApplication.collective_id),
            application_is_visible(actor),
        )
        .with_for_update(of=HostApplication)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor, scope=Scope.COLLECTIVES)
        raise NotFound("There is no such application.", field="id")
    application, collective, host = match
    require(actor, Action.DECIDE_HOST_APPLICATION, Subject(collective=collective, host=host))
    reason = record_decision(application, actor, approve=approve, reason=reason)
    if approve:
        await moving.start_hosting(session, actor, collective, host)
    await session.flush()
    await outbox.mail_admins(
        session,
        collective_ids=[collective.id],
        template="host_decision",
        except_id=actor.id,
        payload={"collective": collective.name, "host": host.name, "approved": approve, "reason": reason},
    )
    return application


def record_decision(
    application: HostApplication, actor: Actor, *, approve: bool, reason: str | None
) -> str | None:
    """Write the decision on a locked application, and return its reason.

    Raises:
        InvalidState: it was answered before, or has expired.
        Invalid: declined without a reason.
    """
    _require_pending(application)
    text = user_text.clean_text(reason, field="reason")
    if not approve and not text:
        raise Invalid("Enter a reason for declining.", field="reason")
    application.status = RequestStatus.ACCEPTED if approve else RequestStatus.DECLINED
    application.reason, application.decided_by_id = text, actor.id
    application.decided_at = now()
    return text


def _require_pending(application: HostApplication) -> None:
    if application.status != RequestStatus.PENDING:
        raise InvalidState("This application has been answered already.", field="id")
    if application.expires_at <= now():
        raise InvalidState("This application has expired. Apply again.", field="id")


def application_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True in SQL for the ADMINs of both sides and the platform's accountants."""
    if actor.is_platform_accountant:
        return true()
    sides = (HostApplication.collective_id, HostApplication.host_id)
    return or_(*(is_of_roles(side, actor, MemberRole.ADMIN) for side in sides))


async def load_application(session: AsyncSession, actor: Actor, *, application_id: UUID) -> HostApplication:
    """Load an application, as an earlier call with the same idempotency key left it.

    Raises:
        NotFound: the actor may not see it any more.
    """
    rows = await load_applications(session, actor, row_ids=[application_id])
    if application_id not in rows:
        raise NotFound("You no longer have access to the application.")
    return rows[application_id]


def select_application(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[HostApplication]]:
    """Select the application with the id of `where`, if the actor may see it."""
    assert owner is None
    is_it = col(HostApplication.id) == where.id
    return (select(HostApplication).where(is_it, application_is_visible(actor)),)


async def load_applications(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, HostApplication]:
    """Load the applications that the actor may see."""
    statement = select(HostApplication).where(
        col(HostApplication.id).in_(row_ids), application_is_visible(actor)
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}


def is_pending(at: Any = None) -> ColumnElement[bool]:
    """True in SQL for applications that can still be answered: now, or at the moment of an expression."""
    is_open = col(HostApplication.status) == RequestStatus.PENDING
    return and_(is_open, col(HostApplication.expires_at) > (now() if at is None else at))


PENDING_OLDEST = Sort(
    "APPLICATIONS_OLDEST", col(HostApplication.id), col(HostApplication.id), descending=False
)


def select_pending(
    actor: Actor, *, where: object = None, owner: Any, at: Any = None
) -> tuple[Select[HostApplication]]:
    """Select a host's pending applications that the actor may see."""
    del where  # has no conditions
    found = select(HostApplication).where(
        col(HostApplication.host_id) == owner,
        col(HostApplication.collective_id) != owner,
        application_is_visible(actor),
        is_pending(func.now() if at is None else at),
    )
    return (found,)


async def list_pending(session: AsyncSession, actor: Actor, *, host_id: UUID) -> list[HostApplication]:
    """List a host's pending applications that the actor may see, oldest first."""
    (statement,) = select_pending(actor, owner=host_id, at=now())
    return list((await session.execute(statement.order_by(PENDING_OLDEST.id))).scalars())


NEWEST_FIRST = Sort("APPLICATIONS_NEWEST", col(HostApplication.id), col(HostApplication.id))


def select_sent(
    actor: Actor, *, where: object = None, owner: object = None, at: Any = None
) -> tuple[Select[HostApplication]]:
    """Select the newest 100 pending applications of collectives that the actor is ADMIN of."""
    del where, owner  # has no conditions
    statement = (
        select(HostApplication)
        .where(
            is_of_roles(HostApplication.collective_id, actor, MemberRole.ADMIN),
            is_pending(func.now() if at is None else at),
        )
        .order_by(NEWEST_FIRST.id.desc())
        .limit(MAX_LISTED)
    )
    return (statement,)


async def list_sent(session: AsyncSession, actor: Actor) -> list[HostApplication]:
    """List the newest 100 pending applications of collectives that the actor is ADMIN of."""
    (statement,) = select_sent(actor, at=now())
    return list((await session.execute(statement)).scalars())


async def withdraw(session: AsyncSession, actor: Actor, *, application_id: UUID) -> HostApplication:
    """Withdraw a pending application of a collective, so that it can apply elsewhere. Locks: the application.

    Raises:
        NotFound: there is no such application, or the actor may not see it.
        InvalidState: it was answered before, or has expired.
    """
    statement = (
        select(HostApplication, Collective)
        .join(Collective, col(HostApplication.collective_id) == Collective.id)
        .where(col(HostApplication.id) == application_id, application_is_visible(actor))
        .with_for_update(of=HostApplication)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor, scope=Scope.COLLECTIVES)
        raise NotFound("There is no such application.", field="id")
    application, applicant = match
    require(actor, Action.WITHDRAW_HOST_APPLICATION, Subject(collective=applicant))
    _require_pending(application)
    application.status, application.decided_at = RequestStatus.WITHDRAWN, now()
    await session.flush()
    return application


async def expire_applications(session: AsyncSession, *, collective_id: UUID) -> None:
    """Close the applications of a collective whose time is over, so that it can apply again."""
    await session.execute(
        update(HostApplication)
        .where(
            col(HostApplication.collective_id) == collective_id,
            col(HostApplication.status) == RequestStatus.PENDING,
            col(HostApplication.expires_at) <= now(),
        )
        .values(status=RequestStatus.EXPIRED, decided_at=col(HostApplication.expires_at))
        .execution_options(synchronize_session=False)
    )
