"""Event registrations: registering, withdrawing, inviting others and sending messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Member
from models.enums import CollectiveType, MemberRole, NamedBy
from services.access import attempt_limits
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve_many, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity
from services.collectives.event_capacity import EVENT_FIELD
from services.core import user_text
from services.core.errors import Forbidden, Invalid, InvalidState, Problem, RateLimited
from services.identity import email_addresses
from services.messaging import event_notifications

MAX_MESSAGE_LENGTH = 2000
MAX_GUESTS = 100


async def register(
    session: AsyncSession, actor: Actor, *, event: CollectiveKey, message: str | None = None
) -> Member:
    """Register the actor as ATTENDEE, or as WAITING if the event is full, unless registered.

    Whoever was registered by somebody else agrees to that. The coordinator is notified with the message, and
    the actor gets a confirmation. Locks: the event, so that one of several callers gets the last place.

    Raises:
        InvalidState: the event is over, cancelled or archived.
    """
    row = require_collective(await resolve_one(session, actor, event, name="event"))
    require(actor, Action.REGISTER_FOR_EVENT)
    assert actor.user is not None
    event_capacity.require_event(row)
    note = user_text.clean_text(message, field="message", max_length=MAX_MESSAGE_LENGTH)
    row = await event_capacity.lock_event(session, row)
    event_capacity.require_active(row)
    user_id = actor.user.id
    registrations = await event_capacity.load_registrations(session, row, user_ids=[user_id])
    if registrations:
        registrations[user_id].named_by = None
        await session.flush()
        return registrations[user_id]
    member = (await event_capacity.register_users(session, row, user_ids=[user_id], by_id=user_id))[user_id]
    actor.grant(row.id, MemberRole(member.role))
    await event_notifications.notify_registration(
        session, row, user=actor.user, role=member.role, message=note
    )
    return member


async def withdraw(session: AsyncSession, actor: Actor, *, event: CollectiveKey) -> Member:
    """End the actor's registration; whoever has waited longest moves up. Locks: the event.

    Raises:
        InvalidState: the actor is not registered, or has been checked in.
    """
    row = require_collective(await resolve_one(session, actor, event, name="event"))
    require(actor, Action.CANCEL_REGISTRATION)
    assert actor.user is not None
    event_capacity.require_event(row)
    row = await event_capacity.lock_event(session, row)
    member = (await event_capacity.load_registrations(session, row, user_ids=[actor.user.id])).get(
        actor.user.id
    )
    if member is None:
        raise InvalidState("You are not registered for this event.", field=EVENT_FIELD)
    await event_capacity.require_not_checked_in(session, row.id, actor.user.id, field=EVENT_FIELD)
    await event_capacity.end_registration(session, row, member)
    return member


@dataclass(frozen=True)
class GuestResult:
    """The result for one guest: a role or a problem."""

    email: str | None
    """The address as entered; None for a guest named as a user."""
    role: MemberRole | None = None
    member: Member | None = None
    """None for an address, too: whoever knows it does not learn whose it is."""
    problem: Problem | None = None


@dataclass(frozen=True)
class _Guest:
    email: str | None
    user: Collective | Problem
    """The user, or why they cannot be registered."""


async def invite(
    session: AsyncSession,
    actor: Actor,
    *,
    event: CollectiveKey,
    emails: Sequence[str] = (),
    users: Sequence[CollectiveKey] = (),
    message: str | None = None,
    send_mail: bool = True,
) -> list[GuestResult]:
    """Register 1 to 100 guests, those by address before those by name, in their order.

    An unknown address becomes an unclaimed user. When the event is full, guests join the waiting list. A
    guest who fails does not affect the others. Newly registered guests get a mail, and nobody else sees them
    until they agree: by registering themselves, or by signing up. Locks: the event.

    Raises:
        Invalid: no guests, or too many.
        InvalidState: the event is over, cancelled or archived.
    """
    row = require_collective(await resolve_one(session, actor, event, name="event"))
    event_capacity.require_event(row)
    require(actor, Action.INVITE_TO_EVENT, Subject(collective=row))
    assert actor.user is not None
    emails = email_addresses.split_list(emails[: MAX_GUESTS + 1])
    if not 1 <= len(emails) + len(users) <= MAX_GUESTS:
        raise Invalid(f"Invite 1 to {MAX_GUESTS} people.", field="emails")
    note = user_text.clean_text(message, field="message", max_length=MAX_MESSAGE_LENGTH)
    row = await event_capacity.lock_event(session, row)
    event_capacity.require_active(row)
    guests = [*await _find_or_create_guests(session, emails), *await _resolve_guests(session, actor, users)]
    users_by_id = {guest.user.id: guest.user for guest in guests if isinstance(guest.user, Collective)}
    rows = await event_capacity.load_registrations(session, row, user_ids=list(users_by_id))
    new_ids = [user_id for user_id in users_by_id if user_id not in rows]
    new = await event_capacity.register_users(
        session, row, user_ids=new_ids, by_id=actor.id, named_by=_name_guests(guests, actor)
    )
    if send_mail:
        invitees = [(users_by_id[user_id], member.role) for user_id, member in new.items()]
        await event_notifications.notify_guests(session, row, by=actor.user, guests=invitees, message=note)
    return [_guest_result(guest, rows | new) for guest in guests]


async def _find_or_create_guests(session: AsyncSession, emails: Sequence[str]) -> list[_Guest]:
    """Find the users of the addresses, creating unclaimed users for unknown ones."""
    checked: list[str | Problem] = []
    for i, email in enumerate(emails):
        try:
            checked.append(email_addresses.require_email(email, field=f"emails.{i}"))
        except Invalid as problem:
            checked.append(problem)
    valid = [address for address in checked if isinstance(address, str)]
    users = await email_addresses.find_or_create_users(session, valid) if valid else {}
    return [
        _Guest(email, address if isinstance(address, Problem) else _check_guest(users[address], "emails", i))
        for i, (email, address) in enumerate(zip(emails, checked, strict=True))
    ]


async def _resolve_guests(
    session: AsyncSession, actor: Actor, users: Sequence[CollectiveKey]
) -> list[_Guest]:
    """Resolve guests named as users."""
    parties = await resolve_many(session, actor, users, name="users") if users else []
    return [
        _Guest(
            None, party if isinstance(party, Problem) else _check_guest(require_collective(party), "users", i)
        )
        for i, party in enumerate(parties)
    ]


def _check_guest(user: Collective, name: str, index: int) -> Collective | Problem:
    field = f"{name}.{index}"
    if user.type != CollectiveType.USER:
        return Invalid("Only users can attend events.", field=field)
    if user.archived_at is not None:
        by_address = name == "emails"
        message = "Nobody can be registered by this address." if by_address else f"{user.slug} is archived."
        return InvalidState(message, field=field)
    return user


def _name_guests(guests: Sequence[_Guest], actor: Actor) -> dict[UUID, NamedBy]:
    """Return how each guest but the actor was named; by reference if in both ways."""
    named: dict[UUID, NamedBy] = {}
    for guest in guests:  # addresses come first
        if isinstance(guest.user, Collective) and guest.user.id != actor.id:
            named[guest.user.id] = NamedBy.REFERENCE if guest.email is None else NamedBy.ADDRESS
    return named


def _guest_result(guest: _Guest, rows: dict[UUID, Member]) -> GuestResult:
    if isinstance(guest.user, Problem):
        return GuestResult(guest.email, problem=guest.user)
    row = rows[guest.user.id]
    member = row if guest.email is None else None
    return GuestResult(guest.email, role=MemberRole(row.role), member=member)


async def send_message(
    session: AsyncSession, actor: Actor, *, event: CollectiveKey, message: str
) -> Collective:
    """Send a message to all attendees, or from an attendee to the coordinator.

    The coordinator and the event's ADMINs write to the attendees.

    Raises:
        Forbidden: the actor is neither coordinator, ADMIN nor attendee.
        Invalid: the message is empty or longer than 2000 characters.
        InvalidState: the event was cancelled.
        RateLimited: the user has sent too many messages within a day.
    """
    row = require_collective(await resolve_one(session, actor, event, name="event"))
    require(actor, Action.SEND_EVENT_MESSAGE)
    assert actor.user is not None
    event_capacity.require_event(row)
    leads = actor.is_admin(row) or row.coordinator_id == actor.id
    if not leads and MemberRole.ATTENDEE not in actor.roles.get(row.id, frozenset()):
        raise Forbidden("Only the event's coordinator, its ADMINs and its attendees can send messages.")
    text = user_text.require_text(message, field="message", max_length=MAX_MESSAGE_LENGTH)
    event_capacity.require_active(row, may_be_over=True)
    if not await attempt_limits.consume_message(session, user_id=actor.user.id):
        raise RateLimited("Too many messages. Try again tomorrow.", field="message")
    mail_message = event_notifications.message_attendees if leads else event_notifications.message_coordinator
    await mail_message(session, row, by=actor.user, message=text)
    return row
