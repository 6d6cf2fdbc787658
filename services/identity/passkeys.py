"""Passkeys: keys of a person's devices, which sign a challenge of this installation alone."""

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Credential, Passkey
from models.enums import ChallengePurpose, Proof
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.access.viewer_terms import is_in_session, viewer_id
from services.core import slow_modules
from services.core.errors import WHOLE_INPUT, Invalid, LimitExceeded, NotFound
from services.core.pagination import Sort
from services.core.user_text import require_name
from services.identity import challenges, credentials, factor_mails, recovery_codes
from services.identity.relying_party import RelyingParty

MAX_PASSKEYS = 20
MAX_CREDENTIAL_LENGTH = 20_000
KIND = "a passkey"
_PROTOCOL = "services.identity.passkey_protocol"
_MALFORMED = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
"""What reading raises for what is no answer of a browser."""


@dataclass(frozen=True)
class Answer:
    """What a browser answered: JSON that may come from anybody until it is verified."""

    credential: dict[str, Any]
    credential_id: bytes
    """The id of the passkey that it claims to be of."""
    challenge: bytes
    """The challenge that it claims to sign."""
    field: str


def parse_answer(text: str, *, field: str) -> Answer:
    """Read a browser's answer as far as it says which challenge it signs.

    Raises:
        Invalid: it is none.
    """
    try:
        if len(text) > MAX_CREDENTIAL_LENGTH:
            raise ValueError
        credential = json.loads(text)
        client_data = json.loads(_decode(credential["response"]["clientDataJSON"]))
        credential_id = _decode(credential["rawId"])
        answer = Answer(credential, credential_id, _decode(client_data["challenge"]), field)
    except _MALFORMED:
        raise Invalid("This is not what a browser answers for a passkey.", field=field) from None
    return answer


def _decode(text: str) -> bytes:
    """Decode base64url without its padding, as browsers send it."""
    return urlsafe_b64decode(f"{text}===")


async def take_challenge(
    session: AsyncSession, *, answer: Answer, purpose: ChallengePurpose, user_id: UUID | None = None
) -> None:
    """Use up the challenge that an answer signs, before it is verified: each is answered once.

    Raises:
        Invalid: it is unknown, over, answered, or another user's.
    """
    if not await challenges.take(session, challenge=answer.challenge, purpose=purpose, user_id=user_id):
        raise Invalid("This answer came too late, or was used before. Try again.", field=answer.field)


async def begin_registration(session: AsyncSession, actor: Actor, *, party: RelyingParty) -> str:
    """Return the options, as JSON, with which a browser makes a new passkey.

    Raises:
        LimitExceeded: the user has 20.
        ConfirmationRequired: the session was not confirmed lately.
    """
    require(actor, Action.BEGIN_PASSKEY_REGISTRATION)
    assert actor.user is not None
    known = await list_own(session, actor)
    if len(known) >= MAX_PASSKEYS:
        raise LimitExceeded(f"You have {MAX_PASSKEYS} passkeys. Remove one first.", field=WHOLE_INPUT)
    statement = select(col(Credential.email)).where(col(Credential.user_id) == actor.user.id)
    protocol = await slow_modules.load(_PROTOCOL)
    options: str = protocol.registration_options(
        party=party,
        user_id=actor.user.id,
        email=(await session.execute(statement)).scalar_one(),
        name=actor.user.name,
        challenge=await challenges.issue(
            session, purpose=ChallengePurpose.PASSKEY_REGISTRATION, user_id=actor.user.id
        ),
        known=[row.credential_id for row in known],
    )
    return options


async def register(
    session: AsyncSession, actor: Actor, *, answer: Answer, name: str, party: RelyingParty
) -> tuple[Passkey, list[str]]:
    """Store a new passkey; return it, and recovery codes if it is the first factor.

    The caller has taken the challenge. The user is told by mail. Locks: the credential.

    Raises:
        Invalid: the answer is not of a page of ours, or the name is empty.
    """
    require(actor, Action.REGISTER_PASSKEY)
    assert actor.user is not None
    label = require_name(name, field="name")
    protocol = await slow_modules.load(_PROTOCOL)
    verified: tuple[bytes, bytes, int] | None = protocol.verify_registration(
        answer.credential, challenge=answer.challenge, party=party
    )
    if verified is None:
        raise _refused(answer)
    credential_id, public_key, sign_count = verified
    await credentials.lock(session, user_id=actor.user.id)
    passkey = Passkey(
        user_id=actor.user.id,
        name=label,
        credential_id=credential_id,
        public_key=public_key,
        sign_count=sign_count,
    )
    session.add(passkey)
    await session.flush()
    await factor_mails.report(session, actor.user, template="factor_added", factor=KIND)
    return passkey, await recovery_codes.ensure(session, user_id=actor.user.id)


async def request_options(
    session: AsyncSession, *, purpose: ChallengePurpose, user_id: UUID | None, party: RelyingParty
) -> str:
    """Return the options, as JSON, with which a browser signs with a passkey: one of the user's, or any."""
    known = [] if user_id is None else await _list(session, user_id)
    protocol = await slow_modules.load(_PROTOCOL)
    options: str = protocol.authentication_options(
        party=party,
        challenge=await challenges.issue(session, purpose=purpose, user_id=user_id),
        known=[row.credential_id for row in known],
        must_verify=user_id is None,
    )
    return options


async def verify(
    session: AsyncSession, *, answer: Answer, user_id: UUID | None, party: RelyingParty
) -> Passkey:
    """Verify what a passkey signed; the caller has taken the challenge. Locks: the passkey.

    Without `user_id` the passkey alone signs in, so its device must have verified the person.

    Raises:
        Invalid: the passkey is unknown or another user's, the answer is not of a page of ours, or the
            passkey's counter did not grow, so that it may be a copy.
    """
    statement = select(Passkey).where(col(Passkey.credential_id) == answer.credential_id)
    row: Passkey | None = (
        await session.execute(statement.with_for_update().execution_options(populate_existing=True))
    ).scalar_one_or_none()
    if row is None or user_id not in {None, row.user_id}:
        raise Invalid("This passkey is not known here.", field=answer.field)
    protocol = await slow_modules.load(_PROTOCOL)
    new_count: int | None = protocol.verify_authentication(
        answer.credential,
        challenge=answer.challenge,
        party=party,
        public_key=row.public_key,
        sign_count=row.sign_count,
        must_verify=user_id is None,
    )
    if new_count is None:
        raise _refused(answer)
    await session.execute(
        update(Passkey)
        .where(col(Passkey.id) == row.id)
        .values(sign_count=new_count, last_used_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return row


def _refused(answer: Answer) -> Invalid:
    """Return the problem of an answer that does not verify; the reason is no stranger's business."""
    return Invalid("This passkey was not accepted. Use it on the page that asked for it.", field=answer.field)


OLDEST_FIRST = Sort("passkey", col(Passkey.id), col(Passkey.id), descending=False)


def select_own(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Passkey]]:
    """Select the user's passkeys; none for an access token."""
    del where, owner  # has no conditions
    return (select(Passkey).where(col(Passkey.user_id) == viewer_id(actor), is_in_session(actor)),)


async def list_own(session: AsyncSession, actor: Actor) -> list[Passkey]:
    """List the user's passkeys, oldest first; none for an access token."""
    (statement,) = select_own(actor)
    return list((await session.execute(statement.order_by(OLDEST_FIRST.key))).scalars())


async def _list(session: AsyncSession, user_id: UUID) -> list[Passkey]:
    statement = select(Passkey).where(col(Passkey.user_id) == user_id).order_by(OLDEST_FIRST.key)
    return list((await session.execute(statement)).scalars())


async def rename(session: AsyncSession, actor: Actor, *, passkey_id: UUID, name: str) -> Passkey:
    """Give one of the user's passkeys another name.

    Raises:
        NotFound: the user has no such passkey.
    """
    require(actor, Action.RENAME_PASSKEY)
    label = require_name(name, field="name")
    row = await _require_own(session, actor, passkey_id)
    row.name = label
    await session.flush()
    return row


async def remove(session: AsyncSession, actor: Actor, *, passkey_id: UUID) -> Passkey:
    """Remove one of the user's passkeys; with the last factor the recovery codes end.

    The user is told by mail. Locks: the credential.

    Raises:
        NotFound: the user has no such passkey.
        ConfirmationRequired: the session was not confirmed lately.
    """
    require(actor, Action.REMOVE_PASSKEY)
    assert actor.user is not None
    await credentials.lock(session, user_id=actor.user.id)
    row = await _require_own(session, actor, passkey_id)
    await session.execute(
        delete(Passkey).where(col(Passkey.id) == row.id).execution_options(synchronize_session=False)
    )
    if await challenges.load_ways(session, user_id=actor.user.id) == (Proof.PASSWORD,):
        await recovery_codes.end_all(session, user_id=actor.user.id)
    await factor_mails.report(session, actor.user, template="factor_removed", factor=KIND)
    return row


async def _require_own(session: AsyncSession, actor: Actor, passkey_id: UUID) -> Passkey:
    statement = select(Passkey).where(col(Passkey.id) == passkey_id, col(Passkey.user_id) == actor.id)
    row: Passkey | None = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("You have no such passkey.", field="id")
    return row
