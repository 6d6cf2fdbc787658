"""Approval by two people: policies, and who has approved an order."""

from datetime import datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import approvals as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.fields import batched, to_one
from schema.types.money import Amount, amount_field
from schema.types.node import is_row_of
from services.core.money import Money
from services.orders import order_details
from services.sql_json import shape

AMOUNT_OF_PART = shape.Derived(
    order_details.select_amount, shape.Amount("minor", "currency"), is_nullable=True
)
"""The amount of an order's step, line or approval, in the order's currency."""


@strawberry.type(
    description="The amount above which two people approve. Policies of the collective whose admins decide, "
    "of its host and of the platform count, each the one set last of those in force, at the moment of the "
    "last approval. Visible to the collective's admins and accountants."
)
class ApprovalPolicy:
    is_type_of = is_row_of(models.ApprovalPolicy)
    valid_from: datetime = strawberry.field(
        description="When the policy takes effect: at once if it is stricter, a day later if it is laxer."
    )
    created_at: datetime = strawberry.field(description="When the policy was set.")

    amount = amount_field(
        "amount_minor",
        "currency",
        description="Largest amount that one person approves; in other currencies its value at the newest "
        "exchange rates. Null if the policy ends.",
        is_nullable=True,
    )

    created_by = to_one(
        Loaders.collective,
        "created_by_id",
        description="The admin who set the policy.",
        graphql_type=lazy.nullable(lazy.USER),
    )


@strawberry.type(description="One person's approval of an order that two people have to approve.")
class Approval:
    is_type_of = is_row_of(models.Approval)
    created_at: datetime = strawberry.field(description="When the person approved.")

    @batched(
        shape=AMOUNT_OF_PART,
        description="Approved amount, in the order's currency.",
        graphql_type=Amount | None,
    )
    async def amount(rows: list[models.Approval], info: Info) -> list[Money | None]:
        return await resolve.load_amounts(rows, info)

    approver = to_one(
        Loaders.collective,
        "approver_id",
        description="The admin who approved.",
        graphql_type=lazy.nullable(lazy.USER),
    )
