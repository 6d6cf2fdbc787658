"""The one nonprofit that runs this installation, and its policy: what it charges, what a current is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, FxRate, PlatformPolicy, now
from models.enums import CollectiveType, MemberRole
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.collectives import collectives, members
from services.core.errors import Invalid
from services.core.money import AskedAmount, to_minor, to_minor_or_zero
from services.identity import authentication, email_addresses
from services.ledger import exchange_rates
from services.ledger.transaction_amounts import CURRENTS

DEFAULT_SLUG = "commonweal"
DOLLARS = "USD"
WHOLE_BPS = 10_000
RATE_PLACES, MAX_RATE_DIGITS = 6, 9
MAX_CHECK_IN_MINUTES = 30 * 24 * 60


async def ensure(session: AsyncSession, *, currency: str = "USD") -> Collective:
    """Return the platform, made at first start: a nonprofit that hosts itself, with a first policy."""
    statement = select(Collective).where(col(Collective.is_platform)).with_for_update()
    known: Collective | None = (await session.execute(statement)).scalar_one_or_none()
    if known is None:
        known = Collective(
            type=CollectiveType.NONPROFIT,
            slug=DEFAULT_SLUG,
            name="Commonweal",
            currency=currency,
            is_platform=True,
        )
        session.add(known)
        await session.flush()
        await collectives.become_host(session, known)
    await _ensure_policy(session, known)
    return known


async def _ensure_policy(session: AsyncSession, platform: Collective) -> None:
    """Write the first policy, and what it says a current is worth, where they are missing."""
    if not (await session.execute(select(exists().where(col(PlatformPolicy.id).is_not(None))))).scalar_one():
        session.add(PlatformPolicy())
        await session.flush()
    priced = exists().where(col(FxRate.base) == CURRENTS, col(FxRate.quote) == DOLLARS)
    if not (await session.execute(select(priced))).scalar_one():
        row = await policy(session)
        await _publish(session, row.usd_per_current, since=row.valid_from, source=platform.slug)


async def row_id(session: AsyncSession) -> UUID:
    """Return the platform's id, for where nobody is signed in whose actor would know it."""
    found: UUID = (
        await session.execute(select(col(Collective.id)).where(col(Collective.is_platform)))
    ).scalar_one()
    return found


async def add_admin(session: AsyncSession, *, email: str) -> UUID:
    """Make the user of an address an ADMIN of the platform; an unknown one becomes an unclaimed user.

    For the command line alone: whoever runs it owns the database anyway.
    """
    platform = await ensure(session)
    address = email_addresses.checked_email(email, path=["email"])
    user = await email_addresses.user_of_email(session, address)
    if user is None:
        user, _ = await authentication.create_user(session, email=address, name="Platform admin")
    await members.add(session, platform.id, user.id, MemberRole.ADMIN)
    return user.id


@dataclass(frozen=True, kw_only=True)
class PolicyChanges:
    """The figures of a policy to set; None keeps what holds. Fees in basis points."""

    platform_fee_bps: int | None = None
    usd_per_current: Decimal | None = None
    redemption_fee_bps: int | None = None
    master_weekly_limit: AskedAmount | None = None
    signup_bonus: AskedAmount | None = None
    check_in_minutes: int | None = None


async def set_policy(
    session: AsyncSession, actor: Actor, *, changes: PolicyChanges, valid_from: datetime | None = None
) -> PlatformPolicy:
    """Set figures from a moment on (now); the others stay as they are then. Orders that exist keep theirs.

    A new worth of a current is an exchange rate, too. Locks: the platform, so that no figure set at the
    same time is lost.

    Raises:
        Invalid: no figure, one out of range, or a moment in the past.
        Conflict: there is a rate of currents of that very moment.
    """
    require(actor, Action.SET_PLATFORM_POLICY)
    assert actor.user is not None and actor.platform_id is not None
    given = _checked(changes)
    require_future(valid_from)
    await collectives.lock(session, actor.platform_id)
    since = valid_from or now()
    before = await policy(session, at=since)
    kept = before.model_dump(exclude={"id", "valid_from", "created_by_id"})
    row = PlatformPolicy(**{**kept, **given}, valid_from=since, created_by_id=actor.user.id)
    session.add(row)
    await session.flush()
    if row.usd_per_current != before.usd_per_current:
        await _publish(session, row.usd_per_current, since=since, source=actor.user.slug)
        await _publish_next(session, row, source=actor.user.slug)
    return row


def require_future(moment: datetime | None) -> None:
    """Let through a moment that is now or later, or none.

    Raises:
        Invalid: it has passed.
    """
    if moment is not None and moment < now():
        raise Invalid("It starts now or later", path=["input", "validFrom"])


def _checked(changes: PolicyChanges) -> dict[str, Any]:
    """Return the given figures as columns."""
    found: dict[str, Any] = {
        "platform_fee_bps": _bps(changes.platform_fee_bps, "platformFeeBps"),
        "redemption_fee_bps": _bps(changes.redemption_fee_bps, "redemptionFeeBps"),
        "usd_per_current": _worth(changes.usd_per_current),
        "check_in_minutes": _minutes(changes.check_in_minutes),
    }
    if changes.master_weekly_limit is not None:
        found["master_weekly_limit_minor"] = to_minor(
            changes.master_weekly_limit, path=["input", "masterWeeklyLimit"], currency=CURRENTS
        )
    if changes.signup_bonus is not None:
        found["signup_bonus_minor"] = to_minor_or_zero(
            changes.signup_bonus, path=["input", "signupBonus"], currency=CURRENTS
        )
    given = {name: value for name, value in found.items() if value is not None}
    if not given:
        raise Invalid("Name at least one figure", path=["input"])
    return given


def _bps(value: int | None, field: str) -> int | None:
    if value is not None and not 0 <= value <= WHOLE_BPS:
        raise Invalid(f"A fee is 0 to {WHOLE_BPS} basis points", path=["input", field])
    return value


def _worth(value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    path = ["input", "usdPerCurrent"]
    if not value.is_finite() or value <= 0 or value.adjusted() >= MAX_RATE_DIGITS:
        raise Invalid("A current is worth more than zero, and less than a billion", path=path)
    if value.adjusted() < -RATE_PLACES or len(f"{value:f}".partition(".")[2].rstrip("0")) > RATE_PLACES:
        raise Invalid(f"It has at most {RATE_PLACES} decimal places", path=path)
    return value


def _minutes(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= MAX_CHECK_IN_MINUTES:
        raise Invalid(f"It is 0 to {MAX_CHECK_IN_MINUTES} minutes", path=["input", "checkInMinutes"])
    return value


async def _publish(session: AsyncSession, rate: Decimal, *, since: datetime, source: str) -> None:
    await exchange_rates.add_rate(
        session, base=CURRENTS, target=DOLLARS, rate=rate, valid_from=since, source=source
    )


async def _publish_next(session: AsyncSession, row: PlatformPolicy, *, source: str) -> None:
    """Let the rate of a policy that was set for later come back with it."""
    statement = (
        select(PlatformPolicy)
        .where(col(PlatformPolicy.valid_from) > row.valid_from)
        .order_by(col(PlatformPolicy.valid_from), col(PlatformPolicy.id).desc())
        .limit(1)
    )
    later = (await session.execute(statement)).scalar_one_or_none()
    known = exists().where(
        col(FxRate.base) == CURRENTS,
        col(FxRate.quote) == DOLLARS,
        col(FxRate.valid_from) == (later.valid_from if later else None),
    )
    if later is not None and not (await session.execute(select(known))).scalar_one():
        await _publish(session, later.usd_per_current, since=later.valid_from, source=source)


async def policy(session: AsyncSession, *, at: datetime | None = None) -> PlatformPolicy:
    """Return what holds now, or at a moment; the first policy is older than everything that needs one."""
    statement = (
        select(PlatformPolicy)
        .where(col(PlatformPolicy.valid_from) <= (at or now()))
        .order_by(col(PlatformPolicy.valid_from).desc(), col(PlatformPolicy.id).desc())
        .limit(1)
    )
    row: PlatformPolicy = (await session.execute(statement)).scalar_one()
    return row


async def policies(session: AsyncSession) -> list[PlatformPolicy]:
    """Return every policy, those set for later among them, newest first."""
    statement = select(PlatformPolicy).order_by(
        col(PlatformPolicy.valid_from).desc(), col(PlatformPolicy.id).desc()
    )
    return list((await session.execute(statement)).scalars())


async def policies_by_ids(session: AsyncSession, *, row_ids: Sequence[UUID]) -> dict[UUID, PlatformPolicy]:
    """Return policies; they are everybody's to see."""
    statement = select(PlatformPolicy).where(col(PlatformPolicy.id).in_(row_ids))
    return {row.id: row for row in (await session.execute(statement)).scalars()}
