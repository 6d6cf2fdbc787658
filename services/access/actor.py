"""The actor of an operation: the user of a bearer token, with the user's open roles."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    cast,
    exists,
    func,
    inspect,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Member, PlatformPolicy, Token, ViewerVersion, now
from models.enums import CollectiveType, MemberRole, Proof, ProviderName, TokenKind
from services.access import act_origin, factors
from services.core.errors import Unauthenticated
from services.round_trips import effects
from services.round_trips.operation_session import operation_of
from services.round_trips.pipelines import Call, compile_statement
from services.round_trips.records import split_records


@dataclass(frozen=True, kw_only=True)
class Actor:
    """The viewer of an operation; anonymous without a user."""

    user: Collective | None = None
    token_id: UUID | None = None
    token_hash: bytes = b""
    fingerprint: str | None = None
    """A text that differs once anything that the actor was loaded from has changed."""
    version: int = 0
    """A number that differs once the token or what the user may read has changed."""
    expires_at: datetime | None = None
    """Expiry of the token."""
    is_touch_due: bool = False
    """True if the use of the token is to be noted."""
    scopes: frozenset[str] | None = None
    """Scopes of an access token; None for a session, which allows everything."""
    roles: dict[UUID, frozenset[str]] = field(default_factory=dict)
    """Open roles by collective."""
    public_ids: frozenset[UUID] = frozenset()
    """Those that everybody may see: a query need not be told of them, and they may be thousands."""
    dormant_ids: frozenset[UUID] = frozenset()
    """Collectives of which the user is an ADMIN who lacks the second factor that they require."""
    confirmed_at: datetime | None = None
    """When the user last showed, in this session, who they are."""
    ways: tuple[Proof, ...] = (Proof.PASSWORD,)
    """The ways in which the user can show it again."""
    platform_id: UUID | None = None
    platform_fee_bps: int = 0
    providers: tuple[tuple[ProviderName, bool], ...] = ()
    """The payment providers that the settings offer, and whether each collects money: it is live."""
    identity_providers: tuple[tuple[str, str, str], ...] = ()
    """The issuers of the identities with which people can sign in, and the providers' names and labels."""
    query_values: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What queries were told of the actor, as the driver takes it: a viewer from the cache is told again."""

    @property
    def kind(self) -> str:
        """Form that the visibility predicates take for the actor, as `VIEWER_KINDS` lists them."""
        if self.user is None:
            return "anonymous"
        if self.is_platform_accountant:
            return "platform"
        return "reader" if self.reads_others else "person"

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

    @property
    def with_dormant_roles(self) -> Self:
        """The same user with the second factor that some collectives require."""
        roles = {i: self.roles.get(i, frozenset()) | {MemberRole.ADMIN} for i in self.dormant_ids}
        return replace(self, roles=self.roles | roles, dormant_ids=frozenset())

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
    def reads_others(self) -> bool:
        """True if the user may read what is a collective's alone, of one other than the user."""
        own_id = self.id
        return any(i != own_id and not held.isdisjoint(READER_ROLES) for i, held in self.roles.items())

    @property
    def is_platform_admin(self) -> bool:
        """True if the user is an ADMIN of the platform."""
        return self.platform_id is not None and MemberRole.ADMIN in self.roles.get(
            self.platform_id, frozenset()
        )

    @property
    def is_platform_accountant(self) -> bool:
        """True if the user may read everything, as an ADMIN or ACCOUNTANT of the platform."""
        roles = frozenset() if self.platform_id is None else self.roles.get(self.platform_id, frozenset())
        return not roles.isdisjoint(READER_ROLES)


ANONYMOUS = Actor()
READER_ROLES = (MemberRole.ADMIN, MemberRole.ACCOUNTANT)
"""The roles that read what is a collective's alone."""
VIEWER_KINDS = ("anonymous", "person", "reader", "platform")
"""The values of `Actor.kind`: a person reads their own alone, a reader what is other collectives', too."""
TOKEN_PARAMETER = "token_hash"  # noqa: S105 - the name of a parameter
"""Parameter that holds the hash of the viewer's token."""
_ROLE_OF = aliased(Collective, name="role_of")
IDLE_END = timedelta(days=14)
TOUCH_EVERY = timedelta(hours=1)


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


def is_valid_token() -> list[ColumnElement[bool]]:
    """Build the conditions of a token that works: a session that nobody used for 14 days does not."""
    return [
        col(Token.revoked_at).is_(None),
        col(Token.expires_at) > func.now(),
        or_(col(Token.kind) != TokenKind.SESSION, col(Token.last_used_at) > func.now() - IDLE_END),
    ]


async def touch(session: AsyncSession, *, token_id: UUID) -> None:
    """Note that a token is used, unless another request has just done so."""
    await session.execute(
        update(Token)
        .where(col(Token.id) == token_id, col(Token.last_used_at) < func.now() - TOUCH_EVERY)
        .values(last_used_at=func.now())
    )


def _select_role_versions() -> list[Any]:
    """Select what differs once an open role has changed: faster than writing and sorting all of them.

    A row that is new or changed was written by another transaction. Its number is hashed, for the sum of the
    numbers alone could be the same by chance.
    """
    version = func.sum(func.hashint8extended(literal_column("member.xmin::text::bigint"), 0))
    required = func.hashtextextended(cast(col(Member.collective_id), Text), 0)
    return [
        func.count().label("count"),
        version.label("version"),
        func.sum(required).filter(factors.needs_factor()).label("required"),
    ]


def select_version(user_id: Any) -> ColumnElement[int]:
    """Build the number that the database raises with each change of what a user's tokens may do."""
    version = select(col(ViewerVersion.version)).where(col(ViewerVersion.user_id) == user_id)
    return func.coalesce(version.scalar_subquery(), literal_column("0"))


def _is_of_public() -> ColumnElement[bool]:
    """Build the condition that everybody may see the collective of a role."""
    is_it = col(_ROLE_OF.id) == Member.collective_id
    return exists().where(is_it, col(_ROLE_OF.is_public)).correlate(Member)


def _select_by_token(*entities: Any, fingerprint_only: bool = False) -> Select[Any]:
    """Select the entities or their columns, what an actor is made of, and the fingerprint; or that alone."""
    role_facts: list[Any] = [
        func.array_agg(aggregate_order_by(col(Member.collective_id), col(Member.id))).label("ids"),
        func.array_agg(aggregate_order_by(col(Member.role), col(Member.id))).label("roles"),
        func.array_agg(col(Member.collective_id)).filter(factors.needs_factor()).label("requiring"),
        func.array_agg(col(Member.collective_id)).filter(_is_of_public()).label("public"),
    ]
    open_roles = (
        select(*([] if fingerprint_only else role_facts), *_select_role_versions())
        .where(col(Member.member_id) == Collective.id, col(Member.until).is_(None))
        .lateral()
    )
    platform = select(col(Collective.id)).where(col(Collective.is_platform)).correlate(None).scalar_subquery()
    others: list[Any] = [
        *(factors.has_totp(col(Collective.id)), factors.has_passkey(col(Collective.id))),
        *(platform, select_platform_fee_bps()),
    ]
    versions: tuple[Any, ...] = (
        literal_column("collective.xmin"),
        col(Collective.updated_at),
        literal_column("token.xmin"),
        *(open_roles.c.count, open_roles.c.version, open_roles.c.required),
    )
    fingerprint = func.concat_ws("|", *versions, *others).label("fingerprint")
    version = select_version(col(Collective.id)).label("viewer_version")
    columns: list[Any] = [fingerprint]
    if not fingerprint_only:
        roles = [open_roles.c[name] for name in ("ids", "roles", "requiring", "public")]
        columns = [*entities, *others, fingerprint, version, *roles]
    return (
        select(*columns)
        .select_from(Collective)
        .join(Token, col(Token.user_id) == Collective.id)
        .join(open_roles, onclause=true())
        .where(
            col(Token.token_hash) == bindparam(TOKEN_PARAMETER, None, type_=LargeBinary),
            *is_valid_token(),
        )
    )


def select_fingerprint() -> Select[Any]:
    """Select the fingerprint of the viewer by the token's hash; no row if the token does not work."""
    return _select_by_token(fingerprint_only=True)


# Built once at import: every signed-in request runs it, and building it took longer than running it.
_ACTOR_BY_TOKEN = _select_by_token(Collective, Token)
_ACTOR_NAMED_BY_TOKEN = compile_statement(
    _select_by_token(*inspect(Collective).local_table.c, *inspect(Token).local_table.c).add_columns(
        act_origin.naming(col(Collective.id), token_id=col(Token.id), token_kind=col(Token.kind))
    )
)


async def load(session: AsyncSession, *, token: str) -> Actor:
    """Load the actor of a bearer token, in one statement, which names the actor of a mutation's acts, too.

    Raises:
        Unauthenticated: the token is unknown, expired or revoked.
    """
    parameters: dict[str, Any] = {TOKEN_PARAMETER: hash_token(token)}
    origin = operation_of(session).act_origin
    row: Sequence[Any] | None
    if origin is None:
        row = (await session.execute(_ACTOR_BY_TOKEN, parameters)).one_or_none()
    else:
        (rows,) = await effects.fetch(session, Call(_ACTOR_NAMED_BY_TOKEN, parameters | origin.parameters))
        row = split_records((Collective, Token), rows[0]) if rows else None
    if row is None:
        raise Unauthenticated("The token is not valid; sign in again.")
    return _build_actor(row)


def _build_actor(row: Sequence[Any]) -> Actor:
    user, token_row, totp, passkey, platform_id, fee_bps, fingerprint, version, *of_roles = row
    ids, roles, requiring, public, *_ = of_roles
    dormant_ids = frozenset() if totp or passkey else frozenset(requiring or ())
    return Actor(
        user=user,
        token_id=token_row.id,
        token_hash=token_row.token_hash,
        fingerprint=fingerprint,
        version=version,
        expires_at=token_row.expires_at,
        is_touch_due=token_row.last_used_at < now() - TOUCH_EVERY,
        scopes=None if token_row.kind == TokenKind.SESSION else frozenset(token_row.scopes),
        roles=_group_roles(ids or [], roles or [], dormant_ids),
        public_ids=frozenset(public or ()),
        dormant_ids=dormant_ids,
        confirmed_at=token_row.confirmed_at,
        ways=factors.list_ways(totp=totp, passkey=passkey),
        platform_id=platform_id,
        platform_fee_bps=fee_bps or 0,
    )


def _group_roles(
    ids: list[UUID], roles: list[str], dormant_ids: frozenset[UUID]
) -> dict[UUID, frozenset[str]]:
    """Return the roles by collective; an ADMIN without the required factor reads as an ACCOUNTANT does."""
    roles_by_id: dict[UUID, set[str]] = {}
    for collective_id, role in zip(ids, roles, strict=True):
        is_dormant = role == MemberRole.ADMIN and collective_id in dormant_ids
        roles_by_id.setdefault(collective_id, set()).add(MemberRole.ACCOUNTANT if is_dormant else role)
    return {collective_id: frozenset(names) for collective_id, names in roles_by_id.items()}
