"""Admission of requests: check the document, the operation and its input, and reserve its points."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, OperationType, get_operation_ast

from schema.documents import document_cache
from schema.documents.document_cache import CachedDocument
from schema.documents.text_check import find_unstorable
from schema.execution import input_lists
from schema.execution.cost_meter import Meter
from schema.execution.operation import (
    OperationRequest,
    OperationResult,
    PreparedOperation,
    prepare_operation,
)
from schema.observability import operation_spans, sql_trace
from schema.types.errors import format_error, to_response_error
from services.access.rate_limits import InsufficientPoints
from services.core.errors import CostLimitExceeded, Problem


async def admit(
    request: OperationRequest, meter: Meter, *, is_streamed: bool = False
) -> PreparedOperation | OperationResult:
    """Reserve a request's points and prepare its operation, or return the result that refuses it.

    Subscriptions are admitted only where results are streamed.
    """
    paused = sql_trace.pause()
    try:
        admitted = await _admit(request, meter, is_streamed=is_streamed)
    except InsufficientPoints as refused:
        return OperationResult(
            {"errors": [to_response_error(refused)]},
            is_request_error=True,
            charge=meter.charge,
            retry_after_seconds=refused.retry_after_seconds,
        )
    except Problem as problem:
        return OperationResult(
            {"errors": [to_response_error(problem)]}, is_request_error=True, charge=meter.charge
        )
    finally:
        sql_trace.resume(paused)
    return replace(admitted, charge=meter.charge) if isinstance(admitted, OperationResult) else admitted


async def _admit(
    request: OperationRequest, meter: Meter, *, is_streamed: bool
) -> PreparedOperation | OperationResult:
    await meter.check_before_reading()
    cached = document_cache.prepare(request.query, hide_suggestions=meter.settings.are_suggestions_hidden)
    if cached.document is None:
        operation_spans.label(cached.sha256, None)
        await meter.charge_refusal()
        return OperationResult({"errors": list(cached.errors)}, is_request_error=True)
    operation = get_operation_ast(cached.document, request.operation_name)
    operation_spans.label(cached.sha256, operation)
    try:
        items = _count_input_items(request, cached, operation)
    except Problem:
        await meter.charge_refusal(points=1)
        raise
    refusal = _check_operation(request, cached, operation, is_streamed=is_streamed)
    if refusal is not None or operation is None:
        await meter.charge_refusal(points=1)
        return refusal or OperationResult({}, is_request_error=True)
    await meter.reserve(cached, operation, request.variables, input_items=items)
    if is_streamed and meter.requested > meter.settings.live_max_cost:
        raise CostLimitExceeded(
            f"Each answer may cost {meter.requested} points, and one of a subscription at most "
            f"{meter.settings.live_max_cost}: ask for shorter lists"
        )
    return prepare_operation(request, cached, operation, meter.settings)


async def is_subscription(request: OperationRequest, meter: Meter) -> bool:
    """Return True if the selected operation is a subscription; reads nothing once the points are spent."""
    try:
        await meter.check_before_reading()
    except Problem:
        return False
    cached = document_cache.prepare(request.query, hide_suggestions=meter.settings.are_suggestions_hidden)
    if cached.document is None:
        return False
    operation = get_operation_ast(cached.document, request.operation_name)
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION


def _count_input_items(
    request: OperationRequest, cached: CachedDocument, operation: OperationDefinitionNode | None
) -> int:
    """Count the values in the lists of the input.

    Raises:
        Invalid: a list is too long.
    """
    if operation is None or not operation.variable_definitions:
        return 0
    return input_lists.count_items(operation, request.variables or {}, cached.variable_paths)


def _check_operation(
    request: OperationRequest,
    cached: CachedDocument,
    operation: OperationDefinitionNode | None,
    *,
    is_streamed: bool,
) -> OperationResult | None:
    """Return the result that refuses a request of a valid document, or None if it may run."""
    if (error := _find_unstorable_variable(request.variables or {}, cached.variable_paths)) is not None:
        return OperationResult({"errors": [error]}, is_request_error=True)
    if operation is None:
        return _request_error("Name one of the document's operations")
    operation_type = operation.operation
    if operation_type is OperationType.SUBSCRIPTION and not is_streamed:
        message = "Request subscriptions as text/event-stream or over a websocket"
        return _request_error(message, is_wrong_method=request.is_read_only)
    if request.is_read_only and operation_type is not OperationType.QUERY:
        return _request_error("A GET may only run queries: send mutations as a POST", is_wrong_method=True)
    return None


def _request_error(message: str, *, is_wrong_method: bool = False) -> OperationResult:
    body = {"errors": [format_error(GraphQLError(message))]}
    return OperationResult(body, is_request_error=True, is_wrong_method=is_wrong_method)


def _find_unstorable_variable(
    variables: Mapping[str, Any], variable_paths: Mapping[str, tuple[str, ...]]
) -> dict[str, Any] | None:
    """Return the error for text that cannot be stored, under the argument that its variable fills."""
    try:
        for name, value in variables.items():
            problem = find_unstorable(value, variable_paths.get(name, (name,)))
            if problem := problem or find_unstorable(name, ("variables",)):
                return to_response_error(problem)
    except RecursionError:
        return format_error(GraphQLError("Nested too deeply"))
    return None
