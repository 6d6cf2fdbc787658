"""The switch of tracing: spans of operations, statements and jobs, sent to an OpenTelemetry collector.

It is on if the standard variables name a collector and the extra `otel` is installed. While it is off,
`switch.spans` is None, and looking at that is all it costs.
"""

import importlib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.core.spans import Spans

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(slots=True)
class Switch:
    """What makes the spans of this process, if they are made."""

    spans: "Spans | None" = None


switch = Switch()
log = logging.getLogger("commonweal.tracing")


def start(environ: Mapping[str, str], *, kind: str) -> None:
    """Begin to send spans if the environment names a collector; say in the log why not if that fails.

    `kind` is what this process is, "server" or "worker".
    """
    endpoint = next((name for name in ENDPOINT_VARIABLES if environ.get(name)), None)
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if endpoint is None or is_disabled or environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return
    try:
        sending = importlib.import_module("services.core.span_sending")
        use(sending.make_provider(environ, kind=kind))
    except ImportError:
        log.warning("%s is set, but no spans are sent: install commonweal with its extra `otel`", endpoint)
    except ValueError as error:
        log.warning("no spans are sent: a variable OTEL_… has a wrong value: %s", error)


def use(provider: Any) -> None:
    """Make spans with this provider of OpenTelemetry's from now on; with None, make none."""
    module = None if provider is None else importlib.import_module("services.core.spans")
    switch.spans = None if module is None else module.Spans(provider)


def stop() -> None:
    """Send the spans that wait, for a few seconds at most, and make no more."""
    ending = switch.spans
    use(None)
    if ending is not None:
        ending.stop()


def fail_statement(cursor: object) -> None:
    """End the span of a statement that failed, if there is one."""
    if switch.spans is not None:
        switch.spans.end_statement(cursor, is_failed=True)


def note_code(code: str) -> None:
    """Note a problem's code in the operation's span, if there is one."""
    if switch.spans is not None:
        switch.spans.note_codes([code])


def forget_codes() -> None:
    """Forget the codes of an attempt that is thrown away, if there is a span."""
    if switch.spans is not None:
        switch.spans.forget_codes()


def job(name: str, *, job_id: int | None, attempt: int) -> AbstractContextManager[None]:
    """Run a job within a span of its own, if spans are made."""
    if switch.spans is None:
        return nullcontext()
    return switch.spans.job(name, job_id=job_id, attempt=attempt)
