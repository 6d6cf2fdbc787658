"""Coming to an event: registering, withdrawing, inviting others, and messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Member
from models.enums import CollectiveType, MemberRole
from services.access import attempt_limits
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, resolve_each, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity
from services.collectives.event_capacity import PATH
from services.core import user_text
from services.core.errors import Forbidden, Invalid, InvalidState, Problem, RateLimited
from services.identity import email_addresses
from services.messaging import event_notifications

MAX_MESSAGE = 2000
MAX_GUESTS = 100


async def register(session: AsyncSession, actor: Actor, *, event: Ref, message: str | None = None) -> Member:
    """Register oneself: ATTENDEE, or WAITING where the event is full; who is already stays so.

    The coordinator hears of it, with the message, and the registrant gets a confirmation. Locks: the
    event, so that of many who want the last place one gets it.

    Raises:
        InvalidState: the event is over or cancelled.
    """
    row = named(await resolve_one(session, actor, event, name="event"))
    require(actor, Action.REGISTER_FOR_EVENT)
    assert actor.user is not None
    event_capacity.require_event(row)
    note = user_text.clean(message, path=["input", "message"], max_length=MAX_MESSAGE)
    row = await event_capacity.locked(session, row)
    event_capacity.require_takes_place(row)
    user_id = actor.user.id
    known = await event_capacity.rows_of(session, row, user_ids=[user_id])
    if known:
        return known[user_id]
    member = (await event_capacity.take(session, row, user_ids=[user_id], by_id=user_id))[user_id]
    actor.gains(row.id, MemberRole(member.role))
    await event_notifications.registered(session, row, user=actor.user, role=member.role, message=note)
    return member


async def withdraw(session: AsyncSession, actor: Actor, *, event: Ref) -> Member:
    """Give one's place at an event back, or stop waiting. Locks: the event; the longest waiting moves up.

    Raises:
        InvalidState: the actor is not registered, or was checked in.
    """
    row = named(await resolve_one(session, actor, event, name="event"))
    require(actor, Action.CANCEL_REGISTRATION)
    assert actor.user is not None
    event_capacity.require_event(row)
    row = await event_capacity.locked(session, row)
    member = (await event_capacity.rows_of(session, row, user_ids=[actor.user.id])).get(actor.user.id)
    if member is None:
        raise InvalidState("You are not registered for this event", path=PATH)
    await event_capacity.require_not_checked_in(session, row.id, actor.user.id, path=PATH)
    await event_capacity.end(session, row, member)
    return member


@dataclass(frozen=True)
class Invited:
    """What became of one whom an ADMIN invites."""

    email: str | None
    """The address as it was given; None for a user who was named."""
    member: Member | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class _Guest:
    email: str | None
    found: Collective | Problem


async def invite(
    session: AsyncSession,
    actor: Actor,
    *,
    event: Ref,
    emails: Sequence[str] = (),
    users: Sequence[Ref] = (),
    message: str | None = None,
    send_mail: bool = True,
) -> list[Invited]:
    """Register others, at most 100: first those by address, then those by name, each in the order given.

    An unknown address becomes an unclaimed user. Who is full up for the event waits. One that fails leaves
    the others. Locks: the event. Mails go to those who were not registered before.

    Raises:
        Invalid: nobody or too many are named.
        InvalidState: the event is over or cancelled.
    """
    row = named(await resolve_one(session, actor, event, name="event"))
    event_capacity.require_event(row)
    require(actor, Action.INVITE_TO_EVENT, Subject(collective=row))
    assert actor.user is not None
    if not 1 <= len(emails) + len(users) <= MAX_GUESTS:
        raise Invalid(f"Invite 1 to {MAX_GUESTS} people", path=["input", "emails"])
    note = user_text.clean(message, path=["input", "message"], max_length=MAX_MESSAGE)
    row = await event_capacity.locked(session, row)
    event_capacity.require_takes_place(row)
    guests = [*await _by_email(session, emails), *await _by_name(session, actor, users)]
    found = {guest.found.id: guest.found for guest in guests if isinstance(guest.found, Collective)}
    rows = await event_capacity.rows_of(session, row, user_ids=list(found))
    new_ids = [user_id for user_id in found if user_id not in rows]
    new = await event_capacity.take(session, row, user_ids=new_ids, by_id=actor.id)
    if send_mail:
        told = [(found[user_id], member.role) for user_id, member in new.items()]
        await event_notifications.invited(session, row, by=actor.user, guests=told, message=note)
    return [_invited(guest, rows | new) for guest in guests]


async def _by_email(session: AsyncSession, emails: Sequence[str]) -> list[_Guest]:
    """Find or make the users of addresses."""
    checked: list[str | Problem] = []
    for i, email in enumerate(emails):
        try:
            checked.append(email_addresses.checked_email(email, path=["input", "emails", str(i)]))
        except Invalid as problem:
            checked.append(problem)
    wanted = [address for address in checked if isinstance(address, str)]
    known = await email_addresses.known_or_new_users(session, wanted) if wanted else {}
    return [
        _Guest(email, address if isinstance(address, Problem) else _person(known[address], "emails", i))
        for i, (email, address) in enumerate(zip(emails, checked, strict=True))
    ]


async def _by_name(session: AsyncSession, actor: Actor, users: Sequence[Ref]) -> list[_Guest]:
    """Find users who are named."""
    parties = await resolve_each(session, actor, users, name="users") if users else []
    return [
        _Guest(None, party if isinstance(party, Problem) else _person(named(party), "users", i))
        for i, party in enumerate(parties)
    ]


def _person(found: Collective, name: str, place: int) -> Collective | Problem:
    path = ["input", name, str(place)]
    if found.type != CollectiveType.USER:
        return Invalid("Only people come to events", path=path)
    if found.archived_at is not None:
        return InvalidState(f"{found.slug} is archived", path=path)
    return found


def _invited(guest: _Guest, rows: dict[UUID, Member]) -> Invited:
    if isinstance(guest.found, Problem):
        return Invited(guest.email, problem=guest.found)
    return Invited(guest.email, member=rows[guest.found.id])


async def send_message(session: AsyncSession, actor: Actor, *, event: Ref, message: str) -> Collective:
    """Carry a message: of the coordinator or an ADMIN to all registered, of one of those to the coordinator.

    Raises:
        Forbidden: the actor is none of them.
        Invalid: the message is empty or longer than 2000 characters.
        InvalidState: the event was cancelled.
        RateLimited: too many of the user's messages within a day.
    """
    row = named(await resolve_one(session, actor, event, name="event"))
    require(actor, Action.SEND_EVENT_MESSAGE)
    assert actor.user is not None
    event_capacity.require_event(row)
    leads = actor.is_admin(row) or row.coordinator_id == actor.id
    if not leads and MemberRole.ATTENDEE not in actor.roles.get(row.id, frozenset()):
        raise Forbidden("Messages are for the event's coordinator, its ADMINs and those registered")
    text = user_text.required(message, path=["input", "message"], max_length=MAX_MESSAGE)
    event_capacity.require_takes_place(row, over_allowed=True)
    if not await attempt_limits.count_message(session, user_id=actor.user.id):
        raise RateLimited("Too many messages; try again tomorrow", path=["input", "message"])
    carry = event_notifications.to_attendees if leads else event_notifications.to_coordinator
    await carry(session, row, by=actor.user, message=text)
    return row
