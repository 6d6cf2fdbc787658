"""Recurring gifts together with their sides, read in one statement, and written back."""

from typing import Any

from sqlalchemy import Uuid, and_, bindparam, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Order, PaymentMethod, RecurringGift
from models.enums import OrderStatus
from services.core.party import Party
from services.round_trips import effects
from services.round_trips.pipelines import compile_statement
from services.round_trips.records import column_names

# Built once at import: creating an alias copies every column, which costs more than the query.
_PAYER, _PAYEE = aliased(Collective, name="payer"), aliased(Collective, name="payee")
_PAYER_HOST, _PAYEE_HOST = aliased(Collective, name="payer_host"), aliased(Collective, name="payee_host")
_SIDES = (_PAYER, _PAYEE, _PAYER_HOST, _PAYEE_HOST)
_OF_PAYER: Any = _PAYER.host_id == _PAYER_HOST.id
_OF_PAYEE: Any = _PAYEE.host_id == _PAYEE_HOST.id
_CHANGED_BY_WORKER = (
    "status",
    "next_charge_on",
    "due_at",
    "failures",
    "failed_on",
    "delays",
    "is_anchor_changed",
    "paused_by",
    "pause_reason",
    "resumes_on",
    "ended_at",
    "ended_reason",
    "notice",
    "updated_at",
)


def select_with_sides() -> Any:
    """Select gifts with payer, payee and the hosts of both; `to_parties` takes the last four."""
    return _join_sides(select(RecurringGift, *_SIDES))


def _join_sides(statement: Any) -> Any:
    return (
        statement.select_from(RecurringGift)
        .join(_PAYER, col(RecurringGift.from_id) == _PAYER.id)
        .join(_PAYEE, col(RecurringGift.to_id) == _PAYEE.id)
        .outerjoin(_PAYER_HOST, _OF_PAYER)
        .outerjoin(_PAYEE_HOST, _OF_PAYEE)
    )


def to_parties(
    payer: Collective, payee: Collective, payer_host: Collective | None, payee_host: Collective | None
) -> tuple[Party, Party]:
    """Return payer and payee with the hosts that hold their money."""
    return Party(payer, payer_host), Party(payee, payee_host)


TABLES = (RecurringGift, Collective, Collective, Collective, Collective, PaymentMethod, Order)
"""The tables of a row of `WITH_PERIOD`, in their order."""
WITH_PERIOD = compile_statement(
    _join_sides(
        select(
            *inspect(RecurringGift).local_table.c,
            *(getattr(side, name) for side in _SIDES for name in column_names(Collective)),
            *inspect(PaymentMethod).local_table.c,
            *inspect(Order).local_table.c,
        )
    )
    .outerjoin(PaymentMethod, col(RecurringGift.payment_method_id) == PaymentMethod.id)
    .outerjoin(
        Order,
        and_(
            col(Order.subscription_id) == RecurringGift.id,
            col(Order.period) == RecurringGift.next_charge_on,
            col(Order.status).in_([OrderStatus.FAILED, OrderStatus.PENDING]),
        ),
    )
    .where(col(RecurringGift.id) == bindparam("gift_id", type_=Uuid))
)
"""A gift with its sides, its payment method, and the order of its present period if it is not paid."""


def _build_update() -> Any:
    table: Any = inspect(RecurringGift).local_table
    values = {name: bindparam(name, type_=table.c[name].type) for name in _CHANGED_BY_WORKER}
    return update(table).where(table.c.id == bindparam("gift_id", type_=Uuid)).values(values)


_UPDATE = compile_statement(_build_update())


async def write_changes(session: AsyncSession, gift: RecurringGift) -> None:
    """Write what the worker has changed in a gift that it has locked."""
    values = {name: getattr(gift, name) for name in _CHANGED_BY_WORKER}
    await effects.write(session, _UPDATE, {"gift_id": gift.id, **values})
