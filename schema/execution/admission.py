"""Whether a request may run: its document, its operation, its texts, and the points that it takes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, OperationType, get_operation_ast

from schema.documents import document_cache
from schema.documents.document_cache import Prepared
from schema.documents.text_check import bad_text
from schema.execution.cost_meter import Meter
from schema.execution.operation import Answer, Request
from schema.observability import sql_trace
from schema.types.errors import formatted, shown
from services.access.rate_limits import Refused
from services.core.errors import Problem

Admitted = tuple[Prepared, OperationDefinitionNode]


async def admitted(request: Request, meter: Meter, *, is_streamed: bool = False) -> Admitted | Answer:
    """Return the document and its operation once the points are reserved, or why it does not run.

    Subscriptions run where their answers are streamed.
    """
    paused = sql_trace.pause()
    try:
        found = await _admitted(request, meter, is_streamed=is_streamed)
    except Refused as refused:
        return Answer(
            {"errors": [shown(refused)]},
            is_request_error=True,
            charge=meter.charge,
            retry_after=refused.retry_after,
        )
    except Problem as problem:
        return Answer({"errors": [shown(problem)]}, is_request_error=True, charge=meter.charge)
    finally:
        sql_trace.resume(paused)
    return replace(found, charge=meter.charge) if isinstance(found, Answer) else found


async def _admitted(request: Request, meter: Meter, *, is_streamed: bool) -> Admitted | Answer:
    await meter.check_before_reading()
    prepared = document_cache.prepare(request.query, hide_suggestions=meter.settings.hides_suggestions)
    if prepared.document is None:
        await meter.refuse()
        return Answer({"errors": list(prepared.errors)}, is_request_error=True)
    operation = get_operation_ast(prepared.document, request.operation_name)
    refusal = _refusal(request, prepared, operation, is_streamed=is_streamed)
    if refusal is not None or operation is None:
        await meter.refuse(points=1)
        return refusal or Answer({}, is_request_error=True)
    await meter.reserve(prepared, operation, request.variables)
    return prepared, operation


async def is_subscription(request: Request, meter: Meter) -> bool:
    """Tell whether the operation chosen is one. Nothing is read for those who have no points left."""
    try:
        await meter.check_before_reading()
    except Problem:
        return False
    prepared = document_cache.prepare(request.query, hide_suggestions=meter.settings.hides_suggestions)
    if prepared.document is None:
        return False
    operation = get_operation_ast(prepared.document, request.operation_name)
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION


def _refusal(
    request: Request, prepared: Prepared, operation: OperationDefinitionNode | None, *, is_streamed: bool
) -> Answer | None:
    """Return what is wrong with a request whose document may run."""
    if (bad := _bad_variable(request.variables or {}, prepared.places)) is not None:
        return Answer({"errors": [bad]}, is_request_error=True)
    if operation is None:
        return _refused("Name one of the document's operations")
    kind = operation.operation
    if kind is OperationType.SUBSCRIPTION and not is_streamed:
        told = "Subscriptions are answered as text/event-stream or over a websocket"
        return _refused(told, is_wrong_method=request.reads_only)
    if request.reads_only and kind is not OperationType.QUERY:
        return _refused("Only queries are answered here: send a mutation as a POST", is_wrong_method=True)
    return None


def _refused(told: str, *, is_wrong_method: bool = False) -> Answer:
    body = {"errors": [formatted(GraphQLError(told))]}
    return Answer(body, is_request_error=True, is_wrong_method=is_wrong_method)


def _bad_variable(
    variables: Mapping[str, Any], places: Mapping[str, tuple[str, ...]]
) -> dict[str, Any] | None:
    """Return what is wrong with a variable's text, named by the argument that it is for."""
    try:
        for name, value in variables.items():
            if problem := bad_text(value, places.get(name, (name,))) or bad_text(name, ("variables",)):
                return shown(problem)
    except RecursionError:
        return formatted(GraphQLError("Nested too deeply"))
    return None
