"""Joining a host; from another one, with the balance, which the former host then owes the new one."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Member, now
from models.enums import LedgerAccountKind, MemberRole, TransactionKind
from services.access.actor import Actor
from services.collectives import collectives
from services.core.errors import AmountTooSmall, FxRateUnavailable, InvalidState
from services.core.party import Party
from services.ledger import clearing, exchange_rates, posting, transaction_amounts
from services.ledger.legs import Leg, posting_legs
from services.ledger.transaction_amounts import CURRENTS, FeeTerms, TransactionAmounts
from services.messaging import outbox

_FIELD = "id"


async def start_hosting(
    session: AsyncSession, actor: Actor, collective: Collective, host: Collective
) -> None:
    """Set the host, add the HOST member and open the account; from another host, move the balance.

    Locks: the collective, then ledger accounts.

    Raises:
        InvalidState: either is archived, the host is suspended, the collective is a host or with this host
            already, or it moves and has an open order.
        LimitExceeded and others: a balance that cannot be moved; as `move_balance`.
    """
    await collectives.lock(session, collective.id)
    await session.refresh(collective)
    await session.refresh(host)
    if collective.archived_at is not None or host.archived_at is not None:
        raise InvalidState("The collective or its host is archived.", field="id")
    if host.host_id != host.id or host.host_suspended_at is not None:
        raise InvalidState("The host is suspended.", field="id")
    if collective.host_id in {collective.id, host.id}:
        raise InvalidState("The collective is a host by now, or it is with this host already.", field="id")
    former = None
    if collective.host_id is not None:
        await _require_nothing_pending(session, collective)
        former = await session.get_one(Collective, collective.host_id)
        await collectives.end_hosting(session, collective)
    collective.host_id, collective.host_approved_at = host.id, now()
    collective.updated_at = now()
    session.add(
        Member(collective_id=collective.id, member_id=host.id, role=MemberRole.HOST, created_by_id=actor.id)
    )
    await session.flush()
    await posting.open_balance_account(
        session, book_id=host.id, owner_id=collective.id, currency=collective.currency
    )
    if former is not None:
        await move_balance(session, collective, from_host=former, to_host=host)
        await _notify_former_host(session, actor, collective, former, host)


async def _require_nothing_pending(session: AsyncSession, collective: Collective) -> None:
    """Require that no open order, and so no hold, stays behind in the book of the host that is left."""
    if await collectives.has_open_order(session, collective.id):
        raise InvalidState("The collective has an open order. Settle or cancel it first.", field="id")


async def _notify_former_host(
    session: AsyncSession, actor: Actor, collective: Collective, former: Collective, host: Collective
) -> None:
    await outbox.mail_admins(
        session,
        collective_ids=[former.id],
        template="host_moved",
        except_id=actor.id,
        payload={"collective": collective.name, "host": former.name, "to": host.name},
    )


async def move_balance(
    session: AsyncSession, collective: Collective, *, from_host: Collective, to_host: Collective
) -> None:
    """Post the move of a collective's whole balance between two hosts, without fees.

    Callers hold the collective's lock and have set its new host. Locks: the ledger accounts.

    Raises:
        InvalidState: the balance is negative.
        AmountTooSmall, FxRateUnavailable: the balance, or its exchange.
        LimitExceeded: the old host would owe the new one more than that allows.
    """
    balance_minor = await _load_balance(session, collective, book_id=from_host.id)
    if balance_minor == 0:
        return
    payer, payee = Party(collective, from_host), Party(collective, to_host)
    amounts, legs = await _prepare(session, balance_minor, payer, payee)
    await posting.lock_accounts(session, legs)
    locked_minor = await _load_balance(session, collective, book_id=from_host.id)
    if locked_minor != balance_minor:
        amounts, legs = await _prepare(session, locked_minor, payer, payee)
    row = posting.transaction_row(
        amounts,
        payer,
        payee,
        kind=TransactionKind.HOST_MOVE,
        order=None,
        description=f"Move from {from_host.name} to {to_host.name}",
    )
    await posting.post(
        session,
        row=row,
        legs=legs,
        explain=lambda error: clearing.explain_limit(error, debtor=from_host, creditor=to_host, field=_FIELD),
    )


async def _prepare(
    session: AsyncSession, balance_minor: int, payer: Party, payee: Party
) -> tuple[TransactionAmounts, list[Leg]]:
    """Return the amounts of moving a balance, and their legs."""
    assert payee.host is not None
    if balance_minor < 0:
        raise InvalidState("The balance is negative. Bring it to zero first.", field=_FIELD)
    try:
        quotes = await exchange_rates.load_quotes(
            session, transaction_amounts.required_rates(payer.currency, payer, payee)
        )
        amounts = transaction_amounts.compute_amounts(
            balance_minor, payer.currency, payer, payee, terms=FeeTerms(), quotes=quotes
        )
    except (AmountTooSmall, FxRateUnavailable) as problem:
        raise type(problem)(problem.message, field=_FIELD) from problem
    return amounts, posting_legs(amounts, payer, payee, platform_id=payee.host.id)


async def _load_balance(session: AsyncSession, collective: Collective, *, book_id: UUID) -> int:
    """Return what a host owes a collective in the collective's currency."""
    statement = select(func.coalesce(func.sum(LedgerAccount.posted), 0)).where(
        col(LedgerAccount.book_id) == book_id,
        col(LedgerAccount.owner_id) == collective.id,
        col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
        col(LedgerAccount.currency) == collective.currency,
        col(LedgerAccount.currency) != CURRENTS,
    )
    return int((await session.execute(statement)).scalar_one())
