"""The ledger's promises, each checked by counting its violations in the data."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from models import Posting, Transaction, now
from services.core.sql_files import read_statements

CHECKS = read_statements(Path(__file__).parent / "sql" / "audit.sql")
"""The statement that counts the violations of each promise, by the promise's name."""
_COUNTS: list[Any] = [
    *(literal_column(f"({check.sql})") for check in CHECKS.values()),
    select(func.count()).select_from(Transaction).scalar_subquery(),
    select(func.count()).select_from(Posting).scalar_subquery(),
]
_AUDIT = select(*_COUNTS)


@dataclass(frozen=True)
class AuditCheck:
    """One promise and the number of its violations."""

    name: str
    description: str
    violations: int


@dataclass(frozen=True)
class LedgerAudit:
    """The result of all checks at one moment."""

    checks: list[AuditCheck]
    transactions: int
    postings: int
    at: datetime

    @property
    def violations(self) -> int:
        """The number of violations of all checks."""
        return sum(check.violations for check in self.checks)

    @property
    def is_clean(self) -> bool:
        """True if no check found a violation."""
        return self.violations == 0


async def run_audit(session: AsyncSession) -> LedgerAudit:
    """Count the violations of every promise in one statement, and so in one snapshot.

    Needs no permission: it reveals counts only.
    """
    *counts, transactions, postings = (await session.execute(_AUDIT)).one()
    checks = [
        AuditCheck(name, check.description, violations)
        for (name, check), violations in zip(CHECKS.items(), counts, strict=True)
    ]
    return LedgerAudit(checks, transactions, postings, now())
