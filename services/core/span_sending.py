"""Where spans go: to a collector, by OTLP over HTTP, as the standard OTEL_* variables say."""

import logging
from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

PROTOCOL = "http/protobuf"
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
log = logging.getLogger("commonweal.tracing")


def make_provider(environ: Mapping[str, str], *, kind: str) -> TracerProvider:
    """Return a provider that sends spans in the background; the library reads the variables itself.

    Raises:
        ValueError: of the library: a variable's value is wrong.
    """
    asked = next((environ[name] for name in PROTOCOL_VARIABLES if environ.get(name)), PROTOCOL)
    if asked != PROTOCOL:
        log.warning("spans are sent as %s, not as %s: use the collector's port for HTTP", PROTOCOL, asked)
    # Variables win over these: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "commonweal"}
    resource = Resource.create({"service.version": version("commonweal"), "commonweal.process": kind} | named)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
