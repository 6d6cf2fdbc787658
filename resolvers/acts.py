"""The audit log of collectives, of a person's account and of the platform."""

from typing import TypeAlias

import models
from resolvers.collectives import load_hosts
from resolvers.context import Info
from services.access.permissions import Action, Subject, is_permitted
from services.core.pagination import Page, PageRequest

Rows: TypeAlias = list[models.Collective]


async def list_of_collectives(rows: Rows, info: Info, *, page: PageRequest) -> list[Page[models.Act] | None]:
    """List a page of the audit log of each collective; None where the viewer may not read it."""
    hosts = await load_hosts(rows, info)
    viewer = info.context.actor
    readable = [
        row.id
        for row, host in zip(rows, hosts, strict=True)
        if is_permitted(viewer, Action.READ_AUDIT_LOG, Subject(collective=row, host=host))
    ]
    pages = await info.context.loaders.acts(page, is_security=False).load_many(readable)
    by_id = dict(zip(readable, pages, strict=True))
    return [by_id.get(row.id) for row in rows]


async def list_security(rows: Rows, info: Info, *, page: PageRequest) -> list[Page[models.Act] | None]:
    """List a page of the acts on the viewer's own account; None for other users, and for access tokens."""
    viewer = info.context.actor
    own = [row.id for row in rows if row.id == viewer.id and viewer.scopes is None]
    pages = await info.context.loaders.acts(page, is_security=True).load_many(own)
    by_id = dict(zip(own, pages, strict=True))
    return [by_id.get(row.id) for row in rows]


def can_read_origin(act: models.Act, info: Info) -> bool:
    """Return True if the viewer may know from where an act was made.

    The person who made it may, and the platform's ADMINs; none of them by an access token.
    """
    viewer = info.context.actor
    if viewer.id is None or viewer.scopes is not None:
        return False
    return act.actor_id == viewer.id or viewer.is_platform_admin
