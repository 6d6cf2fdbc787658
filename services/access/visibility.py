"""Who may see what: one predicate a type, as SQL, used on every path to it."""

from typing import Any, cast

from sqlalchemy import ARRAY, ColumnElement, Text, Uuid, and_, any_, bindparam, false, or_, select, true
from sqlalchemy import cast as sql_cast
from sqlmodel import col

from models import (
    Attendance,
    Collective,
    Invitation,
    LedgerAccount,
    Member,
    Offer,
    Order,
    PayoutMethod,
    Receipt,
    Redemption,
    Transaction,
)
from models.enums import CollectiveType, MemberRole, OrderStatus, OrderType
from services.access.actor import Actor

_READERS = (MemberRole.ADMIN, MemberRole.ACCOUNTANT)
_OPEN_TO_ALL = (OrderStatus.APPROVED, OrderStatus.PAID, OrderStatus.REFUNDED)


VIEWER = "viewer_"
"""How the names of parameters begin that hold what the viewer is: the same statement for all of a kind."""


def value(name: str, actor: Actor) -> Any:
    """Return the value of a parameter of these predicates."""
    what = name.removeprefix(VIEWER)
    if what == "id":
        return actor.id
    if what == "collectives":
        return list(actor.roles)
    if what == "hosts":
        return [i for i in actor.with_role(*_READERS) if i != actor.id]
    return actor.with_role(*(MemberRole(role) for role in what.split("_") if role))


def _viewers(name: str, actor: Actor) -> Any:
    """Return a parameter of many ids; an empty one is among none."""
    return any_(bindparam(VIEWER + name, value(VIEWER + name, actor), type_=ARRAY(Uuid)))


def _viewer_id(actor: Actor) -> Any:
    return bindparam(f"{VIEWER}id", actor.id, type_=Uuid)


def _among(column: Any, actor: Actor, *roles: MemberRole) -> ColumnElement[bool]:
    if actor.user is None:
        return false()
    return cast("ColumnElement[bool]", col(column) == _viewers("_".join(roles), actor))


def _in_events(column: Any, actor: Actor, *roles: MemberRole) -> ColumnElement[bool]:
    """Whether the column names an event of a parent in which the actor has one of the roles."""
    if actor.user is None:
        return false()
    return col(column).in_(select(col(Collective.id)).where(_among(Collective.parent_id, actor, *roles)))


def of_collective(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """All but private events, which are their members' and their parent's admins'.

    A user known by email alone is shown by a slug and a name that say nothing of the address.
    """
    if actor.is_platform_accountant:
        return true()
    if actor.user is None:
        return cast("ColumnElement[bool]", col(table.is_public).is_(true()))
    return or_(
        table.is_public,
        table.id == _viewers("collectives", actor),
        and_(table.type == CollectiveType.EVENT, _among(table.parent_id, actor, *_READERS)),
    )


def of_listed_collective(actor: Actor) -> ColumnElement[bool]:
    """Those that it sees, less users known by email alone: no list tells that an address is here."""
    if actor.is_platform_accountant:
        return true()
    unproved = and_(col(Collective.type) == CollectiveType.USER, col(Collective.claimed_at).is_(None))
    return and_(of_collective(actor), ~unproved)


def of_balance(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """As `sees_balance`, for a collective that it sees."""
    if actor.is_platform_accountant:
        return true()
    not_a_person = table.type != CollectiveType.USER
    if actor.user is None:
        return cast("ColumnElement[bool]", not_a_person)
    return or_(not_a_person, _among(table.id, actor, *_READERS), table.host_id == _viewers("hosts", actor))


def of_order(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """Expenses, and what is approved or paid, where a side is no person; else those concerned.

    Concerned are the creator, whom it is addressed to, admins and accountants of both sides and of their
    hosts.
    """
    if actor.is_platform_accountant:
        return true()
    public = and_(
        table.has_public_side,
        or_(table.type == OrderType.EXPENSE, table.status.in_(_OPEN_TO_ALL)),
    )
    if actor.user is None:
        return public
    return or_(
        public,
        table.created_by_id == _viewer_id(actor),
        table.addressed_to_id == _viewer_id(actor),
        _among(table.from_id, actor, *_READERS),
        _among(table.to_id, actor, *_READERS),
        _hosted(table.from_id, actor),
        _hosted(table.to_id, actor),
    )


def _hosted(column: Any, actor: Actor) -> ColumnElement[bool]:
    if actor.user is None:
        return false()
    hosted = select(col(Collective.id)).where(col(Collective.host_id) == _viewers("hosts", actor))
    return col(column).in_(hosted)


def of_transaction(actor: Actor, table: Any = Transaction) -> ColumnElement[bool]:
    """Those with a side that is no person; else admins and accountants of its sides and hosts."""
    if actor.is_platform_accountant:
        return true()
    if actor.user is None:
        return col(table.has_public_side).is_(true())
    return or_(
        table.has_public_side,
        *(
            _among(column, actor, *_READERS)
            for column in (
                table.from_collective_id,
                table.to_collective_id,
                table.from_host_id,
                table.to_host_id,
            )
        ),
    )


def of_ledger_account(actor: Actor) -> ColumnElement[bool]:
    """Accounts of organizations and communities; a person's own; all of a book for its readers.

    Needs LedgerAccount joined to Collective on owner_id.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        col(Collective.type) != CollectiveType.USER,
        _among(LedgerAccount.owner_id, actor, *_READERS),
        _among(LedgerAccount.book_id, actor, *_READERS),
    )


def of_member(actor: Actor) -> ColumnElement[bool]:
    """All but followers and those who wait, whom the collective's admins and they themselves see."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        col(Member.role).not_in((MemberRole.FOLLOWER, MemberRole.WAITING)),
        _among(Member.collective_id, actor, *_READERS),
        _in_events(Member.collective_id, actor, *_READERS),
        _among(Member.member_id, actor, *_READERS),
    )


def of_attendance(actor: Actor) -> ColumnElement[bool]:
    """The event's admins and accountants, and those of its parent."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        _among(Attendance.event_id, actor, *_READERS),
        _in_events(Attendance.event_id, actor, *_READERS),
    )


def of_payout_method(actor: Actor) -> ColumnElement[bool]:
    """The payee's admins and accountants, and those of a host that is to pay to it."""
    if actor.is_platform_accountant:
        return true()
    to_pay = select(col(Order.payout_method_id)).where(_hosted(Order.from_id, actor))
    return or_(
        _among(PayoutMethod.owner_id, actor, *_READERS),
        col(PayoutMethod.id).in_(to_pay),
    )


def of_offer(actor: Actor) -> ColumnElement[bool]:
    """Active ones of open businesses; all of a business for its admins and accountants.

    Needs Offer joined to Collective on business_id.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        and_(col(Offer.is_active), col(Collective.archived_at).is_(None)),
        _among(Offer.business_id, actor, *_READERS),
    )


def of_receipt(actor: Actor, public_id: str) -> ColumnElement[bool]:
    """Who uploaded it; admins of a business it was shown to; the payer, and its host, of an expense with it.

    Only the owner's own orders count: naming somebody else's receipt opens it to nobody.
    """
    if actor.is_platform_accountant:
        return true()
    shown = select(col(Redemption.receipt_id)).join(Order, col(Order.id) == Redemption.order_id)
    to_business = shown.where(
        col(Redemption.receipt_id) == Receipt.id,
        col(Order.from_id) == Receipt.owner_id,
        _among(Order.to_id, actor, MemberRole.ADMIN),
    )
    to_payer = select(col(Order.id)).where(
        col(Order.type) == OrderType.EXPENSE,
        col(Order.created_by_id) == Receipt.owner_id,
        col(Order.receipts).op("@>")(sql_cast([public_id], ARRAY(Text))),
        or_(_among(Order.from_id, actor, *_READERS), _hosted(Order.from_id, actor)),
    )
    return or_(_among(Receipt.owner_id, actor), to_business.exists(), to_payer.exists())


def of_invitation(actor: Actor) -> ColumnElement[bool]:
    """The invitee and the admins of the collective."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        _among(Invitation.user_id, actor),
        _among(Invitation.collective_id, actor, MemberRole.ADMIN),
        _in_events(Invitation.collective_id, actor, MemberRole.ADMIN),
    )


def sees_private(actor: Actor, collective: Collective) -> bool:
    """Whether the actor reads a collective's private fields: its admins and accountants."""
    return actor.is_platform_accountant or actor.holds(collective, *_READERS)


def sees_balance(actor: Actor, collective: Any) -> bool:
    """Whether the actor reads its balance: everybody, but a person's is their own and their host's."""
    return (
        collective.type != CollectiveType.USER
        or sees_private(actor, collective)
        or (
            collective.host_id is not None
            and not actor.roles.get(collective.host_id, frozenset()).isdisjoint(_READERS)
        )
    )
