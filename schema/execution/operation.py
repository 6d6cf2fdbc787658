"""A GraphQL operation: its request, its prepared form and its result, and the executor that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import DocumentNode, OperationDefinitionNode, OperationType
from strawberry.types import ExecutionResult

from resolvers.context import Context
from resolvers.session_cookie import SessionCookie
from schema import plan
from schema.build import schema
from schema.documents import document_cache
from schema.execution import bound_reads
from schema.plan import mutation_plan, payload_plan
from schema.plan.mutation_plan import MutationPlan
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


@dataclass(slots=True)
class OperationResult:
    """The response body of an operation, and what its transport needs to know."""

    body: dict[str, Any]
    """Holds JSON as PostgreSQL wrote it, which `encode_json` encodes."""
    is_request_error: bool = False
    """True if the request itself was invalid, so that nothing ran."""
    is_wrong_method: bool = False
    """True if a mutation or subscription arrived where only a query may run."""
    is_sql_json: bool = False
    """True if PostgreSQL wrote the JSON."""
    charge: Charge | None = None
    """The points charged, where they are counted."""
    retry_after_seconds: int | None = None
    """Seconds until the bucket holds enough points, or there is room; None if it was not turned away."""

    def plain_body(self) -> dict[str, Any]:
        """Return the body without JSON that PostgreSQL wrote, for a caller in this process."""
        body: dict[str, Any] = _to_plain(self.body)
        return body


def _to_plain(value: Any) -> Any:
    if isinstance(value, JsonText):
        return orjson.loads(value.text)
    return {key: _to_plain(each) for key, each in value.items()} if isinstance(value, dict) else value


@dataclass(slots=True)
class PreparedOperation:
    """An operation that may run, with its document and how it runs."""

    request: OperationRequest
    document: DocumentNode
    operation: OperationDefinitionNode
    json_read: JsonRead | None = None
    """The statement by which PostgreSQL answers a query; None if graphql-core runs it."""
    mutation: MutationPlan | None = None
    """The plan of a mutation; None if graphql-core runs it."""

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
        return self.json_read is not None


def prepare_operation(
    request: OperationRequest,
    cached: document_cache.CachedDocument,
    operation: OperationDefinitionNode,
    settings: Settings,
) -> PreparedOperation:
    """Choose how an operation of a valid document runs."""
    assert cached.document is not None
    prepared = PreparedOperation(request, cached.document, operation)
    if settings.compiled_queries and operation.operation is OperationType.MUTATION:
        prepared.mutation = mutation_plan.find_plan(cached, operation)
    elif settings.compiled_queries and operation.operation is OperationType.QUERY:
        prepared.json_read = _find_read(request, cached, operation)
    return prepared


def _find_read(
    request: OperationRequest, cached: document_cache.CachedDocument, operation: OperationDefinitionNode
) -> JsonRead | None:
    known = bound_reads.find_read(cached, request.operation_name, request.variables)
    if known is not None:
        return known
    try:
        variables = plan.coerce_variables(operation, request.variables or {})
    except plan.FallBack:
        return None
    planned = plan.plan_query(cached, operation, variables)
    if isinstance(planned, str):
        return None
    read = plan.prepare_json_read(planned, variables, is_new=not cached.was_seen)
    if read is not None:
        bound_reads.keep_read(cached, request.operation_name, request.variables, read)
    return read


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Encode a response body as JSON."""
    return orjson.dumps(body, default=_encode_value)


def _encode_value(value: Any) -> Any:
    return orjson.Fragment(value.text) if isinstance(value, JsonText) else str(value)


async def execute_operation(prepared: PreparedOperation, context: Context) -> ExecutionResult:
    """Execute an operation as it was planned, else on graphql-core.

    Raises:
        FallBack: graphql-core must run it, a query from a new snapshot, a mutation that stored nothing.
    """
    if prepared.json_read is not None:
        return ExecutionResult(data=await plan.run_json(prepared.json_read, context), errors=None)
    if prepared.mutation is not None:
        bound = mutation_plan.bind(prepared.mutation, prepared.request.variables or {})
        if bound is not None:
            return await mutation_plan.run_mutation(bound, context)
    return await schema().execute(
        prepared.request.query,
        variable_values=dict(prepared.request.variables or {}),
        context_value=context,
        operation_name=prepared.request.operation_name,
    )
