"""From addresses to users: an unknown address becomes a user known by it alone."""

import secrets
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, now
from models.enums import CollectiveType
from services import identity, slugs

NAME = "Invited member"


async def known_or_new_user(session: AsyncSession, email: str, *, path: list[str]) -> Collective:
    """Return the user of an address, made if there is none.

    Raises:
        Invalid: it is no address.
    """
    address = identity.checked_email(email, path=path)
    return (await known_or_new_users(session, [address]))[address]


async def known_or_new_users(session: AsyncSession, addresses: Sequence[str]) -> dict[str, Collective]:
    """Return the user of each checked address, made where there is none; a few statements for all."""
    found = await identity.users_of_emails(session, addresses)
    while missing := sorted(set(addresses) - found.keys()):
        # Where another transaction was first with one of them, its user is there by now.
        found |= await _create(session, missing) or await identity.users_of_emails(session, missing)
    return found


async def _create(session: AsyncSession, addresses: list[str]) -> dict[str, Collective]:
    """Create a user of each address; none at all where one of the addresses is taken meanwhile."""
    platform = select(col(Collective.id)).where(col(Collective.is_platform))
    platform_id = (await session.execute(platform)).scalar_one_or_none()
    users = {address: _unclaimed(platform_id) for address in addresses}
    async with session.begin_nested() as savepoint:
        session.add_all(users.values())
        await session.flush()
        rows = [{"user_id": user.id, "email": address} for address, user in users.items()]
        made = insert(Credential).values(rows).on_conflict_do_nothing().returning(col(Credential.user_id))
        if len((await session.execute(made)).all()) < len(rows):
            await savepoint.rollback()
            return {}
    return users


def _unclaimed(platform_id: UUID | None) -> Collective:
    return Collective(
        slug=slugs.suggest(NAME, suffix=secrets.token_hex(6)), type=CollectiveType.USER, name=NAME,
        currency="USD", host_id=platform_id, host_approved_at=now() if platform_id else None,
    )  # fmt: skip
