"""Who may know the giver of an incognito gift: one SQL predicate per type, beside the visibility of the row.

`row_visibility` says the same of rows that were loaded.
"""

from typing import Any

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Order, OrderAction, RecurringGift, Transaction
from services.access.actor import READER_ROLES, Actor
from services.access.viewer_terms import is_hosted_by_viewer, is_of_roles

# Built once at import: creating an alias copies every column.
_ORDER: Any = aliased(Order, name="order_of_step")


def order_giver_is_visible(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """True if the actor may know who gives a visible order; as `can_see_giver`.

    The giver of an incognito one is known to the readers of that giver and of the hosts of both sides. The
    readers of its payee are not among them. NULL counts as false.
    """
    return _giver_is_visible(actor, table, table.from_id, table.claimed_giver_id)


def recurring_giver_is_visible(actor: Actor, table: Any = RecurringGift) -> ColumnElement[bool]:
    """True if the actor may know who gives a visible recurring gift; as `can_see_giver`."""
    return _giver_is_visible(actor, table, table.from_id)


def gift_of_order_is_known(
    actor: Actor, order: Any = Order, gift: Any = RecurringGift
) -> ColumnElement[bool]:
    """True if the actor may know that a visible order belongs to a visible recurring gift.

    Between an incognito charge and a gift that names its giver, or the other way round, the reference would
    tell who gave: then it is for those who may know.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        order.is_incognito == gift.is_incognito,
        order_giver_is_visible(actor, order) & recurring_giver_is_visible(actor, gift),
    )


def _giver_is_visible(actor: Actor, table: Any, *givers: Any) -> ColumnElement[bool]:
    if actor.is_platform_accountant:
        return true()
    is_open = ~col(table.is_incognito)
    if actor.user is None:
        return is_open
    return or_(
        is_open,
        *(is_of_roles(giver, actor, *READER_ROLES) for giver in givers),
        *(is_hosted_by_viewer(side, actor) for side in (table.from_id, table.to_id)),
    )


def transaction_giver_is_visible(actor: Actor, table: Any = Transaction) -> ColumnElement[bool]:
    """True if the actor may know the paying side of a visible transaction; as `can_see_payer`.

    That of an incognito gift is known to its readers and those of both hosts. NULL counts as false.
    """
    if actor.is_platform_accountant:
        return true()
    is_open = ~col(table.is_incognito)
    if actor.user is None:
        return is_open
    columns = (table.from_collective_id, table.from_host_id, table.to_host_id)
    return or_(is_open, *(is_of_roles(column, actor, *READER_ROLES) for column in columns))


def action_actor_is_visible(actor: Actor, action: Any = OrderAction) -> ColumnElement[bool]:
    """True unless the step was taken by the giver of an order whose giver the viewer may not know."""
    if actor.is_platform_accountant:
        return true()
    givers = (_ORDER.from_id, _ORDER.created_by_id, _ORDER.claimed_giver_id)
    hidden = select(col(_ORDER.id)).where(
        _ORDER.id == action.order_id,
        _ORDER.is_incognito,
        order_giver_is_visible(actor, _ORDER).is_not(true()),
        or_(*(action.actor_id == giver for giver in givers)),
    )
    return ~hidden.exists()
