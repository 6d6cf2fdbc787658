"""Mails about recurring gifts, to either side."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, RecurringGift
from models.enums import GiftNotice
from services.core import public_ids
from services.core.errors import ErrorCode, Problem
from services.core.money import Money
from services.core.party import Party
from services.messaging import outbox
from services.messaging.gift_templates import (
    AMOUNT_TOO_SMALL,
    ARCHIVED,
    BALANCE_TOO_SMALL,
    HOST_LEFT,
    HOST_SUSPENDED,
    LIMIT_REACHED,
    REFUSED,
    USER_SUSPENDED,
)
from services.orders.base import charged_minor

NOTES = {
    GiftNotice.ARCHIVED: ARCHIVED,
    GiftNotice.HOST_LEFT: HOST_LEFT,
    GiftNotice.HOST_SUSPENDED: HOST_SUSPENDED,
    GiftNotice.USER_SUSPENDED: USER_SUSPENDED,
}
_REFUSALS = {
    ErrorCode.INSUFFICIENT_FUNDS: BALANCE_TOO_SMALL,
    ErrorCode.AMOUNT_TOO_SMALL: AMOUNT_TOO_SMALL,
    ErrorCode.LIMIT_EXCEEDED: LIMIT_REACHED,
}


def note_of(problem: Problem) -> str:
    """Return why a charge was refused, as mails say it."""
    return _REFUSALS.get(problem.code, REFUSED)


async def tell_of_refusal(
    session: AsyncSession, gift: RecurringGift, order: Order, *, day: date, problem: Problem
) -> None:
    """Tell the payer that a charge was refused, with the terms of its order, which a retry keeps."""
    await tell(
        session,
        gift,
        template="gift_refused",
        to_ids=[gift.from_id],
        day=day,
        note=note_of(problem),
        amount_minor=charged_minor(order),
    )


async def tell(
    session: AsyncSession,
    gift: RecurringGift,
    *,
    template: str,
    to_ids: Sequence[UUID],
    day: date | None = None,
    reason: str | None = None,
    note: str = "",
    amount_minor: int | None = None,
    except_id: UUID | None = None,
) -> None:
    """Queue a mail about a gift to the admins of the collectives.

    The amount is by default the gift's with its tip.
    """
    names = select(col(Collective.id), col(Collective.name)).where(
        col(Collective.id).in_([gift.from_id, gift.to_id])
    )
    name_by_id = {row.id: row.name for row in await session.execute(names)}
    await outbox.mail_admins(
        session,
        collective_ids=to_ids,
        template=template,
        payload={
            "amount": _amount_text(
                gift.amount_minor + (gift.tip_minor or 0) if amount_minor is None else amount_minor,
                gift.currency,
            ),
            "payer": name_by_id[gift.from_id],
            "to": name_by_id[gift.to_id],
            "day": day.isoformat() if day else "",
            "reason": reason or "",
            "note": note,
        },
        except_id=except_id,
    )


async def ask_for_transfer(session: AsyncSession, gift: RecurringGift, order: Order, *, payee: Party) -> None:
    """Ask the payer to transfer the amount of a period with its tip, under a reference."""
    await outbox.mail_admins(
        session,
        collective_ids=[gift.from_id],
        template="gift_transfer_due",
        payload={
            "amount": _amount_text(charged_minor(order), order.currency),
            "to": payee.collective.name if payee.collective else "",
            "day": gift.next_charge_on.isoformat(),
            "reference": public_ids.encode("Order", order.id),
        },
        order_id=order.id,
    )


def _amount_text(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).value} {currency}"
