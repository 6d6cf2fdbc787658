"""Each field by itself: PostgreSQL writes it as graphql-core does, for every viewer, or is known not to."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import get_named_type, is_abstract_type, is_leaf_type, is_required_argument

from schema.build import graphql_schema
from tests.schema.plan.executor_equivalence import PopulatedWorld, answers_match, normalize_errors

PROGRAMS = ("program_of_admin", "program_of_platform_admin")
PLAYERS = (
    "anonymous",
    "member",
    "admin",
    "payee",
    "payer_host_admin",
    "invitee",
    "platform_admin",
    *PROGRAMS,
)
ORDERS = "orders(first: 100) { nodes { @ } }"
COLLECTIVES = "collectives(first: 100, filter: {isArchived: null}) { nodes { @ } }"

SEARCHES = """one: search(query: "p", first: 100) { nodes { @ } }
    two: search(query: "private no-such-word", first: 2) { nodes { @ } totalCount }
    few: search(query: "g", types: [OFFER, USER, EVENT], last: 2) { nodes { @ } edges { cursor } }"""


def _of_collectives(field: str) -> str:
    return COLLECTIVES.replace("@", field)


LOGS = (
    "all: auditLog(first: 100) { nodes { @ } } "
    + _of_collectives("auditLog(first: 5) { nodes { @ } }")
    + " me { securityLog(last: 50) { nodes { @ } } }"
)
PATHS = {
    "Order": ORDERS,
    "OrderAction": "orders(first: 100) { nodes { actions { @ } } }",
    "OrderItem": "orders(first: 100) { nodes { items { @ } } }",
    "Approval": "orders(first: 100) { nodes { approvals { @ } } }",
    "Settlement": "orders(first: 100) { nodes { settlement { @ } } }",
    "WaitingPayment": "orders(first: 100) { nodes { waitingPayment { @ } } }",
    "RecurringGift": "orders(first: 100) { nodes { subscription { @ } } }",
    "Card": "orders(first: 100) { nodes { subscription { card { @ } } } }",
    "Offer": "orders(first: 100) { nodes { offer { @ } } }",
    "PayoutMethod": "orders(first: 100) { nodes { payoutMethod { @ } } }",
    "PaymentMethod": "orders(first: 100) { nodes { paymentMethod { @ } } }",
    "PlatformPolicy": "orders(first: 100) { nodes { policy { @ } } }",
    "Transaction": "transactions(first: 100) { nodes { @ } }",
    "Tier": _of_collectives("tiers { @ }"),
    "ApprovalPolicy": _of_collectives("approvalPolicies { @ }"),
    "Attendance": _of_collectives("... on Event { attendances { nodes { @ } } }"),
    "WaitingHours": _of_collectives("... on Nonprofit { hoursToApprove(first: 100) { @ } }"),
    **{
        f"HoursSum {by}": _of_collectives(f"... on Nonprofit {{ hoursReport(by: {by}) {{ @ }} }}")
        for by in ("VOLUNTEER", "ADMIN", "EVENT", "WEEK", "MONTH")
    },
    "IssuanceCap": _of_collectives("... on Nonprofit { issuanceCaps { @ } }"),
    "HostApplication": _of_collectives("... on Organization { hostApplications { @ } }"),
    "LinkedIdentity": _of_collectives("... on User { identities { @ } }"),
    "Posting": "transactions(first: 100) { nodes { postings { @ } } }",
    "LedgerAccount": _of_collectives("... on Organization { ledgerAccounts { @ } }"),
    "AccountStatement": _of_collectives(
        '... on Organization { ledgerAccounts { statement { @ } of: statement(from: "2020-01-01T00:00:00Z", '
        'until: "2030-01-01T00:00:00Z") { @ } after: statement(from: "2030-01-01T00:00:00Z") { @ } } }'
    ),
    "Invitation": "myInvitations { @ } sentInvitations { x: __typename @ }",
    "AccessToken": "myAccessTokens { @ }",
    "ActiveSession": "sessions { @ }",
    "Passkey": "passkeys { @ }",
    "Job": "jobs(first: 100) { nodes { @ } } failed: jobs(status: FAILED, last: 1) { nodes { @ } }",
    "JobConnection": "jobs(first: 2) { @ } queued: jobs(status: QUEUED, last: 1) { @ }",
    "Currency": "currencies { @ }",
    "Tag": "tags { @ } few: tags(first: 1) { @ }",
    "SearchResult": SEARCHES,
    "Highlight": SEARCHES.replace("@", "highlights { @ }"),
    "HighlightPart": SEARCHES.replace("@", "highlights { parts { @ } }"),
    "Act": LOGS,
    "ActValue": LOGS.replace("@", "values { @ }"),
    "ActConnection": _of_collectives("auditLog(first: 2) { @ } ... on User { securityLog(last: 2) { @ } }"),
    "Goal": _of_collectives("goals { @ }"),
    "Balance": _of_collectives("balances { @ }"),
    "Member": _of_collectives("members { nodes { @ } }"),
    **{
        name: _of_collectives(f"... on {name} {{ @ }}")
        for name in ("User", "Community", "Nonprofit", "Business", "Event")
    },
}
"""How the rows of a type are had, in one or more ways."""
ARGUMENTS = {"balance": '(currency: "USD")', "hoursReport": "(by: ADMIN)"}
_COLLECTIVES = ("User", "Community", "Nonprofit", "Business", "Event")
WITHOUT_SHAPE: set[str] = set()
"""Fields that PostgreSQL does not write, yet."""


def _fields(object_type: Any) -> Iterator[tuple[str, Any]]:
    for name, field in object_type.fields.items():
        needs_some = any(is_required_argument(argument) for argument in field.args.values())
        if f"{object_type.name}.{name}" not in WITHOUT_SHAPE:
            yield name + (ARGUMENTS[name] if needs_some else ""), get_named_type(field.type)


def _selection(named: Any, *, depth: int) -> str:
    """Return all fields of a type, with those of its objects to a depth."""
    if is_abstract_type(named):
        return "__typename" + ("" if not hasattr(named, "fields") else " id")
    if named.name.endswith("Connection"):
        if depth < 1:
            return "totalCount"
        return (
            f"nodes {{ {_selection(get_named_type(named.fields['nodes'].type), depth=depth - 1)} }} "
            "totalCount edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
        )
    parts = ["__typename"]
    for name, of_field in _fields(named):
        if is_leaf_type(of_field):
            parts.append(name)
        elif depth:
            parts.append(f"{name} {{ {_selection(of_field, depth=depth - 1)} }}")
    return " ".join(parts)


def _of_type(name: str) -> Iterator[tuple[str, str]]:
    """Yield a field's name with a selection of it: of scalars all at once."""
    fields = list(_fields(graphql_schema().type_map[name.split(" ", maxsplit=1)[0]]))
    yield "scalars", " ".join(field for field, named in fields if is_leaf_type(named)) or "__typename"
    for field, named in fields:
        if not is_leaf_type(named):
            yield field, f"{field} {{ {_selection(named, depth=1)} }}"


ROOTS = (
    "signInProviders { name label path } rateLimit { cost limit } me { slug }",
    "collectives(first: 2) { nodes { slug } } livePosition a: livePosition again: signInProviders { name }",
    "platformPolicy { platformFeeBps signupBonus { value } createdBy { slug } }",
    "platformPolicies { usdPerCurrent validFrom }",
    "sentHostApplications { id collective { slug } host { slug } }",
    "applicationsAsHost { id message collective { slug } }",
    "tags { count } me { slug } currencies { code }",
    'clearing(host: {slug: "payer-host"}) { __typename owed { value } owes { currency } limit { value } '
    "counterpartLimit { minorUnits } oldestUnsettledAt counterpart { __typename slug } }",
    "ledgerAudit { __typename isClean violations transactions postings at ageSeconds isFull lastFullAt "
    "checks { __typename name description violations } }",
    "liabilityReport { owed { value } owedCount available { value } outstandingTotal { value } }",
    "liabilityReport { __typename }",
    "liabilityReport { outstanding { __typename amount { value } issuer { slug } } me: __typename }",
    "liabilityReport { clearing { __typename amount { value currency } days0To30 { value } "
    "days31To60 { value } days61To90 { value } older { minorUnits } debtor { slug } "
    "creditor { slug } } owedCount } me { slug }",
    "communityStats { __typename period issued { value currency } accepted { minorUnits } activeVolunteers }",
    "communityStats(period: WEEK) { issued { value } } ever: communityStats(period: null) { period }",
    "leaderboard(by: NONPROFIT) { __typename rank amount { value } collective { __typename slug } }",
    "leaderboard(by: BUSINESS, period: YEAR, first: 1) { rank collective { slug host { slug } } }",
    "leaderboard(by: VOLUNTEER, period: MONTH, first: null) { rank amount { exponent } collective { name } }",
)


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("viewer", PLAYERS)
def test_each_root_equals_the_answer_of_graphql_core(
    populated: PopulatedWorld, root: str, viewer: str
) -> None:
    query = f"{{ {root} }}"
    one = populated.answer(query, viewer, compiled=True)
    other = populated.answer(query, viewer, compiled=False)
    assert answers_match(one.body, other.body)
    assert one.is_sql_json is ("errors" not in other.body)


@pytest.mark.parametrize("object_type", PATHS)
def test_each_field_equals_the_answer_of_graphql_core(populated: PopulatedWorld, object_type: str) -> None:
    path, wrong = PATHS[object_type], []
    for field, selection in _of_type(object_type):
        query = "{ " + path.replace("@", selection) + " }"
        for viewer in PLAYERS:
            one = populated.answer(query, viewer, compiled=True)
            other = populated.answer(query, viewer, compiled=False)
            if not one.is_sql_json:
                wrong.append((field, viewer, "no SQL"))
            elif not answers_match(normalize_errors(one.body), normalize_errors(other.body)):
                wrong.append((field, viewer, "differs"))
    assert wrong == []
