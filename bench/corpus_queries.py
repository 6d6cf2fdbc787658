"""What clients ask for: pages of collectives, hosts, people and events, details, filters, counts, cursors."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A query of the corpus."""

    name: str
    query: str
    variables: dict[str, Any] = field(default_factory=dict)
    has_same_lists: bool = True
    """False if PostGraphile lists the rows in other lists than we do."""


_SLUG = {"slug": "large-1"}
_HOST = {"slug": "large-host-1"}
_PERSON = {"slug": "large-person-3"}
_AMOUNT = "amount { value currency }"
_SIDES = "fromCollective { name slug } toCollective { name slug }"

CORPUS = [
    Shape(
        "a collective's page: two member lists and, beside it, its newest transactions",
        f"""query($slug: String!) {{
            collective(slug: $slug) {{
                name host {{ name }}
                admins: members(first: 10, role: [ADMIN]) {{ nodes {{ member {{ name slug }} }} }}
                backers: members(first: 20, role: [BACKER]) {{ nodes {{ since member {{ name slug }} }} }}
            }}
            transactions(first: 20, filter: {{to: {{slug: $slug}}}}) {{ nodes {{
                id kind createdAt {_AMOUNT} fromCollective {{ name slug }}
            }} }}
        }}""",
        _SLUG,
    ),
    Shape("a collective's head", "query($slug: String!) { collective(slug: $slug) { name } }", _SLUG),
    Shape(
        "a collective with its transactions inside",
        f"""query($slug: String!) {{ collective(slug: $slug) {{ name
            transactions(first: 20) {{ nodes {{ id kind createdAt {_AMOUNT} {_SIDES} }} }} }} }}""",
        _SLUG,
    ),
    Shape(
        "a collective with its orders inside",
        f"""query($slug: String!) {{ collective(slug: $slug) {{ name
            orders(first: 20, filter: {{status: PAID}}) {{ nodes {{ id status {_AMOUNT} from {{ name }} }} }}
        }} }}""",
        _SLUG,
    ),
    Shape(
        "a collective with counts alone",
        """query($slug: String!) { collective(slug: $slug) { name
            members { totalCount } transactions { totalCount } orders { totalCount } } }""",
        _SLUG,
    ),
    Shape(
        "a collective's balance",
        """query($slug: String!) { collective(slug: $slug) { name
            balance(currency: "USD") { posted { value } available { value } } } }""",
        _SLUG,
        has_same_lists=False,
    ),
    Shape(
        "a collective's balance a day ago",
        """query($slug: String!) { collective(slug: $slug) { name
            balance(currency: "USD", asOf: "2026-01-01T00:00:00Z") { posted { value } } } }""",
        _SLUG,
    ),
    Shape(
        "a host's page: its collectives by name",
        """query($slug: String!) {
            collective(slug: $slug) { name website ... on Organization { isHostSuspended } }
            collectives(first: 20, orderBy: NAME_ASC, filter: {host: {slug: $slug}}) {
                nodes { name slug host { name } }
            }
        }""",
        _HOST,
    ),
    Shape(
        "a host's newest orders with both sides",
        f"""query($slug: String!) {{ collective(slug: $slug) {{ name
            orders(first: 20) {{ nodes {{ id type status {_AMOUNT} from {{ name }} to {{ name }} }} }}
        }} }}""",
        _HOST,
    ),
    Shape(
        "a person's page: memberships",
        """query($slug: String!) { collective(slug: $slug) { name
            memberOf(first: 50) { nodes { role since collective { name slug type host { name } } } } } }""",
        _PERSON,
    ),
    Shape(
        "a person's memberships with edges and a position",
        """query($slug: String!) { collective(slug: $slug) { name
            memberOf(first: 10) { edges { cursor node { role collective { name } } }
                pageInfo { hasNextPage endCursor } } } }""",
        _PERSON,
    ),
    Shape(
        "a collective's events",
        """query($slug: String!) { collective(slug: $slug) { name
            events(first: 10) { nodes { name startsAt endsAt coordinator { name } } } } }""",
        _SLUG,
    ),
    Shape(
        "offers with their businesses",
        "{ offers(first: 20, orderBy: FEATURED_FIRST) { nodes { item isMaster business { name } } } }",
    ),
    Shape(
        "20 transactions with their count",
        f"{{ transactions(first: 20) {{ totalCount nodes {{ id kind {_AMOUNT} {_SIDES} }} }} }}",
    ),
    Shape(
        "20 transactions with a position",
        f"""{{ transactions(first: 20) {{ nodes {{ id {_AMOUNT} }}
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}""",
    ),
    Shape(
        "20 transactions as edges",
        f"{{ transactions(first: 20) {{ edges {{ cursor node {{ id {_AMOUNT} }} }} }} }}",
    ),
    Shape(
        "transactions by payee and kind in variables",
        f"""query($slug: String!, $kinds: [TransactionKind!]) {{
            transactions(first: 20, filter: {{to: {{slug: $slug}}, kind: $kinds}}) {{
                nodes {{ id {_AMOUNT} fromCollective {{ name }} }} }} }}""",
        _SLUG | {"kinds": ["DONATION"]},
    ),
    Shape(
        "transactions between two times",
        f"""query($from: DateTime, $until: DateTime) {{
            transactions(first: 20, filter: {{atFrom: $from, atUntil: $until}}) {{
                nodes {{ id createdAt {_AMOUNT} }} }} }}""",
        {"from": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"},
    ),
    Shape(
        "transactions with orders and their payers",
        f"""{{ transactions(first: 20) {{ nodes {{ id {_AMOUNT}
            order {{ id status createdBy {{ name }} from {{ name host {{ name }} }} }} }} }} }}""",
    ),
    Shape(
        "orders with their transactions",
        f"{{ orders(first: 20) {{ nodes {{ id transactions {{ id {_AMOUNT} refundedBy {{ id }} }} }} }} }}",
    ),
    Shape(
        "collectives found by text",
        "query($text: String!) { collectives(first: 20, filter: {search: $text}) { nodes { name slug } } }",
        {"text": "large 12"},
    ),
    Shape(
        "collectives by type in a variable, counted",
        """query($types: [CollectiveType!]) { collectives(first: 20, filter: {type: $types}) {
            totalCount nodes { name slug } } }""",
        {"types": ["COMMUNITY"]},
    ),
    Shape(
        "collectives with members in lists",
        """{ collectives(first: 20, filter: {type: [COMMUNITY]}) { nodes { name
            members(first: 5) { totalCount nodes { role member { name } } } } } }""",
    ),
    Shape(
        "connections in connections in connections",
        """{ collectives(first: 10, filter: {type: [COMMUNITY]}) { nodes { name
            members(first: 3) { nodes { role member { name memberOf(first: 3) { nodes {
                role collective { name } } } } } } } } }""",
    ),
    Shape(
        "fragments by type",
        """{ collectives(first: 50) { nodes { __typename name ... on Event { startsAt }
            ... on Business { offers(first: 3) { nodes { item } } }
            ... on Organization { isHostSuspended } } } }""",
    ),
    Shape(
        "four aliases of one list",
        """query($slug: String!) { collective(slug: $slug) {
            a: members(first: 3, role: [ADMIN]) { nodes { member { name } } }
            b: members(first: 3, role: [MEMBER]) { nodes { member { name } } }
            c: members(first: 3, role: [ACCOUNTANT]) { nodes { member { name } } }
            d: members(first: 3, role: [BACKER]) { nodes { member { name } } } } }""",
        _SLUG,
    ),
    Shape(
        "five root fields",
        """query($slug: String!) { a: collective(slug: $slug) { name } b: collective(slug: "large-2") { name }
            c: transactions(first: 3) { nodes { id } } d: orders(first: 3) { nodes { id } } me { slug } }""",
        _SLUG,
    ),
]
