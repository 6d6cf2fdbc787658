"""Addresses of mail, and from them to users: an unknown address becomes a user known by it alone."""

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
from services.core.user_text import required

NAME = "Invited member"


def checked_email(email: str, *, path: list[str]) -> str:
    """Return the address in lower case.

    Raises:
        Invalid: it is no address.
    """
    address = required(email, path=path, max_length=254).lower()
    name, at, domain = address.rpartition("@")
    if not (name and at and "." in domain.strip(".")) or any(c.isspace() for c in address):
        raise Invalid("This is not an email address", path=path)
    return address


async def email_of(session: AsyncSession, *, user_ids: list[UUID]) -> dict[UUID, str]:
    """Return the addresses of users; who may see them is the caller's to decide."""
    rows = await session.execute(
        select(col(Credential.user_id), col(Credential.email)).where(col(Credential.user_id).in_(user_ids))
    )
    return {row.user_id: row.email for row in rows}


async def user_of_email(session: AsyncSession, address: str) -> Collective | None:
    """Return who has an address (in lower case), or None; as `users_of_emails`."""
    return (await users_of_emails(session, [address])).get(address)


async def users_of_emails(session: AsyncSession, addresses: Sequence[str]) -> dict[str, Collective]:
    """Return who has which of the addresses (in lower case); one statement.

    The address of a user who was merged leads to the one who remains.
    """
    tables = (Credential, MergedEmail)
    has = union_all(
        *(
            select(col(table.email).label("email"), col(table.user_id).label("user_id")).where(
                col(table.email).in_(addresses)
            )
            for table in tables
        )
    ).subquery()
    chain = (
        select(has.c.email, col(Collective.id).label("id"), col(Collective.merged_into_id).label("into"))
        .join(Collective, col(Collective.id) == has.c.user_id)
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


async def known_or_new_user(session: AsyncSession, email: str, *, path: list[str]) -> Collective:
    """Return the user of an address, made if there is none.

    Raises:
        Invalid: it is no address.
    """
    address = checked_email(email, path=path)
    return (await known_or_new_users(session, [address]))[address]


async def known_or_new_users(session: AsyncSession, addresses: Sequence[str]) -> dict[str, Collective]:
    """Return the user of each checked address, made where there is none; a few statements for all."""
    found = await users_of_emails(session, addresses)
    while missing := sorted(set(addresses) - found.keys()):
        # Where another transaction was first with one of them, its user is there by now.
        found |= await _create(session, missing) or await users_of_emails(session, missing)
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
        slug=slugs.suggest(NAME, suffix=secrets.token_hex(6)),
        type=CollectiveType.USER,
        name=NAME,
        currency="USD",
        host_id=platform_id,
        host_approved_at=now() if platform_id else None,
    )
