"""Help for a person who has lost every second factor and recovery code: an operator removes them."""

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Passkey, TotpFactor
from services.core.errors import NotFound
from services.identity import (
    access_tokens,
    challenges,
    credentials,
    email_addresses,
    factor_mails,
    recovery_codes,
)


async def remove_factors(session: AsyncSession, *, email: str) -> Collective:
    """Remove every second factor of the user with this address, who signs in with the password again.

    All their sessions and tokens end, and they are told by mail. No permission is checked: only the command
    line calls this, once the operator knows who asks. Locks: the credential.

    Raises:
        Invalid: this is no address.
        NotFound: no user has it.
    """
    user = await email_addresses.find_user(session, email_addresses.require_email(email, field="email"))
    if user is None:
        raise NotFound(f"No user has the address {email}.", field="email")
    await credentials.lock(session, user_id=user.id)
    await session.execute(delete(TotpFactor).where(col(TotpFactor.user_id) == user.id))
    await session.execute(delete(Passkey).where(col(Passkey.user_id) == user.id))
    await recovery_codes.end_all(session, user_id=user.id)
    await challenges.end_all(session, user_id=user.id)
    await access_tokens.revoke_all_tokens(session, user_id=user.id)
    await factor_mails.report(session, user, template="factor_removed", factor="every second factor")
    return user
