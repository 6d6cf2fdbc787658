"""Changes of a recurring gift: its payer changes its terms; either side and the host pause and end it."""

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import RecurringGift, now
from models.enums import GiftParty, GiftStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState, NotFound
from services.core.party import Party
from services.orders.transitions import lock_open_sides
from services.recurring import gift_mails, periods, progress
from services.recurring.gift_sides import select_with_sides, to_parties

OPEN = (GiftStatus.PENDING, GiftStatus.ACTIVE, GiftStatus.PAST_DUE, GiftStatus.PAUSED)


@dataclass(frozen=True)
class GiftSides:
    """A gift with its sides, as the actor may see it."""

    gift: RecurringGift
    payer: Party
    payee: Party

    @property
    def subject(self) -> Subject:
        """The subject of permissions on the gift."""
        return Subject(payer=self.payer.collective, payee=self.payee.collective, payee_host=self.payee.host)

    def party_of(self, actor: Actor) -> GiftParty:
        """Return the party for which the actor acts; the payer before the payee, and that before its host."""
        if actor.is_admin(self.payer.collective):
            return GiftParty.PAYER
        return GiftParty.PAYEE if actor.is_admin(self.payee.collective) else GiftParty.HOST


async def lock_gift(
    session: AsyncSession, actor: Actor, *, gift_id: UUID, action: Action, locks_sides: bool = False
) -> GiftSides:
    """Lock a gift that goes on, on which the actor may perform the action, after its sides if wanted.

    Raises:
        NotFound: there is no such gift, or the actor may not see it.
        InvalidState: it has ended, or waits for its first payment and is not to be cancelled.
    """
    sides = await load_sides(session, actor, gift_id=gift_id)
    require(actor, action, sides.subject)
    if locks_sides:
        await lock_open_sides(session, [sides.payer, sides.payee])
    await session.refresh(sides.gift, with_for_update={"key_share": True})
    if sides.gift.status not in OPEN:
        raise InvalidState("This recurring gift has ended.", field="id")
    if sides.gift.status == GiftStatus.PENDING and action is not Action.CANCEL_SUBSCRIPTION:
        raise InvalidState(
            "The first payment of this recurring gift has not come yet. Pay it, or cancel the gift.",
            field="id",
        )
    return sides


async def load_sides(session: AsyncSession, actor: Actor, *, gift_id: UUID) -> GiftSides:
    """Load a gift with its sides.

    Raises:
        NotFound: there is no such gift, or the actor may not see it.
    """
    statement = select_with_sides().where(
        col(RecurringGift.id) == gift_id, visibility.recurring_gift_is_visible(actor)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("There is no such recurring gift. Check its id.", field="id")
    gift, *sides = row
    return GiftSides(gift, *to_parties(*sides))


async def pause(
    session: AsyncSession,
    actor: Actor,
    *,
    gift_id: UUID,
    until: date | None = None,
    reason: str | None = None,
) -> RecurringGift:
    """Pause a gift, until a day or until it is resumed; the other side gets a mail. Locks: the gift.

    A refused charge is not tried again.

    Raises:
        Invalid: a day that is not in the future.
        InvalidState: the gift is paused already, or has ended.
    """
    sides = await lock_gift(session, actor, gift_id=gift_id, action=Action.PAUSE_SUBSCRIPTION)
    gift = sides.gift
    if gift.status == GiftStatus.PAUSED:
        raise InvalidState("This recurring gift is paused already.", field="id")
    if until is not None and until <= periods.day_of(now(), gift.timezone):
        raise Invalid("Choose a day in the future.", field="until")
    gift.status, gift.paused_by, gift.resumes_on = GiftStatus.PAUSED, sides.party_of(actor), until
    gift.pause_reason = user_text.clean_text(reason, field="reason")
    gift.failures, gift.delays, gift.failed_on = 0, 0, None
    gift.due_at = periods.begin_of(until, gift.timezone) if until else None
    await _store(session, gift)
    await _tell(session, actor, sides, template="gift_paused", day=until, reason=gift.pause_reason)
    return gift


async def resume(session: AsyncSession, actor: Actor, *, gift_id: UUID) -> RecurringGift:
    """Resume a paused gift; what was missed is left out. Locks: both sides, then the gift.

    A pause is ended by who made it: that of the payer by the payer alone, that of the payee by the payee or
    its host. The payer ends that of the platform.

    Raises:
        InvalidState: the gift is not paused, somebody else paused it, a side is archived or has no host, or
            the payment method is not one of the payee's present host.
    """
    sides = await load_sides(session, actor, gift_id=gift_id)
    require(actor, Action.RESUME_SUBSCRIPTION, sides.subject)
    await lock_open_sides(session, [sides.payer, sides.payee])
    await session.refresh(sides.gift, with_for_update={"key_share": True})
    gift = sides.gift
    if gift.status != GiftStatus.PAUSED:
        raise InvalidState("This recurring gift is not paused.", field="id")
    if not _may_resume(actor, sides):
        raise InvalidState(f"The {str(gift.paused_by).lower()} paused this gift and resumes it.", field="id")
    progress.resume(gift, today=periods.day_of(now(), gift.timezone))
    await _store(session, gift)
    await _tell(session, actor, sides, template="gift_resumed", day=gift.next_charge_on)
    return gift


def _may_resume(actor: Actor, sides: GiftSides) -> bool:
    match sides.gift.paused_by:
        case GiftParty.PAYEE:
            return actor.is_admin(sides.payee.collective) or actor.is_admin(sides.payee.host)
        case GiftParty.HOST:
            return actor.is_admin(sides.payee.host)
        case _:
            return actor.is_admin(sides.payer.collective)


async def cancel(
    session: AsyncSession, actor: Actor, *, gift_id: UUID, reason: str | None = None
) -> RecurringGift:
    """End a gift for good; what was paid stays paid, and the others get a mail. Locks: the gift.

    Raises:
        InvalidState: it has ended already.
    """
    sides = await lock_gift(session, actor, gift_id=gift_id, action=Action.CANCEL_SUBSCRIPTION)
    gift = sides.gift
    gift.status, gift.ended_at = GiftStatus.CANCELLED, now()
    gift.ended_reason = user_text.clean_text(reason, field="reason")
    gift.paused_by = gift.pause_reason = gift.resumes_on = gift.failed_on = gift.due_at = gift.notice = None
    await _store(session, gift)
    await _tell(session, actor, sides, template="gift_ended", reason=gift.ended_reason)
    return gift


async def _store(session: AsyncSession, gift: RecurringGift) -> None:
    gift.updated_at = now()
    await session.flush()


async def _tell(
    session: AsyncSession, actor: Actor, sides: GiftSides, *, template: str, **facts: Any
) -> None:
    """Queue a mail to the other sides than the one that acts."""
    gift = sides.gift
    to_ids = [gift.to_id] if sides.party_of(actor) == GiftParty.PAYER else [gift.from_id, gift.to_id]
    await gift_mails.tell(session, gift, template=template, to_ids=to_ids, except_id=actor.id, **facts)
