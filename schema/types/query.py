"""The root type of queries."""

from datetime import datetime
from typing import Annotated

import strawberry

import models
from resolvers import collectives as resolve
from resolvers import nodes, subscriptions
from resolvers import offers as resolve_offers
from resolvers import orders as resolve_orders
from resolvers.context import Info
from schema.types import lazy, sql_lists
from schema.types.act import AuditLogQueries
from schema.types.clearing import ClearingQueries
from schema.types.collective import CollectiveConnection
from schema.types.community import CommunityQueries
from schema.types.connection import After, Before, First, Last, to_page_request
from schema.types.donation_quote import DonationQuoteQueries
from schema.types.enums import CollectiveType
from schema.types.factors import FactorQueries
from schema.types.fields import shaped, whole_list
from schema.types.filters import to_order_arguments, to_transaction_arguments
from schema.types.identity import AccessToken, ActiveSession, PlatformPolicy
from schema.types.job import JobQueries
from schema.types.ledger import LedgerAudit
from schema.types.linked_identity import SignInProviderQueries
from schema.types.member import HostApplication, Invitation
from schema.types.money import Currency, FxRate
from schema.types.node import CollectiveRef, Node, to_optional_key
from schema.types.offer import OfferConnection, OfferFilter, to_offer_filter
from schema.types.order import Order, OrderConnection, OrderFilter
from schema.types.rate_limit import RateLimitQueries
from schema.types.scalars import CurrencyCode
from schema.types.search import SearchQueries
from schema.types.sort_orders import CollectiveSort, OfferSort, OrderSort, TransactionSort
from schema.types.transaction import Transaction, TransactionConnection, TransactionFilter
from schema.types.user import User
from services.collectives import directory, host_approvals, hosting, invitations
from services.collectives import platform_policy as policy_service
from services.core import currencies
from services.identity import access_tokens
from services.identity import sessions as session_service
from services.ledger import audit, exchange_rates
from services.sql_json.shape import Position

Id = Annotated[strawberry.ID, strawberry.argument(description="ID of the object.")]


@strawberry.input(description="Filter for collectives. All given conditions must hold.")
class CollectiveFilter:
    type: list[CollectiveType] | None = strawberry.field(
        default=None, description="Only collectives of these types."
    )
    host: CollectiveRef | None = strawberry.field(
        default=None, description="Only collectives with this host."
    )
    search: str | None = strawberry.field(
        default=None,
        description="Words that the name, slug, tags or description have, or that begin words there. "
        "Accents, case and order do not matter. At most 100 characters.",
    )
    tag: str | None = strawberry.field(
        default=None, description="Only collectives with this tag, whatever its case and accents."
    )
    is_archived: bool | None = strawberry.field(
        default=False, description="True for archived collectives, false for all others. Null for both."
    )


@strawberry.type(
    description="The entry point of queries. Without a session or token, only public data is visible."
)
class Query(
    AuditLogQueries,
    CommunityQueries,
    ClearingQueries,
    DonationQuoteQueries,
    FactorQueries,
    JobQueries,
    RateLimitQueries,
    SearchQueries,
    SignInProviderQueries,
):
    @strawberry.field(
        description="The signed-in user. Null if nobody is signed in.", graphql_type=User | None
    )
    @shaped(sql_lists.ME)
    def me(self, info: Info) -> models.Collective | None:
        return info.context.actor.user

    @strawberry.field(
        description="The object with this ID. Null if it does not exist or you may not see it.",
        graphql_type=Node | None,
    )
    @shaped(sql_lists.NODE)
    async def node(self, info: Info, id: Id) -> object:
        return await nodes.load_node(info, public_id=id)

    @strawberry.field(
        description="The objects with these IDs, in the same order. Null for those that do not exist or "
        "that you may not see.",
        graphql_type=list[Node | None] | None,
    )
    @shaped(sql_lists.NODES)
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID], strawberry.argument(description="IDs of the objects, at most 100.")
        ],
    ) -> list[object]:
        return await nodes.load_nodes(info, public_ids=[str(i) for i in ids])

    @strawberry.field(
        description="One collective, by slug or ID. Former slugs work as well.",
        graphql_type=lazy.nullable(lazy.COLLECTIVE),
    )
    @shaped(sql_lists.COLLECTIVE)
    async def collective(
        self,
        info: Info,
        slug: Annotated[
            str | None, strawberry.argument(description="Current or former slug of the collective.")
        ] = None,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="ID of the collective.")] = None,
    ) -> models.Collective | None:
        return await resolve.load_collective(info, ref=resolve.to_collective_key(slug, id))

    @strawberry.field(
        description="Collectives that you may see, by default newest first.",
        graphql_type=CollectiveConnection | None,
    )
    @shaped(sql_lists.COLLECTIVES)
    async def collectives(
        self,
        info: Info,
        filter: Annotated[
            CollectiveFilter | None, strawberry.argument(description="Filter for the collectives.")
        ] = None,
        order_by: Annotated[
            CollectiveSort | None, strawberry.argument(description="Sort order of the collectives.")
        ] = CollectiveSort.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> CollectiveConnection:
        filter_input = filter or CollectiveFilter()
        conditions = directory.CollectiveFilter(
            type=filter_input.type or [],
            search=directory.clean_search(filter_input.search),
            tag=filter_input.tag,
            is_archived=filter_input.is_archived,
        )
        page = await resolve.list_collectives(
            info,
            filters=conditions,
            host=to_optional_key(filter_input.host),
            sort=CollectiveSort.to_sort(order_by),
            page=to_page_request(first, after, last, before),
        )
        return CollectiveConnection(page=page)

    @strawberry.field(
        description="One order. Null if it does not exist or you may not see it.",
        graphql_type=Order | None,
    )
    @shaped(sql_lists.ORDER)
    async def order(self, info: Info, id: Id) -> models.Order | None:
        order: models.Order | None = await nodes.load_of_type(info, object_type="Order", public_id=id)
        return order

    @strawberry.field(description="Orders that you may see.", graphql_type=OrderConnection | None)
    @shaped(sql_lists.ORDERS)
    async def orders(
        self,
        info: Info,
        filter: Annotated[
            OrderFilter | None, strawberry.argument(description="Filter for the orders.")
        ] = None,
        order_by: Annotated[
            OrderSort | None, strawberry.argument(description="Sort order of the orders.")
        ] = OrderSort.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> OrderConnection:
        page = await resolve_orders.list_orders(
            info,
            **to_order_arguments(filter),
            page=to_page_request(first, after, last, before),
            sort=OrderSort.to_sort(order_by),
        )
        return OrderConnection(page=page)

    @strawberry.field(
        description="One transaction. Null if it does not exist or you may not see it.",
        graphql_type=Transaction | None,
    )
    @shaped(sql_lists.TRANSACTION)
    async def transaction(self, info: Info, id: Id) -> models.Transaction | None:
        transaction: models.Transaction | None = await nodes.load_of_type(
            info, object_type="Transaction", public_id=id
        )
        return transaction

    @strawberry.field(description="Transactions that you may see.", graphql_type=TransactionConnection | None)
    @shaped(sql_lists.TRANSACTIONS)
    async def transactions(
        self,
        info: Info,
        filter: Annotated[
            TransactionFilter | None, strawberry.argument(description="Filter for the transactions.")
        ] = None,
        order_by: Annotated[
            TransactionSort | None, strawberry.argument(description="Sort order of the transactions.")
        ] = TransactionSort.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> TransactionConnection:
        page = await resolve_orders.list_transactions(
            info,
            **to_transaction_arguments(filter),
            page=to_page_request(first, after, last, before),
            sort=TransactionSort.to_sort(order_by),
        )
        return TransactionConnection(page=page)

    @strawberry.field(
        description="Offers of businesses. Those of archived businesses are not listed.",
        graphql_type=OfferConnection | None,
    )
    @shaped(sql_lists.OFFERS)
    async def offers(
        self,
        info: Info,
        filter: Annotated[
            OfferFilter | None, strawberry.argument(description="Filter for the offers.")
        ] = None,
        order_by: Annotated[
            OfferSort | None, strawberry.argument(description="Sort order of the offers.")
        ] = OfferSort.CREATED_AT_DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> OfferConnection:
        conditions, business = to_offer_filter(filter)
        page = await resolve_offers.list_offers(
            info,
            filters=conditions,
            business=business,
            sort=OfferSort.to_sort(order_by),
            page=to_page_request(first, after, last, before),
        )
        return OfferConnection(page=page)

    @strawberry.field(description="All currencies, by code.", graphql_type=list[Currency])
    @shaped(whole_list(currencies.select_currencies, currencies.BY_CODE))
    async def currencies(self, info: Info) -> list[models.Currency]:
        return await info.context.run_without_viewer(currencies.list_currencies)

    @strawberry.field(
        description="Exchange rate between two currencies, however old. Null if unknown.",
        graphql_type=FxRate | None,
    )
    async def fx_rate(
        self,
        info: Info,
        from_: Annotated[
            CurrencyCode, strawberry.argument(name="from", description="Currency to convert from.")
        ],
        to: Annotated[CurrencyCode, strawberry.argument(description="Currency to convert to.")],
        at: Annotated[
            datetime | None, strawberry.argument(description="The moment of the rate. Defaults to now.")
        ] = None,
    ) -> exchange_rates.Quote | None:
        return await info.context.run_without_viewer(exchange_rates.find_quote, base=from_, target=to, at=at)

    @strawberry.field(
        description="The platform's current fees, limits and value of a current.",
        graphql_type=PlatformPolicy | None,
    )
    @shaped(sql_lists.PLATFORM_POLICY)
    async def platform_policy(self, info: Info) -> models.PlatformPolicy:
        return await info.context.run_without_viewer(policy_service.load_policy)

    @strawberry.field(
        description="Opaque position in the stream of live events. Pass it as `after` to a subscription "
        "to receive everything newer than the other fields of this query."
    )
    @shaped(Position())
    async def live_position(self, info: Info) -> str | None:
        return await subscriptions.current_position(info)

    @strawberry.field(
        description="Invitations that are waiting for your answer.", graphql_type=list[Invitation]
    )
    @shaped(whole_list(invitations.select_received, invitations.NEWEST_FIRST))
    async def my_invitations(self, info: Info) -> list[models.Invitation]:
        return await info.context.run(invitations.list_invitations)

    @strawberry.field(
        description="Pending invitations that you sent, or to collectives that you are an admin of: the "
        "newest 100.",
        graphql_type=list[Invitation],
    )
    @shaped(whole_list(invitations.select_sent, invitations.NEWEST_FIRST))
    async def sent_invitations(self, info: Info) -> list[models.Invitation]:
        return await info.context.run(invitations.list_sent)

    @strawberry.field(
        description="Pending applications of collectives that you are an admin of, to hosts and to the "
        "platform: the newest 100.",
        graphql_type=list[HostApplication],
    )
    @shaped(whole_list(hosting.select_sent, hosting.NEWEST_FIRST))
    async def sent_host_applications(self, info: Info) -> list[models.HostApplication]:
        return await info.context.run(hosting.list_sent)

    @strawberry.field(
        description="Pending applications to be a host, oldest first, at most 100. Visible to the "
        "platform's admins; empty for others.",
        graphql_type=list[HostApplication],
    )
    @shaped(whole_list(host_approvals.select_pending, hosting.PENDING_OLDEST))
    async def applications_as_host(self, info: Info) -> list[models.HostApplication]:
        return await info.context.run(host_approvals.list_pending)

    @strawberry.field(
        description="The sessions in which you are signed in, the one used last first. For access tokens "
        "empty.",
        graphql_type=list[ActiveSession],
    )
    @shaped(whole_list(session_service.select_sessions, session_service.LAST_USED_FIRST))
    async def sessions(self, info: Info) -> list[session_service.OpenSession]:
        return await info.context.run(session_service.list_sessions)

    @strawberry.field(
        description="Your valid access tokens, newest first.",
        graphql_type=list[AccessToken],
    )
    @shaped(whole_list(access_tokens.select_access_tokens, access_tokens.NEWEST_FIRST))
    async def my_access_tokens(self, info: Info) -> list[models.Token]:
        return await info.context.run(access_tokens.list_access_tokens)

    @strawberry.field(
        description="Last complete audit of all ledger invariants against the data; null before the first. "
        "The server runs one every hour. Public.",
        graphql_type=LedgerAudit | None,
    )
    @shaped(sql_lists.LEDGER_AUDIT)
    async def ledger_audit(self, info: Info) -> audit.LedgerAudit | None:
        return await info.context.run_without_viewer(audit.load_last_audit)
