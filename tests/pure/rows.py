"""Rows that no database holds, for tests of decisions."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models import Collective, Order
from models.enums import CollectiveType, MemberRole, OrderStatus, OrderType
from services.access.actor import Actor

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ORDER_ID = UUID(int=100)


def collective(number: int, kind: CollectiveType = CollectiveType.USER, **columns: Any) -> Collective:
    """Return a collective whose id, slug and name have a number."""
    row = {"id": UUID(int=number), "slug": f"c{number}", "name": f"Name {number}", "currency": "USD"}
    return Collective(**{**row, "type": kind, "created_at": NOON, **columns})


def admin_of(*collectives: Collective, user: Collective, **more: Any) -> Actor:
    """Return a user in a session who is an ADMIN of collectives."""
    return Actor(user=user, roles={row.id: frozenset({MemberRole.ADMIN}) for row in collectives}, **more)


def order(kind: OrderType, status: OrderStatus = OrderStatus.PENDING, **columns: Any) -> Order:
    """Return an order from collective 1 to collective 2, of 10.00 USD."""
    row = {"id": ORDER_ID, "from_id": UUID(int=1), "to_id": UUID(int=2), "amount": 1_000, "currency": "USD"}
    times = {"created_at": NOON, "updated_at": NOON}
    return Order(**{**row, **times, "type": kind, "status": status, "has_public_side": True, **columns})
