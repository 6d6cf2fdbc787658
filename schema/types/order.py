"""Orders: the intent to move money or time, and its history."""

from datetime import datetime
from typing import Any

import strawberry

import models
from resolvers import offers as resolve_offers
from resolvers import orders as resolve
from resolvers.context import Info
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.enums import (
    FeesPayer,
    OrderActionType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
    RedemptionCap,
)
from schema.types.fields import reference, relation
from schema.types.identity import PlatformPolicy
from schema.types.money import Amount, amount_of
from schema.types.node import CollectiveRef, Node, id_of, rows_of
from schema.types.offer import Offer
from schema.types.payment_method import PaymentMethod, PayoutMethod

Row = strawberry.Parent[models.Order]


@strawberry.type(description="A step in an order's history; never changed.")
class OrderAction:
    is_type_of = rows_of(models.OrderAction)
    type: OrderActionType = strawberry.field(description="What was done.")
    at: datetime = strawberry.field(description="When.")
    from_status: OrderStatus | None = strawberry.field(description="The status it left.")
    to_status: OrderStatus = strawberry.field(description="The status it led to.")

    actor = reference(
        "collective",
        "actor_id",
        description="Who did it; null is the server.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    @relation(description="With which amount.", graphql_type=Amount | None)
    async def amount(rows: list[models.OrderAction], info: Info) -> Any:
        return await resolve.amounts(rows, info)

    @strawberry.field(description="Why; for those concerned.")
    async def reason(root: strawberry.Parent[models.OrderAction], info: Info) -> str | None:
        return await resolve.reason(root, info)


@strawberry.type(description="A line of an expense.")
class OrderItem:
    is_type_of = rows_of(models.OrderItem)
    description: str = strawberry.field(description="What it is for.")

    @relation(description="Its amount.", graphql_type=Amount | None)
    async def amount(rows: list[models.OrderItem], info: Info) -> Any:
        return await resolve.amounts(rows, info)


@strawberry.type(
    description="The intent to move money or time. Expenses, and what is approved or paid, are public where "
    "a side is no person; all else is for both sides and their hosts."
)
class Order(Node):
    is_type_of = rows_of(models.Order)
    id: strawberry.ID = id_of("Order")
    type: OrderType = strawberry.field(description="What it intends.")
    status: OrderStatus = strawberry.field(description="Where it stands.")
    description: str | None = strawberry.field(description="What it is for.")
    payment_method_kind: PaymentMethodKind | None = strawberry.field(
        name="paymentMethodType", description="How a donation settles."
    )
    payout_method_kind: PayoutMethodKind | None = strawberry.field(
        name="payoutMethodType", description="How an expense is paid."
    )
    fees_payer: FeesPayer | None = strawberry.field(description="Who bears a payout's fee.")
    host_fee_bps: int | None = strawberry.field(
        description="The receiving host's fee in basis points, as it was when the order was made."
    )
    platform_fee_bps: int = strawberry.field(
        description="The platform's fee in basis points, as it was when the order was made."
    )
    expires_at: datetime | None = strawberry.field(description="When it expires if nobody decides.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it last changed.")

    starts_at: datetime | None = strawberry.field(description="When the hours began.")
    ends_at: datetime | None = strawberry.field(description="When the hours ended.")

    addressed_to = reference(
        "collective",
        "addressed_to_id",
        description="The one whom a volunteer asks to approve; null asks every ADMIN.",
        graphql_type=lazy.optional(lazy.USER),
    )

    created_by = reference(
        "collective", "created_by_id", description="Who made it.", graphql_type=lazy.optional(lazy.USER)
    )

    from_ = reference(
        "collective", "from_id", name="from", description="The payer.", graphql_type=lazy.COLLECTIVE
    )

    to = reference("collective", "to_id", description="The payee.", graphql_type=lazy.COLLECTIVE)

    amount = amount_of("amount", "currency", description="The amount asked for, in the payee's currency.")

    approved_amount = amount_of(
        "approved_amount", "currency", description="The amount approved.", is_nullable=True
    )

    event = reference(
        "collective",
        "event_id",
        description="The event it belongs to.",
        graphql_type=lazy.optional(lazy.EVENT),
    )

    payment_method = reference(
        "payment_method",
        "payment_method_id",
        description="The host's payment method it was made with.",
        graphql_type=PaymentMethod | None,
    )

    payout_method = reference(
        "payout_method",
        "payout_method_id",
        description="Where the payee wants to be paid; for its admins and the payer's host.",
        graphql_type=PayoutMethod | None,
    )

    offer = reference(
        "order.offer",
        "offer_id",
        description="The offer that a redemption takes up.",
        graphql_type=Offer | None,
    )

    @strawberry.field(
        description="What a redemption's purchase cost, as the user says; for those concerned.",
        graphql_type=Amount | None,
    )
    async def price(root: Row, info: Info) -> Any:
        return await resolve_offers.price(root, info)

    @strawberry.field(
        description="What it cost, as the business says when it approves; for those concerned.",
        graphql_type=Amount | None,
    )
    async def approved_price(root: Row, info: Info) -> Any:
        return await resolve_offers.approved_price(root, info)

    @strawberry.field(
        description="What the platform pays the user of a redemption in USD, less its fee; for those "
        "concerned.",
        graphql_type=Amount | None,
    )
    async def payout(root: Row, info: Info) -> Any:
        return await resolve_offers.payout(root, info)

    @strawberry.field(
        description="What the platform keeps of a redemption's dollars; for those concerned.",
        graphql_type=Amount | None,
    )
    async def payout_fee(root: Row, info: Info) -> Any:
        return await resolve_offers.payout_fee(root, info)

    @strawberry.field(
        description="What made a redemption's currents fewer than its price allows; for those concerned, "
        "else null.",
        graphql_type=list[RedemptionCap] | None,
    )
    async def caps(root: Row, info: Info) -> Any:
        row = await resolve_offers.redemption(root, info)
        return row.caps if row else None

    @strawberry.field(description="Where a redemption's purchase was made; for those concerned.")
    async def place(root: Row, info: Info) -> str | None:
        row = await resolve_offers.redemption(root, info)
        return row.place if row else None

    @strawberry.field(
        description="What proves a redemption's purchase, in words; a file stands among `receipts`. For "
        "those concerned."
    )
    async def receipt_text(root: Row, info: Info) -> str | None:
        row = await resolve_offers.redemption(root, info)
        return row.receipt_text if row else None

    policy = reference(
        "policy",
        "policy_id",
        description="The platform's policy that it keeps; null where none of its figures matters.",
        graphql_type=PlatformPolicy | None,
    )

    items = reference(
        "order.items", "id", description="The lines of an expense.", graphql_type=list[OrderItem]
    )

    @strawberry.field(description="References to receipts; for those concerned, else empty.")
    async def receipts(root: Row, info: Info) -> list[str]:
        return await resolve.receipts(root, info)

    @strawberry.field(description="A message to those concerned; null for others.")
    async def private_message(root: Row, info: Info) -> str | None:
        return await resolve.private_message(root, info)

    actions = reference(
        "order.actions", "id", description="Its history, oldest step first.", graphql_type=list[OrderAction]
    )

    transactions = reference(
        "order.transactions",
        "id",
        description="What it emitted, oldest first.",
        graphql_type=list[lazy.TRANSACTION],
    )


@strawberry.type(description="A page of orders.")
class OrderConnection(Connection[Order]):
    pass


@strawberry.input(description="Which orders to list; all conditions hold at once.")
class OrderFilter:
    type: list[OrderType] | None = strawberry.field(default=None, description="Of one of these types.")
    status: list[OrderStatus] | None = strawberry.field(default=None, description="In one of these states.")
    from_: CollectiveRef | None = strawberry.field(name="from", default=None, description="From this payer.")
    to: CollectiveRef | None = strawberry.field(default=None, description="To this payee.")
    event: CollectiveRef | None = strawberry.field(default=None, description="Of hours of this event.")
    addressed_to: CollectiveRef | None = strawberry.field(
        default=None, description="Hours that this user is asked to approve."
    )
    offer: strawberry.ID | None = strawberry.field(default=None, description="Redemptions of this offer.")
    created_from: datetime | None = strawberry.field(default=None, description="Made not before this.")
    created_until: datetime | None = strawberry.field(default=None, description="Made before this.")
