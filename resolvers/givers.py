"""Who may know the giver of an incognito gift, for rows that were loaded."""

from collections.abc import Sequence

import models
from resolvers.context import Info
from services.access import row_visibility


async def are_shown(rows: Sequence[models.Order | models.RecurringGift], info: Info) -> list[bool]:
    """Tell for each order or recurring gift whether the viewer may know its giver. One load for all rows."""
    context = info.context
    ids = list({side_id for row in rows if row.is_incognito for side_id in (row.from_id, row.to_id)})
    loaded = await context.loaders.collective.load_many(ids) if ids and context.actor.user else []
    side_by_id = {side.id: side for side in loaded if side is not None}
    return [
        row_visibility.can_see_giver(
            context.actor,
            row,
            [side_by_id[side_id] for side_id in (row.from_id, row.to_id) if side_id in side_by_id],
        )
        for row in rows
    ]


async def are_payers_shown(rows: Sequence[models.Transaction], info: Info) -> list[bool]:
    """Tell for each transaction whether the viewer may know its paying side."""
    return [row_visibility.can_see_payer(info.context.actor, row) for row in rows]


async def load_recurring_gifts(rows: Sequence[models.Order], info: Info) -> list[models.RecurringGift | None]:
    """Load the recurring gifts of orders.

    Between an incognito charge and a gift that names its giver, or the other way round, the reference would
    tell who gave: then it is for those who may know.
    """
    gifts = await info.context.loaders.recurring_gift.load_many([row.subscription_id for row in rows])
    differing = [
        (row, gift)
        for row, gift in zip(rows, gifts, strict=True)
        if gift is not None and gift.is_incognito != row.is_incognito
    ]
    of_orders = await are_shown([row for row, _ in differing], info)
    of_gifts = await are_shown([gift for _, gift in differing], info)
    hidden_ids = {
        row.id for (row, _), *known in zip(differing, of_orders, of_gifts, strict=True) if not all(known)
    }
    return [None if row.id in hidden_ids else gift for row, gift in zip(rows, gifts, strict=True)]
