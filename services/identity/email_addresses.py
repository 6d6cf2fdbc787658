"""Email addresses and their users; an unknown address can become an unclaimed user."""

import secrets
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, MergedEmail, now
from models.enums import CollectiveType
from services.core import slugs
from services.core.errors import Invalid
from services.core.user_text import require_text

PLACEHOLDER_NAME = "Invited member"


def require_email(email: str, *, field: str) -> str:
    """Return an email address in lower case.

    Raises:
        Invalid: this is not an email address.
    """
    address = require_text(email, field=field, max_length=254).lower()
    name, at, domain = address.rpartition("@")
    if not (name and at and "." in domain.strip(".")) or any(c.isspace() for c in address):
        raise Invalid("Enter an email address.", field=field)
    return address


async def load_emails(session: AsyncSession, *, user_ids: list[UUID]) -> dict[UUID, str]:
    """Load the addresses of users, by user; callers decide whether the actor may see them."""
    rows = await session.execute(
        select(col(Credential.user_id), col(Credential.email)).where(col(Credential.user_id).in_(user_ids))
    )
    return {row.user_id: row.email for row in rows}


async def find_user(session: AsyncSession, address: str) -> Collective | None:
    """Find the user of a lower-case address, or None; follows merges like `find_users`."""
    return (await find_users(session, [address])).get(address)


async def find_users(session: AsyncSession, addresses: Sequence[str]) -> dict[str, Collective]:
    """Find the users of lower-case addresses, by address; one statement.

    The address of a merged user leads to the user they were merged into.
    """
    tables = (Credential, MergedEmail)
    owners = union_all(
        *(
            select(col(table.email).label("email"), col(table.user_id).label("user_id")).where(
                col(table.email).in_(addresses)
            )
            for table in tables
        )
    ).subquery()
    chain = (
        select(owners.c.email, col(Collective.id).label("id"), col(Collective.merged_into_id).label("into"))
        .join(Collective, col(Collective.id) == owners.c.user_id)
        .cte("chain", recursive=True)
    )
    chain = chain.union(
        select(chain.c.email, col(Collective.id), col(Collective.merged_into_id)).where(
            col(Collective.id) == chain.c.into
        )
    )
    statement = (
        select(chain.c.email, Collective)
        .join(chain, chain.c.id == Collective.id)
        .where(chain.c.into.is_(None))
    )
    return {row[0]: row[1] for row in (await session.execute(statement)).all()}


async def find_or_create_user(session: AsyncSession, email: str, *, field: str) -> Collective:
    """Return the user of an address; an unknown address becomes an unclaimed user.

    Raises:
        Invalid: this is not an email address.
    """
    address = require_email(email, field=field)
    return (await find_or_create_users(session, [address]))[address]


async def find_or_create_users(session: AsyncSession, addresses: Sequence[str]) -> dict[str, Collective]:
    """Return the user of each valid address, creating missing ones; a few statements for all."""
    users = await find_users(session, addresses)
    while missing := sorted(set(addresses) - users.keys()):
        # If another transaction created one of them first, its user exists by now.
        users |= await _create_users(session, missing) or await find_users(session, missing)
    return users


async def _create_users(session: AsyncSession, addresses: list[str]) -> dict[str, Collective]:
    """Create a user for each address; none at all if one of the addresses is taken meanwhile."""
    platform = select(col(Collective.id)).where(col(Collective.is_platform))
    platform_id = (await session.execute(platform)).scalar_one_or_none()
    users = {address: _new_unclaimed_user(platform_id) for address in addresses}
    async with session.begin_nested() as savepoint:
        session.add_all(users.values())
        await session.flush()
        rows = [{"user_id": user.id, "email": address} for address, user in users.items()]
        credentials = (
            insert(Credential).values(rows).on_conflict_do_nothing().returning(col(Credential.user_id))
        )
        if len((await session.execute(credentials)).all()) < len(rows):
            await savepoint.rollback()
            return {}
    return users


def _new_unclaimed_user(platform_id: UUID | None) -> Collective:
    return Collective(
        slug=slugs.suggest(PLACEHOLDER_NAME, suffix=secrets.token_hex(6)),
        type=CollectiveType.USER,
        name=PLACEHOLDER_NAME,
        currency="USD",
        host_id=platform_id,
        host_approved_at=now() if platform_id else None,
    )
