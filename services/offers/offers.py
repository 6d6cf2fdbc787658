"""What businesses take currents for: offers, ended and never deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Interval, Select, Uuid, case, column, func, literal, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Offer, Order, now
from models.enums import CollectiveType, OrderStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.core import pagination, user_text
from services.core.errors import Invalid, InvalidState, NotFound
from services.core.pagination import Page, PageRequest, Sort
from services.messaging import outbox

SHARES = range(5, 101)
MAX_LIMIT = 2**31 - 1
MAX_DESCRIPTION = 8192
NOT_COUNTED = (OrderStatus.REJECTED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REFUNDED)
"""What was refused, withdrawn or has expired uses up no limit."""
_LEAD = timedelta(hours=24 * 365 * 1000)


class _FeaturedFirst(Sort):
    """Featured offers stand where they would if they were made a thousand years later."""

    def values(self, row: Offer) -> tuple[datetime, UUID]:
        return row.created_at + (_LEAD if row.is_featured else timedelta()), row.id


NEWEST = Sort("offer", col(Offer.created_at), col(Offer.id))
OLDEST = Sort("offer+", col(Offer.created_at), col(Offer.id), descending=False)
FEATURED_FIRST = _FeaturedFirst(
    "offer*",
    case(
        (col(Offer.is_featured), col(Offer.created_at) + literal(_LEAD, Interval)),
        else_=col(Offer.created_at),
    ),
    col(Offer.id),
)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which offers to list; all conditions hold at once, and None is any."""

    business_id: UUID | None = None
    is_master: bool | None = None
    is_featured: bool | None = None
    is_active: bool | None = True
    search: str | None = None


async def create(
    session: AsyncSession,
    actor: Actor,
    *,
    business: Ref,
    item: str,
    currents_share_percent: int,
    monthly_limit: int | None = None,
    is_master: bool = False,
    description: str | None = None,
) -> Offer:
    """Offer an item for currents; `monthly_limit` None is no limit. Tells the platform's admins.

    Raises:
        Invalid: no business, a share outside 5 to 100 percent, a limit below 1.
        InvalidState: the business is archived.
        Conflict: from the database, where an active offer of the item exists.
    """
    row = named(await resolve_one(session, actor, business, name="business"))
    require(actor, Action.CREATE_OFFER, Subject(collective=row))
    assert actor.user is not None
    if row.type != CollectiveType.BUSINESS:
        raise Invalid("Only a business makes offers", path=["input", "business"])
    require_open(row, path=["input", "business"])
    given = {
        "item": item,
        "description": description,
        "currents_share_percent": currents_share_percent,
        "monthly_limit": monthly_limit,
    }
    offer = Offer(
        business_id=row.id,
        is_master=is_master,
        created_by_id=actor.user.id,
        **{name: _checked(name, value) for name, value in given.items()},
    )
    session.add(offer)
    await session.flush()
    if actor.platform_id is not None:
        await outbox.to_admins(
            session,
            collective_ids=[actor.platform_id],
            template="offer_posted",
            except_id=actor.id,
            payload={"business": row.name, "item": offer.item, "share": offer.currents_share_percent},
        )
    return offer


def _checked(name: str, value: Any) -> Any:
    """Return a column's new value, checked."""
    match name:
        case "item":
            return user_text.required(value, path=["input", "item"])
        case "description":
            return user_text.clean(value, path=["input", "description"], max_length=MAX_DESCRIPTION) or None
        case "currents_share_percent":
            if value not in SHARES:
                raise Invalid("The share is from 5 to 100 percent", path=["input", "currentsSharePercent"])
        case "monthly_limit":
            if value is not None and not 1 <= value <= MAX_LIMIT:
                raise Invalid("A limit is at least 1; null is no limit", path=["input", "monthlyLimit"])
    return value


async def edit(session: AsyncSession, actor: Actor, *, offer_id: UUID, changes: Mapping[str, Any]) -> Offer:
    """Change what `changes` names; orders that exist keep the share they were made with.

    Raises:
        InvalidState: the offer is not active, or its business is archived.
    """
    offer = await _own(session, actor, offer_id, Action.UPDATE_OFFER)
    for name, value in changes.items():
        setattr(offer, name, _checked(name, value))
    return await _stored(session, offer)


async def deactivate(session: AsyncSession, actor: Actor, *, offer_id: UUID) -> Offer:
    """End an offer. What was redeemed goes on; nothing more can be.

    Raises:
        InvalidState: it is ended already.
    """
    offer = await _own(session, actor, offer_id, Action.DEACTIVATE_OFFER)
    offer.is_active = False
    return await _stored(session, offer)


async def feature(session: AsyncSession, actor: Actor, *, offer_id: UUID, is_featured: bool) -> Offer:
    """Choose an offer to be shown first, or no more; for the platform's admins.

    Raises:
        InvalidState: it is ended.
    """
    offer = await _own(session, actor, offer_id, Action.FEATURE_OFFER)
    offer.is_featured = is_featured
    return await _stored(session, offer)


async def _own(session: AsyncSession, actor: Actor, offer_id: UUID, action: Action) -> Offer:
    """Return an active offer that the actor may do this to. Locks it against redemptions."""
    statement = (
        select(Offer, Collective)
        .join(Collective, col(Offer.business_id) == Collective.id)
        .where(col(Offer.id) == offer_id, visibility.of_offer(actor))
        .with_for_update(of=Offer, key_share=True)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise NotFound("There is no such offer", path=["input", "id"])
    offer, business = found
    require(actor, action, Subject(collective=business))
    require_open(business, path=["input", "id"])
    if not offer.is_active:
        raise InvalidState("The offer is not active any more", path=["input", "id"])
    return offer


async def _stored(session: AsyncSession, offer: Offer) -> Offer:
    offer.updated_at = now()
    session.add(offer)
    await session.flush()
    return offer


def _listed(actor: Actor, wanted: Filter) -> Select[Offer]:
    statement = (
        select(Offer)
        .join(Collective, col(Offer.business_id) == Collective.id)
        .where(visibility.of_offer(actor), col(Collective.archived_at).is_(None))
    )
    if wanted.business_id is not None:
        statement = statement.where(col(Offer.business_id) == wanted.business_id)
    flags = (
        (Offer.is_master, wanted.is_master),
        (Offer.is_featured, wanted.is_featured),
        (Offer.is_active, wanted.is_active),
    )
    for flag, value in flags:
        if value is not None:
            statement = statement.where(col(flag).is_(value))
    if wanted.search:
        text = user_text.clean(wanted.search, path=["filter", "search"], max_length=100) or ""
        statement = statement.where(
            or_(
                col(Offer.item).icontains(text, autoescape=True),
                col(Collective.name).icontains(text, autoescape=True),
            )
        )
    return statement


async def find(
    session: AsyncSession, actor: Actor, *, wanted: Filter, sort: Sort = NEWEST, page: PageRequest
) -> Page[Offer]:
    """List offers that the actor may see; those of archived businesses are left out. One statement."""
    return await pagination.read(session, _listed(actor, wanted), sort=sort, page=page)


@dataclass(frozen=True)
class OffersKey:
    """Which offers of a business to page through; `is_active` None is any that may be seen."""

    is_active: bool | None
    page: PageRequest


async def pages_of(
    session: AsyncSession, actor: Actor, *, business_ids: Sequence[UUID], key: OffersKey
) -> dict[UUID, Page[Offer]]:
    """Return a page of the offers of each business, newest first; one statement for all."""
    parent = (
        func.unnest(literal(list(business_ids), ARRAY(Uuid)))
        .table_valued(column("id", Uuid))
        .render_derived(name="parent")
    )
    every = _listed(actor, Filter(is_active=key.is_active))
    inner = pagination.narrow(
        every.where(col(Offer.business_id) == parent.c.id), sort=NEWEST, page=key.page
    ).lateral("page")
    row = aliased(Offer, inner)
    statement = (
        select(parent.c.id, row)
        .select_from(parent)
        .join(inner, onclause=true())
        .order_by(col(row.created_at).desc(), col(row.id).desc())
    )
    found: dict[UUID, list[Offer]] = {business_id: [] for business_id in business_ids}
    for business_id, offer in (await session.execute(statement)).all():
        found[business_id].append(offer)
    return {
        business_id: pagination.build(
            rows, partial(every.where, col(Offer.business_id) == business_id), sort=NEWEST, page=key.page
        )
        for business_id, rows in found.items()
    }


async def by_ids(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Offer]:
    """Return those of the offers that the actor may see; one statement."""
    statement = (
        select(Offer)
        .join(Collective, col(Offer.business_id) == Collective.id)
        .where(col(Offer.id).in_(row_ids), visibility.of_offer(actor))
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}


async def of_orders(session: AsyncSession, *, row_ids: Sequence[UUID]) -> dict[UUID, Offer]:
    """Return the offers of orders that the viewer may see, ended ones, too; one statement."""
    statement = select(Offer).where(col(Offer.id).in_(row_ids))
    return {row.id: row for row in (await session.execute(statement)).scalars()}


def month_of(business: Any, at: datetime) -> Any:
    """Return the SQL of when a moment's month began in a business's time zone; UTC where it has none."""
    zone = func.coalesce(business.timezone, "UTC")
    moment = literal(at, DateTime(timezone=True))
    return func.timezone(zone, func.date_trunc("month", func.timezone(zone, moment)))


async def used_this_month(session: AsyncSession, *, offer_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return how often offers were redeemed in the present month, by their businesses' time zones.

    What does not count towards a limit is not counted. One statement.
    """
    statement = (
        select(col(Offer.id), func.count(col(Order.id)))
        .join(Collective, col(Offer.business_id) == Collective.id)
        .outerjoin(
            Order,
            (col(Order.offer_id) == Offer.id)
            & (col(Order.created_at) >= month_of(Collective, now()))
            & col(Order.status).not_in(NOT_COUNTED),
        )
        .where(col(Offer.id).in_(offer_ids))
        .group_by(col(Offer.id))
    )
    return {offer_id: int(count) for offer_id, count in (await session.execute(statement)).all()}
