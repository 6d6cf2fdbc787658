"""Conversion of filter inputs to resolver arguments."""

from typing import TypedDict

from schema.types.node import to_optional_key
from schema.types.order import OrderFilter
from schema.types.transaction import TransactionFilter
from services.access.collective_refs import CollectiveKey
from services.core import public_ids
from services.orders import queries


class OrderArguments(TypedDict):
    """Arguments of resolvers.orders.listed."""

    filters: queries.OrderFilter
    refs: dict[str, CollectiveKey | None]


class TransactionArguments(TypedDict):
    """Arguments of resolvers.orders.transactions."""

    filters: queries.TransactionFilter
    from_: CollectiveKey | None
    to: CollectiveKey | None


def to_order_arguments(filter: OrderFilter | None) -> OrderArguments:
    """Convert the filter of a list of orders."""
    if filter is None:
        return {"filters": queries.OrderFilter(), "refs": {}}
    conditions = queries.OrderFilter(
        type=filter.type or (),
        status=filter.status or (),
        offer_id=public_ids.decode("Offer", filter.offer, field="filter.offer") if filter.offer else None,
        tier_id=public_ids.decode("Tier", filter.tier, field="filter.tier") if filter.tier else None,
        subscription_id=public_ids.decode("RecurringGift", filter.subscription, field="filter.subscription")
        if filter.subscription
        else None,
        created_from=filter.created_from,
        created_until=filter.created_until,
    )
    refs = {
        "from": filter.from_,
        "to": filter.to,
        "event": filter.event,
        "addressedTo": filter.addressed_to,
        "claimedGiver": filter.claimed_giver,
    }
    return {"filters": conditions, "refs": {name: to_optional_key(ref) for name, ref in refs.items()}}


def to_transaction_arguments(filter: TransactionFilter | None) -> TransactionArguments:
    """Convert the filter of a list of transactions."""
    if filter is None:
        return {"filters": queries.TransactionFilter(), "from_": None, "to": None}
    conditions = queries.TransactionFilter(
        kind=filter.kind or (),
        order_id=public_ids.decode("Order", filter.order, field="filter.order") if filter.order else None,
        group_id=public_ids.decode("Group", filter.group, field="filter.group") if filter.group else None,
        at_from=filter.at_from,
        at_until=filter.at_until,
    )
    return {"filters": conditions, "from_": to_optional_key(filter.from_), "to": to_optional_key(filter.to)}
