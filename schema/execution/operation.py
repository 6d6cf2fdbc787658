"""A GraphQL operation: its request, its prepared form and its result, and the executor that runs it."""

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
from schema.execution import bound_reads
from schema.plan import compiled_mutation, payload_plan
from schema.plan.compiled_mutation import CompiledMutation
from services.access.rate_limits import Charge
from services.core.settings import Settings
from services.sql_json.rows import JsonRead, JsonText


@dataclass(slots=True, kw_only=True)
class OperationRequest:
    """A GraphQL request, whatever protocol it arrived by."""

    query: str
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    token: str | None = None
    address: str = ""
    device: str = ""
    """What the browser or program calls itself."""
    language: str = ""
    """What the request accepts, in the words of its header Accept-Language."""
    reports_cost: bool = False
    """True if the result carries `extensions.cost`; a query of `rateLimit` always gets it."""
    is_read_only: bool = False
    """True if only a query may run."""
    session_cookie: SessionCookie | None = None
    """Where mutations record changes to the browser's cookie, if the request can carry one."""
    caller: Any = None
    """The trace that streamed answers belong to; None while no spans are made."""
    accepts_json_rows: bool = False
    """True if the result may hold JSON written by PostgreSQL, which only `encode_json` can encode."""


@dataclass(slots=True)
class OperationResult:
    """The response body of an operation, and what its transport needs to know."""

    body: dict[str, Any]
    is_request_error: bool = False
    """True if the request itself was invalid, so that nothing ran."""
    is_wrong_method: bool = False
    """True if a mutation or subscription arrived where only a query may run."""
    is_compiled: bool = False
    """True if a compiled query produced it."""
    is_sql_json: bool = False
    """True if PostgreSQL wrote the JSON."""
    charge: Charge | None = None
    """The points charged, where they are counted."""
    retry_after_seconds: int | None = None
    """Seconds until the bucket holds enough points, or there is room; None if it was not turned away."""


@dataclass(slots=True)
class PreparedOperation:
    """An operation that may run, with its document and the executor chosen for it."""

    request: OperationRequest
    document: DocumentNode
    operation: OperationDefinitionNode
    compiled: tuple[plan.CompiledQuery, VariableValues] | None
    """The compiled query and its variables, or None if graphql-core runs the operation."""
    json_read: JsonRead | None = None
    """The statement by which PostgreSQL writes the JSON, if it does."""
    mutation: CompiledMutation | None = None
    """The compiled mutation, or None if graphql-core runs the operation."""

    @property
    def is_payload_at_hand(self) -> bool:
        """True if a mutation's selection needs nothing from the database but what the mutation returns."""
        if self.mutation is not None:
            return not self.mutation.reads.fields
        is_mutation = self.operation.operation is OperationType.MUTATION
        return is_mutation and payload_plan.is_at_hand(self.operation)

    @property
    def is_single(self) -> bool:
        """True if one statement reads everything but the viewer."""
        return self.json_read is not None or (self._program is not None and self._program.is_single)

    @property
    def columns(self) -> Mapping[Any, frozenset[str]] | None:
        """The columns that a compiled query reads, by table."""
        return self._program.columns if self._program is not None else None

    @property
    def _program(self) -> plan.Program | None:
        """The Python functions that answer it, unless PostgreSQL does."""
        return self.compiled[0].program if self.compiled is not None and self.json_read is None else None


def prepare_operation(
    request: OperationRequest,
    cached: document_cache.CachedDocument,
    operation: OperationDefinitionNode,
    settings: Settings,
) -> PreparedOperation:
    """Choose the executor for an operation of a valid document."""
    assert cached.document is not None
    if operation.operation is OperationType.MUTATION and settings.compiled_queries:
        mutation = compiled_mutation.find_mutation(cached, operation)
        return PreparedOperation(request, cached.document, operation, None, mutation=mutation)
    is_query = operation.operation is OperationType.QUERY
    if not (is_query and settings.compiled_queries):
        return PreparedOperation(request, cached.document, operation, None)
    if not request.accepts_json_rows:
        compiled = _compile_query(request, cached, operation)
        return PreparedOperation(request, cached.document, operation, compiled)
    known = bound_reads.find_read(cached, request.operation_name, request.variables)
    if known is not None:
        return PreparedOperation(request, cached.document, operation, *known)
    compiled = _compile_query(request, cached, operation)
    json_read = None
    if compiled is not None:
        json_read = plan.prepare_json_read(*compiled, is_new=not cached.was_seen)
    if compiled is not None and json_read is not None:
        bound_reads.keep_read(cached, request.operation_name, request.variables, (compiled, json_read))
    return PreparedOperation(request, cached.document, operation, compiled, json_read)


def _compile_query(
    request: OperationRequest, cached: document_cache.CachedDocument, operation: OperationDefinitionNode
) -> tuple[plan.CompiledQuery, VariableValues] | None:
    try:
        variables = plan.coerce_variables(operation, request.variables or {})
    except plan.FallBack:
        return None
    query = plan.compile_query(cached, operation, variables)
    return None if query is None else (query, variables)


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Encode a response body as JSON."""
    return orjson.dumps(body, default=_encode_value)


def _encode_value(value: Any) -> Any:
    return orjson.Fragment(value.text) if isinstance(value, JsonText) else str(value)


async def execute_operation(prepared: PreparedOperation, context: Context) -> ExecutionResult:
    """Execute an operation as it was compiled, else on graphql-core.

    Raises:
        FallBack: graphql-core must run it, a query from a new snapshot, a mutation that stored nothing.
    """
    if prepared.json_read is not None:
        return ExecutionResult(data=await plan.run_json(prepared.json_read, context), errors=None)
    if prepared.compiled is not None:
        return ExecutionResult(data=await plan.run(*prepared.compiled, context), errors=None)
    if prepared.mutation is not None:
        bound = compiled_mutation.bind(prepared.mutation, prepared.request.variables or {})
        if bound is not None:
            return await compiled_mutation.run_mutation(
                bound, context, accepts_json_rows=prepared.request.accepts_json_rows
            )
    return await schema().execute(
        prepared.request.query,
        variable_values=dict(prepared.request.variables or {}),
        context_value=context,
        operation_name=prepared.request.operation_name,
    )
