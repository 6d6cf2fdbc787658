"""Settlements: a host pays another host what it owes it, which confirms the receipt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, Settlement, now
from models.enums import OrderActionType, OrderStatus, OrderType, TransactionKind
from models.settlement import SettlementSubject
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, Problem
from services.core.money import Money, UncheckedAmount, exponent, to_minor
from services.core.party import Party
from services.database.constraint_errors import CLEARING_LIMIT, constraint_name
from services.ledger import clearing, posting
from services.ledger.clearing import require_host
from services.ledger.legs import settlement_legs
from services.ledger.transaction_amounts import TransactionAmounts, same_currency_amounts
from services.messaging import outbox
from services.orders import approval_rights, two_people
from services.orders.base import DECISION_DAYS, mail_payload
from services.orders.history import add_actions, creation_step, history_step, insert_order
from services.orders.sides import OrderSides, require_valid_sides
from services.orders.transitions import change_status, require_status
from services.round_trips.records import new_record

_RATE = Context(prec=40)
_KINDS = {
    SettlementSubject.CLEARING: TransactionKind.SETTLEMENT,
    SettlementSubject.PLATFORM_FEES: TransactionKind.PLATFORM_FEE_SETTLEMENT,
}


@dataclass(frozen=True)
class SettlementDetails:
    """The payment behind a settlement."""

    reference: str
    currency: str
    """That of the debtor, of all amounts here."""
    paid_minor: int
    covers: SettlementSubject
    month: date | None
    """First day of the month of a monthly settlement, of which the two amounts are the lines."""
    fees_minor: int | None
    tips_minor: int | None


async def settle(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    from_: CollectiveKey,
    to: CollectiveKey,
    amount: UncheckedAmount,
    reference: str,
    paid: UncheckedAmount | None = None,
    covers: SettlementSubject = SettlementSubject.CLEARING,
    description: str | None = None,
) -> Order:
    """Say that a host has paid another what it owes it; the other confirms the receipt.

    `amount` is in the creditor's currency. `paid`, in the debtor's, is needed where that is another one.

    Raises:
        Invalid: more than is owed, or `paid` is missing or differs within one currency.
        InvalidState: one side is not an approved host, or is archived.
    """
    parties = await resolve(session, actor, {"from": from_, "to": to}, are_records=True)
    payer, payee = parties["from"], parties["to"]
    require(actor, Action.SETTLE_HOSTS, Subject(payer=payer.collective, payee=payee.collective))
    require_valid_sides(payer, payee)
    debtor, creditor = require_host(payer, field="from"), require_host(payee, field="to")
    if covers is SettlementSubject.PLATFORM_FEES and not creditor.is_platform:
        raise Invalid("Fees are settled with the platform alone.", field="covers")
    amount_minor = to_minor(amount, field="amount", currency=creditor.currency)
    row = Settlement(
        order_id=order_id,
        reference=user_text.require_text(reference, field="reference", max_length=140),
        paid_minor=_paid_minor(paid, amount_minor, debtor=debtor, creditor=creditor),
        covers=covers,
    )
    order = new_record(
        Order,
        id=order_id,
        type=OrderType.SETTLEMENT,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=debtor.id,
        to_id=creditor.id,
        currency=creditor.currency,
        amount=amount_minor,
        description=user_text.clean_text(description, field="description"),
        platform_fee_bps=0,
        has_public_side=False,
        expires_at=now() + timedelta(days=DECISION_DAYS),
    )
    await _require_owed(session, row, amount_minor, debtor=debtor, creditor=creditor)
    await insert_order(session, order, [creation_step(order)])
    session.add(row)
    await session.flush()
    await _mail(session, actor, order, row, (payer, payee), template="settlement_expected", to_id=creditor.id)
    return order


def _paid_minor(
    paid: UncheckedAmount | None, amount_minor: int, *, debtor: Collective, creditor: Collective
) -> int:
    """Return what the debtor's bank paid, in minor units of the debtor's currency."""
    if paid is None:
        if debtor.currency != creditor.currency:
            raise Invalid(f"Enter what {debtor.slug} paid in {debtor.currency}.", field="paid")
        return amount_minor
    paid_minor = to_minor(paid, field="paid", currency=debtor.currency)
    if debtor.currency == creditor.currency and paid_minor != amount_minor:
        raise Invalid("Within one currency, what is paid is the amount.", field="paid")
    return paid_minor


async def _require_owed(
    session: AsyncSession, row: Settlement, amount_minor: int, *, debtor: Collective, creditor: Collective
) -> None:
    """Require that the debtor owes what it pays.

    Raises:
        Invalid: it owes less.
    """
    if row.covers == SettlementSubject.CLEARING:
        owed_minor = await clearing.load_owed(session, debtor=debtor, creditor=creditor)
        owed, asked_minor = Money(owed_minor, creditor.currency), amount_minor
    else:
        owed_minor = await clearing.load_platform_fees(session, debtor=debtor, platform=creditor)
        owed, asked_minor = Money(owed_minor, debtor.currency), row.paid_minor
    if asked_minor > owed_minor:
        raise Invalid(f"{debtor.slug} owes {creditor.slug} {owed.text} {owed.currency}.", field="amount")


async def approve(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    /,
    *,
    amount: UncheckedAmount | None,
    reason: str | None,
) -> Order:
    """Confirm that a settlement has arrived, which posts it in both books. Locks: ledger accounts.

    Raises:
        SelfApproval: the actor made it or acts for the debtor, and the creditor has another ADMIN.
        Invalid: another amount than the settlement's, or by now more than is owed.
    """
    order = sides.order
    require(actor, Action.APPROVE_SETTLEMENT, subject)
    single_limit = await approval_rights.require_disinterested(session, actor, sides)
    require_status(order, OrderStatus.PENDING)
    if amount is not None and to_minor(amount, field="amount", currency=order.currency) != order.amount:
        raise Invalid(
            "A settlement is approved with its amount. Reject it if another amount has arrived.",
            field="amount",
        )
    decision = await two_people.decide(
        session,
        actor,
        order,
        amount_minor=order.amount,
        is_amount_given=amount is not None,
        single_limit=single_limit,
        reason=reason,
    )
    if not decision.is_final:
        return order
    debtor, creditor = require_collective(sides.payer), require_collective(sides.payee)
    row = await session.get_one(Settlement, order.id)
    await _require_owed(session, row, order.amount, debtor=debtor, creditor=creditor)
    await change_status(
        session,
        order,
        from_status=OrderStatus.PENDING,
        to_status=OrderStatus.PAID,
        approved_amount=order.amount,
    )
    approval = history_step(
        order,
        OrderActionType.APPROVE,
        actor,
        from_status=OrderStatus.PENDING,
        to_status=OrderStatus.APPROVED,
        reason=reason,
    )
    payment = history_step(order, OrderActionType.PAY, actor, from_status=OrderStatus.APPROVED)
    await add_actions(session, [approval, payment])
    await _post(session, order, row, debtor=debtor, creditor=creditor)
    await _mail(
        session,
        actor,
        order,
        row,
        (sides.payer, sides.payee),
        template="settlement_received",
        to_id=debtor.id,
    )
    return order


async def _post(
    session: AsyncSession, order: Order, row: Settlement, *, debtor: Collective, creditor: Collective
) -> None:
    amounts = settlement_amounts(
        order.amount, order.currency, paid_minor=row.paid_minor, paid_currency=debtor.currency
    )
    kind = _KINDS[SettlementSubject(row.covers)]
    await posting.post(
        session,
        row=posting.transaction_row(
            amounts, Party(debtor, debtor), Party(creditor, creditor), kind=kind, order=order
        ),
        legs=settlement_legs(amounts, debtor, creditor, kind=kind),
        explain=_explain_limit,
    )


def _explain_limit(error: DBAPIError) -> Problem | None:
    """Return the problem if the debt was settled meanwhile: the creditor would owe the debtor too much."""
    if constraint_name(error) != CLEARING_LIMIT:
        return None
    return Invalid("Settle at most what is owed.", field="amount")


def settlement_amounts(
    amount_minor: int, currency: str, *, paid_minor: int, paid_currency: str
) -> TransactionAmounts:
    """Return the amounts of a settlement: the amount without fees, and what the debtor's bank paid for it."""
    shift = exponent(currency) - exponent(paid_currency)
    rate = _RATE.divide(Decimal(paid_minor), Decimal(amount_minor)).scaleb(shift, _RATE)
    return replace(
        same_currency_amounts(amount_minor, currency),
        from_host_currency=paid_currency,
        from_host_fx_rate=rate,
        from_host_amount_minor=-paid_minor,
        from_collective_currency=paid_currency,
        from_collective_fx_rate=rate,
        from_collective_amount_minor=-paid_minor,
    )


async def _mail(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    row: Settlement,
    parties: tuple[Party, Party],
    *,
    template: str,
    to_id: UUID,
) -> None:
    payer, payee = parties
    await outbox.mail_admins(
        session,
        collective_ids=[to_id],
        template=template,
        payload={
            **mail_payload(order, to=payee),
            "payer": require_collective(payer).name,
            "reference": row.reference,
        },
        order_id=order.id,
        except_id=actor.id,
    )


def select_settlement(order: Any) -> Select[Any]:
    """Select the payment behind a settlement, an order whose columns are given."""
    columns: Any = (
        col(Settlement.reference),
        col(Collective.currency),
        col(Settlement.paid_minor),
        col(Settlement.covers),
        col(Settlement.month),
        col(Settlement.fees_minor),
        col(Settlement.tips_minor),
    )
    return select(*columns).where(col(Settlement.order_id) == order.id, col(Collective.id) == order.from_id)


async def load_settlements(
    session: AsyncSession, *, order_ids: Sequence[UUID]
) -> dict[UUID, SettlementDetails]:
    """Load the payments behind settlements, in one statement."""
    statement = select_settlement(Order).add_columns(col(Order.id)).where(col(Order.id).in_(order_ids))
    rows = (await session.execute(statement)).all()
    return {order_id: SettlementDetails(*details) for *details, order_id in rows}
