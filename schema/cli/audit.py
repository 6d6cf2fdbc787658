"""The command `audit`."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson

from services.core.settings import Settings
from services.database import engine as database_engine
from services.ledger.audit import AuditIsRunning, LedgerAudit, audit_ledger

CLEAN, VIOLATED, ALREADY_RUNNING = 0, 1, 3
"""Exit codes; 2 is a wrong command line."""


def audit(settings: Settings, *, full: bool, as_json: bool) -> int:
    """Audit the ledger and print the result; return 1 if a promise is violated, 3 if an audit is running."""
    with database_engine.provide_database(settings) as located:
        try:
            result = asyncio.run(_run(located, full=full))
        except AuditIsRunning as problem:
            print(_to_json({"error": problem.message}) if as_json else f"commonweal: {problem}")
            return ALREADY_RUNNING
    print(_to_json(to_dict(result)) if as_json else _to_text(result))
    return CLEAN if result.is_clean else VIOLATED


async def _run(settings: Settings, *, full: bool) -> LedgerAudit:
    engine = database_engine.create_pool(replace(settings, pool_size=2))
    try:
        return await audit_ledger(database_engine.session_factory(engine), full=full)
    finally:
        await engine.dispose()


def _to_text(result: LedgerAudit) -> str:
    lines = [f"{check.violations:>8}  {check.name}" for check in result.checks]
    scope = "everything" if result.is_full else "what was added since the last audit"
    return "\n".join(
        [*lines, f"{result.transactions} transactions, {result.postings} postings read: {scope}"]
    )


def to_dict(result: LedgerAudit) -> dict[str, Any]:
    """Return a result as it is printed as JSON."""
    return {
        "isClean": result.is_clean,
        "isFull": result.is_full,
        "violations": result.violations,
        "transactions": result.transactions,
        "postings": result.postings,
        "at": result.at,
        "lastFullAt": result.last_full_at,
        "checks": [
            {"name": check.name, "description": check.description, "violations": check.violations}
            for check in result.checks
        ],
    }


def _to_json(value: dict[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode()
