"""In process, without HTTP: what executes a query, on the same context and rows.

`EXECUTORS` names them; the first is what the others are measured against.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from statistics import median
from typing import Any

import orjson
from graphql import get_operation_ast
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bench import large_dataset, markdown_tables, queries
from bench.plain_strawberry import plain_schema
from bench.postgres_cluster import Place, fresh_database
from resolvers.context import Context
from schema import plan
from schema.documents import document_cache
from schema.execution.operation import encoded
from services.core.settings import Settings
from services.database import engine as database_engine

_DATABASE = "executors"
_LEAST = 8
_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "100 transactions": (queries.FEED, {"first": 100}),
    "50 collectives, 10 members each": (queries.NESTED, {}),
}
_STRAWBERRY = plain_schema(caches=True)

Executor = Callable[[str, Mapping[str, Any], Context], Awaitable[bytes]]


async def _graphql_core(text: str, variables: Mapping[str, Any], context: Context) -> bytes:
    """Execute a remembered document as Strawberry does, on graphql-core; encode as we do."""
    found = await _STRAWBERRY.execute(text, variable_values=dict(variables), context_value=context)
    return orjson.dumps({"data": found.data}, default=str)


async def _compiled(
    text: str, variables: Mapping[str, Any], context: Context, *, is_written: bool = False
) -> bytes:
    """Run the query compiled, as the server does for those who take no bytes."""
    prepared = document_cache.prepare(text)
    assert prepared.document is not None
    operation = get_operation_ast(prepared.document)
    assert operation is not None
    values = plan.variables_of(operation, variables)
    program = plan.program_of(prepared, operation, values)
    assert program is not None
    context.columns, context.is_single = program.columns, program.is_single or is_written
    context.writing = plan.writing_of(program, values) if is_written else None
    return encoded({"data": await plan.run(program, values, context)})


EXECUTORS: dict[str, Executor] = {
    "graphql-core": _graphql_core,
    "compiled": _compiled,
    "compiled, written by PostgreSQL": partial(_compiled, is_written=True),
}


@dataclass
class _Remembering(Context):
    """A context that asks the services once; from then on it gives their answers in the same order."""

    replies: list[Any] = field(default_factory=list)
    given: int = -1
    """How many were given in the present run; -1 is the run that asks."""

    async def run(self, service: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a service, or give what it answered."""
        if self.given < 0:
            self.replies.append(await super().run(service, *args, **kwargs))
            return self.replies[-1]
        self.given += 1
        return self.replies[self.given - 1]


def run(place: Place) -> None:
    """Time each executor on the two lists, with rows from PostgreSQL and with rows at hand."""
    fresh_database(place, _DATABASE)
    large_dataset.fill(place, _DATABASE)
    rows = asyncio.run(_measure(place))
    base, *others = EXECUTORS
    markdown_tables.show(
        "Executors in process, ms",
        ["query", "rows", *EXECUTORS, *(f"{base} ÷ {name}, target ≥ {_LEAST}" for name in others)],
        rows,
        f"Medians and ranges of {place.rounds} interleaved rounds; the document is remembered, the answer"
        " encoded. Rows at hand: what the services answered the first time.",
    )


async def _measure(place: Place) -> list[list[str]]:
    settings = place.settings(_DATABASE)
    engine = database_engine.connect(settings)
    sessions = database_engine.sessions(engine)
    rows = []
    for name, (text, variables) in _ASKED.items():
        for at_hand in (False, True):
            times: dict[str, list[float]] = {executor: [] for executor in EXECUTORS}
            for number in range(place.rounds + 1):
                answers = set()
                for executor, execute in EXECUTORS.items():
                    case = _Case(sessions, settings, execute, text, variables, at_hand=at_hand)
                    found, answer = await case.median_ms(place.seconds / 2)
                    answers.add(answer)
                    if number:
                        times[executor].append(found)
                if len(answers) > 1:
                    raise SystemExit(f"The executors do not agree on {name}")
            rows.append([name, "at hand" if at_hand else "from PostgreSQL", *_cells(times)])
    await engine.dispose()
    return rows


def _cells(times: Mapping[str, list[float]]) -> list[str]:
    base, *others = times.values()
    return [
        *(markdown_tables.spread(each) for each in times.values()),
        *(markdown_tables.spread(markdown_tables.ratios(base, other)) for other in others),
    ]


@dataclass(frozen=True)
class _Case:
    """One executor on one query; `at_hand` leaves the database out."""

    sessions: async_sessionmaker[AsyncSession]
    settings: Settings
    execute: Executor
    text: str
    variables: Mapping[str, Any]
    _: KW_ONLY
    at_hand: bool

    async def median_ms(self, seconds: float) -> tuple[float, bytes]:
        """Return the median time of a run, and what it answers."""
        asked = _Remembering(self.sessions, self.settings)
        answer = await self._once(asked)
        times: list[float] = []
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until or not times:
            context = (
                _Remembering(self.sessions, self.settings, replies=asked.replies, given=0)
                if self.at_hand
                else Context(self.sessions, self.settings)
            )
            if await self._once(context) != answer:
                raise SystemExit("The answer is another one")
            times.append((time.perf_counter() - began) * 1000)
        return median(times), answer

    async def _once(self, context: Context) -> bytes:
        try:
            return await self.execute(self.text, self.variables, context)
        finally:
            await context.close()
