"""Queries that one statement answers, straight from the lane of reads: no transaction, session or context."""

from sqlalchemy.ext.asyncio import AsyncEngine

from models.enums import Scope
from resolvers.context import anonymous_viewer
from schema.execution.operation import OperationResult, PreparedOperation
from schema.observability import sql_trace
from services.access import permissions, viewer_cache
from services.access.actor import Actor
from services.core import tracing
from services.core.errors import Forbidden
from services.core.settings import Settings
from services.database.read_batches import ReadNotDone
from services.sql_json.rows import read_json_together


async def read(
    prepared: PreparedOperation, *, ends_at: float, engine: AsyncEngine, settings: Settings
) -> OperationResult | None:
    """Answer a query by its one statement, until a time of the loop.

    Returns None if the unit of work has to answer it: another statement is needed, or there is an error to
    tell.

    Raises:
        TimeoutError: the time is over.
    """
    if prepared.json_read is None or (viewer := _find_viewer(prepared, settings)) is None:
        return None
    token = prepared.request.token
    sql_trace.authorize(viewer)
    try:
        data = await read_json_together(
            engine, viewer, read=prepared.json_read, checks_viewer=token is not None, ends_at=ends_at
        )
    except ReadNotDone:
        tracing.forget_codes()
        return None
    except viewer_cache.StaleViewer:
        viewer_cache.forget(token or "")
        return None
    return OperationResult({"data": data}, is_sql_json=True)


def _find_viewer(prepared: PreparedOperation, settings: Settings) -> Actor | None:
    """Find who asks, without reading; None if that must be read, or the viewer may not read anything."""
    if prepared.request.token is None:
        return anonymous_viewer(settings)
    viewer = viewer_cache.find_viewer(prepared.request.token)
    if viewer is not None:
        try:
            permissions.require_scope(viewer, Scope.READ)
        except Forbidden:
            return None
    return viewer
