"""Members of collectives: adding, removing, following and listing them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Uuid,
    case,
    column,
    func,
    inspect,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Member, now
from models.enums import MemberRole, Scope
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import (
    CollectiveKey,
    require_collective,
    require_open,
    resolve_one,
)
from services.access.permissions import Action, Subject, require, require_session, require_signed_in
from services.collectives import collectives, event_capacity
from services.core import pagination
from services.core.errors import InvalidState, NotFound
from services.core.pagination import Page, PageRequest, Sort
from services.database import fetch
from services.database.insert_rows import insert_rows, skip_existing
from services.round_trips.records import column_names, new_record

INVITABLE = (MemberRole.ADMIN, MemberRole.MEMBER, MemberRole.ACCOUNTANT)
"""Roles that are offered by invitation."""
GIVEN_BY_PEOPLE = (MemberRole.ADMIN, MemberRole.ACCOUNTANT)
"""Roles that decide or read private finance: no access token gives, accepts or ends one."""
ENDABLE = (*INVITABLE, MemberRole.FOLLOWER, *event_capacity.REGISTRATION_ROLES)
EARNED = (MemberRole.BACKER, MemberRole.VOLUNTEER)
"""Roles that a donation or hours earn, and that end when all of those are refunded."""
OLDEST_FIRST = Sort("since", col(Member.since), col(Member.id), descending=False)


async def add(
    session: AsyncSession, collective_id: UUID, member_id: UUID, role: str, *, named_by: Any = None
) -> None:
    """Add a member unless they have the role already; one statement. `named_by` as in `add_many`."""
    await add_many(session, [(collective_id, member_id, role)], named_by={member_id: named_by})


async def add_many(
    session: AsyncSession,
    memberships: Iterable[tuple[UUID, UUID, str]],
    *,
    named_by: Mapping[UUID, Any] = MappingProxyType({}),
) -> None:
    """Add members by (collective, member, role), except existing ones; at most one statement.

    `named_by` holds, by member, how those were named who have not agreed, or an expression for that.
    Locks: existing rows of earned roles, so that a refund of what earned them waits, or is waited for.
    """
    rows = [
        new_record(
            Member,
            collective_id=owner,
            member_id=member,
            role=MemberRole(role),
            named_by=named_by.get(member),
        )
        for owner, member, role in sorted(memberships)
    ]
    if not rows:
        return
    on_conflict = _keep_earned if all(row.role in EARNED for row in rows) else skip_existing
    if not any(isinstance(row.named_by, ColumnElement) for row in rows):
        await insert_rows(session, rows, on_conflict=on_conflict)
        return
    statement = insert(Member).values(
        [{name: getattr(row, name) for name in column_names(Member)} for row in rows]
    )
    await session.execute(on_conflict(statement))


def _keep_earned(statement: Insert) -> Insert:
    """Lock existing rows of earned roles, and forget how they were named if they agree now."""
    return statement.on_conflict_do_update(
        index_elements=["collective_id", "member_id", "role"],
        index_where=text("until IS NULL"),
        set_={
            "until": None,
            "named_by": case((statement.excluded.named_by.is_(None), None), else_=col(Member.named_by)),
        },
    )


async def load_open_member(
    session: AsyncSession, collective_id: UUID, member_id: UUID, role: MemberRole
) -> Member | None:
    """Load the open row of a member in one role, or None."""
    statement = select(Member).where(
        col(Member.collective_id) == collective_id,
        col(Member.member_id) == member_id,
        col(Member.role) == role,
        col(Member.until).is_(None),
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def remove(session: AsyncSession, actor: Actor, *, member_id: UUID) -> Member:
    """End a membership: one's own, or another's as an ADMIN; the row is kept.

    Locks: the collective.

    Raises:
        Forbidden: an access token ends the role of an ADMIN or ACCOUNTANT.
        NotFound: there is no such open row, or the actor may not see it.
        InvalidState: the role cannot be ended by hand, it is the last ADMIN, or the attendee was checked in.
    """
    statement = (
        select(Member, Collective)
        .join(Collective, col(Member.member_id) == Collective.id)
        .where(col(Member.id) == member_id, col(Member.until).is_(None), visibility.member_is_visible(actor))
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor, scope=Scope.COLLECTIVES)
        raise NotFound("There is no such member.", field="id")
    member, person = match
    await _require_may_remove(session, actor, member, person)
    if member.role not in ENDABLE:
        raise InvalidState(f"The role {member.role} cannot be ended by hand.", field="id")
    if member.role in GIVEN_BY_PEOPLE:
        require_session(actor, f"Ending the role {member.role}")
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
            raise InvalidState("The last ADMIN cannot leave. Appoint another ADMIN first.", field="id")
    if member.role in event_capacity.REGISTRATION_ROLES:
        await event_capacity.remove_attendee(session, member)
    else:
        await _end_member(session, member)
    if member.member_id == actor.id:
        actor.revoke(member.collective_id, MemberRole(member.role))
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


async def _end_member(session: AsyncSession, member: Member) -> None:
    member.until = max(now(), member.since)
    await session.execute(update(Member).where(col(Member.id) == member.id).values(until=member.until))


async def follow(session: AsyncSession, actor: Actor, *, collective: CollectiveKey) -> Member:
    """Follow a collective; no change if the actor follows it already."""
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.FOLLOW_COLLECTIVE)
    assert actor.user is not None
    require_open(row, field="collective")
    await add(session, row.id, actor.user.id, MemberRole.FOLLOWER)
    member = await load_open_member(session, row.id, actor.user.id, MemberRole.FOLLOWER)
    assert member is not None
    return member


async def unfollow(session: AsyncSession, actor: Actor, *, collective: CollectiveKey) -> Collective:
    """Stop following a collective; no change if the actor does not follow it."""
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.UNFOLLOW_COLLECTIVE)
    assert actor.user is not None
    member = await load_open_member(session, row.id, actor.user.id, MemberRole.FOLLOWER)
    if member is not None:
        await _end_member(session, member)
    return row


@dataclass(frozen=True)
class MembersKey:
    """One page of a collective's members or memberships, with optional roles."""

    of_members: bool
    """True for the collective's members, False for the collectives it is a member of."""
    roles: tuple[MemberRole, ...]
    page: PageRequest


def _side_columns(key: "MembersKey | MembersFilter") -> tuple[Any, Any]:
    """Return the column of the listed collective, and that of the other side."""
    collective, member = col(Member.collective_id), col(Member.member_id)
    return (collective, member) if key.of_members else (member, collective)


def _narrow_to_visible(
    actor: Actor, statement: Select[Any], owner: Any, key: "MembersKey | MembersFilter"
) -> Select[Any]:
    """Restrict a query to the owner's visible open rows; callers check the other sides."""
    own, _ = _side_columns(key)
    statement = statement.where(
        own == owner, col(Member.until).is_(None), visibility.member_is_visible(actor)
    )
    return statement.where(col(Member.role).in_(key.roles)) if key.roles else statement


def _query_members(actor: Actor, owner: Any, key: MembersKey) -> Select[Member]:
    """Select the owner's open rows where the actor may see both the row and its other side."""
    statement = select(Member).join(Collective, _side_columns(key)[1] == Collective.id)
    return _narrow_to_visible(actor, statement.where(visibility.collective_is_visible(actor)), owner, key)


SIDE_PREFIX = "side_"
"""Prefix of the columns of the other side's collective."""


@dataclass(frozen=True)
class MembersFilter:
    """Which of a collective's rows to list, as in `MembersKey`."""

    of_members: bool
    roles: tuple[MemberRole, ...]


def select_members(actor: Actor, *, where: MembersFilter, owner: Any) -> tuple[Select[Any]]:
    """Select an owner's rows with their other sides, whose columns have a prefix.

    The lateral join looks up the other sides one by one: with a plain join PostgreSQL would read all
    collectives for a handful of rows, once for each owner.
    """
    collective, member = inspect(Collective).local_table, inspect(Member).local_table
    side = (
        select(literal_column("collective.*"))
        .select_from(collective)
        .where(
            collective.c.id == _side_columns(where)[1], visibility.collective_is_visible(actor, collective.c)
        )
        .offset(literal_column("0"))
        .lateral("side")
    )
    columns = (literal_column(f"side.{c.key}", c.type).label(SIDE_PREFIX + c.key) for c in collective.c)
    statement = select(*member.c, *columns)
    return (_narrow_to_visible(actor, statement.join(side, onclause=true()), owner, where),)


async def list_member_pages(
    session: AsyncSession, actor: Actor, *, collective_ids: Sequence[UUID], key: MembersKey
) -> dict[UUID, Page[Member]]:
    """List a page of open member rows for each collective, oldest first; one statement.

    Rows are left out if the actor may not see them or their other side.
    """

    def build() -> Select[Member]:
        parent = (
            func.unnest(fetch.ids_parameter("collective_ids", collective_ids))
            .table_valued(column("id", Uuid))
            .render_derived(name="parent")
        )
        inner = pagination.apply_keyset(
            _query_members(actor, parent.c.id, key), sort=OLDEST_FIRST, page=key.page
        ).lateral("page")
        row = aliased(Member, inner)
        return (
            select(row).select_from(parent).join(inner, onclause=true()).order_by(col(row.since), col(row.id))
        )

    rows: dict[UUID, list[Member]] = {owner: [] for owner in collective_ids}
    for member in await fetch.fetch_rows(
        session,
        actor,
        name=("members", key.of_members, key.roles, *pagination.keyset_name(key.page)),
        table=Member,
        build=build,
        collective_ids=list(collective_ids),
        **pagination.keyset_parameters(OLDEST_FIRST, key.page),
    ):
        rows[member.collective_id if key.of_members else member.member_id].append(member)
    return {
        owner: pagination.to_page(
            its, partial(_query_members, actor, owner, key), sort=OLDEST_FIRST, page=key.page
        )
        for owner, its in rows.items()
    }


def select_member(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[Member]]:
    """Select the member row with the id of `where`, if the actor may see it."""
    assert owner is None
    return (_query_visible(actor).where(col(Member.id) == where.id),)


def _query_visible(actor: Actor) -> Select[Member]:
    return (
        select(Member)
        .join(Collective, col(Member.collective_id) == Collective.id)
        .where(visibility.member_is_visible(actor), visibility.collective_is_visible(actor))
    )


async def load_members(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Member]:
    """Load the member rows that the actor may see."""
    statement = _query_visible(actor).where(col(Member.id).in_(row_ids))
    return {row.id: row for row in (await session.execute(statement)).scalars()}
