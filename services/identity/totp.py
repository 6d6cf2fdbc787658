"""Authenticator apps: six digits that change every 30 seconds, each of which works once."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import pyotp
import segno
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Credential, TotpFactor, now
from models.enums import Proof
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.errors import WHOLE_INPUT, Invalid, InvalidState
from services.identity import challenges, credentials, factor_mails, recovery_codes
from services.identity.sealed_secrets import open_sealed, seal

ISSUER = "Commonweal"
STEP_SECONDS, DIGITS = 30, 6
DRIFT_STEPS = 1
"""A clock may be 30 seconds off, either way."""
APP = "an authenticator app"


@dataclass(frozen=True)
class Enrolment:
    """A secret for an authenticator app, shown once."""

    secret: str
    uri: str
    qr_code: str
    """A picture of the URI, as a `data:` address of an SVG."""


async def enroll(session: AsyncSession, actor: Actor, *, keys: Sequence[str]) -> Enrolment:
    """Make a secret, which becomes a factor with its first right code. An earlier unused secret ends.

    Raises:
        InvalidState: the user has an authenticator app.
        ConfirmationRequired: the session was not confirmed lately.
    """
    require(actor, Action.ENROLL_TOTP)
    assert actor.user is not None
    statement = select(col(Credential.email)).where(col(Credential.user_id) == actor.user.id)
    email = (await session.execute(statement.with_for_update())).scalar_one()
    text = pyotp.random_base32()
    row = insert(TotpFactor).values(
        user_id=actor.user.id, secret=seal(text.encode(), user_id=actor.user.id, keys=keys)
    )
    stored = await session.execute(
        row.on_conflict_do_update(
            index_elements=["user_id"],
            set_={"secret": row.excluded.secret, "created_at": func.now()},
            where=col(TotpFactor.activated_at).is_(None),
        ).returning(col(TotpFactor.user_id))
    )
    if stored.scalar_one_or_none() is None:
        raise InvalidState("You have an authenticator app. Remove it first.", field=WHOLE_INPUT)
    uri = pyotp.TOTP(text).provisioning_uri(name=email, issuer_name=ISSUER)
    return Enrolment(text, uri, segno.make(uri, error="m").svg_data_uri(scale=4))


async def activate(session: AsyncSession, actor: Actor, *, code: str, keys: Sequence[str]) -> list[str]:
    """Make the secret a factor, with a right code; return recovery codes if this is the first factor.

    The user is told by mail. Locks: the credential.

    Raises:
        InvalidState: there is no secret that waits for its first code.
        Invalid: the code is wrong.
    """
    factor = await require_pending(session, actor)
    assert actor.user is not None
    step = _find_step(factor, code, keys)
    if step is None:
        raise wrong_code()
    factor.activated_at, factor.last_step = now(), step
    await session.flush()
    await factor_mails.report(session, actor.user, template="factor_added", factor=APP)
    return await recovery_codes.ensure(session, user_id=actor.user.id)


async def require_pending(session: AsyncSession, actor: Actor) -> TotpFactor:
    """Require that a secret waits for its first code. Locks: the credential.

    Raises:
        InvalidState: there is none.
    """
    require(actor, Action.ACTIVATE_TOTP)
    assert actor.user is not None
    await credentials.lock(session, user_id=actor.user.id)
    factor = await _load(session, actor.user.id)
    if factor is None or factor.activated_at is not None:
        raise InvalidState("Ask for the secret of an authenticator app first.", field=WHOLE_INPUT)
    return factor


async def disable(session: AsyncSession, actor: Actor) -> None:
    """Remove the authenticator app; with the last factor its recovery codes end. The user is told by mail.

    Locks: the credential.

    Raises:
        InvalidState: the user has none.
        ConfirmationRequired: the session was not confirmed lately.
    """
    require(actor, Action.DISABLE_TOTP)
    assert actor.user is not None
    await credentials.lock(session, user_id=actor.user.id)
    removed = await session.execute(
        delete(TotpFactor)
        .where(col(TotpFactor.user_id) == actor.user.id, col(TotpFactor.activated_at).is_not(None))
        .returning(col(TotpFactor.user_id))
    )
    if removed.scalar_one_or_none() is None:
        raise InvalidState("You have no authenticator app.", field=WHOLE_INPUT)
    if await challenges.load_ways(session, user_id=actor.user.id) == (Proof.PASSWORD,):
        await recovery_codes.end_all(session, user_id=actor.user.id)
    await factor_mails.report(session, actor.user, template="factor_removed", factor=APP)


async def take(session: AsyncSession, *, user_id: UUID, code: str, keys: Sequence[str]) -> bool:
    """Use a code; return False if it is wrong, was used, or is older than one that was used.

    Of several requests with one code, one succeeds: the step is advanced by a conditional UPDATE.
    """
    factor = await _load(session, user_id)
    step = _find_step(factor, code, keys) if factor is not None and factor.activated_at else None
    if step is None:
        return False
    used = await session.execute(
        update(TotpFactor)
        .where(
            col(TotpFactor.user_id) == user_id,
            col(TotpFactor.activated_at).is_not(None),
            col(TotpFactor.last_step) < step,
        )
        .values(last_step=step)
        .returning(col(TotpFactor.user_id))
        .execution_options(synchronize_session=False)
    )
    return used.scalar_one_or_none() is not None


def wrong_code(field: str = "code") -> Invalid:
    """Return the problem of a code that does not work."""
    return Invalid("This code is wrong, was used before, or is over. Enter the next one.", field=field)


async def load_activation(session: AsyncSession, *, user_id: UUID) -> TotpFactor | None:
    """Load the user's authenticator app, if it is a factor."""
    factor = await _load(session, user_id)
    return factor if factor is not None and factor.activated_at else None


async def _load(session: AsyncSession, user_id: UUID) -> TotpFactor | None:
    statement = select(TotpFactor).where(col(TotpFactor.user_id) == user_id)
    row: TotpFactor | None = (
        await session.execute(statement.execution_options(populate_existing=True))
    ).scalar_one_or_none()
    return row


def _find_step(factor: TotpFactor, code: str, keys: Sequence[str]) -> int | None:
    """Return the step, after the last used one and near the present one, whose code this is."""
    digits = "".join(code.split())
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    app = pyotp.TOTP(open_sealed(factor.secret, user_id=factor.user_id, keys=keys).decode())
    present = int(now().timestamp()) // STEP_SECONDS
    steps = range(max(present - DRIFT_STEPS, factor.last_step + 1), present + DRIFT_STEPS + 1)
    return next((step for step in steps if hmac.compare_digest(app.generate_otp(step), digits)), None)
