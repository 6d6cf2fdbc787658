"""Telling a nonprofit that is not here that a volunteer would log hours for it: two mails, nothing stored."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective
from services.access import attempt_limits
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import RateLimited
from services.identity import email_addresses
from services.messaging import outbox


async def invite(
    session: AsyncSession, actor: Actor, *, name: str, email: str, description: str | None
) -> None:
    """Invite somebody of a nonprofit by mail, and tell the platform's admins.

    Raises:
        Invalid: no name, or no address.
        RateLimited: too many of the user's, or to the address, within a day.
    """
    require(actor, Action.LOG_HOURS, Subject(payee=actor.user))
    volunteer = actor.user
    assert volunteer is not None
    payload = {
        "nonprofit": user_text.required(name, path=["input", "newNonprofit", "name"]),
        "name": volunteer.name,
        "email": email_addresses.checked_email(email, path=["input", "newNonprofit", "email"]),
        "description": user_text.clean(description, path=["input", "description"]) or "",
    }
    if not await attempt_limits.count_nomination(session, user_id=volunteer.id, email=payload["email"]):
        raise RateLimited("Too many invitations; try again tomorrow", path=["input", "newNonprofit", "email"])
    await outbox.to_address(
        session, address=payload["email"], template="nonprofit_nominated", payload=_for_stranger(volunteer)
    )
    await outbox.to_admins(
        session, collective_ids=[i for i in [actor.platform_id] if i], template="nomination", payload=payload
    )
    await session.flush()


def _for_stranger(volunteer: Collective) -> dict[str, str]:
    """Return what a mail to an unproven address may say: nothing that somebody typed for it."""
    return {"name": volunteer.slug}
