"""Second factors: attempts are counted, and challenges used up, before anything is checked."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Passkey, Token, now
from models.enums import ChallengePurpose
from resolvers.context import Context, Info
from resolvers.identity import origin_of, require_own_password
from services.access import attempt_limits
from services.access.permissions import Action, require
from services.core.errors import RateLimited
from services.identity import challenges, passkeys, second_factor, totp
from services.identity.relying_party import RelyingParty
from services.identity.second_factor import Given, Verifier
from services.identity.sessions import NewSession
from services.identity.totp import Enrolment

P = ParamSpec("P")
T = TypeVar("T")


async def enroll_totp(info: Info) -> Enrolment:
    """Make the secret of an authenticator app."""
    return await info.context.run(totp.enroll, keys=info.context.settings.secret_keys)


async def activate_totp(info: Info, *, code: str) -> list[str]:
    """Make the secret a factor with its first code; wrong ones are counted."""
    context = info.context
    await context.run(totp.require_pending)
    assert context.actor.id is not None
    await _count(context, context.actor.id)
    recovery_codes = await context.run(totp.activate, code=code, keys=context.settings.secret_keys)
    await context.run_without_viewer(attempt_limits.forget_factor_attempts, user_id=context.actor.id)
    return recovery_codes


async def begin_passkey_registration(info: Info) -> str:
    """Return the options for a new passkey."""
    return await info.context.run(passkeys.begin_registration, party=RelyingParty.of(info.context.settings))


async def register_passkey(info: Info, *, credential: str, name: str) -> tuple[Passkey, list[str]]:
    """Store a new passkey."""
    context = info.context
    require(context.actor, Action.REGISTER_PASSKEY)
    answer = passkeys.parse_answer(credential, field="credential")
    await _apart(
        context,
        passkeys.take_challenge,
        answer=answer,
        purpose=ChallengePurpose.PASSKEY_REGISTRATION,
        user_id=context.actor.id,
    )
    party = RelyingParty.of(context.settings)
    return await context.run(passkeys.register, answer=answer, name=name, party=party)


async def begin_passkey_sign_in(info: Info, *, challenge: str | None) -> str:
    """Return the options for a sign-in by passkey, counted for each network address.

    Raises:
        NotFound: the sign-in to complete is over.
        RateLimited: too many from the network address.
    """
    context = info.context
    user_id = await _require_sign_in(context, challenge) if challenge is not None else None
    if not await _apart(
        context,
        attempt_limits.consume_passkey_challenge,
        address=context.address,
        per_address=context.settings.sign_in_failures_per_address,
    ):
        raise RateLimited("Too many attempts. Try again in 15 minutes.", field="challenge")
    party = RelyingParty.of(context.settings)
    return await context.run(second_factor.begin_passkey_sign_in, user_id=user_id, party=party)


async def sign_in_with_passkey(info: Info, *, credential: str) -> NewSession:
    """Sign in by a passkey alone."""
    context = info.context
    answer = passkeys.parse_answer(credential, field="credential")
    await _apart(context, passkeys.take_challenge, answer=answer, purpose=ChallengePurpose.PASSKEY_SIGN_IN)
    return await context.run(
        second_factor.sign_in_with_passkey,
        answer=answer,
        party=RelyingParty.of(context.settings),
        origin=origin_of(context),
    )


async def complete_sign_in(
    info: Info, *, challenge: str, code: str | None, recovery_code: str | None, passkey: str | None
) -> NewSession:
    """Complete a sign-in with a second factor.

    Raises:
        RateLimited: too many wrong codes.
    """
    context = info.context
    second_factor.require_one(code=code, recoveryCode=recovery_code, passkey=passkey)
    user_id = await _require_sign_in(context, challenge)
    given = await _receive(context, user_id, code=code, recovery_code=recovery_code, passkey=passkey)
    started = await context.run(
        second_factor.complete_sign_in,
        token=challenge,
        given=given,
        verifier=_verifier(context),
        origin=origin_of(context),
    )
    await _forget(context, user_id, given)
    return started


async def begin_passkey_confirmation(info: Info) -> str:
    """Return the options for a confirmation by passkey."""
    party = RelyingParty.of(info.context.settings)
    return await info.context.run(second_factor.begin_confirmation, party=party)


async def confirm_session(
    info: Info, *, password: str | None, code: str | None, recovery_code: str | None, passkey: str | None
) -> Token:
    """Confirm the viewer's session; the fields that follow find it confirmed.

    Raises:
        RateLimited: too many wrong codes or passwords.
        Busy: too many others are signing in.
    """
    context = info.context
    require(context.actor, Action.CONFIRM_SESSION)
    assert context.actor.id is not None
    second_factor.require_one(password=password, code=code, recoveryCode=recovery_code, passkey=passkey)
    if password is not None:
        own_hash = await context.run(second_factor.load_own_hash)
        await require_own_password(context, password_hash=own_hash, password=password, field="password")
        row = await context.run(second_factor.confirm, given=None, verifier=_verifier(context))
        await context.run_without_viewer(
            attempt_limits.forget_own_password_attempts, user_id=context.actor.id
        )
    else:
        user_id = context.actor.id
        given = await _receive(context, user_id, code=code, recovery_code=recovery_code, passkey=passkey)
        row = await context.run(second_factor.confirm, given=given, verifier=_verifier(context))
        await _forget(context, user_id, given)
    context.actor = replace(context.actor, confirmed_at=now())
    return row


async def _require_sign_in(context: Context, challenge: str) -> UUID:
    """Find whose sign-in a challenge continues.

    Raises:
        NotFound: it is over.
    """
    user_id = await _apart(context, challenges.find_user, token=challenge)
    if user_id is None:
        raise second_factor.no_such_sign_in()
    return user_id


async def _receive(
    context: Context, user_id: UUID, *, code: str | None, recovery_code: str | None, passkey: str | None
) -> Given:
    """Count a code; use up the challenge that a passkey signs. Recovery codes are too long to be guessed."""
    if code is not None:
        await _count(context, user_id)
    if passkey is None:
        return Given(code=code, recovery_code=recovery_code)
    answer = passkeys.parse_answer(passkey, field="passkey")
    purpose = ChallengePurpose.PASSKEY_CONFIRMATION
    await _apart(context, passkeys.take_challenge, answer=answer, purpose=purpose, user_id=user_id)
    return Given(passkey=answer)


async def _count(context: Context, user_id: UUID) -> None:
    if not await _apart(context, attempt_limits.consume_factor_attempt, user_id=user_id):
        raise RateLimited(
            "Too many wrong codes. Try again later, or use a passkey or a recovery code.", field="code"
        )


async def _forget(context: Context, user_id: UUID, given: Given) -> None:
    if given.code is not None:
        await context.run_without_viewer(attempt_limits.forget_factor_attempts, user_id=user_id)


async def _apart(
    context: Context,
    service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call a service in a transaction of its own, with no other connection in hand where that can be."""
    await context.release()
    return await context.in_own_transaction(service, *args, **kwargs)


def _verifier(context: Context) -> Verifier:
    return Verifier(context.settings.secret_keys, RelyingParty.of(context.settings))
