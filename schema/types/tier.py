"""Tiers of collectives and events, and goals."""

from datetime import datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import tiers as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.enums import GiftInterval, GoalKind, TierPricing, TierType
from schema.types.fields import batched, computed, to_one, whole_list
from schema.types.money import Amount, amount_field
from schema.types.node import Node, id_field, is_row_of
from schema.types.scalars import CurrencyCode
from services.collectives import goals, tiers
from services.core.money import Money
from services.sql_json import shape
from services.sql_json.shape import Column, Derived

Row = strawberry.Parent[models.Tier]


@strawberry.type(
    description="A way to give to a collective, or to buy tickets of an event. Open tiers are public like "
    "their collective; archived ones are visible to its admins and accountants, and with the orders that "
    "used them."
)
class Tier(Node):
    is_type_of = is_row_of(models.Tier)
    id: strawberry.ID = id_field("Tier")
    type: TierType = strawberry.field(description="Kind of what the giver gets.")
    name: str = strawberry.field(description="Name of the tier.")
    description: str | None = strawberry.field(description="Description written by the collective.")
    pricing: TierPricing = strawberry.field(description="Side that chooses the amount.")
    currency: CurrencyCode = strawberry.field(description="Currency of all amounts of the tier.")
    interval: GiftInterval | None = strawberry.field(
        description="Time after which a gift in the tier repeats. Null if it does so at the giver's choice, "
        "or never."
    )
    capacity: int | None = strawberry.field(description="Number of places in all. Null if unlimited.")
    max_per_person: int | None = strawberry.field(
        description="Number of places that one giver may have. Null if unlimited."
    )
    sold: int = strawberry.field(
        description="Number of places taken by open and paid orders, and by recurring gifts that go on."
    )
    opens_at: datetime | None = strawberry.field(description="When the tier begins to take orders.")
    closes_at: datetime | None = strawberry.field(description="When the tier stops taking orders.")
    position: int = strawberry.field(description="Place among the tiers of its collective, lowest first.")
    created_at: datetime = strawberry.field(description="When the tier was created.")
    updated_at: datetime = strawberry.field(description="When the tier was last changed.")

    collective = to_one(
        Loaders.collective,
        "collective_id",
        description="The collective or event that the tier belongs to. Null if it may not be seen.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    amount = amount_field(
        "amount_minor",
        "currency",
        description="Price of one. In a flexible tier the suggested amount, if there is one.",
        is_nullable=True,
    )
    minimum = amount_field(
        "minimum_minor",
        "currency",
        description="Least amount for one in a flexible tier. Null if there is none.",
        is_nullable=True,
    )
    goal = amount_field(
        "goal_minor", "currency", description="Amount that the tier is to raise.", is_nullable=True
    )

    @computed(
        shape=shape.AmountList(
            whole_list(tiers.select_presets, tiers.PRESETS_IN_ORDER), shape.Amount("minor", "currency")
        ),
        description="Amounts to offer beside the giver's own, at most 6.",
        graphql_type=list[Amount],
    )
    def presets(root: Row) -> list[Money]:
        return [Money(minor, root.currency) for minor in root.presets_minor]

    @computed(
        shape=Derived(tiers.select_left, Column("number", "left"), is_nullable=True),
        description="Number of places left. Null if unlimited.",
    )
    def left(root: Row) -> int | None:
        return None if root.capacity is None else root.capacity - root.sold

    @computed(shape=Column("is_set", "archived_at"), description="True if the tier is archived.")
    def is_archived(root: Row) -> bool:
        return root.archived_at is not None

    @batched(
        shape=Derived(tiers.select_raised, shape.Amount("minor", "currency")),
        description="Sum of the gifts in the tier, before fees and less refunds.",
        graphql_type=Amount,
    )
    async def raised(rows: list[models.Tier], info: Info) -> list[Money]:
        return await resolve.load_raised(rows, info)


@strawberry.type(description="An amount that a collective wants to hold or to raise. Visible to everybody.")
class Goal:
    is_type_of = is_row_of(models.Goal)
    kind: GoalKind = strawberry.field(description="Kind of amount that counts.")
    amount = amount_field("amount_minor", "currency", description="Amount to be reached.")

    @batched(
        shape=Derived(goals.select_reached, shape.Amount("minor", "currency")),
        description="Amount that is there by now, below zero for a debt.",
        graphql_type=Amount,
    )
    async def reached(rows: list[models.Goal], info: Info) -> list[Money]:
        return await resolve.load_reached(rows, info)
