"""The platform of this installation and its policy: fees, limits, value of a current."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Select, bindparam, exists, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, FxRate, PlatformPolicy, new_id, now
from models.enums import CollectiveType, MemberRole
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.collectives import collectives, members
from services.core.errors import WHOLE_INPUT, Invalid
from services.core.gradual_change import WINDOW, is_small_change, require_future
from services.core.money import UncheckedAmount, to_minor, to_minor_or_zero
from services.core.pagination import Sort
from services.identity import authentication, email_addresses
from services.ledger import exchange_rates
from services.ledger.transaction_amounts import CURRENTS
from services.round_trips import effects
from services.round_trips.pipelines import Call, compile_statement
from services.round_trips.records import read_values, split_records

DEFAULT_SLUG = "commonweal"
DOLLARS = "USD"
RATE_PLACES, MAX_RATE_DIGITS = 6, 9
MAX_CHECK_IN_MINUTES = 30 * 24 * 60
_STEPS: dict[str, tuple[str, int]] = {
    "platform_fee_bps": ("platformFeeBps", 500),
    "redemption_fee_bps": ("redemptionFeeBps", 500),
    "usd_per_current": ("usdPerCurrent", 0),
    "check_in_minutes": ("checkInMinutes", 60),
    "master_weekly_limit_minor": ("masterWeeklyLimit", 0),
    "signup_bonus_minor": ("signupBonus", 1_000),
    "max_event_hours_minor": ("maxEventHours", 0),
    "default_issuance_cap_minor": ("defaultIssuanceCap", 0),
    "confirm_above_minor": ("confirmAbove", 10_000),
}
"""Input field of each column, and the step by which it may change beyond doubling; as in `policy_guard`."""


async def ensure_platform(session: AsyncSession, *, currency: str = "USD") -> Collective:
    """Return the platform; create it at first start, as its own host and with a policy."""
    statement = select(Collective).where(col(Collective.is_platform)).with_for_update()
    platform: Collective | None = (await session.execute(statement)).scalar_one_or_none()
    if platform is None:
        platform = Collective(
            type=CollectiveType.NONPROFIT,
            slug=DEFAULT_SLUG,
            name="Commonweal",
            currency=currency,
            is_platform=True,
        )
        session.add(platform)
        await session.flush()
        await collectives.become_host(session, platform)
    await _ensure_policy(session, platform)
    return platform


async def _ensure_policy(session: AsyncSession, platform: Collective) -> None:
    """Write the first policy, and its exchange rate of currents, if they are missing."""
    if not (await session.execute(select(exists().where(col(PlatformPolicy.id).is_not(None))))).scalar_one():
        session.add(PlatformPolicy())
        await session.flush()
    has_rate = exists().where(col(FxRate.base) == CURRENTS, col(FxRate.quote) == DOLLARS)
    if not (await session.execute(select(has_rate))).scalar_one():
        row = await load_policy(session)
        await _publish_rate(session, row.usd_per_current, since=row.valid_from, source=platform.slug)


async def load_platform_id(session: AsyncSession) -> UUID:
    """Load the platform's id, for callers without an actor that knows it."""
    platform_id: UUID = (
        await session.execute(select(col(Collective.id)).where(col(Collective.is_platform)))
    ).scalar_one()
    return platform_id


async def add_admin(session: AsyncSession, *, email: str) -> UUID:
    """Make the user of an address an ADMIN of the platform.

    An unknown address becomes an unclaimed user. No permission is checked: only the command line calls
    this, and its user has access to the database anyway.

    Raises:
        Invalid: this is not an email address.
    """
    platform = await ensure_platform(session)
    address = email_addresses.require_email(email, field="email")
    user = await email_addresses.find_user(session, address)
    if user is None:
        user, _ = await authentication.create_user(session, email=address, name="Platform admin")
    await members.add(session, platform.id, user.id, MemberRole.ADMIN)
    return user.id


@dataclass(frozen=True, kw_only=True)
class PolicyChanges:
    """Policy values to set; None keeps the present value. Fees are in basis points."""

    platform_fee_bps: int | None = None
    usd_per_current: Decimal | None = None
    redemption_fee_bps: int | None = None
    master_weekly_limit: UncheckedAmount | None = None
    signup_bonus: UncheckedAmount | None = None
    check_in_minutes: int | None = None
    max_event_hours: UncheckedAmount | None = None
    default_issuance_cap: UncheckedAmount | None = None
    confirm_above: UncheckedAmount | None = None


async def set_policy(
    session: AsyncSession, actor: Actor, *, changes: PolicyChanges, valid_from: datetime | None = None
) -> PlatformPolicy:
    """Set policy values from `valid_from` (default: now) on.

    The other values stay as they are by then. Existing orders keep their policy. New dollars per current
    become an exchange rate, too. Locks: the platform, so that no concurrent change is lost.

    Raises:
        Invalid: no value, one out of range or no small change, or a time in the past.
        Conflict: an exchange rate of currents begins at exactly that time.
    """
    require(actor, Action.SET_PLATFORM_POLICY)
    assert actor.user is not None and actor.platform_id is not None
    changed = _validate_changes(changes)
    require_future(valid_from)
    await collectives.lock(session, actor.platform_id)
    starts_at = valid_from or now()
    previous = await load_policy(session, at=starts_at)
    await _require_small_changes(session, changed, starts_at)
    own = {"valid_from": starts_at, "created_by_id": actor.user.id, "id": new_id()}
    row = PlatformPolicy(**{**read_values(previous), **changed, **own})
    session.add(row)
    await session.flush()
    if row.usd_per_current != previous.usd_per_current:
        await _publish_rate(session, row.usd_per_current, since=starts_at, source=actor.user.slug)
        await _republish_later_rate(session, row, source=actor.user.slug)
    return row


async def _require_small_changes(session: AsyncSession, changed: dict[str, Any], starts_at: datetime) -> None:
    """Require values near all those in force within a day of their start, and near the next ones."""
    later = await _load_next(session, starts_at)
    statement = select(PlatformPolicy).where(
        col(PlatformPolicy.valid_from) > starts_at - WINDOW,
        col(PlatformPolicy.valid_from) < starts_at + WINDOW,
    )
    rows = [
        *(await session.execute(statement)).scalars(),
        await load_policy(session, at=starts_at),
        *([later] if later else []),
    ]
    earlier = select(exists().where(col(PlatformPolicy.valid_from) <= starts_at - WINDOW))
    if (await session.execute(earlier)).scalar_one():
        rows.append(await load_policy(session, at=starts_at - WINDOW))
    for name, value in changed.items():
        field, step = _STEPS[name]
        if not all(is_small_change(getattr(row, name), value, step=step) for row in rows):
            raise Invalid("A value at most doubles or halves within a day.", field=field)


def _validate_changes(changes: PolicyChanges) -> dict[str, Any]:
    """Return the values to set as columns, validated."""
    columns: dict[str, Any] = {
        "platform_fee_bps": _validate_bps(changes.platform_fee_bps, "platformFeeBps"),
        "redemption_fee_bps": _validate_bps(changes.redemption_fee_bps, "redemptionFeeBps"),
        "usd_per_current": _validate_usd_per_current(changes.usd_per_current),
        "check_in_minutes": _validate_check_in_minutes(changes.check_in_minutes),
    }
    if changes.master_weekly_limit is not None:
        columns["master_weekly_limit_minor"] = to_minor(
            changes.master_weekly_limit, field="masterWeeklyLimit", currency=CURRENTS
        )
    if changes.signup_bonus is not None:
        columns["signup_bonus_minor"] = to_minor_or_zero(
            changes.signup_bonus, field="signupBonus", currency=CURRENTS
        )
    if changes.max_event_hours is not None:
        columns["max_event_hours_minor"] = to_minor(
            changes.max_event_hours, field="maxEventHours", currency=CURRENTS
        )
    if changes.default_issuance_cap is not None:
        columns["default_issuance_cap_minor"] = to_minor(
            changes.default_issuance_cap, field="defaultIssuanceCap", currency=CURRENTS
        )
    if changes.confirm_above is not None:
        columns["confirm_above_minor"] = to_minor_or_zero(
            changes.confirm_above, field="confirmAbove", currency=DOLLARS
        )
    changed = {name: value for name, value in columns.items() if value is not None}
    if not changed:
        raise Invalid("Enter at least one value to set.", field=WHOLE_INPUT)
    return changed


def _validate_bps(value: int | None, field: str) -> int | None:
    if value is not None and not 0 <= value <= collectives.WHOLE_BPS:
        raise Invalid(f"Enter a fee from 0 to {collectives.WHOLE_BPS} basis points.", field=field)
    return value


def _validate_usd_per_current(value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    field = "usdPerCurrent"
    if not value.is_finite() or value <= 0 or value.adjusted() >= MAX_RATE_DIGITS:
        raise Invalid("Enter a value above 0 and below 1,000,000,000.", field=field)
    if value.adjusted() < -RATE_PLACES or len(f"{value:f}".partition(".")[2].rstrip("0")) > RATE_PLACES:
        raise Invalid(f"Enter at most {RATE_PLACES} decimal places.", field=field)
    return value


def _validate_check_in_minutes(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= MAX_CHECK_IN_MINUTES:
        raise Invalid(f"Enter 0 to {MAX_CHECK_IN_MINUTES} minutes.", field="checkInMinutes")
    return value


async def _publish_rate(session: AsyncSession, rate: Decimal, *, since: datetime, source: str) -> None:
    await exchange_rates.add_rate(
        session, base=CURRENTS, target=DOLLARS, rate=rate, valid_from=since, source=source
    )


async def _republish_later_rate(session: AsyncSession, row: PlatformPolicy, *, source: str) -> None:
    """Publish the rate of the next later policy again, so that it still applies from its start."""
    later = await _load_next(session, row.valid_from)
    has_rate = exists().where(
        col(FxRate.base) == CURRENTS,
        col(FxRate.quote) == DOLLARS,
        col(FxRate.valid_from) == (later.valid_from if later else None),
    )
    if later is not None and not (await session.execute(select(has_rate))).scalar_one():
        await _publish_rate(session, later.usd_per_current, since=later.valid_from, source=source)


async def _load_next(session: AsyncSession, after: datetime) -> PlatformPolicy | None:
    """Load the next policy that begins after a time."""
    statement = (
        select(PlatformPolicy)
        .where(col(PlatformPolicy.valid_from) > after)
        .order_by(col(PlatformPolicy.valid_from), col(PlatformPolicy.id).desc())
        .limit(1)
    )
    row: PlatformPolicy | None = (await session.execute(statement)).scalar_one_or_none()
    return row


def select_valid(at: Any) -> Select[Any]:
    """Select the policy valid at the moment of an expression."""
    newest = (col(PlatformPolicy.valid_from).desc(), col(PlatformPolicy.id).desc())
    columns = inspect(PlatformPolicy).local_table.c
    return select(*columns).where(col(PlatformPolicy.valid_from) <= at).order_by(*newest).limit(1)


_VALID_AT = compile_statement(select_valid(bindparam("at", type_=DateTime(timezone=True))))


async def load_policy(session: AsyncSession, *, at: datetime | None = None) -> PlatformPolicy:
    """Load the policy valid now or at a time; the first one predates all uses of it."""
    return await (await read_policy_ahead(session, at=at))()


async def read_policy_ahead(
    session: AsyncSession, *, at: datetime | None = None
) -> Callable[[], Awaitable[PlatformPolicy]]:
    """Load the policy as `load_policy`, in the round trip of what is read next."""
    rows = await effects.read_ahead(session, Call(_VALID_AT, {"at": at or now()}))

    async def take() -> PlatformPolicy:
        row: PlatformPolicy = split_records((PlatformPolicy,), (await rows())[0])[0]
        return row

    return take


NEWEST_FIRST = Sort("POLICIES", col(PlatformPolicy.valid_from), col(PlatformPolicy.id))


def select_policy(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Any]]:
    """Select the policy valid now."""
    del actor, where, owner  # everybody sees it
    return (select_valid(func.now()),)


def select_policies(
    actor: Actor | None, *, where: object = None, owner: object = None
) -> tuple[Select[PlatformPolicy]]:
    """Select all policies, including future ones."""
    del actor, where, owner  # everybody sees all of them
    return (select(PlatformPolicy),)


async def list_policies(session: AsyncSession) -> list[PlatformPolicy]:
    """List all policies, including future ones, newest first."""
    (statement,) = select_policies(None)
    newest = (NEWEST_FIRST.key.desc(), NEWEST_FIRST.id.desc())
    return list((await session.execute(statement.order_by(*newest))).scalars())


async def load_policies(session: AsyncSession, *, row_ids: Sequence[UUID]) -> dict[UUID, PlatformPolicy]:
    """Load policies by id; they are public."""
    statement = select(PlatformPolicy).where(col(PlatformPolicy.id).in_(row_ids))
    return {row.id: row for row in (await session.execute(statement)).scalars()}
