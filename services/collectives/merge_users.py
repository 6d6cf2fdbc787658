"""Merges two accounts of a person: balances, roles and invitations move to the second."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import (
    Collective,
    Credential,
    Invitation,
    LedgerAccount,
    Member,
    MergedEmail,
    SlugRedirect,
    new_id,
    now,
)
from models.enums import (
    CollectiveType,
    LedgerAccountKind,
    Proof,
    RequestStatus,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve
from services.access.permissions import Action, Subject, require
from services.collectives import collectives, members, merge_consents
from services.collectives.merge_consents import MergeResult
from services.core.errors import Invalid, InvalidState
from services.identity import access_tokens, challenges, email_addresses, email_tokens, identities
from services.ledger import posting
from services.ledger.legs import Leg, merge_legs
from services.ledger.transaction_amounts import same_currency_amounts
from services.messaging import outbox

FROM, INTO = "from", "into"
_UNSYNCED = {"synchronize_session": False}


@dataclass(frozen=True)
class _Pair:
    """Two users, locked; `source` is merged into `target`."""

    source: Collective
    target: Collective


async def merge(
    session: AsyncSession, actor: Actor, *, consent_id: UUID, from_: CollectiveKey, into: CollectiveKey
) -> MergeResult:
    """Record the actor's consent to a merge and, once it suffices, move all of `from` to `into`.

    A merge needs both persons, or two ADMINs of the platform who are neither of them, within seven days. Both
    persons get a mail of the request, and another once it is done.
    Balances, roles, invitations, address and slug move; `from` is archived with its history and can no longer
    sign in. Locks: the rows of both users in order of their ids, then their ledger accounts.

    Raises:
        Invalid: one is not a user, or both are the same user.
        InvalidState: one was merged before, `into` is archived, or `from` has an open order or a hold; or
            `into` has no address, and `from` has a second factor.
        InsufficientFunds: raised by the database if `from` owes more than `into` has.
    """
    parties = await resolve(session, actor, {"from": from_, "into": into})
    source, target = require_collective(parties["from"]), require_collective(parties["into"])
    require(actor, Action.MERGE_USERS, Subject(payer=source, payee=target))
    pair = await _lock_pair(session, source.id, target.id)
    _require_mergeable(pair)
    await _require_nothing_open(session, pair.source)
    consents = await merge_consents.record_consent(
        session, actor, consent_id=consent_id, from_id=pair.source.id, into_id=pair.target.id
    )
    if not consents.is_enough:
        if not consents.is_repeated:
            await _mail(session, pair, template="merge_requested", except_id=actor.id)
        return MergeResult(pair.target, is_merged=False)
    await _mail(session, pair, template="accounts_merged")
    await _move_balances(session, pair)
    await _move_roles(session, pair)
    await _move_invitations(session, pair)
    await _end_access(session, pair.source)
    await _move_address(session, pair)
    await _archive_source(session, pair)
    return MergeResult(pair.target, is_merged=True)


async def _lock_pair(session: AsyncSession, from_id: UUID, into_id: UUID) -> _Pair:
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
    for row, field in ((pair.source, FROM), (pair.target, INTO)):
        if row.type != CollectiveType.USER:
            raise Invalid("Choose two users. Only users can be merged.", field=field)
        if row.merged_into_id is not None:
            raise InvalidState(f"{row.slug} has already been merged.", field=field)
    if pair.source.id == pair.target.id:
        raise Invalid("Choose two different users.", field=FROM)
    require_open(pair.target, field=INTO)


async def _require_nothing_open(session: AsyncSession, source: Collective) -> None:
    """Require that a user has no hold and no open order; the lock keeps new orders out."""
    checks = select(
        exists().where(col(LedgerAccount.owner_id) == source.id, col(LedgerAccount.held) != 0),
        collectives.open_order_exists(source.id),
    )
    has_hold, has_open_order = (await session.execute(checks)).one()
    if has_open_order:
        raise InvalidState(f"{source.slug} still has an open order. Settle or cancel it first.", field=FROM)
    if has_hold:
        raise InvalidState(f"Part of {source.slug}'s balance is held. Release it first.", field=FROM)


async def _mail(session: AsyncSession, pair: _Pair, *, template: str, except_id: UUID | None = None) -> None:
    """Queue a mail to both persons, at the addresses that they have before the merge."""
    await outbox.mail_users(
        session,
        user_ids=[pair.source.id, pair.target.id],
        template=template,
        payload={"source": pair.source.slug, "target": pair.target.slug},
        except_id=except_id,
    )


async def _move_balances(session: AsyncSession, pair: _Pair) -> None:
    """Move the balances of `from`, each within its book and currency, without conversion."""
    accounts_of_both = select(LedgerAccount).where(
        col(LedgerAccount.owner_id).in_([pair.source.id, pair.target.id]),
        col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
    )
    accounts = (await session.execute(accounts_of_both)).scalars().all()
    if not any(account.owner_id == pair.source.id for account in accounts):
        return
    await posting.lock_accounts(
        session, [Leg(row.book_id, row.owner_id, row.currency, row.kind, 0) for row in accounts]
    )
    nonzero = accounts_of_both.where(
        col(LedgerAccount.owner_id) == pair.source.id, col(LedgerAccount.posted) != 0
    )
    accounts_to_move = await session.execute(
        nonzero.order_by(col(LedgerAccount.book_id), col(LedgerAccount.currency)).execution_options(
            populate_existing=True
        )
    )
    group_id = new_id()
    for account in accounts_to_move.scalars().all():
        await _post_balance(session, pair, account, group_id=group_id)


async def _post_balance(
    session: AsyncSession, pair: _Pair, account: LedgerAccount, *, group_id: UUID
) -> None:
    """Post one transaction; a debt reverses its sides, because amounts are never negative."""
    payer, payee = (pair.source, pair.target) if account.posted > 0 else (pair.target, pair.source)
    amount_minor, book_id, currency = abs(account.posted), account.book_id, account.currency
    row: dict[str, Any] = {
        "id": new_id(),
        "group_id": group_id,
        "kind": TransactionKind.MERGE,
        "from_collective_id": payer.id,
        "to_collective_id": payee.id,
        "from_host_id": book_id,
        "to_host_id": book_id,
        "has_public_side": False,
        **same_currency_amounts(amount_minor, currency).columns(),
    }
    kind = LedgerAccountKind.BALANCE
    legs = merge_legs(
        [
            Leg(book_id, payer.id, currency, kind, -amount_minor),
            Leg(book_id, payee.id, currency, kind, amount_minor),
        ]
    )
    await posting.post(session, row=row, legs=legs)


async def _move_roles(session: AsyncSession, pair: _Pair) -> None:
    """End the member rows of `from` on both sides; `into` gets those that it lacks."""
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
    memberships = [
        (
            target if row.collective_id == source else row.collective_id,
            target if row.member_id == source else row.member_id,
            row.role,
        )
        for row in ended
    ]
    await members.add_many(session, [row for row in memberships if row[0] != row[1]])
    await session.execute(
        update(Collective).where(col(Collective.coordinator_id) == source).values(coordinator_id=target)
    )


async def _move_invitations(session: AsyncSession, pair: _Pair) -> None:
    """Move the pending invitations of `from`; one that `into` has already is declined."""
    other = aliased(Invitation)
    is_duplicate = exists().where(
        col(other.user_id) == pair.target.id,
        col(other.status) == RequestStatus.PENDING,
        col(other.collective_id) == Invitation.collective_id,
        col(other.role) == Invitation.role,
    )
    pending = update(Invitation).where(
        col(Invitation.user_id) == pair.source.id, col(Invitation.status) == RequestStatus.PENDING
    )
    await session.execute(
        pending.where(is_duplicate).values(status=RequestStatus.DECLINED, answered_at=now()),
        execution_options=_UNSYNCED,
    )
    await session.execute(pending.values(user_id=pair.target.id), execution_options=_UNSYNCED)


async def _end_access(session: AsyncSession, source: Collective) -> None:
    """Revoke a user's sessions and tokens, including mailed tokens that verify its address."""
    await access_tokens.revoke_all_tokens(session, user_id=source.id)
    await email_tokens.end_all(session, user_id=source.id)
    await identities.forget_all(session, user_id=source.id)


async def _move_address(session: AsyncSession, pair: _Pair) -> None:
    """Make the address of `from` lead to `into`; move the credentials if `into` has none.

    Raises:
        InvalidState: the credentials would move without the second factor of `from`.
    """
    source, target = pair.source, pair.target
    of_source = col(Credential.user_id) == source.id
    emails = await email_addresses.load_emails(session, user_ids=[source.id, target.id])
    if source.id not in emails:
        return
    if target.id not in emails:
        await session.execute(
            update(Credential).where(of_source).values(user_id=target.id), execution_options=_UNSYNCED
        )
        # The credential is locked by now: no factor is added meanwhile.
        if await challenges.load_ways(session, user_id=source.id) != (Proof.PASSWORD,):
            raise InvalidState("Merge the other way round: this account has a second factor.", field=FROM)
        target.claimed_at = target.claimed_at or source.claimed_at
        return
    await session.execute(delete(Credential).where(of_source), execution_options=_UNSYNCED)
    session.add(MergedEmail(email=emails[source.id], user_id=target.id))
    await session.flush()


async def _archive_source(session: AsyncSession, pair: _Pair) -> None:
    """Archive `from`; its present and former slugs redirect to `into`."""
    source, target = pair.source, pair.target
    slug, archived_at = source.slug, now()
    await session.execute(
        update(SlugRedirect)
        .where(col(SlugRedirect.collective_id) == source.id)
        .values(collective_id=target.id)
    )
    source.slug = f"merged-{source.id.hex}"
    source.archived_at, source.merged_into_id = source.archived_at or archived_at, target.id
    source.updated_at = target.updated_at = archived_at
    session.add_all([source, target])
    await session.flush()
    session.add(SlugRedirect(slug=slug, collective_id=target.id))
    await session.flush()
