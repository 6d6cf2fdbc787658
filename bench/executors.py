"""Compare the executors of a query in process, without HTTP, on the same context and rows.

The first of `EXECUTORS` is the baseline.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from statistics import median
from typing import Any

import orjson
from graphql import get_operation_ast
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bench import large_dataset, markdown_tables, queries
from bench.plain_strawberry import plain_schema
from bench.postgres_cluster import BenchCluster, recreate_database
from resolvers.context import Context
from schema import plan
from schema.documents import document_cache
from schema.execution.operation import encode_json
from services.core.settings import Settings
from services.database import engine as database_engine

_DATABASE = "executors"
_TARGET = 8
_QUERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "100 transactions": (queries.FEED, {"first": 100}),
    "50 collectives, 10 members each": (queries.NESTED, {}),
}
_STRAWBERRY = plain_schema(caches=True)

Executor = Callable[[str, Mapping[str, Any], Context], Awaitable[bytes]]


async def _graphql_core(text: str, variables: Mapping[str, Any], context: Context) -> bytes:
    """Execute a cached document as Strawberry does, on graphql-core; encode as the server does."""
    result = await _STRAWBERRY.execute(text, variable_values=dict(variables), context_value=context)
    return orjson.dumps({"data": result.data}, default=str)


async def _planned(text: str, variables: Mapping[str, Any], context: Context) -> bytes:
    """Run the planned query, as the server does."""
    prepared = document_cache.prepare(text)
    assert prepared.document is not None
    operation = get_operation_ast(prepared.document)
    assert operation is not None
    values = plan.coerce_variables(operation, variables)
    planned = plan.plan_query(prepared, operation, values)
    assert not isinstance(planned, str), planned
    read = plan.prepare_json_read(planned, values, is_new=False)
    assert read is not None
    context.is_single = True
    return encode_json({"data": await plan.run_json(read, context)})


EXECUTORS: dict[str, Executor] = {"graphql-core": _graphql_core, "JSON by PostgreSQL": _planned}


@dataclass
class _Recorder(Context):
    """A context that records the services' results once and then replays them in order."""

    replies: list[Any] = field(default_factory=list)
    replayed: int = -1
    """Results replayed in the current run; -1 while recording."""

    async def run(self, service: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a service and record its result, or replay the recorded one."""
        if self.replayed < 0:
            self.replies.append(await super().run(service, *args, **kwargs))
            return self.replies[-1]
        self.replayed += 1
        return self.replies[self.replayed - 1]


def run(cluster: BenchCluster) -> None:
    """Time each executor on two lists, with rows from PostgreSQL and with recorded rows."""
    recreate_database(cluster, _DATABASE)
    large_dataset.fill(cluster, _DATABASE)
    rows = asyncio.run(_measure(cluster))
    base, *others = EXECUTORS
    markdown_tables.print_table(
        "Executors in process, ms",
        ["query", "rows", *EXECUTORS, *(f"{base} ÷ {name}, target ≥ {_TARGET}" for name in others)],
        rows,
        f"Medians and ranges of {cluster.rounds} interleaved rounds; the document is cached, the answer"
        " encoded. Recorded rows: the services' results of the first run.",
    )


async def _measure(cluster: BenchCluster) -> list[list[str]]:
    settings = cluster.settings(_DATABASE)
    engine = database_engine.create_pool(settings)
    sessions = database_engine.session_factory(engine)
    rows = []
    for name, (text, variables) in _QUERIES.items():
        for is_recorded in (False, True):
            times: dict[str, list[float]] = {executor: [] for executor in EXECUTORS}
            for number in range(cluster.rounds + 1):
                answers = set()
                for executor, execute in EXECUTORS.items():
                    case = _Case(sessions, settings, execute, text, variables, is_recorded=is_recorded)
                    result, answer = await case.median_ms(cluster.seconds / 2)
                    answers.add(answer)
                    if number:
                        times[executor].append(result)
                if len(answers) > 1:
                    raise SystemExit(f"The executors do not agree on {name}")
            rows.append([name, "recorded" if is_recorded else "from PostgreSQL", *_cells(times)])
    await engine.dispose()
    return rows


def _cells(times: Mapping[str, list[float]]) -> list[str]:
    base, *others = times.values()
    return [
        *(markdown_tables.format_spread(each) for each in times.values()),
        *(markdown_tables.format_spread(markdown_tables.compute_ratios(base, other)) for other in others),
    ]


@dataclass(frozen=True)
class _Case:
    """One executor on one query; `is_recorded` replays the rows instead of reading the database."""

    sessions: async_sessionmaker[AsyncSession]
    settings: Settings
    execute: Executor
    text: str
    variables: Mapping[str, Any]
    _: KW_ONLY
    is_recorded: bool

    async def median_ms(self, seconds: float) -> tuple[float, bytes]:
        """Return the median time of a run, and its answer."""
        recorder = _Recorder(self.sessions, self.settings)
        answer = await self._once(recorder)
        times: list[float] = []
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until or not times:
            context = (
                _Recorder(self.sessions, self.settings, replies=recorder.replies, replayed=0)
                if self.is_recorded
                else Context(self.sessions, self.settings)
            )
            if await self._once(context) != answer:
                raise SystemExit("The answer changed between runs")
            times.append((time.perf_counter() - began) * 1000)
        return median(times), answer

    async def _once(self, context: Context) -> bytes:
        try:
            return await self.execute(self.text, self.variables, context)
        finally:
            await context.close()
