"""Offers: what businesses take currents for."""

from datetime import datetime

import strawberry

import models
from resolvers import offers as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.fields import reference
from schema.types.node import CollectiveRef, Node, id_of, ref_or_none, rows_of
from services.access.collective_refs import Ref
from services.offers.offers import Filter

Row = strawberry.Parent[models.Offer]


@strawberry.type(
    description="A business takes currents for part of the price of an item. Active offers are public; ended "
    "ones are for the business's admins and accountants, and for those who see an order made with them."
)
class Offer(Node):
    is_type_of = rows_of(models.Offer)
    id: strawberry.ID = id_of("Offer")
    item: str = strawberry.field(description="What can be bought.")
    description: str | None = strawberry.field(description="What the business says of it.")
    currents_share_percent: int = strawberry.field(
        description="Which part of the price currents pay, in percent, 5 to 100. An order keeps the share "
        "that held when it was made."
    )
    monthly_limit: int | None = strawberry.field(
        description="How many redemptions a calendar month allows, in the business's time zone; null is no "
        "limit."
    )
    is_master: bool = strawberry.field(
        description="Whether it covers any purchase at the business, within the platform's weekly limit."
    )
    is_active: bool = strawberry.field(description="Whether it can be redeemed.")
    is_featured: bool = strawberry.field(description="Whether the platform shows it first.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it last changed.")

    business = reference(
        "collective", "business_id", description="The business that makes it.", graphql_type=lazy.BUSINESS
    )

    @strawberry.field(
        description="How many redemptions the present month still allows; null without a limit."
    )
    async def remaining_this_month(root: Row, info: Info) -> int | None:
        return await resolve.remaining_this_month(root, info)

    redemption_count = reference(
        "offer.used",
        "id",
        description="How often it was redeemed in the present month; what was refused, withdrawn or has "
        "expired is not counted.",
        graphql_type=int,
    )


@strawberry.type(description="A page of offers.")
class OfferConnection(Connection[Offer]):
    pass


@strawberry.input(description="Which offers to list; all conditions hold at once.")
class OfferFilter:
    business: CollectiveRef | None = strawberry.field(default=None, description="Of this business.")
    is_master: bool | None = strawberry.field(
        default=None, description="True for offers that cover any purchase; false for the others."
    )
    is_featured: bool | None = strawberry.field(
        default=None, description="True for those the platform shows first; false for the others."
    )
    is_active: bool | None = strawberry.field(
        default=True, description="False for ended ones, null for all; ended ones are for the business."
    )
    search: str | None = strawberry.field(
        default=None, description="A part of the item, or of the business's name; at most 100 characters."
    )


def offer_filter(given: OfferFilter | None) -> tuple[Filter, Ref | None]:
    """Return which offers are wanted, and of which business."""
    if given is None:
        return Filter(), None
    wanted = Filter(
        is_master=given.is_master,
        is_featured=given.is_featured,
        is_active=given.is_active,
        search=given.search,
    )
    return wanted, ref_or_none(given.business)
