"""Reads of recurring gifts that the viewer may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, case, null, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Instrument, Order, RecurringGift
from models.enums import GiftDirection, GiftStatus
from services.access import giver_visibility, visibility
from services.access.actor import Actor
from services.core import pagination
from services.core.pagination import Page, PageRequest, Sort

NEWEST = Sort("gift", col(RecurringGift.created_at), col(RecurringGift.id))


def select_gift(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[RecurringGift]]:
    """Select the recurring gift with the id of `where`, if the actor may see it."""
    assert owner is None
    is_visible = visibility.recurring_gift_is_visible(actor)
    return (select(RecurringGift).where(col(RecurringGift.id) == where.id, is_visible),)


async def load_gifts(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, RecurringGift]:
    """Load the recurring gifts that the actor may see, in one statement."""
    statement = select(RecurringGift).where(
        col(RecurringGift.id).in_(row_ids), visibility.recurring_gift_is_visible(actor)
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}


async def load_gifts_of_orders(
    session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]
) -> dict[UUID, RecurringGift]:
    """Load the recurring gifts of visible orders, as far as the actor may know them; one statement."""
    statement = (
        select(col(Order.id), RecurringGift)
        .join(RecurringGift, col(RecurringGift.id) == Order.subscription_id)
        .where(
            col(Order.id).in_(order_ids),
            visibility.recurring_gift_is_visible(actor),
            giver_visibility.gift_of_order_is_known(actor),
        )
    )
    return {row[0]: row[1] for row in await session.execute(statement)}


def select_next(gift: Any) -> Select[Any]:
    """Select the day of a gift's next charge and when a refused one is tried again, from its columns."""
    has_ended = gift.status.in_((GiftStatus.CANCELLED, GiftStatus.ENDED))
    return select(
        case((has_ended, null()), else_=gift.next_charge_on).label("next_charge_on"),
        case((gift.status == GiftStatus.PAST_DUE, gift.due_at)).label("retries_at"),
    )


async def load_cards(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Instrument]:
    """Load cards of givers for whom the actor acts, in one statement."""
    statement = select(Instrument).where(col(Instrument.id).in_(row_ids), visibility.card_is_visible(actor))
    return {row.id: row for row in (await session.execute(statement)).scalars()}


@dataclass(frozen=True)
class GiftFilter:
    """The side of a gift on which a collective is, and statuses of which it has one; all if none is named."""

    direction: GiftDirection
    status: tuple[GiftStatus, ...] = ()


def select_gifts(actor: Actor, *, where: GiftFilter, owner: Any) -> tuple[Select[RecurringGift]]:
    """Select the visible recurring gifts that a collective gives or receives.

    Those of which the actor may not know the giver are no gifts of that giver.
    """
    is_given = where.direction == GiftDirection.GIVEN
    side = RecurringGift.from_id if is_given else RecurringGift.to_id
    statement = select(RecurringGift).where(col(side) == owner, visibility.recurring_gift_is_visible(actor))
    if is_given:
        statement = statement.where(giver_visibility.recurring_giver_is_visible(actor))
    if where.status:
        statement = statement.where(col(RecurringGift.status).in_(where.status))
    return (statement,)


async def list_gifts(
    session: AsyncSession, actor: Actor, *, of_id: UUID, where: GiftFilter, page: PageRequest
) -> Page[RecurringGift]:
    """List the visible recurring gifts that a collective gives or receives, newest first."""
    (statement,) = select_gifts(actor, where=where, owner=of_id)
    return await pagination.list_page(session, statement, sort=NEWEST, page=page)
