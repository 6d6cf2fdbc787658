"""Who may know the giver of an incognito gift, for rows that were loaded."""

from collections.abc import Sequence

import models
from resolvers.context import Context, Info
from services.access import row_visibility


async def is_shown(gift: models.Order | models.RecurringGift, context: Context) -> bool:
    """Return True if the viewer may know who gives an order or a recurring gift."""

    async def load_sides() -> list[models.Collective]:
        sides = await context.loaders.collective.load_many([gift.from_id, gift.to_id])
        return [side for side in sides if side is not None]

    return await row_visibility.can_see_giver(context.actor, gift, load_sides)


async def are_shown(rows: Sequence[models.Order | models.RecurringGift], info: Info) -> list[bool]:
    """Tell for each order or recurring gift whether the viewer may know its giver."""
    return [not row.is_incognito or await is_shown(row, info.context) for row in rows]


async def are_payers_shown(rows: Sequence[models.Transaction], info: Info) -> list[bool]:
    """Tell for each transaction whether the viewer may know its paying side."""
    return [row_visibility.can_see_payer(info.context.actor, row) for row in rows]


async def load_recurring_gifts(rows: Sequence[models.Order], info: Info) -> list[models.RecurringGift | None]:
    """Load the recurring gifts of orders.

    Between an incognito charge and a gift that names its giver, or the other way round, the reference would
    tell who gave: then it is for those who may know.
    """
    gifts = await info.context.loaders.recurring_gift.load_many([row.subscription_id for row in rows])
    return [
        gift
        if gift is None or gift.is_incognito == row.is_incognito or await _is_link_shown(row, gift, info)
        else None
        for row, gift in zip(rows, gifts, strict=True)
    ]


async def _is_link_shown(order: models.Order, gift: models.RecurringGift, info: Info) -> bool:
    return await is_shown(order, info.context) and await is_shown(gift, info.context)
