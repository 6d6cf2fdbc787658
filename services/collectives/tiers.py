"""Tiers: what a collective or an event sells and asks for. They are archived, never deleted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Select, column, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, RaisedTotal, Tier, now
from models.enums import CollectiveType, GiftInterval, TierPricing, TierType
from services.access import visibility
from services.access.actor import ANONYMOUS, Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives import event_capacity
from services.core import user_text
from services.core.errors import Invalid, InvalidState, LimitExceeded, NotFound
from services.core.money import Money, to_minor
from services.core.pagination import Sort
from services.database import fetch

MAX_OPEN = 30
"""Open tiers that a collective may have."""
MAX_PRESETS = 6
MAX_COUNT = 1_000_000
MAX_NAME_LENGTH = 100
MAX_DESCRIPTION_LENGTH = 2000
_AMOUNTS = {"amount": "amount_minor", "minimum": "minimum_minor", "goal": "goal_minor"}
_COUNTS = {"capacity": "capacity", "max_per_person": "maxPerPerson"}


async def create_tier(
    session: AsyncSession,
    actor: Actor,
    *,
    collective: CollectiveKey,
    kind: TierType,
    interval: GiftInterval | None = None,
    terms: Mapping[str, Any],
) -> Tier:
    """Create a tier with the terms, which are those of `change_terms`. Locks: the collective.

    Raises:
        Invalid: a user's tier, or terms that do not go together.
        InvalidState: the collective is archived, or its event is over.
        LimitExceeded: the collective has 30 open tiers.
    """
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.CREATE_TIER, Subject(collective=row))
    assert actor.user is not None
    if row.type == CollectiveType.USER:
        raise Invalid("A person has no tiers. Choose a collective or an event.", field="collective")
    if interval is not None and (kind == TierType.TICKET or row.type == CollectiveType.EVENT):
        raise Invalid("Tickets and gifts to events are given once.", field="interval")
    currency = await _lock_and_find_currency(session, row)
    count = select(func.count()).where(col(Tier.collective_id) == row.id, col(Tier.archived_at).is_(None))
    if (await session.execute(count)).scalar_one() >= MAX_OPEN:
        raise LimitExceeded(f"A collective has at most {MAX_OPEN} tiers. Archive one.", field="collective")
    tier = Tier(
        collective_id=row.id,
        type=kind,
        name="",
        pricing=TierPricing.FLEXIBLE,
        currency=currency,
        interval=interval,
        created_by_id=actor.user.id,
    )
    _apply(tier, {"name": None, **terms})
    session.add(tier)
    await session.flush()
    return tier


async def _lock_and_find_currency(session: AsyncSession, row: Collective) -> str:
    """Lock an open collective; return its currency, or that of an event's parent."""
    await session.refresh(row, with_for_update={"key_share": True})
    require_open(row, field="collective")
    if row.type != CollectiveType.EVENT:
        return row.currency
    event_capacity.require_active(row)
    return (await session.get_one(Collective, row.parent_id)).currency


def _apply(tier: Tier, terms: Mapping[str, Any]) -> None:
    """Set the named terms, and check that all of them go together."""
    for name, value in terms.items():
        match name:
            case "name":
                tier.name = user_text.require_name(value, field="name", max_length=MAX_NAME_LENGTH)
            case "description":
                text = user_text.clean_text(value, field=name, max_length=MAX_DESCRIPTION_LENGTH)
                tier.description = text or None
            case "presets":
                tier.presets_minor = _check_presets(value or [], tier.currency)
            case "amount" | "minimum" | "goal":
                minor = None if value is None else to_minor(value, field=name, currency=tier.currency)
                setattr(tier, _AMOUNTS[name], minor)
            case "capacity" | "max_per_person":
                if value is not None and not 1 <= value <= MAX_COUNT:
                    raise Invalid(f"Enter a number from 1 to {MAX_COUNT}, or null.", field=_COUNTS[name])
                setattr(tier, name, value)
            case "pricing" | "position" if value is None:
                raise Invalid("Enter a value, or leave it out.", field=name)
            case _:
                setattr(tier, name, value)
    _require_consistent(tier)


def _check_presets(presets: Sequence[Any], currency: str) -> list[int]:
    if len(presets) > MAX_PRESETS:
        raise Invalid(f"Enter at most {MAX_PRESETS} amounts.", field="presets")
    return [to_minor(amount, field=f"presets.{i}", currency=currency) for i, amount in enumerate(presets)]


def _require_consistent(tier: Tier) -> None:
    if tier.pricing == TierPricing.FIXED:
        if tier.amount_minor is None:
            raise Invalid("Enter the price of a fixed tier.", field="amount")
        for value, field in ((tier.minimum_minor, "minimum"), (tier.presets_minor, "presets")):
            if value:
                raise Invalid("Only the amount of a flexible tier can be chosen.", field=field)
    minimum = tier.minimum_minor or 0
    if tier.amount_minor is not None and tier.amount_minor < minimum:
        raise Invalid("Suggest at least the minimum.", field="amount")
    if any(preset < minimum for preset in tier.presets_minor):
        raise Invalid("Suggest at least the minimum.", field="presets")
    if tier.capacity is not None and tier.capacity < tier.sold:
        raise Invalid(f"{tier.sold} are sold already. Enter at least that.", field="capacity")
    if tier.opens_at is not None and tier.closes_at is not None and tier.closes_at <= tier.opens_at:
        raise Invalid("Choose a time after the opening.", field="closesAt")


async def change_terms(
    session: AsyncSession, actor: Actor, *, tier_id: UUID, changes: Mapping[str, Any]
) -> Tier:
    """Change the named terms; orders keep what they were made for. Locks: the tier.

    Terms: name, description, pricing, amount, minimum, presets, capacity, max_per_person, goal, opens_at,
    closes_at, position.

    Raises:
        Invalid: terms that do not go together, or fewer places than are sold.
        InvalidState: the tier or its collective is archived.
    """
    tier = await _lock_for(session, actor, tier_id, Action.UPDATE_TIER)
    _apply(tier, changes)
    return await _store(session, tier)


async def archive(session: AsyncSession, actor: Actor, *, tier_id: UUID) -> Tier:
    """Archive a tier, which takes no more orders. Locks: the tier.

    Raises:
        InvalidState: it is archived already.
    """
    tier = await _lock_for(session, actor, tier_id, Action.ARCHIVE_TIER)
    tier.archived_at = now()
    return await _store(session, tier)


async def _lock_for(session: AsyncSession, actor: Actor, tier_id: UUID, action: Action) -> Tier:
    """Require and lock an open tier on which the actor may perform the action."""
    statement = (
        select(Tier, Collective)
        .join(Collective, col(Tier.collective_id) == Collective.id)
        .where(col(Tier.id) == tier_id, visibility.tier_is_visible(actor))
        .with_for_update(of=Tier, key_share=True)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        raise NotFound("There is no such tier.", field="id")
    tier, collective = match
    require(actor, action, Subject(collective=collective))
    require_open(collective, field="id")
    if tier.archived_at is not None:
        raise InvalidState("This tier is archived.", field="id")
    return tier


async def _store(session: AsyncSession, tier: Tier) -> Tier:
    tier.updated_at = now()
    session.add(tier)
    await session.flush()
    return tier


async def require_visible(session: AsyncSession, actor: Actor, *, tier_id: UUID) -> tuple[Tier, Collective]:
    """Load a tier that the actor may order, and its collective.

    Raises:
        NotFound: there is no such tier, or the actor may not see it.
    """
    statement = (
        select(Tier, Collective)
        .join(Collective, col(Tier.collective_id) == Collective.id)
        .where(col(Tier.id) == tier_id, visibility.tier_is_visible(actor))
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        raise NotFound("There is no such tier.", field="tier")
    tier, collective = match
    return tier, collective


def require_open_tier(tier: Tier, collective: Collective, *, at: datetime) -> None:
    """Require that a tier takes orders.

    Raises:
        InvalidState: it is archived, not open yet or closed, or its event is over.
    """
    if collective.type == CollectiveType.EVENT:
        event_capacity.require_active(collective, at=at)
    if tier.archived_at is not None:
        raise InvalidState("This tier is archived.", field="tier")
    if tier.opens_at is not None and at < tier.opens_at:
        raise InvalidState("This tier is not open yet.", field="tier")
    if tier.closes_at is not None and tier.closes_at <= at:
        raise InvalidState("This tier is closed.", field="tier")


def select_tier(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[Tier]]:
    """Select a tier that the actor may see by its id, which may be an expression."""
    assert owner is None
    visible = visibility.tier_is_visible(actor)
    joined = select(Tier).join(Collective, col(Tier.collective_id) == Collective.id)
    return (joined.where(col(Tier.id) == where.id, visible),)


async def load_tiers(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Tier]:
    """Load the tiers that the actor may see; one statement."""
    statement = (
        select(Tier)
        .join(Collective, col(Tier.collective_id) == Collective.id)
        .where(col(Tier.id).in_(row_ids), visibility.tier_is_visible(actor))
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}


async def load_tiers_of_orders(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Tier]:
    """Load tiers of visible orders, archived ones too, except those of events that the actor may not see."""
    statement = select(Tier).where(col(Tier.id).in_(row_ids), visibility.tier_of_order_is_visible(actor))
    return {row.id: row for row in (await session.execute(statement)).scalars()}


BY_POSITION = Sort("TIERS_BY_POSITION", col(Tier.position), col(Tier.id), descending=False)


def select_tiers(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Tier]]:
    """Select the open tiers of a visible collective by position, then age."""
    del actor, where  # everybody sees them, and they have no conditions
    is_open = select(col(Collective.id)).where(
        col(Collective.id) == Tier.collective_id, col(Collective.archived_at).is_(None)
    )
    return (
        select(Tier).where(
            col(Tier.collective_id) == owner, col(Tier.archived_at).is_(None), is_open.exists()
        ),
    )


_PRESET: Any = column("minor", BigInteger)
_PRESET_NUMBER: Any = column("n", BigInteger)
PRESETS_IN_ORDER = Sort("PRESETS_IN_ORDER", _PRESET_NUMBER, _PRESET_NUMBER, descending=False)


def select_presets(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select the amounts that a visible tier offers, with its currency."""
    del actor, where  # everybody sees them, and they have no conditions
    presets: Any = func.unnest(col(Tier.presets_minor)).table_valued(_PRESET, with_ordinality="n")
    listed = presets.render_derived(name="preset").lateral()
    columns: Any = listed.c.minor, col(Tier.currency).label("currency")
    return (select(*columns).select_from(Tier).join(listed, true()).where(col(Tier.id) == owner),)


def select_left(tier: Any) -> Select[Any]:
    """Select the number of places left in a tier, whose columns are given; NULL if unlimited."""
    return select((tier.capacity - tier.sold).label("left"))


def select_raised(tier: Any) -> Select[Any]:
    """Select what the gifts in a tier, whose columns are given, amount to, with its currency."""
    raised = (
        select(col(RaisedTotal.raised_minor))
        .where(col(RaisedTotal.subject_id) == tier.id, col(RaisedTotal.currency) == tier.currency)
        .scalar_subquery()
    )
    return select(func.coalesce(raised, 0).label("minor"), tier.currency.label("currency"))


async def list_tiers(session: AsyncSession, *, collective_ids: Sequence[UUID]) -> dict[UUID, list[Tier]]:
    """List the open tiers of visible collectives by position, then age; one statement."""
    return await fetch.fetch_lists(
        session,
        ANONYMOUS,
        select_of=select_tiers,
        sort=BY_POSITION,
        by="collective_id",
        owner_ids=collective_ids,
    )


async def load_raised(session: AsyncSession, *, tier_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Load what gifts in tiers amount to before fees, less refunds. Units: minor, of each tier's currency."""
    statement = (
        select(col(RaisedTotal.subject_id), col(RaisedTotal.raised_minor))
        .join(Tier, col(Tier.id) == RaisedTotal.subject_id)
        .where(col(RaisedTotal.subject_id).in_(tier_ids), col(RaisedTotal.currency) == Tier.currency)
    )
    return {row.subject_id: row.raised_minor for row in await session.execute(statement)}


def price(tier: Tier, quantity: int) -> Money | None:
    """Return the amount of an order of a fixed tier; None if the giver chooses it."""
    if tier.pricing != TierPricing.FIXED or tier.amount_minor is None:
        return None
    return Money(tier.amount_minor * quantity, tier.currency)
