"""Who is asking: from a bearer token to a user with open roles."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ScalarSelect, Select, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member, PlatformPolicy, Token, now
from models.enums import CollectiveType, MemberRole, TokenKind
from services.core.errors import Unauthenticated


@dataclass(frozen=True, kw_only=True)
class Actor:
    """The viewer of an operation; without a user, anonymous."""

    user: Collective | None = None
    token_id: UUID | None = None
    expires_at: datetime | None = None
    """When the token ends."""
    scopes: frozenset[str] | None = None
    """What an access token allows; None allows everything."""
    roles: dict[UUID, frozenset[str]] = field(default_factory=dict)
    """Open roles by collective."""
    platform_id: UUID | None = None
    platform_fee_bps: int = 0

    @property
    def kind(self) -> str:
        """Which form the predicates of visibility have: nobody's, a person's, or a reader's of everything."""
        if self.user is None:
            return "anonymous"
        return "platform" if self.is_platform_accountant else "person"

    @property
    def id(self) -> UUID | None:
        """The user's collective."""
        return self.user.id if self.user else None

    def holds(self, collective: Collective | None, *roles: MemberRole) -> bool:
        """Whether the user is the collective, or has one of the roles in it or in an event's parent."""
        if collective is None or self.user is None:
            return False
        if collective.id == self.user.id:
            return True
        held = self.roles.get(collective.id, frozenset())
        if collective.type == CollectiveType.EVENT and collective.parent_id is not None:
            held |= self.roles.get(collective.parent_id, frozenset())
        return not held.isdisjoint(roles)

    def is_admin(self, collective: Collective | None) -> bool:
        """Whether the user acts for the collective."""
        return self.holds(collective, MemberRole.ADMIN)

    def gains(self, collective_id: UUID, role: MemberRole) -> None:
        """Note a role that the operation itself gave the user, for the fields that follow."""
        held = self.roles.get(collective_id, frozenset())
        self.roles[collective_id] = held | {role}

    def loses(self, collective_id: UUID, role: MemberRole) -> None:
        """Note a role that the operation itself ended, for the fields that follow."""
        held = self.roles.pop(collective_id, frozenset()) - {role}
        if held:  # who has no role left is no member, and sees as one who never was
            self.roles[collective_id] = held

    def with_role(self, *roles: MemberRole) -> list[UUID]:
        """Return the collectives in which the user has one of the roles, the user itself first."""
        if self.user is None:
            return []
        return [self.user.id] + [
            collective for collective, held in self.roles.items() if not held.isdisjoint(roles)
        ]

    @property
    def is_platform_admin(self) -> bool:
        """Whether the user acts for the platform."""
        return self.platform_id is not None and MemberRole.ADMIN in self.roles.get(
            self.platform_id, frozenset()
        )

    @property
    def is_platform_accountant(self) -> bool:
        """Whether the user may read everything: an ADMIN or ACCOUNTANT of the platform."""
        return self.platform_id is not None and not self.roles.get(self.platform_id, frozenset()).isdisjoint(
            {MemberRole.ADMIN, MemberRole.ACCOUNTANT}
        )


ANONYMOUS = Actor()


def token_hash(token: str) -> bytes:
    """Return what is stored of a token. Its 256 random bits need no salt."""
    return hashlib.sha256(token.encode()).digest()


def latest_fee_bps() -> ScalarSelect[int]:
    """Return the scalar subquery of the platform's fee now."""
    return (
        select(col(PlatformPolicy.platform_fee_bps))
        .where(col(PlatformPolicy.valid_from) <= func.now())
        .order_by(col(PlatformPolicy.valid_from).desc(), col(PlatformPolicy.id).desc())
        .limit(1)
        .scalar_subquery()
    )


def _by_token() -> Select[Any]:
    open_roles = (
        select(
            func.array_agg(aggregate_order_by(col(Member.collective_id), col(Member.id))).label("ids"),
            func.array_agg(aggregate_order_by(col(Member.role), col(Member.id))).label("roles"),
        )
        .where(col(Member.member_id) == Collective.id, col(Member.until).is_(None))
        .lateral()
    )
    platform = select(col(Collective.id)).where(col(Collective.is_platform)).correlate(None).scalar_subquery()
    return (
        select(Collective, Token, open_roles.c.ids, open_roles.c.roles, platform, latest_fee_bps())
        .join(Token, col(Token.user_id) == Collective.id)
        .join(open_roles, onclause=true())
        .where(
            col(Token.token_hash) == bindparam("token_hash"),
            col(Token.revoked_at).is_(None),
            col(Token.expires_at) > bindparam("moment"),
        )
    )


# Made once: every request runs it, and putting it together took longer than the database needs.
_BY_TOKEN = _by_token()


async def load(session: AsyncSession, *, token: str) -> Actor:
    """Return the actor of a bearer token, in one statement.

    Raises:
        Unauthenticated: the token is unknown, expired or revoked.
    """
    found = await session.execute(_BY_TOKEN, {"token_hash": token_hash(token), "moment": now()})
    row = found.one_or_none()
    if row is None:
        raise Unauthenticated("The token is not valid; sign in again")
    user, stored, ids, roles, platform_id, fee_bps = row
    return Actor(
        user=user,
        token_id=stored.id,
        expires_at=stored.expires_at,
        scopes=None if stored.kind == TokenKind.SESSION else frozenset(stored.scopes),
        roles=_by_collective(ids or [], roles or []),
        platform_id=platform_id,
        platform_fee_bps=fee_bps or 0,
    )


def _by_collective(ids: list[UUID], roles: list[str]) -> dict[UUID, frozenset[str]]:
    held: dict[UUID, set[str]] = {}
    for collective_id, role in zip(ids, roles, strict=True):
        held.setdefault(collective_id, set()).add(role)
    return {collective_id: frozenset(names) for collective_id, names in held.items()}
