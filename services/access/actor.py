"""The actor of an operation: the user of a bearer token, with the user's open roles."""

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
    """The viewer of an operation; anonymous without a user."""

    user: Collective | None = None
    token_id: UUID | None = None
    expires_at: datetime | None = None
    """Expiry of the token."""
    scopes: frozenset[str] | None = None
    """Scopes of an access token; None for a session, which allows everything."""
    roles: dict[UUID, frozenset[str]] = field(default_factory=dict)
    """Open roles by collective."""
    platform_id: UUID | None = None
    platform_fee_bps: int = 0

    @property
    def kind(self) -> str:
        """Form that the visibility predicates take for the actor: anonymous, person or platform."""
        if self.user is None:
            return "anonymous"
        return "platform" if self.is_platform_accountant else "person"

    @property
    def id(self) -> UUID | None:
        """Id of the user's collective."""
        return self.user.id if self.user else None

    def has_role_in(self, collective: Collective | None, *roles: MemberRole) -> bool:
        """True if the user is the collective, or has one of the roles in it or in an event's parent."""
        if collective is None or self.user is None:
            return False
        if collective.id == self.user.id:
            return True
        user_roles = self.roles.get(collective.id, frozenset())
        if collective.type == CollectiveType.EVENT and collective.parent_id is not None:
            user_roles |= self.roles.get(collective.parent_id, frozenset())
        return not user_roles.isdisjoint(roles)

    def is_admin(self, collective: Collective | None) -> bool:
        """True if the user may act for the collective."""
        return self.has_role_in(collective, MemberRole.ADMIN)

    def grant(self, collective_id: UUID, role: MemberRole) -> None:
        """Add a role that this operation gave the user, so that fields resolved later see it."""
        self.roles[collective_id] = self.roles.get(collective_id, frozenset()) | {role}

    def revoke(self, collective_id: UUID, role: MemberRole) -> None:
        """Remove a role that this operation ended, so that fields resolved later do not see it."""
        remaining = self.roles.pop(collective_id, frozenset()) - {role}
        if remaining:  # a key without roles would still count as a membership in `visibility`
            self.roles[collective_id] = remaining

    def collective_ids_with_role(self, *roles: MemberRole) -> list[UUID]:
        """Return the ids of collectives with one of the roles of the user, the user's own id first."""
        if self.user is None:
            return []
        return [self.user.id] + [
            collective_id for collective_id, held in self.roles.items() if not held.isdisjoint(roles)
        ]

    @property
    def is_platform_admin(self) -> bool:
        """True if the user is an ADMIN of the platform."""
        return self.platform_id is not None and MemberRole.ADMIN in self.roles.get(
            self.platform_id, frozenset()
        )

    @property
    def is_platform_accountant(self) -> bool:
        """True if the user may read everything, as an ADMIN or ACCOUNTANT of the platform."""
        return self.platform_id is not None and not self.roles.get(self.platform_id, frozenset()).isdisjoint(
            {MemberRole.ADMIN, MemberRole.ACCOUNTANT}
        )


ANONYMOUS = Actor()


def hash_token(token: str) -> bytes:
    """Return the hash under which a token is stored; its 256 random bits need no salt."""
    return hashlib.sha256(token.encode()).digest()


def select_platform_fee_bps() -> ScalarSelect[int]:
    """Build the scalar subquery of the platform's current fee."""
    return (
        select(col(PlatformPolicy.platform_fee_bps))
        .where(col(PlatformPolicy.valid_from) <= func.now())
        .order_by(col(PlatformPolicy.valid_from).desc(), col(PlatformPolicy.id).desc())
        .limit(1)
        .scalar_subquery()
    )


def _select_by_token() -> Select[Any]:
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
        select(Collective, Token, open_roles.c.ids, open_roles.c.roles, platform, select_platform_fee_bps())
        .join(Token, col(Token.user_id) == Collective.id)
        .join(open_roles, onclause=true())
        .where(
            col(Token.token_hash) == bindparam("token_hash"),
            col(Token.revoked_at).is_(None),
            col(Token.expires_at) > bindparam("now"),
        )
    )


# Built once at import: every signed-in request runs it, and building it took longer than running it.
_ACTOR_BY_TOKEN = _select_by_token()


async def load(session: AsyncSession, *, token: str) -> Actor:
    """Load the actor of a bearer token, in one statement.

    Raises:
        Unauthenticated: the token is unknown, expired or revoked.
    """
    result = await session.execute(_ACTOR_BY_TOKEN, {"token_hash": hash_token(token), "now": now()})
    row = result.one_or_none()
    if row is None:
        raise Unauthenticated("The token is not valid; sign in again.")
    user, token_row, ids, roles, platform_id, fee_bps = row
    return Actor(
        user=user,
        token_id=token_row.id,
        expires_at=token_row.expires_at,
        scopes=None if token_row.kind == TokenKind.SESSION else frozenset(token_row.scopes),
        roles=_group_roles(ids or [], roles or []),
        platform_id=platform_id,
        platform_fee_bps=fee_bps or 0,
    )


def _group_roles(ids: list[UUID], roles: list[str]) -> dict[UUID, frozenset[str]]:
    roles_by_id: dict[UUID, set[str]] = {}
    for collective_id, role in zip(ids, roles, strict=True):
        roles_by_id.setdefault(collective_id, set()).add(role)
    return {collective_id: frozenset(names) for collective_id, names in roles_by_id.items()}
