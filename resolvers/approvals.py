"""Approvals by two people, and the policies that ask for them."""

from typing import TypeAlias

import models
from resolvers.context import Info
from services.collectives import approval_policies
from services.core.money import Money
from services.orders.two_people import ApprovalNeeds

Orders: TypeAlias = list[models.Order]


async def load_amounts(approvals: list[models.Approval], info: Info) -> list[Money | None]:
    """Load the amounts of approvals in the currencies of their orders."""
    orders = await info.context.loaders.order.load_many([row.order_id for row in approvals])
    return [
        Money(row.amount, order.currency) if order else None
        for row, order in zip(approvals, orders, strict=True)
    ]


async def load_needs(orders: Orders, info: Info) -> list[ApprovalNeeds]:
    """Load how many approvals orders need and miss."""
    needs = await info.context.loaders.approval_needs.load_many([order.id for order in orders])
    return [of_order or ApprovalNeeds() for of_order in needs]


async def list_policies(collective: models.Collective, info: Info) -> list[models.ApprovalPolicy]:
    """List the policies of a collective that the viewer may see, newest first."""
    return await info.context.run(approval_policies.list_policies, collective_id=collective.id)
