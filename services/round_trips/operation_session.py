"""The application's session, which knows the operation that it runs, and what waits to be sent for it."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.core.origins import ActOrigin, MailOrigin

if TYPE_CHECKING:
    from services.round_trips.effects import EffectQueue

_NOBODY = MailOrigin()


class OperationSession(AsyncSession):
    """A session of one operation, job or command."""

    queue: "EffectQueue | None" = None
    """The effects that wait; None sends each at once."""
    lender: AsyncEngine | None = None
    """The engine that the session is bound to while no connection is lent to it."""
    reader: Any = None
    """The driver's connection, if the session only reads."""
    act_origin: ActOrigin | None = None
    """Where its acts come from; None for jobs, commands and queries, which are not named."""
    named_id: UUID | None = None
    """The person who is named to the database as the one who acts."""
    mail_origin: MailOrigin = _NOBODY
    """Where the mails that it queues come from."""


def operation_of(session: AsyncSession) -> OperationSession:
    """Return a session of the application as what it is."""
    assert isinstance(session, OperationSession)
    return session
