"""Leaving a host without a balance, and asking to move to another one with it."""

from uuid import UUID

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, HostApplication, LedgerAccount
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives import collectives, hosting
from services.collectives.hosting import APPLICANTS
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox


async def leave(
    session: AsyncSession, actor: Actor, *, collective: CollectiveKey, reason: str | None = None
) -> Collective:
    """End a host's holding of a collective's money; its ADMINs and the host's can, when nothing is left.

    Locks: the collective, so that a new order comes before it or is refused.

    Raises:
        Invalid: it is a user or event, or its own host.
        InvalidState: it has no host, or a balance, a hold or an open order remains.
    """
    party = await resolve_one(session, actor, collective)
    row = require_collective(party)
    require(actor, Action.LEAVE_HOST, Subject(collective=row, host=party.host))
    text = user_text.clean_text(reason, field="reason")
    if row.type not in APPLICANTS or row.host_id == row.id:
        raise Invalid("This collective has no host to leave.", field="collective")
    await collectives.lock(session, row.id)
    await session.refresh(row)
    if row.host_id is None or party.host is None or row.host_id != party.host.id:
        raise InvalidState("The collective is not with this host any more.", field="collective")
    await _require_settled(session, row)
    await collectives.end_hosting(session, row)
    await outbox.mail_admins(
        session,
        collective_ids=[row.id, party.host.id],
        template="host_left",
        except_id=actor.id,
        payload={"collective": row.name, "host": party.host.name, "reason": text or ""},
    )
    return row


async def request_move(
    session: AsyncSession,
    actor: Actor,
    *,
    application_id: UUID,
    collective: CollectiveKey,
    host: CollectiveKey,
    message: str | None = None,
) -> HostApplication:
    """Apply to another host to take over a hosted collective with its balance; `hosting.decide` moves it.

    Raises:
        Invalid: it is a user, an event or a host, or the new host is no host or its present one.
        InvalidState: the collective has no host, or either is archived, or the new host is suspended.
        Conflict: from the database, if another application of it is pending.
    """
    parties = await resolve(session, actor, {"collective": collective, "host": host})
    row, holder = require_collective(parties["collective"]), require_collective(parties["host"])
    require(actor, Action.MOVE_TO_HOST, Subject(collective=row))
    hosting.require_applicable(row, holder)
    if row.host_id is None:
        raise InvalidState("This collective has no host. Apply to one instead.", field="collective")
    if row.host_id == row.id:
        raise Invalid("This collective is a host itself and cannot move to another.", field="collective")
    if row.host_id == holder.id:
        raise Invalid("The collective is with this host already. Choose another one.", field="host")
    return await hosting.file_application(
        session, actor, row, holder, application_id=application_id, message=message, template="host_move"
    )


async def _require_settled(session: AsyncSession, row: Collective) -> None:
    """Require that nothing of a collective is left in its host's book or on its way there."""
    checks = select(
        exists().where(
            col(LedgerAccount.book_id) == row.host_id,
            col(LedgerAccount.owner_id) == row.id,
            col(LedgerAccount.currency) != CURRENTS,
            or_(col(LedgerAccount.posted) != 0, col(LedgerAccount.held) != 0),
        ),
        collectives.open_order_exists(row.id),
    )
    has_balance, has_open_order = (await session.execute(checks)).one()
    if has_balance:
        raise InvalidState("The host still holds money of the collective. Move it first.", field="collective")
    if has_open_order:
        raise InvalidState(
            "The collective still has an open order. Settle or cancel it first.", field="collective"
        )
