"""Invitations: offering a role in a collective, and answering the offer."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Invitation, Member, now
from models.enums import CollectiveType, MemberRole, RequestStatus, Scope
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require, require_session, require_signed_in
from services.access.viewer_terms import is_of_roles, viewer_id
from services.collectives import members
from services.core import user_text
from services.core.errors import Conflict, Invalid, InvalidState, NotFound
from services.core.pagination import Sort
from services.identity.email_addresses import find_or_create_user
from services.messaging import outbox

MAX_LISTED = 100


async def invite(
    session: AsyncSession,
    actor: Actor,
    *,
    collective: CollectiveKey,
    role: MemberRole,
    user: CollectiveKey | None = None,
    email: str | None = None,
    message: str | None = None,
) -> Invitation:
    """Offer a role to a user or an address; an unknown address becomes an unclaimed user.

    Nothing tells whoever knows an address whose it is: not even that its owner has the role already.

    Raises:
        Forbidden: an access token appoints an ADMIN or ACCOUNTANT.
        Invalid: the role is not offered by invitation, or not exactly one of user and email is set.
        Conflict: the user has the role, or has a pending invitation to it, sent in the same way.
        InvalidState: the collective or the user is archived.
    """
    refs = {"collective": collective} | ({"user": user} if user else {})
    parties = await resolve(session, actor, refs)
    row = require_collective(parties["collective"])
    require(actor, Action.INVITE_MEMBER, Subject(collective=row))
    assert actor.user is not None
    require_open(row, field="collective")
    if row.type == CollectiveType.USER:
        raise Invalid("A user cannot have members. Choose another collective.", field="collective")
    if role not in members.INVITABLE:
        raise Invalid(f"The role {role} is not offered by invitation.", field="role")
    _require_may_appoint(actor, role)
    if (user is None) == (email is None):
        raise Invalid("Enter either a user or an email address.", field="user")
    if user is not None:
        invitee = require_collective(parties["user"])
    else:
        invitee = await find_or_create_user(session, email or "", field="email")
    if invitee.type != CollectiveType.USER:
        raise Invalid("Only users can be invited.", field="user")
    if user is not None:
        require_open(invitee, field="user")
        await _require_role_free(session, row.id, invitee.id, role)
    elif invitee.archived_at is not None:
        raise InvalidState("Nobody can be invited by this address.", field="email")
    await _expire_invitations(session, row.id, invitee.id, role)
    invitation = Invitation(
        collective_id=row.id,
        user_id=invitee.id,
        role=role,
        created_by_id=actor.user.id,
        message=user_text.clean_text(message, field="message"),
        by_email=user is None,
    )
    session.add(invitation)
    await session.flush()
    await _mail_invitation(session, actor.user, row, invitee, role)
    return invitation


def _require_may_appoint(actor: Actor, role: str) -> None:
    """Require a person, not a program, for the roles that decide or read private finance.

    Raises:
        Forbidden: an access token asks for one of them.
    """
    if role in members.GIVEN_BY_PEOPLE:
        require_session(actor, f"Appointing an {role}")


async def _expire_invitations(
    session: AsyncSession, collective_id: UUID, user_id: UUID, role: MemberRole
) -> None:
    """Close an invitation whose time is over, so that a new one can be sent."""
    await session.execute(
        update(Invitation)
        .where(
            col(Invitation.collective_id) == collective_id,
            col(Invitation.user_id) == user_id,
            col(Invitation.role) == role,
            col(Invitation.status) == RequestStatus.PENDING,
            col(Invitation.expires_at) <= now(),
        )
        .values(status=RequestStatus.EXPIRED, answered_at=col(Invitation.expires_at))
        .execution_options(synchronize_session=False)
    )


async def _require_role_free(
    session: AsyncSession, collective_id: UUID, member_id: UUID, role: MemberRole
) -> None:
    if await members.load_open_member(session, collective_id, member_id, role) is not None:
        raise Conflict(f"This user has the role {role} already.", field="role")


async def _mail_invitation(
    session: AsyncSession, by: Collective, to: Collective, invitee: Collective, role: MemberRole
) -> None:
    await outbox.mail_users(
        session,
        user_ids=[invitee.id],
        template="invitation",
        payload={"name": invitee.name, "by": by.name, "collective": to.name, "role": role},
    )


async def respond(
    session: AsyncSession, actor: Actor, *, invitation_id: UUID, accept: bool
) -> tuple[Invitation, Member | None]:
    """Accept or decline an invitation, once; accepting adds the member. Locks: the invitation.

    Raises:
        NotFound: there is no such invitation, or the actor may not see it.
        InvalidState: it was answered or withdrawn before or has expired, or the collective is archived.
    """
    invitation, collective, invitee = await _lock_invitation(session, actor, invitation_id)
    require(actor, Action.RESPOND_TO_INVITATION, Subject(collective=invitee))
    _require_pending(invitation)
    if accept:
        _require_may_appoint(actor, invitation.role)
        require_open(collective, field="id")
    invitation.status = RequestStatus.ACCEPTED if accept else RequestStatus.DECLINED
    invitation.answered_at = now()
    member = None
    if accept:
        await members.add(session, invitation.collective_id, invitation.user_id, invitation.role)
        actor.grant(invitation.collective_id, MemberRole(invitation.role))
        member = await members.load_open_member(
            session, invitation.collective_id, invitation.user_id, invitation.role
        )
    await session.flush()
    return invitation, member


async def withdraw(session: AsyncSession, actor: Actor, *, invitation_id: UUID) -> Invitation:
    """Withdraw a pending invitation of a collective. Locks: the invitation.

    Raises:
        NotFound: there is no such invitation, or the actor may not see it.
        InvalidState: it was answered or withdrawn before, or has expired.
    """
    invitation, collective, _ = await _lock_invitation(session, actor, invitation_id)
    require(actor, Action.WITHDRAW_INVITATION, Subject(collective=collective))
    _require_pending(invitation)
    invitation.status, invitation.answered_at = RequestStatus.WITHDRAWN, now()
    await session.flush()
    return invitation


async def _lock_invitation(
    session: AsyncSession, actor: Actor, invitation_id: UUID
) -> tuple[Invitation, Collective, Collective]:
    """Lock and load a visible invitation with its collective and its invitee."""
    invitee = aliased(Collective)
    statement = (
        select(Invitation, Collective, invitee)
        .join(Collective, col(Invitation.collective_id) == Collective.id)
        .join(invitee, col(Invitation.user_id) == invitee.id)
        .where(col(Invitation.id) == invitation_id, visibility.invitation_is_visible(actor))
        .with_for_update(of=Invitation)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor, scope=Scope.COLLECTIVES)
        raise NotFound("There is no such invitation.", field="id")
    return match[0], match[1], match[2]


def _require_pending(invitation: Invitation) -> None:
    if invitation.status != RequestStatus.PENDING:
        raise InvalidState("This invitation has been answered or withdrawn already.", field="id")
    if invitation.expires_at <= now():
        raise InvalidState("This invitation has expired. Ask for a new one.", field="id")


def _is_pending(at: Any) -> ColumnElement[bool]:
    return and_(col(Invitation.status) == RequestStatus.PENDING, col(Invitation.expires_at) > at)


NEWEST_FIRST = Sort("INVITATIONS_NEWEST", col(Invitation.id), col(Invitation.id))


def select_sent(
    actor: Actor, *, where: object = None, owner: object = None, at: Any = None
) -> tuple[Select[Invitation]]:
    """Select the newest 100 pending invitations that the actor sent, or to collectives it is ADMIN of."""
    del where, owner  # has no conditions
    if actor.user is None:
        return (select(Invitation).where(false()),)
    administered = is_of_roles(Invitation.collective_id, actor, MemberRole.ADMIN)
    statement = (
        select(Invitation)
        .where(
            or_(administered, col(Invitation.created_by_id) == viewer_id(actor)),
            visibility.invitation_is_visible(actor),
            _is_pending(func.now() if at is None else at),
        )
        .order_by(NEWEST_FIRST.id.desc())
        .limit(MAX_LISTED)
    )
    return (statement,)


async def list_sent(session: AsyncSession, actor: Actor) -> list[Invitation]:
    """List the newest 100 pending invitations that the actor sent, or to collectives it is ADMIN of."""
    (statement,) = select_sent(actor, at=now())
    return list((await session.execute(statement)).scalars())


def select_received(
    actor: Actor, *, where: object = None, owner: object = None, at: Any = None
) -> tuple[Select[Invitation]]:
    """Select the actor's pending invitations."""
    del where, owner  # has no conditions
    if actor.user is None:
        return (select(Invitation).where(false()),)
    is_pending = _is_pending(func.now() if at is None else at)
    return (select(Invitation).where(col(Invitation.user_id) == viewer_id(actor), is_pending),)


async def list_invitations(session: AsyncSession, actor: Actor) -> list[Invitation]:
    """List the actor's pending invitations, newest first."""
    (statement,) = select_received(actor, at=now())
    return list((await session.execute(statement.order_by(NEWEST_FIRST.id.desc()))).scalars())


def select_invitation(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[Invitation]]:
    """Select the invitation with the id of `where`, if the actor may see it."""
    assert owner is None
    is_visible = visibility.invitation_is_visible(actor)
    return (select(Invitation).where(col(Invitation.id) == where.id, is_visible),)


async def load_invitations(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Invitation]:
    """Load the invitations that the actor may see."""
    statement = select(Invitation).where(
        col(Invitation.id).in_(row_ids), visibility.invitation_is_visible(actor)
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}
