"""What a nonprofit's admins see of its hours."""

from datetime import date, datetime
from typing import Annotated, Any

import strawberry

import models
from resolvers import hours as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.enums import publish
from schema.types.fields import reference
from schema.types.money import Amount
from schema.types.node import CollectiveRef, ref_or_none
from schema.types.order import Order
from services.volunteering import hour_reports
from services.volunteering.hour_reports import HoursBy

publish(HoursBy)


@strawberry.type(description="A volunteer's hours of one week that wait for approval.")
class WaitingHours:
    week: date = strawberry.field(description="The week's Monday, in the nonprofit's time zone.")
    amount: Amount = strawberry.field(description="The currents they ask for.")

    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """Hours as the service groups them."""
        return isinstance(obj, hour_reports.WaitingHours)

    volunteer = reference("collective", "volunteer_id", description="Who gave them.", graphql_type=lazy.USER)

    @strawberry.field(
        description="The orders, by their start; approveOrders takes up to 100.", graphql_type=list[Order]
    )
    async def orders(root: strawberry.Parent[hour_reports.WaitingHours], info: Info) -> Any:
        found = await info.context.loaders.of("order").load_many(root.order_ids)
        return [order for order in found if order is not None]


@strawberry.type(description="Hours of one volunteer, admin, event or period.")
class HoursSum:
    period: date | None = strawberry.field(description="The week's Monday or the month's first day.")
    requested: Amount = strawberry.field(description="The currents that wait for approval.")
    requested_count: int = strawberry.field(description="In how many orders.")
    approved: Amount = strawberry.field(description="The currents issued.")
    approved_count: int = strawberry.field(description="In how many orders.")

    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """Hours as the service sums them."""
        return isinstance(obj, hour_reports.HoursSum)

    collective = reference(
        "collective",
        "collective_id",
        description="The volunteer, admin or event; null in sums by period, and for hours of none.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )


@strawberry.type(description="What a nonprofit has beside what every organization has: hours given to it.")
class HoursFields:
    @strawberry.field(
        description="Hours that wait for approval, one item a week and volunteer, the oldest week first; for "
        "its admins and accountants, else empty.",
        graphql_type=list[WaitingHours],
    )
    async def hours_to_approve(
        root: strawberry.Parent[models.Collective],
        info: Info,
        addressed_to: Annotated[
            CollectiveRef | None,
            strawberry.argument(description="Only requests that this user is asked to approve."),
        ] = None,
        first: Annotated[
            int | None, strawberry.argument(description="At most so many items: 1 to 100.")
        ] = 20,
    ) -> Any:
        return await resolve.waiting(root, info, addressed_to=ref_or_none(addressed_to), first=first)

    @strawberry.field(
        description="Hours requested and approved, of those that began in a period; for its admins and "
        "accountants, else empty.",
        graphql_type=list[HoursSum],
    )
    async def hours_report(
        root: strawberry.Parent[models.Collective],
        info: Info,
        by: Annotated[HoursBy, strawberry.argument(description="What they are summed by.")],
        starts_from: Annotated[
            datetime | None, strawberry.argument(description="Those that began not before this.")
        ] = None,
        starts_until: Annotated[
            datetime | None, strawberry.argument(description="Those that began before this.")
        ] = None,
    ) -> Any:
        return await resolve.sums(root, info, by=by, starts_from=starts_from, starts_until=starts_until)
