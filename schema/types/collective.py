"""The Collective interface, with one type for each kind of entity."""

from datetime import datetime
from typing import Annotated

import strawberry

import models
from dataloaders import Loaders
from resolvers import acts as resolve_acts
from resolvers import approvals as resolve_approvals
from resolvers import collectives as resolve
from resolvers import offers as resolve_offers
from resolvers import orders as resolve_orders
from resolvers import recurring_gifts as resolve_gifts
from resolvers.context import Info
from schema.types import lazy, sql_lists
from schema.types.act import ActConnection
from schema.types.approval import ApprovalPolicy
from schema.types.balance import Balance
from schema.types.connection import After, Before, Connection, First, Last, to_page_request
from schema.types.enums import (
    CollectiveType,
    GiftDirection,
    GiftStatus,
    LedgerAccountKind,
    MemberRole,
)
from schema.types.event import EventFields
from schema.types.fields import batched, computed, shaped, to_one, whole_list
from schema.types.filters import to_order_arguments, to_transaction_arguments
from schema.types.hours import HoursFields
from schema.types.issuer import IssuanceCap
from schema.types.ledger import LedgerAccount
from schema.types.member import HostApplication, MemberConnection
from schema.types.money import Amount
from schema.types.node import Node, id_field, is_row_of
from schema.types.offer import OfferConnection
from schema.types.order import OrderConnection, OrderFilter
from schema.types.payment_method import PaymentMethod, PayoutMethod
from schema.types.recurring_gift import RecurringGiftConnection
from schema.types.scalars import CurrencyCode
from schema.types.tier import Goal, Tier
from schema.types.transaction import TransactionConnection, TransactionFilter
from services.access import visibility
from services.collectives import approval_policies, goals, hosting, tiers
from services.collectives.events import EventFilter
from services.core.money import Money
from services.ledger.balances import Balance as BalanceRow
from services.orders import payment_methods, payout_methods
from services.sql_json.shape import BalanceField, Column, Host, Private
from services.volunteering import issuers

Row = strawberry.Parent[models.Collective]
Rows = list[models.Collective]
AsOf = Annotated[
    datetime | None, strawberry.argument(description="The moment of the balance. Defaults to now.")
]
From = Annotated[
    datetime | None,
    strawberry.argument(name="from", description="Only events that start at or after this time."),
]
Until = Annotated[
    datetime | None, strawberry.argument(description="Only events that start before this time.")
]
IsCancelled = Annotated[
    bool | None,
    strawberry.argument(description="True for cancelled events only, false for all others. Null for both."),
]
Direction = Annotated[
    GiftDirection, strawberry.argument(description="Side on which the collective is: it gives or receives.")
]
Roles = Annotated[
    list[MemberRole] | None, strawberry.argument(description="Only members with one of these roles.")
]


@strawberry.interface(
    description="Any entity with a public slug: a person, community, nonprofit, business or event."
)
class Collective(Node):
    id: strawberry.ID = id_field("Collective")
    slug: str = strawberry.field(description="Unique public name, used in URLs.")
    type: CollectiveType = strawberry.field(description="Kind of entity that the collective is.")
    name: str = strawberry.field(description="Display name of the collective.")
    description: str | None = strawberry.field(description="Description written by the collective's admins.")
    website: str | None = strawberry.field(description="URL of the collective's website.")
    timezone: str | None = strawberry.field(description="IANA name of the collective's time zone.")
    image_url: str | None = strawberry.field(description="URL of the collective's picture.")
    tags: list[str] = strawberry.field(
        description="Search tags of the collective, which differ in more than case and accents."
    )
    currency: CurrencyCode = strawberry.field(description="Main currency of the collective's money.")
    host_fee_bps: int | None = strawberry.field(
        description="Host fee charged to this collective, in basis points. Null if the host's own rate "
        "applies."
    )
    host_approved_at: datetime | None = strawberry.field(
        description="When the host began to hold the collective's money."
    )
    created_at: datetime = strawberry.field(description="When the collective was created.")
    updated_at: datetime = strawberry.field(description="When the collective was last changed.")

    @computed(
        shape=Private(Column("text", "location"), visibility.location_is_visible),
        description="Location of the collective. A person's location is visible only to themselves.",
    )
    def location(root: Row, info: Info) -> str | None:
        return resolve.read_location(root, info)

    @computed(
        shape=Private(Column("text", "legal_name"), visibility.private_fields_are_visible),
        description="Registered legal name. Visible to the collective's admins and accountants.",
    )
    def legal_name(root: Row, info: Info) -> str | None:
        return resolve.read_legal_name(root, info)

    @computed(
        shape=Column("is_set", "archived_at"),
        description="True if the collective is archived.",
    )
    def is_archived(root: Row) -> bool:
        return root.archived_at is not None

    @batched(
        shape=Host(),
        description="The host that legally holds the collective's money.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )
    async def host(rows: Rows, info: Info) -> list[models.Collective | None]:
        return await resolve.load_hosts(rows, info)

    parent = to_one(
        Loaders.collective,
        "parent_id",
        description="The parent collective. Every event has one.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )

    tiers = to_one(
        Loaders.tiers_of_collective,
        "id",
        shape=whole_list(tiers.select_tiers, tiers.BY_POSITION),
        description="Open tiers of the collective or event, in the order that its admins chose. At most 30.",
        graphql_type=list[Tier],
    )

    goals = to_one(
        Loaders.goals_of_collective,
        "id",
        shape=whole_list(goals.select_goals, goals.BY_KIND),
        description="Goals of the collective, at most one of each kind. Visible to everybody.",
        graphql_type=list[Goal],
    )

    @batched(
        shape=sql_lists.MEMBERS,
        description="Members of the collective, oldest first. Followers and people on a waiting list are "
        "visible to its admins.",
        graphql_type=MemberConnection | None,
    )
    async def members(
        rows: Rows,
        info: Info,
        role: Roles = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[MemberConnection]:
        page = to_page_request(first, after, last, before)
        pages = await resolve.list_members(rows, info, of_members=True, roles=role, page=page)
        return [MemberConnection(page=page) for page in pages]

    @batched(
        shape=sql_lists.MEMBER_OF,
        description="Memberships that the collective holds elsewhere, oldest first.",
        graphql_type=MemberConnection | None,
    )
    async def member_of(
        rows: Rows,
        info: Info,
        role: Roles = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[MemberConnection]:
        page = to_page_request(first, after, last, before)
        pages = await resolve.list_members(rows, info, of_members=False, roles=role, page=page)
        return [MemberConnection(page=page) for page in pages]

    @batched(
        shape=sql_lists.BALANCES,
        description="Balances of the collective, its own currency first. A person's balances are visible "
        "to themselves and their host; empty for others.",
        graphql_type=list[Balance],
    )
    async def balances(rows: Rows, info: Info, as_of: AsOf = None) -> list[list[BalanceRow]]:
        return await resolve.load_balances(rows, info, as_of=as_of)

    @batched(
        shape=BalanceField(""),
        description="Balance of the collective in one currency. A person's balance is visible to "
        "themselves and their host; null for others.",
        graphql_type=Balance | None,
    )
    async def balance(
        rows: Rows,
        info: Info,
        currency: Annotated[
            CurrencyCode, strawberry.argument(description="Currency of the requested balance.")
        ],
        as_of: AsOf = None,
    ) -> list[BalanceRow | None]:
        return await resolve.load_balance_in(rows, info, currency=currency, as_of=as_of)

    @strawberry.field(
        description="Orders that the collective pays or receives, newest first.",
        graphql_type=OrderConnection | None,
    )
    @shaped(sql_lists.ORDERS)
    async def orders(
        root: Row,
        info: Info,
        filter: Annotated[
            OrderFilter | None, strawberry.argument(description="Filter for the orders.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> OrderConnection:
        page = await resolve_orders.list_orders(
            info,
            **to_order_arguments(filter),
            page=to_page_request(first, after, last, before),
            of_id=root.id,
        )
        return OrderConnection(page=page)

    @strawberry.field(
        description="Recurring gifts that the collective gives or receives, newest first. Visible to admins "
        "and accountants of both sides and their hosts; empty for others.",
        graphql_type=RecurringGiftConnection | None,
    )
    @shaped(sql_lists.SUBSCRIPTIONS)
    async def subscriptions(
        root: Row,
        info: Info,
        direction: Direction = GiftDirection.GIVEN,
        status: Annotated[
            list[GiftStatus] | None, strawberry.argument(description="Only gifts with one of these statuses.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> RecurringGiftConnection:
        page = await resolve_gifts.list_gifts(
            info,
            of_id=root.id,
            direction=direction,
            status=status,
            page=to_page_request(first, after, last, before),
        )
        return RecurringGiftConnection(page=page)

    @strawberry.field(
        description="Transactions that the collective pays or receives, newest first.",
        graphql_type=TransactionConnection | None,
    )
    @shaped(sql_lists.TRANSACTIONS)
    async def transactions(
        root: Row,
        info: Info,
        filter: Annotated[
            TransactionFilter | None, strawberry.argument(description="Filter for the transactions.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> TransactionConnection:
        page = await resolve_orders.list_transactions(
            info,
            **to_transaction_arguments(filter),
            page=to_page_request(first, after, last, before),
            of_id=root.id,
        )
        return TransactionConnection(page=page)

    @strawberry.field(
        description="Events of the collective, by start time.",
        graphql_type=lazy.nullable(lazy.EVENT_CONNECTION),
    )
    @shaped(sql_lists.EVENTS)
    async def events(
        root: Row,
        info: Info,
        from_: From = None,
        until: Until = None,
        is_cancelled: IsCancelled = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> "EventConnection":
        event_filter = EventFilter(starts_from=from_, starts_until=until, is_cancelled=is_cancelled)
        page = await resolve.list_events(
            root, info, filters=event_filter, page=to_page_request(first, after, last, before)
        )
        return EventConnection(page=page)

    @batched(
        shape=sql_lists.AUDIT_LOG,
        description="Acts that are no orders and concern the collective, newest first: roles, host, fees, "
        "slugs, settings, policies and limits. Visible to its admins and its host's, and to the platform's; "
        "null for others.",
        graphql_type=ActConnection | None,
    )
    async def audit_log(
        rows: Rows,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[ActConnection | None]:
        pages = await resolve_acts.list_of_collectives(
            rows, info, page=to_page_request(first, after, last, before)
        )
        return [ActConnection(page=page) if page else None for page in pages]

    @strawberry.field(
        description="Policies of approval by two people that the collective set, newest first, at most 100. "
        "Visible to its admins and accountants; empty for others.",
        graphql_type=list[ApprovalPolicy],
    )
    @shaped(whole_list(approval_policies.select_policies, approval_policies.NEWEST_FIRST))
    async def approval_policies(root: Row, info: Info) -> list[models.ApprovalPolicy]:
        return await resolve_approvals.list_policies(root, info)

    @strawberry.field(
        description="Payout methods of the collective. Visible to its admins and accountants; empty for "
        "others.",
        graphql_type=list[PayoutMethod],
    )
    @shaped(whole_list(payout_methods.select_payout_methods, payout_methods.OLDEST_FIRST))
    async def payout_methods(root: Row, info: Info) -> list[models.PayoutMethod]:
        return await resolve.list_payout_methods(root, info)


@strawberry.interface(
    description="A collective that can be a host: it can hold its own money and that of others."
)
class Organization(Collective):
    @batched(
        shape=sql_lists.LEDGER_ACCOUNTS,
        description="The host's own accounts in its book. Public. Empty if the organization is not a host.",
        graphql_type=list[LedgerAccount],
    )
    async def ledger_accounts(
        rows: Rows,
        info: Info,
        kind: Annotated[
            list[LedgerAccountKind] | None, strawberry.argument(description="Only accounts of these kinds.")
        ] = None,
    ) -> list[list[models.LedgerAccount]]:
        return await resolve.list_ledger_accounts(rows, info, kinds=kind)

    @batched(
        shape=sql_lists.EXCHANGE_POSITION,
        description="The host's open position in each currency, caused by collectives whose currency "
        "differs from the host's. Public.",
        graphql_type=list[Amount],
    )
    async def exchange_position(rows: Rows, info: Info) -> list[list[Money]]:
        return await resolve.list_exchange_positions(rows, info)

    @computed(
        shape=Column("is_set", "host_suspended_at"),
        description="True if the platform stopped new money in this host's book.",
    )
    def is_host_suspended(root: Row) -> bool:
        return root.host_suspended_at is not None

    @computed(
        shape=Private(Column("text", "host_suspension_reason"), visibility.private_fields_are_visible),
        description="Why the platform suspended this host. Visible to its admins and accountants.",
    )
    def host_suspension_reason(root: Row, info: Info) -> str | None:
        return resolve.read_suspension_reason(root, info)

    @strawberry.field(
        description="Pending applications to this host. Visible to its admins; empty for others.",
        graphql_type=list[HostApplication],
    )
    @shaped(whole_list(hosting.select_pending, hosting.PENDING_OLDEST))
    async def host_applications(root: Row, info: Info) -> list[models.HostApplication]:
        return await resolve.list_pending_applications(root, info)

    @strawberry.field(
        description="Payment methods for gifts to the host's collectives.", graphql_type=list[PaymentMethod]
    )
    @shaped(whole_list(payment_methods.select_payment_methods, payment_methods.OLDEST_FIRST))
    async def payment_methods(root: Row, info: Info) -> list[models.PaymentMethod]:
        return await resolve.list_payment_methods(root, info)


@strawberry.type(description="A group without a legal entity, whose money is held by a host.")
class Community(Collective):
    is_type_of = is_row_of(models.Collective, CollectiveType.COMMUNITY)


@strawberry.type(description="A nonprofit organization, which may issue currents and be a host.")
class Nonprofit(Organization, Collective, HoursFields):
    is_type_of = is_row_of(models.Collective, CollectiveType.NONPROFIT)

    @computed(
        shape=Column("is_set", "issuer_approved_at"),
        description="True if the platform allows the nonprofit to issue currents.",
    )
    def is_issuer(root: Row) -> bool:
        return root.issuer_approved_at is not None

    issuance_caps = to_one(
        Loaders.issuance_caps,
        "id",
        shape=whole_list(issuers.select_caps, issuers.CAPS_SHORTEST),
        description="Issuance caps in force now, shortest period first: of an issuer for which the platform "
        "has set none, the policy's.",
        graphql_type=list[IssuanceCap],
    )


@strawberry.type(description="A commercial organization, which may accept currents.")
class Business(Organization, Collective):
    is_type_of = is_row_of(models.Collective, CollectiveType.BUSINESS)

    @batched(
        shape=sql_lists.OFFERS_OF_BUSINESS,
        description="Offers of the business, newest first.",
        graphql_type=OfferConnection | None,
    )
    async def offers(
        rows: Rows,
        info: Info,
        is_active: Annotated[
            bool | None,
            strawberry.argument(
                description="True for active offers, false for ended ones, null for both. Ended offers are "
                "visible to the business's admins."
            ),
        ] = True,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> list[OfferConnection]:
        page = to_page_request(first, after, last, before)
        pages = await resolve_offers.list_offers_of_businesses(rows, info, is_active=is_active, page=page)
        return [OfferConnection(page=page) for page in pages]


@strawberry.type(description="An event of a collective. It has members, but no money of its own.")
class Event(Collective, EventFields):
    is_type_of = is_row_of(models.Collective, CollectiveType.EVENT)


@strawberry.type(description="A page of events.")
class EventConnection(Connection[Event]):
    pass


@strawberry.type(description="A page of collectives.")
class CollectiveConnection(Connection[Collective]):
    pass
