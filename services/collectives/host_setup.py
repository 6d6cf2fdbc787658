"""Creates hosts from the command line, whose user has access to the database anyway."""

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, HostApplication, SlugRedirect, now
from models.enums import CollectiveType, MemberRole, RequestStatus
from services.collectives import collectives, members, platform_policy
from services.core import slugs, user_text
from services.core.errors import Conflict, Invalid
from services.identity import authentication, email_addresses
from services.identity.authentication import require_fiat

HOST_TYPES = (CollectiveType.NONPROFIT, CollectiveType.BUSINESS)


async def create_host(
    session: AsyncSession,
    *,
    slug: str,
    name: str,
    currency: str,
    collective_type: CollectiveType = CollectiveType.NONPROFIT,
    admin_email: str | None = None,
) -> Collective:
    """Create an organization that the platform lets hold others' money, with an ADMIN if an address is given.

    No permission is checked: only the command line calls this. An unknown address becomes an unclaimed user.

    Raises:
        Invalid: another type, or an unusable slug, name, currency or email address.
        Conflict: the slug is taken.
    """
    if collective_type not in HOST_TYPES:
        raise Invalid("Choose NONPROFIT or BUSINESS.", field="type")
    slug = slugs.check(slug, field="slug")
    used = or_(exists().where(col(Collective.slug) == slug), exists().where(col(SlugRedirect.slug) == slug))
    if (await session.execute(select(used))).scalar_one():
        raise Conflict("This slug is taken.", field="slug")
    host = Collective(
        type=collective_type,
        slug=slug,
        name=user_text.require_name(name, field="name"),
        currency=require_fiat(currency),
    )
    session.add(host)
    await session.flush()
    await make_host(session, host)
    if admin_email is not None:
        await _add_admin(session, host, admin_email)
    return host


async def make_host(session: AsyncSession, organization: Collective) -> None:
    """Make an organization a host, with an application that is accepted in the platform's name."""
    platform = await platform_policy.ensure_platform(session)
    application = HostApplication(
        collective_id=organization.id,
        host_id=organization.id,
        status=RequestStatus.ACCEPTED,
        reason="Created on the command line",
        created_by_id=platform.id,
        decided_by_id=platform.id,
        decided_at=now(),
    )
    session.add(application)
    await session.flush()
    await collectives.become_host(session, organization)


async def _add_admin(session: AsyncSession, host: Collective, email: str) -> None:
    address = email_addresses.require_email(email, field="admin")
    user = await email_addresses.find_user(session, address)
    if user is None:
        user, _ = await authentication.create_user(session, email=address, name=f"Admin of {host.name}")
    await members.add(session, host.id, user.id, MemberRole.ADMIN)
