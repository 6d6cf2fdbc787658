"""Who belongs to what: invitations, roles, leaving."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, column, func, literal_column, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Invitation, Member, new_id, now
from models.enums import CollectiveType, MemberRole, RequestStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives import collectives, event_capacity
from services.core import pagination, user_text
from services.core.errors import Conflict, Invalid, InvalidState, NotFound
from services.core.pagination import Page, PageRequest, Sort
from services.database import fetch
from services.identity.email_addresses import known_or_new_user
from services.messaging import outbox

INVITABLE = (MemberRole.ADMIN, MemberRole.MEMBER, MemberRole.ACCOUNTANT)
ENDABLE = (*INVITABLE, MemberRole.FOLLOWER, *event_capacity.REGISTERED)
OLDEST_FIRST = Sort("since", col(Member.since), col(Member.id), descending=False)


async def invite(
    session: AsyncSession,
    actor: Actor,
    *,
    collective: Ref,
    role: MemberRole,
    user: Ref | None = None,
    email: str | None = None,
    message: str | None = None,
) -> Invitation:
    """Offer a role to a user, or to an address: an unknown one becomes an unclaimed user.

    Raises:
        Invalid: the role does not come by invitation, or not exactly one of user and email.
        Conflict: the user has the role, or an invitation to it waits.
    """
    wanted = {"collective": collective} | ({"user": user} if user else {})
    parties = await resolve(session, actor, wanted)
    row = named(parties["collective"])
    require(actor, Action.INVITE_MEMBER, Subject(collective=row))
    assert actor.user is not None
    require_open(row, path=["input", "collective"])
    if row.type == CollectiveType.USER:
        raise Invalid("A person has no members", path=["input", "collective"])
    if role not in INVITABLE:
        raise Invalid(f"{role} does not come by invitation", path=["input", "role"])
    if (user is None) == (email is None):
        raise Invalid("Name a user or an email address", path=["input", "user"])
    path = ["input", "email"]
    invitee = named(parties["user"]) if user else await known_or_new_user(session, email or "", path=path)
    if invitee.type != CollectiveType.USER:
        raise Invalid("Only people are invited", path=["input", "user"])
    await _require_no_open(session, row.id, invitee.id, role)
    invitation = Invitation(
        collective_id=row.id,
        user_id=invitee.id,
        role=role,
        created_by_id=actor.user.id,
        message=user_text.clean(message, path=["input", "message"]),
        by_email=user is None,
    )
    session.add(invitation)
    await session.flush()
    await _mail_invitation(session, actor.user, row, invitee, role)
    return invitation


async def _require_no_open(
    session: AsyncSession, collective_id: UUID, member_id: UUID, role: MemberRole
) -> None:
    statement = select(col(Member.id)).where(
        col(Member.collective_id) == collective_id,
        col(Member.member_id) == member_id,
        col(Member.role) == role,
        col(Member.until).is_(None),
    )
    if (await session.execute(statement)).scalar_one_or_none() is not None:
        raise Conflict(f"This user is {role} already", path=["input", "role"])


async def _mail_invitation(
    session: AsyncSession, by: Collective, to: Collective, invitee: Collective, role: MemberRole
) -> None:
    await outbox.to_users(
        session,
        user_ids=[invitee.id],
        template="invitation",
        payload={"name": invitee.name, "by": by.name, "collective": to.name, "role": role},
    )


async def respond(
    session: AsyncSession, actor: Actor, *, invitation_id: UUID, accept: bool
) -> tuple[Invitation, Member | None]:
    """Answer an invitation, once; yes writes the member row.

    Raises:
        NotFound: there is none that the actor may see.
        InvalidState: it was answered.
    """
    statement = (
        select(Invitation, Collective)
        .join(Collective, col(Invitation.user_id) == Collective.id)
        .where(col(Invitation.id) == invitation_id, visibility.of_invitation(actor))
        .with_for_update(of=Invitation)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        require(actor, Action.FOLLOW_COLLECTIVE)
        raise NotFound("There is no such invitation", path=["input", "id"])
    invitation, invitee = found
    require(actor, Action.RESPOND_TO_INVITATION, Subject(collective=invitee))
    if invitation.status != RequestStatus.PENDING:
        raise InvalidState("This invitation was answered", path=["input", "id"])
    invitation.status = RequestStatus.ACCEPTED if accept else RequestStatus.DECLINED
    invitation.answered_at = now()
    member = None
    if accept:
        await add(session, invitation.collective_id, invitation.user_id, invitation.role)
        actor.gains(invitation.collective_id, MemberRole(invitation.role))
        member = await _open_row(session, invitation.collective_id, invitation.user_id, invitation.role)
    await session.flush()
    return invitation, member


async def add(session: AsyncSession, collective_id: UUID, member_id: UUID, role: str) -> None:
    """Write a member row unless an open one exists; one statement."""
    await add_many(session, [(collective_id, member_id, role)])


async def add_many(session: AsyncSession, places: Iterable[tuple[UUID, UUID, str]]) -> None:
    """Write member rows of (collective, member, role) unless open ones exist; one statement, if any."""
    rows = [
        {"id": new_id(), "collective_id": owner, "member_id": member, "role": role, "since": now()}
        for owner, member, role in sorted(places)
    ]
    if rows:
        await session.execute(insert(Member).values(rows).on_conflict_do_nothing())


async def _open_row(
    session: AsyncSession, collective_id: UUID, member_id: UUID, role: MemberRole
) -> Member | None:
    statement = select(Member).where(
        col(Member.collective_id) == collective_id,
        col(Member.member_id) == member_id,
        col(Member.role) == role,
        col(Member.until).is_(None),
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def remove(session: AsyncSession, actor: Actor, *, member_id: UUID) -> Member:
    """End a member row, one's own or as an ADMIN; the row stays. Locks: the collective.

    Raises:
        NotFound: there is no such open row.
        InvalidState: the role is the system's, it is the last ADMIN, or the attendee was checked in.
    """
    statement = (
        select(Member, Collective)
        .join(Collective, col(Member.member_id) == Collective.id)
        .where(col(Member.id) == member_id, col(Member.until).is_(None), visibility.of_member(actor))
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        require(actor, Action.FOLLOW_COLLECTIVE)
        raise NotFound("There is no such member", path=["input", "id"])
    member, person = found
    await _require_may_remove(session, actor, member, person)
    if member.role not in ENDABLE:
        raise InvalidState(f"{member.role} is not ended by hand", path=["input", "id"])
    await collectives.lock(session, member.collective_id)
    if member.role == MemberRole.ADMIN:
        admins = (
            select(func.count())
            .select_from(Member)
            .where(
                col(Member.collective_id) == member.collective_id,
                col(Member.role) == MemberRole.ADMIN,
                col(Member.until).is_(None),
            )
        )
        if (await session.execute(admins)).scalar_one() <= 1:
            raise InvalidState("The last ADMIN cannot leave", path=["input", "id"])
    if member.role in event_capacity.REGISTERED:
        await event_capacity.give_back(session, member)
    else:
        await _end(session, member)
    if member.member_id == actor.id:
        actor.loses(member.collective_id, MemberRole(member.role))
    return member


async def _require_may_remove(
    session: AsyncSession, actor: Actor, member: Member, person: Collective
) -> None:
    if person.id == actor.id:
        require(actor, Action.REMOVE_MEMBER, Subject(collective=person))
        return
    owner = (
        await session.execute(select(Collective).where(col(Collective.id) == member.collective_id))
    ).scalar_one()
    require(actor, Action.REMOVE_MEMBER, Subject(collective=owner))


async def _end(session: AsyncSession, member: Member) -> None:
    member.until = max(now(), member.since)
    await session.execute(update(Member).where(col(Member.id) == member.id).values(until=member.until))


async def follow(session: AsyncSession, actor: Actor, *, collective: Ref) -> Member:
    """Become a FOLLOWER; one already is well, too."""
    row = named(await resolve_one(session, actor, collective))
    require(actor, Action.FOLLOW_COLLECTIVE)
    assert actor.user is not None
    require_open(row, path=["input", "collective"])
    await add(session, row.id, actor.user.id, MemberRole.FOLLOWER)
    member = await _open_row(session, row.id, actor.user.id, MemberRole.FOLLOWER)
    assert member is not None
    return member


async def unfollow(session: AsyncSession, actor: Actor, *, collective: Ref) -> Collective:
    """Stop following; nobody following is well, too."""
    row = named(await resolve_one(session, actor, collective))
    require(actor, Action.UNFOLLOW_COLLECTIVE)
    assert actor.user is not None
    member = await _open_row(session, row.id, actor.user.id, MemberRole.FOLLOWER)
    if member is not None:
        await _end(session, member)
    return row


@dataclass(frozen=True)
class MembersKey:
    """Which member rows of a collective to page through."""

    of_members: bool
    """True: who belongs to it; False: what it belongs to."""
    roles: tuple[MemberRole, ...]
    page: PageRequest


def _sides(key: MembersKey) -> tuple[Any, Any]:
    """Return the column of whose rows these are, and that of the other side."""
    collective, member = col(Member.collective_id), col(Member.member_id)
    return (collective, member) if key.of_members else (member, collective)


def _open_to(actor: Actor, statement: Select[Any], owner: Any, key: MembersKey) -> Select[Any]:
    """Narrow to open member rows of an owner that the actor may see; the other sides are the caller's."""
    own, _ = _sides(key)
    statement = statement.where(own == owner, col(Member.until).is_(None), visibility.of_member(actor))
    return statement.where(col(Member.role).in_(key.roles)) if key.roles else statement


def _rows_of(actor: Actor, owner: Any, key: MembersKey) -> Select[Member]:
    """Select open member rows of an owner: those that the actor may see, and whose other side, too."""
    statement = select(Member).join(Collective, _sides(key)[1] == Collective.id)
    return _open_to(actor, statement.where(visibility.of_collective(actor)), owner, key)


SIDE = "side_"
"""Before the names of the columns of other sides."""


def first_of(actor: Actor, owner: Any, key: MembersKey) -> Select[Any]:
    """Select the first page of an owner's rows, as `pages_of` reads it and no row more, and the other sides.

    The other sides are looked up one by one: for a handful of rows PostgreSQL would read all collectives,
    once for each owner.
    """
    collective = Collective.__table__  # type: ignore[attr-defined]  # SQLModel puts it there
    side = (
        select(*collective.c)
        .where(collective.c.id == _sides(key)[1], visibility.of_collective(actor, collective.c))
        .offset(literal_column("0"))
        .lateral("side")
    )
    statement = select(*Member.__table__.c, *(c.label(SIDE + c.key) for c in side.c))  # type: ignore[attr-defined]  # as above
    found = _open_to(actor, statement.join(side, onclause=true()), owner, key)
    return found.order_by(col(Member.since), col(Member.id)).limit(literal_column(str(key.page.first)))


async def pages_of(
    session: AsyncSession, actor: Actor, *, collective_ids: Sequence[UUID], key: MembersKey
) -> dict[UUID, Page[Member]]:
    """Return a page of open member rows of each collective, oldest first; one statement for all.

    Rows that the actor may not see, and those whose other side may not be seen, are left out.
    """

    def build() -> Select[Member]:
        parent = (
            func.unnest(fetch.ids_parameter("collective_ids", collective_ids))
            .table_valued(column("id", Uuid))
            .render_derived(name="parent")
        )
        inner = pagination.narrow(
            _rows_of(actor, parent.c.id, key), sort=OLDEST_FIRST, page=key.page
        ).lateral("page")
        row = aliased(Member, inner)
        return (
            select(row).select_from(parent).join(inner, onclause=true()).order_by(col(row.since), col(row.id))
        )

    found: dict[UUID, list[Member]] = {owner: [] for owner in collective_ids}
    for member in await fetch.read(
        session,
        actor,
        name=("members", key.of_members, key.roles, key.page.after is None),
        table=Member,
        build=build,
        collective_ids=list(collective_ids),
        **pagination.values(OLDEST_FIRST, key.page),
    ):
        found[member.collective_id if key.of_members else member.member_id].append(member)
    return {
        owner: pagination.build(its, partial(_rows_of, actor, owner, key), sort=OLDEST_FIRST, page=key.page)
        for owner, its in found.items()
    }


async def by_ids(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Member]:
    """Return those of the member rows that the actor may see."""
    statement = (
        select(Member)
        .join(Collective, col(Member.collective_id) == Collective.id)
        .where(
            col(Member.id).in_(row_ids),
            visibility.of_member(actor),
            visibility.of_collective(actor),
        )
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}


async def invitations(session: AsyncSession, actor: Actor) -> list[Invitation]:
    """Return the invitations that wait for the actor's answer, newest first."""
    statement = (
        select(Invitation)
        .where(
            col(Invitation.user_id) == actor.id,
            col(Invitation.status) == RequestStatus.PENDING,
        )
        .order_by(col(Invitation.id).desc())
    )
    return list((await session.execute(statement)).scalars())


async def invitations_by_ids(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Invitation]:
    """Return those of the invitations that the actor may see."""
    statement = select(Invitation).where(col(Invitation.id).in_(row_ids), visibility.of_invitation(actor))
    return {row.id: row for row in (await session.execute(statement)).scalars()}
