"""Check-in to and check-out of events."""

from uuid import UUID

import models
from models import new_id
from resolvers.commands import KeyedRequest, run_once
from resolvers.context import Info
from services.access.collective_refs import CollectiveKey
from services.volunteering import check_in as check_in_service
from services.volunteering.check_in import CheckInResult


async def check_in(
    info: Info,
    request: KeyedRequest,
    *,
    event: CollectiveKey,
    user: CollectiveKey | None,
    email: str | None,
    is_trial: bool,
) -> CheckInResult:
    """Check a person in to an event; repeated calls return the same order."""

    async def work(order_id: UUID) -> CheckInResult:
        return await info.context.run(
            check_in_service.check_in,
            order_id=order_id,
            event=event,
            user=user,
            email=email,
            is_trial=is_trial,
        )

    result_id = new_id()
    return await run_once(
        info,
        request,
        result_id=result_id,
        work=lambda: work(result_id),
        # A person has one order per event, which may have been created with another key.
        replay=lambda _: work(new_id()),
    )


async def check_out(
    info: Info, request: KeyedRequest, *, event: CollectiveKey, user: CollectiveKey
) -> models.Order:
    """Check a person out of an event; repeated calls return the same order."""

    async def work() -> models.Order:
        return await info.context.run(check_in_service.check_out, event=event, user=user)

    return await run_once(info, request, result_id=new_id(), work=work, replay=lambda _: work())
