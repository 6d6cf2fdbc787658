"""Who issues currents: nonprofits that the platform approves, within caps; and the platform's own bonus."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
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
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve_one
from services.access.permissions import Action, require
from services.collectives import collectives, platform_policy
from services.core import user_text
from services.core.errors import Invalid, LimitExceeded
from services.core.money import AskedAmount, to_minor_or_zero
from services.database.constraint_errors import problem_of
from services.identity import authentication
from services.identity.authentication import SignedIn
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.orders.base import action, created, insert_order

_SERVER = Actor()


async def decide(
    session: AsyncSession, actor: Actor, *, nonprofit: Ref, approve: bool, reason: str | None = None
) -> Collective:
    """Let a nonprofit issue currents, or no more; one that is as decided stays so. Locks: its row.

    Raises:
        Invalid: it is no nonprofit, or a no has no reason.
        InvalidState: it is archived.
    """
    row = await _nonprofit(session, actor, nonprofit, action=Action.DECIDE_ISSUER)
    if approve:
        require_open(row, path=["input", "nonprofit"])
    why = user_text.clean(reason, path=["input", "reason"], max_length=1000)
    if not approve and not why:
        raise Invalid("A refusal needs a reason", path=["input", "reason"])
    await collectives.lock(session, row.id)
    await session.refresh(row)
    row.issuer_approved_at = (row.issuer_approved_at or now()) if approve else None
    row.updated_at = now()
    session.add(row)
    await session.flush()
    await outbox.to_admins(
        session,
        collective_ids=[row.id],
        template="issuer_decision",
        except_id=actor.id,
        payload={"nonprofit": row.name, "approved": approve, "reason": why},
    )
    return row


async def _nonprofit(session: AsyncSession, actor: Actor, ref: Ref, *, action: Action) -> Collective:
    row = named(await resolve_one(session, actor, ref, name="nonprofit"))
    require(actor, action)
    if row.type != CollectiveType.NONPROFIT:
        raise Invalid("Only a nonprofit issues currents", path=["input", "nonprofit"])
    return row


async def set_cap(
    session: AsyncSession,
    actor: Actor,
    *,
    nonprofit: Ref,
    period: CapPeriod,
    amount: AskedAmount | None,
    valid_from: datetime | None = None,
) -> IssuanceCap:
    """Cap what a nonprofit issues in each period, from a moment on (now); no amount lifts that cap.

    The cap of another period stays. What was issued before in the period counts.

    Raises:
        Invalid: it is no nonprofit, the amount is not in CUR, or the moment has passed.
    """
    row = await _nonprofit(session, actor, nonprofit, action=Action.SET_ISSUANCE_CAP)
    platform_policy.require_future(valid_from)
    minor = None
    if amount is not None:
        minor = to_minor_or_zero(amount, path=["input", "amount"], currency=CURRENTS)
    cap = IssuanceCap(
        nonprofit_id=row.id,
        period=period,
        amount_minor=minor,
        valid_from=valid_from or now(),
        created_by_id=actor.id,
    )
    session.add(cap)
    await session.flush()
    return cap


async def caps_of(session: AsyncSession, *, nonprofit_ids: Sequence[UUID]) -> dict[UUID, list[IssuanceCap]]:
    """Return the caps that hold now, the shortest period first; one statement, for everybody."""
    statement = (
        select(IssuanceCap)
        .where(col(IssuanceCap.nonprofit_id).in_(nonprofit_ids), col(IssuanceCap.valid_from) <= now())
        .ext(distinct_on(col(IssuanceCap.nonprofit_id), col(IssuanceCap.period)))
        .order_by(
            col(IssuanceCap.nonprofit_id),
            col(IssuanceCap.period),
            col(IssuanceCap.valid_from).desc(),
            col(IssuanceCap.id).desc(),
        )
    )
    found: dict[UUID, list[IssuanceCap]] = {row_id: [] for row_id in nonprofit_ids}
    for cap in (await session.execute(statement)).scalars():
        if cap.amount_minor is not None:
            found[cap.nonprofit_id].append(cap)
    periods = list(CapPeriod)
    return {row_id: sorted(caps, key=lambda cap: periods.index(cap.period)) for row_id, caps in found.items()}


async def claim(session: AsyncSession, actor: Actor, *, token: str, session_days: int) -> SignedIn:
    """Prove an address as `identity.verify_email`; who claims their row by it gets the bonus, if any.

    Raises:
        NotFound: the token is unknown, used or expired.
    """
    done = await authentication.verify_email(session, actor, token=token, session_days=session_days)
    if done.is_claimed_now:
        await give_bonus(session, user=done.user, platform_id=await platform_policy.row_id(session))
    return done


async def give_bonus(session: AsyncSession, *, user: Collective, platform_id: UUID) -> Order | None:
    """Give a user the policy's bonus, once; None where there is none or it was given.

    A cap of the platform's own issuance, once reached, ends the bonus: it keeps nobody out. Locks: the
    platform's ISSUANCE account and the user's balance.
    """
    policy = await platform_policy.policy(session)
    if policy.signup_bonus_minor == 0 or user.archived_at is not None:
        return None
    if await _absorbed_another(session, user.id) and await _had_bonus(session, user.id):
        return None
    order = Order(
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
            await insert_order(session, order, _steps(order))
            await posting.post_currents(
                session,
                order=order,
                platform_id=platform_id,
                kind=TransactionKind.BONUS,
                kind_from=LedgerAccountKind.ISSUANCE,
            )
    except DBAPIError as error:
        if not isinstance(problem_of(error), LimitExceeded):
            raise
        return None
    return order


def _steps(order: Order) -> list[OrderAction]:
    """Return the history of an order that the server makes and pays in one act."""
    first = created(order)
    return [first, action(order, OrderActionType.PAY, _SERVER, before=OrderStatus.PENDING)]


async def _absorbed_another(session: AsyncSession, user_id: UUID) -> bool:
    """Whether somebody who had proved an address became part of the user: they leave it behind."""
    left = exists().where(col(MergedEmail.user_id) == user_id)
    return bool((await session.execute(select(left))).scalar_one())


async def _had_bonus(session: AsyncSession, user_id: UUID) -> bool:
    """Whether the user had the bonus, or one who became part of the user."""
    one = select(col(Collective.id)).where(col(Collective.id) == user_id).cte("one", recursive=True)
    one = one.union(select(col(Collective.id)).where(col(Collective.merged_into_id) == one.c.id))
    given = exists().where(col(Order.type) == OrderType.BONUS, col(Order.to_id).in_(select(one.c.id)))
    return bool((await session.execute(select(given))).scalar_one())
