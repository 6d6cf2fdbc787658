"""Visibility: one SQL predicate per type, used on every path to its rows."""

from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import (
    Act,
    Attendance,
    Collective,
    Instrument,
    Invitation,
    LedgerAccount,
    Member,
    Offer,
    Order,
    PayoutMethod,
    Receipt,
    RecurringGift,
    Redemption,
    Tier,
    Transaction,
)
from models.enums import (
    CollectiveType,
    GiverStatus,
    MemberRole,
    NamedBy,
    OrderStatus,
    OrderType,
    RequestStatus,
)
from services.access.actor import READER_ROLES, Actor
from services.access.giver_visibility import order_giver_is_visible
from services.access.viewer_terms import (
    VIEWER_PREFIX,
    is_collective_of,
    is_event_of_roles,
    is_hosted_by_viewer,
    is_in_session,
    is_of_roles,
    is_of_viewer_hosts,
    is_platform_admin,
    viewer_id,
    viewer_ids,
    viewer_parameter,
)

_PUBLIC_STATUSES = (OrderStatus.APPROVED, OrderStatus.PAID, OrderStatus.REFUNDED)
_PAID = aliased(Order, name="paid")
_COLON: ColumnElement[str] = literal_column("':'")


def is_of_offered_provider(account: Any, actor: Actor) -> ColumnElement[bool]:
    """True for accounts at a payment provider that the settings offer, in its mode: live or for tests."""
    name = f"{VIEWER_PREFIX}providers"
    offered = func.string_to_array(bindparam(name, viewer_parameter(name, actor), type_=Text), ",")
    mode = sql_cast(col(account.livemode), Text)
    return func.concat(account.provider, _COLON, mode) == any_(offered)


def is_viewer(actor: Actor) -> ColumnElement[bool]:
    """True for the collective of the signed-in user."""
    return (
        false() if actor.user is None else cast("ColumnElement[bool]", col(Collective.id) == viewer_id(actor))
    )


def collective_is_visible(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """True for public collectives, and for private events of which the actor is a member.

    A private event is visible to the readers of its parent, too. Readers are ADMINs and ACCOUNTANTs. The slug
    and name of an unclaimed user do not reveal the email address.
    """
    if actor.is_platform_accountant:
        return true()
    if actor.user is None:
        return cast("ColumnElement[bool]", col(table.is_public).is_(true()))
    return or_(
        table.is_public,
        table.id == viewer_ids("collectives", actor),
        and_(table.type == CollectiveType.EVENT, is_of_roles(table.parent_id, actor, *READER_ROLES)),
    )


def collective_is_listed(actor: Actor) -> ColumnElement[bool]:
    """True if visible and not an unclaimed user: no list reveals a known email address."""
    if actor.is_platform_accountant:
        return true()
    is_unclaimed = and_(col(Collective.type) == CollectiveType.USER, col(Collective.claimed_at).is_(None))
    return and_(collective_is_visible(actor), ~is_unclaimed)


def balance_is_visible(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """True if the actor can read the balance of a visible collective; as `can_read_balance`."""
    if actor.is_platform_accountant:
        return true()
    is_no_person = table.type != CollectiveType.USER
    if actor.user is None:
        return cast("ColumnElement[bool]", is_no_person)
    return or_(
        is_no_person,
        is_of_roles(table.id, actor, *READER_ROLES),
        is_of_viewer_hosts(table.host_id, actor),
    )


def private_fields_are_visible(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """True if the actor can read the private fields of a visible collective; as `can_read_private`."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        is_of_roles(table.id, actor, *READER_ROLES),
        and_(table.type == CollectiveType.EVENT, is_of_roles(table.parent_id, actor, *READER_ROLES)),
    )


def preferences_are_visible(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """True for users themselves; as `can_read_preferences`."""
    return false() if actor.user is None else cast("ColumnElement[bool]", table.id == viewer_id(actor))


def audit_log_is_visible(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """True for the ADMINs of a visible collective, its host and the platform; events have the parent's."""
    if actor.user is None:
        return false()
    is_event = table.type == CollectiveType.EVENT

    def is_of_host(side: Any) -> ColumnElement[bool]:
        return is_of_roles(side.host_id, actor, MemberRole.ADMIN)

    return or_(
        is_platform_admin(actor),
        is_of_roles(table.id, actor, MemberRole.ADMIN),
        and_(~is_event, is_of_host(table)),
        and_(is_event, is_of_roles(table.parent_id, actor, MemberRole.ADMIN)),
        and_(is_event, is_collective_of(table.parent_id, is_of_host)),
    )


def security_log_is_visible(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """True for users themselves, in a session."""
    return false() if actor.user is None else and_(table.id == viewer_id(actor), is_in_session(actor))


def act_origin_is_visible(actor: Actor, table: Any = Act) -> ColumnElement[bool]:
    """True if the actor may know from where a visible act was made, in a session.

    The person who made it may, and the platform's ADMINs.
    """
    if actor.user is None:
        return false()
    return and_(is_in_session(actor), or_(table.actor_id == viewer_id(actor), is_platform_admin(actor)))


def location_is_visible(actor: Actor, table: Any = Collective) -> ColumnElement[bool]:
    """True if the actor can read the location of a visible collective; as `can_read_location`."""
    return or_(table.type != CollectiveType.USER, private_fields_are_visible(actor, table))


def order_is_visible(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """True for public orders and those that concern the actor.

    Public are expenses and approved, paid or refunded orders with a side that is not a person. An order
    concerns its creator, its addressee, the giver whom a host named, and the ADMINs and ACCOUNTANTs of both
    sides and of their hosts.
    """
    if actor.is_platform_accountant:
        return true()
    public = and_(
        table.has_public_side,
        or_(table.type == OrderType.EXPENSE, table.status.in_(_PUBLIC_STATUSES)),
    )
    if actor.user is None:
        return public
    return or_(
        public,
        table.created_by_id == viewer_id(actor),
        table.addressed_to_id == viewer_id(actor),
        is_of_roles(table.from_id, actor, *READER_ROLES),
        is_of_roles(table.to_id, actor, *READER_ROLES),
        is_of_roles(table.claimed_giver_id, actor, *READER_ROLES),
        is_hosted_by_viewer(table.from_id, actor),
        is_hosted_by_viewer(table.to_id, actor),
    )


def order_concerns_viewer(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """True if the actor can read the private fields of a visible order; as `concerns_order`."""
    if actor.is_platform_accountant:
        return true()
    if actor.user is None:
        return false()
    sides = (table.from_id, table.to_id)
    return or_(
        table.created_by_id == viewer_id(actor),
        *(is_of_roles(side, actor, *READER_ROLES) for side in sides),
        *(is_event_of_roles(side, actor, *READER_ROLES) for side in sides),
        *(is_hosted_by_viewer(side, actor) for side in sides),
    )


def order_message_is_visible(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """True if the actor can read the private message of a visible order; as `can_read_message`.

    Until a guest has claimed a gift, the message names the guest, for the host alone, which is its `from`.
    That of an incognito one stays for those who may know the giver.
    """
    concerned = order_concerns_viewer(actor, table)
    if actor.is_platform_accountant or actor.user is None:
        return concerned
    is_told = table.giver_status.is_(None) | (table.giver_status == GiverStatus.CONFIRMED)
    names_nobody = or_(table.claimed_giver_id.is_(None), order_giver_is_visible(actor, table))
    return and_(concerned, names_nobody, or_(is_told, is_of_roles(table.from_id, actor, *READER_ROLES)))


def addressee_is_visible(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """True for the addressee of an order of hours and the readers of its nonprofit.

    Not for the volunteer, who named an address and does not learn whose it is.
    """
    if actor.is_platform_accountant:
        return true()
    if actor.user is None:
        return false()
    return or_(table.addressed_to_id == viewer_id(actor), is_of_roles(table.from_id, actor, *READER_ROLES))


def claimed_giver_is_visible(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """True for the readers of the giver whom a host named, and of that host."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        is_of_roles(table.claimed_giver_id, actor, *READER_ROLES), is_hosted_by_viewer(table.to_id, actor)
    )


def transaction_is_visible(actor: Actor, table: Any = Transaction) -> ColumnElement[bool]:
    """True if a side is not a person, or the actor is ADMIN or ACCOUNTANT of a side or its host."""
    if actor.is_platform_accountant:
        return true()
    if actor.user is None:
        return col(table.has_public_side).is_(true())
    columns = (table.from_collective_id, table.to_collective_id, table.from_host_id, table.to_host_id)
    return or_(table.has_public_side, *(is_of_roles(column, actor, *READER_ROLES) for column in columns))


def ledger_account_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True unless the owner is a person; then for that person and the readers of the book.

    The statement must join LedgerAccount to Collective on owner_id.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        col(Collective.type) != CollectiveType.USER,
        is_of_roles(LedgerAccount.owner_id, actor, *READER_ROLES),
        is_of_roles(LedgerAccount.book_id, actor, *READER_ROLES),
    )


def postings_are_visible(actor: Actor) -> ColumnElement[bool]:
    """True for the ADMINs and ACCOUNTANTs of a ledger account's owner and of the book's host.

    They may read the list of all its postings; others see postings with the transactions they may see.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        is_of_roles(LedgerAccount.owner_id, actor, *READER_ROLES),
        is_of_roles(LedgerAccount.book_id, actor, *READER_ROLES),
    )


def liability_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True for the ADMINs and ACCOUNTANTs of the platform, as in the rule of `READ_LIABILITY`."""
    return true() if actor.is_platform_accountant else false()


def member_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True unless a follower, waiting, or named by others; then for the member and the collective's readers.

    The readers do not see people named by their address either: they would learn whose it is.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        and_(
            col(Member.role).not_in((MemberRole.FOLLOWER, MemberRole.WAITING)),
            col(Member.named_by).is_(None),
        ),
        and_(
            or_(
                is_of_roles(Member.collective_id, actor, *READER_ROLES),
                is_event_of_roles(Member.collective_id, actor, *READER_ROLES),
            ),
            col(Member.named_by).is_distinct_from(NamedBy.ADDRESS),
        ),
        is_of_roles(Member.member_id, actor, *READER_ROLES),
    )


def attendance_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True for the ADMINs and ACCOUNTANTs of the event and of its parent."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        is_of_roles(Attendance.event_id, actor, *READER_ROLES),
        is_event_of_roles(Attendance.event_id, actor, *READER_ROLES),
    )


def payout_method_is_visible(actor: Actor, table: Any = PayoutMethod) -> ColumnElement[bool]:
    """True for the ADMINs and ACCOUNTANTs of the owner and of a host that pays an order to it."""
    if actor.is_platform_accountant:
        return true()
    is_paid_by_viewer = (
        exists()
        .where(col(_PAID.payout_method_id) == table.id, is_hosted_by_viewer(_PAID.from_id, actor))
        .correlate_except(_PAID)
    )
    return or_(is_of_roles(table.owner_id, actor, *READER_ROLES), is_paid_by_viewer)


def card_is_visible(actor: Actor, table: Any = Instrument) -> ColumnElement[bool]:
    """True for the cards of givers for whom the actor acts."""
    return is_of_roles(table.owner_id, actor, MemberRole.ADMIN)


def handover_is_visible(actor: Actor, table: Any = Order) -> ColumnElement[bool]:
    """True if the actor acts for the giver of an order, and may pay it at a provider."""
    return and_(is_of_roles(table.from_id, actor, MemberRole.ADMIN), col(table.origin_unknown).is_(False))


def offer_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True for active offers of open businesses, and for the readers of the business.

    The statement must join Offer to Collective on business_id.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        and_(col(Offer.is_active), col(Collective.archived_at).is_(None)),
        is_of_roles(Offer.business_id, actor, *READER_ROLES),
    )


def tier_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True for open tiers of open collectives that the actor may see, and for the readers of the collective.

    The statement must join Tier to Collective on collective_id.
    """
    if actor.is_platform_accountant:
        return true()
    return or_(
        and_(
            col(Tier.archived_at).is_(None),
            col(Collective.archived_at).is_(None),
            collective_is_visible(actor),
        ),
        is_of_roles(Tier.collective_id, actor, *READER_ROLES),
        is_event_of_roles(Tier.collective_id, actor, *READER_ROLES),
    )


def tier_of_order_is_visible(actor: Actor, table: Any = Tier) -> ColumnElement[bool]:
    """True for the tier of a visible order, archived or not, unless the actor may not see its event."""
    if actor.is_platform_accountant:
        return true()
    return is_collective_of(table.collective_id, lambda side: collective_is_visible(actor, side))


def recurring_gift_is_visible(actor: Actor, table: Any = RecurringGift) -> ColumnElement[bool]:
    """True for the ADMINs and ACCOUNTANTs of both sides and of their hosts."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        is_of_roles(table.from_id, actor, *READER_ROLES),
        is_of_roles(table.to_id, actor, *READER_ROLES),
        is_hosted_by_viewer(table.from_id, actor),
        is_hosted_by_viewer(table.to_id, actor),
    )


def receipt_is_visible(actor: Actor, public_id: str) -> ColumnElement[bool]:
    """True for the uploader and for those who receive it with an order of the uploader.

    These are the ADMINs of the business of a redemption, and the readers of the payer of an expense and its
    host. Only orders of the receipt's owner count: nobody can make somebody else's receipt visible.
    """
    if actor.is_platform_accountant:
        return true()
    redemptions = select(col(Redemption.receipt_id)).join(Order, col(Order.id) == Redemption.order_id)
    to_business = redemptions.where(
        col(Redemption.receipt_id) == Receipt.id,
        col(Order.from_id) == Receipt.owner_id,
        is_of_roles(Order.to_id, actor, MemberRole.ADMIN),
    )
    to_payer = select(col(Order.id)).where(
        col(Order.type) == OrderType.EXPENSE,
        col(Order.created_by_id) == Receipt.owner_id,
        col(Order.receipts).op("@>")(sql_cast([public_id], ARRAY(Text))),
        or_(is_of_roles(Order.from_id, actor, *READER_ROLES), is_hosted_by_viewer(Order.from_id, actor)),
    )
    return or_(is_of_roles(Receipt.owner_id, actor), to_business.exists(), to_payer.exists())


def invitee_is_visible(actor: Actor, table: Any = Invitation) -> ColumnElement[bool]:
    """True unless the invited user would reveal the owner of an email address; as `can_see_invitee`."""
    is_open = or_(~table.by_email, table.status == RequestStatus.ACCEPTED)
    return is_open if actor.user is None else or_(is_open, table.user_id == viewer_id(actor))


def invitation_is_visible(actor: Actor) -> ColumnElement[bool]:
    """True for the invitee and the ADMINs of the collective."""
    if actor.is_platform_accountant:
        return true()
    return or_(
        is_of_roles(Invitation.user_id, actor),
        is_of_roles(Invitation.collective_id, actor, MemberRole.ADMIN),
        is_event_of_roles(Invitation.collective_id, actor, MemberRole.ADMIN),
    )
