"""What one operation is, and which executor runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import DocumentNode, OperationDefinitionNode, OperationType
from graphql.execution.values import VariableValues
from strawberry.types import ExecutionResult

from resolvers.context import Context
from resolvers.session_cookie import SessionCookie
from schema import plan
from schema.build import schema
from schema.documents import document_cache
from services.access.rate_limits import Charge
from services.core.settings import Settings
from services.sql_json.rows import Writing, Written


@dataclass(slots=True, kw_only=True)
class Request:
    """A GraphQL request as it came in."""

    query: str
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    token: str | None = None
    address: str = ""
    tells_cost: bool = False
    """Whether the answer says what it cost; one to a query of `rateLimit` does."""
    reads_only: bool = False
    """Whether only a query may run."""
    session_cookie: SessionCookie | None = None
    """Where mutations note what becomes of the browser's cookie, if the request can have one."""
    takes_written: bool = False
    """Whether the answer may hold what PostgreSQL wrote: `encoded` makes bytes of it."""


@dataclass(slots=True)
class Answer:
    """What goes back: the body, and whether the request itself was no good."""

    body: dict[str, Any]
    is_request_error: bool = False
    is_wrong_method: bool = False
    """Whether a mutation was asked for where only a query may run."""
    is_compiled: bool = False
    """Whether a compiled query gave it."""
    is_written: bool = False
    """Whether PostgreSQL wrote it."""
    charge: Charge | None = None
    """The points that were taken, where they are counted."""
    retry_after: int | None = None
    """In how many seconds there are points enough; None where there were."""


@dataclass(slots=True)
class Work:
    """What is to be run, and how."""

    request: Request
    document: DocumentNode
    operation: OperationDefinitionNode
    query: tuple[plan.Program, VariableValues] | None
    """The compiled query, or None where graphql-core is to run it."""
    writing: Writing | None = None
    """How PostgreSQL writes its answer, if it does."""

    @property
    def is_single(self) -> bool:
        """Whether one statement reads all that is asked for."""
        if self.query is None or self.request.token is not None:
            return False
        return self.writing is not None or self.query[0].is_single

    @property
    def columns(self) -> Mapping[Any, frozenset[str]] | None:
        """The columns that a compiled query shows, by table."""
        return self.query[0].columns if self.query is not None else None


def work_of(
    request: Request,
    prepared: document_cache.Prepared,
    operation: OperationDefinitionNode,
    settings: Settings,
) -> Work:
    """Return how an operation of a document that may run is run."""
    assert prepared.document is not None
    is_query = operation.operation is OperationType.QUERY
    query = _query(request, prepared, operation) if is_query and settings.compiled_queries else None
    writing = plan.writing_of(*query) if query is not None and request.takes_written else None
    return Work(request, prepared.document, operation, query, writing)


def _query(
    request: Request, prepared: document_cache.Prepared, operation: OperationDefinitionNode
) -> tuple[plan.Program, VariableValues] | None:
    try:
        variables = plan.variables_of(operation, request.variables or {})
    except plan.GiveUp:
        return None
    program = plan.program_of(prepared, operation, variables)
    return None if program is None else (program, variables)


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return an answer's body as JSON."""
    return orjson.dumps(body, default=_plain)


def _plain(value: Any) -> Any:
    return orjson.Fragment(value.text) if isinstance(value, Written) else str(value)


async def result_of(work: Work, context: Context) -> ExecutionResult:
    """Run it.

    Raises:
        GiveUp: graphql-core is to run the query, from a snapshot of its own.
    """
    if work.query is not None:
        return ExecutionResult(data=await plan.run(*work.query, context), errors=None)
    return await schema().execute(
        work.request.query,
        variable_values=dict(work.request.variables or {}),
        context_value=context,
        operation_name=work.request.operation_name,
    )
