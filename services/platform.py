"""The one nonprofit that runs this installation, and what it charges."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, PlatformPolicy, now
from models.enums import CollectiveType, MemberRole
from services import collectives, identity, members
from services.actors import Actor
from services.errors import Invalid
from services.permissions import Action, require

DEFAULT_SLUG = "commonweal"


async def ensure(session: AsyncSession, *, currency: str = "USD") -> Collective:
    """Return the platform, made at first start: a nonprofit that hosts itself."""
    statement = select(Collective).where(col(Collective.is_platform)).with_for_update()
    known = (await session.execute(statement)).scalar_one_or_none()
    if known is not None:
        return known
    platform = Collective(
        type=CollectiveType.NONPROFIT, slug=DEFAULT_SLUG, name="Commonweal", currency=currency,
        is_platform=True,
    )  # fmt: skip
    session.add(platform)
    await session.flush()
    await collectives.become_host(session, platform)
    return platform


async def add_admin(session: AsyncSession, *, email: str) -> UUID:
    """Make the user of an address an ADMIN of the platform; an unknown one becomes an unclaimed user.

    For the command line alone: whoever runs it owns the database anyway.
    """
    platform = await ensure(session)
    address = identity.checked_email(email, path=["email"])
    statement = select(col(Credential.user_id)).where(col(Credential.email) == address)
    user_id = (await session.execute(statement)).scalar_one_or_none()
    if user_id is None:
        user, _ = await identity.create_user(session, email=address, name="Platform admin")
        user_id = user.id
    await members.add(session, platform.id, user_id, MemberRole.ADMIN)
    return user_id


async def set_policy(
    session: AsyncSession,
    actor: Actor,
    *,
    platform_fee_bps: int,
    valid_from: datetime | None = None,
) -> PlatformPolicy:
    """Set what the platform charges from a moment on (now); orders that exist keep theirs.

    Raises:
        Invalid: not 0 to 10000 basis points, or a moment in the past.
    """
    require(actor, Action.SET_PLATFORM_POLICY)
    if not 0 <= platform_fee_bps <= 10_000:  # noqa: PLR2004 - the whole, in basis points
        raise Invalid("A fee is 0 to 10000 basis points", path=["input", "platformFeeBps"])
    moment = now()
    if valid_from is not None and valid_from < moment:
        raise Invalid("A policy starts now or later", path=["input", "validFrom"])
    policy = PlatformPolicy(
        platform_fee_bps=platform_fee_bps, valid_from=valid_from or moment, created_by_id=actor.id
    )
    session.add(policy)
    await session.flush()
    return policy


async def policy(session: AsyncSession) -> PlatformPolicy | None:
    """Return what holds now."""
    statement = (
        select(PlatformPolicy)
        .where(col(PlatformPolicy.valid_from) <= now())
        .order_by(col(PlatformPolicy.valid_from).desc(), col(PlatformPolicy.id).desc())
        .limit(1)
    )
    return (await session.execute(statement)).scalar_one_or_none()
