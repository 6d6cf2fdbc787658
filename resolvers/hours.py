"""Volunteer hours: logging them, and reports on them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import models
from models import new_id
from resolvers.commands import KeyedRequest, run_once
from resolvers.context import Info
from resolvers.references import load_referenced
from services.access.collective_refs import CollectiveKey
from services.core.errors import Invalid
from services.volunteering import hour_reports, hour_requests, nonprofit_referrals
from services.volunteering.hour_reports import HoursBy, HoursSum, WaitingHours


async def log_hours(
    info: Info, *, order_id: UUID, nonprofit: CollectiveKey | None, **arguments: Any
) -> models.Order:
    """Log hours for approval by a nonprofit.

    Raises:
        Invalid: the input names no nonprofit.
    """
    if nonprofit is None:
        raise Invalid("Name a nonprofit, or a new one.", field="nonprofit")
    return await info.context.run(
        hour_requests.log_hours, order_id=order_id, nonprofit=nonprofit, **arguments
    )


async def invite_nonprofit(
    info: Info,
    request: KeyedRequest,
    *,
    nonprofit: CollectiveKey | None,
    name: str,
    email: str,
    description: str | None,
) -> None:
    """Invite a nonprofit to the platform by mail, without creating an order.

    Raises:
        Invalid: the input names an existing nonprofit, too.
    """

    async def invite() -> None:
        if nonprofit is not None:
            raise Invalid("Give either a nonprofit or a new nonprofit.", field="newNonprofit")
        await info.context.run(
            nonprofit_referrals.invite_nonprofit, name=name, email=email, description=description
        )

    async def replay(_: UUID) -> None:
        """Replay an invitation, which returned nothing."""

    await run_once(info, request, result_id=new_id(), work=invite, replay=replay)


async def list_waiting_hours(
    nonprofit: models.Collective, info: Info, *, addressed_to: CollectiveKey | None, first: int | None
) -> list[WaitingHours]:
    """List the hours pending approval at a nonprofit, for those who may read its hours.

    Raises:
        Invalid: `first` is not 1 to 100.
    """
    addressee = (await load_referenced(info, {"addressedTo": addressed_to})).get("addressedTo")
    return await info.context.run(
        hour_reports.list_waiting_hours,
        nonprofit=nonprofit,
        first=hour_reports.DEFAULT_WEEKS if first is None else first,
        addressed_to_id=addressee.id if addressee else None,
    )


async def load_waiting_orders(waiting: WaitingHours, info: Info) -> list[models.Order]:
    """Load the orders of waiting hours, by start time."""
    orders = await info.context.loaders.order.load_many(waiting.order_ids)
    return [order for order in orders if order is not None]


async def sum_hours(
    nonprofit: models.Collective,
    info: Info,
    *,
    by: HoursBy,
    starts_from: datetime | None,
    starts_until: datetime | None,
) -> list[HoursSum]:
    """Sum up the hours at a nonprofit, for those who may read its hours."""
    return await info.context.run(
        hour_reports.sum_hours, nonprofit=nonprofit, by=by, starts_from=starts_from, starts_until=starts_until
    )
