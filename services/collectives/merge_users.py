"""Two users who are one person become one: what the first has and is follows to the second."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import (
    Collective,
    Credential,
    EmailToken,
    Invitation,
    LedgerAccount,
    Member,
    MergedEmail,
    Order,
    SlugRedirect,
    new_id,
    now,
)
from models.enums import (
    CollectiveType,
    LedgerAccountKind,
    OrderStatus,
    RequestStatus,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve
from services.access.permissions import Action, require
from services.collectives import members
from services.core.errors import Invalid, InvalidState
from services.identity import access_tokens, email_addresses
from services.ledger import posting
from services.ledger.transaction_amounts import Leg, merged, unconverted

FROM, INTO = ["input", "from"], ["input", "into"]
_OPEN = (OrderStatus.PENDING, OrderStatus.APPROVED)
_UNSYNCED = {"synchronize_session": False}


@dataclass(frozen=True)
class _Pair:
    """The two users, locked; `source` becomes part of `target`."""

    source: Collective
    target: Collective


async def merge(session: AsyncSession, actor: Actor, *, from_: Ref, into: Ref) -> Collective:
    """Let `into` take over what `from` has: balances, roles, invitations, address and slug; return `into`.

    `from` stays, archived, with its history; it can sign in no more. Locks: the rows of both users in the
    order of their ids, then their ledger accounts.

    Raises:
        Invalid: one is no user, or the two are one.
        InvalidState: one was merged before, `into` is archived, or `from` has an open order or a hold.
        InsufficientFunds: from the database, where `from` owes more than `into` has.
    """
    parties = await resolve(session, actor, {"from": from_, "into": into})
    require(actor, Action.MERGE_USERS)
    pair = await _locked(session, named(parties["from"]).id, named(parties["into"]).id)
    _require_mergeable(pair)
    await _require_settled(session, pair.source)
    await _move_balances(session, pair)
    await _move_roles(session, pair)
    await _move_invitations(session, pair)
    await _end_access(session, pair.source)
    await _move_address(session, pair)
    await _close(session, pair)
    return pair.target


async def _locked(session: AsyncSession, from_id: UUID, into_id: UUID) -> _Pair:
    statement = (
        select(Collective)
        .where(col(Collective.id).in_([from_id, into_id]))
        .order_by(col(Collective.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    rows = {row.id: row for row in (await session.execute(statement)).scalars()}
    return _Pair(rows[from_id], rows[into_id])


def _require_mergeable(pair: _Pair) -> None:
    for row, path in ((pair.source, FROM), (pair.target, INTO)):
        if row.type != CollectiveType.USER:
            raise Invalid("Only people are merged", path=path)
        if row.merged_into_id is not None:
            raise InvalidState(f"{row.slug} was merged before", path=path)
    if pair.source.id == pair.target.id:
        raise Invalid("The two are one", path=FROM)
    require_open(pair.target, path=INTO)


async def _require_settled(session: AsyncSession, source: Collective) -> None:
    """Let through who has nothing on its way: no new order slips in, for its row is locked."""
    checks = select(
        exists().where(col(LedgerAccount.owner_id) == source.id, col(LedgerAccount.held) != 0),
        exists().where(
            or_(col(Order.from_id) == source.id, col(Order.to_id) == source.id), col(Order.status).in_(_OPEN)
        ),
    )
    held, waiting = (await session.execute(checks)).one()
    if waiting:
        raise InvalidState(f"An order of {source.slug} is still open", path=FROM)
    if held:
        raise InvalidState(f"A part of {source.slug}'s balance is held", path=FROM)


async def _move_balances(session: AsyncSession, pair: _Pair) -> None:
    """Move what `from` has, account by account: the same book, the same currency, never through fx."""
    of_both = select(LedgerAccount).where(
        col(LedgerAccount.owner_id).in_([pair.source.id, pair.target.id]),
        col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
    )
    accounts = (await session.execute(of_both)).scalars().all()
    if not any(account.owner_id == pair.source.id for account in accounts):
        return
    await posting.lock(
        session, [Leg(row.book_id, row.owner_id, row.currency, row.kind, 0) for row in accounts]
    )
    settled = of_both.where(col(LedgerAccount.owner_id) == pair.source.id, col(LedgerAccount.posted) != 0)
    locked = await session.execute(
        settled.order_by(col(LedgerAccount.book_id), col(LedgerAccount.currency)).execution_options(
            populate_existing=True
        )
    )
    group_id = new_id()
    for account in locked.scalars().all():
        await _post(session, pair, account, group_id=group_id)


async def _post(session: AsyncSession, pair: _Pair, account: LedgerAccount, *, group_id: UUID) -> None:
    """Write one transaction; a debt goes the other way, for an amount is never below zero."""
    payer, payee = (pair.source, pair.target) if account.posted > 0 else (pair.target, pair.source)
    amount, book_id, currency = abs(account.posted), account.book_id, account.currency
    row: dict[str, Any] = {
        "id": new_id(),
        "group_id": group_id,
        "kind": TransactionKind.MERGE,
        "from_collective_id": payer.id,
        "to_collective_id": payee.id,
        "from_host_id": book_id,
        "to_host_id": book_id,
        "has_public_side": False,
        **asdict(unconverted(amount, currency)),
    }
    kind = LedgerAccountKind.BALANCE
    legs = merged(
        [
            Leg(book_id, payer.id, currency, kind, -amount),
            Leg(book_id, payee.id, currency, kind, amount),
        ]
    )
    await posting.post(session, row=row, legs=legs)


async def _move_roles(session: AsyncSession, pair: _Pair) -> None:
    """End what `from` is and who follows it; `into` takes its place, unless it is there already."""
    source, target = pair.source.id, pair.target.id
    ended = await session.execute(
        update(Member)
        .where(
            or_(col(Member.member_id) == source, col(Member.collective_id) == source),
            col(Member.until).is_(None),
        )
        .values(until=func.greatest(now(), col(Member.since)))
        .returning(col(Member.collective_id), col(Member.member_id), col(Member.role)),
        execution_options=_UNSYNCED,
    )
    places = [
        (
            target if row.collective_id == source else row.collective_id,
            target if row.member_id == source else row.member_id,
            row.role,
        )
        for row in ended
    ]
    await members.add_many(session, [place for place in places if place[0] != place[1]])
    await session.execute(
        update(Collective).where(col(Collective.coordinator_id) == source).values(coordinator_id=target)
    )


async def _move_invitations(session: AsyncSession, pair: _Pair) -> None:
    """Let `into` answer what waits for `from`; of two that offer the same, its own stays."""
    other = aliased(Invitation)
    twice = exists().where(
        col(other.user_id) == pair.target.id,
        col(other.status) == RequestStatus.PENDING,
        col(other.collective_id) == Invitation.collective_id,
        col(other.role) == Invitation.role,
    )
    waiting = update(Invitation).where(
        col(Invitation.user_id) == pair.source.id, col(Invitation.status) == RequestStatus.PENDING
    )
    await session.execute(
        waiting.where(twice).values(status=RequestStatus.DECLINED, answered_at=now()),
        execution_options=_UNSYNCED,
    )
    await session.execute(waiting.values(user_id=pair.target.id), execution_options=_UNSYNCED)


async def _end_access(session: AsyncSession, source: Collective) -> None:
    """End the sessions and tokens of a user, and the mailed tokens that could still prove its address."""
    await access_tokens.revoke_all(session, user_id=source.id)
    await session.execute(
        update(EmailToken)
        .where(col(EmailToken.user_id) == source.id, col(EmailToken.used_at).is_(None))
        .values(used_at=now())
    )


async def _move_address(session: AsyncSession, pair: _Pair) -> None:
    """Let the address of `from` lead to `into`; who has none of their own takes it over whole."""
    source, target = pair.source, pair.target
    of_source = col(Credential.user_id) == source.id
    found = await email_addresses.email_of(session, user_ids=[source.id, target.id])
    if source.id not in found:
        return
    if target.id not in found:
        await session.execute(
            update(Credential).where(of_source).values(user_id=target.id), execution_options=_UNSYNCED
        )
        target.claimed_at = target.claimed_at or source.claimed_at
        return
    await session.execute(delete(Credential).where(of_source), execution_options=_UNSYNCED)
    session.add(MergedEmail(email=found[source.id], user_id=target.id))
    await session.flush()


async def _close(session: AsyncSession, pair: _Pair) -> None:
    """Put `from` away; its slug, and those that it had before, lead to `into`."""
    source, target = pair.source, pair.target
    slug, moment = source.slug, now()
    await session.execute(
        update(SlugRedirect)
        .where(col(SlugRedirect.collective_id) == source.id)
        .values(collective_id=target.id)
    )
    source.slug = f"merged-{source.id.hex}"
    source.archived_at, source.merged_into_id = source.archived_at or moment, target.id
    source.updated_at = target.updated_at = moment
    session.add_all([source, target])
    await session.flush()
    session.add(SlugRedirect(slug=slug, collective_id=target.id))
    await session.flush()
