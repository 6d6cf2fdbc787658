"""Merging of accounts."""

from uuid import UUID

from models import new_id
from resolvers.commands import KeyedRequest, run_once
from resolvers.context import Info
from services.access.collective_refs import CollectiveKey
from services.collectives import merge_consents
from services.collectives import merge_users as merge_service
from services.collectives.merge_consents import MergeResult


async def merge_users(
    info: Info, request: KeyedRequest, *, from_: CollectiveKey, into: CollectiveKey
) -> MergeResult:
    """Consent to merging two accounts of a person, and merge them once the consents suffice."""
    consent_id = new_id()

    async def merge() -> MergeResult:
        return await info.context.run(merge_service.merge, consent_id=consent_id, from_=from_, into=into)

    async def load_result(earlier_id: UUID) -> MergeResult:
        return await info.context.run(merge_consents.load_result, consent_id=earlier_id)

    return await run_once(info, request, result_id=consent_id, work=merge, replay=load_result)
