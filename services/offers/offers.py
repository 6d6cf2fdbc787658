"""Offers of businesses to accept currents; they end but are never deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Interval, Select, Uuid, case, column, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Offer, Order, now
from models.enums import CollectiveType, OrderStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives import directory
from services.core import pagination, user_text
from services.core.errors import Invalid, InvalidState, NotFound
from services.core.pagination import Page, PageRequest, Sort
from services.messaging import outbox

SHARE_PERCENTS = range(5, 101)
MAX_LIMIT = 2**31 - 1
MAX_DESCRIPTION_LENGTH = 8192
UNCOUNTED_STATUSES = (OrderStatus.REJECTED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REFUNDED)
"""Orders with these statuses count towards no limit."""
_FEATURED_LEAD = timedelta(hours=24 * 365 * 1000)


class _FeaturedFirst(Sort):
    """Featured offers first: they sort as if created a thousand years later."""

    def keyset_values(self, row: Offer) -> tuple[datetime, UUID]:
        return row.created_at + (_FEATURED_LEAD if row.is_featured else timedelta()), row.id


NEWEST = Sort("offer", col(Offer.created_at), col(Offer.id))
OLDEST = Sort("offer+", col(Offer.created_at), col(Offer.id), descending=False)
FEATURED_FIRST = _FeaturedFirst(
    "offer*",
    case(
        (col(Offer.is_featured), col(Offer.created_at) + literal(_FEATURED_LEAD, Interval)),
        else_=col(Offer.created_at),
    ),
    col(Offer.id),
)


@dataclass(frozen=True, kw_only=True)
class OfferFilter:
    """Conditions for listing offers; all must hold, and None means any."""

    business_id: UUID | None = None
    is_master: bool | None = None
    is_featured: bool | None = None
    is_active: bool | None = True
    search: str | None = None
    """The clean text of a search."""


async def create(
    session: AsyncSession,
    actor: Actor,
    *,
    business: CollectiveKey,
    item: str,
    currents_share_percent: int,
    monthly_limit: int | None = None,
    is_master: bool = False,
    description: str | None = None,
) -> Offer:
    """Create an offer; no `monthly_limit` means no limit. Notifies the platform's admins.

    Raises:
        Invalid: not a business, a share outside 5 to 100 percent, or a limit below 1.
        InvalidState: the business is archived.
        Conflict: raised by the database if the business has an active offer of the item.
    """
    row = require_collective(await resolve_one(session, actor, business, name="business"))
    require(actor, Action.CREATE_OFFER, Subject(collective=row))
    assert actor.user is not None
    if row.type != CollectiveType.BUSINESS:
        raise Invalid("Only businesses can create offers.", field="business")
    require_open(row, field="business")
    columns = {
        "item": item,
        "description": description,
        "currents_share_percent": currents_share_percent,
        "monthly_limit": monthly_limit,
    }
    offer = Offer(
        business_id=row.id,
        is_master=is_master,
        created_by_id=actor.user.id,
        **{name: _validate_field(name, value) for name, value in columns.items()},
    )
    session.add(offer)
    await session.flush()
    if actor.platform_id is not None:
        await outbox.mail_admins(
            session,
            collective_ids=[actor.platform_id],
            template="offer_posted",
            except_id=actor.id,
            payload={"business": row.name, "item": offer.item, "share": offer.currents_share_percent},
        )
    return offer


def _validate_field(name: str, value: Any) -> Any:
    """Return a column's new value, cleaned and validated."""
    match name:
        case "item":
            return user_text.require_name(value, field="item")
        case "description":
            return user_text.clean_text(value, field="description", max_length=MAX_DESCRIPTION_LENGTH) or None
        case "currents_share_percent":
            if value not in SHARE_PERCENTS:
                raise Invalid("Enter a share from 5 to 100 percent.", field="currentsSharePercent")
        case "monthly_limit":
            if value is not None and not 1 <= value <= MAX_LIMIT:
                raise Invalid("Enter a limit of at least 1, or null for no limit.", field="monthlyLimit")
    return value


async def edit(session: AsyncSession, actor: Actor, *, offer_id: UUID, changes: Mapping[str, Any]) -> Offer:
    """Update the columns in `changes`; existing orders keep their share. Locks: the offer.

    Raises:
        NotFound: there is no such offer, or the actor may not see it.
        InvalidState: the offer has ended, or its business is archived.
    """
    offer = await _lock_offer(session, actor, offer_id, Action.UPDATE_OFFER)
    for name, value in changes.items():
        setattr(offer, name, _validate_field(name, value))
    return await _store(session, offer)


async def deactivate(session: AsyncSession, actor: Actor, *, offer_id: UUID) -> Offer:
    """End an offer; only redemptions under way continue. Locks: the offer.

    Raises:
        InvalidState: the offer has ended already.
    """
    offer = await _lock_offer(session, actor, offer_id, Action.DEACTIVATE_OFFER)
    offer.is_active = False
    return await _store(session, offer)


async def feature(session: AsyncSession, actor: Actor, *, offer_id: UUID, is_featured: bool) -> Offer:
    """Feature an offer or stop featuring it; for the platform's admins. Locks: the offer.

    Raises:
        InvalidState: the offer has ended.
    """
    offer = await _lock_offer(session, actor, offer_id, Action.FEATURE_OFFER)
    offer.is_featured = is_featured
    return await _store(session, offer)


async def _lock_offer(session: AsyncSession, actor: Actor, offer_id: UUID, action: Action) -> Offer:
    """Require and lock an active offer on which the actor may perform the action."""
    statement = (
        select(Offer, Collective)
        .join(Collective, col(Offer.business_id) == Collective.id)
        .where(col(Offer.id) == offer_id, visibility.offer_is_visible(actor))
        .with_for_update(of=Offer, key_share=True)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        raise NotFound("There is no such offer.", field="id")
    offer, business = match
    require(actor, action, Subject(collective=business))
    require_open(business, field="id")
    if not offer.is_active:
        raise InvalidState("This offer is no longer active.", field="id")
    return offer


async def _store(session: AsyncSession, offer: Offer) -> Offer:
    offer.updated_at = now()
    session.add(offer)
    await session.flush()
    return offer


def query_offers(actor: Actor, filters: OfferFilter) -> Select[Offer]:
    """Select the visible offers of businesses that are not archived."""
    statement = (
        select(Offer)
        .join(Collective, col(Offer.business_id) == Collective.id)
        .where(visibility.offer_is_visible(actor), col(Collective.archived_at).is_(None))
    )
    if filters.business_id is not None:
        statement = statement.where(col(Offer.business_id) == filters.business_id)
    for flag, value in (
        (Offer.is_master, filters.is_master),
        (Offer.is_featured, filters.is_featured),
        (Offer.is_active, filters.is_active),
    ):
        if value is not None:
            statement = statement.where(col(flag).is_(value))
    if filters.search is not None:
        businesses = select(col(Collective.id)).where(
            directory.words_of(Collective).op("@@")(directory.search_query(filters.search, weight="A"))
        )
        statement = statement.where(
            words_of(Offer).op("@@")(directory.search_query(filters.search))
            | col(Offer.business_id).in_(businesses.correlate(None))
        )
    return statement


def words_of(table: Any) -> Any:
    """Build the words by which a search finds an offer; an index holds them."""
    return func.offer_words(table.item, table.description)


def select_offers(actor: Actor, *, where: OfferFilter, owner: Any = None) -> tuple[Select[Offer]]:
    """Select the offers of a list, of one business if there is an owner; values may be expressions."""
    visible = query_offers(actor, where)
    return (visible if owner is None else visible.where(col(Offer.business_id) == owner),)


async def list_offers(
    session: AsyncSession, actor: Actor, *, filters: OfferFilter, sort: Sort = NEWEST, page: PageRequest
) -> Page[Offer]:
    """List a page of the visible offers of businesses that are not archived; one statement."""
    return await pagination.list_page(session, query_offers(actor, filters), sort=sort, page=page)


@dataclass(frozen=True)
class OffersKey:
    """One page of a business's offers; no `is_active` means all that the actor may see."""

    is_active: bool | None
    page: PageRequest


async def list_offer_pages(
    session: AsyncSession, actor: Actor, *, business_ids: Sequence[UUID], key: OffersKey
) -> dict[UUID, Page[Offer]]:
    """List a page of offers for each business, newest first; one statement."""
    parent = (
        func.unnest(literal(list(business_ids), ARRAY(Uuid)))
        .table_valued(column("id", Uuid))
        .render_derived(name="parent")
    )
    visible = query_offers(actor, OfferFilter(is_active=key.is_active))
    inner = pagination.apply_keyset(
        visible.where(col(Offer.business_id) == parent.c.id), sort=NEWEST, page=key.page
    ).lateral("page")
    row = aliased(Offer, inner)
    statement = (
        select(parent.c.id, row)
        .select_from(parent)
        .join(inner, onclause=true())
        .order_by(col(row.created_at).desc(), col(row.id).desc())
    )
    offers: dict[UUID, list[Offer]] = {business_id: [] for business_id in business_ids}
    for business_id, offer in (await session.execute(statement)).all():
        offers[business_id].append(offer)
    return {
        business_id: pagination.to_page(
            rows, partial(visible.where, col(Offer.business_id) == business_id), sort=NEWEST, page=key.page
        )
        for business_id, rows in offers.items()
    }


def select_offer(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[Offer]]:
    """Select the offer with the id of `where`, if the actor may see it."""
    assert owner is None
    return (_query_visible(actor).where(col(Offer.id) == where.id),)


def _query_visible(actor: Actor) -> Select[Offer]:
    business = col(Offer.business_id) == Collective.id
    return select(Offer).join(Collective, business).where(visibility.offer_is_visible(actor))


async def load_offers(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Offer]:
    """Load the offers that the actor may see; one statement."""
    statement = _query_visible(actor).where(col(Offer.id).in_(row_ids))
    return {row.id: row for row in (await session.execute(statement)).scalars()}


async def load_offers_of_orders(session: AsyncSession, *, row_ids: Sequence[UUID]) -> dict[UUID, Offer]:
    """Load offers of orders that the viewer may see, including ended offers; one statement."""
    statement = select(Offer).where(col(Offer.id).in_(row_ids))
    return {row.id: row for row in (await session.execute(statement)).scalars()}


def month_start(business: Any, at: Any, *, months_later: int = 0) -> Any:
    """Build the SQL for the start of this or a later month in the business's time zone, else in UTC."""
    zone = func.coalesce(business.timezone, "UTC")
    start = func.date_trunc("month", func.timezone(zone, at))
    return func.timezone(zone, start + func.make_interval(0, months_later))


def _count_redemptions(offer: Any, at: Any) -> Select[Any]:
    """Select the number of redemptions in the month of a moment of an offer, whose columns are given."""
    return (
        select(func.count().label("used"))
        .select_from(Order)
        .where(
            col(Order.offer_id) == offer.id,
            col(Order.created_at) >= _month_start_of(offer.business_id, at),
            col(Order.status).not_in(UNCOUNTED_STATUSES),
        )
    )


def _month_start_of(business_id: Any, at: Any) -> Any:
    start = select(month_start(Collective, at)).where(col(Collective.id) == business_id)
    return start.correlate_except(Collective).scalar_subquery()


def select_redemption_counts(offer: Any) -> Select[Any]:
    """Select how many redemptions of an offer, whose columns are given, this month has and may still have."""
    used = _count_redemptions(offer, func.now()).subquery("of_month").c.used
    left = case((offer.monthly_limit.is_not(None), func.greatest(0, offer.monthly_limit - used)))
    return select(used, left.label("left"))


async def count_redemptions_this_month(
    session: AsyncSession, *, offer_ids: Sequence[UUID]
) -> dict[UUID, int]:
    """Count redemptions this month, in the business's time zone, by offer; one statement."""
    count = _count_redemptions(Offer, now()).correlate(Offer).scalar_subquery()
    statement = select(col(Offer.id), count).where(col(Offer.id).in_(offer_ids))
    return {offer_id: int(count) for offer_id, count in (await session.execute(statement)).all()}
