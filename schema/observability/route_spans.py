"""Spans of HTTP routes other than GraphQL, named by the route's pattern: a path holds values."""

from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from schema.observability import operation_spans
from services.core import tracing


class TracedRoute(Route):
    """A route whose requests have spans while spans are made, and whose answers have the trace's id."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request within its span. One of another method is refused elsewhere, and has none."""
        spans, method = tracing.switch.spans, scope["method"]
        if spans is None or method not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return

        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                spans.note_status(message["status"])
                message["headers"] = [*message.get("headers", ()), *operation_spans.headers()]
            await send(message)

        with spans.route(spans.caller(Headers(scope=scope)), method=method, pattern=self.path):
            await super().handle(scope, receive, send_traced)
