"""Merging of accounts."""

from uuid import UUID

import models
from resolvers.commands import KeyedRequest, run_once
from resolvers.context import Info
from services.access.collective_refs import CollectiveKey, require_collective, resolve_one
from services.collectives import merge_users as merge_service
from services.core.errors import NotFound


async def merge_users(
    info: Info, request: KeyedRequest, *, from_: CollectiveKey, into: CollectiveKey
) -> models.Collective:
    """Merge two accounts of the same person; return the account that remains."""
    target = require_collective(await info.context.run(resolve_one, into, name="into"))

    async def merge() -> models.Collective:
        return await info.context.run(merge_service.merge, from_=from_, into=into)

    async def load_merged(user_id: UUID) -> models.Collective:
        user = await info.context.loaders.collective.load(user_id)
        if user is None:
            raise NotFound("The user no longer exists.")
        return user

    return await run_once(info, request, result_id=target.id, work=merge, replay=load_merged)
