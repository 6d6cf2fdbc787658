"""Offers of businesses to accept currents."""

from datetime import datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import offers as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.fields import shaped, to_one
from schema.types.node import CollectiveRef, Node, id_field, is_row_of, to_optional_key
from services.access.collective_refs import CollectiveKey
from services.collectives import directory
from services.offers import offers
from services.sql_json.shape import Column, Derived

Row = strawberry.Parent[models.Offer]


@strawberry.type(
    description="A business's offer to accept currents for part of an item's price. Active offers are "
    "public; ended ones are visible to the business's admins and accountants, and to "
    "those who can see an order that used them."
)
class Offer(Node):
    is_type_of = is_row_of(models.Offer)
    id: strawberry.ID = id_field("Offer")
    item: str = strawberry.field(description="Name of the item for sale.")
    description: str | None = strawberry.field(description="Description written by the business.")
    currents_share_percent: int = strawberry.field(
        description="Share of the price payable in currents, from 5 to 100 percent. An order keeps the "
        "share in force when it was created."
    )
    monthly_limit: int | None = strawberry.field(
        description="Maximum number of redemptions per calendar month, in the business's time zone. Null "
        "if unlimited."
    )
    is_master: bool = strawberry.field(
        description="True if the offer covers any purchase at the business, within the platform's weekly "
        "limit."
    )
    is_active: bool = strawberry.field(description="True if the offer can be redeemed.")
    is_featured: bool = strawberry.field(description="True if the platform lists the offer first.")
    created_at: datetime = strawberry.field(description="When the offer was created.")
    updated_at: datetime = strawberry.field(description="When the offer was last changed.")

    business = to_one(
        Loaders.collective,
        "business_id",
        description="The business that makes the offer.",
        graphql_type=lazy.BUSINESS,
    )

    @strawberry.field(description="Number of redemptions left in the current month. Null if unlimited.")
    @shaped(Derived(offers.select_redemption_counts, Column("number", "left"), is_nullable=True))
    async def remaining_this_month(root: Row, info: Info) -> int | None:
        return await resolve.count_remaining_this_month(root, info)

    redemption_count = to_one(
        Loaders.redemptions_this_month,
        "id",
        shape=Derived(offers.select_redemption_counts, Column("number", "used")),
        description="Number of redemptions in the current month, without rejected, cancelled and expired "
        "ones.",
        graphql_type=int,
    )


@strawberry.type(description="A page of offers.")
class OfferConnection(Connection[Offer]):
    pass


@strawberry.input(description="Filter for offers. All given conditions must hold.")
class OfferFilter:
    business: CollectiveRef | None = strawberry.field(
        default=None, description="Only offers of this business."
    )
    is_master: bool | None = strawberry.field(
        default=None,
        description="True for offers that cover any purchase, false for all others. Null for both.",
    )
    is_featured: bool | None = strawberry.field(
        default=None,
        description="True for offers that the platform lists first, false for all others. Null for both.",
    )
    is_active: bool | None = strawberry.field(
        default=True,
        description="True for active offers, false for ended ones, null for both. Ended offers are "
        "visible to the business.",
    )
    search: str | None = strawberry.field(
        default=None,
        description="Words that the item or description has, or the business's name, or that begin words "
        "there. Accents, case and order do not matter. At most 100 characters.",
    )


def to_offer_filter(filter: OfferFilter | None) -> tuple[offers.OfferFilter, CollectiveKey | None]:
    """Convert the filter of a list of offers, and the reference to their business."""
    if filter is None:
        return offers.OfferFilter(), None
    conditions = offers.OfferFilter(
        is_master=filter.is_master,
        is_featured=filter.is_featured,
        is_active=filter.is_active,
        search=directory.clean_search(filter.search),
    )
    return conditions, to_optional_key(filter.business)
