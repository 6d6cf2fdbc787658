"""Invitations: offering a role in a collective, and answering the offer."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Invitation, Member, now
from models.enums import CollectiveType, MemberRole, RequestStatus, Scope
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require, require_signed_in
from services.collectives import members
from services.core import user_text
from services.core.errors import Conflict, Invalid, InvalidState, NotFound
from services.identity.email_addresses import find_or_create_user
from services.messaging import outbox


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

    Raises:
        Invalid: the role is not offered by invitation, or not exactly one of user and email is set.
        Conflict: the user has the role, or has a pending invitation to it.
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
    if (user is None) == (email is None):
        raise Invalid("Enter either a user or an email address.", field="user")
    if user is not None:
        invitee = require_collective(parties["user"])
    else:
        invitee = await find_or_create_user(session, email or "", field="email")
    if invitee.type != CollectiveType.USER:
        raise Invalid("Only users can be invited.", field="user")
    await _require_role_free(session, row.id, invitee.id, role)
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
        InvalidState: it was answered before.
    """
    statement = (
        select(Invitation, Collective)
        .join(Collective, col(Invitation.user_id) == Collective.id)
        .where(col(Invitation.id) == invitation_id, visibility.invitation_is_visible(actor))
        .with_for_update(of=Invitation)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor, scope=Scope.COLLECTIVES)
        raise NotFound("There is no such invitation.", field="id")
    invitation, invitee = match
    require(actor, Action.RESPOND_TO_INVITATION, Subject(collective=invitee))
    if invitation.status != RequestStatus.PENDING:
        raise InvalidState("This invitation has been answered already.", field="id")
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


async def list_invitations(session: AsyncSession, actor: Actor) -> list[Invitation]:
    """List the actor's pending invitations, newest first."""
    statement = (
        select(Invitation)
        .where(
            col(Invitation.user_id) == actor.id,
            col(Invitation.status) == RequestStatus.PENDING,
        )
        .order_by(col(Invitation.id).desc())
    )
    return list((await session.execute(statement)).scalars())


async def load_invitations(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Invitation]:
    """Load the invitations that the actor may see."""
    statement = select(Invitation).where(
        col(Invitation.id).in_(row_ids), visibility.invitation_is_visible(actor)
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}
