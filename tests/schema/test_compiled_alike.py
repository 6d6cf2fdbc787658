"""Any query answers alike compiled and on graphql-core: over the whole schema, for every kind of viewer."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
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
from sqlalchemy import text

from schema import unit_of_work
from schema.build import sdl
from services import database as databases
from services import ids
from services.settings import Settings
from tests.conftest import Server
from tests.make import Person, World
from tests.resolvers.matrix_world import populated

EXAMPLES = 25
VIEWERS = ("anonymous", "member", "admin", "payee", "platform_admin")
LEAST_COMPILED = 0.3
"""Of the examples; a query with an error to tell is answered by graphql-core."""
CLOCK_SECONDS = 60
"""Moments that are read from the clock differ from one run to the next by less."""
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
POSITION = re.compile(r"pos_[a-z2-7]{26,}")
"""Each transaction moves it, another database's as well."""
SCALARS = {
    "BigInt": st.just(nodes.String("5")),
    "CurrencyCode": st.sampled_from(["USD", "CUR"]).map(nodes.String),
    "Date": st.just(nodes.String("2026-01-31")),
    "DateTime": st.sampled_from(["2020-01-01T00:00:00Z", "2031-05-05T10:00:00+02:00"]).map(nodes.String),
    "Decimal": st.just(nodes.String("1.50")),
    "JSON": st.just(nodes.String("none")),
}
KINDS = {
    "Collective": "collective", "Member": "member", "Order": '"order"', "Transaction": "transaction",
    "Offer": "offer", "PaymentMethod": "payment_method", "Invitation": "invitation",
}  # fmt: skip
ASKED = """query($deep: Boolean!) {
    collectives(first: 100, filter: {isArchived: null}) {
        totalCount pageInfo { hasNextPage endCursor } nodes {
        __typename ...on Event { startsAt isCancelled registrationCount } ...whole
        balances { currency posted { minorUnits value exponent } available { value } pending { value } }
        members(first: 3, role: [ADMIN, MEMBER]) { edges { cursor node { role since member { id name } } } }
        parent { slug host { slug } } host { ...whole }
        transactions(first: 5) @include(if: $deep) { nodes { ...moved refundedBy { id } postings { seq } } }
        orders(first: 5) @skip(if: $deep) { nodes { id privateMessage actions { amount { value } reason } } }
    } }
    transactions(first: 50) { edges { node { ...moved order { id status items { amount { value } } } } } }
    me { id email mutedTopics memberOf { totalCount nodes { collective { slug } } } }
}
fragment whole on Collective { id slug type name legalName location tags createdAt isArchived }
fragment moved on Transaction { id kind group createdAt fxRate amount { value currency minorUnits }
    fromCollective { ...whole } toCollective { slug } fromHost { slug }
    toHost { slug } toHostAmount { value } }"""


@dataclass(frozen=True)
class Shown:
    """A world with objects in every state, and those who look at it."""

    runner: asyncio.Runner
    world: World
    viewers: dict[str, Person | None]
    public_ids: list[str]
    slugs: list[str]

    def answer(self, query: str, viewer: str, *, compiled: bool, **variables: Any) -> unit_of_work.Answer:
        """Ask as a viewer."""
        person = self.viewers[viewer]
        request = unit_of_work.Request(
            query=query, variables=variables, token=person.token if person else None, address="test"
        )
        wanted = replace(self.world.settings, compiled_queries=compiled)
        return self.runner.run(unit_of_work.execute(request, sessions=self.world.sessions, settings=wanted))


@pytest.fixture(scope="module")
def shown(server: Server, template: str) -> Iterator[Shown]:
    """Return a populated world, which is only read."""
    name = f"{template}_alike"
    databases.create_database(server.url, name, template=template)
    settings_ = replace(
        Settings(), max_cost=10**9, rate_capacity=10**9,
        database_url=server.database_url(name, role=databases.APP_ROLE),
        owner_database_url=server.database_url(name),
    )  # fmt: skip
    with asyncio.Runner() as runner:
        engine = databases.connect(settings_)
        sessions = databases.sessions(engine)

        async def made() -> Shown:
            world = await World.create(settings_, sessions)
            people, _ = await populated(world)
            found: list[str] = []
            for kind, table in KINDS.items():
                async with sessions() as session:
                    rows = await session.execute(text(f"SELECT id FROM {table} ORDER BY id LIMIT 12"))
                    found += [ids.encode(kind, row.id) for row in rows]
            async with sessions() as session:
                slugs = [
                    r.slug for r in await session.execute(text("SELECT slug FROM collective ORDER BY slug"))
                ]
            viewers = {"anonymous": None} | {v: people[v] for v in VIEWERS[1:]}
            return Shown(runner, world, viewers, found, slugs)

        yield runner.run(made())
        runner.run(engine.dispose())


def enlivened(query: str, shown: Shown) -> str:
    """Return the query with ids, slugs and sizes that mean something in this world."""
    document = parse(query)
    public_ids, slugs = cycle(shown.public_ids[hash(query) % 7 :]), cycle(shown.slugs[len(query) % 5 :])

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
    asked = operation.selection_set.selections
    kept = [
        node
        for node in asked
        if not isinstance(node, FieldNode) or (node.alias or node.name).value not in keys
    ]
    if not 0 < len(kept) < len(asked):
        return None
    selections = " ".join(print_ast(node) for node in kept)
    others = " ".join(print_ast(node) for node in document.definitions if node is not operation)
    return f"{{ {selections} }} {others}"


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same, in the order of their keys too, but for clock and live position."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, str) and isinstance(other, str) and MOMENT.fullmatch(one) and MOMENT.fullmatch(other):
        apart = datetime.fromisoformat(one) - datetime.fromisoformat(other)
        return abs(apart.total_seconds()) < CLOCK_SECONDS
    if isinstance(one, str) and isinstance(other, str) and POSITION.fullmatch(one):
        return POSITION.fullmatch(other) is not None
    return type(one) is type(other) and bool(one == other)


def unnumbered(body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the numbers under which faults are logged, and its errors sorted."""
    errors = [
        {**error, "extensions": {k: v for k, v in error["extensions"].items() if k != "errorId"}}
        for error in body.get("errors", [])
    ]
    return body | {"errors": sorted(errors, key=repr)}


@pytest.mark.parametrize("viewer", VIEWERS)
def test_any_query_answers_alike(shown: Shown, viewer: str) -> None:
    ran: list[bool] = []

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(queries(sdl(), custom_scalars=SCALARS, allow_x00=False))
    def check(generated: object) -> None:
        query: str | None = enlivened(str(generated), shown)
        while query is not None:
            compiled = shown.answer(query, viewer, compiled=True)
            exact = shown.answer(query, viewer, compiled=False)
            assert alike(unnumbered(compiled.body), unnumbered(exact.body)), query
            assert not exact.is_compiled
            ran.append(compiled.is_compiled)
            query = without(query, {e["path"][0] for e in exact.body.get("errors", ()) if "path" in e})

    check()
    assert sum(ran) >= LEAST_COMPILED * len(ran)


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("deep", [False, True])
def test_a_large_query_answers_alike(shown: Shown, viewer: str, deep: bool) -> None:
    compiled = shown.answer(ASKED, viewer, compiled=True, deep=deep)
    exact = shown.answer(ASKED, viewer, compiled=False, deep=deep)
    assert "errors" not in compiled.body, compiled.body["errors"]
    assert compiled.is_compiled
    assert alike(compiled.body, exact.body)
    assert len(compiled.body["data"]["collectives"]["nodes"]) > 10
