"""Lists of offers, and the private details of redemptions."""

from collections.abc import Sequence
from dataclasses import replace

import models
from resolvers.context import Info
from resolvers.orders import concerns_viewer
from resolvers.references import FILTER, load_one_referenced
from services.access.collective_refs import CollectiveKey
from services.core.money import Money
from services.core.pagination import Page, PageRequest, Sort
from services.offers import offers
from services.offers.offers import OffersKey
from services.offers.redemption_quote import DOLLARS


async def list_offers(
    info: Info, *, filters: offers.OfferFilter, business: CollectiveKey | None, sort: Sort, page: PageRequest
) -> Page[models.Offer]:
    """List offers that the viewer may see."""
    if business is not None:
        seller = await load_one_referenced(info, business, name="business", within=FILTER)
        filters = replace(filters, business_id=seller.id)
    return await info.context.run(offers.list_offers, filters=filters, sort=sort, page=page)


async def list_offers_of_businesses(
    businesses: Sequence[models.Collective], info: Info, *, is_active: bool | None, page: PageRequest
) -> list[Page[models.Offer]]:
    """List a page of offers for each business."""
    loader = info.context.loaders.offers(OffersKey(is_active, page))
    return await loader.load_many([business.id for business in businesses])


async def count_remaining_this_month(offer: models.Offer, info: Info) -> int | None:
    """Count the redemptions still allowed this month; None without a limit."""
    if offer.monthly_limit is None:
        return None
    return max(0, offer.monthly_limit - await info.context.loaders.redemptions_this_month.load(offer.id))


async def load_redemption(order: models.Order, info: Info) -> models.Redemption | None:
    """Load the details of a redemption, or None if the order is none or does not concern the viewer."""
    if order.offer_id is None or not await concerns_viewer(order, info.context):
        return None
    return await info.context.loaders.redemption_of_order.load(order.id)


async def list_caps(order: models.Order, info: Info) -> list[str]:
    """List the limits that reduced the currents of a redemption that the viewer requested."""
    row = await info.context.loaders.redemption_of_order.load(order.id)
    return row.caps if row else []


async def read_price(order: models.Order, info: Info) -> Money | None:
    """Return the price of the purchase as the user stated it."""
    row = await load_redemption(order, info)
    return None if row is None else Money(row.price_minor, DOLLARS)


async def read_approved_price(order: models.Order, info: Info) -> Money | None:
    """Return the price as the business approved it; None until then."""
    row = await load_redemption(order, info)
    if row is None or row.approved_price_minor is None:
        return None
    return Money(row.approved_price_minor, DOLLARS)


async def read_payout(order: models.Order, info: Info) -> Money | None:
    """Return the payout to the user, less the fee."""
    row = await load_redemption(order, info)
    return None if row is None else Money(row.usd_gross_minor - row.usd_fee_minor, DOLLARS)


async def read_payout_fee(order: models.Order, info: Info) -> Money | None:
    """Return the platform's fee on the payout."""
    row = await load_redemption(order, info)
    return None if row is None else Money(row.usd_fee_minor, DOLLARS)
