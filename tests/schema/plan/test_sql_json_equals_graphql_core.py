"""SQL JSON equals the result of graphql-core for every viewer, value and cost."""

import random
from typing import Any

import psycopg
import pytest

from services.database import statement_cache
from tests.schema.plan.executor_equivalence import VIEWERS, PopulatedWorld, answers_match, normalize_errors

EXAMPLES = 40
MIN_SQL_JSON_SHARE = 0.7
"""Of the queries; one that shows null where none may be is answered by graphql-core."""
AMOUNTS = ["value", "currency", "minorUnits", "exponent", "__typename"]
PLAIN = {
    "Collective": [
        "id",
        "slug",
        "type",
        "name",
        "description",
        "website",
        "timezone",
        "imageUrl",
        "currency",
        "hostFeeBps",
        "hostApprovedAt",
        "createdAt",
        "updatedAt",
        "__typename",
    ],
    "Transaction": ["id", "kind", "description", "createdAt", "recordedAt", "group", "__typename"],
    "Order": [
        "id",
        "type",
        "status",
        "description",
        "paymentMethodType",
        "payoutMethodType",
        "feesPayer",
        "hostFeeBps",
        "platformFeeBps",
        "expiresAt",
        "createdAt",
        "updatedAt",
        "startsAt",
        "endsAt",
        "__typename",
    ],
    "Member": ["id", "role", "since", "__typename"],
}
OBJECTS = {
    "Collective": {
        "host": "Collective",
        "parent": "Collective",
        "members": "members",
        "memberOf": "members",
        "balance": "balance",
    },
    "Transaction": {
        "order": "Order",
        "refundOf": "Transaction",
        "fromCollective": "Collective",
        "toCollective": "Collective",
        "fromHost": "Collective",
        "toHost": "Collective",
        "amount": "amount",
        "fromCollectiveAmount": "amount",
        "fromHostAmount": "amount",
        "toHostAmount": "amount",
        "toCollectiveAmount": "amount",
        "paymentProcessorFeeInHostCurrency": "amount",
        "hostFeeInHostCurrency": "amount",
        "platformFeeInHostCurrency": "amount",
    },
    "Order": {"from": "Collective", "to": "Collective", "amount": "amount", "approvedAmount": "amount"},
    "Member": {"collective": "Collective", "member": "Collective"},
}
ROOTS = [
    ("collectives", "Collective", "first: {n}"),
    ("collectives", "Collective", "first: {n}, orderBy: NAME_ASC, filter: {{type: [COMMUNITY, EVENT]}}"),
    ("collectives", "Collective", "first: {n}, filter: {{isArchived: null}}"),
    ("transactions", "Transaction", "first: {n}"),
    ("transactions", "Transaction", "first: {n}, orderBy: CREATED_AT_ASC"),
    ("orders", "Order", "first: {n}"),
    ("orders", "Order", "last: {n}"),
    ("collectives", "Collective", "last: {n}, orderBy: NAME_ASC"),
]


class Writer:
    """Writes queries of what can be written."""

    def __init__(self, seed: int) -> None:
        """Write the same for the same seed."""
        self.random = random.Random(seed)

    def parts(self, kind: str, depth: int) -> str:
        """Return a selection."""
        if kind == "amount":
            return self.some(AMOUNTS)
        if kind == "balance":
            figures = [
                f"{name} {{ {self.some(AMOUNTS)} }}" for name in ("posted", "held", "available", "pending")
            ]
            return self.some([*figures, "currency", "__typename"])
        if kind == "members":
            rows = [f"{{ {self.parts('Member', depth)} }}" for _ in range(2)]
            return self.random.choice(
                [
                    f"nodes {rows[0]}",
                    f"edges {{ node {rows[0]} }}",
                    f"a: nodes {rows[0]} edges {{ b: node {rows[1]} }}",
                ]
            )
        results = [self.some(PLAIN[kind])]
        for name, below in OBJECTS[kind].items():
            if depth and self.random.random() < (0.25 if below != "amount" else 0.4):
                alias = f"x{self.random.randrange(3)}{name}: " if self.random.random() < 0.2 else ""
                results.append(f"{alias}{name}{self.arguments(name)} {{ {self.parts(below, depth - 1)} }}")
        return " ".join(results)

    def arguments(self, name: str) -> str:
        """Return a field's arguments."""
        if name == "balance":
            return self.random.choice(['(currency: "USD")', '(currency: "CUR")', "(currency: $c)"])
        if name in {"members", "memberOf"}:
            return self.random.choice(
                ["", "(first: 2)", "(role: [ADMIN, BACKER])", "(first: $n, role: MEMBER)"]
            )
        return ""

    def some(self, names: list[str]) -> str:
        """Return some of the names, in any order."""
        return " ".join(self.random.sample(names, self.random.randint(1, min(6, len(names)))))

    def query(self) -> str:
        """Return a query."""
        name, kind, arguments = self.random.choice(ROOTS)
        rows = f"{{ {self.parts(kind, 2)} }}"
        shape = self.random.choice(
            [
                "{{ nodes {r} }}",
                "{{ __typename nodes {r} }}",
                "{{ edges {{ cursor node {r} }} }}",
                "{{ nodes {r} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }}",
            ]
        ).format(r=rows)
        text = f"{{ {name}({arguments.format(n=self.random.choice([1, 3, 100]))}) {shape} }}"
        kinds = {"$c": '$c: CurrencyCode! = "EUR"', "$n": "$n: Int = 3"}
        used = [kind for name, kind in kinds.items() if name in text]
        return f"query({', '.join(used)}) {text}" if used else text


@pytest.mark.parametrize("viewer", VIEWERS)
def test_sql_json_equals_the_answer_of_graphql_core(populated: PopulatedWorld, viewer: str) -> None:
    used_sql_json = []
    for seed in range(EXAMPLES):
        query = Writer(seed).query()
        populated.answer(query, viewer, compiled=True)  # what is met once is not written
        one = populated.answer(query, viewer, compiled=True, sql_json=True)
        other = populated.answer(query, viewer, compiled=False)
        assert answers_match(normalize_errors(one.body), normalize_errors(other.body)), query
        used_sql_json.append(one.is_sql_json)
    assert sum(used_sql_json) >= MIN_SQL_JSON_SHARE * len(used_sql_json)


STRANGE = "a \"q\" \\ / \n\t\r\b\f \x01\x02\x1f\x7f é 漢 😀 \u2028 </script> 100% :name $1 'x' {} ~"
ONE = """query($slug: String!) { collective(slug: $slug) {
    __typename id slug name description host { name } parent { slug host { slug } }
    members(first: 1) { nodes { role member { slug } } } balance(currency: "USD") { posted { value } }
} }"""


def run_as_sql_json(populated: PopulatedWorld, query: str, viewer: str = "admin", **variables: Any) -> Any:
    """Return what PostgreSQL wrote, which is what graphql-core answers."""
    populated.answer(query, viewer, compiled=True, **variables)
    one = populated.answer(query, viewer, compiled=True, sql_json=True, **variables)
    assert one.is_sql_json
    assert one.body == populated.answer(query, viewer, compiled=False, **variables).body
    return one.body["data"]


def change(populated: PopulatedWorld, statement: str, *parameters: object) -> None:
    """Change the world as its owner."""
    with psycopg.connect(populated.world.settings.owner_database_url or "", autocommit=True) as owner:
        owner.execute(statement.encode(), parameters)


def test_any_text_is_encoded_as_json(populated: PopulatedWorld) -> None:
    change(populated, "UPDATE collective SET description = %s WHERE slug = 'giver'", STRANGE)
    collective = run_as_sql_json(populated, ONE, slug="giver")["collective"]
    assert (collective["description"], collective["__typename"]) == (STRANGE, "Community")


@pytest.mark.parametrize("slug", ["giver", "shop", "private-event", "payer-host", "payee", "nobody-at-all"])
def test_single_objects_are_sql_json(populated: PopulatedWorld, slug: str) -> None:
    without = "query($slug: String!) { collective(slug: $slug) { name memberOf { edges { node { id } } } } }"
    result = run_as_sql_json(populated, without if slug == "payee" else ONE, slug=slug)
    assert (result["collective"] is None) == (slug == "nobody-at-all")


def test_objects_by_id_are_sql_json(populated: PopulatedWorld) -> None:
    listed = run_as_sql_json(populated, "{ transactions(first: 50) { nodes { id order { id } } } }")[
        "transactions"
    ]
    for node in [node for node in listed["nodes"] if node["order"]][:3]:
        query = "query($id: ID!) { transaction(id: $id) { id amount { value } } }"
        assert run_as_sql_json(populated, query, id=node["id"])["transaction"]["id"] == node["id"]
        query = "query($id: ID!) { order(id: $id) { id to { slug } } }"
        assert run_as_sql_json(populated, query, id=node["order"]["id"])["order"]["id"] == node["order"]["id"]


def test_consecutive_pages_are_sql_json(populated: PopulatedWorld) -> None:
    query = """query($after: String) { transactions(first: 4, after: $after) {
        nodes { id } pageInfo { hasNextPage endCursor } } }"""
    whole = run_as_sql_json(populated, "{ transactions(first: 100) { nodes { id } } }")["transactions"][
        "nodes"
    ]
    result, after, is_more = [], None, True
    while is_more:
        page = run_as_sql_json(populated, query, after=after)["transactions"]
        assert page["pageInfo"]["endCursor"] or not page["nodes"]
        result += page["nodes"]
        after, is_more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert result == whole
    assert len(result) > 4
    backward = """query($before: String) { transactions(last: 4, before: $before) {
        nodes { id } pageInfo { hasPreviousPage startCursor } } }"""
    result, before, is_more = [], None, True
    while is_more:
        page = run_as_sql_json(populated, backward, before=before)["transactions"]
        result[:0] = page["nodes"]
        before, is_more = page["pageInfo"]["startCursor"], page["pageInfo"]["hasPreviousPage"]
    assert result == whole
    last = run_as_sql_json(populated, query, after=after)["transactions"]
    assert last == {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
    assert run_as_sql_json(
        populated, query.replace("pageInfo { hasNextPage endCursor }", ""), after=after
    ) == {"transactions": {"nodes": []}}


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ transactions { totalCount nodes { id } } }", {}),
        ("{ transactions { nodes { fxRate } } }", {}),
        ("{ collectives { nodes { ...on Event { startsAt } } } }", {}),
        ("{ collectives { nodes { legalName } } }", {}),
        ("{ transactions(first: 2) { nodes { id } } me { slug } }", {}),
        ("{ transactions { pageInfo { endCursor } } }", {}),
        ('{ collectives(filter: {search: "g"}) { nodes { slug } } }', {}),
        ("query($n: Int!) { collectives { nodes { members(first: $n) { nodes { id } } } } }", {"n": 0}),
        (
            'query($c: CurrencyCode!) { collective(slug: "giver") { balance(currency: $c) { currency } } }',
            {"c": "XXX"},
        ),
        ("query($a: String) { collectives { nodes { members(after: $a) { nodes { id } } } } }", {"a": "x"}),
        ("query($n: Int) { collectives { nodes { members(last: $n) { nodes { id } } } } }", {"n": 2}),
        ("{ collectives { nodes { members(first: 1, last: 1) { nodes { id } } } } }", {}),
    ],
)
def test_unsupported_queries_fall_back(
    populated: PopulatedWorld, query: str, variables: dict[str, Any]
) -> None:
    populated.answer(query, "admin", compiled=True, **variables)
    one = populated.answer(query, "admin", compiled=True, sql_json=True, **variables)
    assert not one.is_sql_json
    exact = populated.answer(query, "admin", compiled=False, **variables)
    assert answers_match(normalize_errors(one.body), normalize_errors(exact.body))


def test_deeply_nested_queries_are_sql_json_or_fall_back(populated: PopulatedWorld) -> None:
    deep = "{ collectives { nodes " + "{ name host " * 8 + "{ name }" + " }" * 8 + " } }"
    run_as_sql_json(populated, deep)
    fragments = "".join(
        f"fragment F{i} on Collective {{ host {{ ...F{i + 1} }} parent {{ ...F{i + 1} }} }} "
        for i in range(6)
    )
    wide = f"{{ collectives {{ nodes {{ ...F0 }} }} }} {fragments} fragment F6 on Collective {{ name }}"
    populated.answer(wide, "admin", compiled=True)
    assert not populated.answer(wide, "admin", compiled=True, sql_json=True).is_sql_json


def test_equal_shapes_share_a_statement(populated: PopulatedWorld) -> None:
    run_as_sql_json(populated, "query One { orders(first: 7) { nodes { id status } } }")
    kept = len(statement_cache._STATEMENTS)
    run_as_sql_json(
        populated, "query Other { orders(first: 7) { nodes { ...o } } } fragment o on Order { id status }"
    )
    assert len(statement_cache._STATEMENTS) == kept
