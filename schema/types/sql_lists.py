"""What PostgreSQL selects for the fields that list rows or look one up, from the fields' arguments."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from models.enums import GiftDirection, LedgerAccountKind
from resolvers.collectives import to_collective_key
from resolvers.nodes import MAX_IDS
from schema.types.connection import PAGE_ARGUMENTS, to_page_request
from schema.types.fields import whole_list
from schema.types.filters import to_order_arguments, to_transaction_arguments
from schema.types.node import to_optional_key
from schema.types.offer import to_offer_filter
from schema.types.sort_orders import CollectiveSort, OfferSort, OrderSort, TransactionSort
from services.access import act_log, act_values, visibility
from services.access.collective_refs import CollectiveKey, ref_key
from services.collectives import directory, events, hosting, invitations, members, platform_policy, tiers
from services.collectives.directory import CollectiveFilter, CollectiveRow
from services.core import public_ids
from services.identity import access_tokens
from services.jobs import listing as jobs
from services.ledger import account_history, audit, balances
from services.ledger import queries as ledger_queries
from services.offers import offers
from services.orders import payment_methods, payout_methods, queries
from services.recurring import queries as gifts
from services.search import search
from services.search.highlights import PARTS_IN_ORDER
from services.sql_json.arguments import ListArguments, NodesArguments, Reference, RowId, Unconditional
from services.sql_json.shape import (
    Amount,
    AmountList,
    BalanceList,
    Selects,
    SelectsNodes,
    SqlJsonUnavailable,
    ToNode,
)
from services.volunteering import check_in, community_stats, hour_reports
from services.volunteering.community_stats import Period

Arguments = dict[str, Any]


def _page(arguments: Arguments) -> Any:
    return to_page_request(*(arguments.get(name) for name in PAGE_ARGUMENTS))


def _reference(name: str, key: CollectiveKey | None) -> Any:
    """Return the reference that stands for an id until the statement is built."""
    return None if key is None else Reference(ref_key(name, key))


def _collective(arguments: Arguments) -> ListArguments:
    key = ref_key("collective", to_collective_key(arguments.get("slug"), arguments.get("id")))
    row = CollectiveRow(slug=key) if isinstance(key, str) else CollectiveRow(id=key)
    return ListArguments(directory.select_by_ref, row)


def _by_id(select: Any, object_type: str, arguments: Arguments) -> ListArguments:
    return ListArguments(select, RowId(public_ids.decode(object_type, arguments["id"], field="id")))


def _viewer(_: Arguments) -> ListArguments:
    return ListArguments(directory.select_viewer, Unconditional())


_NODES: dict[str, Any] = {
    "Collective": directory.select_by_ref,
    "Order": queries.select_order,
    "Transaction": queries.select_transaction,
    "Member": members.select_member,
    "Offer": offers.select_offer,
    "Tier": tiers.select_tier,
    "PaymentMethod": payment_methods.select_payment_method,
    "PayoutMethod": payout_methods.select_payout_method,
    "RecurringGift": gifts.select_gift,
    "Invitation": invitations.select_invitation,
    "HostApplication": hosting.select_application,
    "AccessToken": access_tokens.select_access_token,
    "LedgerAccount": account_history.select_account,
}
"""What selects a node by its id. Ids of other types name what is no node, which is null."""


def _node(arguments: Arguments) -> ListArguments:
    public_id = arguments["id"]
    object_type = public_ids.object_type_of(public_id) or ""
    row_id = public_ids.decode(object_type, public_id, field="id")
    if (select := _NODES.get(object_type)) is None:
        return ListArguments(directory.select_nothing, Unconditional(), option="Collective")
    where = CollectiveRow(id=row_id) if object_type == "Collective" else RowId(row_id)
    return ListArguments(select, where, option=object_type)


def _nodes(arguments: Arguments) -> NodesArguments:
    ids = []
    for public_id in arguments["ids"]:
        object_type = public_ids.object_type_of(public_id) or ""
        ids.append((object_type, public_ids.decode(object_type, public_id, field="ids")))
    if len(ids) > MAX_IDS:
        raise SqlJsonUnavailable("too many ids")
    return NodesArguments(tuple(ids))


def _by_expression(select: Any, where: Any) -> Callable[..., Any]:
    return lambda actor, row_id: select(actor, where=where(id=row_id), owner=None)


def _collectives(arguments: Arguments) -> ListArguments:
    given = arguments.get("filter")
    where = CollectiveFilter()
    if given is not None:
        where = CollectiveFilter(
            type=tuple(given.type or ()),
            host_id=_reference("host", to_optional_key(given.host)),
            search=directory.clean_search(given.search),
            tag=given.tag,
            is_archived=given.is_archived,
        )
    sort = CollectiveSort.to_sort(arguments.get("order_by"))
    return ListArguments(directory.select_listed, where, sort, _page(arguments))


_ORDER_IDS = {
    "from": "from_id",
    "to": "to_id",
    "event": "event_id",
    "addressedTo": "addressed_to_id",
    "claimedGiver": "claimed_giver_id",
}


def _orders(arguments: Arguments) -> ListArguments:
    given = to_order_arguments(arguments.get("filter"))
    ids: dict[str, Any] = {_ORDER_IDS[name]: _reference(name, key) for name, key in given["refs"].items()}
    sort = OrderSort.to_sort(arguments.get("order_by"))
    return ListArguments(queries.select_orders, replace(given["filters"], **ids), sort, _page(arguments))


def _transactions(arguments: Arguments) -> ListArguments:
    given = to_transaction_arguments(arguments.get("filter"))
    ids: dict[str, Any] = {
        "from_id": _reference("from", given["from_"]),
        "to_id": _reference("to", given["to"]),
    }
    sort = TransactionSort.to_sort(arguments.get("order_by"))
    where = replace(given["filters"], **ids)
    return ListArguments(queries.select_transactions, where, sort, _page(arguments))


def _offers(arguments: Arguments) -> ListArguments:
    where, business = to_offer_filter(arguments.get("filter"))
    where = replace(where, business_id=_reference("business", business))
    sort = OfferSort.to_sort(arguments.get("order_by"))
    return ListArguments(offers.select_offers, where, sort, _page(arguments))


def _offers_of_business(arguments: Arguments) -> ListArguments:
    where = offers.OfferFilter(is_active=arguments.get("is_active", True))
    return ListArguments(offers.select_offers, where, offers.NEWEST, _page(arguments))


def _events(arguments: Arguments) -> ListArguments:
    where = events.EventFilter(
        starts_from=arguments.get("from_"),
        starts_until=arguments.get("until"),
        is_cancelled=arguments.get("is_cancelled"),
    )
    return ListArguments(events.select_events, where, events.BY_START, _page(arguments))


def _members(arguments: Arguments, *, of_members: bool) -> ListArguments:
    where = members.MembersFilter(of_members, tuple(arguments.get("role") or ()))
    return ListArguments(members.select_members, where, members.OLDEST_FIRST, _page(arguments))


def _subscriptions(arguments: Arguments) -> ListArguments:
    where = gifts.GiftFilter(
        arguments.get("direction", GiftDirection.GIVEN), tuple(arguments.get("status") or ())
    )
    return ListArguments(gifts.select_gifts, where, gifts.NEWEST, _page(arguments))


def _attendances(arguments: Arguments) -> ListArguments:
    return ListArguments(check_in.select_attendances, Unconditional(), check_in.BY_ARRIVAL, _page(arguments))


def _ledger_accounts(arguments: Arguments) -> ListArguments:
    where = ledger_queries.AccountFilter(tuple(arguments.get("kind") or ()))
    return ListArguments(ledger_queries.select_accounts, where, ledger_queries.ACCOUNTS_IN_ORDER)


def _ledger_audit(_: Arguments) -> ListArguments:
    return ListArguments(audit.select_last_run, Unconditional())


def _tags(arguments: Arguments) -> ListArguments:
    where = directory.MostFrequent(to_page_request(arguments.get("first"), None, None, None).first)
    return ListArguments(directory.select_tags, where, directory.TAGS_BY_COUNT)


def _community_stats(arguments: Arguments) -> ListArguments:
    where = community_stats.StatsPeriod(arguments.get("period") or Period.ALL_TIME)
    return ListArguments(community_stats.select_stats, where)


def _leaderboard(arguments: Arguments) -> ListArguments:
    first = arguments.get("first", community_stats.DEFAULT_PLACES)
    where = community_stats.Board(
        arguments["by"],
        arguments.get("period") or Period.ALL_TIME,
        community_stats.DEFAULT_PLACES if first is None else first,
    )
    return ListArguments(community_stats.select_leaders, where, community_stats.BEST_RANK)


def _waiting_hours(arguments: Arguments) -> ListArguments:
    first = arguments.get("first", hour_reports.DEFAULT_WEEKS)
    where = hour_reports.WaitingFilter(
        hour_reports.DEFAULT_WEEKS if first is None else first,
        _reference("addressedTo", to_optional_key(arguments.get("addressed_to"))),
    )
    return ListArguments(hour_reports.select_waiting_hours, where, hour_reports.HOURS_IN_ORDER)


def _waiting_orders(_: Arguments) -> ListArguments:
    return ListArguments(hour_reports.select_waiting_orders, Unconditional(), hour_reports.BY_BEGINNING)


def _hours_sums(arguments: Arguments) -> ListArguments:
    where = hour_reports.HoursFilter(
        arguments["by"], arguments.get("starts_from"), arguments.get("starts_until")
    )
    return ListArguments(hour_reports.select_hours_sums, where, hour_reports.HOURS_IN_ORDER)


def _search(arguments: Arguments) -> ListArguments:
    where = search.SearchFilter(search.clean_query(arguments["query"]), tuple(arguments.get("types") or ()))
    return ListArguments(search.select_hits, where, search.BEST_FIRST, _page(arguments))


def _acts(arguments: Arguments, *, is_security: bool) -> ListArguments:
    where = act_log.ActFilter(is_security)
    return ListArguments(act_log.select_acts, where, act_log.NEWEST_FIRST, _page(arguments))


def _all_acts(arguments: Arguments) -> ListArguments:
    return ListArguments(act_log.select_all, Unconditional(), act_log.ALL_NEWEST_FIRST, _page(arguments))


def _jobs(arguments: Arguments) -> ListArguments:
    where = jobs.JobFilter(arguments.get("status"))
    return ListArguments(jobs.select_jobs, where, jobs.NEWEST_FIRST, _page(arguments))


def _platform_policy(_: Arguments) -> ListArguments:
    return ListArguments(platform_policy.select_policy, Unconditional())


def _balances(arguments: Arguments) -> ListArguments:
    where = balances.BalancesAt(arguments.get("as_of"))
    return ListArguments(balances.select_balances, where, balances.BALANCES)


BALANCES = BalanceList(Selects(_balances))
ME = Selects(_viewer)
NODES = SelectsNodes(
    _nodes,
    {
        name: _by_expression(select, CollectiveRow if name == "Collective" else RowId)
        for name, select in _NODES.items()
    },
)
NODE = Selects(_node, options=tuple(_NODES))
COLLECTIVE = Selects(_collective)
ORDER = Selects(partial(_by_id, queries.select_order, "Order"))
TRANSACTION = Selects(partial(_by_id, queries.select_transaction, "Transaction"))
COLLECTIVES = Selects(_collectives)
ORDERS = Selects(_orders)
TRANSACTIONS = Selects(_transactions)
OFFERS = Selects(_offers)
OFFERS_OF_BUSINESS = Selects(_offers_of_business)
LEDGER_ACCOUNTS = Selects(_ledger_accounts)
LEDGER_AUDIT = Selects(_ledger_audit)
EXCHANGE_POSITION = AmountList(
    Selects(lambda _: _ledger_accounts({"kind": [LedgerAccountKind.EXCHANGE]})), Amount("posted", "currency")
)
TAGS = Selects(_tags)
COMMUNITY_STATS = Selects(_community_stats)
LEADERBOARD = Selects(_leaderboard)
WAITING_HOURS = Selects(_waiting_hours)
WAITING_ORDERS = Selects(_waiting_orders, owner="order_ids")
HOURS_SUMS = Selects(_hours_sums)
SEARCH = Selects(_search)
HIGHLIGHTS = replace(whole_list(search.select_highlights, search.HIGHLIGHTS_IN_ORDER), owner=None)
HIGHLIGHT_PARTS = replace(whole_list(search.select_parts, PARTS_IN_ORDER), owner=None)
FOUND_ITEM = ToNode("object_type", tuple((name, NODES.options[name]) for name in ("Collective", "Offer")))
AUDIT_LOG = Selects(partial(_acts, is_security=False), is_visible=visibility.audit_log_is_visible)
SECURITY_LOG = Selects(partial(_acts, is_security=True), is_visible=visibility.security_log_is_visible)
WHOLE_AUDIT_LOG = Selects(_all_acts, is_visible=act_log.whole_log_is_visible)
ACT_VALUES = replace(whole_list(act_values.select_values, act_values.BY_NAME), owner=None)
JOBS = Selects(_jobs, is_visible=jobs.are_visible)
PLATFORM_POLICY = Selects(_platform_policy)
SUBSCRIPTIONS = Selects(_subscriptions)
ATTENDANCES = Selects(_attendances)
EVENTS = Selects(_events)
MEMBERS = Selects(partial(_members, of_members=True), side="member_id")
MEMBER_OF = Selects(partial(_members, of_members=False), side="collective_id")
