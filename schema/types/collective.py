"""Collectives: the interface, and one type for each kind of entity."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

import models
from resolvers import collectives as resolve
from resolvers import offers as resolve_offers
from resolvers import orders as resolve_orders
from resolvers.context import Info
from schema.types import lazy
from schema.types.balance import Balance
from schema.types.connection import After, Connection, First, requested
from schema.types.enums import CollectiveType, LedgerAccountKind, MemberRole, Topic
from schema.types.event import EventFields
from schema.types.fields import derived, reference, relation
from schema.types.filters import order_filter, transaction_filter
from schema.types.hours import HoursFields
from schema.types.issuer import IssuanceCap
from schema.types.ledger import LedgerAccount
from schema.types.member import HostApplication, MemberConnection
from schema.types.money import Amount
from schema.types.node import Node, id_of, rows_of
from schema.types.offer import OfferConnection
from schema.types.order import OrderConnection, OrderFilter
from schema.types.payment_method import PaymentMethod, PayoutMethod
from schema.types.scalars import CurrencyCode
from schema.types.transaction import TransactionConnection, TransactionFilter
from services.collectives.events import Filter as EventFilter
from services.sql_json.shape import BalanceIn, Host, Members

Row = strawberry.Parent[models.Collective]
Rows = list[models.Collective]
AsOf = Annotated[datetime | None, strawberry.argument(description="The moment; now if not given.")]
From = Annotated[datetime | None, strawberry.argument(name="from", description="Starting not before this.")]
Until = Annotated[datetime | None, strawberry.argument(description="Starting before this.")]
IsCancelled = Annotated[
    bool | None, strawberry.argument(description="Only those called off, or only the others.")
]
Roles = Annotated[list[MemberRole] | None, strawberry.argument(description="Only these roles.")]


@strawberry.interface(
    description="Any entity with a public slug: a person, community, nonprofit, business or event."
)
class Collective(Node):
    id: strawberry.ID = id_of("Collective")
    slug: str = strawberry.field(description="Its public name in addresses.")
    type: CollectiveType = strawberry.field(description="What kind of entity it is.")
    name: str = strawberry.field(description="What people call it.")
    description: str | None = strawberry.field(description="What it says of itself.")
    website: str | None = strawberry.field(description="Its address on the web.")
    timezone: str | None = strawberry.field(description="Its time zone, by IANA name.")
    image_url: str | None = strawberry.field(description="Its picture's address.")
    tags: list[str] = strawberry.field(description="Words to find it by.")
    currency: CurrencyCode = strawberry.field(description="The currency of its money.")
    host_fee_bps: int | None = strawberry.field(
        description="What its host charges it, in basis points; null is the host's own rate."
    )
    host_approved_at: datetime | None = strawberry.field(description="Since when its host holds its money.")
    created_at: datetime = strawberry.field(description="When it came to be here.")
    updated_at: datetime = strawberry.field(description="When it last changed.")

    @derived(
        "location", "type", "id", "parent_id", description="Where it is; of a person, to themselves alone."
    )
    def location(root: Row, info: Info) -> str | None:
        return resolve.location(root, info)

    @derived(
        "legal_name",
        "type",
        "id",
        "parent_id",
        description="Its name in law; for its admins and accountants.",
    )
    def legal_name(root: Row, info: Info) -> str | None:
        return resolve.legal_name(root, info)

    @derived("archived_at", description="Whether it was put away.")
    def is_archived(root: Row) -> bool:
        return root.archived_at is not None

    @relation(
        "type",
        "host_id",
        "parent_id",
        shown=Host(),
        description="Who legally holds its money.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )
    async def host(rows: Rows, info: Info) -> Any:
        return await resolve.hosts(rows, info)

    parent = reference(
        "collective",
        "parent_id",
        description="What an event belongs to.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )

    @relation(
        "id",
        shown=Members("", ()),
        description="Who belongs to it, oldest first. Followers, and those who wait for a place, are for its "
        "admins.",
        graphql_type=MemberConnection,
    )
    async def members(
        rows: Rows, info: Info, role: Roles = None, first: First = None, after: After = None
    ) -> Any:
        page = requested(first, after)
        found = await resolve.members(rows, info, of_members=True, roles=role, page=page)
        return [MemberConnection(page=page) for page in found]

    @relation(
        "id",
        shown=Members("", (), is_of_members=False),
        description="What it belongs to, oldest first.",
        graphql_type=MemberConnection,
    )
    async def member_of(
        rows: Rows, info: Info, role: Roles = None, first: First = None, after: After = None
    ) -> Any:
        page = requested(first, after)
        found = await resolve.members(rows, info, of_members=False, roles=role, page=page)
        return [MemberConnection(page=page) for page in found]

    @relation(
        "id",
        "type",
        "currency",
        "host_id",
        "parent_id",
        description="What it has, its own currency first. A person's is for themselves and their host; "
        "others get an empty list.",
        graphql_type=list[Balance],
    )
    async def balances(rows: Rows, info: Info, as_of: AsOf = None) -> Any:
        return await resolve.balances(rows, info, as_of=as_of)

    @relation(
        "id",
        "type",
        "currency",
        "host_id",
        "parent_id",
        shown=BalanceIn(""),
        description="What it has in one currency; an error NOT_FOUND where you may not see it.",
        graphql_type=Balance,
    )
    async def balance(
        rows: Rows,
        info: Info,
        currency: Annotated[CurrencyCode, strawberry.argument(description="The currency.")],
        as_of: AsOf = None,
    ) -> Any:
        return await resolve.balance(rows, info, currency=currency, as_of=as_of)

    @strawberry.field(description="Orders that it gives or gets, newest first.", graphql_type=OrderConnection)
    async def orders(
        root: Row,
        info: Info,
        filter: Annotated[OrderFilter | None, strawberry.argument(description="Which of them.")] = None,
        first: First = None,
        after: After = None,
    ) -> Any:
        page = await resolve_orders.listed(
            info, **order_filter(filter), page=requested(first, after), of_id=root.id
        )
        return OrderConnection(page=page)

    @strawberry.field(
        description="Transactions with it on a side, newest first.",
        graphql_type=TransactionConnection,
    )
    async def transactions(
        root: Row,
        info: Info,
        filter: Annotated[TransactionFilter | None, strawberry.argument(description="Which of them.")] = None,
        first: First = None,
        after: After = None,
    ) -> Any:
        page = await resolve_orders.transactions(
            info, **transaction_filter(filter), page=requested(first, after), of_id=root.id
        )
        return TransactionConnection(page=page)

    @strawberry.field(description="Its events by their start.", graphql_type=lazy.EVENT_CONNECTION)
    async def events(
        root: Row,
        info: Info,
        from_: From = None,
        until: Until = None,
        is_cancelled: IsCancelled = None,
        first: First = None,
        after: After = None,
    ) -> Any:
        wanted = EventFilter(starts_from=from_, starts_until=until, is_cancelled=is_cancelled)
        page = await resolve.events(root, info, wanted=wanted, page=requested(first, after))
        return EventConnection(page=page)

    @strawberry.field(
        description="Where it wants to be paid; for its admins and accountants, else empty.",
        graphql_type=list[PayoutMethod],
    )
    async def payout_methods(root: Row, info: Info) -> Any:
        return await resolve.payout_methods(root, info)


@strawberry.interface(description="A collective that can hold its own money, and others'.")
class Organization(Collective):
    @relation(
        "id",
        description="As a host: its own accounts in its book, which is open to all.",
        graphql_type=list[LedgerAccount],
    )
    async def ledger_accounts(
        rows: Rows,
        info: Info,
        kind: Annotated[
            list[LedgerAccountKind] | None, strawberry.argument(description="Only these kinds.")
        ] = None,
    ) -> Any:
        return await resolve.ledger_accounts(rows, info, kinds=kind)

    @relation(
        "id",
        description="As a host: its open position in each currency, from collectives whose currency is not "
        "its own. Open to all.",
        graphql_type=list[Amount],
    )
    async def exchange_position(rows: Rows, info: Info) -> Any:
        return await resolve.exchange_positions(rows, info)

    @strawberry.field(
        description="As a host: applications that wait for its answer; for its admins, else empty.",
        graphql_type=list[HostApplication],
    )
    async def host_applications(root: Row, info: Info) -> Any:
        return await resolve.applications(root, info)

    @strawberry.field(
        description="As a host: ways to give to its collectives.", graphql_type=list[PaymentMethod]
    )
    async def payment_methods(root: Row, info: Info) -> Any:
        return await resolve.payment_methods(root, info)


@strawberry.type(description="A person.")
class User(Collective):
    is_type_of = rows_of(models.Collective, CollectiveType.USER)

    @strawberry.field(description="The address; to themselves alone.")
    async def email(root: Row, info: Info) -> str | None:
        return await resolve.email(root, info)

    @strawberry.field(
        description="The topics that they want no mail about; to themselves alone, else empty.",
        graphql_type=list[Topic],
    )
    async def muted_topics(root: Row, info: Info) -> Any:
        return await resolve.muted_topics(root, info)

    @derived("claimed_at", description="Whether they proved their address; else known by it alone.")
    def is_claimed(root: Row) -> bool:
        return root.claimed_at is not None


@strawberry.type(description="A group whose money a host holds.")
class Community(Collective):
    is_type_of = rows_of(models.Collective, CollectiveType.COMMUNITY)


@strawberry.type(description="An organization without profit.")
class Nonprofit(Organization, Collective, HoursFields):
    is_type_of = rows_of(models.Collective, CollectiveType.NONPROFIT)

    @derived("issuer_approved_at", description="Whether the platform lets it issue currents.")
    def is_issuer(root: Row) -> bool:
        return root.issuer_approved_at is not None

    issuance_caps = reference(
        "issuance_caps",
        "id",
        description="The caps of issuance that hold now, the shortest period first.",
        graphql_type=list[IssuanceCap],
    )


@strawberry.type(description="An organization that trades.")
class Business(Organization, Collective):
    is_type_of = rows_of(models.Collective, CollectiveType.BUSINESS)

    @relation("id", description="What it takes currents for, newest first.", graphql_type=OfferConnection)
    async def offers(
        rows: Rows,
        info: Info,
        is_active: Annotated[
            bool | None,
            strawberry.argument(
                description="False for ended ones, null for all; ended ones are for its admins."
            ),
        ] = True,
        first: First = None,
        after: After = None,
    ) -> Any:
        page = requested(first, after)
        found = await resolve_offers.of_businesses(rows, info, is_active=is_active, page=page)
        return [OfferConnection(page=page) for page in found]


@strawberry.type(description="A gathering; it holds members, not money.")
class Event(Collective, EventFields):
    is_type_of = rows_of(models.Collective, CollectiveType.EVENT)


@strawberry.type(description="A page of events.")
class EventConnection(Connection[Event]):
    pass


@strawberry.type(description="A page of collectives.")
class CollectiveConnection(Connection[Collective]):
    pass
