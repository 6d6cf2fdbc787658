"""From filter inputs to what the services take."""

from typing import TypedDict

from schema.types.node import ref_or_none
from schema.types.order import OrderFilter
from schema.types.transaction import TransactionFilter
from services.access.collective_refs import Ref
from services.core import public_ids
from services.orders import queries


class OrdersWanted(TypedDict):
    """Arguments of resolvers.orders.listed."""

    wanted: queries.OrderFilter
    refs: dict[str, Ref | None]


class TransactionsWanted(TypedDict):
    """Arguments of resolvers.orders.transactions."""

    wanted: queries.TransactionFilter
    from_: Ref | None
    to: Ref | None


def order_filter(given: OrderFilter | None) -> OrdersWanted:
    """Return which orders are wanted."""
    if given is None:
        return {"wanted": queries.OrderFilter(), "refs": {}}
    wanted = queries.OrderFilter(
        type=given.type or (),
        status=given.status or (),
        offer_id=public_ids.decode("Offer", given.offer, path=["filter", "offer"]) if given.offer else None,
        created_from=given.created_from,
        created_until=given.created_until,
    )
    refs = {"from": given.from_, "to": given.to, "event": given.event, "addressedTo": given.addressed_to}
    return {"wanted": wanted, "refs": {name: ref_or_none(ref) for name, ref in refs.items()}}


def transaction_filter(given: TransactionFilter | None) -> TransactionsWanted:
    """Return which transactions are wanted."""
    if given is None:
        return {"wanted": queries.TransactionFilter(), "from_": None, "to": None}
    path = ["filter"]
    wanted = queries.TransactionFilter(
        kind=given.kind or (),
        order_id=public_ids.decode("Order", given.order, path=[*path, "order"]) if given.order else None,
        group_id=public_ids.decode("Group", given.group, path=[*path, "group"]) if given.group else None,
        at_from=given.at_from,
        at_until=given.at_until,
    )
    return {"wanted": wanted, "from_": ref_or_none(given.from_), "to": ref_or_none(given.to)}
