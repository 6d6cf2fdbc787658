"""Recurring gifts, which are charged every month or year."""

from datetime import date, datetime

import strawberry

import models
from dataloaders import Loaders
from models.enums import GiftStatus as Status
from resolvers import givers
from schema.types import lazy
from schema.types.connection import Connection
from schema.types.enums import GiftInterval, GiftParty, GiftStatus, PaymentMethodKind
from schema.types.fields import Mask, computed, to_one
from schema.types.money import amount_field
from schema.types.node import Node, id_field, is_row_of
from schema.types.payment_method import Card, PaymentMethod
from schema.types.tier import Tier
from services.access import giver_visibility
from services.recurring import queries as gift_queries
from services.sql_json.shape import Column, Derived

Row = strawberry.Parent[models.RecurringGift]
GIVER = Mask(giver_visibility.recurring_giver_is_visible, givers.are_shown)


@strawberry.type(
    description="A gift that is charged every month or year; each period has one order. Visible to admins "
    "and accountants of both sides and their hosts."
)
class RecurringGift(Node):
    is_type_of = is_row_of(models.RecurringGift)
    id: strawberry.ID = id_field("RecurringGift")
    status: GiftStatus = strawberry.field(description="Status of the gift.")
    interval: GiftInterval = strawberry.field(description="Time from one charge to the next.")
    quantity: int | None = strawberry.field(
        description="Number of things in the tier that each charge pays for."
    )
    anchor_day: int = strawberry.field(
        description="Day of the month on which the gift is charged; in a shorter month, its last day."
    )
    timezone: str = strawberry.field(
        description="IANA name of the time zone in which days are counted: that of the receiver's host when "
        "the gift began."
    )
    payment_method_kind: PaymentMethodKind = strawberry.field(
        name="paymentMethodType", description="Kind of payment by which each charge is settled."
    )
    description: str | None = strawberry.field(description="Purpose of the gift.")
    starts_on: date = strawberry.field(description="Day of the first charge.")
    ends_after: date | None = strawberry.field(
        description="Last day on which the gift may be charged. Null if it has no end."
    )
    failures: int = strawberry.field(description="Number of refused charges of the present period.")
    paused_by: GiftParty | None = strawberry.field(
        description="Party that paused the gift. Null unless it is paused."
    )
    pause_reason: str | None = strawberry.field(description="Reason given for the pause.")
    resumes_on: date | None = strawberry.field(
        description="Day on which a paused gift resumes by itself. Null if it waits for somebody."
    )
    ended_at: datetime | None = strawberry.field(description="When the gift ended.")
    ended_reason: str | None = strawberry.field(description="Reason given for the end.")
    created_at: datetime = strawberry.field(description="When the gift was created.")
    updated_at: datetime = strawberry.field(description="When the gift was last changed.")

    is_incognito: bool = strawberry.field(
        description="True if further charges are incognito. Charges that were made stay as they are."
    )
    from_ = to_one(
        Loaders.collective,
        "from_id",
        name="from",
        mask=GIVER,
        description="The giver of all charges. Null if the gift is incognito and you may not know its giver.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )
    to = to_one(
        Loaders.collective,
        "to_id",
        description="The receiver of all charges.",
        graphql_type=lazy.COLLECTIVE,
    )
    tier = to_one(
        Loaders.tier_of_order,
        "tier_id",
        description="The tier in which is given. Null if there is none.",
        graphql_type=Tier | None,
    )
    amount = amount_field(
        "amount_minor", "currency", description="Amount of each charge, in the receiver's currency."
    )
    platform_tip = amount_field(
        "tip_minor",
        "currency",
        description="Tip to the platform with each charge, beside the amount. Null without one.",
        is_nullable=True,
    )
    payment_method = to_one(
        Loaders.payment_method,
        "payment_method_id",
        description="The host's payment method used for each charge.",
        graphql_type=PaymentMethod | None,
    )
    card = to_one(
        Loaders.card,
        "instrument_id",
        description="Card that pays each charge. Visible to the giver's admins; null for others, and before "
        "the first payment by card.",
        graphql_type=Card | None,
    )
    created_by = to_one(
        Loaders.collective,
        "created_by_id",
        mask=GIVER,
        description="The user who began the gift. Null like `from`.",
        graphql_type=lazy.nullable(lazy.USER),
    )

    @computed(
        shape=Derived(gift_queries.select_next, Column("date", "next_charge_on"), is_nullable=True),
        description="Day of the next charge; of a charge that is tried again, the day on which it was due. "
        "Null once the gift has ended.",
    )
    def next_charge_on(root: Row) -> date | None:
        return None if root.status in {Status.CANCELLED, Status.ENDED} else root.next_charge_on

    @computed(
        shape=Derived(gift_queries.select_next, Column("timestamp", "retries_at"), is_nullable=True),
        description="When a refused charge is tried again. Null unless one waits for that.",
    )
    def retries_at(root: Row) -> datetime | None:
        return root.due_at if root.status == Status.PAST_DUE else None


@strawberry.type(description="A page of recurring gifts.")
class RecurringGiftConnection(Connection[RecurringGift]):
    pass
