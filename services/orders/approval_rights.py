"""Who may decide an order: nobody with an interest; a host or the platform where nobody else is free."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order
from models.enums import OrderType
from services.access.actor import Actor
from services.access.permissions import Action, Subject, is_permitted, require
from services.core.errors import SelfApproval
from services.orders.sides import Interest, OrderSides
from services.round_trips import effects
from services.round_trips.pipelines import Call, read_compiled

_SQL = read_compiled(Path(__file__).parent / "sql" / "approval_rights.sql")


def interest_call(actor: Actor, order_id: UUID) -> Call:
    """Return the read of the actor's interest in an order."""
    return Call(_SQL["is_excluded"], {"order_id": order_id, "person_id": actor.id})


async def require_may_approve(
    session: AsyncSession, actor: Actor, sides: OrderSides, subject: Subject, action: Action
) -> int | None:
    """Require that the actor may approve the order and has no interest in it; return what one may approve.

    An ADMIN of the host may approve where every ADMIN of the deciding collective has an interest, and an
    ADMIN of the platform where the same is true of the host, or there is no other.

    Raises:
        Forbidden: no rule allows the actor.
        SelfApproval: the actor made the order, or is the payee or was an ADMIN of it since then.
    """
    order, decider, host = sides.order, subject.payer, subject.payer_host
    if order.type == OrderType.REDEMPTION:
        decider, host = subject.payee, subject.payee_host
    may_stand_in = actor.is_admin(host) or actor.is_platform_admin
    if may_stand_in and decider is not None and not is_permitted(actor, action, subject):
        has_no_free_admin = not await _has_free_admin(session, order, decider)
        other_host = host if host is not None and host.id != decider.id else None
        subject = replace(
            subject,
            has_no_free_admin=has_no_free_admin,
            has_no_free_host=has_no_free_admin
            and (other_host is None or not await _has_free_admin(session, order, other_host)),
        )
    require(actor, action, subject)
    return await require_disinterested(session, actor, sides)


async def _has_free_admin(session: AsyncSession, order: Order, collective: Collective) -> bool:
    """Return True if a collective has an ADMIN without an interest in the order."""
    keys = {"order_id": order.id, "collective_id": collective.id}
    return await _ask(session, Call(_SQL["has_free_admin"], keys))


async def require_disinterested(session: AsyncSession, actor: Actor, sides: OrderSides) -> int | None:
    """Require that the actor has no interest in the approval of the order, now or since it was made.

    Return the largest amount that one person may approve, in minor units of the order's currency, or None.

    Raises:
        SelfApproval: the actor has one.
    """
    interest = sides.interest
    if interest is None:
        ((row,),) = await effects.fetch(session, interest_call(actor, sides.order.id))
        interest = Interest(*row)
    return require_none(interest)


def require_none(interest: Interest) -> int | None:
    """Require no interest; return the largest amount that one person may approve.

    Raises:
        SelfApproval: there is one.
    """
    if interest.is_excluded:
        raise SelfApproval(field="id")
    return interest.single_limit


async def must_giver_confirm(session: AsyncSession, actor: Actor, *, giver_id: UUID) -> bool:
    """Return True if the giver can be asked, and the actor does not act for it."""
    keys = {"giver_id": giver_id, "person_id": actor.id}
    return await _ask(session, Call(_SQL["giver_must_confirm"], keys))


async def _ask(session: AsyncSession, call: Call) -> bool:
    """Return the answer to a question that has one row."""
    (((answer,),),) = await effects.fetch(session, call)
    return bool(answer)
