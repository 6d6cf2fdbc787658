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
