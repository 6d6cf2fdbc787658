"""Spans of GraphQL operations: name, type, hash of the document and error codes; nothing of their values."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from graphql import DocumentNode, OperationDefinitionNode, get_operation_ast

from services.core import tracing

TRACE_HEADER = b"x-trace-id"


def caller_of(headers: Mapping[str, str]) -> Any:
    """Return the trace that a request belongs to, or None while no spans are made."""
    return None if tracing.switch.spans is None else tracing.switch.spans.caller(headers)


def current() -> Any:
    """Return the trace that this task works in, or None while no spans are made."""
    return None if tracing.switch.spans is None else tracing.switch.spans.current()


def within(caller: Any) -> AbstractContextManager[None]:
    """Run an operation, or an answer of a subscription, within a span."""
    return nullcontext() if tracing.switch.spans is None else tracing.switch.spans.operation(caller)


def label(sha256: str, operation: OperationDefinitionNode | None) -> None:
    """Name the span after its operation."""
    if tracing.switch.spans is None:
        return
    attributes = {"graphql.document.hash": sha256}
    if operation is None:
        tracing.switch.spans.label(name="graphql", attributes=attributes)
        return
    kind, name = operation.operation.value, operation.name.value if operation.name else ""
    attributes["graphql.operation.type"] = kind
    if name:
        attributes["graphql.operation.name"] = name
    tracing.switch.spans.label(name=f"{kind} {name}".rstrip(), attributes=attributes)


def label_streamed(text: str, document: DocumentNode, operation_name: str | None) -> None:
    """Name the span after an operation that streams."""
    if tracing.switch.spans is not None:
        sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        label(sha256, get_operation_ast(document, operation_name))


def note_errors(body: Mapping[str, Any]) -> None:
    """Note the codes of a response's errors in the span."""
    if tracing.switch.spans is not None and (errors := body.get("errors")):
        tracing.switch.spans.note_codes(str(e.get("extensions", {}).get("code", "GRAPHQL")) for e in errors)


def headers() -> list[tuple[bytes, bytes]]:
    """Return the header with the id of the trace, if there is one."""
    ids = None if tracing.switch.spans is None else tracing.switch.spans.ids()
    return [] if ids is None else [(TRACE_HEADER, ids[0].encode())]


def with_trace_id(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a streamed answer, which has no headers, with `extensions.traceId`."""
    ids = None if tracing.switch.spans is None else tracing.switch.spans.ids()
    return body if ids is None else body | {"extensions": body.get("extensions", {}) | {"traceId": ids[0]}}
