"""Lists stay as quick as they are, whatever the history: a page is read from an index, with little else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from graphql import build_schema, get_named_type, is_composite_type
from psycopg import sql
from psycopg.adapt import PyFormat, Transformer
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.listed_fields import FILTERS, PAGE, field_queries
from bench.long_history import LongHistory, add_gifts, create_history
from schema.execution.operation import encode_json
from schema.execution.unit_of_work import OperationRequest, execute
from services.database import engine as database_engine
from services.database import read_connections
from tests.conftest import Database
from tests.factories import Person, World, money, ref

GIFTS = 30_000
LONG_TABLES = {"order", "order_action", "transaction", "posting"}
"""Tables that grow for ever."""
MOST_ROWS = 20 * PAGE
NOT_PAGES = {
    "Query.leaderboard": "sums",
    "Nonprofit.hoursReport": "sums",
    "LiabilityReport.outstanding": "sums by issuer",
    "LiabilityReport.clearing": "sums by host",
    "Query.clearing": "sums by counterpart",
    "LedgerAudit.checks": "fixed number",
    "Query.nodes": "looked up by id",
    "WaitingHours.orders": "read with Nonprofit.hoursToApprove",
    "Highlight.parts": "made from the row",
    "Act.values": "made from the row",
    "Tier.presets": "made from the row",
    "BalanceChanged.balances": "an event",
}
"""Lists that are no pages of a table, with the reason."""


@pytest.fixture(scope="module")
async def engine(shared_database: Database) -> Any:
    """Return the pool that the world of this file uses."""
    engine = database_engine.create_pool(shared_database.settings)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
async def history(engine: AsyncEngine, shared_database: Database) -> LongHistory:
    """Return a long history, added once."""
    world = await World.create(shared_database.settings, database_engine.session_factory(engine))
    history = await create_history(world)
    add_gifts(history, first=1, count=GIFTS)
    return history


@pytest.fixture(scope="module")
async def queries(history: LongHistory) -> dict[str, str]:
    """Return a query for each list."""
    return field_queries(history, await history.world.scalar(history.accounts))


def _listed() -> set[str]:
    """Return every field of the schema that lists objects, once for all kinds of collectives."""
    schema = build_schema(Path("schema/schema.graphql").read_text())
    collective: Any = schema.type_map["Collective"]
    shared = set(collective.fields)
    found = set()
    for name, kind in schema.type_map.items():
        if re.search(r"^__|Payload$|Connection$|Edge$|Result$|^(Mutation|Subscription)$", name):
            continue
        for field, definition in getattr(kind, "fields", {}).items():
            of_collective = "Collective" in [i.name for i in getattr(kind, "interfaces", ())]
            named = get_named_type(definition.type)
            if not is_composite_type(named):
                continue
            if named.name.endswith("Connection") or "[" in str(definition.type):
                found.add(f"Collective.{field}" if of_collective and field in shared else f"{name}.{field}")
    return found


def test_every_list_of_the_schema_is_explained(queries: dict[str, str]) -> None:
    explained = {name.split(" ")[0] for name in queries}
    hosts = {f"{kind}.{name.split('.')[1]}" for name in explained for kind in ("Business", "Organization")}
    assert _listed() - hosts == (explained - hosts) | NOT_PAGES.keys()


@contextmanager
def record(engine: AsyncEngine) -> Iterator[list[tuple[str, Any]]]:
    """Record every statement of the engine with its parameters while the block runs."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _k: Any, statement: str, parameters: Any, _x: Any, _m: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


def to_numbered(statement: str, parameters: Any) -> tuple[str, list[Any]]:
    """Return a statement with PostgreSQL's own parameters, and their values."""
    if isinstance(parameters, list):
        return statement, parameters
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    text = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", statement)
    return text.replace("%%", "%"), [parameters[name] for name in names]


def explain(connection: psycopg.Connection[Any], statement: str, parameters: Any) -> dict[str, Any]:
    """Return the plan of a statement that ran, as its connection plans it, with what it reads."""
    is_planned_once = isinstance(parameters, list)
    connection.execute(read_connections.ONCE if is_planned_once else read_connections.AS_USUAL)
    text, values = to_numbered(statement, parameters)
    cursor, types, given = psycopg.RawCursor(connection), "", sql.Composed([])
    if values:
        transformer = Transformer(connection)
        transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
        names = cursor.execute("SELECT unnest($1::oid[])::regtype::text", [list(transformer.types or ())])
        types = "({})".format(", ".join("unknown" if name == "-" else name for (name,) in names))
        given = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, values)))
    cursor.execute(f"PREPARE explained{types} AS {text}".encode())
    try:
        command = sql.SQL("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE explained")
        row = cursor.execute(command + given).fetchone()
    finally:
        cursor.execute("DEALLOCATE explained")
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all nodes of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def ask(world: World, query: str, viewer: Person | None) -> None:
    """Run a query on graphql-core, and as it is planned: PostgreSQL writes its JSON."""
    settings = world.settings
    world.settings = replace(settings, compiled_queries=False)
    await world.query(query, by=viewer)
    world.settings = settings
    request = OperationRequest(query=query, token=viewer.token if viewer else None, address="growth")
    for _ in range(2):
        answer = await execute(request, sessions=world.sessions, settings=world.settings)
        assert b'"errors"' not in encode_json(answer.body)


def rows_read(node: dict[str, Any]) -> float:
    """Return how many rows a node reads from its table, those that it drops among them."""
    dropped = sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck"))
    return float((node["Actual Rows"] + dropped) * node["Actual Loops"])


def long_reads(connection: psycopg.Connection[Any], statement: str, parameters: Any) -> list[str]:
    """Return where a statement scans a table that grows, or reads more than a few pages of it."""
    return [
        f"{node['Node Type']} of {node['Relation Name']}, {rows_read(node):.0f} rows"
        for node in nodes(explain(connection, statement, parameters))
        if node.get("Relation Name") in LONG_TABLES
        and (node["Node Type"] == "Seq Scan" or rows_read(node) > MOST_ROWS)
    ]


async def test_each_list_reads_little_of_a_long_history(
    history: LongHistory, queries: dict[str, str], engine: AsyncEngine, shared_database: Database
) -> None:
    """As the planner chooses after ANALYZE, for the ADMIN of a busy collective and for a stranger."""
    wrong, count = set(), 0
    with psycopg.connect(shared_database.app_url, autocommit=True) as connection:
        assert long_reads(connection, "SELECT FROM posting WHERE amount = 0", []) != []
        for name, query in queries.items():
            for viewer in (history.viewer, None):
                with record(engine) as statements:
                    await ask(history.world, query, viewer)
                for statement, parameters in statements:
                    if re.match(r"\s*(SELECT|WITH)", statement):
                        count += 1
                        wrong |= {f"{name}: {read}" for read in long_reads(connection, statement, parameters)}
    assert count > len(queries)
    assert wrong == set()


REFERENCES = {
    "orders of transactions": """{ transactions(first: 20) { nodes { id order { id status createdBy { name }
        from { name host { name } } subscription { id } } } } }""",
    "transactions of orders": """{ orders(first: 20) { nodes { id transactions { id
        fromCollective { name } } } } }""",
    "details of orders": """{ orders(first: 20) { nodes { id price { value } payout { value } caps giverStatus
        approvalsNeeded approvalsMissing addressedTo { name } claimedGiver { name }
        tier { id presets { value } }
        subscription { id card { brand } } payoutMethod { id } settlement { reference }
        waitingPayment { provider } policy { platformFeeBps } } } }""",
    "postings of transactions": """{ transactions(first: 20) { nodes { id postings { amount { value }
        account { balance { value } } transaction { id } } } } }""",
    "counts of offers": """{ offers(first: 20) { nodes { redemptionCount remainingThisMonth } } }""",
    "payout methods of a payee": """{ collective(slug: "growth-payee") { ... on User {
        payoutMethods { id } } } }""",
}
"""What rows of lists refer to: each is looked up, for whoever may see it."""


async def test_what_a_row_refers_to_is_looked_up(
    history: LongHistory, engine: AsyncEngine, shared_database: Database
) -> None:
    world, payee = history.world, await history.world.person("growth-payee")
    method = await world.mutate(
        "createPayoutMethod",
        "payoutMethod { id }",
        by=payee,
        collective=ref(payee),
        name="Other",
        type="OTHER",
        details={"text": "By mail"},
    )
    assert method["errors"] == [], method
    bill: dict[str, Any] = {"from": ref(history.busy), "to": ref(payee), "amount": money("1.00")}
    bill |= {"payTo": {"id": method["payoutMethod"]["id"]}, "description": "Stamps"}
    expense = await world.mutate("submitExpense", by=payee, **bill)
    assert expense["errors"] == [], expense
    wrong = set()
    with psycopg.connect(shared_database.app_url, autocommit=True) as connection:
        for name, query in REFERENCES.items():
            for viewer in (history.viewer, payee, None):
                with record(engine) as statements:
                    await ask(world, query, viewer)
                for statement, parameters in statements:
                    if re.match(r"\s*(SELECT|WITH)", statement):
                        wrong |= {f"{name}: {read}" for read in long_reads(connection, statement, parameters)}
    assert wrong == set()


SUMS = {
    "figures of the community": """{ communityStats { issued { value } activeVolunteers }
        volunteers: leaderboard(by: VOLUNTEER) { rank collective { name } }
        shops: leaderboard(by: BUSINESS) { amount { value } } }""",
    "figures of a month": """{ communityStats(period: MONTH) { accepted { value } }
        leaderboard(by: NONPROFIT, period: MONTH) { rank } }""",
    "hours of a nonprofit": """{ collective(slug: "long-host") { ... on Nonprofit {
        hoursToApprove { week orders { id } }
        hoursReport(by: ADMIN) { approvedCount collective { name } } } } }""",
    "clearing of a host": """{ clearing(host: {slug: "long-host"}) { owed { value } oldestUnsettledAt } }""",
    "liabilities": """{ liabilityReport { owedCount outstandingTotal { value }
        outstanding { amount { value } } clearing { older { value } } } }""",
}
"""Sums over rare rows of a long history."""


async def test_sums_read_only_what_they_add_up(
    history: LongHistory, engine: AsyncEngine, shared_database: Database
) -> None:
    wrong = set()
    with psycopg.connect(shared_database.app_url, autocommit=True) as connection:
        for name, query in SUMS.items():
            with record(engine) as statements:
                await ask(history.world, query, history.viewer)
            for statement, parameters in statements:
                if re.match(r"\s*(SELECT|WITH)", statement):
                    wrong |= {f"{name}: {read}" for read in long_reads(connection, statement, parameters)}
    assert wrong == set()


def test_every_filter_of_a_list_is_tried() -> None:
    schema = build_schema(Path("schema/schema.graphql").read_text())
    query: Any = schema.query_type
    for name, filters in FILTERS.items():
        assert get_named_type(query.fields[name].args["filter"].type).fields.keys() == filters.keys() - {""}
