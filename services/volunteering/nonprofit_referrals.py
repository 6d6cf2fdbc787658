"""Referrals of nonprofits that are not on the platform: two mails, nothing stored."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective
from services.access import attempt_limits
from services.access.actor import Actor
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import RateLimited
from services.identity import email_addresses
from services.messaging import outbox


async def invite_nonprofit(
    session: AsyncSession, actor: Actor, *, name: str, email: str, description: str | None
) -> None:
    """Invite a nonprofit by mail, and notify the platform's admins.

    Raises:
        Invalid: the name is missing, or this is not an email address.
        RateLimited: too many invitations by the user, or to the address, within a day.
    """
    require(actor, Action.LOG_HOURS, Subject(payee=actor.user))
    volunteer = actor.user
    assert volunteer is not None
    payload = {
        "nonprofit": user_text.require_name(name, field="newNonprofit.name"),
        "name": volunteer.name,
        "email": email_addresses.require_email(email, field="newNonprofit.email"),
        "description": user_text.clean_text(description, field="description") or "",
    }
    if not await attempt_limits.consume_nomination(session, user_id=volunteer.id, email=payload["email"]):
        raise RateLimited("Too many invitations. Try again tomorrow.", field="newNonprofit.email")
    await outbox.mail_address(
        session,
        address=payload["email"],
        template="nonprofit_nominated",
        payload=_stranger_payload(volunteer),
    )
    await outbox.mail_admins(
        session, collective_ids=[i for i in [actor.platform_id] if i], template="nomination", payload=payload
    )
    await session.flush()


def _stranger_payload(volunteer: Collective) -> dict[str, str]:
    """Return the values for a mail to an unverified address: no text that people enter."""
    return {"name": volunteer.slug}
