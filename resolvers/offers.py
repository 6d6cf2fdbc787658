"""Offers and redemptions: lists, and what only those concerned may see."""

from collections.abc import Sequence
from dataclasses import replace

import models
from resolvers.context import Info
from resolvers.orders import is_concerned
from services.access.collective_refs import Ref, named, resolve_one
from services.core.money import Money
from services.core.pagination import Page, PageRequest, Sort
from services.offers import offers
from services.offers.offers import OffersKey
from services.offers.redemption_quote import DOLLARS


async def listed(
    info: Info, *, wanted: offers.Filter, business: Ref | None, sort: Sort, page: PageRequest
) -> Page[models.Offer]:
    """List offers that the viewer may see."""
    if business is not None:
        party = await info.context.run(resolve_one, business, name="business")
        wanted = replace(wanted, business_id=named(party).id)
    return await info.context.run(offers.find, wanted=wanted, sort=sort, page=page)


async def of_businesses(
    businesses: Sequence[models.Collective], info: Info, *, is_active: bool | None, page: PageRequest
) -> list[Page[models.Offer]]:
    """Return a page of each business's offers."""
    loader = info.context.loaders.of("offers", key=OffersKey(is_active, page))
    return await loader.load_many([business.id for business in businesses])


async def remaining_this_month(offer: models.Offer, info: Info) -> int | None:
    """Return how many redemptions the month still allows, or None without a limit."""
    if offer.monthly_limit is None:
        return None
    return max(0, offer.monthly_limit - await info.context.loaders.offer_used(offer.id))


async def redemption(order: models.Order, info: Info) -> models.Redemption | None:
    """Return what an order of REDEMPTION says beside its currents, if the viewer is concerned."""
    if order.offer_id is None or not await is_concerned(order, info.context):
        return None
    return await info.context.loaders.redemption_of(order.id)


async def price(order: models.Order, info: Info) -> Money | None:
    """Return what the purchase cost, as the user says."""
    row = await redemption(order, info)
    return None if row is None else Money(row.price_minor, DOLLARS)


async def approved_price(order: models.Order, info: Info) -> Money | None:
    """Return what it cost, as the business says; None before it does."""
    row = await redemption(order, info)
    if row is None or row.approved_price_minor is None:
        return None
    return Money(row.approved_price_minor, DOLLARS)


async def payout(order: models.Order, info: Info) -> Money | None:
    """Return what the user is paid, less the fee."""
    row = await redemption(order, info)
    return None if row is None else Money(row.usd_gross_minor - row.usd_fee_minor, DOLLARS)


async def payout_fee(order: models.Order, info: Info) -> Money | None:
    """Return what the platform keeps."""
    row = await redemption(order, info)
    return None if row is None else Money(row.usd_fee_minor, DOLLARS)
