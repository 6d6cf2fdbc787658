"""Payment methods of hosts and payout methods of payees."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, PaymentMethod, PayoutMethod
from models.enums import PaymentMethodKind, PayoutMethodKind
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, resolve_one
from services.access.permissions import Action, Subject, require
from services.core import public_ids, user_text
from services.core.errors import Invalid, NotFound
from services.core.money import AskedAmount, to_minor


async def create_payment_method(
    session: AsyncSession,
    actor: Actor,
    *,
    host: Ref,
    name: str,
    kind: PaymentMethodKind,
    fee_bps: int = 0,
    fee_fixed: AskedAmount | None = None,
) -> PaymentMethod:
    """Offer a way to give to a host's collectives, with what its processor takes."""
    party = await resolve_one(session, actor, host, name="host")
    row = named(party)
    require(actor, Action.CREATE_PAYMENT_METHOD, Subject(host=row))
    assert actor.user is not None
    if row.host_id != row.id:
        raise Invalid("This collective is no host", path=["input", "host"])
    if not 0 <= fee_bps <= 10_000:  # noqa: PLR2004 - the whole, in basis points
        raise Invalid("A fee is 0 to 10000 basis points", path=["input", "feeBps"])
    fixed = (
        to_minor(fee_fixed, path=["input", "feeFixed"], currency=row.currency)
        if fee_fixed is not None and not fee_fixed.value.is_zero()
        else 0
    )
    method = PaymentMethod(
        host_id=row.id,
        kind=kind,
        name=user_text.required(name, path=["input", "name"]),
        fee_bps=fee_bps,
        fee_fixed_minor=fixed,
        created_by_id=actor.user.id,
    )
    session.add(method)
    await session.flush()
    return method


async def create_payout_method(
    session: AsyncSession,
    actor: Actor,
    *,
    collective: Ref,
    kind: PayoutMethodKind,
    name: str,
    details: Any = None,
) -> PayoutMethod:
    """Note where a payee wants to be paid; never changed, so that a paid expense shows where it went."""
    row = named(await resolve_one(session, actor, collective))
    require(actor, Action.CREATE_PAYOUT_METHOD, Subject(collective=row))
    assert actor.user is not None
    if kind in {PayoutMethodKind.BALANCE, PayoutMethodKind.MANUAL}:
        raise Invalid(f"{kind} needs no payout method of its own", path=["input", "type"])
    method = PayoutMethod(
        owner_id=row.id,
        kind=kind,
        name=user_text.required(name, path=["input", "name"]),
        details=_checked_details({} if details is None else details),
        created_by_id=actor.user.id,
    )
    session.add(method)
    await session.flush()
    return method


def _detail(value: Any) -> str:
    path = ["input", "details"]
    if not isinstance(value, str):
        raise Invalid("Details are texts by name", path=path)
    return user_text.required(value, path=path)


def _checked_details(details: Any) -> dict[str, str]:
    path = ["input", "details"]
    if not isinstance(details, dict):
        raise Invalid("Details are texts by name", path=path)
    if len(details) > 20:  # noqa: PLR2004 - no bank asks for more
        raise Invalid("Too many details", path=path)
    return {
        user_text.required(key, path=path, max_length=60): _detail(value) for key, value in details.items()
    }


async def payment_method(
    session: AsyncSession, *, named_as: str | None, to_host: Collective | None
) -> tuple[PaymentMethodKind, PaymentMethod | None]:
    """Return what `paymentMethod` names: BALANCE (or nothing), MANUAL, or one of the host's by id.

    Raises:
        Invalid: neither of these, or the id of something else.
        NotFound: the host offers no such method.
    """
    path = ["input", "paymentMethod"]
    if named_as is None or named_as in PaymentMethodKind.__members__:
        return PaymentMethodKind(named_as or "BALANCE"), None
    method_id = public_ids.decode("PaymentMethod", named_as, path=path)
    statement = select(PaymentMethod).where(
        col(PaymentMethod.id) == method_id,
        col(PaymentMethod.host_id) == (to_host.id if to_host else None),
        col(PaymentMethod.archived_at).is_(None),
    )
    method = (await session.execute(statement)).scalar_one_or_none()
    if method is None:
        raise NotFound("The host offers no such payment method", path=path)
    return PaymentMethodKind(method.kind), method


async def payout_method(
    session: AsyncSession, *, named_as: str | None, payee: Collective
) -> tuple[PayoutMethodKind, UUID | None]:
    """Return what `payoutMethod` names: MANUAL (or nothing), BALANCE, or one of the payee's by id.

    Raises:
        Invalid: neither of these, or the id of something else.
        NotFound: the payee has no such method.
    """
    path = ["input", "payoutMethod"]
    if named_as is None or named_as in {"MANUAL", "BALANCE"}:
        return PayoutMethodKind(named_as or "MANUAL"), None
    method_id = public_ids.decode("PayoutMethod", named_as, path=path)
    statement = select(PayoutMethod).where(
        col(PayoutMethod.id) == method_id,
        col(PayoutMethod.owner_id) == payee.id,
        col(PayoutMethod.archived_at).is_(None),
    )
    method = (await session.execute(statement)).scalar_one_or_none()
    if method is None:
        raise NotFound("The payee has no such payout method", path=path)
    return PayoutMethodKind(method.kind), method.id


async def payment_methods_by_ids(session: AsyncSession, *, row_ids: list[UUID]) -> dict[UUID, PaymentMethod]:
    """Return payment methods; they are public."""
    rows = await session.execute(select(PaymentMethod).where(col(PaymentMethod.id).in_(row_ids)))
    return {row.id: row for row in rows.scalars()}


async def payment_methods_of(session: AsyncSession, *, host_id: UUID) -> list[PaymentMethod]:
    """Return a host's payment methods in use, oldest first."""
    statement = (
        select(PaymentMethod)
        .where(col(PaymentMethod.host_id) == host_id, col(PaymentMethod.archived_at).is_(None))
        .order_by(col(PaymentMethod.id))
    )
    return list((await session.execute(statement)).scalars())


async def payout_methods_of(session: AsyncSession, actor: Actor, *, owner_id: UUID) -> list[PayoutMethod]:
    """Return the payout methods in use of a payee that the actor may see, oldest first."""
    statement = (
        select(PayoutMethod)
        .where(
            col(PayoutMethod.owner_id) == owner_id,
            col(PayoutMethod.archived_at).is_(None),
            visibility.of_payout_method(actor),
        )
        .order_by(col(PayoutMethod.id))
    )
    return list((await session.execute(statement)).scalars())


async def payout_methods_by_ids(
    session: AsyncSession, actor: Actor, *, row_ids: list[UUID]
) -> dict[UUID, PayoutMethod]:
    """Return those of the payout methods that the actor may see, archived ones too."""
    statement = select(PayoutMethod).where(
        col(PayoutMethod.id).in_(row_ids), visibility.of_payout_method(actor)
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}
