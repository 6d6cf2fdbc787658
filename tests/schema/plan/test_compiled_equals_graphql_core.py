"""Planned queries return what graphql-core does: random queries, the whole schema, every kind of viewer."""

from itertools import cycle
from typing import Any

import pytest
from graphql import (
    FieldNode,
    IntValueNode,
    ObjectFieldNode,
    OperationDefinitionNode,
    StringValueNode,
    Visitor,
    parse,
    print_ast,
    visit,
)
from graphql.language import ArgumentNode
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import nodes, queries

from schema.build import sdl
from tests.schema.plan.executor_equivalence import VIEWERS, PopulatedWorld, answers_match, normalize_errors

EXAMPLES = 25
LEAST_COMPILED = 0.3
"""Of the examples; a query with an error to tell is answered by graphql-core."""
SCALARS = {
    "BigInt": st.just(nodes.String("5")),
    "CurrencyCode": st.sampled_from(["USD", "CUR"]).map(nodes.String),
    "Date": st.just(nodes.String("2026-01-31")),
    "DateTime": st.sampled_from(["2020-01-01T00:00:00Z", "2031-05-05T10:00:00+02:00"]).map(nodes.String),
    "Decimal": st.just(nodes.String("1.50")),
    "JSON": st.just(nodes.String("none")),
}
ASKED = """query($deep: Boolean!) {
    collectives(first: 100, filter: {isArchived: null}) {
        totalCount pageInfo { hasNextPage endCursor } nodes {
        __typename ...on Event { startsAt isCancelled registrationCount } ...whole
        ...on Organization { ledgerAccounts { id kind currency balance { value } owner { slug }
            statement(from: "2020-01-01T00:00:00Z") { ...figures } postings(first: 2) { totalCount pageInfo {
                hasNextPage endCursor } edges { cursor
                node { seq amount { value } transaction { id } } } } } }
        balances { currency posted { minorUnits value exponent } available { value } pending { value } }
        members(first: 3, role: [ADMIN, MEMBER]) { edges { cursor node { role since member { id name } } } }
        parent { slug host { slug } } host { ...whole }
        transactions(first: 5) @include(if: $deep) { nodes { ...moved refundedBy { id } postings { seq } } }
        orders(first: 5) @skip(if: $deep) { nodes { id privateMessage actions { amount { value } reason } } }
    } }
    transactions(first: 50) { edges { node { ...moved order { id status items { amount { value } } } } } }
    ledgerAudit { isClean isFull postings checks { name description violations } }
    me { id email mutedTopics memberOf { totalCount nodes { collective { slug } } } }
}
fragment whole on Collective { id slug type name legalName location tags createdAt isArchived }
fragment figures on AccountStatement { openingBalance { value } closingBalance { value } credits { value }
    debits { value currency } postingCount }
fragment moved on Transaction { id kind group createdAt fxRate amount { value currency minorUnits }
    fromCollective { ...whole } toCollective { slug } fromHost { slug }
    toHost { slug } toHostAmount { value } }"""


def with_real_values(query: str, populated: PopulatedWorld) -> str:
    """Return the query with ids, slugs and sizes that mean something in this world."""
    document = parse(query)
    public_ids, slugs = (
        cycle(populated.public_ids[hash(query) % 7 :]),
        cycle(populated.slugs[len(query) % 5 :]),
    )

    class Enliven(Visitor):
        def enter_argument(self, node: ArgumentNode, *_: Any) -> Any:
            return self._changed(node)

        def enter_object_field(self, node: ObjectFieldNode, *_: Any) -> Any:
            return self._changed(node)

        def _changed(self, node: Any) -> Any:
            name, value = node.name.value, node.value
            if isinstance(value, StringValueNode) and name in {"id", "slug", "ids", "after"}:
                if name == "after":
                    return self.REMOVE
                value = StringValueNode(value=next(slugs if name == "slug" else public_ids))
            elif isinstance(value, IntValueNode) and name == "first":
                value = IntValueNode(value=str(abs(int(value.value)) % 100 + 1))
            else:
                return None
            return type(node)(name=node.name, value=value)

    return print_ast(visit(document, Enliven()))


def without(query: str, keys: set[str]) -> str | None:
    """Return the query less the root fields with these keys, or None if that leaves nothing new."""
    document = parse(query)
    (operation,) = (node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    request = operation.selection_set.selections
    kept = [
        node
        for node in request
        if not isinstance(node, FieldNode) or (node.alias or node.name).value not in keys
    ]
    if not 0 < len(kept) < len(request):
        return None
    selections = " ".join(print_ast(node) for node in kept)
    others = " ".join(print_ast(node) for node in document.definitions if node is not operation)
    return f"{{ {selections} }} {others}"


@pytest.mark.parametrize("viewer", VIEWERS)
def test_random_queries_return_the_same_compiled(populated: PopulatedWorld, viewer: str) -> None:
    ran: list[bool] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(queries(sdl(), custom_scalars=SCALARS, allow_x00=False))
    def check(generated: object) -> None:
        query: str | None = with_real_values(str(generated), populated)
        while query is not None:
            compiled = populated.answer(query, viewer, compiled=True)
            exact = populated.answer(query, viewer, compiled=False)
            assert answers_match(normalize_errors(compiled.body), normalize_errors(exact.body)), query
            assert not exact.is_sql_json
            ran.append(compiled.is_sql_json)
            query = without(query, {e["path"][0] for e in exact.body.get("errors", ()) if "path" in e})

    check()
    assert sum(ran) >= LEAST_COMPILED * len(ran)


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("deep", [False, True])
def test_a_large_query_returns_the_same_compiled(populated: PopulatedWorld, viewer: str, deep: bool) -> None:
    compiled = populated.answer(ASKED, viewer, compiled=True, deep=deep)
    exact = populated.answer(ASKED, viewer, compiled=False, deep=deep)
    assert "errors" not in compiled.body, compiled.body["errors"]
    assert compiled.is_sql_json
    assert answers_match(compiled.body, exact.body)
    assert len(compiled.body["data"]["collectives"]["nodes"]) > 10
