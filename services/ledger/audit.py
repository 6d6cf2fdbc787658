"""The audit: checks of all the ledger's promises against the data, of everything or of what was added."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    BigInteger,
    Integer,
    RowMapping,
    Select,
    Text,
    cast,
    column,
    func,
    insert,
    literal_column,
    select,
    text,
    true,
    values,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import AuditRun, Collective, now
from services.access.actor import Actor
from services.core.errors import Conflict
from services.core.pagination import Sort
from services.core.sql_files import read_clauses
from services.ledger.audit_checks import CHECKS

_STATEMENTS = read_clauses(Path(__file__).parent / "sql" / "audit.sql")
_LOCK = 7269
"""Key of the advisory lock that lets one audit run at a time."""
_OVERLAP = timedelta(minutes=10)
"""Ids made earlier than this before a run are those of transactions that are found by their postings."""
_NO_ID = uuid.UUID(int=0)
_SET_LIMITS = text("""
    SELECT set_config(name, CASE name WHEN 'enable_presorted_aggregate' THEN 'off' ELSE '0' END, true)
    FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
                   'max_parallel_workers_per_gather',
                   -- Off sorts what is counted instead of all that is read; PostgreSQL 15 lacks it.
                   'enable_presorted_aggregate')
""")


class AuditIsRunning(Conflict):
    """Another audit of this ledger is running; wait for its result."""


@dataclass(frozen=True)
class AuditCheck:
    """One promise and the number of its violations."""

    name: str
    description: str
    violations: int


@dataclass(frozen=True, kw_only=True)
class LedgerAudit:
    """The result of a complete run; `transactions` and `postings` are those that it read."""

    checks: list[AuditCheck]
    violations: int
    """The number of violations of all checks."""
    transactions: int
    postings: int
    at: datetime
    is_full: bool
    last_full_at: datetime | None

    @classmethod
    def from_row(cls, row: AuditRun) -> Self:
        """Build the result of a stored run."""
        return cls(
            checks=_to_checks(row.counts),
            violations=row.violations,
            transactions=row.transactions,
            postings=row.postings,
            at=row.started_at,
            is_full=row.is_full,
            last_full_at=row.last_full_at,
        )

    @property
    def is_clean(self) -> bool:
        """True if no check found a violation."""
        return self.violations == 0

    @property
    def age_seconds(self) -> int:
        """The seconds since the snapshot that was read."""
        return max(0, int((now() - self.at).total_seconds()))


def _to_checks(counts: dict[str, int]) -> list[AuditCheck]:
    return [AuditCheck(name, CHECKS[name], counts[name]) for name in CHECKS if name in counts]


def select_last_run(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Any]]:
    """Select the last complete run, as `LedgerAudit` has it; none if there is none yet."""
    del actor, where, owner  # everybody sees the counts
    age = func.extract("EPOCH", func.now() - col(AuditRun.started_at))
    columns: tuple[Any, ...] = (
        col(AuditRun.id),
        col(AuditRun.transactions),
        col(AuditRun.postings),
        col(AuditRun.violations),
        (col(AuditRun.violations) == 0).label("is_clean"),
        col(AuditRun.started_at).label("at"),
        cast(func.greatest(func.trunc(age), 0), BigInteger).label("age_seconds"),
        col(AuditRun.is_full),
        col(AuditRun.last_full_at),
    )
    return (select(*columns).order_by(col(AuditRun.id).desc()).limit(literal_column("1")),)


_CHECK: Any = values(
    column("place", Integer), column("name", Text), column("description", Text), name="checks"
).data([(place, *check) for place, check in enumerate(CHECKS.items())])
CHECKS_IN_ORDER = Sort("CHECKS_IN_ORDER", _CHECK.c.place, _CHECK.c.place, descending=False)


def select_checks(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select the results of the run with the id `owner`."""
    del actor, where  # everybody sees the same
    found = col(AuditRun.counts)[_CHECK.c.name].astext
    results = (
        select(_CHECK.c.name, _CHECK.c.description, cast(found, BigInteger).label("violations"))
        .join_from(AuditRun, _CHECK, true())
        .where(col(AuditRun.id) == owner, found.is_not(None))
    )
    return (results,)


async def load_last_audit(session: AsyncSession) -> LedgerAudit | None:
    """Read the last complete run, or None if there is none yet; one row.

    Needs no permission: it reveals counts only.
    """
    row = await _load_last_run(session)
    return None if row is None else LedgerAudit.from_row(row)


async def _load_last_run(session: AsyncSession) -> AuditRun | None:
    statement = select(AuditRun).order_by(col(AuditRun.id).desc()).limit(1)
    return (await session.execute(statement)).scalar_one_or_none()


async def run_audit(session: AsyncSession) -> LedgerAudit:
    """Check everything in the session's own transaction; store nothing.

    The counts belong together only if the transaction has one snapshot, or nobody else writes.
    """
    counts, at = await _count_violations(session, None), now()
    transactions, postings = counts.pop("transactions"), counts.pop("postings")
    return LedgerAudit(
        checks=_to_checks(counts),
        violations=sum(counts.values()),
        transactions=transactions,
        postings=postings,
        at=at,
        is_full=True,
        last_full_at=at,
    )


async def audit_ledger(sessions: async_sessionmaker[AsyncSession], *, full: bool = False) -> LedgerAudit:
    """Check what was added since the last run in one snapshot, then store the result; no time limit.

    Everything is checked if `full`, in the first run, and after a full run that found violations. After any
    other violation, the next run begins where this one did. Commits its own transaction.

    Locks: one audit at a time, by an advisory lock that ends with the snapshot.

    Raises:
        AuditIsRunning: another audit of this ledger has not ended.
    """
    async with sessions() as reading, reading.begin():
        await _begin(reading, "REPEATABLE READ, READ ONLY")
        is_first = (await reading.execute(select(func.pg_try_advisory_xact_lock(_LOCK)))).scalar_one()
        if not is_first:
            raise AuditIsRunning
        last = await _load_last_run(reading)
        since = None if full or last is None else last.continue_from
        started_at: datetime = (await reading.execute(select(func.now()))).scalar_one()
        counts = await _count_violations(reading, since)
        run = _to_run(counts, last=last, since=since, started_at=started_at)
        snapshot = (await reading.execute(select(func.pg_export_snapshot()))).scalar_one()
        async with sessions() as writing, writing.begin():
            await _begin(writing, "REPEATABLE READ", snapshot=snapshot)
            await _store(writing, run)
    return LedgerAudit.from_row(run)


async def _begin(session: AsyncSession, isolation: str, *, snapshot: str | None = None) -> None:
    """Begin a transaction of this isolation, without the pool's time limits and on one processor."""
    await session.execute(text(f"SET TRANSACTION ISOLATION LEVEL {isolation}"))
    if snapshot is not None:
        await session.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))  # before any query
    await session.execute(_SET_LIMITS)


async def _store(session: AsyncSession, run: AuditRun) -> None:
    """Store a run and, if it is clean, how far each account has been checked."""
    values = run.model_dump(exclude={"id"})
    await session.execute(insert(AuditRun).values(**values))
    if run.violations == 0:
        await session.execute(_STATEMENTS["mark"])


def _to_run(
    counts: dict[str, int], *, last: AuditRun | None, since: datetime | None, started_at: datetime
) -> AuditRun:
    transactions, postings = counts.pop("transactions"), counts.pop("postings")
    violations = sum(counts.values())
    previous_full_at = None if last is None else last.last_full_at
    return AuditRun(
        is_full=since is None,
        transactions=transactions,
        postings=postings,
        violations=violations,
        counts=counts,
        started_at=started_at,
        finished_at=now(),
        last_full_at=started_at if since is None else previous_full_at,
        continue_from=since if violations else started_at - _OVERLAP,
    )


async def _count_violations(session: AsyncSession, since: datetime | None) -> dict[str, int]:
    """Run every statement; return the violations of each check, and what was read.

    `since` is a time from which on everything recorded is read; None reads everything.
    """
    platform = select(col(Collective.id)).where(col(Collective.is_platform))
    parameters = {
        "full": since is None,
        "from_id": _NO_ID if since is None else _least_id(since),
        "late": [],
        "platform_id": (await session.execute(platform)).scalar_one_or_none(),
    }
    if since is not None:
        parameters["late"] = (await _execute(session, "late", parameters))["ids"] or []
    counts = dict.fromkeys((*CHECKS, "transactions", "postings"), 0)
    orphans = "orphans" if since is None else "new_orphans"
    for name in ("accounts", "postings", orphans, "transactions", "figures", "refunds", "raised", "orders"):
        for key, count in (await _execute(session, name, parameters)).items():
            counts[key] += count
    return counts


async def _execute(session: AsyncSession, name: str, parameters: dict[str, Any]) -> RowMapping:
    statement = _STATEMENTS[name]
    used = {key: value for key, value in parameters.items() if key in statement.compile().params}
    return (await session.execute(statement, used)).mappings().one()


def _least_id(at: datetime) -> uuid.UUID:
    """Return the least UUID of version 7 made at this time: its first 48 bits are milliseconds."""
    return uuid.UUID(int=int(at.timestamp() * 1000) << 80)
