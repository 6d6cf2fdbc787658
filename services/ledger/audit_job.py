"""The audits that a job runs, at an interval."""

import logging
from dataclasses import replace
from datetime import timedelta

from models import now
from services.core.settings import Settings
from services.database.engine import create_pool, session_factory
from services.ledger.audit import AuditIsRunning, LedgerAudit, audit_ledger, load_last_audit

log = logging.getLogger("commonweal.audit")


async def run_if_due(settings: Settings) -> LedgerAudit | None:
    """Audit what was added, unless audits are off or another run is recent or under way; return the result.

    Opens connections of its own, so that a long run takes none from the requests.
    """
    if settings.audit_interval_minutes == 0:
        return None
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
