"""Payment methods: the ways in which hosts accept money."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, PaymentMethod
from models.enums import PaymentMethodKind
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.collectives.collectives import WHOLE_BPS
from services.core import public_ids, user_text
from services.core.errors import Invalid, NotFound
from services.core.money import UncheckedAmount, to_minor
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
) -> PaymentMethod:
    """Add a payment method for a host's collectives, with its processor's fees."""
    party = await resolve_one(session, actor, host, name="host")
    row = require_collective(party)
    require(actor, Action.CREATE_PAYMENT_METHOD, Subject(host=row))
    assert actor.user is not None
    require_open(row, field="host")
    if row.host_id != row.id:
        raise Invalid("This collective is not a host. Choose a host.", field="host")
    if not 0 <= fee_bps <= WHOLE_BPS:
        raise Invalid("Enter a fee from 0 to 10000 basis points.", field="feeBps")
    fixed = (
        to_minor(fee_fixed, field="feeFixed", currency=row.currency)
        if fee_fixed is not None and not fee_fixed.value.is_zero()
        else 0
    )
    method = PaymentMethod(
        host_id=row.id,
        kind=kind,
        name=user_text.require_name(name, field="name"),
        fee_bps=fee_bps,
        fee_fixed_minor=fixed,
        created_by_id=actor.user.id,
    )
    session.add(method)
    await session.flush()
    return method


async def resolve_payment_method(
    session: AsyncSession, *, named_as: MethodName | str | None, to_host: Collective | None
) -> tuple[PaymentMethodKind, PaymentMethod | None]:
    """Resolve a payment method: BALANCE (or None), MANUAL, or the id of one of the host's.

    Raises:
        Invalid: none of these, or an id of another type.
        NotFound: the host has no such method.
    """
    name, field = split_name(named_as, field="paymentMethod")
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


async def load_payment_methods(session: AsyncSession, *, row_ids: list[UUID]) -> dict[UUID, PaymentMethod]:
    """Load payment methods; they are public."""
    rows = await session.execute(select(PaymentMethod).where(col(PaymentMethod.id).in_(row_ids)))
    return {row.id: row for row in rows.scalars()}


async def list_payment_methods(session: AsyncSession, *, host_id: UUID) -> list[PaymentMethod]:
    """List a host's active payment methods, oldest first."""
    statement = (
        select(PaymentMethod)
        .where(col(PaymentMethod.host_id) == host_id, col(PaymentMethod.archived_at).is_(None))
        .order_by(col(PaymentMethod.id))
    )
    return list((await session.execute(statement)).scalars())
