"""Recurring gifts: lists of them, and the runner of their mutations."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import models
from models.enums import GiftDirection, GiftStatus
from resolvers.commands import KeyedRequest, run_once
from resolvers.context import Info
from resolvers.orders import load_earlier_order
from services.core import public_ids
from services.core.errors import NotFound
from services.core.pagination import Page, PageRequest
from services.recurring import queries


async def list_gifts(
    info: Info,
    *,
    of_id: UUID,
    direction: GiftDirection,
    status: Sequence[GiftStatus] | None,
    page: PageRequest,
) -> Page[models.RecurringGift]:
    """List the recurring gifts of a collective that the viewer may see."""
    where = queries.GiftFilter(direction, tuple(status or ()))
    return await info.context.run(queries.list_gifts, of_id=of_id, where=where, page=page)


async def change_gift(
    info: Info,
    request: KeyedRequest,
    *,
    public_id: str,
    work: Callable[[UUID], Awaitable[models.RecurringGift]],
) -> models.RecurringGift:
    """Change the gift that an id names, once per idempotency key; then return it as it is now."""
    gift_id = public_ids.decode("RecurringGift", public_id, field="id")
    return await run_once(
        info,
        request,
        result_id=gift_id,
        work=lambda: work(gift_id),
        replay=lambda earlier_id: _load_gift(info, earlier_id),
    )


async def _load_gift(info: Info, gift_id: UUID) -> models.RecurringGift:
    gift = await info.context.loaders.recurring_gift.load(gift_id)
    if gift is None:
        raise NotFound("You no longer have access to this recurring gift.")
    return gift


async def load_earlier_donation(
    info: Info, order_id: UUID
) -> tuple[models.Order, models.RecurringGift | None]:
    """Load what an earlier donation with the same idempotency key made: its order, and the recurring gift.

    Raises:
        NotFound: the viewer no longer has access to it.
    """
    order = await load_earlier_order(info, order_id)
    if order.subscription_id is None:
        return order, None
    return order, await info.context.loaders.recurring_gift.load(order.subscription_id)
