"""Payout methods: where payees want to be paid."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, PayoutMethod, now
from models.enums import PayoutMethodKind
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require, require_signed_in
from services.core import public_ids, user_text
from services.core.errors import Invalid, InvalidState, NotFound
from services.core.pagination import Sort
from services.orders.bank_details import check_bank_details
from services.orders.method_names import MethodName, split_name

MAX_DETAILS = 20


async def create_payout_method(
    session: AsyncSession,
    actor: Actor,
    *,
    collective: CollectiveKey,
    kind: PayoutMethodKind,
    name: str,
    details: Any = None,
) -> PayoutMethod:
    """Add a payout method of a payee.

    It never changes, so that a paid expense shows where it went. Raises Invalid for a wrong IBAN or BIC.
    """
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.CREATE_PAYOUT_METHOD, Subject(collective=row))
    assert actor.user is not None
    require_open(row, field="collective")
    if kind in {PayoutMethodKind.BALANCE, PayoutMethodKind.MANUAL}:
        raise Invalid(f"{kind} needs no payout method. Choose another type.", field="type")
    method = PayoutMethod(
        owner_id=row.id,
        kind=kind,
        name=user_text.require_name(name, field="name"),
        details=check_bank_details(_clean_details({} if details is None else details)),
        created_by_id=actor.user.id,
    )
    session.add(method)
    await session.flush()
    return method


async def update_payout_method(
    session: AsyncSession,
    actor: Actor,
    *,
    method_id: UUID,
    name: str | None = None,
    details: Any = None,
) -> PayoutMethod:
    """Put a new payout method in the place of one, which is archived; None keeps what that has.

    Expenses keep the method that they name: nobody redirects what was approved. Locks: the method.

    Raises:
        Invalid: a wrong IBAN or BIC.
        InvalidState: it is archived already.
    """
    old = await _lock_for(session, actor, method_id, Action.UPDATE_PAYOUT_METHOD)
    assert actor.user is not None
    new = PayoutMethod(
        owner_id=old.owner_id,
        kind=old.kind,
        name=old.name if name is None else user_text.require_name(name, field="name"),
        details=old.details if details is None else check_bank_details(_clean_details(details)),
        created_by_id=actor.user.id,
    )
    old.archived_at = now()
    session.add_all([old, new])
    await session.flush()
    return new


async def archive_payout_method(session: AsyncSession, actor: Actor, *, method_id: UUID) -> PayoutMethod:
    """Archive a payout method, which new expenses can no longer name. Locks: the method.

    Raises:
        InvalidState: it is archived already.
    """
    method = await _lock_for(session, actor, method_id, Action.ARCHIVE_PAYOUT_METHOD)
    method.archived_at = now()
    session.add(method)
    await session.flush()
    return method


async def _lock_for(session: AsyncSession, actor: Actor, method_id: UUID, action: Action) -> PayoutMethod:
    """Require and lock a payout method in use on which the actor may perform the action."""
    statement = (
        select(PayoutMethod, Collective)
        .join(Collective, col(PayoutMethod.owner_id) == Collective.id)
        .where(col(PayoutMethod.id) == method_id, visibility.payout_method_is_visible(actor))
        .with_for_update(of=PayoutMethod, key_share=True)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        require_signed_in(actor)
        raise NotFound("There is no such payout method.", field="id")
    method, owner = match
    require(actor, action, Subject(collective=owner))
    require_open(owner, field="id")
    if method.archived_at is not None:
        raise InvalidState("This payout method is archived.", field="id")
    return method


def _clean_detail(value: Any) -> str:
    field = "details"
    if not isinstance(value, str):
        raise Invalid("Enter details as an object of texts.", field=field)
    return user_text.require_text(value, field=field)


def _clean_details(details: Any) -> dict[str, str]:
    field = "details"
    if not isinstance(details, dict):
        raise Invalid("Enter details as an object of texts.", field=field)
    if len(details) > MAX_DETAILS:
        raise Invalid(f"Enter at most {MAX_DETAILS} details.", field=field)
    return {
        user_text.require_text(key, field=field, max_length=60): _clean_detail(value)
        for key, value in details.items()
    }


async def resolve_payout_method(
    session: AsyncSession, *, named_as: MethodName | str | None, payee: Collective
) -> tuple[PayoutMethodKind, UUID | None]:
    """Resolve a payout method: MANUAL (or None), BALANCE, or the id of one of the payee's.

    Raises:
        Invalid: none of these, or an id of another type.
        NotFound: the payee has no such method.
    """
    name, field = split_name(named_as, field="payoutMethod")
    if name is None or name in {"MANUAL", "BALANCE"}:
        return PayoutMethodKind(name or "MANUAL"), None
    if name in PayoutMethodKind.__members__:
        raise Invalid(f"Name the {name} by the ID of a payout method.", field=field)
    method_id = public_ids.decode("PayoutMethod", name, field=field)
    statement = select(PayoutMethod).where(
        col(PayoutMethod.id) == method_id,
        col(PayoutMethod.owner_id) == payee.id,
        col(PayoutMethod.archived_at).is_(None),
    )
    method = (await session.execute(statement)).scalar_one_or_none()
    if method is None:
        raise NotFound("The payee has no such payout method.", field=field)
    return PayoutMethodKind(method.kind), method.id


OLDEST_FIRST = Sort("PAYOUTS_OLDEST", col(PayoutMethod.id), col(PayoutMethod.id), descending=False)


def select_payout_methods(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[PayoutMethod]]:
    """Select a payee's active payout methods that the actor may see, oldest first."""
    del where  # has no conditions
    return (
        select(PayoutMethod).where(
            col(PayoutMethod.owner_id) == owner,
            col(PayoutMethod.archived_at).is_(None),
            visibility.payout_method_is_visible(actor),
        ),
    )


async def list_payout_methods(session: AsyncSession, actor: Actor, *, owner_id: UUID) -> list[PayoutMethod]:
    """List a payee's active payout methods that the actor may see, oldest first."""
    (statement,) = select_payout_methods(actor, owner=owner_id)
    return list((await session.execute(statement.order_by(OLDEST_FIRST.id))).scalars())


def select_payout_method(actor: Actor, *, where: Any, owner: object = None) -> tuple[Select[PayoutMethod]]:
    """Select the payout method with the id of `where`, if the actor may see it; archived ones, too."""
    assert owner is None
    is_visible = visibility.payout_method_is_visible(actor)
    return (select(PayoutMethod).where(col(PayoutMethod.id) == where.id, is_visible),)


async def load_payout_methods(
    session: AsyncSession, actor: Actor, *, row_ids: list[UUID]
) -> dict[UUID, PayoutMethod]:
    """Load the payout methods that the actor may see, including archived ones."""
    statement = select(PayoutMethod).where(
        col(PayoutMethod.id).in_(row_ids), visibility.payout_method_is_visible(actor)
    )
    return {row.id: row for row in (await session.execute(statement)).scalars()}
