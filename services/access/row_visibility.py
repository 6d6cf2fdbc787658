"""Whether the actor may see a part of a row that was loaded; `visibility` says the same in SQL."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from models import Collective, Invitation, Order, RecurringGift, Transaction
from models.enums import CollectiveType, GiverStatus, RequestStatus
from services.access.actor import READER_ROLES, Actor


def can_read_message(actor: Actor, order: Order) -> bool:
    """True if an actor whom an order concerns can read its private message."""
    if order.giver_status in {None, GiverStatus.CONFIRMED} or actor.is_platform_accountant:
        return True
    return order.from_id == actor.id or not actor.roles.get(order.from_id, frozenset()).isdisjoint(
        READER_ROLES
    )


def can_read_private(actor: Actor, collective: Collective) -> bool:
    """True if the actor is ADMIN or ACCOUNTANT of the collective, or may read everything."""
    return actor.is_platform_accountant or actor.has_role_in(collective, *READER_ROLES)


def can_read_balance(actor: Actor, collective: Any) -> bool:
    """True unless it is a person; then for that person and the readers of their host."""
    return (
        collective.type != CollectiveType.USER
        or can_read_private(actor, collective)
        or (
            collective.host_id is not None
            and not actor.roles.get(collective.host_id, frozenset()).isdisjoint(READER_ROLES)
        )
    )


def can_read_location(actor: Actor, collective: Collective) -> bool:
    """True if the collective is not a person, or the actor can read its private fields."""
    return collective.type != CollectiveType.USER or can_read_private(actor, collective)


def can_read_preferences(actor: Actor, user: Collective) -> bool:
    """True for users themselves."""
    return actor.id == user.id


def can_see_addressee(actor: Actor, order: Order) -> bool:
    """True if the actor can see who is asked to approve hours; as `addressee_is_visible`."""
    return (
        actor.is_platform_accountant
        or (actor.id is not None and actor.id == order.addressed_to_id)
        or not actor.roles.get(order.from_id, frozenset()).isdisjoint(READER_ROLES)
    )


def can_see_invitee(actor: Actor, invitation: Invitation) -> bool:
    """False if showing the invited user would reveal to the actor the owner of an email address."""
    return (
        not invitation.by_email
        or invitation.status == RequestStatus.ACCEPTED
        or invitation.user_id == actor.id
    )


def can_watch_check_ins(actor: Actor, collective: Collective) -> bool:
    """True if the collective is an event whose private fields the actor can read."""
    return collective.type == CollectiveType.EVENT and can_read_private(actor, collective)


async def concerns_order(
    actor: Actor, order: Order, load_sides: Callable[[], Awaitable[Sequence[Collective]]]
) -> bool:
    """True if the actor created the order, or is a reader of a side or of a side's host.

    `load_sides` returns the sides and their hosts; it is called only if they matter.
    """
    if actor.user is None:
        return False
    if order.created_by_id == actor.user.id:
        return True
    return any(can_read_private(actor, side) for side in await load_sides())


def can_see_payer(actor: Actor, transaction: Transaction) -> bool:
    """True if the actor may know the paying side of a visible transaction; `transaction_giver_is_visible`."""
    return (
        not transaction.is_incognito
        or actor.is_platform_accountant
        or any(
            _reads(actor, row_id)
            for row_id in (transaction.from_collective_id, transaction.from_host_id, transaction.to_host_id)
        )
    )


def can_see_giver(actor: Actor, gift: Order | RecurringGift, sides: Sequence[Collective]) -> bool:
    """True if the actor may know who gives a visible order or recurring gift; as `order_giver_is_visible`.

    `sides` are its two sides, as far as the actor may see them.
    """
    if not gift.is_incognito or actor.is_platform_accountant:
        return True
    claimed_id = getattr(gift, "claimed_giver_id", None)  # of an Order; a loaded row may be a record
    ids = (gift.from_id, claimed_id, *(side.host_id for side in sides))
    return any(_reads(actor, row_id) for row_id in ids)


def _reads(actor: Actor, row_id: UUID | None) -> bool:
    """True if the actor is ADMIN or ACCOUNTANT of a collective, by its id."""
    if row_id is None or actor.user is None:
        return False
    return row_id == actor.id or not actor.roles.get(row_id, frozenset()).isdisjoint(READER_ROLES)
