"""The server's own audits, at an interval."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from models import now
from services.core.settings import Settings
from services.database.engine import create_pool, session_factory
from services.ledger.audit import AuditIsRunning, LedgerAudit, audit_ledger, load_last_audit

LOOK_SECONDS = 60
"""How often a process looks whether an audit is due; another process may have run it."""

log = logging.getLogger("commonweal.audit")


async def run(settings: Settings, *, stop: asyncio.Event) -> None:
    """Audit what was added to the ledger whenever the last run is older than the interval, until `stop`."""
    if settings.audit_interval_minutes == 0:
        return
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            return
        try:
            await run_if_due(settings)
        except (SQLAlchemyError, OSError) as error:
            log.warning("the audit of the ledger failed: %s", type(error).__name__)


async def run_if_due(settings: Settings) -> LedgerAudit | None:
    """Audit what was added, unless another run is recent or under way; return the result.

    Opens connections of its own, so that a long run takes none from the requests.
    """
    engine = create_pool(replace(settings, pool_size=2))
    try:
        sessions = session_factory(engine)
        async with sessions() as session:
            last = await load_last_audit(session)
        if last is not None and now() - last.at < timedelta(minutes=settings.audit_interval_minutes):
            return None
        result = await audit_ledger(sessions)
    except AuditIsRunning:
        return None
    finally:
        await engine.dispose()
    if not result.is_clean:
        violated = {check.name: check.violations for check in result.checks if check.violations}
        log.error("the audit of the ledger found violations: %s", violated)
    return result
