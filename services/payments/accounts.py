"""Accounts of hosts at payment providers."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, PaymentMethod, ProviderAccount
from models.enums import PaymentMethodKind, ProviderAccountStatus, ProviderName
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.core.errors import Conflict, Invalid, InvalidState
from services.orders.sides import require_open_book
from services.providers import fake
from services.providers.offered import Providers

CARD_NAME = "Card"
FEE_BPS, FEE_FIXED_MINOR = 290, 30
"""What providers usually charge: quotes use it, and postings where a provider tells no figures of its own."""


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

    Raises:
        InvalidState: the settings offer no such provider, or the host is suspended.
        Conflict: the host is connected already.
        Invalid: the collective is not a host.
    """
    party = await resolve_one(session, actor, host, name="host")
    row = require_collective(party)
    require(actor, Action.CONNECT_HOST, Subject(host=row))
    require_open(row, field="host")
    require_open_book(party, field="host")
    if row.host_id != row.id:
        raise Invalid("This collective is not a host. Choose a host.", field="host")
    if provider not in providers:
        raise InvalidState("This payment provider is not offered here.", field="provider")
    open_account = select(col(ProviderAccount.id)).where(
        col(ProviderAccount.host_id) == row.id,
        col(ProviderAccount.provider) == provider,
        col(ProviderAccount.status) != ProviderAccountStatus.DISABLED,
    )
    if (await session.execute(open_account)).first() is not None:
        raise Conflict("The host is connected to this payment provider already.", field="provider")
    return await _connect_fake(session, actor, row)


async def _connect_fake(session: AsyncSession, actor: Actor, host: Collective) -> Connection:
    assert actor.user is not None
    account = ProviderAccount(
        host_id=host.id,
        provider=ProviderName.FAKE,
        external_id=fake.new_account_id(),
        status=ProviderAccountStatus.ACTIVE,
        livemode=False,
        created_by_id=actor.user.id,
    )
    session.add(account)
    await session.flush()
    return Connection(account, await _add_method(session, account))


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
