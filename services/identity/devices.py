"""The browsers in which a user has signed in, each recognised by a cookie that is a random key."""

import re
import secrets
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Device, Token, new_id, now
from models.enums import TokenKind
from services.access.actor import hash_token

_KEY = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class KnownDevice:
    """A device of a user, and whether this sign-in is its first."""

    id: UUID
    is_first: bool


@dataclass(frozen=True)
class Acquaintance:
    """What is known of a user's earlier sign-ins."""

    has_signed_in: bool
    has_devices: bool
    knows_program: bool
    """True if a program of this name has signed in from this network."""

    def is_news(self, *, is_first: bool | None) -> bool:
        """True if the user is to be told; `is_first` is None for a program that keeps no cookie.

        A browser known by name and network from the time before it had a cookie is no news.
        """
        if not self.has_signed_in:
            return False
        if is_first is None:
            return not self.knows_program
        return is_first and (self.has_devices or not self.knows_program)


def new_key() -> str:
    """Return the key of a new device: 256 random bits."""
    return secrets.token_urlsafe(32)


def is_key(text: str | None) -> bool:
    """True for a text that `new_key` may have returned."""
    return text is not None and _KEY.fullmatch(text) is not None


async def remember(
    session: AsyncSession, user_id: UUID, *, key: str, name: str | None, network: str | None
) -> KnownDevice:
    """Note that a user signs in with a device; of two sign-ins at once one is the first.

    The device's earlier sessions of the user end: a browser keeps one.
    """
    values = {"name": name, "network": network, "last_used_at": now()}
    row = insert(Device).values(id=new_id(), user_id=user_id, key_hash=hash_token(key), **values)
    added = row.on_conflict_do_nothing(index_elements=["user_id", "key_hash"]).returning(col(Device.id))
    if (device_id := (await session.execute(added)).scalar_one_or_none()) is not None:
        return KnownDevice(device_id, is_first=True)
    used = (
        update(Device)
        .where(col(Device.user_id) == user_id, col(Device.key_hash) == hash_token(key))
        .values(**values)
    )
    known_id: UUID = (await session.execute(used.returning(col(Device.id)))).scalar_one()
    await session.execute(
        update(Token)
        .where(
            col(Token.device_id) == known_id,
            col(Token.kind) == TokenKind.SESSION,
            col(Token.revoked_at).is_(None),
        )
        .values(revoked_at=now())
    )
    return KnownDevice(known_id, is_first=False)


async def load_acquaintance(
    session: AsyncSession, user_id: UUID, *, name: str | None, network: str | None
) -> Acquaintance:
    """Load what is known of a user's earlier sign-ins; one statement."""
    of_user = (col(Token.user_id) == user_id, col(Token.kind) == TokenKind.SESSION)
    by_person = or_(col(Token.network).is_not(None), col(Token.device_id).is_not(None))
    same = (col(Token.network) == network, col(Token.device).is_not_distinct_from(name))
    statement = select(
        exists().where(*of_user, by_person),
        exists().where(col(Device.user_id) == user_id),
        exists().where(*of_user, *same),
    )
    has_signed_in, has_devices, knows_program = (await session.execute(statement)).one()
    return Acquaintance(has_signed_in, has_devices, knows_program)
