"""One-time links that an operator prints, for an installation that sends no mail yet."""

import secrets
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Credential, EmailToken, now
from models.enums import EmailTokenPurpose
from services.access.actor import hash_token

LINK_HOURS = 2


async def create_link(
    session: AsyncSession, *, user_id: UUID, public_url: str, renews_password: bool = False
) -> str | None:
    """Create a link with which a user without a proved address chooses a password; None for any other.

    With `renews_password`, one whose address is proved gets a link for a new password. No permission is
    checked: only the command line calls this, once the operator knows who gets the link.
    """
    statement = select(col(Credential.verified_at)).where(col(Credential.user_id) == user_id)
    is_proved = (await session.execute(statement)).scalar_one() is not None
    if is_proved and not renews_password:
        return None
    purpose, page = (EmailTokenPurpose.RESET, "reset") if is_proved else (EmailTokenPurpose.VERIFY, "verify")
    token = secrets.token_urlsafe(32)
    session.add(
        EmailToken(
            token_hash=hash_token(token),
            user_id=user_id,
            purpose=purpose,
            expires_at=now() + timedelta(hours=LINK_HOURS),
        )
    )
    await session.flush()
    return f"{public_url.rstrip('/')}/{page}?token={token}"
