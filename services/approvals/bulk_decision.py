"""The decisions on approvals of many orders: how many, and which hours together. No database."""

from collections.abc import Sequence
from dataclasses import dataclass

from models import Collective, Order
from services.access.actor import Actor
from services.access.permissions import Action, Subject, is_permitted, require_signed_in
from services.core.errors import Invalid

MAX_ORDERS = 100
IDS_FIELD = "ids"


@dataclass(frozen=True)
class ApprovableHours:
    """Pending hours with both sides."""

    order: Order
    nonprofit: Collective
    volunteer: Collective


def require_orders(actor: Actor, public_ids: Sequence[str]) -> None:
    """Require somebody signed in who names 1 to 100 orders, each once.

    Raises:
        Unauthenticated: nobody is signed in.
        Invalid: no order, more than 100, or one twice.
    """
    require_signed_in(actor)
    if not 1 <= len(public_ids) <= MAX_ORDERS:
        raise Invalid(f"Name 1 to {MAX_ORDERS} orders.", field=IDS_FIELD)
    if len(set(public_ids)) != len(public_ids):
        raise Invalid("Name each order only once.", field=IDS_FIELD)


def choose_hours(actor: Actor, hours: Sequence[ApprovableHours]) -> list[ApprovableHours]:
    """Choose the hours that the actor approves together, in their order; others are tried one by one."""
    return [
        each for each in hours if is_permitted(actor, Action.APPROVE_HOURS, Subject(payer=each.nonprofit))
    ]
