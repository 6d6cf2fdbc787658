"""Decisions on orders: approval of many at once, and refunds."""

from uuid import UUID

from strawberry.types.nodes import SelectedField

import models
from models import new_id
from resolvers.commands import KeyedRequest, run_once
from resolvers.context import Info
from resolvers.orders import load_earlier_order
from services.approvals import bulk
from services.approvals.bulk import ApprovalResult
from services.core import public_ids
from services.core.errors import NotFound
from services.core.money import UncheckedAmount
from services.orders import queries, refunds


async def approve_many(info: Info, *, order_ids: list[str], key: str | None) -> list[ApprovalResult]:
    """Approve orders; return a result for each, in the order given."""
    return await info.context.run(bulk.approve_orders, public_ids=order_ids, key=key)


async def refund(
    info: Info,
    request: KeyedRequest,
    *,
    public_id: str,
    amount: UncheckedAmount | None,
    reason: str | None,
) -> tuple[models.Order, list[models.Transaction]]:
    """Refund an order; return it with the transactions of the refund, if they are asked for."""
    order_id, refund_id = public_ids.decode("Order", public_id, field="id"), new_id()

    async def work() -> tuple[models.Order, list[models.Transaction]]:
        result = await info.context.run(
            refunds.refund, order_id=order_id, refund_id=refund_id, amount=amount, reason=reason
        )
        if not _may_select(info, "transactions"):
            return result.order, []
        rows = await info.context.run(queries.load_transactions, row_ids=result.transaction_ids)
        return result.order, [rows[i] for i in result.transaction_ids if i in rows]

    return await run_once(
        info,
        request,
        result_id=refund_id,
        work=work,
        replay=lambda earlier_id: _load_earlier_refund(info, earlier_id),
    )


def _may_select(info: Info, name: str) -> bool:
    """True if a field of the payload is selected; a fragment may select any."""
    selections = [selection for field in info.selected_fields for selection in field.selections]
    return any(not isinstance(each, SelectedField) or each.name == name for each in selections)


async def _load_earlier_refund(info: Info, refund_id: UUID) -> tuple[models.Order, list[models.Transaction]]:
    """Load the result of an earlier refund with the same key.

    Raises:
        NotFound: the viewer no longer has access to it.
    """
    transactions = await info.context.run(queries.load_group, transaction_id=refund_id)
    if not transactions or transactions[0].order_id is None:
        raise NotFound("You no longer have access to the refund created with this idempotency key.")
    return await load_earlier_order(info, transactions[0].order_id), transactions
