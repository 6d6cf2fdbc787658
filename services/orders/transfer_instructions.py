"""Where and how the giver of a donation by bank transfer pays it."""

from dataclasses import dataclass

import segno.helpers
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, PaymentMethod
from models.enums import PaymentMethodKind
from services.core import public_ids
from services.core.money import Money
from services.orders.base import charged_minor

_QR_CURRENCY = "EUR"
"""The currency of European transfers, for which banks read the code."""
_MAX_QR_MINOR = 999_999_999_99
"""The largest amount that the code can hold (EPC069-12)."""


@dataclass(frozen=True)
class TransferInstructions:
    """The reference of a transfer, and the host's account if it has told one."""

    reference: str
    amount: Money
    """The amount to transfer, with the tip."""
    account_holder: str | None = None
    iban: str | None = None
    qr_code: str | None = None


async def load_instructions(session: AsyncSession, *, order: Order) -> TransferInstructions:
    """Load what the giver of a donation by bank transfer needs to know."""
    reference = public_ids.encode("Order", order.id)
    due = Money(charged_minor(order), order.currency)
    method = await _load_account(session, order)
    if method is None or method.iban is None or method.account_holder is None:
        return TransferInstructions(reference, due)
    qr_code = None
    if order.currency == _QR_CURRENCY and due.minor_units <= _MAX_QR_MINOR:
        code = segno.helpers.make_epc_qr(
            name=method.account_holder,
            iban=method.iban,
            amount=due.value,
            text=reference,
        )
        qr_code = code.svg_data_uri(scale=4)
    return TransferInstructions(reference, due, method.account_holder, method.iban, qr_code)


async def _load_account(session: AsyncSession, order: Order) -> PaymentMethod | None:
    """Load the order's payment method, or if it names none the newest of its host with a bank account."""
    if order.payment_method_id is not None:
        return await session.get(PaymentMethod, order.payment_method_id)
    host_id = select(col(Collective.host_id)).where(col(Collective.id) == order.to_id).scalar_subquery()
    statement = (
        select(PaymentMethod)
        .where(
            col(PaymentMethod.host_id) == host_id,
            col(PaymentMethod.kind) == PaymentMethodKind.MANUAL,
            col(PaymentMethod.iban).is_not(None),
            col(PaymentMethod.archived_at).is_(None),
        )
        .order_by(col(PaymentMethod.id).desc())
        .limit(1)
    )
    return (await session.execute(statement)).scalar_one_or_none()
