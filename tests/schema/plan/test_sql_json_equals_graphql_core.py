"""SQL JSON equals the result of graphql-core for every viewer, value and cost."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from services.database import statement_cache
from tests.schema.plan.executor_equivalence import VIEWERS, PopulatedWorld, answers_match, normalize_errors
from tests.schema.plan.random_documents import Writer

EXAMPLES = 12
MIN_SQL_JSON_SHARE = 0.98
"""Of the queries without an error to tell."""


@pytest.mark.parametrize("viewer", VIEWERS)
def test_sql_json_equals_the_answer_of_graphql_core(populated: PopulatedWorld, viewer: str) -> None:
    used_sql_json = []
    for seed in range(EXAMPLES):
        writer = Writer(seed)
        query = writer.query()
        variables = writer.variables(query, populated.slugs, populated.public_ids)
        one = populated.answer(query, viewer, compiled=True, **variables)
        other = populated.answer(query, viewer, compiled=False, **variables)
        same = answers_match(normalize_errors(one.body), normalize_errors(other.body))
        assert same, (query, variables)
        if "errors" not in other.body:
            used_sql_json.append(one.is_sql_json)
    assert sum(used_sql_json) >= MIN_SQL_JSON_SHARE * len(used_sql_json)


STRANGE = "a \"q\" \\ / \n\t\r\b\f \x01\x02\x1f\x7f é 漢 😀 \u2028 </script> 100% :name $1 'x' {} ~"
ONE = """query($slug: String!) { collective(slug: $slug) {
    __typename id slug name description host { name } parent { slug host { slug } }
    members(first: 1) { nodes { role member { slug } } } balance(currency: "USD") { posted { value } }
} }"""


def run_as_sql_json(populated: PopulatedWorld, query: str, viewer: str = "admin", **variables: Any) -> Any:
    """Return what PostgreSQL wrote, which is what graphql-core answers."""
    one = populated.answer(query, viewer, compiled=True, **variables)
    assert one.is_sql_json
    assert one.body == populated.answer(query, viewer, compiled=False, **variables).body
    return one.body["data"]


def count_kept() -> int:
    """Count the statements of queries that are kept."""
    keys: list[Any] = list(statement_cache._STATEMENTS)
    return sum(name[0] == "json" for name, *_ in keys)


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
        ("{ collectives { nodes { ... on Nonprofit { hoursToApprove(first: 0) { week } } } } }", {}),
        (
            "query($a: CollectiveRef) { collectives { nodes { ... on Nonprofit {"
            " hoursToApprove(addressedTo: $a) { week } } } } }",
            {"a": {"slug": "nobody-at-all"}},
        ),
        ('{ transactions(filter: {to: {slug: "nobody-at-all"}}) { nodes { id } } me { slug } }', {}),
        ('{ collective(slug: "giver") { orders(filter: {from: {slug: "no-one"}}) { totalCount } } }', {}),
        ('{ transactions(after: "x") { nodes { id } } collective(slug: "giver") { slug } }', {}),
        ("query($n: Int!) { collectives { nodes { members(first: $n) { nodes { id } } } } }", {"n": 0}),
        (
            'query($c: CurrencyCode!) { collective(slug: "giver") { balance(currency: $c) { currency } } }',
            {"c": "XXX"},
        ),
        ("query($a: String) { collectives { nodes { members(after: $a) { nodes { id } } } } }", {"a": "x"}),
        ("{ collectives { nodes { members(first: 1, last: 1) { nodes { id } } } } }", {}),
        (
            "query($t: DateTime) { collectives { nodes { ... on Nonprofit {"
            " ledgerAccounts { statement(from: $t, until: $t) { postingCount } } } } } }",
            {"t": "2020-01-01T00:00:00Z"},
        ),
        ("{ leaderboard(by: VOLUNTEER, first: 101) { rank } me { slug } }", {}),
    ],
)
def test_unsupported_queries_fall_back(
    populated: PopulatedWorld, query: str, variables: dict[str, Any]
) -> None:
    one = populated.answer(query, "admin", compiled=True, **variables)
    assert not one.is_sql_json
    exact = populated.answer(query, "admin", compiled=False, **variables)
    assert answers_match(normalize_errors(one.body), normalize_errors(exact.body))


def test_deeply_nested_queries_are_sql_json_or_fall_back(populated: PopulatedWorld) -> None:
    deep = "{ collectives { nodes " + "{ name host " * 8 + "{ name }" + " }" * 8 + " } }"
    run_as_sql_json(populated, deep)

    def wide(first: int) -> str:
        fragments = [
            f"fragment F{i} on Collective {{ host {{ ...F{i + 1} }} parent {{ ...F{i + 1} }} }}"
            for i in range(first, 6)
        ]
        last = "fragment F6 on Collective { name }"
        return f"{{ collectives {{ nodes {{ ...F{first} }} }} }} {' '.join(fragments)} {last}"

    run_as_sql_json(populated, wide(2))  # more tables than are joined in one SELECT
    populated.answer(wide(0), "admin", compiled=True)
    assert not populated.answer(wide(0), "admin", compiled=True).is_sql_json


def test_equal_shapes_share_a_statement(populated: PopulatedWorld) -> None:
    one = "query One { orders(first: 7) { nodes { id status } } }"
    other = "query Other { orders(first: 7) { nodes { ...o } } } fragment o on Order { id status }"
    before = count_kept()
    for query in (one, one, other, other):  # kept when it comes again
        run_as_sql_json(populated, query)
    assert count_kept() == before + 1


def test_a_page_of_several_roots_is_one_statement(populated: PopulatedWorld) -> None:
    page = """query($slug: String!) {
        collective(slug: $slug) {
            name host { name } admins: members(first: 10, role: [ADMIN]) { nodes { member { name } } }
            backers: members(first: 20, role: [BACKER]) { totalCount edges { cursor node { since } } }
        }
        transactions(first: 20, filter: {to: {slug: $slug}}) {
            nodes { id amount { value } fromCollective { name } } pageInfo { hasNextPage endCursor }
        }
    }"""
    # More than once, because the driver may still have to end what was prepared before a ROLLBACK.
    results = [run_as_sql_json(populated, page, "anonymous", slug="giver") for _ in range(3)]
    assert results[-1]["collective"]["admins"]["nodes"]
    statements: list[str] = []
    engine = populated.world.sessions.kw["bind"].sync_engine

    def note(_: object, __: object, text: str, *___: object) -> None:
        statements.append(text)

    event.listen(engine, "before_cursor_execute", note)
    try:
        populated.answer(page, "anonymous", compiled=True, slug="shop")
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1
