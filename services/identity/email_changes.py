"""Changes of a user's email address: the new one proves itself, and the old one can undo it for 7 days."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import (
    Collective,
    Credential,
    Device,
    EmailChange,
    EmailToken,
    Passkey,
    RecoveryCode,
    TotpFactor,
    now,
)
from models.enums import EmailTokenPurpose
from services.access import act_origin
from services.access.actor import Actor, hash_token
from services.access.permissions import Action, require
from services.core.errors import Conflict, Invalid
from services.identity import (
    access_tokens,
    credentials,
    email_addresses,
    email_change_states,
    email_tokens,
    identities,
)
from services.identity.password_reset import RESET_HOURS
from services.messaging import outbox

CONFIRM_DAYS = 2
UNDO_DAYS = 7
_FACTORS: tuple[Any, ...] = (TotpFactor, Passkey, RecoveryCode)


@dataclass(frozen=True)
class _Locked:
    """A change with its user and their credential, which is locked."""

    change: EmailChange
    user: Collective
    credential: Credential


@dataclass(frozen=True)
class Confirmed:
    """The user whose address was changed, and the one session of theirs that goes on."""

    user: Collective
    session_id: UUID | None


async def request_change(session: AsyncSession, actor: Actor, *, email: str) -> Collective:
    """Mail a link to the new address and tell the old one; a change that waits already is replaced.

    If the address belongs to another user, that owner is told instead and nothing can be confirmed; the
    result is the same. Locks: the credential.

    Raises:
        Invalid: it is the present address, or none.
    """
    require(actor, Action.CHANGE_EMAIL)
    assert actor.user is not None
    address = email_addresses.require_email(email, field="email")
    credential = await credentials.lock(session, user_id=actor.user.id)
    assert credential is not None
    if credential.email == address:
        raise Invalid("This is your email address already.", field="email")
    await email_change_states.end_waiting(session, user_id=actor.user.id)
    token = secrets.token_urlsafe(32)
    session.add(
        EmailChange(
            user_id=actor.user.id,
            old_email=credential.email,
            new_email=address,
            token_hash=hash_token(token),
            session_id=actor.token_id,
            expires_at=now() + timedelta(days=CONFIRM_DAYS),
        )
    )
    await session.flush()
    await _report_request(session, actor.user, old=credential.email, new=address, token=token)
    return actor.user


async def _report_request(session: AsyncSession, user: Collective, *, old: str, new: str, token: str) -> None:
    if await _is_anothers(session, new, user.id):
        await outbox.mail_address(session, address=new, template="email_change_taken", payload={})
    else:
        payload = {"token": token, "old_email": old}
        await outbox.mail_address(session, address=new, template="email_change_confirm", payload=payload)
    payload = {"name": user.name, "email": new}
    await outbox.mail_address(session, address=old, template="email_change_requested", payload=payload)


async def confirm_change(session: AsyncSession, actor: Actor, *, token: str) -> Confirmed:
    """Change the address with the token mailed to the new one, once.

    Every session but the one that asked, every access token and every mailed link of the user ends: a link
    for a new password is in the old mailbox. That gets a link that undoes the change. Locks: the credential.

    Raises:
        NotFound: the token is unknown, used, expired or withdrawn.
        Conflict: the address has become another user's meanwhile.
    """
    del actor
    is_meant = col(EmailChange.token_hash) == hash_token(token)
    found = await _lock_change(session, is_meant, *email_change_states.can_be_confirmed())
    change, user = found.change, found.user
    if await _is_anothers(session, change.new_email, user.id):
        raise Conflict("This email address belongs to another account.", field="token")
    undo = secrets.token_urlsafe(32)
    old_email, found.credential.email = found.credential.email, change.new_email
    change.confirmed_at, change.undo_hash = now(), hash_token(undo)
    change.undo_until = change.confirmed_at + timedelta(days=UNDO_DAYS)
    await session.flush()
    await access_tokens.revoke_all_tokens(session, user_id=user.id, except_id=change.session_id)
    await email_tokens.end_all(session, user_id=user.id)
    payload = {"name": user.name, "email": change.new_email}
    await outbox.mail_address(
        session, address=old_email, template="email_changed", payload=payload | {"token": undo}
    )
    await outbox.mail_address(
        session, address=change.new_email, template="email_change_done", payload=payload
    )
    return Confirmed(user, change.session_id)


async def undo_change(session: AsyncSession, actor: Actor, *, token: str) -> Collective:
    """Give a user their old address back, within 7 days and once; every session ends.

    Later changes end with this one, so that nobody outruns it by changing the address again. So does the
    password, which whoever changed the address may know; a link for a new one is mailed to the address. What
    was added since the change was asked for ends, too: identities of other providers, second factors and
    known devices. Locks: the credential.

    Raises:
        NotFound: the token is unknown or used, or the 7 days are over.
    """
    del actor
    is_meant = col(EmailChange.undo_hash) == hash_token(token)
    found = await _lock_change(session, is_meant, *email_change_states.can_be_undone())
    change, user, credential = found.change, found.user, found.credential
    given_up, credential.email = credential.email, change.old_email
    credential.password_hash = None
    change.undone_at = now()
    await session.flush()
    await session.execute(
        update(EmailChange)
        .where(
            col(EmailChange.user_id) == user.id,
            col(EmailChange.created_at) > change.created_at,
            col(EmailChange.ended_at).is_(None),
            col(EmailChange.undone_at).is_(None),
        )
        .values(ended_at=now())
    )
    await identities.forget_all(session, user_id=user.id, since=change.created_at)
    for table in _FACTORS:
        is_younger = col(table.created_at) >= change.created_at
        await session.execute(delete(table).where(col(table.user_id) == user.id, is_younger))
    await session.execute(delete(Device).where(col(Device.user_id) == user.id))
    await access_tokens.revoke_all_tokens(session, user_id=user.id)
    await email_tokens.end_all(session, user_id=user.id)
    await _report_undoing(session, user, restored=change.old_email, given_up=given_up)
    return user


async def _report_undoing(session: AsyncSession, user: Collective, *, restored: str, given_up: str) -> None:
    reset = secrets.token_urlsafe(32)
    ends = now() + timedelta(hours=RESET_HOURS)
    session.add(
        EmailToken(
            token_hash=hash_token(reset), user_id=user.id, purpose=EmailTokenPurpose.RESET, expires_at=ends
        )
    )
    await session.flush()
    payload = {"name": user.name, "email": restored}
    await outbox.mail_address(
        session, address=restored, template="email_change_undone", payload=payload | {"token": reset}
    )
    if given_up != restored:
        await outbox.mail_address(session, address=given_up, template="email_given_back", payload={})


def select_pending_email(user: Any) -> Select[Any]:
    """Select the new address of a user, whose columns are given, that waits for its proof."""
    return select(col(EmailChange.new_email)).where(
        col(EmailChange.user_id) == user.id, *email_change_states.can_be_confirmed(func.now())
    )


async def load_pending_email(session: AsyncSession, actor: Actor) -> str | None:
    """Load the actor's new address that waits for its proof, if there is one."""
    statement = select(col(EmailChange.new_email)).where(
        col(EmailChange.user_id) == actor.id, *email_change_states.can_be_confirmed()
    )
    address: str | None = (await session.execute(statement)).scalar_one_or_none()
    return address


async def _lock_change(session: AsyncSession, *conditions: ColumnElement[bool]) -> _Locked:
    """Lock the credential of a change's user, then load the change as it is by then.

    Raises:
        NotFound: no change meets the conditions.
    """
    owner = (await session.execute(select(col(EmailChange.user_id)).where(*conditions))).scalar_one_or_none()
    if owner is None:
        raise email_tokens.no_such_link()
    credential = await credentials.lock(session, user_id=owner)
    again = (
        select(EmailChange, Collective)
        .join(Collective, col(Collective.id) == EmailChange.user_id)
        .where(*conditions)
        .execution_options(populate_existing=True)
    )
    match = (await session.execute(again)).one_or_none()
    if match is None or credential is None:
        raise email_tokens.no_such_link()
    await act_origin.name_person(session, owner)
    return _Locked(match[0], match[1], credential)


async def _is_anothers(session: AsyncSession, address: str, user_id: UUID) -> bool:
    owner = await email_addresses.find_user(session, address)
    return owner is not None and owner.id != user_id
