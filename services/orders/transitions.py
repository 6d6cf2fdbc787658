"""Change an order's status with one conditional UPDATE; when calls race, exactly one succeeds."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    func,
    inspect,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Order, PaymentMethod, Redemption, now
from models.enums import OrderStatus, OrderType
from services.access import viewer_terms, visibility
from services.access.actor import Actor
from services.access.permissions import Subject
from services.core.errors import InvalidState, NotFound, Problem
from services.core.party import Party
from services.database.constraint_errors import constraint_name, problem_for
from services.orders.sides import OrderSides, order_sides
from services.round_trips import effects
from services.round_trips.pipelines import Call, Statement, compile_statement
from services.round_trips.records import column_names, split_records

SIDE_ARCHIVED = "One of the two sides is archived. An admin of it can unarchive it."
"""Not which of them: the actor may not know who gives."""
# Built once at import: creating an alias copies every column, which cost more than the query.
_PAYER, _PAYEE = aliased(Collective, name="payer"), aliased(Collective, name="payee")
_PAYER_HOST, _PAYEE_HOST = aliased(Collective, name="payer_host"), aliased(Collective, name="payee_host")
_SIDES = (_PAYER, _PAYEE, _PAYER_HOST, _PAYEE_HOST)
_TABLES = (Order, Collective, Collective, Collective, Collective, PaymentMethod, Redemption)
_TURN = 2
"""Seed of the advisory lock of a volunteer's turn, as in the database's `hours_take_turns`."""


async def load_for_decision(
    session: AsyncSession, actor: Actor, *, order_id: UUID
) -> tuple[OrderSides, Subject]:
    """Load an order with its sides, and the subject of permissions on it.

    Raises:
        NotFound: there is no such order, or the actor may not see it.
    """
    sides, subject, _ = await load_with(session, actor, order_id=order_id)
    return sides, subject


async def load_for_server(session: AsyncSession, actor: Actor, *, order_id: UUID) -> OrderSides:
    """Load an order with its sides for the server itself, which acts on every order."""
    statement = _select_statement("server", actor)
    sides, *_ = await _load(session, actor, Call(statement, {"order_id": order_id}))
    return sides


async def load_with(
    session: AsyncSession, actor: Actor, *calls: Call, order_id: UUID
) -> tuple[OrderSides, Subject, list[list[Any]]]:
    """Load an order as `load_for_decision` does, with the rows of further calls in the same round trip.

    Raises:
        NotFound: there is no such order, or the actor may not see it.
    """
    statement = _select_statement(actor.kind, actor)
    values = {n: viewer_terms.viewer_parameter(n, actor) for n in statement.names if n != "order_id"}
    return await _load(session, actor, Call(statement, {"order_id": order_id, **values}), *calls)


async def load_locked(
    session: AsyncSession, actor: Actor, *calls: Call, before: Call, order_id: UUID
) -> tuple[OrderSides, Subject, list[list[Any]]]:
    """Load an order as `load_with` does, and lock it; `before` is sent before that, the other calls after it.

    Locks: those of `before`, the order, those of the calls.

    Raises:
        NotFound: there is no such order, or the actor may not see it.
    """
    statement = _select_statement(actor.kind, actor, locks=True)
    values = {n: viewer_terms.viewer_parameter(n, actor) for n in statement.names if n != "order_id"}
    order_call = Call(statement, {"order_id": order_id, **values})
    first, rows, *others = await effects.fetch(session, before, order_call, *calls)
    return *_to_sides(actor, rows), [first, *others]


async def _load(
    session: AsyncSession, actor: Actor, order_call: Call, *calls: Call
) -> tuple[OrderSides, Subject, list[list[Any]]]:
    rows, *others = await effects.fetch(session, order_call, *calls)
    return *_to_sides(actor, rows), others


def _to_sides(actor: Actor, rows: Sequence[Sequence[Any]]) -> tuple[OrderSides, Subject]:
    if not rows:
        raise NotFound("There is no such order. Check its id.", field="id")
    order, from_, to, from_host, to_host, method, redemption = split_records(_TABLES, rows[0])
    sides = order_sides(
        order,
        Party(from_, from_host),
        Party(to, to_host),
        platform_id=actor.platform_id,
        payment_method=method,
    )
    sides = replace(sides, redemption=redemption)
    subject = Subject(
        payer=from_,
        payee=to,
        payer_host=from_host,
        payee_host=to_host,
        created_by_actor=order.created_by_id is not None and order.created_by_id == actor.id,
    )
    return sides, subject


_STATEMENTS: dict[tuple[str, bool], Statement] = {}


def _select_statement(kind: str, actor: Actor, *, locks: bool = False) -> Statement:
    """Return the statement for actors of one kind, which differ in its parameters only.

    The kind "server" reads every order.
    """
    if (kind, locks) not in _STATEMENTS:
        is_visible = true() if kind == "server" else visibility.order_is_visible(actor)
        statement = _select_order(is_visible)
        _STATEMENTS[kind, locks] = compile_statement(
            statement.with_for_update(of=Order) if locks else statement
        )
    return _STATEMENTS[kind, locks]


def _select_order(is_visible: ColumnElement[bool]) -> Select[Any]:
    order_id = bindparam("order_id", type_=Uuid)
    return (
        select(
            *inspect(Order).local_table.c,
            *(getattr(side, name) for side in _SIDES for name in column_names(Collective)),
            *inspect(PaymentMethod).local_table.c,
            *inspect(Redemption).local_table.c,
        )
        .select_from(Order)
        .join(_PAYER, col(Order.from_id) == _PAYER.id)
        .join(_PAYEE, col(Order.to_id) == _PAYEE.id)
        .outerjoin(_PAYER_HOST, _PAYER.host_id == _PAYER_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(_PAYEE_HOST, _PAYEE.host_id == _PAYEE_HOST.id)  # type: ignore[arg-type]  # SQLModel
        .outerjoin(PaymentMethod, col(Order.payment_method_id) == PaymentMethod.id)
        .outerjoin(Redemption, col(Redemption.order_id) == Order.id)
        .where(col(Order.id) == order_id, is_visible)
    )


async def lock_orders(session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]) -> None:
    """Lock orders in the order of their ids, then the turns of volunteers, both before any account.

    So two calls that lock several orders never wait for each other's orders or turns in a circle.
    """
    needs_turn = and_(col(Order.type) == OrderType.HOURS, col(Collective.claimed_at).is_(None))
    statement = (
        select(col(Order.to_id), needs_turn)
        .join(Collective, col(Order.to_id) == Collective.id)
        .where(col(Order.id).in_(order_ids))
        .order_by(col(Order.id))
        .with_for_update(of=Order)
    )
    rows = (await session.execute(statement)).all()
    await take_turns(session, actor, volunteer_ids={to_id for to_id, needs in rows if needs})


async def take_turns(session: AsyncSession, _: Actor, *, volunteer_ids: set[UUID]) -> None:
    """Take the turns of volunteers, as new hours do, in the order of their ids and before any account.

    Hours of a volunteer who never signed in take one by themselves when they are approved. In a transaction
    that approves several orders, that would be after the accounts of the earlier ones.
    """
    if volunteer_ids:
        ids = func.unnest(literal(sorted(volunteer_ids), ARRAY(Uuid))).table_valued("id").render_derived()
        await session.execute(select(func.pg_advisory_xact_lock(func.uuid_hash_extended(ids.c.id, _TURN))))


async def lock_open_sides(session: AsyncSession, parties: Sequence[Party]) -> None:
    """Lock the sides of an order, shared, and require that they are open; archiving waits.

    Raises:
        InvalidState: one is archived.
    """
    ids = {party.collective.id for party in parties if party.collective is not None}
    statement = (
        select(col(Collective.archived_at))
        .where(col(Collective.id).in_(ids))
        .order_by(col(Collective.id))
        .with_for_update(read=True)
    )
    if any(archived_at is not None for archived_at in (await session.execute(statement)).scalars().all()):
        raise InvalidState(SIDE_ARCHIVED, field="id")


def require_status(order: Order, *expected: OrderStatus) -> None:
    """Require one of the statuses.

    Raises:
        InvalidState: the order has another one.
    """
    if order.status not in expected:
        raise InvalidState(f"The order is {order.status}, but must be {' or '.join(expected)}.", field="id")


def _explain_change(error: DBAPIError) -> Problem | None:
    return problem_for(error) if constraint_name(error) == "order_unchanged" else None


def detach(session: AsyncSession, order: Order) -> None:
    """Keep the session from writing what is changed in the order by hand; a record is in no session."""
    if hasattr(order, "_sa_instance_state") and order in session:
        session.expunge(order)


@cache
def _change_statement(names: tuple[str, ...]) -> Statement:
    """Build the UPDATE of the status and these columns; it fails if it finds no row."""
    table: Any = inspect(Order).local_table
    values = {name: bindparam(name, type_=table.c[name].type) for name in ("status", "updated_at", *names)}
    changed = (
        update(table)
        .where(
            table.c.id == bindparam("order_id", type_=Uuid),
            table.c.status == bindparam("from_status", type_=Text),
            table.c.updated_at == bindparam("known_updated_at", type_=table.c.updated_at.type),
        )
        .values(values)
        .returning(table.c.id)
        .cte("changed")
    )
    return compile_statement(select(func.order_must_change(func.count(changed.c.id))))


async def change_status(
    session: AsyncSession, order: Order, *, from_status: OrderStatus, to_status: OrderStatus, **columns: Any
) -> None:
    """Change the order's status and `columns`, if it still has `from_status` and nobody has changed it.

    Raises:
        InvalidState: from the database, if another call was faster.
    """
    updated_at = now()
    await effects.write(
        session,
        _change_statement(tuple(sorted(columns))),
        {
            "order_id": order.id,
            "from_status": from_status,
            "known_updated_at": order.updated_at,
            "status": to_status,
            "updated_at": updated_at,
            **columns,
        },
        explain=_explain_change,
    )
    detach(session, order)
    order.status, order.updated_at = to_status, updated_at
    for name, value in columns.items():
        setattr(order, name, value)
