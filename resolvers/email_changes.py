"""Changes of a user's email address; attempts are counted before they are made."""

from models import Collective
from resolvers.context import Info
from services.access import attempt_limits
from services.access.permissions import Action, require
from services.core.errors import RateLimited
from services.identity import email_addresses, email_changes


async def request_change(info: Info, *, email: str) -> Collective:
    """Ask for a change of the viewer's address; the attempt counts even if this fails.

    Raises:
        RateLimited: too many mails to the address, by the user, or from the network address.
    """
    context = info.context
    require(context.actor, Action.CHANGE_EMAIL)
    address = email_addresses.require_email(email, field="email")
    if not await context.in_own_transaction(
        attempt_limits.consume_email_change_attempt,
        user_id=context.actor.id,
        email=address,
        address=context.address,
        per_address=context.settings.sign_up_mails_per_address,
    ):
        raise RateLimited("Too many mails. Try again in an hour.", field="email")
    return await context.run(email_changes.request_change, email=address)


async def confirm_change(info: Info, *, token: str) -> Collective:
    """Change the address; the fields that follow have no viewer if their session ends with it.

    The session that asked for the change goes on.
    """
    confirmed = await info.context.run(email_changes.confirm_change, token=token)
    if info.context.actor.token_id != confirmed.session_id:
        _forget_viewer(info, confirmed.user)
    return confirmed.user


async def undo_change(info: Info, *, token: str) -> Collective:
    """Undo a change of address; the fields that follow have no viewer, as every session ends."""
    user = await info.context.run(email_changes.undo_change, token=token)
    _forget_viewer(info, user)
    return user


def _forget_viewer(info: Info, user: Collective) -> None:
    if info.context.actor.id == user.id:
        info.context.forget_viewer()
