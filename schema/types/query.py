"""The root of queries."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers import collectives as resolve
from resolvers import nodes, subscriptions
from resolvers import offers as resolve_offers
from resolvers import orders as resolve_orders
from resolvers.context import Info
from schema.types import lazy
from schema.types.collective import CollectiveConnection, User
from schema.types.community import CommunityQueries
from schema.types.connection import After, First, requested
from schema.types.enums import CollectiveType
from schema.types.filters import order_filter, transaction_filter
from schema.types.identity import AccessToken, PlatformPolicy
from schema.types.ledger import LedgerAudit
from schema.types.member import Invitation
from schema.types.money import Currency, FxRate
from schema.types.node import CollectiveRef, Node, ref_or_none
from schema.types.offer import OfferConnection, OfferFilter, offer_filter
from schema.types.order import Order, OrderConnection, OrderFilter
from schema.types.rate_limit import RateLimitQueries
from schema.types.scalars import CurrencyCode
from schema.types.sort_orders import CollectiveOrder, OfferOrder, OrderOrder, TransactionOrder
from schema.types.transaction import Transaction, TransactionConnection, TransactionFilter
from services.access.actor import Actor
from services.collectives import directory, members
from services.collectives import platform_policy as policy_service
from services.core import currencies
from services.identity import access_tokens
from services.ledger import audit, exchange_rates

Id = Annotated[strawberry.ID, strawberry.argument(description="The id.")]


@strawberry.input(description="Which collectives to list; all conditions hold at once.")
class CollectiveFilter:
    type: list[CollectiveType] | None = strawberry.field(default=None, description="Of one of these types.")
    host: CollectiveRef | None = strawberry.field(default=None, description="Hosted by this one.")
    search: str | None = strawberry.field(
        default=None, description="A part of the name, or the slug's beginning."
    )
    tag: str | None = strawberry.field(default=None, description="With this tag.")
    is_archived: bool | None = strawberry.field(
        default=False, description="True for those put away; null for all."
    )


@strawberry.type(description="What can be read. Without sign-in: what is public.")
class Query(CommunityQueries, RateLimitQueries):
    @strawberry.field(description="The signed-in user, or null.", graphql_type=User | None)
    def me(self, info: Info) -> Any:
        return info.context.actor.user

    @strawberry.field(
        description="Anything by its id, or null if there is none that you may see.",
        graphql_type=Node | None,
    )
    async def node(self, info: Info, id: Id) -> Any:
        return await nodes.one(info, public_id=id)

    @strawberry.field(
        description="Up to 100 things by their ids, in that order; null where you may see none.",
        graphql_type=list[Node | None],
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="At most 100 ids.")],
    ) -> Any:
        return await nodes.many(info, public_ids=[str(i) for i in ids])

    @strawberry.field(
        description="One collective by slug or id; a slug that it had before serves as well.",
        graphql_type=lazy.optional(lazy.COLLECTIVE),
    )
    async def collective(
        self,
        info: Info,
        slug: Annotated[str | None, strawberry.argument(description="Its slug.")] = None,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="Its id.")] = None,
    ) -> Any:
        return await resolve.one(info, ref=resolve.slug_or_id(slug, id))

    @strawberry.field(description="Collectives.", graphql_type=CollectiveConnection)
    async def collectives(
        self,
        info: Info,
        filter: Annotated[CollectiveFilter | None, strawberry.argument(description="Which of them.")] = None,
        order_by: Annotated[
            CollectiveOrder | None, strawberry.argument(description="In which order.")
        ] = CollectiveOrder.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
    ) -> Any:
        given = filter or CollectiveFilter()
        wanted = directory.Filter(
            type=given.type or [],
            search=given.search,
            tag=given.tag,
            is_archived=given.is_archived,
        )
        page = await resolve.found(
            info,
            wanted=wanted,
            host=ref_or_none(given.host),
            sort=CollectiveOrder.of(order_by),
            page=requested(first, after),
        )
        return CollectiveConnection(page=page)

    @strawberry.field(
        description="One order, or null if there is none that you may see.",
        graphql_type=Order | None,
    )
    async def order(self, info: Info, id: Id) -> Any:
        return await nodes.of_kind(info, kind="Order", public_id=id)

    @strawberry.field(description="Orders that you may see.", graphql_type=OrderConnection)
    async def orders(
        self,
        info: Info,
        filter: Annotated[OrderFilter | None, strawberry.argument(description="Which of them.")] = None,
        order_by: Annotated[
            OrderOrder | None, strawberry.argument(description="In which order.")
        ] = OrderOrder.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
    ) -> Any:
        page = await resolve_orders.listed(
            info,
            **order_filter(filter),
            page=requested(first, after),
            sort=OrderOrder.of(order_by),
        )
        return OrderConnection(page=page)

    @strawberry.field(
        description="One transaction, or null if there is none that you may see.",
        graphql_type=Transaction | None,
    )
    async def transaction(self, info: Info, id: Id) -> Any:
        return await nodes.of_kind(info, kind="Transaction", public_id=id)

    @strawberry.field(description="Transactions that you may see.", graphql_type=TransactionConnection)
    async def transactions(
        self,
        info: Info,
        filter: Annotated[TransactionFilter | None, strawberry.argument(description="Which of them.")] = None,
        order_by: Annotated[
            TransactionOrder | None, strawberry.argument(description="In which order.")
        ] = TransactionOrder.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
    ) -> Any:
        page = await resolve_orders.transactions(
            info,
            **transaction_filter(filter),
            page=requested(first, after),
            sort=TransactionOrder.of(order_by),
        )
        return TransactionConnection(page=page)

    @strawberry.field(
        description="What businesses take currents for; those of archived businesses are not listed.",
        graphql_type=OfferConnection,
    )
    async def offers(
        self,
        info: Info,
        filter: Annotated[OfferFilter | None, strawberry.argument(description="Which of them.")] = None,
        order_by: Annotated[
            OfferOrder | None, strawberry.argument(description="In which order.")
        ] = OfferOrder.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
    ) -> Any:
        wanted, business = offer_filter(filter)
        page = await resolve_offers.listed(
            info, wanted=wanted, business=business, sort=OfferOrder.of(order_by), page=requested(first, after)
        )
        return OfferConnection(page=page)

    @strawberry.field(description="Every currency, by code.", graphql_type=list[Currency])
    async def currencies(self, info: Info) -> Any:
        return await info.context.run(_currencies)

    @strawberry.field(
        description="What a currency was worth in another, however old the rate; null if unknown.",
        graphql_type=FxRate | None,
    )
    async def fx_rate(
        self,
        info: Info,
        from_: Annotated[
            CurrencyCode, strawberry.argument(name="from", description="The currency converted.")
        ],
        to: Annotated[CurrencyCode, strawberry.argument(description="The currency converted to.")],
        at: Annotated[
            datetime | None, strawberry.argument(description="The moment; now if not given.")
        ] = None,
    ) -> Any:
        return await info.context.run(_fx_rate, base=from_, target=to, at=at)

    @strawberry.field(
        description="What the platform charges now, and what a current is worth.",
        graphql_type=PlatformPolicy | None,
    )
    async def platform_policy(self, info: Info) -> Any:
        return await info.context.run(_policy)

    @strawberry.field(
        description="Opaque: subscriptions give as `after` what is not in this query's other fields yet."
    )
    async def live_position(self, info: Info) -> str | None:
        return await subscriptions.position(info)

    @strawberry.field(description="Invitations that wait for your answer.", graphql_type=list[Invitation])
    async def my_invitations(self, info: Info) -> Any:
        return await info.context.run(members.invitations)

    @strawberry.field(
        description="Your access tokens that still hold, newest first.",
        graphql_type=list[AccessToken],
    )
    async def my_access_tokens(self, info: Info) -> Any:
        return await info.context.run(access_tokens.access_tokens)

    @strawberry.field(
        description="Every promise of the ledger, counted from the data. Reads the whole ledger.",
        graphql_type=LedgerAudit,
    )
    async def ledger_audit(self, info: Info) -> Any:
        return await info.context.run(_audit)


async def _currencies(session: AsyncSession, _: Actor) -> Any:
    return await currencies.every(session)


async def _fx_rate(session: AsyncSession, _: Actor, /, *, base: str, target: str, at: datetime | None) -> Any:
    return await exchange_rates.quote(session, base=base, target=target, at=at)


async def _policy(session: AsyncSession, _: Actor) -> Any:
    return await policy_service.policy(session)


async def _audit(session: AsyncSession, _: Actor) -> Any:
    return await audit.run(session)
