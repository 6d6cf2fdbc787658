"""The language in which a person reads mails: their choice, or else what their browser asked for."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential
from models.enums import Locale
from services.round_trips.operation_session import operation_of


async def note_browser(session: AsyncSession, user_id: UUID | Select[UUID], *, is_proved: bool) -> None:
    """Note the language that the request's browser asks for, if it asks for one of ours.

    Unless it `is_proved` that the user sends the request, what was noted before is kept.
    """
    locale = operation_of(session).mail_origin.locale
    if locale is None:
        return
    owner = user_id if isinstance(user_id, UUID) else user_id.scalar_subquery()
    can_change: ColumnElement[bool] = col(Credential.browser_locale).is_(None)
    if is_proved:
        can_change = or_(can_change, col(Credential.browser_locale) != locale.value)
    await session.execute(
        update(Credential)
        .where(col(Credential.user_id) == owner, can_change)
        .values(browser_locale=locale.value)
        .execution_options(synchronize_session=False)
    )


def locale_of_mail(recipient: ColumnElement[str], sender_id: ColumnElement[Any]) -> ColumnElement[str]:
    """Build the language of a mail's reader; for one who is not known here, that of the sender."""
    of_reader = _select_locale().where(col(Credential.email) == recipient).scalar_subquery()
    of_sender = _select_locale().where(col(Credential.user_id) == sender_id).scalar_subquery()
    return func.coalesce(of_reader, of_sender, literal(Locale.EN.value))


def _select_locale() -> Select[str]:
    return (
        select(func.coalesce(col(Collective.locale), col(Credential.browser_locale)))
        .select_from(Credential)
        .join(Collective, col(Collective.id) == col(Credential.user_id))
    )
