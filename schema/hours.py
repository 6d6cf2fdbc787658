"""What a nonprofit's admins see of its hours."""

from datetime import date
from typing import Any

import strawberry

from resolvers.context import Info
from schema import lazy
from schema.enums import publish
from schema.fields import reference
from schema.money import Amount
from schema.order import Order
from services import hour_reports
from services.hour_reports import HoursBy

__all__ = ["HoursBy", "HoursSum", "WaitingHours"]
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
        found = await info.context.loaders.of("order").many(root.order_ids)
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
