"""Orders, their items and their history."""

from datetime import date, datetime

import strawberry

import models
from dataloaders import Loaders
from resolvers import approvals as resolve_approvals
from resolvers import givers
from resolvers import offers as resolve_offers
from resolvers import orders as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.approval import AMOUNT_OF_PART, Approval
from schema.types.clearing import Settlement
from schema.types.connection import Connection
from schema.types.enums import (
    FeesPayer,
    GiverStatus,
    OrderActionType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
    RedemptionCap,
)
from schema.types.fields import Mask, batched, shaped, to_one, whole_list
from schema.types.identity import PlatformPolicy
from schema.types.money import Amount, amount_field
from schema.types.node import CollectiveRef, Node, id_field, is_row_of
from schema.types.offer import Offer
from schema.types.payment_method import PaymentMethod, PayoutMethod, WaitingPayment
from schema.types.recurring_gift import RecurringGift
from schema.types.tier import Tier
from services.access import giver_visibility, visibility
from services.core.money import Money
from services.offers import redemptions
from services.offers.redemption_quote import DOLLARS
from services.orders import expenses, order_details, provider_payments, queries, settlements, two_people
from services.orders.settlements import SettlementDetails
from services.sql_json import shape
from services.sql_json.shape import Column, Derived, Detail, Private, ToOne

Row = strawberry.Parent[models.Order]
CONCERNS = visibility.order_concerns_viewer


def _of_redemption(value: shape.Column | shape.Amount) -> Derived:
    """Return the shape of a detail of a redemption, for those whom the order concerns."""
    return Derived(redemptions.select_redemption, value, is_visible=CONCERNS, is_nullable=True)


def _dollars(minor_column: str) -> Derived:
    return _of_redemption(shape.Amount(minor_column, currency=DOLLARS))


def _of_needs(column: str) -> Derived:
    return Derived(two_people.select_needs, Column("number", column))


GIVER = Mask(giver_visibility.order_giver_is_visible, givers.are_shown)


@strawberry.type(description="A step in an order's history. Never changed.")
class OrderAction:
    is_type_of = is_row_of(models.OrderAction)
    type: OrderActionType = strawberry.field(description="Kind of step taken.")
    at: datetime = strawberry.field(description="When the step was taken.")
    from_status: OrderStatus | None = strawberry.field(
        description="Order status before this step. Null for the first step."
    )
    to_status: OrderStatus = strawberry.field(description="Order status after this step.")

    actor = to_one(
        Loaders.collective,
        "actor_id",
        description="The collective that took the step. Null if the server did, or the giver of an incognito "
        "donation whom you may not know.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    @batched(
        shape=AMOUNT_OF_PART,
        description="Amount requested, approved or refunded in this step.",
        graphql_type=Amount | None,
    )
    async def amount(rows: list[models.OrderAction], info: Info) -> list[Money | None]:
        return await resolve.load_amounts(rows, info)

    @strawberry.field(description="Reason given for the step. Visible to those involved in the order.")
    @shaped(Private(Column("text", "reason"), order_details.concerns_action))
    async def reason(root: strawberry.Parent[models.OrderAction], info: Info) -> str | None:
        return await resolve.read_reason(root, info)


@strawberry.type(description="A line of an expense.")
class OrderItem:
    is_type_of = is_row_of(models.OrderItem)
    description: str = strawberry.field(description="Description of the line.")

    @batched(shape=AMOUNT_OF_PART, description="Amount of the line.", graphql_type=Amount | None)
    async def amount(rows: list[models.OrderItem], info: Info) -> list[Money | None]:
        return await resolve.load_amounts(rows, info)


@strawberry.type(
    description="An intent to move money or time. Expenses, and all approved or paid orders, are "
    "public if one side is not a person; all other orders are visible to both sides and "
    "their hosts."
)
class Order(Node):
    is_type_of = is_row_of(models.Order)
    id: strawberry.ID = id_field("Order")
    type: OrderType = strawberry.field(description="Kind of payment that the order intends.")
    status: OrderStatus = strawberry.field(description="Status of the order.")
    description: str | None = strawberry.field(description="Purpose of the order.")
    payment_method_kind: PaymentMethodKind | None = strawberry.field(
        name="paymentMethodType", description="Kind of payment by which a donation is settled."
    )
    payout_method_kind: PayoutMethodKind | None = strawberry.field(
        name="payoutMethodType", description="Kind of payout by which an expense is paid."
    )
    fees_payer: FeesPayer | None = strawberry.field(description="Side that bears the payout fee.")
    host_fee_bps: int | None = strawberry.field(
        description="Fee of the receiving host in basis points, as of the order's creation."
    )
    platform_fee_bps: int = strawberry.field(
        description="Platform fee in basis points, as of the order's creation."
    )
    expires_at: datetime | None = strawberry.field(description="When the order expires unless it is decided.")
    created_at: datetime = strawberry.field(description="When the order was created.")
    updated_at: datetime = strawberry.field(description="When the order was last changed.")

    starts_at: datetime | None = strawberry.field(description="When the volunteered hours began.")
    ends_at: datetime | None = strawberry.field(description="When the volunteered hours ended.")

    @strawberry.field(
        description="The user asked to approve the hours. Visible to that user and to the nonprofit's admins "
        "and accountants; null for others, and if every admin is asked.",
        graphql_type=lazy.nullable(lazy.USER),
    )
    @shaped(ToOne("collective", "addressed_to_id", is_shown=visibility.addressee_is_visible))
    async def addressed_to(root: Row, info: Info) -> models.Collective | None:
        return await resolve.load_addressee(root, info)

    created_by = to_one(
        Loaders.collective,
        "created_by_id",
        mask=GIVER,
        description="The user who created the order. Null if it is incognito and you may not know its giver.",
        graphql_type=lazy.nullable(lazy.USER),
    )

    from_ = to_one(
        Loaders.collective,
        "from_id",
        name="from",
        mask=GIVER,
        description="The paying collective. Null if the order is incognito and you may not know its giver.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    to = to_one(
        Loaders.collective, "to_id", description="The collective to be paid.", graphql_type=lazy.COLLECTIVE
    )

    amount = amount_field("amount", "currency", description="Requested amount, in the payee's currency.")

    approved_amount = amount_field(
        "approved_amount",
        "currency",
        description="Approved amount, in the payee's currency.",
        is_nullable=True,
    )

    platform_tip = amount_field(
        "tip",
        "currency",
        description="Tip to the platform beside the amount of a donation, in the payee's currency. Null "
        "without one.",
        is_nullable=True,
    )

    @batched(
        shape=Derived(order_details.select_refunded, shape.Amount("minor", "currency")),
        description="Refunded part of the order, in its currency. Zero without a refund.",
        graphql_type=Amount,
    )
    async def refunded_amount(rows: list[models.Order], info: Info) -> list[Money]:
        return await resolve.load_refunded_amounts(rows, info)

    @strawberry.field(
        description="The giver in whose name a host added the funds. Visible to admins and accountants of "
        "that giver and of the host; null for others and if no giver was named.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )
    @shaped(ToOne("collective", "claimed_giver_id", is_shown=visibility.claimed_giver_is_visible))
    async def claimed_giver(root: Row, info: Info) -> models.Collective | None:
        return await resolve.load_claimed_giver(root, info)

    @strawberry.field(
        description="Answer of the giver in whose name a host added the funds. Visible like `claimedGiver`.",
        graphql_type=GiverStatus | None,
    )
    @shaped(Private(Column("bare_text", "giver_status"), visibility.claimed_giver_is_visible))
    async def giver_status(root: Row, info: Info) -> str | None:
        return await resolve.read_giver_status(root, info)

    is_incognito: bool = strawberry.field(
        description="True if the giver of a donation is shown to the giver, the hosts of both sides and the "
        "platform alone. To others, the receiver's admins among them, all that names the giver is null."
    )

    event = to_one(
        Loaders.collective,
        "event_id",
        description="The event that the order belongs to.",
        graphql_type=lazy.nullable(lazy.EVENT),
    )

    payment_method = to_one(
        Loaders.payment_method,
        "payment_method_id",
        description="The host's payment method used for the order.",
        graphql_type=PaymentMethod | None,
    )

    payout_method = to_one(
        Loaders.payout_method,
        "payout_method_id",
        description="The payee's payout method. Visible to the payee's admins and the payer's host.",
        graphql_type=PayoutMethod | None,
    )

    offer = to_one(
        Loaders.offer_of_order,
        "offer_id",
        description="The offer that a redemption uses.",
        graphql_type=Offer | None,
    )

    tier = to_one(
        Loaders.tier_of_order,
        "tier_id",
        description="The tier that a donation pays for. Null for others, and if its event may not be seen.",
        graphql_type=Tier | None,
    )

    subscription = to_one(
        Loaders.recurring_gift_of_order,
        "id",
        shape=ToOne("recurring_gift", "subscription_id", are_shown=giver_visibility.gift_of_order_is_known),
        description="The recurring gift that the order belongs to. Visible to admins and accountants of both "
        "sides and their hosts; null for others, and where only one of the two is incognito for those who "
        "may not know the giver.",
        graphql_type=RecurringGift | None,
    )

    period: date | None = strawberry.field(
        description="Day on which the recurring gift was due; it has one order a period."
    )
    quantity: int | None = strawberry.field(
        description="Number of tickets or other things that a donation in a tier pays for."
    )

    @strawberry.field(
        description="Price of a redemption's purchase, as stated by the user. Visible to those involved "
        "in the order.",
        graphql_type=Amount | None,
    )
    @shaped(_dollars("price_minor"))
    async def price(root: Row, info: Info) -> Money | None:
        return await resolve_offers.read_price(root, info)

    @strawberry.field(
        description="Price of a redemption's purchase, as approved by the business. Visible to those "
        "involved in the order.",
        graphql_type=Amount | None,
    )
    @shaped(_dollars("approved_price_minor"))
    async def approved_price(root: Row, info: Info) -> Money | None:
        return await resolve_offers.read_approved_price(root, info)

    @strawberry.field(
        description="US dollars that the platform pays the user for a redemption, after its fee. Visible "
        "to those involved in the order.",
        graphql_type=Amount | None,
    )
    @shaped(_dollars("payout_minor"))
    async def payout(root: Row, info: Info) -> Money | None:
        return await resolve_offers.read_payout(root, info)

    @strawberry.field(
        description="US dollars that the platform keeps from a redemption. Visible to those involved in "
        "the order.",
        graphql_type=Amount | None,
    )
    @shaped(_dollars("usd_fee_minor"))
    async def payout_fee(root: Row, info: Info) -> Money | None:
        return await resolve_offers.read_payout_fee(root, info)

    @strawberry.field(
        description="Limits that reduced the currents of a redemption. Visible to those involved in the "
        "order; null for others.",
        graphql_type=list[RedemptionCap] | None,
    )
    @shaped(_of_redemption(Column("text", "caps")))
    async def caps(root: Row, info: Info) -> list[str] | None:
        row = await resolve_offers.load_redemption(root, info)
        return row.caps if row else None

    @strawberry.field(description="Place of a redemption's purchase. Visible to those involved in the order.")
    @shaped(_of_redemption(Column("text", "place")))
    async def place(root: Row, info: Info) -> str | None:
        row = await resolve_offers.load_redemption(root, info)
        return row.place if row else None

    @strawberry.field(
        description="Proof of a redemption's purchase as text; uploaded files are in `receipts`. Visible "
        "to those involved in the order."
    )
    @shaped(_of_redemption(Column("text", "receipt_text")))
    async def receipt_text(root: Row, info: Info) -> str | None:
        row = await resolve_offers.load_redemption(root, info)
        return row.receipt_text if row else None

    @strawberry.field(
        description="Bank payment behind a settlement between hosts. Visible to those involved in the order.",
        graphql_type=Settlement | None,
    )
    @shaped(Detail(settlements.select_settlement, is_visible=CONCERNS))
    async def settlement(root: Row, info: Info) -> SettlementDetails | None:
        return await resolve.load_settlement(root, info)

    waiting_payment = to_one(
        Loaders.handover_of_order,
        "id",
        shape=Detail(provider_payments.select_handover, is_visible=visibility.handover_is_visible),
        description="Payment by card that waits for its giver: a new one, or one of a recurring gift that "
        "was refused or has to be confirmed. Visible to the giver's admins; null for others.",
        graphql_type=WaitingPayment | None,
    )
    policy = to_one(
        Loaders.policy,
        "policy_id",
        description="The platform policy in force when the order was created. Null if the order uses none "
        "of its figures.",
        graphql_type=PlatformPolicy | None,
    )

    items = to_one(
        Loaders.items_of_order,
        "id",
        shape=whole_list(expenses.select_items, expenses.ITEMS_IN_ORDER),
        description="Lines of an expense.",
        graphql_type=list[OrderItem],
    )

    @strawberry.field(
        description="References to receipts. Visible to those involved in the order; empty for others."
    )
    @shaped(Private(Column("text", "receipts"), CONCERNS, hidden="[]"))
    async def receipts(root: Row, info: Info) -> list[str]:
        return await resolve.read_receipts(root, info)

    @strawberry.field(description="Message to those involved in the order. Null for others.")
    @shaped(Private(Column("text", "private_message"), visibility.order_message_is_visible))
    async def private_message(root: Row, info: Info) -> str | None:
        return await resolve.read_private_message(root, info)

    approvals = to_one(
        Loaders.approvals_of_order,
        "id",
        shape=whole_list(two_people.select_approvals, two_people.APPROVALS_OLDEST),
        description="Approvals so far of an order that two people have to approve, the first one first. An "
        "edit of the order ends them.",
        graphql_type=list[Approval],
    )

    @batched(
        shape=_of_needs("needed"),
        description="Number of people who have to approve the order under the policies in force: 1 or 2.",
        graphql_type=int,
    )
    async def approvals_needed(rows: list[models.Order], info: Info) -> list[int]:
        return [needs.needed for needs in await resolve_approvals.load_needs(rows, info)]

    @batched(
        shape=_of_needs("missing"),
        description="Number of approvals that a pending order still misses. Whoever logged hours for a "
        "volunteer counts as one of two. Zero once it is decided.",
        graphql_type=int,
    )
    async def approvals_missing(rows: list[models.Order], info: Info) -> list[int]:
        return [needs.missing for needs in await resolve_approvals.load_needs(rows, info)]

    actions = to_one(
        Loaders.actions_of_order,
        "id",
        shape=whole_list(order_details.select_actions, order_details.ACTIONS_OLDEST),
        description="History of the order, oldest step first.",
        graphql_type=list[OrderAction],
    )

    transactions = to_one(
        Loaders.transactions_of_order,
        "id",
        shape=whole_list(queries.select_transactions_of_order, queries.TRANSACTIONS_OLDEST),
        description="Transactions that the order produced, oldest first.",
        graphql_type=list[lazy.TRANSACTION],
    )


@strawberry.type(description="A page of orders.")
class OrderConnection(Connection[Order]):
    pass


@strawberry.input(description="Filter for orders. All given conditions must hold.")
class OrderFilter:
    type: list[OrderType] | None = strawberry.field(default=None, description="Only orders of these types.")
    status: list[OrderStatus] | None = strawberry.field(
        default=None, description="Only orders with one of these statuses."
    )
    from_: CollectiveRef | None = strawberry.field(
        name="from", default=None, description="Only orders of this payer."
    )
    to: CollectiveRef | None = strawberry.field(default=None, description="Only orders of this payee.")
    event: CollectiveRef | None = strawberry.field(
        default=None, description="Only hours and tickets of this event."
    )
    addressed_to: CollectiveRef | None = strawberry.field(
        default=None, description="Only hours that this user is asked to approve."
    )
    claimed_giver: CollectiveRef | None = strawberry.field(
        default=None,
        description="Only funds that a host added in the name of this giver. Those whose giver you may not "
        "know are left out.",
    )
    offer: strawberry.ID | None = strawberry.field(
        default=None, description="Only redemptions of this offer."
    )
    tier: strawberry.ID | None = strawberry.field(default=None, description="Only donations in this tier.")
    subscription: strawberry.ID | None = strawberry.field(
        default=None, description="Only orders of this recurring gift, which you must be able to see."
    )
    created_from: datetime | None = strawberry.field(
        default=None, description="Only orders created at or after this time."
    )
    created_until: datetime | None = strawberry.field(
        default=None, description="Only orders created before this time."
    )
