"""The times of an event: their bounds, and who may change them once check-in has opened."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, now
from models.enums import MemberRole
from services.access.actor import Actor
from services.collectives import platform_policy
from services.core.errors import Forbidden, Invalid

MAX_DURATION = timedelta(days=14)
MAX_AGE = timedelta(days=366)
MAX_LEAD = timedelta(days=5 * 365 + 2)
"""A year and five years, with their leap days; the database has the same bounds."""
_CREDITED_COLUMNS = ("starts_at", "ends_at", "credit_policy")
"""Columns that decide how much an attendance credits."""


def require_times(starts_at: datetime | None, ends_at: datetime | None) -> None:
    """Require that an event ends after it starts, lasts at most 14 days, and is not too far from now.

    Raises:
        Invalid: one of the times is out of bounds.
    """
    assert starts_at is not None and ends_at is not None
    if ends_at <= starts_at:
        raise Invalid("The event must end after it starts.", field="endsAt")
    if starts_at < now() - MAX_AGE:
        raise Invalid("An event starts at most a year ago.", field="startsAt")
    latest = now() + MAX_LEAD
    if starts_at > latest:
        raise Invalid("An event starts at most 5 years ahead.", field="startsAt")
    if ends_at - starts_at > MAX_DURATION:
        raise Invalid(f"An event lasts at most {MAX_DURATION.days} days.", field="endsAt")
    if ends_at > latest:
        raise Invalid("An event ends at most 5 years ahead.", field="endsAt")


async def require_may_reschedule(
    session: AsyncSession, actor: Actor, event: Collective, new: dict[str, Any]
) -> None:
    """Require valid times, and after check-in has opened an ADMIN of the parent to change them.

    What is credited already stays as it is.

    Raises:
        Invalid: one of the times is out of bounds.
        Forbidden: check-in has opened, and the actor is no ADMIN of the parent.
    """
    if all(new.get(name, getattr(event, name)) == getattr(event, name) for name in _CREDITED_COLUMNS):
        return
    require_times(new.get("starts_at", event.starts_at), new.get("ends_at", event.ends_at))
    policy = await platform_policy.load_policy(session)
    assert event.starts_at is not None and event.parent_id is not None
    is_open = now() >= event.starts_at - timedelta(minutes=policy.check_in_minutes)
    if is_open and MemberRole.ADMIN not in actor.roles.get(event.parent_id, frozenset()):
        raise Forbidden(
            "Check-in has opened. Only an ADMIN of the parent can change the times or the credit policy."
        )
