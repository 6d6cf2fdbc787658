"""Accounts of hosts at payment providers."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import exists, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, Member, PaymentMethod, ProviderAccount, Suspension, now
from models.enums import PaymentMethodKind, ProviderAccountStatus, ProviderName
from services.access.actor import Actor, hash_token
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.factors import has_passkey, has_totp, needs_factor
from services.access.permissions import Action, Subject, require
from services.core.errors import Conflict, Invalid, InvalidState, NotFound, Problem
from services.core.party import Party
from services.orders.sides import require_open_book
from services.providers.offered import Providers
from services.providers.protocol import ConnectedAccount, PaymentProvider

CARD_NAME = "Card"
FEE_BPS, FEE_FIXED_MINOR = 290, 30
"""What providers usually charge: quotes use it, and postings where a provider tells no figures of its own."""
STATE_BYTES = 32
STATE_LASTS = timedelta(hours=1)
"""How long a host may take to agree at its provider."""


@dataclass(frozen=True)
class Connection:
    """A host's account at a provider, and where the host agrees to it, if it has to."""

    account: ProviderAccount
    method: PaymentMethod | None = None
    url: str | None = None


async def connect(
    session: AsyncSession,
    actor: Actor,
    *,
    host: CollectiveKey,
    provider: ProviderName,
    providers: Providers,
) -> Connection:
    """Connect a host to a payment provider, so that its collectives take cards.

    A host that has not agreed yet is sent to the provider again. Locks: its account there.

    Raises:
        InvalidState: the settings offer no such provider, or the host is suspended.
        ProviderAway: the provider does not answer.
        Conflict: the host is connected already.
        Invalid: the collective is not a host.
    """
    party = await resolve_one(session, actor, host, name="host")
    row = _require_may_connect(actor, party)
    if provider not in providers:
        raise InvalidState("This payment provider is not offered here.", field="provider")
    assert actor.user is not None
    account = await _lock_open(session, host_id=row.id, provider=provider)
    if account is not None and account.livemode != providers[provider].livemode:
        account.status, account.updated_at = ProviderAccountStatus.DISABLED, now()
        await session.flush()
        account = None
    if account is not None and account.status != ProviderAccountStatus.PENDING:
        raise Conflict("The host is connected to this payment provider already.", field="provider")
    if account is None:
        account = ProviderAccount(
            host_id=row.id,
            provider=provider,
            status=ProviderAccountStatus.PENDING,
            livemode=providers[provider].livemode,
            created_by_id=actor.user.id,
        )
        session.add(account)
    state = secrets.token_urlsafe(STATE_BYTES)
    url = providers[provider].consent_url(state)
    if url is None:
        return await note_agreed(session, account, await providers[provider].connect(""))
    account.connect_state_hash, account.connect_by_id, account.updated_at = hash_token(state), actor.id, now()
    await session.flush()
    return Connection(account, url=url)


def _require_may_connect(actor: Actor, party: Party) -> Collective:
    """Return the host that the actor may connect now.

    Raises:
        Forbidden and others: the actor is no ADMIN of it.
        InvalidState: it is archived, or suspended.
        Invalid: the collective is not a host.
    """
    row = require_collective(party)
    require(actor, Action.CONNECT_HOST, Subject(host=row))
    require_open(row, field="host")
    require_open_book(party, field="host")
    if row.host_id != row.id:
        raise Invalid("This collective is not a host. Choose a host.", field="host")
    return row


async def complete(
    sessions: async_sessionmaker[AsyncSession], provider: PaymentProvider, *, state: str, code: str
) -> Connection:
    """Connect the host that has agreed at its provider, which is asked while nothing is locked.

    Who began it must still be allowed to.

    Raises:
        InvalidState: who began it may not connect the host any longer, or the account is of the provider's
            other mode.
        NotFound: the host did not begin this, or more than an hour ago.
        ProviderRefused, ProviderAway: the provider does not know the code, or does not answer.
        Conflict: the account is another host's here.
    """
    async with sessions() as session:
        await _load_begun(session, provider, state=state)
    connected = await provider.connect(code)
    if connected.livemode != provider.livemode:
        raise InvalidState("The account and this server differ: one is live, and one is for tests.")
    async with sessions.begin() as session:
        account = await _load_begun(session, provider, state=state)
        return await note_agreed(session, account, connected)


async def note_agreed(
    session: AsyncSession, account: ProviderAccount, connected: ConnectedAccount
) -> Connection:
    """Note which account a host has connected. Locks: one that it had before.

    What has collected for one keeps it: another account gets a row of its own.

    Raises:
        Conflict: it is another host's here.
    """
    before = select(ProviderAccount).where(
        col(ProviderAccount.provider) == account.provider,
        col(ProviderAccount.external_id) == connected.external_id,
        col(ProviderAccount.livemode) == connected.livemode,
        col(ProviderAccount.id) != account.id,
    )
    old = (await session.execute(before.with_for_update())).scalar_one_or_none()
    account.connect_state_hash = account.connect_by_id = None
    account.updated_at = now()
    if old is not None:
        if old.host_id != account.host_id:
            raise Conflict("Another host here is connected to this account of the provider.")
        account.status = ProviderAccountStatus.DISABLED
        await session.flush()
        account = old
    elif account.external_id is not None and (account.external_id, account.livemode) != (
        connected.external_id,
        connected.livemode,
    ):
        account = await _replace(session, account)
    account.external_id, account.livemode = connected.external_id, connected.livemode
    account.status, account.updated_at = ProviderAccountStatus.PENDING, now()
    await session.flush()
    return await enable(session, account) if connected.is_enabled else Connection(account)


async def _replace(session: AsyncSession, account: ProviderAccount) -> ProviderAccount:
    """Disable an account; return a new one of the same host."""
    account.status = ProviderAccountStatus.DISABLED
    await session.flush()
    new = ProviderAccount(
        host_id=account.host_id,
        provider=account.provider,
        status=ProviderAccountStatus.PENDING,
        livemode=account.livemode,
        created_by_id=account.created_by_id,
    )
    session.add(new)
    return new


async def enable(session: AsyncSession, account: ProviderAccount) -> Connection:
    """Let an account collect, by the payment method that it has or gets."""
    account.status, account.updated_at = ProviderAccountStatus.ACTIVE, now()
    await session.flush()
    found = select(PaymentMethod).where(col(PaymentMethod.provider_account_id) == account.id).limit(1)
    method = (await session.execute(found)).scalar_one_or_none()
    return Connection(account, method or await _add_method(session, account))


async def note_state(session: AsyncSession, account: ProviderAccount, *, is_enabled: bool) -> str | None:
    """Do what a provider tells of an account; return why nothing was done, if so. Locks: the account."""
    await session.refresh(account, with_for_update=True)
    if not is_enabled:
        if account.status == ProviderAccountStatus.ACTIVE:
            account.status, account.updated_at = ProviderAccountStatus.DISABLED, now()
        return None
    if account.status == ProviderAccountStatus.ACTIVE:
        return None
    other = await _lock_open(session, host_id=account.host_id, provider=ProviderName(account.provider))
    if other is not None and other.id != account.id:
        return "The host has connected another account meanwhile."
    await enable(session, account)
    return None


async def _lock_open(
    session: AsyncSession, *, host_id: UUID, provider: ProviderName
) -> ProviderAccount | None:
    statement = select(ProviderAccount).where(
        col(ProviderAccount.host_id) == host_id,
        col(ProviderAccount.provider) == provider,
        col(ProviderAccount.status) != ProviderAccountStatus.DISABLED,
    )
    return (await session.execute(statement.with_for_update())).scalar_one_or_none()


async def _load_begun(session: AsyncSession, provider: PaymentProvider, *, state: str) -> ProviderAccount:
    """Load the account whose host was sent to its provider with a state, by whom may still connect it.

    Locks: the account.
    """
    statement = select(ProviderAccount).where(
        col(ProviderAccount.provider) == provider.name,
        col(ProviderAccount.connect_state_hash) == hash_token(state),
        col(ProviderAccount.status) == ProviderAccountStatus.PENDING,
        col(ProviderAccount.updated_at) > now() - STATE_LASTS,
    )
    account = (await session.execute(statement.with_for_update())).scalar_one_or_none()
    if account is None:
        raise NotFound("This connection was not begun here, or more than an hour ago. Begin again.")
    host = await session.get_one(Collective, account.host_id, populate_existing=True)
    try:
        _require_may_connect(await _load_beginner(session, account), Party(host, host))
    except Problem as problem:
        raise InvalidState("Who began this may not connect the host any longer. Begin again.") from problem
    return account


async def _load_beginner(session: AsyncSession, account: ProviderAccount) -> Actor:
    """Load who began to connect a host, with their present roles in it; whoever is shut out has none."""
    user = await session.get_one(Collective, account.connect_by_id)
    is_shut_out = exists().where(col(Suspension.user_id) == user.id, col(Suspension.ended_at).is_(None))
    held = select(col(Member.role)).where(
        col(Member.collective_id) == account.host_id,
        col(Member.member_id) == user.id,
        col(Member.until).is_(None),
        or_(not_(needs_factor()), has_totp(col(Member.member_id)), has_passkey(col(Member.member_id))),
        not_(is_shut_out),
    )
    roles = frozenset((await session.execute(held)).scalars())
    # Who they are was shown when it was begun, at most an hour ago.
    return Actor(user=user, roles={account.host_id: roles}, confirmed_at=now())


async def _add_method(session: AsyncSession, account: ProviderAccount) -> PaymentMethod:
    method = PaymentMethod(
        host_id=account.host_id,
        kind=PaymentMethodKind.PROVIDER,
        name=CARD_NAME,
        fee_bps=FEE_BPS,
        fee_fixed_minor=FEE_FIXED_MINOR,
        created_by_id=account.created_by_id,
        provider_account_id=account.id,
        provider=account.provider,
    )
    session.add(method)
    await session.flush()
    return method
