"""Reports on a nonprofit's hours, for its admins and accountants."""

from datetime import date, datetime
from typing import Annotated

import strawberry

import models
from dataloaders import Loaders
from resolvers import hours as resolve
from resolvers.context import Info
from schema.types import lazy, sql_lists
from schema.types.enums import publish_enum
from schema.types.fields import shaped, to_one
from schema.types.money import Amount, fixed_currency_field
from schema.types.node import CollectiveRef, is_row_of, to_optional_key
from schema.types.order import Order
from services.ledger.transaction_amounts import CURRENTS
from services.volunteering import hour_reports
from services.volunteering.hour_reports import HoursBy

publish_enum(HoursBy)


@strawberry.type(description="One volunteer's hours of one week that are pending approval.")
class WaitingHours:
    is_type_of = is_row_of(hour_reports.WaitingHours)
    week: date = strawberry.field(description="Monday of the week, in the nonprofit's time zone.")
    amount: Amount = fixed_currency_field(
        "amount_minor", CURRENTS, description="Currents requested for the hours."
    )

    volunteer = to_one(
        Loaders.collective, "volunteer_id", description="The person who volunteered.", graphql_type=lazy.USER
    )

    @strawberry.field(
        description="Orders for the hours, by start time. `approveOrders` accepts up to 100 of them.",
        graphql_type=list[Order],
    )
    @shaped(sql_lists.WAITING_ORDERS)
    async def orders(root: strawberry.Parent[hour_reports.WaitingHours], info: Info) -> list[models.Order]:
        return await resolve.load_waiting_orders(root, info)


@strawberry.type(description="Hours of one volunteer, admin, event or period.")
class HoursSum:
    is_type_of = is_row_of(hour_reports.HoursSum)
    period: date | None = strawberry.field(
        description="Monday of the week or first day of the month. Null unless summed by period."
    )
    requested: Amount = fixed_currency_field(
        "requested_minor", CURRENTS, description="Currents that are pending approval."
    )
    requested_count: int = strawberry.field(description="Number of orders that are pending approval.")
    approved: Amount = fixed_currency_field(
        "approved_minor", CURRENTS, description="Currents that were issued."
    )
    approved_count: int = strawberry.field(description="Number of orders that were approved.")

    collective = to_one(
        Loaders.collective,
        "collective_id",
        description="The volunteer, admin or event. Null in sums by period, and for hours without one.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )


@strawberry.type(description="The fields that only nonprofits have: hours volunteered for them.")
class HoursFields:
    @strawberry.field(
        description="Hours pending approval, one item per week and volunteer, oldest week first. Visible "
        "to the nonprofit's admins and accountants; empty for others.",
        graphql_type=list[WaitingHours] | None,
    )
    @shaped(sql_lists.WAITING_HOURS)
    async def hours_to_approve(
        root: strawberry.Parent[models.Collective],
        info: Info,
        addressed_to: Annotated[
            CollectiveRef | None,
            strawberry.argument(description="Only requests that this user is asked to approve."),
        ] = None,
        first: Annotated[
            int | None,
            strawberry.argument(description="Maximum number of items, from 1 to 100. Defaults to 20."),
        ] = hour_reports.DEFAULT_WEEKS,
    ) -> list[hour_reports.WaitingHours]:
        return await resolve.list_waiting_hours(
            root, info, addressed_to=to_optional_key(addressed_to), first=first
        )

    @strawberry.field(
        description="Hours requested and approved that began in a period. Visible to the nonprofit's "
        "admins and accountants; empty for others.",
        graphql_type=list[HoursSum] | None,
    )
    @shaped(sql_lists.HOURS_SUMS)
    async def hours_report(
        root: strawberry.Parent[models.Collective],
        info: Info,
        by: Annotated[HoursBy, strawberry.argument(description="Dimension by which the hours are summed.")],
        starts_from: Annotated[
            datetime | None, strawberry.argument(description="Only hours that began at or after this time.")
        ] = None,
        starts_until: Annotated[
            datetime | None, strawberry.argument(description="Only hours that began before this time.")
        ] = None,
    ) -> list[hour_reports.HoursSum]:
        return await resolve.sum_hours(root, info, by=by, starts_from=starts_from, starts_until=starts_until)
