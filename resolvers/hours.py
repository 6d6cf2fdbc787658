"""Volunteer hours: what one request answers, and approving many at once."""

from datetime import datetime
from typing import Any
from uuid import UUID

import models
from resolvers.context import Info
from services.access.collective_refs import Ref, named, resolve_one
from services.core.errors import Invalid
from services.volunteering import hour_reports, hour_requests
from services.volunteering.hour_reports import HoursBy, HoursSum, WaitingHours

DEFAULT_FIRST = 20


async def log(info: Info, *, order_id: UUID, nonprofit: Ref | None, **given: Any) -> models.Order:
    """Ask for hours.

    Raises:
        Invalid: no nonprofit is named.
    """
    if nonprofit is None:
        raise Invalid("Name a nonprofit, or a new one", path=["input", "nonprofit"])
    return await info.context.run(hour_requests.log, order_id=order_id, nonprofit=nonprofit, **given)


async def waiting(
    nonprofit: models.Collective, info: Info, *, addressed_to: Ref | None, first: int | None
) -> list[WaitingHours]:
    """Return hours that wait for approval, to those who read a nonprofit's hours.

    Raises:
        Invalid: not 1 to 100.
    """
    count = DEFAULT_FIRST if first is None else first
    if not 1 <= count <= hour_reports.MAX_WEEKS:
        raise Invalid(f"Ask for 1 to {hour_reports.MAX_WEEKS}", path=["first"])
    asked = None
    if addressed_to is not None:
        asked = named(await info.context.run(resolve_one, addressed_to, name="addressedTo"))
    return await info.context.run(
        hour_reports.waiting, nonprofit=nonprofit, first=count, addressed_to_id=asked.id if asked else None
    )


async def sums(
    nonprofit: models.Collective,
    info: Info,
    *,
    by: HoursBy,
    starts_from: datetime | None,
    starts_until: datetime | None,
) -> list[HoursSum]:
    """Return sums of hours, to those who read a nonprofit's hours."""
    return await info.context.run(
        hour_reports.sums, nonprofit=nonprofit, by=by, starts_from=starts_from, starts_until=starts_until
    )
