"""Private fields of orders, and lists of orders and transactions."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import models
from models.enums import GiverStatus, OrderType, PaymentMethodKind
from resolvers import givers
from resolvers.context import Context, Info
from resolvers.references import FILTER, load_referenced
from services.access import row_visibility
from services.access.collective_refs import CollectiveKey
from services.core.errors import NotFound
from services.core.money import Money
from services.core.pagination import Page, PageRequest, Sort
from services.orders import provider_payments, queries, transfer_instructions
from services.orders.queries import OrderFilter, TransactionFilter
from services.orders.settlements import SettlementDetails
from services.orders.transfer_instructions import TransferInstructions


async def concerns_viewer(order: models.Order, context: Context) -> bool:
    """Return True if the viewer may read the private fields of an order."""
    load = context.loaders.collective.load

    async def load_sides() -> list[models.Collective]:
        sides = [await load(order.from_id), await load(order.to_id)]
        hosts = [await load(side.host_id) for side in sides if side is not None]
        return [collective for collective in (*sides, *hosts) if collective is not None]

    return await row_visibility.concerns_order(context.actor, order, load_sides)


async def load_earlier_order(info: Info, order_id: UUID) -> models.Order:
    """Load the order that an earlier call with the same idempotency key created.

    Raises:
        NotFound: the viewer no longer has access to it.
    """
    order = await info.context.loaders.order.load(order_id)
    if order is None:
        raise NotFound("You no longer have access to the order created with this idempotency key.")
    return order


async def load_instructions(info: Info, order: models.Order) -> TransferInstructions | None:
    """Load how to pay a donation by bank transfer, or None if it is paid in another way."""
    if order.payment_method_kind != PaymentMethodKind.MANUAL:
        return None
    return await info.context.run_without_viewer(transfer_instructions.load_instructions, order=order)


async def load_handover(info: Info, order: models.Order) -> dict[str, str | None]:
    """Load what the giver of a new order needs to pay at the provider, by the payload's fields."""
    if order.payment_method_kind != PaymentMethodKind.PROVIDER:
        return {}
    handover = await info.context.run_without_viewer(provider_payments.load_handover, order_id=order.id)
    if handover is None:
        return {}
    return {
        "provider_account": handover.account,
        "client_secret": handover.client_secret,
        "redirect_url": handover.redirect_url,
    }


async def read_private_message(order: models.Order, info: Info) -> str | None:
    """Return the private message, or None if the viewer may not read it."""
    if not row_visibility.can_read_message(info.context.actor, order):
        return None
    if order.claimed_giver_id is not None and not all(await givers.are_shown([order], info)):
        return None  # it names the guest
    return order.private_message if await concerns_viewer(order, info.context) else None


async def knows_claimed_giver(order: models.Order, context: Context) -> bool:
    """Return True if the viewer is a reader of the giver whom a host named, or of that host."""
    load = context.loaders.collective.load
    if order.claimed_giver_id is None:
        return False
    payee = await load(order.to_id)
    sides = [await load(order.claimed_giver_id), await load(payee.host_id) if payee else None]
    return any(side is not None and row_visibility.can_read_private(context.actor, side) for side in sides)


async def load_addressee(order: models.Order, info: Info) -> models.Collective | None:
    """Load the user asked to approve hours, or None if the viewer may not know whose address was named."""
    if order.addressed_to_id is None or not row_visibility.can_see_addressee(info.context.actor, order):
        return None
    return await info.context.loaders.collective.load(order.addressed_to_id)


async def load_claimed_giver(order: models.Order, info: Info) -> models.Collective | None:
    """Load the giver whom a host named, or None if the viewer may not know it."""
    if order.claimed_giver_id is None or not await knows_claimed_giver(order, info.context):
        return None
    return await info.context.loaders.collective.load(order.claimed_giver_id)


async def read_giver_status(order: models.Order, info: Info) -> GiverStatus | None:
    """Return the answer of the giver whom a host named, or None if the viewer may not know it."""
    return order.giver_status if await knows_claimed_giver(order, info.context) else None


async def load_refunded_amounts(rows: Sequence[models.Order], info: Info) -> list[Money]:
    """Load the refunded amounts of orders."""
    amounts = await info.context.loaders.refunded_of_order.load_many([row.id for row in rows])
    return [Money(amount_minor, row.currency) for amount_minor, row in zip(amounts, rows, strict=True)]


async def read_receipts(order: models.Order, info: Info) -> list[str]:
    """Return the receipts, or none if the order does not concern the viewer."""
    return order.receipts if await concerns_viewer(order, info.context) else []


async def load_settlement(order: models.Order, info: Info) -> SettlementDetails | None:
    """Load the payment behind a settlement, or None if the order is none or does not concern the viewer."""
    if order.type != OrderType.SETTLEMENT or not await concerns_viewer(order, info.context):
        return None
    return await info.context.loaders.settlement_of_order.load(order.id)


async def load_amounts(
    rows: Sequence[models.OrderAction | models.OrderItem], info: Info
) -> list[Money | None]:
    """Load the amounts of history steps or expense lines, in the currencies of their orders."""
    orders = await info.context.loaders.order.load_many([row.order_id for row in rows])
    return [
        None if order is None or row.amount is None else Money(row.amount, order.currency)
        for row, order in zip(rows, orders, strict=True)
    ]


async def read_reason(action: models.OrderAction, info: Info) -> str | None:
    """Return the reason of a history step, or None if its order does not concern the viewer."""
    order = await info.context.loaders.order.load(action.order_id)
    if order is None or not await concerns_viewer(order, info.context):
        return None
    return action.reason


async def list_orders(
    info: Info,
    *,
    filters: OrderFilter,
    refs: dict[str, CollectiveKey | None],
    page: PageRequest,
    of_id: UUID | None = None,
    sort: Sort = queries.ORDERS_NEWEST,
) -> Page[models.Order]:
    """List orders that the viewer may see: of everybody, or of one collective.

    `refs` holds the collectives that the filter names: from, to, event, addressedTo, claimedGiver.
    """
    ids = await _load_ids(info, refs)
    filters = replace(
        filters,
        from_id=ids.get("from"),
        to_id=ids.get("to"),
        event_id=ids.get("event"),
        addressed_to_id=ids.get("addressedTo"),
        claimed_giver_id=ids.get("claimedGiver"),
    )
    return await info.context.run(queries.list_orders, where=filters, page=page, sort=sort, of_id=of_id)


async def list_transactions(
    info: Info,
    *,
    filters: TransactionFilter,
    from_: CollectiveKey | None,
    to: CollectiveKey | None,
    page: PageRequest,
    of_id: UUID | None = None,
    sort: Sort = queries.TRANSACTIONS_NEWEST,
) -> Page[models.Transaction]:
    """List transactions that the viewer may see: of everybody, or of one collective."""
    ids = await _load_ids(info, {"from": from_, "to": to})
    filters = replace(filters, from_id=ids.get("from"), to_id=ids.get("to"))
    return await info.context.run(queries.list_transactions, where=filters, page=page, sort=sort, of_id=of_id)


async def _load_ids(info: Info, refs: dict[str, CollectiveKey | None]) -> dict[str, UUID]:
    return {name: row.id for name, row in (await load_referenced(info, refs, within=FILTER)).items()}
