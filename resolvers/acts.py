"""The audit log of collectives, of a person's account and of the platform."""

from typing import TypeAlias

import models
from resolvers.context import Info
from services.access.act_log import VisibleOrigin
from services.access.act_values import ActValue
from services.core.pagination import Page, PageRequest

Rows: TypeAlias = list[models.Collective]


async def list_of_collectives(
    rows: Rows, info: Info, *, page: PageRequest, is_security: bool = False
) -> list[Page[models.Act] | None]:
    """List a page of a log of each collective; None where the viewer may not read it."""
    loader = info.context.loaders.acts(page, is_security=is_security)
    return await loader.load_many([row.id for row in rows])


async def load_values(acts: list[models.Act], info: Info) -> list[list[ActValue]]:
    """Load what each act changed."""
    return await info.context.loaders.values_of_act.load_many([act.id for act in acts])


async def load_origins(acts: list[models.Act], info: Info) -> list[VisibleOrigin | None]:
    """Load from where each act was made; None where the viewer may not know."""
    return await info.context.loaders.origin_of_act.load_many([act.id for act in acts])
