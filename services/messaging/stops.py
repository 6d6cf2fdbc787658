"""Stopping mails to an address with which nobody has signed up."""

from urllib.parse import quote

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import MailStop, Outbox
from services.core.errors import NotFound


def stop_url(public_url: str, token: str) -> str:
    """Return the address of the page that stops mails."""
    return f"{public_url.rstrip('/')}/stop?token={quote(token, safe='')}"


async def stop(session: AsyncSession, *, token: str) -> None:
    """Stop all mails to the address of a token, those that wait, too; once or more often.

    Mails that the person asks for, to sign up or for a new password, still go. Locks: the address.

    Raises:
        NotFound: there is no such token.
    """
    statement = (
        update(MailStop)
        .where(col(MailStop.token) == token)
        .values(stopped_at=func.coalesce(col(MailStop.stopped_at), func.now()))
        .returning(col(MailStop.address))
    )
    address = (await session.execute(statement)).scalar_one_or_none()
    if address is None:
        raise NotFound("This link is not valid.", field="token")
    await session.execute(
        update(Outbox)
        .where(
            col(Outbox.recipient) == address,
            col(Outbox.lane) == 1,
            col(Outbox.is_to_stranger),
            col(Outbox.delivered_at).is_(None),
            col(Outbox.failed_at).is_(None),
        )
        .values(failed_at=func.now(), last_error="stopped by the recipient", payload={})
        .execution_options(synchronize_session=False)
    )
