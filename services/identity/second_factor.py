"""The second step of a sign-in, and the confirmation of a session: one proof, checked in one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, Token
from models.enums import ChallengePurpose, Proof
from services.access import act_origin
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.errors import WHOLE_INPUT, Invalid, NotFound, Unauthenticated
from services.identity import challenges, factor_mails, passkeys, recovery_codes, sessions, totp
from services.identity.passkeys import Answer
from services.identity.relying_party import RelyingParty
from services.identity.sessions import NewSession, Origin


@dataclass(frozen=True)
class Given:
    """The factor that somebody shows: exactly one of these."""

    code: str | None = None
    recovery_code: str | None = None
    passkey: Answer | None = None


@dataclass(frozen=True)
class Verifier:
    """What the installation checks factors with."""

    keys: Sequence[str]
    party: RelyingParty


def require_one(**values: str | None) -> None:
    """Require exactly one of several fields.

    Raises:
        Invalid: none, or several.
    """
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        raise Invalid(f"Enter exactly one of {', '.join(values)}.", field=given[1] if given else WHOLE_INPUT)


def no_such_sign_in() -> NotFound:
    """Return the problem of a sign-in that is over."""
    return NotFound("This sign-in is over. Begin again with your password.", field="challenge")


async def check(session: AsyncSession, *, user_id: UUID, given: Given, verifier: Verifier) -> Proof:
    """Use up the factor that a user shows, and return which it was. A recovery code is told by mail.

    Raises:
        Invalid: it is wrong, was used before, or is another user's.
    """
    await act_origin.name_person(session, user_id)
    if given.passkey is not None:
        await passkeys.verify(session, answer=given.passkey, user_id=user_id, party=verifier.party)
        return Proof.PASSKEY
    if given.recovery_code is not None:
        if not await recovery_codes.take(session, user_id=user_id, code=given.recovery_code):
            raise totp.wrong_code("recoveryCode")
        await _report_recovery(session, user_id)
        return Proof.RECOVERY_CODE
    if not await totp.take(session, user_id=user_id, code=given.code or "", keys=verifier.keys):
        raise totp.wrong_code()
    return Proof.TOTP


async def _report_recovery(session: AsyncSession, user_id: UUID) -> None:
    user = (await session.execute(select(Collective).where(col(Collective.id) == user_id))).scalar_one()
    left = await recovery_codes.count_left(session, user_id=user_id)
    await factor_mails.report(session, user, template="recovery_code_used", factor=str(left))


async def complete_sign_in(
    session: AsyncSession, actor: Actor, *, token: str, given: Given, verifier: Verifier, origin: Origin
) -> NewSession:
    """Start the session that a sign-in began, with a second factor. Each sign-in is completed once.

    Raises:
        NotFound: the sign-in is over.
        Invalid: as `check`.
        InvalidState: the user is archived or suspended.
    """
    del actor
    user_id = await challenges.find_user(session, token=token)
    if user_id is None:
        raise no_such_sign_in()
    proof = await check(session, user_id=user_id, given=given, verifier=verifier)
    if not await challenges.take(
        session, challenge=token.encode(), purpose=ChallengePurpose.SIGN_IN, user_id=user_id
    ):
        raise no_such_sign_in()
    return await _start(session, user_id, proof, origin)


async def sign_in_with_passkey(
    session: AsyncSession, actor: Actor, *, answer: Answer, party: RelyingParty, origin: Origin
) -> NewSession:
    """Start a session for whoever has a passkey and could unlock it.

    Raises:
        Invalid: as `passkeys.verify`.
        InvalidState: the user is archived or suspended.
    """
    del actor
    passkey = await passkeys.verify(session, answer=answer, user_id=None, party=party)
    return await _start(session, passkey.user_id, Proof.PASSKEY, origin)


async def _start(session: AsyncSession, user_id: UUID, proof: Proof, origin: Origin) -> NewSession:
    user = (await session.execute(select(Collective).where(col(Collective.id) == user_id))).scalar_one()
    return await sessions.start_reported_session(session, user, origin, proof=proof)


async def load_own_hash(session: AsyncSession, actor: Actor) -> str:
    """Load the hash of the password with which the user confirms the session.

    Raises:
        Invalid: the user has a second factor, which is asked for instead, or no password.
    """
    require(actor, Action.CONFIRM_SESSION)
    if actor.ways != (Proof.PASSWORD,):
        raise Invalid(f"Confirm with one of {', '.join(actor.ways)}.", field="password")
    statement = select(col(Credential.password_hash)).where(col(Credential.user_id) == actor.id)
    password_hash: str | None = (await session.execute(statement)).scalar_one_or_none()
    if password_hash is None:
        raise Invalid("Your account has no password. Sign in again to confirm.", field="password")
    return password_hash


async def confirm(session: AsyncSession, actor: Actor, *, given: Given | None, verifier: Verifier) -> Token:
    """Confirm the session; without `given`, the caller has checked the password.

    Raises:
        Invalid: as `check`.
        Unauthenticated: the session has ended meanwhile.
    """
    require(actor, Action.CONFIRM_SESSION)
    assert actor.id is not None
    if given is not None:
        await check(session, user_id=actor.id, given=given, verifier=verifier)
    confirmed = await session.execute(
        update(Token)
        .where(col(Token.id) == actor.token_id, col(Token.revoked_at).is_(None))
        .values(confirmed_at=func.now())
        .returning(Token)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    row: Token | None = confirmed.scalar_one_or_none()
    if row is None:
        raise Unauthenticated("Your session has ended; sign in again.")
    return row


async def begin_confirmation(session: AsyncSession, actor: Actor, *, party: RelyingParty) -> str:
    """Return the options, as JSON, with which a browser confirms the session by a passkey."""
    require(actor, Action.BEGIN_PASSKEY_CONFIRMATION)
    return await passkeys.request_options(
        session, purpose=ChallengePurpose.PASSKEY_CONFIRMATION, user_id=actor.id, party=party
    )


async def begin_passkey_sign_in(
    session: AsyncSession, actor: Actor, *, user_id: UUID | None, party: RelyingParty
) -> str:
    """Return the options, as JSON, to sign in by a passkey, or to complete a user's sign-in by one."""
    del actor
    purpose = ChallengePurpose.PASSKEY_CONFIRMATION if user_id else ChallengePurpose.PASSKEY_SIGN_IN
    return await passkeys.request_options(session, purpose=purpose, user_id=user_id, party=party)
