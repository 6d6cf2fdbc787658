"""Email addresses and their users; an unknown address can become an unclaimed user."""

import re
import secrets
import unicodedata
from collections.abc import Sequence
from email.headerregistry import Address
from email.utils import getaddresses
from typing import Any
from uuid import UUID

import idna
from sqlalchemy import ColumnElement, Select, select, union
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailChange, MergedEmail, now
from models.enums import CollectiveType
from services.core import slugs
from services.core.errors import Invalid
from services.core.user_text import require_text
from services.identity.email_change_states import can_be_undone

PLACEHOLDER_NAME = "Invited member"
MAX_LENGTH, MAX_NAME_BYTES, MAX_ENTRY_LENGTH = 254, 64, 20_000
_FORBIDDEN = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff()<>\[\]:;,\\\\\"@]"
)


def require_email(email: str, *, field: str) -> str:
    """Return the one spelling under which an email address is stored, found, limited and written to.

    It is composed (NFC) and in lower case, and its domain is the ASCII form that mail servers use: addresses
    that lead to one mailbox are one. `Name <a@b>` is understood.

    Raises:
        Invalid: this is not one email address that mail can reach.
    """
    text = require_text(email, field=field, max_length=MAX_LENGTH + 200)
    address = _canonical_address(_without_name(text))
    if address is None or len(address) > MAX_LENGTH:
        raise Invalid("Enter an email address.", field=field)
    return address


def canonical_guess(email: str) -> str:
    """Return the stored spelling of an address; a text that is none in a form that no address has."""
    try:
        return require_email(email, field="email")
    except Invalid:
        return f"invalid:{email.strip().lower()[:MAX_LENGTH]}".encode("ascii", "backslashreplace").decode()


def split_list(emails: Sequence[str]) -> list[str]:
    """Split the entries of a list that hold several addresses, as copied from a mail program."""
    return [part for entry in emails for part in _split_entry(entry)]


def _split_entry(entry: str) -> list[str]:
    """Split `Name <a@b>, "Last, First" <c@d>; e@f` into its addresses; keep an entry that is no such list."""
    if not re.search(r"[,;\n]", entry) or len(entry) > MAX_ENTRY_LENGTH:
        return [entry]
    found = [address for _, address in getaddresses([re.sub(r"[;\r\n]+", ",", entry)])]
    addresses = [address for address in found if address]
    return addresses if addresses and all("@" in address for address in addresses) else [entry]


def _without_name(text: str) -> str:
    """Return the address of `Name <a@b>`; any other text as it is."""
    match = re.fullmatch(r"(?:\"[^\"]*\"|[^<>\",;]*)<([^<>]+)>", text)
    return match.group(1).strip() if match else text


def _canonical_address(text: str) -> str | None:
    name, _, domain = unicodedata.normalize("NFC", text).lower().rpartition("@")
    if not name or len(name.encode()) > MAX_NAME_BYTES or _FORBIDDEN.search(name):
        return None
    if name.startswith(".") or name.endswith(".") or ".." in name:
        return None
    try:
        ascii_domain = idna.encode(domain, uts46=True, transitional=False).decode()
        Address(addr_spec=f"x@{ascii_domain}")
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        return None
    if "." not in ascii_domain or ascii_domain.endswith(".") or ascii_domain.rpartition(".")[2].isdigit():
        return None
    return f"{name}@{ascii_domain}"


async def load_emails(session: AsyncSession, *, user_ids: list[UUID]) -> dict[UUID, str]:
    """Load the addresses of users, by user; callers decide whether the actor may see them."""
    rows = await session.execute(
        select(col(Credential.user_id), col(Credential.email)).where(col(Credential.user_id).in_(user_ids))
    )
    return {row.user_id: row.email for row in rows}


def select_email(user: Any) -> Select[Any]:
    """Select the address of a user, whose columns are given."""
    return select(col(Credential.email)).where(col(Credential.user_id) == user.id)


async def find_user(session: AsyncSession, address: str) -> Collective | None:
    """Find the user of an address as `require_email` returns it, or None; follows merges."""
    return (await find_users(session, [address])).get(address)


async def find_users(session: AsyncSession, addresses: Sequence[str]) -> dict[str, Collective]:
    """Find the users of addresses as `require_email` returns them, by address; one statement.

    The address of a merged user leads to the user they were merged into, and one that a user has changed
    leads to them while they can take it back.
    """
    sources: list[tuple[Any, Any, tuple[ColumnElement[bool], ...]]] = [
        (col(Credential.email), col(Credential.user_id), ()),
        (col(MergedEmail.email), col(MergedEmail.user_id), ()),
        (col(EmailChange.old_email), col(EmailChange.user_id), can_be_undone()),
    ]
    owners = union(
        *(
            select(email.label("email"), user_id.label("user_id")).where(email.in_(addresses), *conditions)
            for email, user_id, conditions in sources
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


async def create_stand_in(session: AsyncSession, email: str, *, field: str) -> Collective:
    """Create a user who stands for whoever has an address, in a dry run, which must not tell who that is.

    Raises:
        Invalid: this is not an email address.
    """
    require_email(email, field=field)
    platform = select(col(Collective.id)).where(col(Collective.is_platform))
    user = _new_unclaimed_user((await session.execute(platform)).scalar_one_or_none())
    session.add(user)
    await session.flush()
    return user


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
