"""What an operator should know of an installation: each finding has a name, a state and a sentence."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import text

from models import now
from services.core import database_urls
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.database import catalogue
from services.database import engine as database_engine
from services.operation import postgres_tools, setting_diagnosis
from services.operation.findings import Finding, State

MIN_SERVER_MAJOR = 15
_VERSION_UNIT = 10_000
_CLOCK_WARNING, _CLOCK_WRONG = timedelta(seconds=2), timedelta(minutes=1)
_BACKUP_AGE, _MAIL_AGE = timedelta(days=2), timedelta(hours=1)
_FACTS = """
    SELECT clock_timestamp() AS clock, pg_is_in_recovery() AS is_standby,
        current_setting('server_version_num')::int AS version, current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        (SELECT max(last_at) FROM public.ledger_account) AS last_posting_at,
        (SELECT max(finished_at) FROM public.backup_run) AS last_backup_at,
        (SELECT count(*) FROM public.outbox WHERE failed_at > now() - interval '1 day') AS failed_mails,
        (SELECT count(*) FROM public.provider_payment
         WHERE dispute_status = 'LOST' AND NOT is_dispute_posted) AS unposted_disputes,
        (SELECT count(*) FROM public.provider_refund r JOIN public."order" o ON o.id = r.order_id
         WHERE r.status = 'CONFIRMED' AND NOT r.is_stray AND o.status = 'PAID'
           AND NOT EXISTS (SELECT FROM public.transaction t WHERE t.id = r.id)
           -- What is less than the smallest unit of a tip's book is posted with the last refund of the order.
           AND NOT EXISTS (SELECT FROM public.transaction t
                           WHERE t.order_id = o.id AND t.kind = 'PLATFORM_TIP' AND t.refund_of_id IS NULL
                             AND r.amount_minor * t.amount < o.tip)) AS unposted_refunds,
        (SELECT count(*) FROM public.provider_refund r WHERE r.is_stray AND r.status = 'FAILED'
         AND NOT EXISTS (SELECT FROM public.provider_refund later
                         WHERE later.order_id = r.order_id AND later.status = 'CONFIRMED')) AS failed_strays,
        (SELECT count(*) FROM public.provider_event
         WHERE processed_at IS NULL AND received_at < now() - interval '1 hour')
        + (SELECT count(*) FROM public.provider_refund
           WHERE status = 'REQUESTED' AND created_at < now() - interval '1 hour') AS provider_work,
        (SELECT min(next_attempt_at) FROM public.outbox WHERE delivered_at IS NULL AND failed_at IS NULL)
            AS oldest_mail_at,
        (SELECT array_agg(DISTINCT a.application_name ORDER BY a.application_name) FROM pg_stat_activity a
         WHERE a.datname = current_database() AND a.application_name LIKE 'commonweal/%') AS versions,
        (SELECT r.started_at FROM public.audit_run r ORDER BY r.id DESC LIMIT 1) AS last_audit_at,
        (SELECT r.violations FROM public.audit_run r ORDER BY r.id DESC LIMIT 1) AS violations
"""


def diagnose(settings: Settings, *, is_embedded: bool) -> list[Finding]:
    """Look at settings, database, roles, clocks, disk, mail, files, and the last backup and audit."""
    findings = list(setting_diagnosis.check_all(settings, is_embedded=is_embedded))
    try:
        facts = _read_facts(settings.database_url)
    except (psycopg.Error, OSError) as error:
        place = database_urls.describe(settings.database_url)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return [*findings, Finding("database", State.WRONG, f"{place} does not answer: {reason}")]
    findings += [
        *_check_server(facts, settings),
        _attempt("connections", lambda: _check_connections(settings)),
        _attempt("guards", lambda: _check_catalogue(settings)),
        _attempt("programs", lambda: _check_programs(facts)),
        *_check_clocks(facts),
        *_check_mails(facts),
        *_check_disputes(facts),
        _check_versions(facts),
        _check_backup(facts),
        _check_audit(facts, settings),
    ]
    return findings


def _read_facts(url: str) -> dict[str, Any]:
    conninfo = database_urls.to_conninfo(url, **database_engine.NETWORK_LIMITS)
    with closing(psycopg.connect(conninfo, row_factory=dict_row)) as connection:
        row = connection.execute(_FACTS).fetchone()
    assert row is not None
    return row


def _attempt(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (ConfigurationError, psycopg.Error) as error:
        return Finding(name, State.WRONG, str(error).strip())


def _check_server(facts: dict[str, Any], settings: Settings) -> Iterator[Finding]:
    major = facts["version"] // _VERSION_UNIT
    place = database_urls.describe(settings.database_url)
    wrong = [f"PostgreSQL {major} is older than {MIN_SERVER_MAJOR}"] if major < MIN_SERVER_MAJOR else []
    if facts["is_standby"]:
        wrong.append("it is a standby, which takes no writes")
    wrong += [
        f"{name} is off: a crash can lose money"
        for name in ("fsync", "full_page_writes")
        if facts[name] == "off"
    ]
    state = State.WRONG if wrong else State.GOOD
    yield Finding("database", state, f"{place}: " + ("; ".join(wrong) or f"PostgreSQL {major}"))


def _check_connections(settings: Settings) -> Finding:
    asyncio.run(_connect(settings))
    mode = "through a pooler" if settings.pooler != "none" else "without a pooler"
    return Finding("connections", State.GOOD, f"role, time zone and time limits are set, {mode}")


async def _connect(settings: Settings) -> None:
    engine = database_engine.create_pool(replace(settings, pool_size=1))
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()


def _check_catalogue(settings: Settings) -> Finding:
    differences = catalogue.find_differences(settings.database_url)
    severe = [each.description for each in differences if not each.is_tolerable]
    if severe:
        more = f" and {len(severe) - 1} more" if severe[1:] else ""
        return Finding("guards", State.WRONG, f"{severe[0]}{more}; `commonweal migrate --check` lists all")
    if differences:
        return Finding(
            "guards", State.GOOD, f"as this version expects them, with {len(differences)} additions"
        )
    return Finding("guards", State.GOOD, "as this version expects them")


def _check_programs(facts: dict[str, Any]) -> Finding:
    tools = postgres_tools.choose_tools(
        postgres_tools.find_all(), server_major=facts["version"] // _VERSION_UNIT
    )
    return Finding("programs", State.GOOD, f"pg_dump and pg_restore {tools.major} in {tools.folder}")


def _check_clocks(facts: dict[str, Any]) -> Iterator[Finding]:
    offset = abs(facts["clock"] - now())
    state = State.GOOD
    if offset > _CLOCK_WARNING:
        state = State.WRONG if offset > _CLOCK_WRONG else State.WARNING
    yield Finding(
        "clock", state, f"the database's differs by {offset.total_seconds():.1f} s from this machine's"
    )
    last = facts["last_posting_at"]
    if last is not None and last > facts["clock"] + _CLOCK_WRONG:
        yield Finding(
            "ledger clock",
            State.WRONG,
            f"the last posting is of {last.isoformat()}, in the future: the database's clock was ahead then,"
            " and balances of now lack it",
        )


def _check_mails(facts: dict[str, Any]) -> Iterator[Finding]:
    if facts["failed_mails"]:
        yield Finding(
            "outbox", State.WARNING, f"{facts['failed_mails']} mails failed for good since yesterday"
        )
    oldest: datetime | None = facts["oldest_mail_at"]
    if oldest is not None and facts["clock"] - oldest > _MAIL_AGE:
        yield Finding(
            "outbox", State.WRONG, f"a mail has been due since {oldest.isoformat()}: does a server run?"
        )


def _check_disputes(facts: dict[str, Any]) -> Iterator[Finding]:
    for name, what in (("disputes", "lost disputes"), ("refunds", "confirmed refunds")):
        if facts[f"unposted_{name}"]:
            yield Finding(
                name,
                State.WRONG,
                f"{facts[f'unposted_{name}']} {what} are not posted: neither the payees nor their hosts have"
                " enough, or a payee has left its host, so the hosts' banks have less than the ledger says",
            )
    if facts["failed_strays"]:
        yield Finding(
            "refunds",
            State.WRONG,
            f"{facts['failed_strays']} payments of orders that had ended could not be given back: their hosts"
            " have the money, and have to refund it at their provider",
        )
    if facts["provider_work"]:
        yield Finding(
            "providers",
            State.WARNING,
            f"{facts['provider_work']} events and refunds of payment providers wait for more than an hour:"
            " look at the failed jobs, and whether the worker's settings offer these providers",
        )


def _check_versions(facts: dict[str, Any]) -> Finding:
    """Compare the versions of the servers and workers that are connected now, and of this program."""
    own = f"{database_engine.APPLICATION}/{version(database_engine.APPLICATION)}"
    found = {own, *(facts["versions"] or ())}
    if len(found) > 1:
        return Finding(
            "versions", State.WARNING, f"{', '.join(sorted(found))} use the database: end the upgrade"
        )
    return Finding("versions", State.GOOD, f"all that use the database are {own}")


def _check_backup(facts: dict[str, Any]) -> Finding:
    last: datetime | None = facts["last_backup_at"]
    if last is None:
        return Finding("backup", State.WARNING, "`commonweal backup` was never run on this database")
    state = State.WARNING if facts["clock"] - last > _BACKUP_AGE else State.GOOD
    return Finding("backup", state, f"the last one is of {last.isoformat()}")


def _check_audit(facts: dict[str, Any], settings: Settings) -> Finding:
    last: datetime | None = facts["last_audit_at"]
    if last is None:
        return Finding("audit", State.WARNING, "the ledger was never audited: run `commonweal audit`")
    if facts["violations"]:
        return Finding(
            "audit", State.WRONG, f"{facts['violations']} violations; `commonweal audit` names them"
        )
    interval = timedelta(minutes=settings.audit_interval_minutes) or timedelta(days=1)
    state = State.WARNING if facts["clock"] - last > 3 * interval else State.GOOD
    return Finding("audit", state, f"no violation on {last.isoformat()}")
