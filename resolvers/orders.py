"""Order fields that only some may see, and lists of orders."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import models
from resolvers.context import Context, Info
from services.access.collective_refs import Ref, named, resolve
from services.access.visibility import sees_private
from services.core.money import Money
from services.core.pagination import Page, PageRequest, Sort
from services.orders import queries
from services.orders.queries import OrderFilter, TransactionFilter


async def is_concerned(order: models.Order, context: Context) -> bool:
    """Whether the viewer made the order, or reads the private fields of a side or of a side's host."""
    actor = context.actor
    if actor.user is None:
        return False
    if order.created_by_id == actor.user.id:
        return True
    load = context.loaders.collective
    sides = [await load(order.from_id), await load(order.to_id)]
    hosts = [await load(side.host_id) for side in sides if side is not None]
    return any(sees_private(actor, c) for c in (*sides, *hosts) if c is not None)


async def private_message(order: models.Order, info: Info) -> str | None:
    """Return the message if the viewer is concerned."""
    return order.private_message if await is_concerned(order, info.context) else None


async def receipts(order: models.Order, info: Info) -> list[str]:
    """Return the receipts if the viewer is concerned."""
    return order.receipts if await is_concerned(order, info.context) else []


async def amounts(rows: Sequence[models.OrderAction | models.OrderItem], info: Info) -> list[Money | None]:
    """Return the amounts of steps or lines, which are in their orders' currencies."""
    orders = await info.context.loaders.of("order").load_many([row.order_id for row in rows])
    return [
        None if order is None or row.amount is None else Money(row.amount, order.currency)
        for row, order in zip(rows, orders, strict=True)
    ]


async def reason(action: models.OrderAction, info: Info) -> str | None:
    """Return a step's reason if the viewer is concerned with its order."""
    order = await info.context.loaders.order(action.order_id)
    if order is None or not await is_concerned(order, info.context):
        return None
    return action.reason


async def listed(
    info: Info,
    *,
    wanted: OrderFilter,
    refs: dict[str, Ref | None],
    page: PageRequest,
    of_id: UUID | None = None,
    sort: Sort = queries.ORDERS_NEWEST,
) -> Page[models.Order]:
    """List orders: all that the viewer may see, or those of one collective.

    `refs` are what the filter names: from, to, event, addressedTo.
    """
    found = await _ids(info, refs)
    wanted = replace(
        wanted,
        from_id=found.get("from"),
        to_id=found.get("to"),
        event_id=found.get("event"),
        addressed_to_id=found.get("addressedTo"),
    )
    return await info.context.run(queries.orders, wanted=wanted, page=page, sort=sort, of_id=of_id)


async def transactions(
    info: Info,
    *,
    wanted: TransactionFilter,
    from_: Ref | None,
    to: Ref | None,
    page: PageRequest,
    of_id: UUID | None = None,
    sort: Sort = queries.TRANSACTIONS_NEWEST,
) -> Page[models.Transaction]:
    """List transactions: all that the viewer may see, or those of one collective."""
    found = await _ids(info, {"from": from_, "to": to})
    wanted = replace(wanted, from_id=found.get("from"), to_id=found.get("to"))
    return await info.context.run(queries.transactions, wanted=wanted, page=page, sort=sort, of_id=of_id)


async def _ids(info: Info, given: dict[str, Ref | None]) -> dict[str, UUID]:
    named_ = {name: ref for name, ref in given.items() if ref is not None}
    if not named_:
        return {}
    parties = await info.context.run(resolve, refs=named_)
    return {name: named(party).id for name, party in parties.items()}
