"""A person's own data."""

import models
from resolvers.context import Info
from services.collectives import erasure
from services.orders import personal_exports


async def export_my_data(info: Info) -> models.DataExport:
    """Ask for a copy of what the database holds of the viewer."""
    return await info.context.run(personal_exports.request)


async def erase_me(info: Info, *, slug: str) -> str:
    """Erase the viewer; the fields that follow have no viewer. Return the pseudonym."""
    context = info.context
    pseudonym = await context.run(erasure.erase_me, slug=slug)
    context.session_cookie.has_ended = True
    context.forget_viewer()
    return pseudonym
