"""Payment methods: the ways in which hosts accept money."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, PaymentMethod, ProviderAccount, now
from models.enums import PaymentMethodKind, ProviderAccountStatus
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives.collectives import WHOLE_BPS
from services.core import public_ids, user_text
from services.core.errors import Invalid, InvalidState, NotFound
from services.core.money import UncheckedAmount, to_minor
from services.core.pagination import Sort
from services.orders.bank_details import check_bank_details
from services.orders.method_names import MethodName, split_name


async def create_payment_method(
    session: AsyncSession,
    actor: Actor,
    *,
    host: CollectiveKey,
    name: str,
    kind: PaymentMethodKind,
    fee_bps: int = 0,
    fee_fixed: UncheckedAmount | None = None,
    iban: str | None = None,
    account_holder: str | None = None,
) -> PaymentMethod:
    """Add a payment method for a host's collectives, with its processor's fees."""
    party = await resolve_one(session, actor, host, name="host")
    row = require_collective(party)
    require(actor, Action.CREATE_PAYMENT_METHOD, Subject(host=row))
    assert actor.user is not None
    require_open(row, field="host")
    if kind is PaymentMethodKind.PROVIDER:
        raise Invalid("Connect the host to a payment provider with connectHost.", field="type")
    if row.host_id != row.id:
        raise Invalid("This collective is not a host. Choose a host.", field="host")
    method = PaymentMethod(
        host_id=row.id,
        kind=kind,
        iban=None if iban is None else _clean_iban(iban, kind),
        account_holder=None if iban is None else _clean_holder(account_holder or row.name),
        name=user_text.require_name(name, field="name"),
        fee_bps=_require_fee_bps(fee_bps),
        fee_fixed_minor=_to_fixed_fee(fee_fixed, currency=row.currency),
        created_by_id=actor.user.id,
    )
    session.add(method)
    await session.flush()
    return method


async def update_payment_method(
    session: AsyncSession,
    actor: Actor,
    *,
    method_id: UUID,
    name: str | None = None,
    fee_bps: int | None = None,
    fee_fixed: UncheckedAmount | None = None,
    iban: str | None = None,
    account_holder: str | None = None,
) -> PaymentMethod:
    """Put a new payment method in the place of one, which is archived; None keeps what that has.

    Orders keep the method that they name, so that their fees stay what they were made for. Locks: the method.

    Raises:
        Invalid: a fee, or a bank account of a method that has none.
        InvalidState: it is archived already.
    """
    old, host = await _lock_for(session, actor, method_id, Action.UPDATE_PAYMENT_METHOD)
    assert actor.user is not None
    new_iban = old.iban if iban is None else _clean_iban(iban, old.kind)
    if account_holder is not None and new_iban is None:
        raise Invalid("Pass iban, too: this payment method has no bank account yet.", field="accountHolder")
    holder = account_holder or old.account_holder or host.name
    new = PaymentMethod(
        host_id=old.host_id,
        kind=old.kind,
        name=old.name if name is None else user_text.require_name(name, field="name"),
        fee_bps=old.fee_bps if fee_bps is None else _require_fee_bps(fee_bps),
        fee_fixed_minor=old.fee_fixed_minor
        if fee_fixed is None
        else _to_fixed_fee(fee_fixed, currency=host.currency),
        created_by_id=actor.user.id,
        provider_account_id=old.provider_account_id,
        provider=old.provider,
        iban=new_iban,
        account_holder=None if new_iban is None else _clean_holder(holder),
    )
    old.archived_at = now()
    session.add_all([old, new])
    await session.flush()
    return new


async def archive_payment_method(session: AsyncSession, actor: Actor, *, method_id: UUID) -> PaymentMethod:
    """Archive a payment method, which new orders can no longer name. Locks: the method.

    Raises:
        InvalidState: it is archived already.
    """
    method, _host = await _lock_for(session, actor, method_id, Action.ARCHIVE_PAYMENT_METHOD)
    method.archived_at = now()
    session.add(method)
    await session.flush()
    return method


async def _lock_for(
    session: AsyncSession, actor: Actor, method_id: UUID, action: Action
) -> tuple[PaymentMethod, Collective]:
    """Require and lock a payment method in use on which the actor may perform the action, with its host."""
    statement = (
        select(PaymentMethod, Collective)
        .join(Collective, col(PaymentMethod.host_id) == Collective.id)
        .where(col(PaymentMethod.id) == method_id)
        .with_for_update(of=PaymentMethod, key_share=True)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        raise NotFound("There is no such payment method.", field="id")
    method, host = match
    require(actor, action, Subject(host=host))
    require_open(host, field="id")
    if method.archived_at is not None:
        raise InvalidState("This payment method is archived.", field="id")
    return method, host


def _clean_iban(iban: str, kind: PaymentMethodKind) -> str:
    if kind != PaymentMethodKind.MANUAL:
        raise Invalid("Only a payment method of type MANUAL has a bank account.", field="iban")
    return check_bank_details({"iban": iban}, field="iban")["iban"]


def _clean_holder(name: str) -> str:
    return user_text.require_text(name, field="accountHolder", max_length=70)


def _require_fee_bps(fee_bps: int) -> int:
    if not 0 <= fee_bps <= WHOLE_BPS:
        raise Invalid("Enter a fee from 0 to 10000 basis points.", field="feeBps")
    return fee_bps


def _to_fixed_fee(fee_fixed: UncheckedAmount | None, *, currency: str) -> int:
    """Convert a fixed fee to minor units of the host's currency."""
    if fee_fixed is None or fee_fixed.value.is_zero():
        return 0
    return to_minor(fee_fixed, field="feeFixed", currency=currency)


async def resolve_payment_method(
    session: AsyncSession, *, named_as: MethodName | str | None, to_host: Collective | None
) -> tuple[PaymentMethodKind, PaymentMethod | None]:
    """Resolve a payment method: BALANCE (or None), MANUAL, or the id of one of the host's.

    Raises:
        Invalid: none of these, or an id of another type.
        NotFound: the host has no such method.
    """
    name, field = split_name(named_as, field="paymentMethod")
    if name == PaymentMethodKind.PROVIDER:
        raise Invalid("Name one of the host's payment methods by its id.", field=field)
    if name is None or name in PaymentMethodKind.__members__:
        return PaymentMethodKind(name or "BALANCE"), None
    method_id = public_ids.decode("PaymentMethod", name, field=field)
    statement = select(PaymentMethod).where(
        col(PaymentMethod.id) == method_id,
        col(PaymentMethod.host_id) == (to_host.id if to_host else None),
        col(PaymentMethod.archived_at).is_(None),
    )
    method = (await session.execute(statement)).scalar_one_or_none()
    if method is None:
        raise NotFound("The host has no such payment method.", field=field)
    return PaymentMethodKind(method.kind), method


def select_payment_method(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[PaymentMethod]]:
    """Select a payment method by its id, which may be an expression; they are public."""
    del actor
    assert owner is None
    return (select(PaymentMethod).where(col(PaymentMethod.id) == where.id),)


async def load_payment_methods(session: AsyncSession, *, row_ids: list[UUID]) -> dict[UUID, PaymentMethod]:
    """Load payment methods; they are public."""
    rows = await session.execute(select(PaymentMethod).where(col(PaymentMethod.id).in_(row_ids)))
    return {row.id: row for row in rows.scalars()}


def _is_offered(actor: Actor) -> list[ColumnElement[bool]]:
    """Build the conditions of methods in use; those of a provider that is gone or not offered are not."""
    active = select(col(ProviderAccount.id)).where(
        col(ProviderAccount.status) == ProviderAccountStatus.ACTIVE,
        visibility.is_of_offered_provider(ProviderAccount, actor),
    )
    account_id = col(PaymentMethod.provider_account_id)
    return [col(PaymentMethod.archived_at).is_(None), or_(account_id.is_(None), account_id.in_(active))]


OLDEST_FIRST = Sort("METHODS_OLDEST", col(PaymentMethod.id), col(PaymentMethod.id), descending=False)


def select_payment_methods(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[PaymentMethod]]:
    """Select a host's active payment methods, oldest first."""
    del where  # they have no conditions
    return (select(PaymentMethod).where(col(PaymentMethod.host_id) == owner, *_is_offered(actor)),)


def select_fixed_fee(method: Any) -> Select[Any]:
    """Select the fixed fee of a payment method, whose columns are given, with its host's currency."""
    return select(method.fee_fixed_minor.label("minor"), col(Collective.currency).label("currency")).where(
        col(Collective.id) == method.host_id
    )


async def list_payment_methods(session: AsyncSession, actor: Actor, *, host_id: UUID) -> list[PaymentMethod]:
    """List a host's active payment methods, oldest first."""
    (statement,) = select_payment_methods(actor, owner=host_id)
    return list((await session.execute(statement.order_by(OLDEST_FIRST.id))).scalars())
