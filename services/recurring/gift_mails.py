"""Mails about recurring gifts, to either side."""

from collections.abc import Sequence
from datetime import date
from typing import Any
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


async def tell_of_card(
    session: AsyncSession, gift: RecurringGift, order: Order, *, day: date, is_step: bool
) -> None:
    """Tell the payer that a card was refused, or that its bank wants a confirmation, and where to pay."""
    about: Any = {"to_ids": [gift.from_id], "day": day, "amount_minor": charged_minor(order), "pays": order}
    if is_step:
        await tell(session, gift, template="gift_step_needed", **about)
    else:
        await tell(session, gift, template="gift_card_refused", **about)


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
    pays: Order | None = None,
    except_id: UUID | None = None,
) -> None:
    """Queue a mail about a gift to the admins of the collectives; the amount is by default that with its tip.

    With an order that is to be paid, it has a link to the page for that.
    """
    found = select(col(Collective.id), col(Collective.name), col(Collective.slug)).where(
        col(Collective.id).in_([gift.from_id, gift.to_id])
    )
    sides = {row.id: row for row in await session.execute(found)}
    link = {"pay_page": f"{sides[gift.to_id].slug}?order={_public_id(pays)}"} if pays else {}
    payload = {
        "amount": _amount_text(
            gift.amount_minor + (gift.tip_minor or 0) if amount_minor is None else amount_minor,
            gift.currency,
        ),
        "payer": sides[gift.from_id].name,
        "to": sides[gift.to_id].name,
        "day": day.isoformat() if day else "",
        "reason": reason or "",
        "note": note,
        **link,
    }
    for ids, told in _divide(gift, payload, to_ids):
        await outbox.mail_admins(
            session, collective_ids=ids, template=template, payload=told, except_id=except_id
        )


def _divide(
    gift: RecurringGift, payload: dict[str, str], to_ids: Sequence[UUID]
) -> list[tuple[list[UUID], dict[str, str]]]:
    """Return what to tell whom: the name of an incognito giver is for the giver alone."""
    if not gift.is_incognito:
        return [(list(to_ids), payload)]
    others = [row_id for row_id in to_ids if row_id != gift.from_id]
    givers = [row_id for row_id in to_ids if row_id == gift.from_id]
    nameless = {**payload, "payer": ""}  # lines without a value are left out
    return [(ids, told) for ids, told in ((givers, payload), (others, nameless)) if ids]


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
            "reference": _public_id(order),
        },
        order_id=order.id,
    )


def _public_id(order: Order) -> str:
    return public_ids.encode("Order", order.id)


def _amount_text(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).value} {currency}"
