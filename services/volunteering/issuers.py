"""Issuers of currents: approved nonprofits and their caps, and the platform's bonus."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Integer,
    Select,
    Text,
    any_,
    case,
    exists,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, IssuanceCap, MergedEmail, Order, OrderAction, now
from models.enums import (
    CapPeriod,
    CollectiveType,
    LedgerAccountKind,
    OrderActionType,
    OrderStatus,
    OrderType,
    TransactionKind,
)
from services.access.actor import ANONYMOUS, Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, require
from services.collectives import collectives, platform_policy
from services.core import user_text
from services.core.errors import Invalid, InvalidState, LimitExceeded
from services.core.gradual_change import require_future
from services.core.money import UncheckedAmount, to_minor_or_zero
from services.core.pagination import Sort
from services.database import fetch
from services.database.constraint_errors import problem_for
from services.identity import authentication, identities
from services.identity.oidc_providers import Claims, Provider
from services.identity.sessions import NewSession, Origin
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.orders import claimed_givers
from services.orders.history import creation_step, history_step, insert_order
from services.round_trips import effects
from services.round_trips.records import new_record

_SERVER = Actor()


def require_issuer(nonprofit: Collective, *, field: str) -> None:
    """Require that the nonprofit may issue currents.

    Raises:
        Invalid: it is not a nonprofit.
        InvalidState: it is archived, or no platform admin has approved it as an issuer.
    """
    require_open(nonprofit, field=field)
    if nonprofit.type != CollectiveType.NONPROFIT:
        raise Invalid("Only nonprofits can issue currents.", field=field)
    if nonprofit.issuer_approved_at is None:
        raise InvalidState(f"{nonprofit.slug} is not approved to issue currents.", field=field)


async def decide(
    session: AsyncSession, actor: Actor, *, nonprofit: CollectiveKey, approve: bool, reason: str | None = None
) -> Collective:
    """Approve a nonprofit as an issuer of currents, or decline or revoke that. Locks: its row.

    Repeating a decision changes nothing.

    Raises:
        Invalid: it is not a nonprofit, or it is declined without a reason.
        InvalidState: an archived nonprofit cannot be approved.
    """
    row = await _require_nonprofit(session, actor, nonprofit, action=Action.DECIDE_ISSUER)
    if approve:
        require_open(row, field="nonprofit")
    reason = user_text.clean_text(reason, field="reason", max_length=1000)
    if not approve and not reason:
        raise Invalid("Enter a reason for declining.", field="reason")
    await collectives.lock(session, row.id)
    await session.refresh(row)
    row.issuer_approved_at = (row.issuer_approved_at or now()) if approve else None
    row.updated_at = now()
    session.add(row)
    await session.flush()
    await outbox.mail_admins(
        session,
        collective_ids=[row.id],
        template="issuer_decision",
        except_id=actor.id,
        payload={"nonprofit": row.name, "approved": approve, "reason": reason},
    )
    return row


async def _require_nonprofit(
    session: AsyncSession, actor: Actor, ref: CollectiveKey, *, action: Action
) -> Collective:
    row = require_collective(await resolve_one(session, actor, ref, name="nonprofit"))
    require(actor, action)
    if row.type != CollectiveType.NONPROFIT:
        raise Invalid("Only nonprofits can issue currents.", field="nonprofit")
    return row


async def set_cap(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: CollectiveKey,
    period: CapPeriod,
    amount: UncheckedAmount | None,
    valid_from: datetime | None = None,
) -> IssuanceCap:
    """Cap a nonprofit's issuance per period from a time (default: now); None lifts the cap.

    Caps of other periods stay. Currents issued earlier in the period count.

    Raises:
        Invalid: it is not a nonprofit, the amount is not in CUR, or the start is in the past.
    """
    row = await _require_nonprofit(session, actor, nonprofit, action=Action.SET_ISSUANCE_CAP)
    require_future(valid_from)
    amount_minor = None
    if amount is not None:
        amount_minor = to_minor_or_zero(amount, field="amount", currency=CURRENTS)
    cap = IssuanceCap(
        nonprofit_id=row.id,
        period=period,
        amount_minor=amount_minor,
        valid_from=valid_from or now(),
        created_by_id=actor.id,
    )
    session.add(cap)
    await session.flush()
    return cap


_PLACES = {period.value: place for place, period in enumerate(CapPeriod)}
_PLACE: Any = case(_PLACES, value=col(IssuanceCap.period))
_SHORTEST: Any = literal_column("place", Integer)
CAPS_SHORTEST = Sort("CAPS_SHORTEST", _SHORTEST, _SHORTEST, descending=False)


def select_caps(actor: Actor, *, where: object = None, owner: Any, at: Any = None) -> tuple[Select[Any]]:
    """Select the caps of a nonprofit at a moment, by default the present one. Public.

    An issuer for which the platform has set no cap has the policy's.
    """
    del actor, where  # everybody sees them, and they have no conditions
    at = func.now() if at is None else at
    columns = (col(IssuanceCap.nonprofit_id), col(IssuanceCap.period))
    newest = (
        select(*columns, col(IssuanceCap.amount_minor), col(IssuanceCap.valid_from), _PLACE.label("place"))
        .where(col(IssuanceCap.nonprofit_id) == owner, col(IssuanceCap.valid_from) <= at)
        .ext(distinct_on(*columns))
        .order_by(*columns, col(IssuanceCap.valid_from).desc(), col(IssuanceCap.id).desc())
        .subquery("newest")
    )
    has_cap = select(col(IssuanceCap.id)).where(
        col(IssuanceCap.nonprofit_id) == Collective.id, col(IssuanceCap.valid_from) <= at
    )
    policy = platform_policy.select_valid(at).subquery("policy")
    month = literal_column(f"'{CapPeriod.MONTH}'", Text)
    usual = (
        select(
            col(Collective.id),
            month,
            policy.c.default_issuance_cap_minor,
            policy.c.valid_from,
            literal_column(str(_PLACES[CapPeriod.MONTH.value]), Integer),
        )
        .select_from(Collective)
        .join(policy, true())
        .where(
            col(Collective.id) == owner,
            col(Collective.issuer_approved_at).is_not(None),
            col(Collective.is_platform).is_(False),
            ~has_cap.exists(),
        )
    )
    present = select(newest).where(newest.c.amount_minor.is_not(None))
    return (select(union_all(present, usual).subquery("caps")),)


async def load_caps(session: AsyncSession, *, nonprofit_ids: Sequence[UUID]) -> dict[UUID, list[IssuanceCap]]:
    """Load the present caps by nonprofit, the shortest period first; one statement."""
    owner = any_(fetch.ids_parameter("nonprofit_ids", nonprofit_ids))
    (statement,) = select_caps(ANONYMOUS, owner=owner, at=now())
    caps_by_nonprofit: dict[UUID, list[IssuanceCap]] = {row_id: [] for row_id in nonprofit_ids}
    for *columns, _ in await session.execute(statement.order_by(CAPS_SHORTEST.key)):
        cap = IssuanceCap(**dict(zip(_CAP_COLUMNS, columns, strict=True)))
        caps_by_nonprofit[cap.nonprofit_id].append(cap)
    return caps_by_nonprofit


_CAP_COLUMNS = ("nonprofit_id", "period", "amount_minor", "valid_from")


async def claim_account(
    session: AsyncSession, actor: Actor, *, token: str, password_hash: str, origin: Origin
) -> NewSession:
    """Verify an address by `authentication.verify_email`; a newly claimed user gets the bonus.

    Raises:
        NotFound: the token is unknown, used or expired.
    """
    started = await authentication.verify_email(
        session, actor, token=token, password_hash=password_hash, origin=origin
    )
    await _welcome(session, started)
    return started


async def claim_with_identity(
    session: AsyncSession, actor: Actor, *, address: str, claims: Claims, provider: Provider, origin: Origin
) -> NewSession:
    """Sign up by `authentication.claim_proved_address`, with the identity that proved the address.

    Raises:
        InvalidState: the address has been verified meanwhile.
    """
    del actor
    started = await authentication.claim_proved_address(
        session, address=address, name=_name_of(claims), origin=origin
    )
    await identities.link(
        session,
        started.user,
        issuer=claims.issuer,
        subject=claims.subject,
        email=claims.email,
        provider=provider.label,
    )
    await _welcome(session, started)
    return started


def _name_of(claims: Claims) -> str | None:
    try:
        return user_text.require_name(claims.name, field="name")
    except Invalid:
        return None


async def _welcome(session: AsyncSession, started: NewSession) -> None:
    if started.is_claimed_now:
        await give_bonus(
            session, user=started.user, platform_id=await platform_policy.load_platform_id(session)
        )
        await claimed_givers.confirm_gifts(session, started.user)


async def give_bonus(session: AsyncSession, *, user: Collective, platform_id: UUID) -> Order | None:
    """Give a user the policy's bonus, once; None if there is no bonus or the user had it.

    There is no bonus either once the platform's own issuance cap is reached; that keeps nobody from signing
    up. Locks: the platform's ISSUANCE account and the user's balance.
    """
    policy = await platform_policy.load_policy(session)
    if policy.signup_bonus_minor == 0 or user.archived_at is not None:
        return None
    if await _has_absorbed_another(session, user.id) and await _has_had_bonus(session, user.id):
        return None
    order = new_record(
        Order,
        type=OrderType.BONUS,
        status=OrderStatus.PAID,
        from_id=platform_id,
        to_id=user.id,
        currency=CURRENTS,
        amount=policy.signup_bonus_minor,
        policy_id=policy.id,
        has_public_side=False,
    )
    try:
        async with session.begin_nested():
            await insert_order(session, order, _paid_steps(order))
            await posting.post_currents(
                session,
                order=order,
                platform_id=platform_id,
                kind=TransactionKind.BONUS,
                kind_from=LedgerAccountKind.ISSUANCE,
            )
            await effects.flush(session)
    except DBAPIError as error:
        if not isinstance(problem_for(error), LimitExceeded):
            raise
        return None
    return order


def _paid_steps(order: Order) -> list[OrderAction]:
    """Build the history of an order that the server creates and pays in one step."""
    return [
        creation_step(order),
        history_step(order, OrderActionType.PAY, _SERVER, from_status=OrderStatus.PENDING),
    ]


async def _has_absorbed_another(session: AsyncSession, user_id: UUID) -> bool:
    """True if a user with a verified address was merged into this one (`MergedEmail`)."""
    has_merged_email = exists().where(col(MergedEmail.user_id) == user_id)
    return bool((await session.execute(select(has_merged_email))).scalar_one())


async def _has_had_bonus(session: AsyncSession, user_id: UUID) -> bool:
    """True if the user, or a user merged into this one, had the bonus."""
    merged = select(col(Collective.id)).where(col(Collective.id) == user_id).cte("merged", recursive=True)
    merged = merged.union(select(col(Collective.id)).where(col(Collective.merged_into_id) == merged.c.id))
    has_bonus = exists().where(col(Order.type) == OrderType.BONUS, col(Order.to_id).in_(select(merged.c.id)))
    return bool((await session.execute(select(has_bonus))).scalar_one())
