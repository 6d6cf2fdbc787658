"""Applications of collectives to hosts that hold their money, and the hosts' decisions."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, HostApplication, Member, now
from models.enums import CollectiveType, MemberRole, RequestStatus, Scope
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require, require_signed_in
from services.collectives import collectives
from services.core import user_text
from services.core.errors import Conflict, Invalid, InvalidState, NotFound
from services.ledger import posting
from services.messaging import outbox

APPLICANTS = (CollectiveType.COMMUNITY, CollectiveType.NONPROFIT, CollectiveType.BUSINESS)


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
        InvalidState: either is archived.
    """
    parties = await resolve(session, actor, {"collective": collective, "host": host})
    applicant, holder = require_collective(parties["collective"]), require_collective(parties["host"])
    require(actor, Action.APPLY_TO_HOST, Subject(collective=applicant))
    assert actor.user is not None
    require_open(applicant, field="collective")
    require_open(holder, field="host")
    if applicant.type not in APPLICANTS or applicant.is_platform:
        raise Invalid("This collective cannot be hosted.", field="collective")
    if holder.host_id != holder.id:
        raise Invalid("This collective is not a host. Choose a host.", field="host")
    if applicant.host_id is not None:
        raise Conflict("This collective already has a host.", field="collective")
    application = HostApplication(
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
        template="host_application",
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
    """Approve or decline an application, once. Locks: the application, then the collective.

    Approval sets the host, adds the HOST member and opens the collective's account.

    Raises:
        NotFound: there is no such application, or the actor may not see it.
        InvalidState: it was decided before, or the collective or host is archived, or it has a host by now.
        Invalid: declined without a reason.
    """
    applicant, holder = aliased(Collective), aliased(Collective)
    statement = (
        select(HostApplication, applicant, holder)
        .join(applicant, col(HostApplication.collective_id) == applicant.id)
        .join(holder, col(HostApplication.host_id) == holder.id)
        .where(col(HostApplication.id) == application_id, _application_is_visible(actor))
        .with_for_update(of=HostApplication)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor, scope=Scope.COLLECTIVES)
        raise NotFound("There is no such application.", field="id")
    application, collective, host = match
    require(actor, Action.DECIDE_HOST_APPLICATION, Subject(collective=collective, host=host))
    if application.status != RequestStatus.PENDING:
        raise InvalidState("This application has been decided already.", field="id")
    reason = user_text.clean_text(reason, field="reason")
    if not approve and not reason:
        raise Invalid("Enter a reason for declining.", field="reason")
    application.status = RequestStatus.ACCEPTED if approve else RequestStatus.DECLINED
    application.reason, application.decided_by_id = reason, actor.id
    application.decided_at = now()
    if approve:
        await _start_hosting(session, actor, collective, host)
    await session.flush()
    await outbox.mail_admins(
        session,
        collective_ids=[collective.id],
        template="host_decision",
        except_id=actor.id,
        payload={"collective": collective.name, "host": host.name, "approved": approve, "reason": reason},
    )
    return application


async def _start_hosting(
    session: AsyncSession, actor: Actor, collective: Collective, host: Collective
) -> None:
    """Set the host, add the HOST member and open the account. Locks: the collective."""
    await collectives.lock(session, collective.id)
    await session.refresh(collective)
    await session.refresh(host)
    is_archived = collective.archived_at is not None or host.archived_at is not None
    if is_archived or collective.host_id is not None:
        raise InvalidState("The collective or its host is archived, or it already has a host.", field="id")
    collective.host_id, collective.host_approved_at = host.id, now()
    collective.updated_at = now()
    session.add(
        Member(collective_id=collective.id, member_id=host.id, role=MemberRole.HOST, created_by_id=actor.id)
    )
    await session.flush()
    await posting.open_balance_account(
        session, book_id=host.id, owner_id=collective.id, currency=collective.currency
    )


def _application_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True in SQL for the ADMINs of both sides and the platform's accountants."""
    if actor.is_platform_accountant:
        return true()
    ids = actor.collective_ids_with_role(MemberRole.ADMIN)
    return or_(col(HostApplication.collective_id).in_(ids), col(HostApplication.host_id).in_(ids))


async def load_applications(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, HostApplication]:
    """Load the applications that the actor may see."""
    statement = select(HostApplication).where(
        col(HostApplication.id).in_(row_ids), _application_is_visible(actor)
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}


async def list_pending(session: AsyncSession, actor: Actor, *, host_id: UUID) -> list[HostApplication]:
    """List a host's pending applications that the actor may see, oldest first."""
    statement = (
        select(HostApplication)
        .where(
            col(HostApplication.host_id) == host_id,
            _application_is_visible(actor),
            col(HostApplication.status) == RequestStatus.PENDING,
        )
        .order_by(col(HostApplication.id))
    )
    return list((await session.execute(statement)).scalars())
